/**
 * The byte streams between TCP and its application, and rings that implement them. Both rings start without memory and grow by doubling,
 * so an idle connection holds none. The session layer's FIFOs can take their place.
 */

/** What was written and is not acknowledged yet. Offset 0 is the first unacknowledged byte. */
export interface SendSource {
  readonly length: number;
  copyOut(offset: number, to: Uint8Array, at: number, length: number): void;
  /** The first `length` bytes are acknowledged. */
  drop(length: number): void;
  release(): void;
}

/** Where received bytes go. Offset 0 is the next byte in order. */
export interface ReceiveSink {
  /** Bytes in order that were not read yet. */
  readonly length: number;
  /** Most bytes it may hold, those that wait out of order included. */
  limit: number;
  /** False when there is no memory: the bytes are as good as lost on the way. */
  write(offset: number, from: Uint8Array, at: number, length: number): boolean;
  /** The next `length` bytes, all written, are now in order. */
  commit(length: number): void;
  /** Asks for `TcpConnection.windowOpened` when `bytes` are free; true: they are already. */
  wantRoom?(bytes: number): boolean;
  release(): void;
}

const EMPTY = new Uint8Array(0);
const MIN_CAPACITY = 4096;

class Ring {
  protected memory: Uint8Array<ArrayBuffer> = EMPTY;
  protected head = 0;
  length = 0;

  protected reserve(bytes: number): void {
    if (bytes <= this.memory.length) return;
    let capacity = Math.max(this.memory.length, MIN_CAPACITY);
    while (capacity < bytes) capacity *= 2;
    const grown = new Uint8Array(capacity);
    // Everything moves, also what is out of order behind `length`.
    const first = this.memory.length - this.head;
    grown.set(this.memory.subarray(this.head), 0);
    grown.set(this.memory.subarray(0, this.head), first);
    this.memory = grown;
    this.head = 0;
  }

  protected put(offset: number, from: Uint8Array, at: number, length: number): void {
    const mask = this.memory.length - 1;
    const start = (this.head + offset) & mask;
    const first = Math.min(length, this.memory.length - start);
    copy(from, at, this.memory, start, first);
    if (first < length) copy(from, at + first, this.memory, 0, length - first);
  }

  protected take(offset: number, to: Uint8Array, at: number, length: number): void {
    const mask = this.memory.length - 1;
    const start = (this.head + offset) & mask;
    const first = Math.min(length, this.memory.length - start);
    copy(this.memory, start, to, at, first);
    if (first < length) copy(this.memory, 0, to, at + first, length - first);
  }

  protected advance(length: number): void {
    this.head = this.memory.length === 0 ? 0 : (this.head + length) & (this.memory.length - 1);
    this.length -= length;
  }

  release(): void {
    this.memory = EMPTY;
    this.head = 0;
    this.length = 0;
  }
}

/** A byte loop up to 48 bytes, `set` above: the view that `set` needs costs more than a short loop. */
function copy(from: Uint8Array, at: number, to: Uint8Array, toAt: number, length: number): void {
  if (length <= 48) for (let i = 0; i < length; i++) to[toAt + i] = from[at + i];
  else to.set(from.subarray(at, at + length), toAt);
}

export class SendBuffer extends Ring implements SendSource {
  limit: number;

  constructor(limit: number) {
    super();
    this.limit = limit;
  }

  get free(): number {
    return Math.max(0, this.limit - this.length);
  }

  /** Takes as much of [at, at + length) as fits; how much. */
  write(from: Uint8Array, at: number, length: number): number {
    const n = Math.min(length, this.free);
    if (n <= 0) return 0;
    this.reserve(this.length + n);
    this.put(this.length, from, at, n);
    this.length += n;
    return n;
  }

  copyOut(offset: number, to: Uint8Array, at: number, length: number): void {
    this.take(offset, to, at, length);
  }

  drop(length: number): void {
    this.advance(length);
  }
}

export class ReceiveBuffer extends Ring implements ReceiveSink {
  limit: number;

  constructor(limit: number) {
    super();
    this.limit = limit;
  }

  write(offset: number, from: Uint8Array, at: number, length: number): boolean {
    const end = this.length + offset + length;
    this.reserve(end);
    this.put(this.length + offset, from, at, length);
    return true;
  }

  commit(length: number): void {
    this.length += length;
  }

  /** Copies up to `length` bytes out; how many. */
  read(to: Uint8Array, at: number, length: number): number {
    const n = Math.min(length, this.length);
    if (n === 0) return 0;
    this.take(0, to, at, n);
    this.advance(n);
    return n;
  }

  /** The first contiguous bytes, where they lie: valid until the next call of anything here. */
  peek(): Uint8Array {
    return this.memory.subarray(this.head, Math.min(this.head + this.length, this.memory.length));
  }

  consume(length: number): void {
    this.advance(length);
  }
}
