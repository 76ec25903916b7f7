/**
 * Tracing of one connection manager (Envoy: HttpTracerUtility, ConnectionManagerUtility::mutateTracingRequestHeader): which requests are traced, the
 * reason as a digit of x-request-id, the span of the request with its tags, decorators.
 */
import type { Counter, Scope } from '../../core/stats/stats.ts';
import { isGrpcRequest } from '../http/conn_manager/conn_manager_utility.ts';
import type { HeaderMap } from '../http/header_map.ts';
import { H } from '../http/header_names.ts';
import type { Route } from '../http/route/route.ts';
import type { FractionalPercent, Runtime } from '../runtime/runtime.ts';
import { RESPONSE_FLAGS, type ResponseFlag, type StreamInfo } from '../stream_info/stream_info.ts';
import type { CustomTag } from './custom_tags.ts';
import type { Span, TraceDriver } from './span.ts';

export interface Sampling {
  readonly client: FractionalPercent;
  readonly random: FractionalPercent;
  readonly overall: FractionalPercent;
}

export interface HttpTracingOptions {
  readonly driver: TraceDriver;
  readonly sampling: Sampling;
  readonly operation: 'ingress' | 'egress';
  readonly verbose: boolean;
  readonly maxPathTagLength: number;
  readonly customTags: readonly CustomTag[];
  readonly spawnUpstreamSpan: boolean;
  readonly packTraceReason: boolean;
  readonly useRequestIdForSampling: boolean;
  readonly runtime: Runtime;
  readonly nodeId: string;
  readonly zone: string;
  /** `http.<stat_prefix>.`. */
  readonly scope: Scope;
}

/** Why a request is traced: the digit in x-request-id. */
const Reason = { None: '4', Sampling: '9', ServiceForced: 'a', ClientForced: 'b' } as const;
type Reason = (typeof Reason)[keyof typeof Reason];
const REASON_AT = 14;
const UUID_LENGTH = 36;

export class HttpTracing {
  readonly operation: 'ingress' | 'egress';
  private readonly options: HttpTracingOptions;
  private readonly charge: Readonly<Record<Reason | 'health', Counter>>;

  constructor(options: HttpTracingOptions) {
    this.options = options;
    this.operation = options.operation;
    const scope = options.scope.scope('tracing.');
    this.charge = {
      [Reason.None]: scope.counter('not_traceable'),
      [Reason.Sampling]: scope.counter('random_sampling'),
      [Reason.ServiceForced]: scope.counter('service_forced'),
      [Reason.ClientForced]: scope.counter('client_enabled'),
      health: scope.counter('health_check'),
    };
  }

  /** The request's span, null when there is none; marks x-request-id. */
  start(headers: HeaderMap, info: StreamInfo, route: Route | null): Span | null {
    const { options } = this;
    const reason = this.decide(headers, route?.tracing?.sampling ?? options.sampling);
    this.charge[info.healthCheck ? 'health' : reason].inc();
    const traced = !info.healthCheck && reason !== Reason.None;
    const egress = this.operation === 'egress';
    const name = egress ? `egress ${headers.getId(H[':authority']) ?? ''}` : 'ingress';
    const kind = egress && !options.spawnUpstreamSpan ? 'client' : 'server';
    const span = options.driver.startSpan(headers, traced, name, kind, info.startTimeMs);
    if (span === null) return null;
    span.spawnsUpstream = options.spawnUpstreamSpan;
    this.decorate(span, headers, info, route);
    return span;
  }

  private decide(headers: HeaderMap, sampling: Sampling): Reason {
    const { options } = this;
    if (!options.useRequestIdForSampling) return Reason.Sampling;
    const id = headers.getId(H['x-request-id']);
    if (id === undefined || id.length !== UUID_LENGTH) return Reason.None;
    const number = Number.parseInt(id.slice(0, 8), 16);
    if (Number.isNaN(number)) return Reason.None;
    const stable = number % 10000;
    const runtime = options.runtime.snapshot;
    const before = reasonOf(id);
    let reason = before;
    if (reason === Reason.None) {
      if (headers.hasId(H['x-client-trace-id']) && runtime.featureEnabled('tracing.client_enabled', sampling.client, stable))
        reason = Reason.ClientForced;
      else if (headers.hasId(H['x-envoy-force-trace'])) reason = Reason.ServiceForced;
      else if (runtime.featureEnabled('tracing.random_sampling', sampling.random, stable)) reason = Reason.Sampling;
    }
    if (reason !== Reason.None && !runtime.featureEnabled('tracing.global_enabled', sampling.overall, stable))
      reason = Reason.None;
    if (reason !== before && options.packTraceReason)
      headers.setId(H['x-request-id'], id.slice(0, REASON_AT) + reason + id.slice(REASON_AT + 1));
    return reason;
  }

