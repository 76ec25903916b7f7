/**
 * A buffer as the host needs it. The core's SliceBuffer is one by its shape; `ByteBuffer` is a small one over an array, for what comes in
 * one piece (configurations, answers of call-outs) and for streams that live in another thread.
 */

export interface HostBuffer {
  readonly length: number;
  /** Copies [start, start + target.length) out. */
  copyOut(start: number, target: Uint8Array): void;
  /** Drops the first bytes. */
  drain(length: number): void;
  append(bytes: Uint8Array, start?: number, end?: number): void;
  prepend(bytes: Uint8Array, start?: number, end?: number): void;
}

export class ByteBuffer implements HostBuffer {
  bytes: Uint8Array;
  /** Something was changed since the flag was last reset by whoever looks. */
  changed = false;

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.bytes = bytes;
  }

  get length(): number {
    return this.bytes.length;
  }

  copyOut(start: number, target: Uint8Array): void {
    if (start + target.length > this.bytes.length) throw new RangeError('copyOut beyond the end of the buffer');
    target.set(this.bytes.subarray(start, start + target.length));
  }

  drain(length: number): void {
    if (length > this.bytes.length) throw new RangeError(`drain(${length}) of a buffer of ${this.bytes.length} bytes`);
    if (length > 0) this.changed = true;
    this.bytes = this.bytes.subarray(length);
  }

  append(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    this.join(this.bytes, bytes.subarray(start, end));
  }

  prepend(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    this.join(bytes.subarray(start, end), this.bytes);
  }

  private join(first: Uint8Array, second: Uint8Array): void {
    const joined = new Uint8Array(first.length + second.length);
    joined.set(first);
    joined.set(second, first.length);
    this.bytes = joined;
    this.changed = true;
  }
}
