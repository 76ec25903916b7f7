/**
 * The dispatcher on io_uring: one `io_uring_enter` per pass submits and reaps everything.
 *
 * Whoever performs ring operations registers a `RingTarget` and gets a slot; user data is slot << 4 | operation. A slot is reused
 * only when its target is done and none of its operations is under way. Received bytes land in blocks of the slab through a
 * provided-buffer ring that is refilled every pass.
 */
import { BLOCK_SHIFT, BLOCK_SIZE } from '../buffer/slab.ts';
import { IORING_ASYNC_CANCEL_ALL, IORING_CQE_F_MORE, IORING_OP, IORING_TIMEOUT_UPDATE, Ring } from '../sys/io_uring.ts';
import type { NativeMemory } from '../sys/memory.ts';
import { NativeMemory as Memory } from '../sys/memory.ts';
import { BaseDispatcher, type DispatcherOptions } from './base_dispatcher.ts';
import { Batch } from './batch.ts';
import { type FileEvent, FileReadyType, FileTriggerType } from './dispatcher.ts';

export const RECV_BUFFER_GROUP = 1;
/** Entries of the provided-buffer ring. */
const RECV_BUFFERS = 1024;
/**
 * Blocks that wait in it. Few, because the kernel takes them first in first out: with 64 the small messages of busy connections stay in
 * cache. Doubled when a burst used them all up, halved again after a quiet while.
 */
const MIN_PROVIDED = 64;
const QUIET_PASSES = 4096;
const OP_BITS = 4;
const OP_MASK = (1 << OP_BITS) - 1;
const MAX_COMPLETIONS = 1024;

/**
 * Added to an operation's number: its completions are delivered after all others of a pass. What accepted connections sent waits
 * until what upstreams answered is through: the code of each direction runs for the whole batch while it is in the caches, and the
 * upstream connections that became free serve the new requests (measured: 6 % of the user time of a proxied request).
 */
export const OP_LATE = 8;

// Slot 0 is the dispatcher's own.
const OWN_NODE_POLL = 1;
const OWN_TIMEOUT = 2;
const OWN_IGNORE = 3;

const ETIME = 62;
const EALREADY_GONE = 2;

export interface RingTarget {
  /** `op` is what was given to `userData`; `flags` are IORING_CQE_F_*. */
  onCompletion(op: number, result: number, flags: number): void;
}

/** Something with bytes to send: asked once, right before the ring is submitted. */
export interface RingSender {
  submitSend(): void;
}

export class RingDispatcher extends BaseDispatcher {
  readonly ring: Ring;
  private readonly targets: (RingTarget | null)[] = [null];
  private inFlight = new Int32Array(1024);
  private readonly freeSlots: number[] = [];
  /** 1: the slot's target is done and waits for its operations. */
  private dying = new Uint8Array(1024);
  private readonly bufferRing: NativeMemory;
  private readonly bufferTail: Uint16Array;
  private tail = 0;
  private provided = 0;
  private wanted = MIN_PROVIDED;
  private quietPasses = 0;
  private starved: (() => void)[] = [];
  private readonly senders = new Batch<RingSender>();
  /** User data, result and flags of completions that wait for the end of a pass. */
  private readonly late = new Int32Array(MAX_COMPLETIONS * 3);
  private lateLength = 0;
  private nodePollArmed = false;
  private nodeReady = false;
  private readonly timespec = Memory.map(4096);
  private readonly timespecView = new DataView(this.timespec.buffer);
  private timeoutArmed = false;
  private timeoutAtMs = 0;

  constructor(options: DispatcherOptions) {
    super(options);
    this.ring = new Ring(1024);
    this.bufferRing = this.ring.registerBufferRing(RECV_BUFFER_GROUP, RECV_BUFFERS);
    this.bufferTail = new Uint16Array(this.bufferRing.buffer, 0, RECV_BUFFERS * 8);
    this.refill();
  }

  /** A slot for a new target. */
  register(target: RingTarget): number {
    let slot = this.freeSlots.pop();
    if (slot === undefined) {
      slot = this.targets.length;
      this.targets.push(null);
      if (slot >= this.inFlight.length) {
        const grown = new Int32Array(this.inFlight.length * 2);
        grown.set(this.inFlight);
        this.inFlight = grown;
        const dying = new Uint8Array(grown.length);
        dying.set(this.dying);
        this.dying = dying;
      }
    }
    this.targets[slot] = target;
    return slot;
  }

  /** The target wants nothing more to happen; it still gets its outstanding completions. */
  unregister(slot: number): void {
    if (this.inFlight[slot] === 0) this.freeSlot(slot);
    else this.dying[slot] = 1;
  }

  /** Operations of this slot that are under way. */
  outstanding(slot: number): number {
    return this.inFlight[slot];
  }

  /** User data for one operation (0..15) of a slot; counts it as under way. */
  userData(slot: number, op: number): number {
    this.inFlight[slot]++;
    return (slot << OP_BITS) | op;
  }

