/** Which descriptors a request has for a rate limit filter: those of its route, its virtual host, or both. */

import type { HeaderMap } from '../../../http/header_map.ts';
import type { RateLimitDescriptor, RateLimitEntry } from '../../../http/route/rate_limit_policy.ts';
import type { Route } from '../../../http/route/route.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

/** What of the virtual host counts (`vh_rate_limits`): OVERRIDE: only when the route has none. */
export type VirtualHostRateLimits = 'OVERRIDE' | 'INCLUDE' | 'IGNORE';

export interface DescriptorQuery {
  readonly stage: number;
  readonly virtualHost: VirtualHostRateLimits;
  readonly serviceCluster: string;
  /** Whether a limit with this `disable_key` is off. */
  readonly isDisabled: (disableKey: string) => boolean;
}

const NONE: readonly RateLimitDescriptor[] = [];

export function requestDescriptors(
  query: DescriptorQuery,
  route: Route | null,
  headers: HeaderMap,
  info: StreamInfo,
): readonly RateLimitDescriptor[] {
  const entry = route?.routeEntry;
  if (route === null || entry === null || entry === undefined) return NONE;
  const own = entry.rateLimits ?? null;
  const option = entry.includeVirtualHostRateLimits === true ? 'INCLUDE' : query.virtualHost;
  const host = option === 'INCLUDE' || (option === 'OVERRIDE' && own === null) ? (route.virtualHost.rateLimits ?? null) : null;
  if (own === null && host === null) return NONE;
  const found: RateLimitDescriptor[] = [];
  const source = { headers, info, serviceCluster: query.serviceCluster, destinationCluster: entry.clusterName };
  for (const limits of [own, host]) if (limits !== null) collect(limits, query, source, found);
  return found;
}

function collect(
  limits: readonly RateLimitEntry[],
  query: DescriptorQuery,
  source: Parameters<RateLimitEntry['descriptor']>[0],
  found: RateLimitDescriptor[],
): void {
  for (const limit of limits) {
    if (limit.stage !== query.stage || (limit.disableKey !== '' && query.isDisabled(limit.disableKey))) continue;
    const descriptor = limit.descriptor(source);
    if (descriptor !== undefined) found.push(descriptor);
  }
}
