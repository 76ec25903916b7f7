/**
 * `envoy.filters.network.local_ratelimit`: closes connections beyond what a token bucket of all workers allows (Envoy:
 * source/extensions/filters/network/local_ratelimit).
 *
 * Left out, refused: `share_key`.
 */
import type { Counter } from '../../../../core/stats/stats.ts';
import { processTimeMs, type TokenBucketConfig } from '../../../common/token_bucket.ts';
import { sharedCells } from '../../../config/shared_state.ts';
import { ConnectionCloseType, FilterStatus, type ReadFilter, type ReadFilterCallbacks } from '../../../network/connection.ts';
import { type RuntimeFlagConfig, runtimeFlag } from '../../../runtime/runtime_fraction.ts';
import type { NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { LocalRateLimiter } from '../../common/ratelimit/local_limiter.ts';

interface Settings {
  readonly limiter: LocalRateLimiter;
  readonly enabled: () => boolean;
  readonly limited: Counter;
}

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit',
  name: 'envoy.filters.network.local_ratelimit',
  isTerminal: () => false,
  create(config: TypedConfig, context) {
    const message = config as { statPrefix?: string; tokenBucket?: TokenBucketConfig; runtimeEnabled?: RuntimeFlagConfig };
    const settings: Settings = {
      limiter: new LocalRateLimiter(message.tokenBucket ?? {}, [], true, sharedCells(message, 1)),
      enabled: runtimeFlag(message.runtimeEnabled, context.runtime),
      limited: context.scope.scope(`local_rate_limit.${message.statPrefix ?? ''}.`).counter('rate_limited'),
    };
    return (connection) => connection.addReadFilter(new LocalRateLimitFilter(settings));
  },
};

class LocalRateLimitFilter implements ReadFilter {
  private readonly settings: Settings;
  private callbacks!: ReadFilterCallbacks;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.callbacks = callbacks;
  }

  onNewConnection(): FilterStatus {
    const { connection } = this.callbacks;
    const { settings } = this;
    if (!settings.enabled() || settings.limiter.allows([], processTimeMs(connection.dispatcher.nowMs)))
      return FilterStatus.Continue;
    settings.limited.inc();
    connection.streamInfo.setFlag('RateLimited');
    connection.close(ConnectionCloseType.NoFlush, 'local_ratelimit_close_over_limit');
    return FilterStatus.StopIteration;
  }

  onData(): FilterStatus {
    return FilterStatus.Continue;
  }
}