  /** The route's decorator names the operation; its name travels between proxies as x-envoy-decorator-operation. */
  private decorate(span: Span, headers: HeaderMap, info: StreamInfo, route: Route | null): void {
    const decorator = route?.decorator ?? null;
    if (decorator !== null) span.name = decorator.operation;
    const propagated = decorator?.propagate === true ? decorator.operation : '';
    if (this.operation === 'egress') {
      if (propagated !== '') headers.setId(H['x-envoy-decorator-operation'], propagated);
      return;
    }
    info.decoratedOperation = propagated;
    const given = headers.getId(H['x-envoy-decorator-operation']);
    if (given === undefined) return;
    if (given !== '') {
      span.name = given;
      info.decoratedOperation = '';
    }
    headers.removeId(H['x-envoy-decorator-operation']);
  }

  onResponse(span: Span, headers: HeaderMap, info: StreamInfo): void {
    if (this.operation === 'ingress') {
      if (info.decoratedOperation !== '') headers.setId(H['x-envoy-decorator-operation'], info.decoratedOperation);
      return;
    }
    const given = headers.getId(H['x-envoy-decorator-operation']);
    if (given === undefined) return;
    if (given !== '') span.name = given;
    headers.removeId(H['x-envoy-decorator-operation']);
  }

  /** The stream is over. */
  finish(
    span: Span,
    request: HeaderMap | null,
    response: HeaderMap | null,
    trailers: HeaderMap | null,
    info: StreamInfo,
    route: Route | null,
  ): void {
    if (span.sampled) {
      const { options } = this;
      span.setTag('node_id', options.nodeId);
      span.setTag('zone', options.zone);
      if (request !== null) this.requestTags(span, request, info);
      span.setTag('request_size', String(info.bytesReceived));
      span.setTag('response_size', String(info.bytesSent));
      commonTags(span, info);
      this.applyCustomTags(span, request, info, route);
      if (options.verbose) annotate(span, info);
      grpcStatusTags(span, response, trailers);
    }
    span.finish(wallTime(info, info.endMonotonicMs));
  }

  private requestTags(span: Span, request: HeaderMap, info: StreamInfo): void {
    const tag = (name: string, id: number): void => {
      const value = request.getId(id);
      if (value !== undefined) span.setTag(name, value);
    };
    tag('guid:x-request-id', H['x-request-id']);
    span.setTag('http.url', this.url(request));
    span.setTag('http.method', request.getId(H[':method']) ?? '');
    span.setTag('downstream_cluster', request.getId(H['x-envoy-downstream-service-cluster']) || '-');
    span.setTag('user_agent', request.getId(H['user-agent']) || '-');
    span.setTag('http.protocol', info.protocol || '-');
    const peer = info.downstreamDirectRemoteAddress;
    if (peer !== null) span.setTag('peer.address', peer.kind === 'ip' ? peer.ip : peer.asString);
    tag('guid:x-client-trace-id', H['x-client-trace-id']);
    if (!isGrpcRequest(request)) return;
    tag('grpc.path', H[':path']);
    tag('grpc.authority', H[':authority']);
    tag('grpc.content_type', H['content-type']);
    tag('grpc.timeout', H['grpc-timeout']);
  }

  private url(request: HeaderMap): string {
    const path = request.getId(H['x-envoy-original-path']) ?? request.getId(H[':path']) ?? '';
    const scheme = request.getId(H[':scheme']) ?? request.getId(H['x-forwarded-proto']) ?? '';
    return `${scheme}://${request.getId(H[':authority']) ?? ''}${path.slice(0, this.options.maxPathTagLength)}`;
  }

