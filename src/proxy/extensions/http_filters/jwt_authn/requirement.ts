/**
 * What tokens a request needs: a provider's, any or all of several, or none (Envoy: verifier.cc, authenticator.cc). All tokens of a provider
 * that a request has must be good, so that no bad one is taken for the good one later.
 */
import type { Counter } from '../../../../core/stats/stats.ts';
import { ConfigError } from '../../../config/error.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import type { Jwks } from './jwks.ts';
import { type Jwt, normalAudience, parseJwt } from './jwt.ts';
import type { JwtProvider, Token } from './provider.ts';
import type { JwtStatus } from './status.ts';

export interface JwtRequirementMessage {
  providerName?: string;
  providerAndAudiences?: { providerName?: string; audiences?: string[] };
  requiresAny?: { requirements?: JwtRequirementMessage[] };
  requiresAll?: { requirements?: JwtRequirementMessage[] };
  allowMissingOrFailed?: object;
  allowMissing?: object;
}

/** One request while its tokens are looked at. */
export interface JwtRequest {
  readonly headers: HeaderMap;
  readonly nowSeconds: number;
  readonly cacheHit: Counter;
  readonly cacheMiss: Counter;
  /** What is to be called off when the request is gone. */
  readonly waits: Set<() => void>;
  /** Of good tokens, by the provider's keys. */
  readonly metadata: Record<string, unknown>;
  clearRouteCache: boolean;
}

type Done = (status: JwtStatus) => void;
export type Requirement = (request: JwtRequest, done: Done) => void;

type Providers = ReadonlyMap<string, JwtProvider>;

/** Throws ConfigError. */
export function compileRequirement(
  config: JwtRequirementMessage,
  providers: Providers,
  path: string,
  siblings: readonly string[] = [],
): Requirement {
  if (config.requiresAny !== undefined) return anyOf(config.requiresAny.requirements ?? [], providers, `${path}.requires_any`);
  if (config.requiresAll !== undefined) return allOf(config.requiresAll.requirements ?? [], providers, `${path}.requires_all`);
  if (config.allowMissing !== undefined || config.allowMissingOrFailed !== undefined) {
    const among = siblings.length === 0 ? [...providers.values()] : siblings.map((name) => find(name, providers, path));
    return optional(among, config.allowMissingOrFailed !== undefined);
  }
  const name = config.providerName ?? config.providerAndAudiences?.providerName;
  if (name === undefined) return (_request, done) => done('Ok');
  const provider = find(name, providers, path);
  const audiences = config.providerAndAudiences?.audiences ?? [];
  const allowed = audiences.length === 0 ? null : new Set(audiences.map(normalAudience));
  return (request, done) => {
    provider.sanitize(request.headers);
    verifyAll(provider.tokens(request.headers), request, allowed, 'none', done);
  };
}

function find(name: string, providers: Providers, path: string): JwtProvider {
  const provider = providers.get(name);
  if (provider === undefined) throw new ConfigError(`Required provider ['${name}'] is not configured.`, { path });
  return provider;
}

/** The first that is met, in order; an `allow_missing` comes last and looks at the providers named beside it. */
function anyOf(configs: readonly JwtRequirementMessage[], providers: Providers, path: string): Requirement {
  const isOptional = (config: JwtRequirementMessage): boolean =>
    config.allowMissing !== undefined || config.allowMissingOrFailed !== undefined;
  const bypass = configs.find((config) => config.allowMissingOrFailed !== undefined) ?? configs.find(isOptional);
  const names = configs.flatMap((config) => config.providerName ?? config.providerAndAudiences?.providerName ?? []);
  const ordered = [...configs.filter((config) => !isOptional(config)), ...(bypass === undefined ? [] : [bypass])];
  const requirements = ordered.map((config, i) => compileRequirement(config, providers, `${path}.requirements[${i}]`, names));
  return (request, done) => {
    const next = (i: number, before: JwtStatus): void => {
      if (i === requirements.length) {
        done(before);
        return;
      }
      requirements[i](request, (status) => {
        if (status === 'Ok') done(status);
        // A token that is wrong says more than another that is not there.
        else next(i + 1, status === 'Missing' && before !== 'Missing' && i > 0 ? before : status);
      });
    };
    next(0, 'Missing');
  };
}

