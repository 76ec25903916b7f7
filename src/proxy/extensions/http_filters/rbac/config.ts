/**
 * `envoy.filters.http.rbac`: requests that policies do not allow are answered 403 (Envoy: source/extensions/filters/http/rbac). Routes may
 * have rules of their own, or none.
 *
 * Left out, refused: `matcher`, `shadow_matcher`, conditions (CEL).
 */
import { FilterHeadersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { PassThroughDecoderFilter } from '../../../http/pass_through_filter.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { type RbacConfig, RbacRules, RbacStats } from '../../common/rbac/engine.ts';

const NAMESPACE = 'envoy.filters.http.rbac';

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.rbac.v3.RBAC',
  name: NAMESPACE,
  routeTypeName: 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const own = new RbacRules(config as RbacConfig);
    const stats = new RbacStats(context.scope.scope(`${statPrefix}rbac.`), config as RbacConfig);
    return (callbacks) => callbacks.addStreamDecoderFilter(new RbacFilter(own, stats));
  },
  createRouteSpecificConfig: (config: TypedConfig) => new RbacRules((config as { rbac?: RbacConfig }).rbac ?? {}),
};

class RbacFilter extends PassThroughDecoderFilter {
  private readonly own: RbacRules;
  private readonly stats: RbacStats;

  constructor(own: RbacRules, stats: RbacStats) {
    super();
    this.own = own;
    this.stats = stats;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { decoder } = this;
    const rules = decoder.perFilterConfig<RbacRules>() ?? this.own;
    const subject = { connection: decoder.connection, headers, info: decoder.streamInfo };
    const denied = rules.check(subject, this.stats, NAMESPACE);
    if (denied === null) return FilterHeadersStatus.Continue;
    decoder.sendLocalReply(403, 'RBAC: access denied', null, null, denied);
    return FilterHeadersStatus.StopIteration;
  }

  reset(): void {}
}
