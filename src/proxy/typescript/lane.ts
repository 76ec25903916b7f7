/**
 * One direction of a stream in a filter's adapter: what arrives while the filter is busy with a promise waits here, in order, and the
 * phases it belongs to run when it is done. What the filter has let pass goes back to the filter manager, which takes it on.
 *
 * A lane that is never busy is never asked: sync phases go straight through.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import { H } from '../http/header_names.ts';
import type { Body, BodyView } from './body_view.ts';
import type { HeadersView } from './headers_view.ts';

/** The side of the filter manager that a lane works on. */
export interface LaneSide {
  readonly headers: HeadersView;
  readonly trailers: HeadersView;
  bufferLimit(): number;
  /** Gives data to the manager, to be delivered to the next filter by `resume`. */
  give(data: SliceBuffer): void;
  /** Hands data to the next filter now; everything after it stays held. */
  inject(data: SliceBuffer): void;
  resume(): void;
  /** Counted: stops (starts) what produces the data. */
  backUp(full: boolean): void;
  /** The body is too long to be kept. */
  tooLarge(): void;
  /** Runs the filter's data phase: true when it is done, false when it is busy with a promise (`settled` follows). */
  runData(body: BodyView, endStream: boolean): boolean;
  runTrailers(): boolean;
  /** A promise was settled. */
  wake(): void;
}

/** Someone who waits for the whole body. */
interface Waiter {
  readonly maxBytes: number;
  resolve(body: Body): void;
}

export class Lane {
  /** What the filter holds in its hand while it works on this lane's data. */
  readonly body: BodyView;
  /** A promise of the filter is pending. */
  busy = false;
  /** Everything passes without the filter: it failed open. */
  bypass = false;
  /** The last data (or trailers, or headers) of the message are here. */
  private ended = false;
  /** The last data came in a frame of its own kind (not with headers or trailers) and the filter has not seen the end yet. */
  private endDue = false;
  private trailersHere = false;
  private trailersDone = false;
  /** Something is held back: `resume` is due. */
  private holding = false;
  private headersHeld = false;
  private headersOnly = false;
  /** The filter has seen the body whole: the data phase does not come. */
  private consumed = false;
  private full = false;
  private queue: SliceBuffer | null = null;
  private current: SliceBuffer | null = null;
  private ready: SliceBuffer | null = null;
  private waiter: Waiter | null = null;
  /** Counts streams: one may end while its data is passed on. */
  private epoch = 0;
  private readonly side: LaneSide;
  private readonly newBuffer: () => SliceBuffer;

  constructor(side: LaneSide, body: BodyView, newBuffer: () => SliceBuffer) {
    this.side = side;
    this.body = body;
    this.newBuffer = newBuffer;
  }

  /** The stream is over. */
  reset(): void {
    this.epoch++;
    this.busy = false;
    this.bypass = false;
    this.ended = false;
    this.endDue = false;
    this.trailersHere = false;
    this.trailersDone = false;
    this.holding = false;
    this.headersHeld = false;
    this.headersOnly = false;
    this.consumed = false;
    this.full = false;
    this.body.buffer = null;
    this.waiter = null;
    this.queue?.clear();
    this.current?.clear();
    this.ready?.clear();
  }

  /** A header phase began that did not settle at once. */
  holdHeaders(endStream: boolean): void {
    this.busy = true;
    this.holding = true;
    this.headersHeld = true;
    this.headersOnly = endStream;
    if (endStream) this.ended = true;
  }

  /** Data that the filter is busy with: takes all of it. */
  holdCurrent(data: SliceBuffer, endStream: boolean): SliceBuffer {
    this.busy = true;
    this.holding = true;
    if (endStream) this.ended = true;
    this.current ??= this.newBuffer();
    this.current.move(data);
    return this.current;
  }

  holdTrailers(): void {
    this.busy = true;
    this.holding = true;
    this.ended = true;
    this.trailersHere = true;
    this.trailersDone = true;
  }

