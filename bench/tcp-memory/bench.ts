/** Memory per idle TCP connection of the stack: established, nothing on the way, its buffers empty. Both ends are counted, then halved. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { NetStack } from '../../src/stack/graph/net_stack.ts';
import { IpAddress } from '../../src/stack/ip/address.ts';
import { PipeDevice } from '../../src/stack/link/pipe.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';

const TARGET_BYTES = 4096;

export async function run(options: BenchOptions): Promise<Row[]> {
  const count = options.quick ? 5000 : 28_000;
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const [left, right] = PipeDevice.pair();
  const make = (device: PipeDevice, address: string): NetStack => {
    const stack = new NetStack({ random32: () => (Math.random() * 2 ** 32) | 0, pool: { small: 8192, large: 8 } });
    stack.addInterface(device, [address]);
    return stack;
  };
  const a = make(left, '10.0.0.1/24');
  const b = make(right, '10.0.0.2/24');
  b.tcp.listen({ address: IpAddress.parse('0.0.0.0')!, port: 80, onAccept: () => ({}) });
  const remote = IpAddress.parse('10.0.0.2')!;
  const pump = (): void => {
    for (let i = 0; i < 8; i++) {
      a.poll(i);
      b.poll(i);
    }
  };
  const app = {};
  const open = (n: number): void => {
    for (let i = 0; i < n; i++) {
      if (typeof a.tcp.connect({ remote, remotePort: 80, app }, 0) === 'string') throw new Error('no port left');
      if (i % 500 === 499) pump();
    }
    pump();
  };
  open(100);
  collect();
  const used = (): number => {
    const { heapUsed, external, arrayBuffers } = process.memoryUsage();
    return heapUsed + Math.max(external, arrayBuffers);
  };
  const before = used();
  open(count);
  collect();
  const bytes = (used() - before) / count / 2;
  const established = [...b.tcp.connections.all()].length;
  return [
    row({
      case: `idle connection (${established} established)`,
      unit: 'bytes',
      better: 'lower',
      ours: bytes,
      peers: { target: TARGET_BYTES },
      target: { peer: 'target', ratio: 1 },
    }),
  ];
}