  /** Asks the kernel to end an operation of a slot; its completion comes with -ECANCELED. */
  cancel(slot: number, op: number): void {
    const target = (slot << OP_BITS) | op;
    this.ring.prepare(IORING_OP.ASYNC_CANCEL, -1, target, 0, 0, IORING_ASYNC_CANCEL_ALL, OWN_IGNORE, 0);
  }

  /** Closes a descriptor through the ring. */
  closeFd(fd: number): void {
    this.ring.prepare(IORING_OP.CLOSE, fd, 0, 0, 0, 0, OWN_IGNORE, 0);
  }

  /** A received block, taken out of the provided ring by the kernel: its slab offset. The reference is the caller's. */
  takeBlock(flags: number): number {
    this.provided--;
    return (flags >>> 16) << BLOCK_SHIFT;
  }

  /** Lets `sender` submit what it has gathered by the end of this pass: all writes of a pass go out as one. */
  queueSend(sender: RingSender): void {
    this.senders.push(sender);
  }

  /** Runs `retry` when receive buffers are there again. */
  whenBuffers(retry: () => void): void {
    this.starved.push(retry);
    this.quietPasses = 0;
    if (this.starved.length === 1 && this.wanted < RECV_BUFFERS) this.wanted *= 2;
  }

  createFileEvent(fd: number, callback: (events: number) => void, trigger: FileTriggerType, events: number): FileEvent {
    return new RingFileEvent(this, fd, callback, trigger, events);
  }

  onCompletion(userData: number, result: number, flags: number): void {
    if ((userData & OP_LATE) !== 0) {
      const late = this.late;
      const at = this.lateLength;
      late[at] = userData;
      late[at + 1] = result;
      late[at + 2] = flags;
      this.lateLength = at + 3;
      return;
    }
    const slot = userData >>> OP_BITS;
    if (slot === 0) this.onOwnCompletion(userData & OP_MASK, result);
    else this.complete(slot, userData, result, flags);
  }

  private deliverLate(): void {
    const late = this.late;
    const length = this.lateLength;
    this.lateLength = 0;
    for (let i = 0; i < length; i += 3) this.complete(late[i] >>> OP_BITS, late[i], late[i + 1], late[i + 2]);
  }

  private complete(slot: number, userData: number, result: number, flags: number): void {
    const target = this.targets[slot];
    if ((flags & IORING_CQE_F_MORE) === 0) this.inFlight[slot]--;
    if (target !== null) {
      try {
        target.onCompletion(userData & OP_MASK, result, flags);
      } catch (error) {
        this.onError(error);
      }
    }
    if (this.inFlight[slot] === 0 && this.dying[slot] !== 0) this.freeSlot(slot);
  }

  protected poll(timeoutMs: number): void {
    const ring = this.ring;
    if (this.senders.size > 0) this.senders.run(submitSend);
    if (timeoutMs !== 0 && !ring.hasCompletions) {
      this.armNodePoll();
      if (timeoutMs > 0) this.armTimeout(timeoutMs);
      ring.enter(1);
    } else if (timeoutMs !== 0 || ring.unsubmitted > 0) ring.enter(0);
    else {
      // Looks for deferred completions of the kernel without submitting.
      this.armNodePoll();
      ring.enter(0);
    }
    this.refreshTime();
    ring.reap(MAX_COMPLETIONS, this);
    if (this.lateLength > 0) this.deliverLate();
    if (this.provided < this.wanted) this.refill();
    if (this.wanted > MIN_PROVIDED && ++this.quietPasses > QUIET_PASSES) {
      this.quietPasses = 0;
      this.wanted >>= 1;
    }
    if (this.starved.length > 0 && this.provided > 0) {
      const retries = this.starved;
      this.starved = [];
      for (const retry of retries) this.guard(retry);
    }
  }

  protected override get blocksProvided(): number {
    return this.provided;
  }

  protected hasMoreIo(): boolean {
    return this.senders.size > 0 || this.ring.unsubmitted > 0 || this.ring.hasCompletions;
  }

  protected takeNodeReady(): boolean {
    const ready = this.nodeReady;
    this.nodeReady = false;
    return ready;
  }

  protected closePoll(): void {
    this.ring.close();
  }

  private onOwnCompletion(op: number, result: number): void {
    if (op === OWN_NODE_POLL) {
      this.nodePollArmed = false;
      this.nodeReady = true;
    } else if (op === OWN_TIMEOUT && (result === -ETIME || result === -125)) this.timeoutArmed = false;
    else if (op === OWN_TIMEOUT && result === -EALREADY_GONE) this.timeoutArmed = false;
  }

  private armNodePoll(): void {
    if (this.nodePollArmed) return;
    this.nodePollArmed = true;
    this.ring.prepare(IORING_OP.POLL_ADD, this.hook.backendFd, 0, 0, 0, 1, OWN_NODE_POLL, 0);
  }

