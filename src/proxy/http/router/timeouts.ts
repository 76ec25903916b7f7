/**
 * How long a request may take (Envoy: FilterUtility::finalTimeout): the route's numbers, what request headers say instead, and the
 * x-envoy-expected-rq-timeout-ms that tells the upstream.
 */

import { decimal } from '../conn_manager/header_bytes.ts';
import type { HeaderMap } from '../header_map.ts';
import { headerMask } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { RouteEntry } from '../route/route.ts';

const TIMEOUT_HEADERS = headerMask([
  H['x-envoy-upstream-rq-timeout-ms'],
  H['x-envoy-upstream-rq-per-try-timeout-ms'],
  H['x-envoy-expected-rq-timeout-ms'],
  H['grpc-timeout'],
]);

/** All ms; 0 is none. Reused: `computeTimeouts` overwrites it. */
export interface TimeoutData {
  globalMs: number;
  perTryMs: number;
  perTryIdleMs: number;
}

export function computeTimeouts(
  out: TimeoutData,
  route: RouteEntry,
  headers: HeaderMap,
  isGrpc: boolean,
  respectExpected: boolean,
): void {
  const policy = route.retryPolicy;
  out.globalMs = route.timeoutMs;
  out.perTryMs = policy === null ? 0 : policy.perTryTimeoutMs;
  out.perTryIdleMs = policy === null ? 0 : policy.perTryIdleTimeoutMs;
  if (headers.mayHaveAny(TIMEOUT_HEADERS)) readHeaders(out, route, headers, isGrpc, respectExpected);
  if (out.globalMs !== 0 && out.perTryMs >= out.globalMs) out.perTryMs = 0;
}

function readHeaders(out: TimeoutData, route: RouteEntry, headers: HeaderMap, isGrpc: boolean, respectExpected: boolean): void {
  if (isGrpc && route.grpcTimeoutHeaderMaxMs !== undefined) {
    const asked = grpcTimeoutMs(headers.getId(H['grpc-timeout']));
    if (asked !== undefined) {
      const offset = route.grpcTimeoutHeaderOffsetMs ?? 0;
      const wanted = offset > 0 && asked > offset ? asked - offset : asked;
      const max = route.grpcTimeoutHeaderMaxMs;
      out.globalMs = max !== 0 && (wanted === 0 || wanted > max) ? max : wanted;
    }
  }
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

const GRPC_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/** `grpc-timeout`: 1 to 8 digits and a unit; undefined when it is not one. */
export function grpcTimeoutMs(text: string | undefined): number | undefined {
  const match = text === undefined ? null : /^([0-9]{1,8})([HMSmun])$/.exec(text);
  return match === null ? undefined : Math.ceil(Number(match[1]) * GRPC_UNITS[match[2]]);
}
