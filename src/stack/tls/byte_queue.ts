/**
 * A queue of ciphertext between a TLS connection and what carries it: TCP reads from it as from a session's send FIFO and writes to it as to
 * a receive FIFO; between two TLS connections of one stack one queue is both. Holds memory only while it holds bytes, or has held many.
 */
import { ReceiveBuffer, type ReceiveSink, type SendSource } from '../tcp/byte_buffers.ts';

/** What an empty queue may keep. */
const KEPT_BYTES = 16 * 1024;

export class ByteQueue extends ReceiveBuffer implements SendSource, ReceiveSink {
  /** There are new bytes. */
  onData: () => void = () => {};
  /** There is the room that was asked for. */
  onRoom: () => void = () => {};
  private wanted = 0;
  /** Bytes are placed beyond the end, so the memory must stay. */
  private readonly reorders: boolean;

  constructor(limit: number, reorders: boolean) {
    super(limit);
    this.reorders = reorders;
  }

  get free(): number {
    return Math.max(0, this.limit - this.length);
  }

  /** Appends all, also beyond the limit: who appends looks at `free` before. */
  append(from: Uint8Array, at: number, length: number): void {
    if (length === 0) return;
    this.write(0, from, at, length);
    this.commit(length);
  }

  override commit(length: number): void {
    super.commit(length);
    this.onData();
  }

  copyOut(offset: number, to: Uint8Array, at: number, length: number): void {
    this.take(offset, to, at, length);
  }

  drop(length: number): void {
    this.consume(length);
  }

  override consume(length: number): void {
    super.consume(length);
    if (this.length === 0 && !this.reorders && this.memory.length > KEPT_BYTES) this.release();
    if (this.wanted === 0 || this.free < this.wanted) return;
    this.wanted = 0;
    this.onRoom();
  }

  /** Asks for `onRoom` when `bytes` are free; true: they are already. */
  wantRoom(bytes: number): boolean {
    if (this.free >= bytes) return true;
    this.wanted = bytes;
    return false;
  }
}
