/**
 * Lets the bytes of one body through at a rate (Envoy: StreamRateLimiter): what comes is kept, and a share of the rate goes on 16 times a
 * second. More than the buffer limit kept stops the producer.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Dispatcher, Timer } from '../../../../core/event/dispatcher.ts';

export interface LimitedBody {
  /** Passes bytes on, which are taken out of `data`. */
  passData(data: SliceBuffer, endStream: boolean): void;
  /** Trailers that were held back may go on. */
  passTrailers(): void;
  onAboveHighWatermark(): void;
  onBelowLowWatermark(): void;
}

const FILLS_PER_SECOND = 16;
const FILL_INTERVAL_MS = 1000 / FILLS_PER_SECOND;

export class StreamRateLimiter {
  private readonly body: LimitedBody;
  private readonly bytesPerFill: number;
  private readonly kept: SliceBuffer;
  private readonly part: SliceBuffer;
  private readonly timer: Timer;
  private endStream = false;
  private trailers = false;

  /** `kibPerSecond` >= 1. */
  constructor(kibPerSecond: number, bufferLimit: number, dispatcher: Dispatcher, body: LimitedBody) {
    this.body = body;
    this.bytesPerFill = Math.max(1, Math.floor((kibPerSecond * 1024) / FILLS_PER_SECOND));
    this.kept = new SliceBuffer(dispatcher.slab);
    this.kept.setWatermarks(
      bufferLimit,
      () => body.onAboveHighWatermark(),
      () => body.onBelowLowWatermark(),
    );
    this.part = new SliceBuffer(dispatcher.slab);
    this.timer = dispatcher.createTimer(() => this.onFill());
  }

  /** Takes all of `data`. */
  write(data: SliceBuffer, endStream: boolean): void {
    data.makePrivate();
    this.kept.move(data);
    this.endStream = endStream;
    if (!this.timer.enabled) this.timer.enableTimer(0);
  }

  /** True: trailers have to wait for `passTrailers`. */
  holdTrailers(): boolean {
    this.trailers = this.kept.length > 0 || this.timer.enabled;
    return this.trailers;
  }

  destroy(): void {
    this.timer.disableTimer();
    this.kept.setWatermarks(0, NOTHING, NOTHING);
    this.kept.clear();
    this.part.clear();
  }

  private onFill(): void {
    const { kept, part } = this;
    part.moveLength(kept, Math.min(this.bytesPerFill, kept.length));
    const last = kept.length === 0;
    if (!last) this.timer.enableTimer(FILL_INTERVAL_MS);
    // The end of the body, or of the stream, may destroy this.
    const { trailers } = this;
    if (part.length > 0 || (last && this.endStream)) this.body.passData(part, last && this.endStream);
    part.clear();
    if (last && trailers) this.body.passTrailers();
  }
}

const NOTHING = (): void => {};
