/**
 * Result of routing one request (Envoy: envoy/router/router.h). Built from plain configuration by `route_config.ts`; immutable and
 * reused between requests, so that choosing a route allocates nothing unless it is a weighted one.
 */

import type { FormatterContext } from '../../access_log/access_log.ts';
import type { Hash64 } from '../../common/hash64.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { CustomTag } from '../../tracing/custom_tags.ts';
import type { Sampling } from '../../tracing/http_tracing.ts';
import type { Host, ResourcePriority } from '../../upstream/upstream.ts';
import type { HeaderMap } from '../header_map.ts';
import type { MirrorPolicy } from './mirror_policy.ts';
import type { RateLimitEntry } from './rate_limit_policy.ts';

export interface Route {
  readonly name: string;
  readonly virtualHost: VirtualHost;
  /** Exactly one of the two is set. */
  readonly directResponse: DirectResponseEntry | null;
  readonly routeEntry: RouteEntry | null;
  readonly metadata: Record<string, Record<string, unknown>> | null;
  /** The operation's name in traces; null or absent: none. */
  readonly decorator?: { readonly operation: string; readonly propagate: boolean } | null;
  /** In the place of the connection manager's sampling; null or absent: none. */
  readonly tracing?: { readonly sampling: Sampling; readonly customTags: readonly CustomTag[] } | null;
  /** Per-filter configuration by the filter's configured name, most specific first (cluster weight, route, virtual host, table). */
  perFilterConfigs(filterName: string): readonly unknown[];
  filterDisabled(filterName: string): boolean | undefined;
}

export interface VirtualHost {
  readonly name: string;
  readonly metadata: Record<string, Record<string, unknown>> | null;
  readonly includeAttemptCountInRequest: boolean;
  readonly includeAttemptCountInResponse: boolean;
  readonly includeIsTimeoutRetryHeader: boolean;
  /** `rate_limits`; null or absent: none. */
  readonly rateLimits?: readonly RateLimitEntry[] | null;
}

/** Redirects and direct responses. */
export interface DirectResponseEntry {
  readonly status: number;
  /** The redirect's location for this request; undefined for direct responses without one. */
  newUri(headers: HeaderMap): string | undefined;
  readonly body: string;
  readonly contentType: string | undefined;
  finalizeResponseHeaders(headers: HeaderMap, context: FormatterContext, info: StreamInfo): void;
}

export interface RouteEntry {
  readonly clusterName: string;
  readonly clusterNotFoundResponseCode: number;
  readonly priority: ResourcePriority;
  /** 0: none. Default 15,000. */
  readonly timeoutMs: number;
  /** undefined: the connection manager's. 0: none. */
  readonly idleTimeoutMs: number | undefined;
  readonly maxStreamDurationMs: number | undefined;
  readonly grpcTimeoutHeaderMaxMs: number | undefined;
  readonly grpcTimeoutHeaderOffsetMs: number | undefined;
  readonly retryPolicy: RetryPolicy | null;
  readonly metadataMatch: Record<string, unknown> | null;
  /** `rate_limits`; null or absent: none. */
  readonly rateLimits?: readonly RateLimitEntry[] | null;
  /** Those of the virtual host count as well. */
  readonly includeVirtualHostRateLimits?: boolean;
  /** `addCookie` receives the set-cookie value of a cookie that a policy generated; without it none is generated. */
  readonly hashPolicy: {
    generateHash(headers: HeaderMap, info: StreamInfo, addCookie?: (setCookie: string) => void): Hash64 | null;
  } | null;
  readonly mirrors: readonly MirrorPolicy[];
  /** Bytes of request body kept for retries; undefined: the connection's limit. */
  readonly requestBodyBufferLimit: number | undefined;
  /** Lower-case upgrade types allowed or forbidden on this route; absent: the connection manager decides. */
  readonly upgrades: ReadonlyMap<string, boolean>;
  /** Set for routes that terminate CONNECT. */
  readonly connectConfig: { readonly proxyProtocol: boolean; readonly allowPost: boolean } | null;
  readonly internalRedirect: InternalRedirectPolicy | null;
  readonly autoHostRewrite: boolean;
  readonly appendXForwardedHost: boolean;
  /** True when no header, path or host is changed: nothing to call. */
  readonly isIdentity: boolean;
  /** Applies header mutations, then path and host rewrites; sets x-envoy-original-path / -host when `insertOriginals`. */
  finalizeRequestHeaders(headers: HeaderMap, context: FormatterContext, info: StreamInfo, insertOriginals: boolean): void;
  finalizeResponseHeaders(headers: HeaderMap, context: FormatterContext, info: StreamInfo): void;
  readonly hasResponseMutations: boolean;
}

export interface InternalRedirectPolicy {
  readonly maxRedirects: number;
  readonly responseCodes: ReadonlySet<number>;
  readonly allowCrossScheme: boolean;
  readonly headersToCopy: readonly string[];
}

export interface RetryPolicy {
  /** Bits of `RetryOn` (retry_policy.ts). */
  readonly retryOn: number;
  readonly numRetries: number;
  /** 0: none. */
  readonly perTryTimeoutMs: number;
  readonly perTryIdleTimeoutMs: number;
  readonly retriableStatusCodes: readonly number[];
  readonly retriableHeaders: readonly HeaderPredicate[];
  readonly retriableRequestHeaders: readonly HeaderPredicate[];
  readonly baseIntervalMs: number;
  readonly maxIntervalMs: number;
  readonly rateLimitedResetHeaders: readonly { name: string; format: 'SECONDS' | 'UNIX_TIMESTAMP' }[];
  readonly rateLimitedMaxIntervalMs: number;
  /** Whether a host that was chosen for a retry is to be passed over; `attempted`: those tried so far. */
  readonly hostPredicates: readonly ((host: Host, attempted: readonly Host[]) => boolean)[];
  /** `previous_priorities`: priorities are left out after so many attempts; 0: never. */
  readonly previousPriorities: number;
  readonly hostSelectionMaxAttempts: number;
}

export interface HeaderPredicate {
  matches(headers: HeaderMap): boolean;
}

/** A compiled RouteConfiguration. */
export interface RouteTable {
  readonly name: string;
  /** The route of a request, or null (404). `random` is the stream's stable value. */
  route(headers: HeaderMap, info: StreamInfo, random: number): Route | null;
  readonly internalOnlyHeaders: readonly string[];
  /** Names of clusters that routes name literally. */
  clusterNames(): string[];
}
