/** A header block that goes on in CONTINUATION frames (RFC 9113 6.10): put together, and bounded in bytes and in pieces. */
import { BLOCK_SIZE } from '../../../core/buffer/slab.ts';
import { FRAME_SIZE } from './frame.ts';

/** Frames of one block. */
const MAX_PIECES = 128;

export class HeaderBlock {
  /** Whose block it is; 0: none is open. */
  streamId = 0;
  /** Of its HEADERS frame. */
  flags = 0;
  length = 0;
  private bytes: Uint8Array | null = null;
  private pieces = 0;
  private readonly limit: number;

  constructor(maxHeadersKb: number) {
    // Nobody sends more than twice what is accepted, in so many pieces, for another reason than to waste our time.
    this.limit = Math.max(2 * maxHeadersKb * 1024, FRAME_SIZE);
  }

  begin(streamId: number, flags: number): void {
    this.streamId = streamId;
    this.flags = flags;
    this.length = 0;
    this.pieces = 0;
  }

  /** False: it is too large, or has too many pieces. */
  append(u8: Uint8Array, at: number, end: number): boolean {
    const length = this.length + end - at;
    if (length > this.limit || ++this.pieces > MAX_PIECES) return false;
    if (this.bytes === null || length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(length, 2 * (this.bytes?.length ?? BLOCK_SIZE)));
      if (this.bytes !== null) grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(u8.subarray(at, end), this.length);
    this.length = length;
    return true;
  }

  /** The block is complete: its bytes, of which `length` count. */
  take(): Uint8Array {
    const bytes = this.bytes as Uint8Array;
    this.bytes = null;
    this.streamId = 0;
    return bytes;
  }

  release(): void {
    this.bytes = null;
  }
}
