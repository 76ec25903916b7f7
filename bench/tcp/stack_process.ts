/** One stack on one thread over a TUN, as a process: receives, sends, or counts; prints one JSON line per finished connection. */
import { NetStack } from '../../src/stack/graph/net_stack.ts';
import { IpAddress } from '../../src/stack/ip/address.ts';
import { NetLoop } from '../../src/stack/link/net_loop.ts';
import { nativePool, TunDevice } from '../../src/stack/link/tun.ts';
import type { TcpApp, TcpConnection } from '../../src/stack/tcp/connection.ts';

const offload = process.argv[2] === 'offload';
const clockUs = (): number => performance.now() * 1000;
const pool = { small: 4096, large: 256 };
const memory = nativePool(pool);
const stack = new NetStack({ random32: () => (Math.random() * 2 ** 32) | 0, pool, memory, nowUs: clockUs() });
const tun = new TunDevice({ name: 'slb%d', kind: 'tun', offload }, memory);
stack.addInterface(tun, ['10.78.0.2/24']);
const block = new Uint8Array(256 * 1024).fill(0x61);

/** Port 80: takes everything. Port 81: sends until the peer closes. */
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

function fill(c: TcpConnection): void {
  while (c.write(block) === block.length) {}
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
const loop = new NetLoop(stack, [tun.fd], clockUs);
loop.turn();
process.stdout.write(`${JSON.stringify({ device: tun.name })}\n`);
process.stdin.on('data', () => {
  const { user, system } = process.cpuUsage();
  const counters = { ...tun.counters, ...stack.tcp.stats };
  process.stdout.write(`${JSON.stringify({ userUs: user, systemUs: system, ...counters })}\n`);
});
process.stdin.on('end', () => {
  loop.stop();
  stack.close();
  process.exit(0);
});
