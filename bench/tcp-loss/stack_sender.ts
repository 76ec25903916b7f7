/** Our stack on one end of a path, as a process: connects to a sink of the kernel and sends. `node stack_sender.ts FAULTS SECONDS CC`. */
import { NetStack } from '../../src/stack/graph/net_stack.ts';
import { IpAddress } from '../../src/stack/ip/address.ts';
import { FaultInjector, type Faults } from '../../src/stack/link/fault_injector.ts';
import { NetLoop } from '../../src/stack/link/net_loop.ts';
import { nativePool, TunDevice } from '../../src/stack/link/tun.ts';
import type { CcName } from '../../src/stack/tcp/cc/congestion_control.ts';
import type { TcpConnection } from '../../src/stack/tcp/connection.ts';

const faults = JSON.parse(process.argv[2]) as Faults;
const congestionControl = process.argv[3] as CcName;
const clockUs = (): number => performance.now() * 1000;
const pool = { small: 16_384, large: 8 };
const memory = nativePool(pool);
const stack = new NetStack({
  random32: () => (Math.random() * 2 ** 32) | 0,
  pool,
  memory,
  tcp: { congestionControl, maxSendBufferBytes: 8 << 20 },
  nowUs: clockUs(),
});
const tun = new TunDevice({ name: 'sle%d', kind: 'tun', offload: false, coalesce: false }, memory);
stack.addInterface(new FaultInjector(tun, 7, faults, { delayUs: faults.delayUs }), ['10.79.0.1/24']);
const loop = new NetLoop(stack, [tun.fd], clockUs);
const block = new Uint8Array(65_536);
const fill = (c: TcpConnection): void => {
  while (c.write(block) === block.length) {}
};
process.stdout.write(`${JSON.stringify({ to: tun.name })}\n`);
process.stdin.once('data', () => {
  stack.tcp.connect(
    { remote: IpAddress.parse('10.79.0.2')!, remotePort: 80, app: { onConnected: fill, onSpace: fill } },
    clockUs(),
  );
  loop.turn();
});
process.stdin.on('end', () => process.exit(0));
