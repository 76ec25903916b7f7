/**
 * Middleware that makes a device as bad as a real path, both ways, from one seed: loss, bursts of loss (Gilbert model), duplication,
 * reordering, corruption, delay with jitter, and a rate with a queue. Offloads are hidden, so that each packet has its own fate.
 */
import type { Packet, PacketPool } from '../graph/packet.ts';
import type { Device } from './device.ts';

export interface Faults {
  /** Probabilities per packet, 0 to 1. */
  loss?: number;
  /** Chance to enter a burst, in which every packet is lost, and to leave it again per packet. */
  burstStart?: number;
  burstEnd?: number;
  duplicate?: number;
  /** Chance that a packet is held back by `reorderUs`. */
  reorder?: number;
  reorderUs?: number;
  corrupt?: number;
  delayUs?: number;
  jitterUs?: number;
  /** Bits per microsecond (megabits per second); 0: no limit. */
  rateMbps?: number;
  /** Bytes that the queue in front of the rate limit holds. */
  queueBytes?: number;
}

/** Deterministic random numbers in [0, 1) (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Delayed {
  packet: Packet;
  dueUs: number;
  order: number;
}

/** One direction. */
class FaultyPath {
  dropped = 0;
  duplicated = 0;
  corrupted = 0;
  reordered = 0;
  /** A test's own say: true loses the packet. */
  filter: ((packet: Packet) => boolean) | null = null;
  private readonly heap: Delayed[] = [];
  private inBurst = false;
  private freeAtUs = 0;
  private order = 0;
  faults: Faults;
  private readonly random: () => number;

  constructor(faults: Faults, random: () => number) {
    this.faults = faults;
    this.random = random;
  }

  /** Takes ownership. */
  enter(packet: Packet, nowUs: number): void {
    const { faults, random } = this;
    if (this.inBurst) this.inBurst = random() >= (faults.burstEnd ?? 0.3);
    else if (faults.burstStart) this.inBurst = random() < faults.burstStart;
    if (this.inBurst || (faults.loss && random() < faults.loss) || this.filter?.(packet)) {
      this.dropped++;
      packet.free();
      return;
    }
    if (faults.corrupt && random() < faults.corrupt) {
      this.corrupted++;
      const at = packet.start + Math.floor(random() * packet.length);
      packet.pool.u8[at] ^= 1 << Math.floor(random() * 8);
      packet.flags = 0;
    }
    if (faults.duplicate && random() < faults.duplicate) {
      const copy = clone(packet);
      if (copy !== null) {
        this.duplicated++;
        this.hold(copy, nowUs);
      }
    }
    this.hold(packet, nowUs);
  }

  private hold(packet: Packet, nowUs: number): void {
    const { faults, random } = this;
    let due = nowUs;
    if (faults.rateMbps) {
      const bytesWaiting = (Math.max(0, this.freeAtUs - nowUs) * faults.rateMbps) / 8;
      if (bytesWaiting + packet.length > (faults.queueBytes ?? 256 * 1024)) {
        this.dropped++;
        packet.free();
        return;
      }
      this.freeAtUs = Math.max(this.freeAtUs, nowUs) + (packet.length * 8) / faults.rateMbps;
      due = this.freeAtUs;
    }
    due += faults.delayUs ?? 0;
    if (faults.jitterUs) due += random() * faults.jitterUs;
    if (faults.reorder && random() < faults.reorder) {
      this.reordered++;
      due += faults.reorderUs ?? 2000;
    }
    push(this.heap, { packet, dueUs: due, order: this.order++ });
  }

  leave(nowUs: number): Packet | null {
    if (this.heap.length === 0 || this.heap[0].dueUs > nowUs) return null;
    return pop(this.heap).packet;
  }

  get nextUs(): number {
    return this.heap.length === 0 ? Number.POSITIVE_INFINITY : this.heap[0].dueUs;
  }

  clear(): void {
    for (const { packet } of this.heap) packet.free();
    this.heap.length = 0;
  }
}

export class FaultInjector implements Device {
  readonly name: string;
  readonly mtu: number;
  readonly mac: Uint8Array | null;
  readonly checksumOffload: boolean;
  readonly maxGsoBytes: number;
  readonly maxUdpGsoBytes: number;
  readonly outbound: FaultyPath;
  readonly inbound: FaultyPath;
  private readonly device: Device;

  constructor(device: Device, seed: number, outbound: Faults, inbound: Faults = {}, keepOffload = false) {
    this.device = device;
    this.name = device.name;
    this.mtu = device.mtu;
    this.mac = device.mac;
    this.checksumOffload = keepOffload && device.checksumOffload;
    this.maxGsoBytes = keepOffload ? device.maxGsoBytes : 0;
    this.maxUdpGsoBytes = keepOffload ? device.maxUdpGsoBytes : 0;
    const random = seededRandom(seed);
    this.outbound = new FaultyPath(outbound, random);
    this.inbound = new FaultyPath(inbound, random);
  }

  get counters(): Device['counters'] {
    return this.device.counters;
  }

  transmit(packet: Packet, nowUs: number): void {
    this.outbound.enter(packet, nowUs);
    this.pump(nowUs);
  }

  receive(pool: PacketPool, nowUs: number): Packet | null {
    this.pump(nowUs);
    for (;;) {
      const packet = this.device.receive(pool, nowUs);
      if (packet === null) break;
      this.inbound.enter(packet, nowUs);
    }
    return this.inbound.leave(nowUs);
  }

  private pump(nowUs: number): void {
    for (let packet = this.outbound.leave(nowUs); packet !== null; packet = this.outbound.leave(nowUs))
      this.device.transmit(packet, nowUs);
  }

  flush(nowUs: number): boolean {
    return this.device.flush?.(nowUs) ?? false;
  }

  nextDeadlineUs(): number {
    return Math.min(this.outbound.nextUs, this.inbound.nextUs, this.device.nextDeadlineUs());
  }

  close(): void {
    this.outbound.clear();
    this.inbound.clear();
    this.device.close();
  }
}

function clone(packet: Packet): Packet | null {
  const copy = packet.pool.alloc(packet.length);
  if (copy === null) return null;
  copy.pool.u8.copyWithin(copy.start, packet.start, packet.end);
  copy.end = copy.start + packet.length;
  copy.flags = packet.flags;
  copy.gsoSize = packet.gsoSize;
  copy.l4 = copy.start + packet.l4 - packet.start;
  copy.l3 = copy.start + packet.l3 - packet.start;
  copy.checksumOffset = packet.checksumOffset;
  copy.isV4 = packet.isV4;
  copy.protocol = packet.protocol;
  return copy;
}

const before = (a: Delayed, b: Delayed): boolean => a.dueUs < b.dueUs || (a.dueUs === b.dueUs && a.order < b.order);

function push(heap: Delayed[], item: Delayed): void {
  let i = heap.length;
  heap.push(item);
  while (i > 0) {
    const parent = (i - 1) >> 1;
    if (!before(item, heap[parent])) break;
    heap[i] = heap[parent];
    i = parent;
  }
  heap[i] = item;
}

function pop(heap: Delayed[]): Delayed {
  const top = heap[0];
  const last = heap.pop()!;
  if (heap.length === 0) return top;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
    if (!before(heap[child], last)) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = last;
  return top;
}
