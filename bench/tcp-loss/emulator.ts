/**
 * A path between two TUNs, as a process: packets of one device go out of the other through the same fault injection that wraps our stack's
 * device. `node emulator.ts FAULTS`: JSON of the way there; the way back has only the delay.
 */
import { UvPoll } from '../../src/core/sys/uv_poll.ts';
import { PacketPool } from '../../src/stack/graph/packet.ts';
import { FaultInjector, type Faults } from '../../src/stack/link/fault_injector.ts';
import { nativePool, TunDevice } from '../../src/stack/link/tun.ts';

const faults = JSON.parse(process.argv[2]) as Faults;
const sizes = { small: 16_384, large: 8 };
const memory = nativePool(sizes);
const pool = new PacketPool(sizes, memory);
const options = { name: 'sle%d', kind: 'tun', offload: false, coalesce: false } as const;
const from = new TunDevice(options, memory);
const to = new TunDevice(options, memory);
const there = new FaultInjector(to, 7, faults);
const back = new FaultInjector(from, 8, { delayUs: faults.delayUs });
let timer: NodeJS.Timeout | null = null;

function turn(): void {
  const nowUs = performance.now() * 1000;
  for (let packet = back.receive(pool, nowUs); packet !== null; packet = back.receive(pool, nowUs)) there.transmit(packet, nowUs);
  for (let packet = there.receive(pool, nowUs); packet !== null; packet = there.receive(pool, nowUs))
    back.transmit(packet, nowUs);
  from.flush(nowUs);
  to.flush(nowUs);
  const next = Math.min(there.nextDeadlineUs(), back.nextDeadlineUs());
  if (timer !== null) clearTimeout(timer);
  timer = next === Number.POSITIVE_INFINITY ? null : setTimeout(turn, Math.max(0, (next - performance.now() * 1000) / 1000));
}

for (const tun of [from, to]) new UvPoll(tun.fd, turn);
process.stdout.write(`${JSON.stringify({ from: from.name, to: to.name })}\n`);
process.stdin.on('end', () => process.exit(0)).resume();
