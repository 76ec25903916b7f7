/**
 * `envoy.filters.http.jwt_authn`: requests need JSON Web Tokens of known providers, by path rules or per route; 401 or 403 without (Envoy:
 * source/extensions/filters/http/jwt_authn).
 *
 * Left out, refused: `filter_state_rules`, `failed_status_in_metadata`, retry policies of remote keys.
 */
import type { Counter } from '../../../../core/stats/stats.ts';
import { ConfigError } from '../../../config/error.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughDecoderFilter } from '../../../http/pass_through_filter.ts';
import type { RouteMatchConfig } from '../../../http/route/config_types.ts';
import { RouteMatch } from '../../../http/route/route_match.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { LocalJwks, RemoteJwks, type RemoteJwksConfig } from './jwks_source.ts';
import { JwtProvider, type JwtProviderMessage } from './provider.ts';
import { compileRequirement, type JwtRequest, type JwtRequirementMessage, type Requirement } from './requirement.ts';
import { JWT_STATUS, type JwtStatus } from './status.ts';

interface JwtAuthenticationMessage {
  providers?: Record<string, JwtProviderMessage>;
  rules?: { match?: RouteMatchConfig; requires?: JwtRequirementMessage; requirementName?: string }[];
  bypassCorsPreflight?: boolean;
  requirementMap?: Record<string, JwtRequirementMessage>;
  stripFailureResponse?: boolean;
}

interface PerRoute {
  readonly disabled: boolean;
  readonly requirementName: string;
}

const NAMESPACE = 'envoy.filters.http.jwt_authn';
const MAX_REALM_PATH = 256;

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication',
  name: NAMESPACE,
  routeTypeName: 'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig',
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const settings = new Settings(config as JwtAuthenticationMessage, statPrefix, context);
    return (callbacks) => callbacks.addStreamDecoderFilter(new JwtFilter(settings));
  },
  createRouteSpecificConfig(config: TypedConfig): PerRoute {
    const message = config as { disabled?: boolean; requirementName?: string };
    return { disabled: message.disabled === true, requirementName: message.requirementName ?? '' };
  },
};

class Settings {
  readonly allowed: Counter;
  readonly denied: Counter;
  readonly bypassed: Counter;
  readonly cacheHit: Counter;
  readonly cacheMiss: Counter;
  readonly bypassCorsPreflight: boolean;
  readonly stripsFailure: boolean;
  private readonly rules: readonly { readonly match: RouteMatch; readonly requirement: Requirement | null }[];
  private readonly named: ReadonlyMap<string, Requirement>;

  /** Throws ConfigError. */
  constructor(message: JwtAuthenticationMessage, statPrefix: string, context: FactoryContext) {
    const scope = context.scope.scope(`${statPrefix}jwt_authn.`);
    this.allowed = scope.counter('allowed');
    this.denied = scope.counter('denied');
    this.bypassed = scope.counter('cors_preflight_bypassed');
    this.cacheHit = scope.counter('jwt_cache_hit');
    this.cacheMiss = scope.counter('jwt_cache_miss');
    const succeeded = scope.counter('jwks_fetch_success');
    const failed = scope.counter('jwks_fetch_failed');
    this.bypassCorsPreflight = message.bypassCorsPreflight === true;
    this.stripsFailure = message.stripFailureResponse === true;
    const providers = new Map<string, JwtProvider>();
    for (const [name, provider] of Object.entries(message.providers ?? {})) {
      const path = `providers[${name}]`;
      const keys =
        provider.remoteJwks === undefined
          ? new LocalJwks(provider.localJwks ?? {}, `${path}.local_jwks`)
          : new RemoteJwks(provider.remoteJwks as RemoteJwksConfig, `${path}.remote_jwks`, succeeded, failed, context);
      providers.set(name, new JwtProvider(name, provider, keys, path));
    }
    this.named = new Map(
      Object.entries(message.requirementMap ?? {}).map(([name, requirement]) => [
        name,
        compileRequirement(requirement, providers, `requirement_map[${name}]`),
      ]),
    );
    this.rules = (message.rules ?? []).map(({ match = {}, requires, requirementName }, i) => {
      const path = `rules[${i}]`;
      let requirement: Requirement | null = null;
      if (requirementName !== undefined) {
        requirement = this.named.get(requirementName) ?? null;
        if (requirement === null) {
          throw new ConfigError(`Wrong requirement_name: ${requirementName}. It should be in requirement_map.`, { path });
        }
      } else if (requires !== undefined) requirement = compileRequirement(requires, providers, `${path}.requires`);
      return { match: new RouteMatch(match, false, context.runtime, `${path}.match`), requirement };
    });
  }

  /** Null: nothing is required. */
  requirementOf(headers: HeaderMap, info: StreamInfo, random: number): Requirement | null {
    const start = headers.valueByteStart(H[':path']);
    const length = start < 0 ? 0 : headers.valueByteLength(H[':path']);
    for (const { match, requirement } of this.rules) if (match.matches(headers, info, random, start, length)) return requirement;
    return null;
  }

