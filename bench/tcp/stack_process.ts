/**
 * One stack on one thread over a device, as a process. Port 80 takes everything, port 81 sends until the peer closes, port 82 closes at
 * once. A line on the standard input is answered by counters as a line of JSON.
 */
import { NetStack } from '../../src/stack/graph/net_stack.ts';
import { IpAddress } from '../../src/stack/ip/address.ts';
import type { Device } from '../../src/stack/link/device.ts';
import { DEVICE_KINDS, type DeviceFields } from '../../src/stack/link/device_kinds.ts';
import { NetLoop } from '../../src/stack/link/net_loop.ts';
import { PacketSocketDevice } from '../../src/stack/link/packet_socket.ts';
import { nativePool, TunDevice } from '../../src/stack/link/tun.ts';
import { XdpDevice } from '../../src/stack/link/xdp.ts';
import type { TcpApp, TcpConnection } from '../../src/stack/tcp/connection.ts';

const config = JSON.parse(process.argv[2]) as DeviceFields & { kind: string };
const clockUs = (): number => performance.now() * 1000;
const pool = { small: 4096, large: 256 };
const memory = nativePool(pool);
const stack = new NetStack({ random32: () => (Math.random() * 2 ** 32) | 0, pool, memory, nowUs: clockUs() });
const opened = DEVICE_KINDS[config.kind].open(config, { memory, pool: stack.pool, wake: () => {}, pipes: new Map() });
stack.addInterface(opened.device, ['10.78.0.2/24']);
const block = new Uint8Array(256 * 1024).fill(0x61);

const sink: TcpApp = {
  onData(c) {
    for (let part = c.received.peek(); part.length > 0; part = c.received.peek()) c.consume(part.length);
  },
  onEnd(c) {
    c.close();
  },
};
const source: TcpApp = {
  onSpace: fill,
  onEnd: (c) => c.abort(),
};
const closing: TcpApp = { onConnected: (c) => c.close(), recycles: true };

function fill(c: TcpConnection): void {
  while (c.write(block) === block.length) {}
}

/** System calls that moved packets; 0 where the device makes one per packet. */
function calls(device: Device): number {
  if (device instanceof TunDevice) return device.ring?.enters ?? 0;
  return device instanceof PacketSocketDevice || device instanceof XdpDevice ? device.sends : 0;
}

const any = IpAddress.parse('0.0.0.0')!;
stack.tcp.listen({ address: any, port: 80, onAccept: () => sink });
stack.tcp.listen({
  address: any,
  port: 81,
  onAccept: (c) => {
    fill(c);
    return source;
  },
});
stack.tcp.listen({ address: any, port: 82, onAccept: () => closing });
const loop = new NetLoop(stack, opened.fds, clockUs);
loop.turn();
process.stdout.write('{"ready":1}\n');
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage();
  const { device } = opened;
  process.stdout.write(`${JSON.stringify({ userUs: user, systemUs: system, calls: calls(device), ...device.counters })}\n`);
});
process.stdin.on('end', () => {
  loop.stop();
  stack.close();
  process.exit(0);
});
