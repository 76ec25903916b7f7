/** Spans as Zipkin's JSON v2 (openzipkin/zipkin-api: zipkin2-api.yaml). Times are microseconds. */
import type { Span } from '../../../tracing/span.ts';

export function zipkinJson(spans: readonly Span[], serviceName: string, address: string): string {
  const localEndpoint = { serviceName, ...(address.includes(':') ? { ipv6: address } : { ipv4: address }) };
  return JSON.stringify(
    spans.map((span) => ({
      traceId: span.traceId,
      ...(span.parentId === '' ? {} : { parentId: span.parentId }),
      id: span.spanId,
      kind: span.kind.toUpperCase(),
      name: span.name,
      timestamp: micros(span.startMs),
      duration: Math.max(1, micros(span.endMs - span.startMs)),
      localEndpoint,
      tags: tagsOf(span),
      ...(span.events.length === 0
        ? {}
        : { annotations: span.events.map(({ name, ms }) => ({ timestamp: micros(ms), value: name })) }),
      ...(span.shared ? { shared: true } : {}),
    })),
  );
}

function tagsOf(span: Span): Record<string, string> {
  const tags: [string, string][] = [];
  for (let i = 0; i < span.tags.length; i += 2) tags.push([span.tags[i], span.tags[i + 1]]);
  return Object.fromEntries(tags);
}

function micros(ms: number): number {
  return Math.round(ms * 1000);
}