  /** Undefined: there is none of this name. */
  requirementNamed(name: string): Requirement | undefined {
    return this.named.get(name);
  }

  get names(): string {
    return [...this.named.keys()].sort().join(', ');
  }
}

class JwtFilter extends PassThroughDecoderFilter {
  private readonly settings: Settings;
  private state: 'idle' | 'calling' | 'passed' | 'answered' = 'idle';
  private stopped = false;
  private request: JwtRequest | null = null;

  constructor(settings: Settings) {
    super();
    this.settings = settings;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { decoder, settings } = this;
    if (settings.bypassCorsPreflight && isPreflight(headers)) {
      settings.bypassed.inc();
      settings.allowed.inc();
      this.state = 'passed';
      return FilterHeadersStatus.Continue;
    }
    const requirement = this.requirement(headers);
    if (requirement === undefined) return FilterHeadersStatus.StopIteration;
    if (requirement === null) {
      settings.allowed.inc();
      this.state = 'passed';
      return FilterHeadersStatus.Continue;
    }
    const realm = this.settings.stripsFailure ? '' : originalUri(headers);
    this.state = 'calling';
    const request: JwtRequest = {
      headers,
      nowSeconds: Math.floor(decoder.dispatcher.systemTimeMs / 1000),
      cacheHit: settings.cacheHit,
      cacheMiss: settings.cacheMiss,
      waits: new Set(),
      metadata: {},
      clearRouteCache: false,
    };
    this.request = request;
    requirement(request, (status) => this.onDone(status, request, realm));
    if ((this.state as string) === 'passed') return FilterHeadersStatus.Continue;
    this.stopped = true;
    return FilterHeadersStatus.StopIteration;
  }

  override decodeData(): FilterDataStatus {
    return this.state === 'calling' ? FilterDataStatus.StopIterationAndWatermark : FilterDataStatus.Continue;
  }

  override decodeTrailers(): FilterTrailersStatus {
    return this.state === 'calling' ? FilterTrailersStatus.StopIteration : FilterTrailersStatus.Continue;
  }

  override onDestroy(): void {
    for (const cancel of this.request?.waits ?? []) cancel();
    this.request = null;
  }

  reset(): void {
    this.state = 'idle';
    this.stopped = false;
  }

  /** Null: nothing is required. Undefined: the route asks for what there is not, and the request is answered. */
  private requirement(headers: HeaderMap): Requirement | null | undefined {
    const { decoder, settings } = this;
    const route = decoder.perFilterConfig<PerRoute>();
    if (route === undefined) return settings.requirementOf(headers, decoder.streamInfo, decoder.stableRandom);
    if (route.disabled) return null;
    const requirement = settings.requirementNamed(route.requirementName);
    if (requirement !== undefined) return requirement;
    const error = `Wrong requirement_name: ${route.requirementName}. It should be one of [${settings.names}]`;
    settings.denied.inc();
    this.state = 'answered';
    decoder.sendLocalReply(403, settings.stripsFailure ? '' : `Failed JWT authentication: ${error}`, null, null, details(error));
    return undefined;
  }

  private onDone(status: JwtStatus, request: JwtRequest, realm: string): void {
    if (this.request !== request) return;
    const { decoder, settings } = this;
    if (status !== 'Ok') {
      this.refuse(status, realm);
      return;
    }
    settings.allowed.inc();
    const info = decoder.streamInfo;
    if (Object.keys(request.metadata).length > 0) {
      info.dynamicMetadata ??= {};
      info.dynamicMetadata[NAMESPACE] = { ...info.dynamicMetadata[NAMESPACE], ...request.metadata };
    }
    if (request.clearRouteCache) decoder.clearRouteCache();
    this.state = 'passed';
    if (this.stopped) decoder.continueDecoding();
  }

  private refuse(status: JwtStatus, realm: string): void {
    const { decoder, settings } = this;
    settings.denied.inc();
    this.state = 'answered';
    const code = status === 'AudienceNotAllowed' ? 403 : 401;
    const text = JWT_STATUS[status];
    if (settings.stripsFailure) {
      decoder.sendLocalReply(code, '', null, null, details(text));
      return;
    }
    const challenge = `Bearer realm="${realm}"${status === 'Missing' ? '' : ', error="invalid_token"'}`;
    decoder.sendLocalReply(code, text, (headers) => headers.set('www-authenticate', challenge), null, details(text));
  }
}

function details(text: string): string {
  return `jwt_authn_access_denied{${text.replaceAll(' ', '_')}}`;
}

function isPreflight(headers: HeaderMap): boolean {
  return (
    headers.getId(H[':method']) === 'OPTIONS' &&
    (headers.getId(H.origin) ?? '') !== '' &&
    (headers.get('access-control-request-method') ?? '') !== ''
  );
}

function originalUri(headers: HeaderMap): string {
  const path = headers.getId(H['x-envoy-original-path']) ?? headers.getId(H[':path']) ?? '';
  return `${headers.getId(H['x-forwarded-proto']) ?? ''}://${headers.getId(H[':authority']) ?? ''}${path.slice(0, MAX_REALM_PATH)}`;
}
