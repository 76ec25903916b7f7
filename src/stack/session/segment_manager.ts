/**
 * Segments shared by two application workers, and the session slots in them. One client worker and one server worker share segments
 * with nobody else, so that what one of them writes into shared memory can reach only the sessions between the two.
 *
 * A worker shares segments of the same kind with the stack itself (side 1) for sessions whose bytes pass through a transport.
 *
 * A new session goes to a segment with a free slot and memory below the high watermark; if there is none another segment is added
 * (up to `maxSegments`), and beyond that the least used one takes it. An empty segment goes away when the pair has another as large. The first
 * of a pair is a small one: the processes of a server that forks have a connection each, and a large mapping costs V8 a collection of garbage.
 */
import { createDoorbell, type Doorbell } from '../../core/sys/doorbell.ts';
import { SysError } from '../../core/sys/libc.ts';
import { closeDescriptor } from '../../core/sys/unix_socket.ts';
import { FifoWord, PAGE, SegmentKind, SLOT_BYTES } from '../svm/layout.ts';
import { Segment } from '../svm/segment.ts';
import type { AppWorker } from './application.ts';
import { MessageFlag, MessageWord, Notice, newMessage } from './messages.ts';
import { StackEnd } from './stack_fifos.ts';

export interface SegmentOptions {
  /** Sessions in one segment. */
  slots: number;
  /** 4 KB pages for each direction; at least as many as slots. */
  arenaPages: number;
  /** Percent of an arena in use above which the segment gets no new sessions while there is another way. */
  highWatermark: number;
  /** Segments of one pair of workers. */
  maxSegments: number;
  /** The first segment of a pair, where the FIFOs of its sessions fit into it; null: as the others. */
  first: { slots: number; arenaPages: number } | null;
}

export const DEFAULT_SEGMENT_OPTIONS: SegmentOptions = {
  slots: 4096,
  arenaPages: 16_384,
  highWatermark: 80,
  maxSegments: 64,
  first: { slots: 1, arenaPages: 2048 },
};

/** A segment between the worker that connected (side 0) and the one that listened (side 1). */
export class SharedSegment {
  readonly id: number;
  readonly segment: Segment;
  readonly pair: WorkerPair;
  /** To pass it on. */
  readonly fd: number;
  inUse = 0;
  /** By side: workers that have it for the bytes of sessions that were another's before. */
  readonly borrowers = [new Set<AppWorker>(), new Set<AppWorker>()];
  /** Slots of sessions that are over, and the workers that are still to take their memory back. */
  readonly kept = new Map<number, AppWorker[]>();
  private readonly freeSlots: Int32Array;
  private freeCount: number;

  constructor(id: number, segment: Segment, fd: number, pair: WorkerPair) {
    this.id = id;
    this.segment = segment;
    this.fd = fd;
    this.pair = pair;
    this.freeCount = segment.layout.slots;
    this.freeSlots = Int32Array.from({ length: this.freeCount }, (_, i) => this.freeCount - 1 - i);
  }

  get full(): boolean {
    return this.freeCount === 0;
  }

  /** Percent of the fuller arena that is in use. */
  get usagePercent(): number {
    return (Math.max(this.segment.usedPages(0), this.segment.usedPages(1)) / this.segment.layout.arenaPages) * 100;
  }

  /** The worker that this side was made for: it takes back what was written into its arena. */
  home(side: number): AppWorker | null {
    return side === 0 ? this.pair.client : this.pair.server;
  }

  /** A slot whose FIFO headers are clean. `sizes`: of the FIFO of direction 0 and 1. */
  takeSlot(size0: number, size1: number): number {
    const slot = this.freeSlots[--this.freeCount];
    this.inUse++;
    const word = this.segment.fifoWord(slot, 0);
    this.segment.i32.fill(0, word, word + SLOT_BYTES / 4);
    this.segment.i32[word + FifoWord.size] = size0;
    this.segment.i32[this.segment.fifoWord(slot, 1) + FifoWord.size] = size1;
    for (const side of [0, 1]) this.segment.i32[this.segment.fifoWord(slot, side) + FifoWord.owner] = this.home(side)?.index ?? 0;
    return slot;
  }

