/** Two stacks of one thread over the in-memory pipe: connections per second, and bytes from application to application. */
import { NetStack } from '../../src/stack/graph/net_stack.ts';
import { IpAddress } from '../../src/stack/ip/address.ts';
import { PipeDevice, type PipeOptions } from '../../src/stack/link/pipe.ts';
import type { TcpApp } from '../../src/stack/tcp/connection.ts';

const any = IpAddress.parse('0.0.0.0')!;
const server = IpAddress.parse('10.0.0.2')!;
const clockUs = (): number => performance.now() * 1000;

function pair(options: PipeOptions): [NetStack, NetStack] {
  const devices = PipeDevice.pair(options);
  return devices.map((device, i) => {
    const stack = new NetStack({
      random32: () => (Math.random() * 2 ** 32) | 0,
      pool: { small: 8192, large: 256 },
      nowUs: clockUs(),
      tcp: { timeWaitMs: 50, delayedAckMs: 0 },
    });
    stack.addInterface(device, [`10.0.0.${i + 1}/24`]);
    return stack;
  }) as [NetStack, NetStack];
}

/** Handshake, and close by both ends, `parallel` at a time. Connections per second. */
export function connectionsPerSecond(seconds: number, parallel = 64): number {
  const [a, b] = pair({});
  const accepting: TcpApp = { onEnd: (c) => c.close(), recycles: true };
  b.tcp.listen({ address: any, port: 80, onAccept: () => accepting });
  let finished = 0;
  let open = 0;
  const app: TcpApp = {
    onConnected: (c) => c.close(),
    onClosed: () => {
      finished++;
      open--;
    },
    recycles: true,
  };
  const start = performance.now();
  const end = start + seconds * 1000;
  for (;;) {
    const now = clockUs();
    while (open < parallel && typeof a.tcp.connect({ remote: server, remotePort: 80, app }, now) !== 'string') open++;
    a.poll(now);
    b.poll(now);
    if (now / 1000 >= end) break;
  }
  return finished / ((performance.now() - start) / 1000);
}

/** Gigabits per second. */
export function pipeThroughput(seconds: number, gso: boolean): number {
  const [a, b] = pair(gso ? { maxGsoBytes: 65_000, checksumOffload: true } : { checksumOffload: true });
  let bytes = 0;
  const scratch = new Uint8Array(1 << 20);
  b.tcp.listen({
    address: any,
    port: 80,
    onAccept: () => ({
      onData: (c) => {
        for (let n = c.read(scratch); n > 0; n = c.read(scratch)) bytes += n;
      },
    }),
  });
  const block = new Uint8Array(256 * 1024);
  const fill = (c: { write(b: Uint8Array): number }): void => {
    while (c.write(block) === block.length) {}
  };
  a.tcp.connect({ remote: server, remotePort: 80, app: { onConnected: fill, onSpace: fill } }, clockUs());
  const start = performance.now();
  while (performance.now() - start < seconds * 1000) {
    const now = clockUs();
    a.poll(now);
    b.poll(now);
  }
  return (bytes * 8) / ((performance.now() - start) * 1e6);
}
