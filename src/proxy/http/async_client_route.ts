/**
 * The route of a call-out: no matching, no rewriting, only the cluster and what the caller asked for (Envoy: Http::NullRouteImpl). One
 * object per stream, filled again for each call.
 */
import type { HeaderMap } from './header_map.ts';
import type { DirectResponseEntry, RetryPolicy, Route, RouteEntry, VirtualHost } from './route/route.ts';

const VIRTUAL_HOST: VirtualHost = {
  name: '',
  metadata: null,
  includeAttemptCountInRequest: false,
  includeAttemptCountInResponse: false,
  includeIsTimeoutRetryHeader: false,
};
const NO_UPGRADES: ReadonlyMap<string, boolean> = new Map();
const NOTHING: readonly unknown[] = [];
const NO_MIRRORS: RouteEntry['mirrors'] = [];

export class AsyncClientRoute implements Route, RouteEntry {
  // Filled for each call.
  clusterName = '';
  timeoutMs = 0;
  retryPolicy: RetryPolicy | null = null;
  hashPolicy: RouteEntry['hashPolicy'] = null;
  metadataMatch: Record<string, unknown> | null = null;

  readonly name = '';
  readonly virtualHost = VIRTUAL_HOST;
  readonly directResponse: DirectResponseEntry | null = null;
  readonly metadata = null;
  readonly clusterNotFoundResponseCode = 500;
  readonly priority = 0;
  readonly idleTimeoutMs = undefined;
  readonly maxStreamDurationMs = undefined;
  readonly grpcTimeoutHeaderMaxMs = undefined;
  readonly grpcTimeoutHeaderOffsetMs = undefined;
  readonly requestBodyBufferLimit = undefined;
  readonly mirrors = NO_MIRRORS;
  readonly upgrades = NO_UPGRADES;
  readonly connectConfig = null;
  readonly internalRedirect = null;
  readonly autoHostRewrite = false;
  readonly appendXForwardedHost = false;
  readonly isIdentity = true;
  readonly hasResponseMutations = false;

  get routeEntry(): RouteEntry {
    return this;
  }

  perFilterConfigs(_filterName: string): readonly unknown[] {
    return NOTHING;
  }

  filterDisabled(_filterName: string): boolean | undefined {
    return undefined;
  }

  finalizeRequestHeaders(_headers: HeaderMap): void {}

  finalizeResponseHeaders(_headers: HeaderMap): void {}
}
