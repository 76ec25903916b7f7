/** `strict_check_headers` of the router: x-envoy request headers whose values must be well formed (Envoy: StrictHeaderChecker). */
import type { HeaderMap } from '../header_map.ts';
import { parseRetryOn } from '../route/retry_policy.ts';

const INTEGER = new Set(['x-envoy-upstream-rq-timeout-ms', 'x-envoy-upstream-rq-per-try-timeout-ms', 'x-envoy-max-retries']);
const RETRY_FIELDS = new Set(['x-envoy-retry-on', 'x-envoy-retry-grpc-on']);
/** Names the configuration may give. */
export const STRICT_CHECKABLE: readonly string[] = [...INTEGER, ...RETRY_FIELDS];

/** The error text for the first header that is wrong; null when all are well formed. */
export function strictHeaderError(headers: HeaderMap, names: readonly string[]): string | null {
  for (const name of names) {
    const value = headers.get(name);
    if (value === undefined) continue;
    const ok = INTEGER.has(name)
      ? /^[0-9]{1,19}$/.test(value)
      : value.split(',').every((token) => parseRetryOn(token.trim()) !== 0);
    if (!ok) return `invalid header '${name}' with value '${value}'`;
  }
  return null;
}
