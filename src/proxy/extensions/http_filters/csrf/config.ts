/**
 * `envoy.filters.http.csrf`: requests that change something are answered 403 when they come from another origin than they go to (Envoy:
 * source/extensions/filters/http/csrf). Hosts and ports are compared, schemes are not.
 */
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import { compileStringMatcher, type StringMatcher, type StringMatcherConfig } from '../../../common/matchers.ts';
import { FilterHeadersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughDecoderFilter } from '../../../http/pass_through_filter.ts';
import { RuntimeFraction, type RuntimeFractionConfig } from '../../../runtime/runtime_fraction.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

interface CsrfMessage {
  filterEnabled?: RuntimeFractionConfig;
  shadowEnabled?: RuntimeFractionConfig;
  additionalOrigins?: StringMatcherConfig[];
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.csrf.v3.CsrfPolicy',
  name: 'envoy.filters.http.csrf',
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const own = new CsrfPolicy(config as CsrfMessage, context);
    const stats = new CsrfStats(context.scope.scope(`${statPrefix}csrf.`));
    return (callbacks) => callbacks.addStreamDecoderFilter(new CsrfFilter(own, stats));
  },
  createRouteSpecificConfig: (config: TypedConfig, context) => new CsrfPolicy(config as CsrfMessage, context),
};

class CsrfStats {
  readonly missing: Counter;
  readonly invalid: Counter;
  readonly valid: Counter;

  constructor(scope: Scope) {
    this.missing = scope.counter('missing_source_origin');
    this.invalid = scope.counter('request_invalid');
    this.valid = scope.counter('request_valid');
  }
}

class CsrfPolicy {
  readonly enabled: RuntimeFraction;
  readonly shadowed: RuntimeFraction;
  readonly origins: readonly StringMatcher[];

  /** Throws ConfigError. */
  constructor(message: CsrfMessage, context: FactoryContext) {
    const random = (): number => context.random();
    this.enabled = new RuntimeFraction(message.filterEnabled, 0, context.runtime, random);
    this.shadowed = new RuntimeFraction(message.shadowEnabled, 0, context.runtime, random);
    this.origins = (message.additionalOrigins ?? []).map((origin, i) => compileStringMatcher(origin, `additional_origins[${i}]`));
  }
}

const MODIFYING: ReadonlySet<string> = new Set(['POST', 'PUT', 'DELETE', 'PATCH']);

class CsrfFilter extends PassThroughDecoderFilter {
  private readonly own: CsrfPolicy;
  private readonly stats: CsrfStats;

  constructor(own: CsrfPolicy, stats: CsrfStats) {
    super();
    this.own = own;
    this.stats = stats;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    if (!MODIFYING.has(headers.getId(H[':method']) ?? '')) return FilterHeadersStatus.Continue;
    const policy = this.decoder.perFilterConfig<CsrfPolicy>() ?? this.own;
    const enabled = policy.enabled.isOn();
    if (!enabled && !policy.shadowed.isOn()) return FilterHeadersStatus.Continue;
    const source = hostAndPort(headers.getId(H.origin)) || hostAndPort(headers.getId(H.referer));
    if (source === '') this.stats.missing.inc();
    const target = hostAndPort(headers.getId(H[':authority']));
    if (source !== '' && (source === target || policy.origins.some((origin) => origin.match(source)))) {
      this.stats.valid.inc();
      return FilterHeadersStatus.Continue;
    }
    this.stats.invalid.inc();
    if (!enabled) return FilterHeadersStatus.Continue;
    this.decoder.sendLocalReply(403, 'Invalid origin', null, null, 'csrf_origin_mismatch');
    return FilterHeadersStatus.StopIteration;
  }

  reset(): void {}
}

/** Of a URL; what is none stays as it is. */
function hostAndPort(url: string | undefined): string {
  if (url === undefined) return '';
  return /^[A-Za-z][\w+.-]*:\/\/([^/?#]*)/.exec(url)?.[1] ?? url;
}