  /** Data that arrives while the filter is busy: takes all of it. */
  enqueue(data: SliceBuffer, endStream: boolean): void {
    const queue = (this.queue ??= this.newBuffer());
    queue.move(data);
    if (endStream) {
      this.ended = true;
      this.endDue = true;
    }
    if (this.waiter !== null) this.checkWaiter();
    else if (!this.full && this.side.bufferLimit() > 0 && queue.length > this.side.bufferLimit()) {
      this.full = true;
      this.side.backUp(true);
    }
  }

  enqueueTrailers(): void {
    this.ended = true;
    this.trailersHere = true;
    this.checkWaiter();
  }

  /** The filter has something in hand that later data must not overtake. */
  get holds(): boolean {
    return this.holding;
  }

  /** Data that the filter adds: behind what it has let pass. */
  add(data: SliceBuffer): void {
    this.take(data);
  }

  /** Resolves when the message is here whole. */
  whole(maxBytes: number): Promise<Body> {
    if (!this.headersHeld || this.waiter !== null) {
      return Promise.reject(new Error('a body can be asked for once, in an async header phase'));
    }
    return new Promise((resolve) => {
      this.waiter = { maxBytes, resolve };
      // A limit of the connection must not stop what the filter waits for.
      this.unblock();
      this.checkWaiter();
    });
  }

  private checkWaiter(): void {
    const waiter = this.waiter;
    if (waiter === null) return;
    const queue = (this.queue ??= this.newBuffer());
    if (queue.length > waiter.maxBytes) {
      this.waiter = null;
      this.side.tooLarge();
      return;
    }
    if (!this.ended) return;
    this.waiter = null;
    this.consumed = true;
    this.body.buffer = queue;
    waiter.resolve(this.body);
    this.side.wake();
  }

  /** The promise settled (or the filter failed open): goes on with what waits. */
  settled(): void {
    this.busy = false;
    this.body.buffer = null;
    if (this.current !== null && this.current.length > 0) this.take(this.current);
    this.pump();
  }

  /** Runs phases over what waits until there is none, or the filter is busy again. */
  private pump(): void {
    const queue = this.queue;
    const epoch = this.epoch;
    if (this.consumed && queue !== null) {
      this.endDue = false;
      this.fixLength(queue);
      this.take(queue);
    }
    while (queue !== null && (queue.length > 0 || this.endDue)) {
      const current = (this.current ??= this.newBuffer());
      current.move(queue);
      const last = this.endDue;
      this.endDue = false;
      this.unblock();
      if (!this.bypass) {
        this.body.buffer = current;
        const done = this.side.runData(this.body, last);
        if (epoch !== this.epoch) return;
        if (!done) {
          this.busy = true;
          this.flush();
          return;
        }
        this.body.buffer = null;
      }
      this.take(current);
    }
    this.unblock();
    if (this.trailersHere && !this.trailersDone) {
      this.trailersDone = true;
      const done = this.bypass || this.side.runTrailers();
      if (epoch !== this.epoch) return;
      if (!done) {
        this.busy = true;
        return;
      }
    }
    this.release();
  }

  private take(from: SliceBuffer): void {
    this.ready ??= this.newBuffer();
    this.ready.move(from);
  }

  /** While a later piece is being worked on, earlier ones may go, unless the manager would take them for the last. */
  private flush(): void {
    if (this.ended || this.ready === null || this.ready.length === 0) return;
    this.headersHeld = false;
    this.side.inject(this.ready);
  }

  private release(): void {
    if (!this.holding) return;
    this.holding = false;
    this.headersHeld = false;
    if (this.ready !== null && this.ready.length > 0) this.side.give(this.ready);
    this.side.resume();
  }

  private unblock(): void {
    if (!this.full) return;
    this.full = false;
    this.side.backUp(false);
  }

  private fixLength(body: SliceBuffer): void {
    const headers = this.side.headers.map;
    // The answer to a HEAD, or a 304, may tell a length without having a body.
    if (headers === null || !this.headersHeld || (this.headersOnly && body.length === 0)) return;
    if (headers.hasId(H['content-length'])) headers.setId(H['content-length'], String(body.length));
    // A message that had none gets one with its first byte.
    else if (body.length > 0 && !this.trailersHere && !headers.hasId(H['transfer-encoding'])) {
      headers.addId(H['content-length'], String(body.length));
    }
  }
}
