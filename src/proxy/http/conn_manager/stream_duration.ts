/**
 * How long a stream may last at most as its route has it (Envoy: ActiveStream::refreshDurationTimeout): `max_stream_duration`, or
 * what the client asks for with `grpc-timeout` where the route respects that.
 */
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { RouteEntry } from '../route/route.ts';

/** In ms; 0: for ever. Undefined: the connection manager's own limit stays. */
export function maxStreamDurationMs(entry: RouteEntry, headers: HeaderMap): number | undefined {
  const max = entry.grpcTimeoutHeaderMaxMs;
  const asked =
    max === undefined || !headers.hasId(H['grpc-timeout']) ? undefined : grpcTimeoutMs(headers.getId(H['grpc-timeout']));
  if (max === undefined || asked === undefined) return entry.maxStreamDurationMs;
  const capped = max !== 0 && asked > max ? max : asked;
  // A timeout of nothing is over at once; 0 would be none.
  return Math.max(1, capped - (entry.grpcTimeoutHeaderOffsetMs ?? 0));
}

const GRPC_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/** `grpc-timeout`: 1 to 8 digits and a unit; undefined when it is not one. */
export function grpcTimeoutMs(text: string | undefined): number | undefined {
  const match = text === undefined ? null : /^([0-9]{1,8})([HMSmun])$/.exec(text);
  return match === null ? undefined : Math.ceil(Number(match[1]) * GRPC_UNITS[match[2]]);
}
