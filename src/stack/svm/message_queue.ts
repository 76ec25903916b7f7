/**
 * A message queue of one direction: an IO ring (32-bit events) and a control ring (64-byte messages) with one doorbell.
 *
 * The doorbell rings only when the consumer has armed it, which it does when it found both rings empty and is about to sleep: so once
 * per empty -> non-empty, and never while the consumer is awake.
 */
import { CONTROL_ELEMENT_WORDS, IO_ELEMENT_WORDS } from './layout.ts';
import { RingConsumer, RingProducer } from './ring.ts';
import { queueParts, type Segment } from './segment.ts';

export class MessageQueueProducer {
  readonly io: RingProducer;
  readonly control: RingProducer;
  private readonly i32: Int32Array<ArrayBuffer>;
  private readonly armed: number;
  private readonly ring: () => void;
  private held = false;
  private due = false;

  /** `ring` wakes the consumer. */
  constructor(segment: Segment, direction: number, ring: () => void) {
    const parts = queueParts(segment, direction);
    const { ioRingCapacity, controlRingCapacity } = segment.layout;
    this.i32 = segment.i32;
    this.armed = parts.armed;
    this.ring = ring;
    this.io = new RingProducer(segment.i32, parts.io, ioRingCapacity, IO_ELEMENT_WORDS);
    this.control = new RingProducer(segment.i32, parts.control, controlRingCapacity, CONTROL_ELEMENT_WORDS);
  }

  get corrupted(): boolean {
    return this.io.corrupted || this.control.corrupted;
  }

  /** Sends an IO event; false when the ring is full. */
  sendIo(event: number): boolean {
    const at = this.io.reserve();
    if (at < 0) return false;
    this.i32[at] = event;
    this.io.publish();
    this.signal();
    return true;
  }

  /** Sends a control message of at most 16 words; false when the ring is full. `lazy`: do not wake the consumer for it. */
  sendControl(message: Int32Array, lazy = false): boolean {
    const at = this.control.reserve();
    if (at < 0) return false;
    for (let i = 0; i < CONTROL_ELEMENT_WORDS; i++) this.i32[at + i] = message[i];
    this.control.publish();
    if (!lazy) this.signal();
    return true;
  }

  /** Until `releaseBell` the doorbell does not ring: many messages, one sound. */
  holdBell(): void {
    this.held = true;
  }

  releaseBell(): void {
    this.held = false;
    if (!this.due) return;
    this.due = false;
    this.signal();
  }

  signal(): void {
    if (this.held) this.due = true;
    else if (Atomics.load(this.i32, this.armed) !== 0 && Atomics.exchange(this.i32, this.armed, 0) !== 0) this.ring();
  }
}

export class MessageQueueConsumer {
  readonly io: RingConsumer;
  readonly control: RingConsumer;
  private readonly i32: Int32Array<ArrayBuffer>;
  private readonly armed: number;

  constructor(segment: Segment, direction: number) {
    const parts = queueParts(segment, direction);
    const { ioRingCapacity, controlRingCapacity } = segment.layout;
    this.i32 = segment.i32;
    this.armed = parts.armed;
    this.io = new RingConsumer(segment.i32, parts.io, ioRingCapacity, IO_ELEMENT_WORDS);
    this.control = new RingConsumer(segment.i32, parts.control, controlRingCapacity, CONTROL_ELEMENT_WORDS);
  }

  get corrupted(): boolean {
    return this.io.corrupted || this.control.corrupted;
  }

  get empty(): boolean {
    return this.io.available === 0 && this.control.available === 0;
  }

  /** Takes the oldest IO event, or -1. */
  takeIo(): number {
    if (this.io.available === 0) return -1;
    const event = this.i32[this.io.element] & 0x7fff_ffff;
    this.io.consume();
    return event;
  }

  /** Copies the oldest control message into `message`; false when there is none. */
  takeControl(message: Int32Array): boolean {
    if (this.control.available === 0) return false;
    const at = this.control.element;
    for (let i = 0; i < CONTROL_ELEMENT_WORDS; i++) message[i] = this.i32[at + i];
    this.control.consume();
    return true;
  }

  /** Asks for the doorbell. False when something has arrived meanwhile: then look again instead of sleeping. */
  arm(): boolean {
    Atomics.store(this.i32, this.armed, 1);
    return this.empty;
  }

  /** True while the doorbell will ring for the next message. */
  get isArmed(): boolean {
    return Atomics.load(this.i32, this.armed) === 1;
  }
}