  /** The route's replace those of the same name. */
  private applyCustomTags(span: Span, request: HeaderMap | null, info: StreamInfo, route: Route | null): void {
    const own = route?.tracing?.customTags ?? [];
    for (const tag of this.options.customTags) {
      if (!own.some(({ name }) => name === tag.name)) setCustomTag(span, tag, request, info);
    }
    for (const tag of own) setCustomTag(span, tag, request, info);
  }
}

/** The span of one attempt at an upstream is over. */
export function finishUpstreamSpan(span: Span, info: StreamInfo, nowMs: number): void {
  if (span.sampled) {
    span.setTag('http.protocol', info.upstreamProtocol || '-');
    const host = info.upstreamHost;
    if (host !== null) {
      span.setTag('upstream_address', host.address.asString);
      span.setTag('peer.address', host.address.asString);
    }
    commonTags(span, info);
  }
  span.finish(wallTime(info, nowMs));
}

/** The wall clock of a monotonic time of this stream. */
export function wallTime(info: StreamInfo, monotonicMs: number): number {
  return info.startTimeMs + Math.max(0, monotonicMs - info.startMonotonicMs);
}

function commonTags(span: Span, info: StreamInfo): void {
  span.setTag('component', 'proxy');
  if (info.upstreamClusterName !== '') {
    span.setTag('upstream_cluster', info.upstreamClusterName);
    span.setTag('upstream_cluster.name', info.upstreamClusterObservableName || info.upstreamClusterName);
  }
  span.setTag('http.status_code', String(info.responseCode));
  span.setTag('response_flags', flagsText(info.responseFlags));
  if (info.responseCode === 0 || info.responseCode >= 500) {
    span.error = true;
    span.setTag('error', 'true');
  }
}

function flagsText(flags: number): string {
  if (flags === 0) return '-';
  const names = Object.keys(RESPONSE_FLAGS) as ResponseFlag[];
  return names
    .filter((name) => (flags & (1 << RESPONSE_FLAGS[name][0])) !== 0)
    .map((name) => RESPONSE_FLAGS[name][1])
    .join(',');
}

function setCustomTag(span: Span, tag: CustomTag, request: HeaderMap | null, info: StreamInfo): void {
  const value = tag.value(request, info);
  if (value !== '') span.setTag(tag.name, value);
}

function grpcStatusTags(span: Span, response: HeaderMap | null, trailers: HeaderMap | null): void {
  const from = trailers?.hasId(H['grpc-status']) ? trailers : response;
  const status = from?.getId(H['grpc-status']);
  if (from === null || status === undefined) return;
  span.setTag('grpc.status_code', status);
  const message = from?.getId(H['grpc-message']);
  if (message !== undefined) span.setTag('grpc.message', message);
  // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss: the server's fault.
  if (['2', '4', '12', '13', '14', '15'].includes(status) && !span.error) {
    span.error = true;
    span.setTag('error', 'true');
  }
}

/** `verbose`: when what happened. */
function annotate(span: Span, info: StreamInfo): void {
  const event = (name: string, monotonicMs: number): void => {
    if (monotonicMs >= 0) span.events.push({ name, ms: wallTime(info, monotonicMs) });
  };
  event('last_downstream_rx_byte_received', info.lastDownstreamRxByteMs);
  event('first_upstream_tx_byte_sent', info.firstUpstreamTxByteMs);
  event('last_upstream_tx_byte_sent', info.lastUpstreamTxByteMs);
  event('first_upstream_rx_byte_received', info.firstUpstreamRxByteMs);
  event('last_upstream_rx_byte_received', info.lastUpstreamRxByteMs);
  event('first_downstream_tx_byte_sent', info.firstDownstreamTxByteMs);
  event('last_downstream_tx_byte_sent', info.lastDownstreamTxByteMs);
}

function reasonOf(id: string): Reason {
  const digit = id[REASON_AT];
  return digit === Reason.Sampling || digit === Reason.ServiceForced || digit === Reason.ClientForced ? digit : Reason.None;
}
