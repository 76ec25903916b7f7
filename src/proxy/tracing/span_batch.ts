/**
 * Spans that wait to be sent: at most `max`, sent when there are `minFlush()` or after `flushIntervalMs()`, at most a few exports at a time. What does
 * not fit is dropped and counted, so that a collector that fails costs requests nothing.
 */
import type { Dispatcher, Timer } from '../../core/event/dispatcher.ts';
import type { Counter } from '../../core/stats/stats.ts';
import type { Span } from './span.ts';

const MAX_EXPORTS = 4;

export interface SpanBatchOptions {
  readonly dispatcher: Dispatcher;
  readonly max: number;
  readonly minFlush: () => number;
  readonly flushIntervalMs: () => number;
  readonly timerFlushed: Counter;
  readonly dropped: Counter;
  /** Takes the spans; `done` says that the export is over, whatever came of it. It may be called at once. */
  export(spans: readonly Span[], done: () => void): void;
}

export class SpanBatch {
  private readonly options: SpanBatchOptions;
  private readonly timer: Timer;
  private spans: Span[] = [];
  private exports = 0;

  constructor(options: SpanBatchOptions) {
    this.options = options;
    this.timer = options.dispatcher.createTimer(() => {
      if (this.spans.length === 0) return;
      options.timerFlushed.inc();
      this.flush();
    });
  }

  add(span: Span): void {
    if (this.spans.length >= this.options.max) {
      this.options.dropped.inc();
      return;
    }
    this.spans.push(span);
    if (this.spans.length >= this.options.minFlush()) this.flush();
    if (this.spans.length > 0 && !this.timer.enabled) this.timer.enableTimer(this.options.flushIntervalMs());
  }

  private flush(): void {
    if (this.exports >= MAX_EXPORTS) {
      if (!this.timer.enabled) this.timer.enableTimer(this.options.flushIntervalMs());
      return;
    }
    const spans = this.spans;
    this.spans = [];
    this.exports++;
    let over = false;
    this.options.export(spans, () => {
      if (over) return;
      over = true;
      this.exports--;
    });
  }
}
