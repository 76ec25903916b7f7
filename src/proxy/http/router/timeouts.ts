/**
 * How long a request may take (Envoy: FilterUtility::finalTimeout): the route's numbers, what request headers say instead, and the
 * x-envoy-expected-rq-timeout-ms that tells the upstream.
 */

import { decimal } from '../conn_manager/header_bytes.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { headerMask } from '../known_headers.ts';
import type { RouteEntry } from '../route/route.ts';

const TIMEOUT_HEADERS = headerMask([
  H['x-envoy-upstream-rq-timeout-ms'],
  H['x-envoy-upstream-rq-per-try-timeout-ms'],
  H['x-envoy-expected-rq-timeout-ms'],
]);

/** All ms; 0 is none. Reused: `computeTimeouts` overwrites it. */
export interface TimeoutData {
  globalMs: number;
  perTryMs: number;
  perTryIdleMs: number;
}

export function computeTimeouts(out: TimeoutData, route: RouteEntry, headers: HeaderMap, respectExpected: boolean): void {
  const policy = route.retryPolicy;
  out.globalMs = route.timeoutMs;
  out.perTryMs = policy === null ? 0 : policy.perTryTimeoutMs;
  out.perTryIdleMs = policy === null ? 0 : policy.perTryIdleTimeoutMs;
  if (headers.mayHaveAny(TIMEOUT_HEADERS)) readHeaders(out, headers, respectExpected);
  if (out.globalMs !== 0 && out.perTryMs >= out.globalMs) out.perTryMs = 0;
}

function readHeaders(out: TimeoutData, headers: HeaderMap, respectExpected: boolean): void {
  const expected = respectExpected ? milliseconds(headers.getId(H['x-envoy-expected-rq-timeout-ms'])) : undefined;
  if (expected !== undefined) out.globalMs = expected;
  else {
    const asked = milliseconds(headers.getId(H['x-envoy-upstream-rq-timeout-ms']));
    if (asked !== undefined) {
      out.globalMs = asked;
      headers.removeId(H['x-envoy-upstream-rq-timeout-ms']);
    }
  }
  const perTry = milliseconds(headers.getId(H['x-envoy-upstream-rq-per-try-timeout-ms']));
  if (perTry !== undefined) {
    out.perTryMs = perTry;
    headers.removeId(H['x-envoy-upstream-rq-per-try-timeout-ms']);
  }
}

/** Sets x-envoy-expected-rq-timeout-ms for an attempt that begins `elapsedMs` after the first. */
export function setExpectedTimeout(timeouts: TimeoutData, headers: HeaderMap, elapsedMs: number, respectExpected: boolean): void {
  let expected = timeouts.perTryMs !== 0 ? timeouts.perTryMs : timeouts.globalMs;
  if (expected <= 0) return;
  if (timeouts.globalMs > 0) {
    // Out of time: 0 would mean "no limit" to the upstream; the timer fires at once anyway.
    if (elapsedMs >= timeouts.globalMs) expected = 1;
    else expected = Math.min(expected, timeouts.globalMs - elapsedMs);
  }
  if (respectExpected && headers.hasId(H['x-envoy-expected-rq-timeout-ms'])) return;
  headers.setId(H['x-envoy-expected-rq-timeout-ms'], timeoutText(Math.ceil(expected)));
}

let lastTimeout = -1;
let lastText = '';

/** Most requests of a worker have the same timeout. */
function timeoutText(ms: number): string {
  if (ms !== lastTimeout) {
    lastTimeout = ms;
    lastText = decimal(ms);
  }
  return lastText;
}

function milliseconds(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}
