/** The `traceparent` header (W3C Trace Context, 3.2): version, trace id, parent id, flags. */
import { isHex, NO_SPAN } from '../../../tracing/ids.ts';

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

const LENGTH = 55;
const SAMPLED = 1;

/** Null: it is not well formed. */
export function parseTraceParent(text: string): TraceParent | null {
  if (text.length < LENGTH || text[2] !== '-' || text[35] !== '-' || text[52] !== '-') return null;
  const version = text.slice(0, 2);
  const traceId = text.slice(3, 35);
  const spanId = text.slice(36, 52);
  const flags = text.slice(53, 55);
  if (!isHex(version) || !isHex(traceId) || !isHex(spanId) || !isHex(flags) || version === 'ff') return null;
  // A later version may say more, after another dash.
  if (text.length > LENGTH && (version === '00' || text[LENGTH] !== '-')) return null;
  if (traceId === NO_SPAN + NO_SPAN || spanId === NO_SPAN) return null;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 };
}