  /**
   * Makes `to` the worker whose process may use a side of the slot. False while that of `from` is in the middle of it; `from` null: it is
   * there no more.
   */
  passSlot(slot: number, side: number, from: AppWorker | null, to: AppWorker): boolean {
    const { i32 } = this.segment;
    const word = this.segment.fifoWord(slot, side) + FifoWord.owner;
    if (from === null) Atomics.store(i32, word, to.index);
    else {
      let tries = PASS_TRIES;
      while (Atomics.compareExchange(i32, word, from.index, to.index) !== from.index) if (--tries === 0) return false;
    }
    return true;
  }

  returnSlot(slot: number): void {
    this.freeSlots[this.freeCount++] = slot;
    this.inUse--;
  }
}

export interface WorkerPair {
  readonly key: number;
  readonly client: AppWorker;
  /** null: the stack. */
  readonly server: AppWorker | null;
  readonly segments: SharedSegment[];
}

const MAX_WORKERS = 1 << 20;
/** To copy some kilobytes takes no longer. */
const PASS_TRIES = 10_000;

export class SegmentManager {
  readonly options: SegmentOptions;
  private readonly generation: number;
  private readonly pairs = new Map<number, WorkerPair>();
  private readonly byId = new Map<number, SharedSegment>();
  private nextId = 1;
  private readonly message = newMessage();

  constructor(options: SegmentOptions, generation: number) {
    if (options.arenaPages < options.slots) throw new RangeError('a segment needs at least one page per slot and direction');
    this.options = options;
    this.generation = generation;
  }

  /**
   * A segment with a free slot for a session between the two (`server` null: between the worker and the stack), or null when no memory
   * or descriptors are left.
   */
  segmentFor(client: AppWorker, server: AppWorker | null): SharedSegment | null {
    const key = client.index * MAX_WORKERS + (server?.index ?? 0);
    let pair = this.pairs.get(key);
    if (pair === undefined) {
      pair = { key, client, server, segments: [] };
      this.pairs.set(key, pair);
    }
    let best: SharedSegment | null = null;
    for (const shared of pair.segments) {
      if (shared.full) continue;
      const usage = shared.usagePercent;
      if (usage < this.options.highWatermark) return shared;
      if (best === null || usage < best.usagePercent) best = shared;
    }
    return (pair.segments.length < this.options.maxSegments ? this.addSegment(pair) : null) ?? best;
  }

  /** A session has ended. */
  returnSlot(shared: SharedSegment, slot: number): void {
    shared.returnSlot(slot);
    if (shared.inUse > 0) return;
    const { pair } = shared;
    const { slots } = shared.segment.layout;
    const spare = pair.segments.some((other) => other !== shared && other.segment.layout.slots >= slots);
    if (spare || pair.client.detached || pair.server?.detached) this.deleteSegment(shared);
  }

  /**
   * A session whose processes have changed is over: the slot is free when those workers whose arenas have its bytes, as far as they are
   * there, have taken them back.
   */
  returnSlotAfter(shared: SharedSegment, slot: number, homes: readonly AppWorker[]): void {
    const waiting = homes.filter((worker) => !worker.detached);
    if (waiting.length === 0) this.returnSlot(shared, slot);
    else shared.kept.set(slot, waiting);
  }

  /** The worker has taken its memory back. */
  slotDone(worker: AppWorker, id: number, slot: number): void {
    const shared = this.byId.get(id);
    const waiting = shared?.kept.get(slot);
    if (shared === undefined || !waiting?.includes(worker)) return;
    const left = waiting.filter((other) => other !== worker);
    shared.kept.set(slot, left);
    if (left.length > 0) return;
    shared.kept.delete(slot);
    this.returnSlot(shared, slot);
  }

  /** Lets `worker` have the bytes of a side, too; false when it does not read its socket. */
  lend(shared: SharedSegment, side: number, worker: AppWorker): boolean {
    const borrowers = shared.borrowers[side];
    if (shared.home(side) === worker || borrowers.has(worker)) return true;
    if (!worker.sendFds({ type: 'segment', id: shared.id, side }, [shared.fd])) return false;
    borrowers.add(worker);
    return true;
  }