  /** One TIMEOUT operation serves all waits: moved when a wait must end earlier, left alone when it would end too early. */
  private armTimeout(timeoutMs: number): void {
    const at = performance.now() + timeoutMs;
    if (this.timeoutArmed && this.timeoutAtMs <= at) return;
    this.timespecView.setBigInt64(0, BigInt(Math.floor(timeoutMs / 1000)), true);
    this.timespecView.setBigInt64(8, BigInt(Math.round((timeoutMs % 1000) * 1e6)), true);
    if (this.timeoutArmed) {
      this.ring.prepare(
        IORING_OP.TIMEOUT_REMOVE,
        -1,
        OWN_TIMEOUT,
        0,
        this.timespec.address,
        IORING_TIMEOUT_UPDATE,
        OWN_IGNORE,
        0,
      );
    } else {
      this.ring.prepare(IORING_OP.TIMEOUT, -1, this.timespec.address, 1, 0, 0, OWN_TIMEOUT, 0);
      this.timeoutArmed = true;
    }
    this.timeoutAtMs = at;
  }

  private refill(): void {
    const words = this.bufferRing.i32;
    const slab = this.slab;
    while (this.provided < this.wanted && !slab.mustStopReading) {
      const offset = slab.allocate();
      const at = (this.tail & (RECV_BUFFERS - 1)) * 4;
      const address = slab.address + offset;
      words[at] = address | 0;
      words[at + 1] = (address / 0x1_0000_0000) | 0;
      words[at + 2] = BLOCK_SIZE;
      // Low half: buffer id. The high half of entry 0 is the ring's tail and is written below.
      this.bufferTail[(at + 3) * 2] = offset >> BLOCK_SHIFT;
      this.tail = (this.tail + 1) & 0xffff;
      this.provided++;
    }
    Atomics.store(this.bufferTail, 7, this.tail);
  }

  private freeSlot(slot: number): void {
    this.targets[slot] = null;
    this.dying[slot] = 0;
    this.freeSlots.push(slot);
  }
}

const submitSend = (sender: RingSender): void => sender.submitSend();

const IORING_POLL_ADD_MULTI = 1;
const POLLIN = 1;
const POLLOUT = 4;
const POLLERR = 8;
const POLLHUP = 0x10;
const POLLRDHUP = 0x2000;

/** A file event: level by one-shot polls armed again after each callback, edge by one multishot poll. */
class RingFileEvent implements FileEvent, RingTarget {
  private readonly dispatcher: RingDispatcher;
  private readonly fd: number;
  private readonly callback: (events: number) => void;
  private readonly trigger: FileTriggerType;
  private readonly slot: number;
  private events: number;
  private armed = false;
  private rearm = false;
  private closed = false;
  private injected = 0;
  private readonly injection;

  constructor(
    dispatcher: RingDispatcher,
    fd: number,
    callback: (events: number) => void,
    trigger: FileTriggerType,
    events: number,
  ) {
    this.dispatcher = dispatcher;
    this.fd = fd;
    this.callback = callback;
    this.trigger = trigger;
    this.events = events;
    this.slot = dispatcher.register(this);
    this.injection = dispatcher.createSchedulableCallback(() => {
      const injected = this.injected;
      this.injected = 0;
      if (!this.closed && injected !== 0) this.callback(injected);
    });
    this.arm();
  }

  activate(events: number): void {
    this.injected |= events;
    this.injection.scheduleCallbackNextIteration();
  }

  setEnabled(events: number): void {
    this.injected = 0;
    this.injection.cancel();
    this.events = events;
    if (this.armed) {
      this.rearm = true;
      this.dispatcher.cancel(this.slot, 0);
    } else this.arm();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.injection.cancel();
    if (this.armed) this.dispatcher.cancel(this.slot, 0);
    this.dispatcher.unregister(this.slot);
  }

  onCompletion(_op: number, result: number, flags: number): void {
    if ((flags & IORING_CQE_F_MORE) === 0) this.armed = false;
    if (this.closed) return;
    if (!this.armed && this.rearm) {
      this.rearm = false;
      this.arm();
    }
    if (result < 0) return;
    let ready = 0;
    if ((result & (POLLIN | POLLERR | POLLHUP)) !== 0) ready |= FileReadyType.Read;
    if ((result & (POLLOUT | POLLERR)) !== 0) ready |= FileReadyType.Write;
    if ((result & (POLLRDHUP | POLLERR | POLLHUP)) !== 0) ready |= FileReadyType.Closed;
    ready &= this.events;
    const injected = this.injected;
    this.injected = 0;
    try {
      if ((ready | injected) !== 0) this.callback(ready | injected);
    } finally {
      if (!this.closed && !this.armed) this.arm();
    }
  }

  private arm(): void {
    if (this.events === 0 || this.closed) return;
    let mask = 0;
    if ((this.events & FileReadyType.Read) !== 0) mask |= POLLIN;
    if ((this.events & FileReadyType.Write) !== 0) mask |= POLLOUT;
    if ((this.events & FileReadyType.Closed) !== 0) mask |= POLLRDHUP;
    this.armed = true;
    const multishot = this.trigger === FileTriggerType.Edge ? IORING_POLL_ADD_MULTI : 0;
    this.dispatcher.ring.prepare(IORING_OP.POLL_ADD, this.fd, 0, multishot, 0, mask, this.dispatcher.userData(this.slot, 0), 0);
  }
}
