/**
 * What one `HTTPFault` says: whom to hurt, and how. Delays, aborts and rates may come from the configuration or, with `header_*`, from the
 * request; every percentage and value can be changed by a runtime key.
 */
import { parseInteger } from '../../../common/byte_text.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import type { HeaderMatcherConfig } from '../../../http/route/config_types.ts';
import { compileHeaderMatchers, matchesAllHeaders } from '../../../http/route/header_matcher.ts';
import type { HeaderPredicate, Route } from '../../../http/route/route.ts';
import type { FractionalPercent, RuntimeSnapshot } from '../../../runtime/runtime.ts';

type Percentage = Partial<FractionalPercent>;

export interface HttpFaultMessage {
  delay?: { fixedDelay?: number; headerDelay?: object; percentage?: Percentage };
  abort?: { httpStatus?: number; grpcStatus?: number; headerAbort?: object; percentage?: Percentage };
  upstreamCluster?: string;
  headers?: HeaderMatcherConfig[];
  downstreamNodes?: string[];
  maxActiveFaults?: number;
  responseRateLimit?: { fixedLimit?: { limitKbps?: number }; headerLimit?: object; percentage?: Percentage };
  delayPercentRuntime?: string;
  abortPercentRuntime?: string;
  delayDurationRuntime?: string;
  abortHttpStatusRuntime?: string;
  abortGrpcStatusRuntime?: string;
  maxActiveFaultsRuntime?: string;
  responseRateLimitPercentRuntime?: string;
  disableDownstreamClusterStats?: boolean;
  filterMetadata?: Record<string, unknown>;
}

/** The draw of one stream for a percentage, and its runtime. */
export interface FaultDraw {
  readonly runtime: RuntimeSnapshot;
  random(): number;
  /** `x-envoy-downstream-service-cluster`; '' when there is none. Some keys exist per such cluster. */
  readonly downstreamCluster: string;
}

export interface Abort {
  readonly httpStatus: number;
  readonly grpcStatus: number | null;
}

const MAX_GRPC_STATUS = 16;

export class FaultSettings {
  readonly filterMetadata: Record<string, unknown> | null;
  readonly clusterStats: boolean;
  private readonly message: HttpFaultMessage;
  private readonly matchers: readonly HeaderPredicate[];
  private readonly nodes: ReadonlySet<string>;

  /** Throws ConfigError. */
  constructor(message: HttpFaultMessage) {
    this.message = message;
    this.matchers = compileHeaderMatchers(message.headers, 'headers');
    this.nodes = new Set(message.downstreamNodes ?? []);
    const metadata = message.filterMetadata;
    this.filterMetadata = metadata === undefined || Object.keys(metadata).length === 0 ? null : metadata;
    this.clusterStats = message.disableDownstreamClusterStats !== true;
  }

  appliesTo(headers: HeaderMap, route: Route | null): boolean {
    const cluster = this.message.upstreamCluster ?? '';
    if (cluster !== '' && route?.routeEntry?.clusterName !== cluster) return false;
    if (this.nodes.size > 0) {
      const node = headers.getId(H['x-envoy-downstream-service-node']);
      if (node === undefined || !this.nodes.has(node)) return false;
    }
    return matchesAllHeaders(this.matchers, headers);
  }

  maxActiveFaults(runtime: RuntimeSnapshot): number {
    const key = this.message.maxActiveFaultsRuntime || 'fault.http.max_active_faults';
    return runtime.getInteger(key, this.message.maxActiveFaults ?? Number.POSITIVE_INFINITY);
  }

  /** 0: no delay. */
  delayMs(headers: HeaderMap, draw: FaultDraw): number {
    const { delay } = this.message;
    if (delay === undefined) return 0;
    const byHeader = delay.headerDelay !== undefined;
    const share = byHeader
      ? reduced(delay.percentage, headers.get('x-envoy-fault-delay-request-percentage'))
      : percentage(delay.percentage);
    const key = this.message.delayPercentRuntime || 'fault.http.delay.fixed_delay_percent';
    if (!isDrawn(draw, key, 'delay.fixed_delay_percent', share)) return 0;
    const configured = byHeader ? unsigned(headers.get('x-envoy-fault-delay-request')) : delay.fixedDelay;
    if (configured === undefined) return 0;
    const durationKey = this.message.delayDurationRuntime || 'fault.http.delay.fixed_duration_ms';
    return runtimeValue(draw, durationKey, 'delay.fixed_duration_ms', configured);
  }

