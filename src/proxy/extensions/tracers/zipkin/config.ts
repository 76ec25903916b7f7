/**
 * `envoy.tracers.zipkin`: spans as Zipkin's JSON v2 to an HTTP collector, B3 headers between services (one header or several are understood,
 * several are sent).
 *
 * Stats below `tracing.zipkin.`; runtime keys `tracing.zipkin.flush_interval_ms` (5000), `min_flush_spans` (5), `request_timeout` (5000). Left out,
 * refused: HTTP_PROTO and GRPC.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { ConfigError } from '../../../config/error.ts';
import { AsyncClient } from '../../../http/async_client.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { randomSpanId, randomTraceId } from '../../../tracing/ids.ts';
import { Span, type SpanKind, type TraceDriver } from '../../../tracing/span.ts';
import { SpanBatch } from '../../../tracing/span_batch.ts';
import type { TracerFactory } from '../tracer_factory.ts';
import { extractB3, injectB3 } from './b3.ts';
import { zipkinJson } from './zipkin_json.ts';

interface ZipkinConfig {
  collectorCluster?: string;
  collectorEndpoint?: string;
  traceId128bit?: boolean;
  sharedSpanContext?: boolean;
  collectorEndpointVersion?: string;
  collectorHostname?: string;
}

export const factory: TracerFactory = {
  typeName: 'envoy.config.trace.v3.ZipkinConfig',
  create: (config, context) => new ZipkinDriver(config as ZipkinConfig, context),
};

class ZipkinDriver implements TraceDriver {
  private readonly wide: boolean;
  private readonly shares: boolean;
  private readonly batch: SpanBatch;

  constructor(config: ZipkinConfig, context: FactoryContext) {
    this.wide = config.traceId128bit ?? false;
    this.shares = config.sharedSpanContext ?? true;
    const cluster = config.collectorCluster ?? '';
    if (context.clusterManager.get(cluster) === null)
      throw new ConfigError(`envoy.tracers.zipkin: unknown cluster '${cluster}'`, { path: 'collector_cluster' });
    this.batch = createBatch(config, cluster, context);
  }

  newTraceId(): string {
    return this.wide ? randomTraceId() : randomSpanId();
  }

  startSpan(headers: HeaderMap, traced: boolean, name: string, kind: SpanKind, startMs: number): Span | null {
    const given = extractB3(headers);
    if (given === null) return new Span(this, name, kind, traced, startMs);
    if (given === 'invalid') return null;
    const span = new Span(this, name, kind, given.sampled ?? traced, startMs);
    if (given.traceId === '') return span;
    span.traceId = given.traceId;
    if (kind === 'server' && this.shares) {
      span.spanId = given.spanId;
      span.parentId = given.parentId;
      span.shared = true;
    } else span.parentId = given.spanId;
    return span;
  }

  startChild(parent: Span, name: string, startMs: number): Span {
    const span = new Span(this, name, 'client', parent.sampled, startMs);
    span.traceId = parent.traceId;
    span.parentId = parent.spanId;
    return span;
  }

  inject(span: Span, headers: HeaderMap): void {
    injectB3(span, headers);
  }

  report(span: Span): void {
    this.batch.add(span);
  }
}

function createBatch(config: ZipkinConfig, cluster: string, context: FactoryContext): SpanBatch {
  const { runtime, dispatcher, localInfo } = context;
  const client = AsyncClient.of(context);
  const stats = context.scope.scope('tracing.zipkin.');
  const counter = (name: string) => stats.counter(name);
  const [sent, reports, dropped, failed] = ['spans_sent', 'reports_sent', 'reports_dropped', 'reports_failed'].map(counter);
  stats.counter('reports_skipped_no_cluster');
  const host = config.collectorHostname === undefined || config.collectorHostname === '' ? cluster : config.collectorHostname;
  const number = (key: string, fallback: number): number => runtime.snapshot.getInteger(`tracing.zipkin.${key}`, fallback);
  return new SpanBatch({
    dispatcher,
    max: 1024,
    minFlush: () => number('min_flush_spans', 5),
    flushIntervalMs: () => number('flush_interval_ms', 5000),
    timerFlushed: counter('timer_flushed'),
    dropped: counter('spans_dropped'),
    export(spans, done) {
      const body = new SliceBuffer(dispatcher.slab);
      body.append(Buffer.from(zipkinJson(spans, localInfo.clusterName, localInfo.address)));
      const headers = HeaderMap.of(dispatcher.slab, [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':authority', host],
        [':path', config.collectorEndpoint ?? '/'],
        ['content-type', 'application/json'],
      ]);
      sent.add(spans.length);
      const callbacks = {
        onSuccess(response: { headers: HeaderMap; localReplyDetails: string }) {
          // The collector takes spans with 202.
          if (response.localReplyDetails !== '') failed.inc();
          else if (response.headers.get(':status') === '202') reports.inc();
          else dropped.inc();
          done();
        },
        onFailure() {
          failed.inc();
          done();
        },
      };
      const options = { timeoutMs: number('request_timeout', 5000), sendXff: false, sendInternal: false };
      client.send(cluster, headers, body, callbacks, options);
    },
  });
}
