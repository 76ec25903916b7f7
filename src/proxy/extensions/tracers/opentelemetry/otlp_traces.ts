/** Spans as an `ExportTraceServiceRequest` (opentelemetry-proto: trace.proto, trace_service.proto). Numbers are those of the fields. */
import { VERSION } from '../../../../core/version.ts';
import type { ProtoWriter } from '../../../common/protobuf_writer.ts';
import type { Span } from '../../../tracing/span.ts';
import { nanos, writeAttribute } from '../../common/otlp/otlp.ts';

const KIND = { server: 2, client: 3 } as const;
const STATUS_ERROR = 2;

export function writeTraces(out: ProtoWriter, resource: ReadonlyMap<string, string>, spans: readonly Span[]): void {
  out.clear();
  const resourceSpans = out.begin(1);
  const about = out.begin(1);
  for (const [key, value] of resource) writeAttribute(out, 1, key, value);
  out.end(about);
  const scopeSpans = out.begin(2);
  const scope = out.begin(1);
  out.text(1, 'sluice');
  out.text(2, VERSION);
  out.end(scope);
  for (const span of spans) writeSpan(out, span);
  out.end(scopeSpans);
  out.end(resourceSpans);
}

function writeSpan(out: ProtoWriter, span: Span): void {
  const at = out.begin(2);
  out.hex(1, span.traceId);
  out.hex(2, span.spanId);
  out.text(3, span.traceState);
  out.hex(4, span.parentId);
  out.text(5, span.name);
  out.number(6, KIND[span.kind]);
  out.fixed64(7, nanos(span.startMs));
  out.fixed64(8, nanos(span.endMs));
  for (let i = 0; i < span.tags.length; i += 2) writeAttribute(out, 9, span.tags[i], span.tags[i + 1]);
  for (const { name, ms } of span.events) {
    const event = out.begin(11);
    out.fixed64(1, nanos(ms));
    out.text(2, name);
    out.end(event);
  }
  if (span.error) {
    const status = out.begin(15);
    out.number(3, STATUS_ERROR);
    out.end(status);
  }
  out.end(at);
}