  /** Null: none. */
  abort(headers: HeaderMap, draw: FaultDraw): Abort | null {
    const { abort } = this.message;
    if (abort === undefined) return null;
    const byHeader = abort.headerAbort !== undefined;
    const share = byHeader
      ? reduced(abort.percentage, headers.get('x-envoy-fault-abort-request-percentage'))
      : percentage(abort.percentage);
    const key = this.message.abortPercentRuntime || 'fault.http.abort.abort_percent';
    if (!isDrawn(draw, key, 'abort.abort_percent', share)) return null;
    const http = byHeader ? httpStatus(headers.get('x-envoy-fault-abort-request')) : abort.httpStatus;
    if (http !== undefined) {
      const statusKey = this.message.abortHttpStatusRuntime || 'fault.http.abort.http_status';
      const status = runtimeValue(draw, statusKey, 'abort.http_status', http);
      return { httpStatus: status >= 200 && status < 600 ? status : http, grpcStatus: null };
    }
    const grpc = byHeader ? grpcStatus(headers.get('x-envoy-fault-abort-grpc-request')) : abort.grpcStatus;
    if (grpc === undefined) return null;
    const statusKey = this.message.abortGrpcStatusRuntime || 'fault.http.abort.grpc_status';
    return { httpStatus: 200, grpcStatus: runtimeValue(draw, statusKey, 'abort.grpc_status', grpc) };
  }

  /** KiB/s; 0: no limit. */
  responseRate(headers: HeaderMap, draw: FaultDraw): number {
    const limit = this.message.responseRateLimit;
    if (limit === undefined) return 0;
    const byHeader = limit.headerLimit !== undefined;
    const rate = byHeader ? unsigned(headers.get('x-envoy-fault-throughput-response')) : limit.fixedLimit?.limitKbps;
    if (rate === undefined || rate === 0) return 0;
    const share = byHeader
      ? reduced(limit.percentage, headers.get('x-envoy-fault-throughput-response-percentage'))
      : percentage(limit.percentage);
    const key = this.message.responseRateLimitPercentRuntime || 'fault.http.rate_limit.response_percent';
    return draw.runtime.featureEnabled(key, share, draw.random()) ? rate : 0;
  }
}

function percentage(given: Percentage | undefined): FractionalPercent {
  return { numerator: given?.numerator ?? 0, denominator: given?.denominator ?? 'HUNDRED' };
}

/** A request may lower a percentage, not raise it. */
function reduced(given: Percentage | undefined, header: string | undefined): FractionalPercent {
  const { numerator, denominator } = percentage(given);
  return { numerator: Math.min(numerator, unsigned(header) ?? numerator), denominator };
}

function isDrawn(draw: FaultDraw, key: string, clusterKey: string, share: FractionalPercent): boolean {
  if (draw.runtime.featureEnabled(key, share, draw.random())) return true;
  return (
    draw.downstreamCluster !== '' &&
    draw.runtime.featureEnabled(`fault.http.${draw.downstreamCluster}.${clusterKey}`, share, draw.random())
  );
}

function runtimeValue(draw: FaultDraw, key: string, clusterKey: string, configured: number): number {
  const value = draw.runtime.getInteger(key, configured);
  return draw.downstreamCluster === ''
    ? value
    : draw.runtime.getInteger(`fault.http.${draw.downstreamCluster}.${clusterKey}`, value);
}

function unsigned(text: string | undefined): number | undefined {
  const value = text === undefined ? undefined : parseInteger(text);
  return value === undefined || value < 0 || value > 0xffffffff ? undefined : value;
}

function httpStatus(text: string | undefined): number | undefined {
  const status = unsigned(text);
  return status !== undefined && status >= 200 && status < 600 ? status : undefined;
}

function grpcStatus(text: string | undefined): number | undefined {
  const status = unsigned(text);
  return status !== undefined && status <= MAX_GRPC_STATUS ? status : undefined;
}
