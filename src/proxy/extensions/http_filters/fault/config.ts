/**
 * `envoy.filters.http.fault`: delays requests, answers them with an error, or slows their responses down, for a share of them (Envoy:
 * source/extensions/filters/http/fault). A delay may be followed by an abort. Routes may have settings of their own.
 *
 * Names of downstream clusters come from requests, and each has counters: only the first 1024 of a worker do.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Timer } from '../../../../core/event/dispatcher.ts';
import type { Counter, Gauge, Scope } from '../../../../core/stats/stats.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { Runtime, RuntimeSnapshot } from '../../../runtime/runtime.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { type LimitedBody, StreamRateLimiter } from '../../common/stream_limiter/stream_rate_limiter.ts';
import { type FaultDraw, FaultSettings, type HttpFaultMessage } from './settings.ts';

const NAMESPACE = 'envoy.filters.http.fault';
const MAX_CLUSTERS = 1024;

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.fault.v3.HTTPFault',
  name: NAMESPACE,
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const own = new FaultSettings(config as HttpFaultMessage);
    const stats = new FaultStats(context.scope.scope(`${statPrefix}fault.`));
    return (callbacks) => callbacks.addStreamFilter(new FaultFilter(own, stats, context.runtime, () => context.random()));
  },
  createRouteSpecificConfig: (config: TypedConfig) => new FaultSettings(config as HttpFaultMessage),
};

class FaultStats {
  readonly delays: Counter;
  readonly aborts: Counter;
  readonly limited: Counter;
  readonly overflow: Counter;
  readonly active: Gauge;
  private readonly scope: Scope;
  private readonly clusters = new Set<string>();

  constructor(scope: Scope) {
    this.scope = scope;
    this.delays = scope.counter('delays_injected');
    this.aborts = scope.counter('aborts_injected');
    this.limited = scope.counter('response_rl_injected');
    this.overflow = scope.counter('faults_overflow');
    this.active = scope.gauge('active_faults');
  }

  ofCluster(cluster: string, name: 'delays_injected' | 'aborts_injected'): void {
    if (!this.clusters.has(cluster)) {
      if (this.clusters.size === MAX_CLUSTERS) return;
      this.clusters.add(cluster);
    }
    this.scope.counter(`${cluster}.${name}`).inc();
  }
}

class FaultFilter extends PassThroughFilter implements FaultDraw, LimitedBody {
  private readonly own: FaultSettings;
  private readonly stats: FaultStats;
  private readonly runtimeLoader: Runtime;
  readonly random: () => number;
  private settings: FaultSettings;
  downstreamCluster = '';
  private requestHeaders: HeaderMap | null = null;
  private delay: Timer | null = null;
  private delaying = false;
  private limiter: StreamRateLimiter | null = null;
  private active = false;

  constructor(own: FaultSettings, stats: FaultStats, runtime: Runtime, random: () => number) {
    super();
    this.own = own;
    this.settings = own;
    this.stats = stats;
    this.runtimeLoader = runtime;
    this.random = random;
  }

  get runtime(): RuntimeSnapshot {
    return this.runtimeLoader.snapshot;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { decoder, stats } = this;
    const settings = decoder.perFilterConfig<FaultSettings>() ?? this.own;
    this.settings = settings;
    if (stats.active.value >= settings.maxActiveFaults(this.runtime)) {
      stats.overflow.inc();
      return FilterHeadersStatus.Continue;
    }
    if (!settings.appliesTo(headers, decoder.route())) return FilterHeadersStatus.Continue;
    this.downstreamCluster = headers.getId(H['x-envoy-downstream-service-cluster']) ?? '';
    this.requestHeaders = headers;
    this.limitResponse(headers);
    const delayMs = settings.delayMs(headers, this);
    if (delayMs > 0) {
      this.startDelay(delayMs);
      return FilterHeadersStatus.StopIteration;
    }
    return this.abort() ? FilterHeadersStatus.StopIteration : FilterHeadersStatus.Continue;
  }

  override decodeData(): FilterDataStatus {
    return this.delaying ? FilterDataStatus.StopIterationAndWatermark : FilterDataStatus.Continue;
  }

  override decodeTrailers(): FilterTrailersStatus {
    return this.delaying ? FilterTrailersStatus.StopIteration : FilterTrailersStatus.Continue;
  }

  override encodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (this.limiter === null) return FilterDataStatus.Continue;
    this.limiter.write(data, endStream);
    return FilterDataStatus.StopIterationNoBuffer;
  }

  override encodeTrailers(): FilterTrailersStatus {
    return this.limiter?.holdTrailers() === true ? FilterTrailersStatus.StopIteration : FilterTrailersStatus.Continue;
  }

  override onDestroy(): void {
    this.delay?.disableTimer();
    this.delaying = false;
    this.limiter?.destroy();
    this.limiter = null;
    this.requestHeaders = null;
    if (this.active) this.stats.active.dec();
    this.active = false;
  }

  reset(): void {
    this.settings = this.own;
    this.downstreamCluster = '';
  }

  // LimitedBody

  passData(data: SliceBuffer, endStream: boolean): void {
    this.encoder.injectEncodedData(data, endStream);
  }

  passTrailers(): void {
    this.encoder.continueEncoding();
  }

  onAboveHighWatermark(): void {
    this.encoder.onEncoderFilterAboveWriteBufferHighWatermark();
  }

  onBelowLowWatermark(): void {
    this.encoder.onEncoderFilterBelowWriteBufferLowWatermark();
  }

  private limitResponse(headers: HeaderMap): void {
    const rate = this.settings.responseRate(headers, this);
    if (rate === 0) return;
    this.countActive();
    this.stats.limited.inc();
    this.limiter = new StreamRateLimiter(rate, this.encoder.encoderBufferLimit, this.decoder.dispatcher, this);
  }

  private startDelay(delayMs: number): void {
    if (this.downstreamCluster !== '' && this.settings.clusterStats) {
      this.stats.ofCluster(this.downstreamCluster, 'delays_injected');
    }
    this.countActive();
    this.stats.delays.inc();
    this.decoder.streamInfo.setFlag('DelayInjected');
    this.addMetadata();
    this.delaying = true;
    this.delay ??= this.decoder.dispatcher.createTimer(() => this.onDelayOver());
    this.delay.enableTimer(delayMs);
  }

  private onDelayOver(): void {
    this.delaying = false;
    if (!this.abort()) this.decoder.continueDecoding();
  }

  private abort(): boolean {
    const abort = this.settings.abort(this.requestHeaders as HeaderMap, this);
    if (abort === null) return false;
    if (this.downstreamCluster !== '' && this.settings.clusterStats) {
      this.stats.ofCluster(this.downstreamCluster, 'aborts_injected');
    }
    this.countActive();
    this.stats.aborts.inc();
    this.decoder.streamInfo.setFlag('FaultInjected');
    this.addMetadata();
    this.decoder.sendLocalReply(abort.httpStatus, 'fault filter abort', null, abort.grpcStatus, 'fault_filter_abort');
    return true;
  }

  private addMetadata(): void {
    const { filterMetadata } = this.settings;
    if (filterMetadata === null) return;
    const info = this.decoder.streamInfo;
    info.dynamicMetadata ??= {};
    info.dynamicMetadata[NAMESPACE] = { ...info.dynamicMetadata[NAMESPACE], ...filterMetadata };
  }

  /** A stream counts once, however many faults it has. */
  private countActive(): void {
    if (this.active) return;
    this.active = true;
    this.stats.active.inc();
  }
}
