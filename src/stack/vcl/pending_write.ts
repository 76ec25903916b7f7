/** What a stream was given to write (`_write`, `_writev`), until its session has taken all of it. */
import { E } from '../../core/sys/libc.ts';
import type { VclSession } from './session.ts';

export type WriteCallback = (error?: Error | null) => void;

export class PendingWrite {
  /** The session takes no more for now. */
  static readonly FULL = -E.AGAIN;
  readonly callback: WriteCallback;
  /** Bytes that the last `writeTo` handed over. */
  taken = 0;
  private readonly chunks: readonly Uint8Array[];
  private at = 0;
  private offset = 0;

  constructor(chunks: readonly Uint8Array[], callback: WriteCallback) {
    this.chunks = chunks;
    this.callback = callback;
  }

  /** Hands over what fits, and tells the other side once. 0: all is written; FULL: some is left; otherwise a negative errno. */
  writeTo(session: VclSession): number {
    this.taken = 0;
    let n = 0;
    while (this.at < this.chunks.length) {
      const chunk = this.chunks[this.at];
      n = session.writeQuietly(chunk, this.offset, chunk.length - this.offset);
      if (n < 0) break;
      this.taken += n;
      this.offset += n;
      if (this.offset < chunk.length) continue;
      this.at++;
      this.offset = 0;
    }
    if (this.taken > 0) session.announceWritten();
    return Math.min(n, 0);
  }
}
