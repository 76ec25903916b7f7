/**
 * One span of a trace (Envoy: Tracing::Span). A span that is not sampled has ids only from the moment on that somebody needs them, and
 * nobody computes tags for it: what it costs is one object and the headers that tell upstreams.
 */
import type { HeaderMap } from '../http/header_map.ts';
import { randomSpanId } from './ids.ts';

export type SpanKind = 'server' | 'client';

/** What makes, passes on and sends spans (Envoy: Tracing::Driver). Implementations: `extensions/tracers`. */
export interface TraceDriver {
  /** `traced`: what sampling decided for a request that brought no decision along. Null: the request is not traced at all. */
  startSpan(headers: HeaderMap, traced: boolean, name: string, kind: SpanKind, startMs: number): Span | null;
  startChild(parent: Span, name: string, startMs: number): Span;
  /** A new trace's id. */
  newTraceId(): string;
  inject(span: Span, headers: HeaderMap): void;
  /** A sampled span is over. */
  report(span: Span): void;
}

export interface SpanEvent {
  readonly name: string;
  /** Wall clock. */
  readonly ms: number;
}

export class Span {
  readonly driver: TraceDriver;
  name: string;
  readonly kind: SpanKind;
  sampled: boolean;
  readonly startMs: number;
  endMs = 0;
  /** '' for a root. */
  parentId = '';
  traceState = '';
  /** Zipkin: the id is the client's, too. */
  shared = false;
  error = false;
  /** Each attempt at an upstream has a span of its own. */
  spawnsUpstream = false;
  /** Keys and values in turn. */
  readonly tags: string[] = [];
  readonly events: SpanEvent[] = [];
  private trace = '';
  private id = '';

  constructor(driver: TraceDriver, name: string, kind: SpanKind, sampled: boolean, startMs: number) {
    this.driver = driver;
    this.name = name;
    this.kind = kind;
    this.sampled = sampled;
    this.startMs = startMs;
  }

  /** Lower-case hexadecimal. */
  get traceId(): string {
    if (this.trace === '') this.trace = this.driver.newTraceId();
    return this.trace;
  }

  set traceId(id: string) {
    this.trace = id;
  }

  get spanId(): string {
    if (this.id === '') this.id = randomSpanId();
    return this.id;
  }

  set spanId(id: string) {
    this.id = id;
  }

  setTag(name: string, value: string): void {
    this.tags.push(name, value);
  }

  tag(name: string): string | undefined {
    for (let i = 0; i < this.tags.length; i += 2) if (this.tags[i] === name) return this.tags[i + 1];
    return undefined;
  }

  inject(headers: HeaderMap): void {
    this.driver.inject(this, headers);
  }

  finish(endMs: number): void {
    this.endMs = endMs;
    if (this.sampled) this.driver.report(this);
  }
}