function allOf(configs: readonly JwtRequirementMessage[], providers: Providers, path: string): Requirement {
  const requirements = configs.map((config, i) => compileRequirement(config, providers, `${path}.requirements[${i}]`));
  return (request, done) => {
    const next = (i: number): void => {
      if (i === requirements.length) done('Ok');
      else requirements[i](request, (status) => (status === 'Ok' ? next(i + 1) : done(status)));
    };
    next(0);
  };
}

/** Tokens of any of these providers, told by their issuer. */
function optional(providers: readonly JwtProvider[], mayFail: boolean): Requirement {
  return (request, done) => {
    for (const provider of providers) provider.sanitize(request.headers);
    const seen = new Set<string>();
    const tokens = providers
      .flatMap((provider) => provider.tokens(request.headers))
      .filter(({ text }) => !seen.has(text) && seen.add(text) !== undefined)
      .map((token) => ({ ...token, provider: providerOf(token.text, providers) ?? token.provider }));
    verifyAll(tokens, request, null, mayFail ? 'failed' : 'missing', done);
  };
}

/** Of the token's issuer, else one that takes any. */
function providerOf(text: string, providers: readonly JwtProvider[]): JwtProvider | undefined {
  const jwt = parseJwt(text);
  if (typeof jwt === 'string') return undefined;
  return providers.find(({ issuer }) => issuer === jwt.issuer) ?? providers.find(({ issuer }) => issuer === '');
}

function verifyAll(
  tokens: readonly Token[],
  request: JwtRequest,
  audiences: ReadonlySet<string> | null,
  allow: 'none' | 'missing' | 'failed',
  done: Done,
): void {
  if (tokens.length === 0) {
    done(allow === 'none' ? 'Missing' : 'Ok');
    return;
  }
  const next = (i: number): void => {
    verifyOne(tokens[i], request, audiences, (status) => {
      if (i > 0 && (status === 'Ok' || allow === 'failed')) next(i - 1);
      else done(allow === 'failed' ? 'Ok' : status);
    });
  };
  next(tokens.length - 1);
}

function verifyOne(token: Token, request: JwtRequest, audiences: ReadonlySet<string> | null, done: Done): void {
  const { provider } = token;
  const known = provider.cached(token.text);
  if (provider.caches) (known === undefined ? request.cacheMiss : request.cacheHit).inc();
  const jwt = known ?? parseJwt(token.text);
  if (typeof jwt === 'string') {
    done(jwt);
    return;
  }
  const status = provider.check(jwt, request.nowSeconds, audiences);
  if (status !== 'Ok' || known !== undefined) {
    if (status === 'Ok') accept(token, jwt, request);
    done(status);
    return;
  }
  withKeys(provider, request, (jwks) => {
    const verified = typeof jwks === 'string' ? jwks : jwks.verify(jwt);
    if (verified === 'Ok') {
      provider.keep(token.text, jwt);
      accept(token, jwt, request);
    }
    done(verified);
  });
}

function withKeys(provider: JwtProvider, request: JwtRequest, use: (jwks: Jwks | JwtStatus) => void): void {
  let cancel: (() => void) | null = null;
  const answer = provider.keys.get((jwks) => {
    if (cancel !== null) request.waits.delete(cancel);
    use(jwks);
  });
  if (typeof answer !== 'function') use(answer);
  else {
    cancel = answer;
    request.waits.add(cancel);
  }
}

function accept(token: Token, jwt: Jwt, request: JwtRequest): void {
  const { provider } = token;
  provider.forward(token, jwt, request.headers);
  if (provider.payloadInMetadata !== '') request.metadata[provider.payloadInMetadata] = provider.normalized(jwt.payload);
  if (provider.headerInMetadata !== '') request.metadata[provider.headerInMetadata] = jwt.header;
  if (provider.clearRouteCache) request.clearRouteCache = true;
}