  /** A worker has gone: segments without sessions go too, the others when their last session is closed. */
  workerGone(worker: AppWorker): void {
    for (const shared of this.byId.values()) for (const borrowers of shared.borrowers) borrowers.delete(worker);
    for (const pair of this.pairs.values()) {
      if (pair.client !== worker && pair.server !== worker) continue;
      for (const shared of [...pair.segments]) for (const slot of [...shared.kept.keys()]) this.slotDone(worker, shared.id, slot);
      for (const shared of [...pair.segments]) if (shared.inUse === 0) this.deleteSegment(shared);
      if (pair.segments.length === 0) this.pairs.delete(pair.key);
    }
  }

  *all(): IterableIterator<SharedSegment> {
    for (const pair of this.pairs.values()) yield* pair.segments;
  }

  close(): void {
    for (const shared of this.all()) {
      shared.segment.close();
      closeDescriptor(shared.fd);
    }
    this.pairs.clear();
    this.byId.clear();
  }

  private addSegment(pair: WorkerPair): SharedSegment | null {
    const { slots, arenaPages } = this.shapeFor(pair);
    // Each session has at most one event of each kind and direction on its way, so this ring cannot fill.
    const ioRingCapacity = Math.max(16, 2 ** Math.ceil(Math.log2(slots * 4)));
    let made: { segment: Segment; fd: number };
    try {
      made = Segment.create(
        `sluice-${pair.client.app.name}-${pair.server?.app.name ?? 'stack'}`.slice(0, 200),
        { kind: SegmentKind.Fifo, slots, arenaPages, ioRingCapacity, controlRingCapacity: 0 },
        this.generation,
      );
    } catch {
      return null;
    }
    const shared = new SharedSegment(this.nextId++, made.segment, made.fd, pair);
    if (!sendSegment(shared)) {
      shared.segment.close();
      closeDescriptor(shared.fd);
      return null;
    }
    pair.segments.push(shared);
    this.byId.set(shared.id, shared);
    if (pair.server === null) pair.client.stackEnds.push(new StackEnd(shared, pair.client));
    return shared;
  }

  private shapeFor(pair: WorkerPair): { slots: number; arenaPages: number } {
    const { first } = this.options;
    const { rxFifoSize, txFifoSize } = (pair.server ?? pair.client).app.options;
    const fits = first !== null && Math.max(rxFifoSize, txFifoSize) * first.slots <= (first.arenaPages * PAGE * 3) / 4;
    return pair.segments.length === 0 && fits ? first : this.options;
  }

  private deleteSegment(shared: SharedSegment): void {
    const { pair } = shared;
    pair.segments.splice(pair.segments.indexOf(shared), 1);
    this.message.fill(0);
    this.message[MessageWord.type] = Notice.deleteSegment;
    this.message[MessageWord.segmentId] = shared.id;
    pair.client.send(this.message, true);
    for (const worker of shared.borrowers[0]) worker.send(this.message, true);
    this.message[MessageWord.flags] = MessageFlag.side;
    pair.server?.send(this.message, true);
    for (const worker of shared.borrowers[1]) worker.send(this.message, true);
    this.byId.delete(shared.id);
    closeDescriptor(shared.fd);
    if (pair.server === null) pair.client.stackEnds = pair.client.stackEnds.filter((end) => end.shared !== shared);
    // A worker whose thread was terminated has it mapped for the rest of its process.
    shared.segment.punchAll();
    shared.segment.close();
    if (pair.segments.length === 0) this.pairs.delete(pair.key);
  }
}

/**
 * Passes a segment to both, with a doorbell of its own in each direction: what one of the two does to it is felt by nobody else.
 * False when there are no descriptors, or one of them does not read its socket.
 */
function sendSegment(shared: SharedSegment): boolean {
  const { id, pair, fd } = shared;
  const { client, server } = pair;
  if (server === null) return client.sendFds({ type: 'segment', id, side: 0 }, [fd, client.stackFd]);
  const bells: Doorbell[] = [];
  try {
    bells.push(createDoorbell());
    bells.push(createDoorbell());
    const [toServer, toClient] = bells;
    return (
      client.sendFds({ type: 'segment', id, side: 0 }, [fd, toServer.ringFd, toClient.hearFd]) &&
      server.sendFds({ type: 'segment', id, side: 1 }, [fd, toClient.ringFd, toServer.hearFd])
    );
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return false;
  } finally {
    for (const { ringFd, hearFd } of bells) for (const end of [ringFd, hearFd]) closeDescriptor(end);
  }
}
