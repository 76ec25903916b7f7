/** B3 propagation (openzipkin/b3-propagation): `b3: {trace}-{span}-{sampled}-{parent}`, or a header for each. */
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { isHex } from '../../../tracing/ids.ts';
import type { Span } from '../../../tracing/span.ts';

export interface B3Context {
  /** '': only a decision was sent. */
  readonly traceId: string;
  readonly spanId: string;
  /** '': none. */
  readonly parentId: string;
  /** Undefined: left to whoever receives it. */
  readonly sampled: boolean | undefined;
}

/** Null: there is none. */
export function extractB3(headers: HeaderMap): B3Context | 'invalid' | null {
  const single = headers.getId(H.b3);
  if (single !== undefined) return parseSingle(single);
  const traceId = headers.getId(H['x-b3-traceid']);
  const spanId = headers.getId(H['x-b3-spanid']);
  const sampled = headers.getId(H['x-b3-flags']) === '1' ? true : decision(headers.getId(H['x-b3-sampled']));
  if (traceId === undefined || spanId === undefined) {
    return sampled === undefined ? null : { traceId: '', spanId: '', parentId: '', sampled };
  }
  return checked(traceId, spanId, headers.getId(H['x-b3-parentspanid']) ?? '', sampled);
}

function parseSingle(text: string): B3Context | 'invalid' {
  const parts = text.split('-');
  if (parts.length === 1) {
    const sampled = decision(text);
    return sampled === undefined ? 'invalid' : { traceId: '', spanId: '', parentId: '', sampled };
  }
  if (parts.length > 4) return 'invalid';
  const sampled = decision(parts[2]);
  if (parts[2] !== undefined && sampled === undefined) return 'invalid';
  return checked(parts[0], parts[1], parts[3] ?? '', sampled);
}

function checked(traceId: string, spanId: string, parentId: string, sampled: boolean | undefined): B3Context | 'invalid' {
  const [trace, span, parent] = [traceId, spanId, parentId].map((id) => id.toLowerCase());
  const validTrace = (trace.length === 16 || trace.length === 32) && isHex(trace) && !/^0+$/.test(trace);
  const validSpan = span.length === 16 && isHex(span) && !/^0+$/.test(span);
  if (!validTrace || !validSpan || (parent !== '' && (parent.length !== 16 || !isHex(parent)))) return 'invalid';
  return { traceId: trace, spanId: span, parentId: parent, sampled };
}

function decision(text: string | undefined): boolean | undefined {
  if (text === '1' || text === 'd' || text === 'true') return true;
  return text === '0' || text === 'false' ? false : undefined;
}

export function injectB3(span: Span, headers: HeaderMap): void {
  headers.removeId(H.b3);
  headers.setId(H['x-b3-traceid'], span.traceId);
  headers.setId(H['x-b3-spanid'], span.spanId);
  if (span.parentId !== '') headers.setId(H['x-b3-parentspanid'], span.parentId);
  else headers.removeId(H['x-b3-parentspanid']);
  headers.setId(H['x-b3-sampled'], span.sampled ? '1' : '0');
}
