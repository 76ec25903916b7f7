/**
 * `envoy.filters.http.grpc_stats`: `cluster.<name>.grpc.[<service>.<method>.]` success, failure, total, one counter per status, and
 * the messages of either direction.
 *
 * Method stats only for those that configuration lists, or, with `stats_for_all_methods`, for every path that a client sends: each new one
 * costs memory for ever, as in Envoy.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import { isGrpcRequest } from '../../../http/conn_manager/conn_manager_utility.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

interface Plain {
  statsForAllMethods?: boolean;
  individualMethodStatsAllowlist?: { services?: { name?: string; methodNames?: string[] }[] };
  replaceDotsInGrpcServiceName?: boolean;
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig',
  name: 'envoy.filters.http.grpc_stats',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix: string, context: FactoryContext) {
    const stats = new GrpcStats(config as Plain, context.scope);
    return (callbacks) => callbacks.addStreamFilter(new GrpcStatsFilter(stats));
  },
};

class MethodStats {
  readonly total: Counter;
  readonly success: Counter;
  readonly failure: Counter;
  readonly requestMessages: Counter;
  readonly responseMessages: Counter;
  private readonly scope: Scope;

  constructor(scope: Scope) {
    this.scope = scope;
    this.total = scope.counter('total');
    this.success = scope.counter('success');
    this.failure = scope.counter('failure');
    this.requestMessages = scope.counter('request_message_count');
    this.responseMessages = scope.counter('response_message_count');
  }

  charge(status: number): void {
    this.total.inc();
    (status === 0 ? this.success : this.failure).inc();
    this.scope.counter(String(status)).inc();
  }
}

class GrpcStats {
  private readonly scope: Scope;
  private readonly allowed: ReadonlySet<string> | null;
  private readonly replaceDots: boolean;
  private readonly byMethod = new Map<string, MethodStats>();

  constructor(config: Plain, scope: Scope) {
    this.scope = scope;
    this.replaceDots = config.replaceDotsInGrpcServiceName ?? false;
    const services = config.individualMethodStatsAllowlist?.services ?? [];
    const listed = services.flatMap(({ name = '', methodNames = [] }) => methodNames.map((method) => `/${name}/${method}`));
    this.allowed = config.statsForAllMethods === true ? null : new Set(listed);
  }

  of(cluster: string, path: string): MethodStats {
    const method = /^\/([^/?]+)\/([^/?]+)$/.exec(path);
    const own = method !== null && (this.allowed === null || this.allowed.has(path));
    const key = own ? `${cluster} ${path}` : cluster;
    let stats = this.byMethod.get(key);
    if (stats === undefined) {
      let prefix = `cluster.${cluster.replaceAll(':', '_')}.grpc.`;
      if (own) prefix += `${this.replaceDots ? method[1].replaceAll('.', '_') : method[1]}.${method[2]}.`;
      stats = new MethodStats(this.scope.scope(prefix));
      this.byMethod.set(key, stats);
    }
    return stats;
  }
}

/** Counts length-prefixed messages that pass in any pieces. */
class MessageCounter {
  private headLeft = 5;
  private length = 0;
  private bodyLeft = 0;

  /** How many began in `data`. */
  count(data: SliceBuffer): number {
    const u8 = data.slab.u8;
    let found = 0;
    for (let i = 0; i < data.slices; i++) {
      let at = data.offsetAt(i);
      const end = at + data.lengthAt(i);
      while (at < end) {
        if (this.headLeft === 0) {
          const step = Math.min(this.bodyLeft, end - at);
          this.bodyLeft -= step;
          at += step;
        } else {
          if (this.headLeft <= 4) this.length = this.length * 256 + u8[at];
          else this.length = 0;
          at++;
          if (--this.headLeft > 0) continue;
          found++;
          this.bodyLeft = this.length;
        }
        if (this.headLeft === 0 && this.bodyLeft === 0) this.headLeft = 5;
      }
    }
    return found;
  }

  reset(): void {
    this.headLeft = 5;
    this.bodyLeft = 0;
  }
}

class GrpcStatsFilter extends PassThroughFilter {
  private readonly stats: GrpcStats;
  private method: MethodStats | null = null;
  /** The response's content type says so: a reply of the proxy's own may be text. */
  private grpcResponse = false;
  private readonly requests = new MessageCounter();
  private readonly responses = new MessageCounter();

  constructor(stats: GrpcStats) {
    super();
    this.stats = stats;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    if (!isGrpcRequest(headers)) return FilterHeadersStatus.Continue;
    const cluster = this.decoder.route()?.routeEntry?.clusterName;
    if (cluster !== undefined) this.method = this.stats.of(cluster, headers.getId(H[':path']) ?? '');
    return FilterHeadersStatus.Continue;
  }

  override decodeData(data: SliceBuffer): FilterDataStatus {
    if (this.method !== null) {
      const messages = this.requests.count(data);
      if (messages > 0) this.method.requestMessages.add(messages);
    }
    return FilterDataStatus.Continue;
  }

  override encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    if (endStream) this.charge(headers);
    this.grpcResponse = isGrpcRequest(headers);
    return FilterHeadersStatus.Continue;
  }

  override encodeData(data: SliceBuffer): FilterDataStatus {
    if (this.method !== null && this.grpcResponse) {
      const messages = this.responses.count(data);
      if (messages > 0) this.method.responseMessages.add(messages);
    }
    return FilterDataStatus.Continue;
  }

  override encodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.charge(trailers);
    return FilterTrailersStatus.Continue;
  }

  override onDestroy(): void {
    this.method = null;
  }

  reset(): void {
    this.requests.reset();
    this.responses.reset();
  }

  private charge(from: HeaderMap): void {
    const status = from.getId(H['grpc-status']);
    if (this.method !== null && status !== undefined && /^[0-9]{1,3}$/.test(status)) this.method.charge(Number(status));
  }
}
