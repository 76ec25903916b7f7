/**
 * `envoy.tracers.opentelemetry`: spans as OTLP over gRPC or HTTP, W3C trace context (`traceparent`, `tracestate`) between services.
 *
 * Stats below `tracing.opentelemetry.`; runtime keys `tracing.opentelemetry.flush_interval_ms` (5000) and `min_flush_spans` (5). Left out,
 * refused: the samplers and resource detectors of Dynatrace, CEL.
 */

import { ProtoWriter } from '../../../common/protobuf_writer.ts';
import { ConfigError } from '../../../config/error.ts';
import { type GrpcServiceConfig, parseGrpcService } from '../../../grpc/grpc_service.ts';
import { AsyncClient } from '../../../http/async_client.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { NO_SPAN, randomTraceId } from '../../../tracing/ids.ts';
import { Span, type SpanKind, type TraceDriver } from '../../../tracing/span.ts';
import { SpanBatch } from '../../../tracing/span_batch.ts';
import {
  grpcExporter,
  type HttpServiceConfig,
  httpExporter,
  type OtlpExporter,
  parseHttpService,
} from '../../common/otlp/otlp.ts';
import type { TracerFactory } from '../tracer_factory.ts';
import { writeTraces } from './otlp_traces.ts';
import { type DetectorConfig, resourceAttributes } from './resource.ts';
import { compileSampler, type Sampler, type SamplerConfig } from './samplers.ts';
import { parseTraceParent } from './trace_parent.ts';

interface OpenTelemetryConfig {
  grpcService?: GrpcServiceConfig;
  httpService?: HttpServiceConfig;
  serviceName?: string;
  resourceDetectors?: readonly DetectorConfig[];
  sampler?: { typedConfig?: SamplerConfig };
  maxCacheSize?: number;
}

export const factory: TracerFactory = {
  typeName: 'envoy.config.trace.v3.OpenTelemetryConfig',
  create(typed, context) {
    const config = typed as OpenTelemetryConfig;
    if (config.grpcService !== undefined && config.httpService !== undefined) {
      throw new ConfigError(
        'OpenTelemetry Tracer cannot have both gRPC and HTTP exporters configured. OpenTelemetry tracer will be disabled.',
      );
    }
    return new OpenTelemetryDriver(config, context);
  },
};

class OpenTelemetryDriver implements TraceDriver {
  private readonly sampler: Sampler | null;
  private readonly batch: SpanBatch | null;

  constructor(config: OpenTelemetryConfig, context: FactoryContext) {
    this.sampler = config.sampler?.typedConfig === undefined ? null : compileSampler(config.sampler.typedConfig, 'sampler');
    const send = exporterOf(config, context);
    const resource = resourceAttributes(config.serviceName ?? '', config.resourceDetectors ?? []);
    const stats = context.scope.scope('tracing.opentelemetry.');
    const sent = stats.counter('spans_sent');
    const failed = stats.counter('spans_failed');
    const out = new ProtoWriter();
    const { runtime } = context;
    this.batch =
      send === null
        ? null
        : new SpanBatch({
            dispatcher: context.dispatcher,
            max: config.maxCacheSize ?? 1024,
            minFlush: () => runtime.snapshot.getInteger('tracing.opentelemetry.min_flush_spans', 5),
            flushIntervalMs: () => runtime.snapshot.getInteger('tracing.opentelemetry.flush_interval_ms', 5000),
            timerFlushed: stats.counter('timer_flushed'),
            dropped: stats.counter('spans_dropped'),
            export(spans, done) {
              writeTraces(out, resource, spans);
              send(out.bytes, (ok) => {
                if (ok) sent.add(spans.length);
                else failed.add(spans.length);
                done();
              });
            },
          });
  }

  newTraceId(): string {
    return randomTraceId();
  }

  startSpan(headers: HeaderMap, traced: boolean, name: string, kind: SpanKind, startMs: number): Span | null {
    const given = headers.getId(H.traceparent);
    if (given === undefined) {
      const span = new Span(this, name, kind, traced, startMs);
      if (this.sampler !== null) span.sampled = this.sampler(span, null);
      return span;
    }
    const parent = parseTraceParent(given);
    if (parent === null) return null;
    const span = new Span(this, name, kind, parent.sampled, startMs);
    span.traceId = parent.traceId;
    span.parentId = parent.spanId;
    span.traceState = headers.getAll('tracestate').join(',');
    if (this.sampler !== null) span.sampled = this.sampler(span, parent.sampled);
    return span;
  }

  startChild(parent: Span, name: string, startMs: number): Span {
    const span = new Span(this, name, 'client', parent.sampled, startMs);
    span.traceId = parent.traceId;
    span.parentId = parent.spanId;
    span.traceState = parent.traceState;
    return span;
  }

  inject(span: Span, headers: HeaderMap): void {
    headers.setId(H.traceparent, `00-${span.traceId}-${span.spanId}-0${span.sampled ? 1 : 0}`);
    if (span.traceState !== '') headers.set('tracestate', span.traceState);
  }

  report(span: Span): void {
    if (span.parentId === NO_SPAN) span.parentId = '';
    this.batch?.add(span);
  }
}

/** Null: spans are passed on and not sent. */
function exporterOf(config: OpenTelemetryConfig, context: FactoryContext): OtlpExporter | null {
  if (config.grpcService !== undefined) {
    const service = parseGrpcService(config.grpcService, context.clusterManager, 'grpc_service');
    return grpcExporter(AsyncClient.of(context), service, '/opentelemetry.proto.collector.trace.v1.TraceService/Export');
  }
  if (config.httpService === undefined) return null;
  return httpExporter(AsyncClient.of(context), parseHttpService(config.httpService, context.clusterManager, 'http_service'));
}
