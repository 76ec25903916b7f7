/**
 * Single-producer single-consumer ring of fixed elements in shared memory. Each end keeps its own index privately and checks the
 * other's: a distance above the capacity marks the ring `corrupted`, which then moves nothing any more.
 */
import { RingWord } from './layout.ts';

export class RingProducer {
  corrupted = false;
  private readonly i32: Int32Array<ArrayBuffer>;
  private readonly word: number;
  private readonly capacity: number;
  private readonly elementWords: number;
  private tail = 0;
  private head = 0;

  constructor(i32: Int32Array<ArrayBuffer>, word: number, capacity: number, elementWords: number) {
    this.i32 = i32;
    this.word = word;
    this.capacity = capacity;
    this.elementWords = elementWords;
  }

  /** Word index of the element to fill, or -1 when the ring is full: then the consumer is asked to say when there is room. */
  reserve(): number {
    if (this.corrupted) return -1;
    if ((this.tail - this.head) >>> 0 >= this.capacity && !this.hasRoom()) {
      Atomics.store(this.i32, this.word + RingWord.wantRoom, 1);
      if (!this.hasRoom()) return -1;
    }
    return this.word + RingWord.elements + (this.tail & (this.capacity - 1)) * this.elementWords;
  }

  /** Makes the reserved element visible. */
  publish(): void {
    this.tail = (this.tail + 1) | 0;
    Atomics.store(this.i32, this.word + RingWord.tail, this.tail);
  }

  /** Elements that the consumer has not taken. */
  get unread(): number {
    this.hasRoom();
    return (this.tail - this.head) >>> 0;
  }

  /** How far the consumer had come when that was last looked at. */
  get position(): number {
    return this.head;
  }

  private hasRoom(): boolean {
    const head = Atomics.load(this.i32, this.word + RingWord.head);
    if ((head - this.head) >>> 0 > (this.tail - this.head) >>> 0) this.corrupted = true;
    else this.head = head;
    return !this.corrupted && (this.tail - this.head) >>> 0 < this.capacity;
  }
}

export class RingConsumer {
  corrupted = false;
  private readonly i32: Int32Array<ArrayBuffer>;
  private readonly word: number;
  private readonly capacity: number;
  private readonly elementWords: number;
  private head = 0;

  constructor(i32: Int32Array<ArrayBuffer>, word: number, capacity: number, elementWords: number) {
    this.i32 = i32;
    this.word = word;
    this.capacity = capacity;
    this.elementWords = elementWords;
  }

  /** Elements that are there. */
  get available(): number {
    if (this.capacity === 0) return 0;
    const n = (Atomics.load(this.i32, this.word + RingWord.tail) - this.head) >>> 0;
    if (n <= this.capacity && !this.corrupted) return n;
    this.corrupted = true;
    return 0;
  }

  /** Word index of the oldest element. Copy what is needed before using it: the producer can still change it. */
  get element(): number {
    return this.word + RingWord.elements + (this.head & (this.capacity - 1)) * this.elementWords;
  }

  /** Frees the oldest element. */
  consume(): void {
    this.head = (this.head + 1) | 0;
    Atomics.store(this.i32, this.word + RingWord.head, this.head);
  }

  /** True when the producer waits for room and is now to be woken. */
  takeWantRoom(): boolean {
    const at = this.word + RingWord.wantRoom;
    return Atomics.load(this.i32, at) !== 0 && Atomics.exchange(this.i32, at, 0) !== 0;
  }
}
