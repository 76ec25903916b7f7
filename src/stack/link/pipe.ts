/** An in-memory link between two stacks of one thread. Offloaded segments pass whole, as between two virtual machines of a host. */
import { type Packet, PacketFlag, type PacketPool } from '../graph/packet.ts';
import { type Device, newDeviceCounters } from './device.ts';

export interface PipeOptions {
  /** Of the two ends. */
  names?: readonly [string, string];
  mtu?: number;
  maxGsoBytes?: number;
  checksumOffload?: boolean;
  /** With link-layer addresses; without, a layer-3 link. */
  ethernet?: boolean;
  /** Packets that wait at most; what comes then is dropped, as a queue does. */
  queueLimit?: number;
}

export class PipeDevice implements Device {
  readonly name: string;
  readonly mtu: number;
  readonly mac: Uint8Array | null;
  readonly checksumOffload: boolean;
  readonly maxGsoBytes: number;
  readonly maxUdpGsoBytes: number;
  readonly counters = newDeviceCounters();
  /** Called when a packet has been put into an empty queue. */
  onReadable: (() => void) | null = null;
  private peer: PipeDevice | null = null;
  private readonly queueLimit: number;
  private queue: Packet[] = [];
  private next = 0;

  /** A connected pair. */
  static pair(options: PipeOptions = {}): [PipeDevice, PipeDevice] {
    const [first, second] = options.names ?? ['pipe0', 'pipe1'];
    const a = new PipeDevice(first, 1, options);
    const b = new PipeDevice(second, 2, options);
    a.peer = b;
    b.peer = a;
    return [a, b];
  }

  private constructor(name: string, id: number, options: PipeOptions) {
    this.name = name;
    this.mtu = options.mtu ?? 1500;
    this.mac = options.ethernet ? new Uint8Array([2, 0, 0, 0, 0, id]) : null;
    this.checksumOffload = options.checksumOffload ?? false;
    this.maxGsoBytes = this.maxUdpGsoBytes = options.maxGsoBytes ?? 0;
    this.queueLimit = options.queueLimit ?? 65_536;
  }

  transmit(packet: Packet): void {
    this.counters.txPackets++;
    this.counters.txBytes += packet.length;
    const { peer } = this;
    if (peer === null || peer.queue.length - peer.next >= peer.queueLimit) {
      this.counters.txDropped++;
      packet.free();
      return;
    }
    peer.queue.push(packet);
    if (peer.queue.length - peer.next === 1) peer.onReadable?.();
  }

  /** Copies out of the sender's memory into `pool`: a slot of one stack is never held by another. */
  receive(pool: PacketPool): Packet | null {
    if (this.next >= this.queue.length) return null;
    const from = this.queue[this.next];
    const to = pool.alloc(from.length);
    if (to === null) return null;
    this.next++;
    if (this.next > 1024 || this.next === this.queue.length) {
      this.queue = this.queue.slice(this.next);
      this.next = 0;
    }
    copyBytes(from.pool.u8, from.start, to.pool.u8, to.start, from.length);
    to.end = to.start + from.length;
    to.gsoSize = from.gsoSize;
    to.flags = (from.flags & (PacketFlag.checksumPartial | PacketFlag.checksumTrusted)) !== 0 ? PacketFlag.checksumTrusted : 0;
    from.free();
    this.counters.rxPackets++;
    this.counters.rxBytes += to.length;
    return to;
  }

  get pending(): number {
    return this.queue.length - this.next;
  }

  nextDeadlineUs(): number {
    return this.pending > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    for (const packet of this.queue.slice(this.next)) packet.free();
    this.queue = [];
    this.next = 0;
    if (this.peer !== null) this.peer.peer = null;
  }
}

/** Headers by a loop: the view that `set` needs costs more, and is garbage. */
function copyBytes(from: Uint8Array, at: number, to: Uint8Array, toAt: number, length: number): void {
  if (length <= 96) for (let i = 0; i < length; i++) to[toAt + i] = from[at + i];
  else to.set(from.subarray(at, at + length), toAt);
}
