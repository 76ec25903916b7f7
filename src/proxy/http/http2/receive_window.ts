/**
 * What the peer may send on the whole connection (RFC 9113 5.2.1). Window is given back in halves, and less than configured while memory
 * is short.
 */
import type { Slab } from '../../../core/buffer/slab.ts';
import { DEFAULT_WINDOW } from './frame.ts';
import type { FrameWriter } from './frame_writer.ts';

export class ReceiveWindow {
  private readonly writer: FrameWriter;
  private readonly slab: Slab;
  private readonly configured: number;
  /** What it is when all was given back. */
  private size = DEFAULT_WINDOW;
  private left = DEFAULT_WINDOW;
  private toCredit = 0;

  constructor(writer: FrameWriter, slab: Slab, configured: number) {
    this.writer = writer;
    this.slab = slab;
    this.configured = configured;
  }

  /** False: the peer sent more than it may. */
  take(bytes: number): boolean {
    this.left -= bytes;
    return this.left >= 0;
  }

  /** `bytes` were taken out of the connection's hands. */
  credit(bytes: number): void {
    this.toCredit += bytes;
    if (this.toCredit < this.size >> 1) return;
    this.toCredit += this.grow();
    this.writer.windowUpdate(0, this.toCredit);
    this.left += this.toCredit;
    this.toCredit = 0;
  }

  /** After the first SETTINGS. */
  open(): void {
    const extra = this.grow();
    this.left += extra;
    if (extra > 0) this.writer.windowUpdate(0, extra);
  }

  /** Raises the window to what is configured, or to the share of it that memory allows now; by how much. */
  private grow(): number {
    const size = this.configured >> this.slab.pressure;
    const grown = Math.max(size - this.size, 0);
    this.size += grown;
    return grown;
  }
}
