/**
 * `envoy.filters.http.cors`: answers preflight requests and adds access-control headers to responses, as the `CorsPolicy` of route and
 * virtual host say; what the route does not say, the virtual host does (Envoy: source/extensions/filters/http/cors).
 *
 * Left out: the deprecated `cors` fields of routes and virtual hosts, which are refused.
 */
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import { compileStringMatcher, type StringMatcher, type StringMatcherConfig } from '../../../common/matchers.ts';
import { FilterHeadersStatus } from '../../../http/filter.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { FractionalPercent, Runtime } from '../../../runtime/runtime.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

interface RuntimeFraction {
  defaultValue?: Partial<FractionalPercent>;
  runtimeKey?: string;
}

interface PolicyMessage {
  allowOriginStringMatch?: StringMatcherConfig[];
  allowMethods?: string;
  allowHeaders?: string;
  exposeHeaders?: string;
  maxAge?: string;
  allowCredentials?: boolean;
  filterEnabled?: RuntimeFraction;
  shadowEnabled?: RuntimeFraction;
  allowPrivateNetworkAccess?: boolean;
  forwardNotMatchingPreflights?: boolean;
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.cors.v3.Cors',
  name: 'envoy.filters.http.cors',
  routeTypeName: 'envoy.extensions.filters.http.cors.v3.CorsPolicy',
  isTerminal: () => false,
  create(_config, statPrefix, context) {
    const stats = new CorsStats(context.scope.scope(`${statPrefix}cors.`));
    return (callbacks) => callbacks.addStreamFilter(new CorsFilter(stats));
  },
  createRouteSpecificConfig: (config: TypedConfig, context) => new CorsPolicy(config as PolicyMessage, context),
};

class CorsStats {
  readonly originValid: Counter;
  readonly originInvalid: Counter;

  constructor(scope: Scope) {
    this.originValid = scope.counter('origin_valid');
    this.originInvalid = scope.counter('origin_invalid');
  }
}

/** One level's policy. Undefined: it says nothing, and a less specific level may. */
class CorsPolicy {
  readonly origins: readonly StringMatcher[];
  readonly anyOrigin: boolean;
  readonly message: PolicyMessage;
  private readonly runtime: Runtime;
  private readonly random: () => number;

  constructor(message: PolicyMessage, context: FactoryContext) {
    const origins = message.allowOriginStringMatch ?? [];
    this.origins = origins.map((origin, i) => compileStringMatcher(origin, `allow_origin_string_match[${i}]`));
    this.anyOrigin = origins.some((origin) => origin.exact === '*');
    this.message = message;
    this.runtime = context.runtime;
    this.random = () => context.random();
  }

  isEnabled(): boolean {
    return this.isOn(this.message.filterEnabled, 100);
  }

  isShadowed(): boolean {
    return this.isOn(this.message.shadowEnabled, 0);
  }

  private isOn(fraction: RuntimeFraction | undefined, percent: number): boolean {
    if (fraction === undefined) return percent > 0;
    const { numerator = 0, denominator = 'HUNDRED' } = fraction.defaultValue ?? {};
    return this.runtime.snapshot.featureEnabled(fraction.runtimeKey ?? '', { numerator, denominator }, this.random());
  }
}

class CorsFilter extends PassThroughFilter {
  private readonly stats: CorsStats;
  private policies: readonly CorsPolicy[] = [];
  /** Of a request whose origin is allowed. */
  private origin = '';

  constructor(stats: CorsStats) {
    super();
    this.stats = stats;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const origin = headers.getId(H.origin);
    if (origin === undefined || origin === '') return FilterHeadersStatus.Continue;
    this.policies = this.decoder.perFilterConfigs<CorsPolicy>();
    const [policy] = this.policies;
    if (policy === undefined) return FilterHeadersStatus.Continue;
    const enabled = policy.isEnabled();
    if (!enabled && !policy.isShadowed()) return FilterHeadersStatus.Continue;
    const preflight = headers.getId(H[':method']) === 'OPTIONS' && (headers.get('access-control-request-method') ?? '') !== '';
    if (!this.isAllowed(origin)) {
      this.stats.originInvalid.inc();
      const answer = enabled && preflight && this.find('forwardNotMatchingPreflights') === false;
      return answer ? this.answer(this.newHeaders()) : FilterHeadersStatus.Continue;
    }
    this.stats.originValid.inc();
    if (!enabled) return FilterHeadersStatus.Continue;
    this.origin = origin;
    return preflight ? this.answer(this.preflightHeaders(headers)) : FilterHeadersStatus.Continue;
  }

  private isAllowed(origin: string): boolean {
    const policy = this.policies.find(({ origins }) => origins.length > 0);
    return policy !== undefined && (policy.anyOrigin || policy.origins.some((matcher) => matcher.match(origin)));
  }

  /** The most specific level that says something. */
  private find<K extends keyof PolicyMessage>(field: K): PolicyMessage[K] | undefined {
    for (const { message } of this.policies) {
      const value = message[field];
      if (value !== undefined && value !== '') return value;
    }
    return undefined;
  }

  private preflightHeaders(request: HeaderMap): HeaderMap {
    const headers = this.newHeaders();
    headers.add('access-control-allow-origin', this.origin);
    if (this.find('allowCredentials') === true) headers.add('access-control-allow-credentials', 'true');
    const methods = this.find('allowMethods');
    if (methods !== undefined) headers.add('access-control-allow-methods', methods);
    const allowed = this.find('allowHeaders');
    if (allowed !== undefined) headers.add('access-control-allow-headers', allowed);
    const maxAge = this.find('maxAge');
    if (maxAge !== undefined) headers.add('access-control-max-age', maxAge);
    const wantsPrivate = request.get('access-control-request-private-network') === 'true';
    if (wantsPrivate && this.find('allowPrivateNetworkAccess') === true) {
      headers.add('access-control-allow-private-network', 'true');
    }
    return headers;
  }

  private newHeaders(): HeaderMap {
    return HeaderMap.of(this.decoder.dispatcher.slab, [[':status', '200']]);
  }

  private answer(headers: HeaderMap): FilterHeadersStatus {
    this.decoder.encodeHeaders(headers, true, 'cors_response');
    return FilterHeadersStatus.StopIteration;
  }

  override encodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    if (this.origin === '') return FilterHeadersStatus.Continue;
    headers.set('access-control-allow-origin', this.origin);
    if (this.find('allowCredentials') === true) headers.set('access-control-allow-credentials', 'true');
    const exposed = this.find('exposeHeaders');
    if (exposed !== undefined) headers.set('access-control-expose-headers', exposed);
    return FilterHeadersStatus.Continue;
  }

  reset(): void {
    this.policies = [];
    this.origin = '';
  }
}
