/**
 * `envoy.filters.http.health_check`: answers health checks of this proxy itself, or passes them to the upstream and remembers its answer
 * for a while (Envoy: source/extensions/filters/http/health_check). After `/healthcheck/fail` all are answered 503.
 *
 * A cached answer is each worker's own.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { ConfigError } from '../../../config/error.ts';
import { statusOf } from '../../../http/conn_manager/header_bytes.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { HeaderMatcherConfig } from '../../../http/route/config_types.ts';
import { compileHeaderMatchers, matchesAllHeaders } from '../../../http/route/header_matcher.ts';
import type { HeaderPredicate } from '../../../http/route/route.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

interface Message {
  passThroughMode?: boolean;
  /** ms */
  cacheTime?: number;
  clusterMinHealthyPercentages?: Record<string, { value?: number }>;
  headers?: HeaderMatcherConfig[];
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.health_check.v3.HealthCheck',
  name: 'envoy.filters.http.health_check',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix, context) {
    const settings = new HealthCheckConfig(config as Message, context);
    return (callbacks) => callbacks.addStreamFilter(new HealthCheckFilter(settings));
  },
};

interface Verdict {
  readonly status: number;
  readonly degraded: boolean;
  readonly details: string;
}

class HealthCheckConfig {
  readonly passThrough: boolean;
  readonly matchers: readonly HeaderPredicate[];
  readonly context: FactoryContext;
  private readonly cacheMs: number;
  private readonly percentages: readonly (readonly [cluster: string, percent: number])[];
  private cached: Verdict | null = null;
  private cachedUntilMs = 0;

  constructor(message: Message, context: FactoryContext) {
    if (message.passThroughMode === undefined) throw new ConfigError('value is required', { path: 'pass_through_mode' });
    this.passThrough = message.passThroughMode;
    this.cacheMs = message.cacheTime ?? 0;
    if (!this.passThrough && this.cacheMs > 0) {
      throw new ConfigError('cache_time_ms must not be set when path_through_mode is disabled', { path: 'cache_time' });
    }
    this.matchers = compileHeaderMatchers(message.headers, 'headers');
    this.percentages = Object.entries(message.clusterMinHealthyPercentages ?? {}).map(([name, { value = 0 }]) => [name, value]);
    this.context = context;
  }

  get failed(): boolean {
    return this.context.drainDecision.healthCheckFailed?.() === true;
  }

  get hasCached(): boolean {
    return this.cached !== null && this.context.dispatcher.nowMs < this.cachedUntilMs;
  }

  get localCluster(): string {
    return this.context.localInfo.clusterName;
  }

  remember(status: number, degraded: boolean): void {
    if (this.cacheMs === 0) return;
    // What is cached is not made younger by being answered.
    if (this.hasCached) return;
    this.cached = { status, degraded, details: 'health_check_cached' };
    this.cachedUntilMs = this.context.dispatcher.nowMs + this.cacheMs;
  }

  verdict(): Verdict {
    if (this.failed) return { status: 503, degraded: false, details: 'health_check_failed' };
    if (this.passThrough) return this.cached ?? OK;
    return this.percentages.length === 0 ? OK : this.clusters();
  }

  private clusters(): Verdict {
    for (const [name, percent] of this.percentages) {
      const cluster = this.context.clusterManager.get(name);
      if (cluster === null) return { status: 503, degraded: false, details: 'health_check_no_cluster_found' };
      const hosts = cluster.hosts();
      if (hosts.length === 0) {
        if (percent === 0) continue;
        return { status: 503, degraded: false, details: 'health_check_cluster_empty' };
      }
      const healthy = hosts.filter((host) => host.healthy).length;
      if (100 * healthy < percent * hosts.length)
        return { status: 503, degraded: false, details: 'health_check_cluster_unhealthy' };
    }
    return { status: 200, degraded: false, details: 'health_check_cluster_healthy' };
  }
}

const OK: Verdict = { status: 200, degraded: false, details: 'health_check_ok' };

class HealthCheckFilter extends PassThroughFilter {
  private readonly config: HealthCheckConfig;
  private isCheck = false;
  private answering = false;

  constructor(config: HealthCheckConfig) {
    super();
    this.config = config;
  }

  override decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    const { config } = this;
    if (!matchesAllHeaders(config.matchers, headers)) return FilterHeadersStatus.Continue;
    this.isCheck = true;
    this.decoder.streamInfo.healthCheck = true;
    this.answering = !config.passThrough || config.failed || config.hasCached;
    if (!this.answering) return FilterHeadersStatus.Continue;
    if (endStream) this.answer();
    return FilterHeadersStatus.StopIteration;
  }

  override decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (!this.answering) return FilterDataStatus.Continue;
    data.clear();
    if (endStream) this.answer();
    return FilterDataStatus.StopIterationNoBuffer;
  }

  override decodeTrailers(): FilterTrailersStatus {
    if (!this.answering) return FilterTrailersStatus.Continue;
    this.answer();
    return FilterTrailersStatus.StopIteration;
  }

  private answer(): void {
    const { status, degraded, details } = this.config.verdict();
    if (status < 200 || status > 299) this.decoder.streamInfo.setFlag('FailedLocalHealthCheck');
    const modify = degraded ? (headers: HeaderMap): void => headers.setId(H['x-envoy-degraded'], '') : null;
    this.decoder.sendLocalReply(status, '', modify, null, details);
  }

  override encodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { config } = this;
    if (this.isCheck) {
      if (!this.answering) config.remember(statusOf(headers), headers.hasId(H['x-envoy-degraded']));
      headers.set('x-envoy-upstream-healthchecked-cluster', config.localCluster);
    } else if (config.failed) headers.setId(H['x-envoy-immediate-health-check-fail'], 'true');
    return FilterHeadersStatus.Continue;
  }

  reset(): void {
    this.isCheck = false;
    this.answering = false;
  }
}
