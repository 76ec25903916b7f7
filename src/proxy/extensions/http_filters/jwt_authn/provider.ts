/**
 * One provider of tokens: where its tokens are in a request, which of them are good, and what of a good one goes into the request (Envoy:
 * extractor.cc, jwks_cache.cc).
 *
 * Left out, refused: `failed_status_in_metadata`, retry policies of remote keys. Tokens in cookies are not taken out, as in Envoy.
 */
import { byteText } from '../../../common/byte_text.ts';
import type { DataSourceConfig } from '../../../common/data_source.ts';
import { compileStringMatcher, type StringMatcher, type StringMatcherConfig } from '../../../common/matchers.ts';
import { valueAt } from '../../../common/value_matcher.ts';
import { ConfigError } from '../../../config/error.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { cookieValue } from '../../../http/route/hash_policy.ts';
import { queryParameter } from '../../../http/route/query_matcher.ts';
import type { JwksSource } from './jwks_source.ts';
import { checkTimes, type Jwt, normalAudience } from './jwt.ts';
import type { JwtStatus } from './status.ts';

export interface JwtProviderMessage {
  issuer?: string;
  audiences?: string[];
  subjects?: StringMatcherConfig;
  requireExpiration?: boolean;
  /** ms */
  maxLifetime?: number;
  remoteJwks?: object;
  localJwks?: DataSourceConfig;
  forward?: boolean;
  fromHeaders?: { name?: string; valuePrefix?: string }[];
  fromParams?: string[];
  fromCookies?: string[];
  forwardPayloadHeader?: string;
  padForwardPayloadHeader?: boolean;
  payloadInMetadata?: string;
  normalizePayloadInMetadata?: { spaceDelimitedClaims?: string[] };
  headerInMetadata?: string;
  clockSkewSeconds?: number;
  jwtCacheConfig?: { jwtCacheSize?: number };
  claimToHeaders?: { headerName?: string; claimName?: string }[];
  clearRouteCache?: boolean;
}

/** A token and how it is taken out of the request. */
export interface Token {
  readonly text: string;
  readonly provider: JwtProvider;
  readonly remove: (headers: HeaderMap) => void;
}

const DEFAULT_SKEW_S = 60;
const DEFAULT_CACHE_SIZE = 100;
/** Tokens beyond this length are not kept. */
const MAX_CACHED_TOKEN = 4096;

export class JwtProvider {
  readonly name: string;
  readonly issuer: string;
  readonly keys: JwksSource;
  readonly clearRouteCache: boolean;
  readonly payloadInMetadata: string;
  readonly headerInMetadata: string;
  private readonly config: JwtProviderMessage;
  private readonly audiences: ReadonlySet<string>;
  private readonly subjects: StringMatcher | null;
  private readonly claimHeaders: readonly { readonly header: string; readonly path: readonly string[] }[];
  private readonly payloadHeader: string;
  private readonly headers: readonly { readonly name: string; readonly prefix: string }[];
  private readonly params: readonly string[];
  private readonly cookies: readonly string[];
  private readonly skewS: number;
  /** Good tokens, the least recently used first; null: none are kept. */
  private readonly cache: Map<string, Jwt> | null;
  private readonly cacheSize: number;

  /** Throws ConfigError. */
  constructor(name: string, config: JwtProviderMessage, keys: JwksSource, path: string) {
    this.name = name;
    this.config = config;
    this.keys = keys;
    this.issuer = config.issuer ?? '';
    this.clearRouteCache = config.clearRouteCache === true;
    this.payloadInMetadata = config.payloadInMetadata ?? '';
    this.headerInMetadata = config.headerInMetadata ?? '';
    if (this.payloadInMetadata !== '' && this.payloadInMetadata === this.headerInMetadata) {
      throw new ConfigError('payload_in_metadata and header_in_metadata are the same', { path });
    }
    this.audiences = new Set((config.audiences ?? []).map(normalAudience));
    this.subjects = config.subjects === undefined ? null : compileStringMatcher(config.subjects, `${path}.subjects`);
    this.claimHeaders = (config.claimToHeaders ?? []).map(({ headerName = '', claimName = '' }) => ({
      header: headerName.toLowerCase(),
      path: claimName.split('.'),
    }));
    this.payloadHeader = (config.forwardPayloadHeader ?? '').toLowerCase();
    const headers = (config.fromHeaders ?? []).map((header) => ({
      name: (header.name ?? '').toLowerCase(),
      prefix: byteText(header.valuePrefix ?? ''),
    }));
    this.params = (config.fromParams ?? []).map(byteText);
    this.cookies = (config.fromCookies ?? []).map(byteText);
    const isDefault = headers.length === 0 && this.params.length === 0 && this.cookies.length === 0;
    this.headers = isDefault ? [{ name: 'authorization', prefix: 'Bearer ' }] : headers;
    if (isDefault) this.params = ['access_token'];
    this.skewS = config.clockSkewSeconds || DEFAULT_SKEW_S;
    this.cache = config.jwtCacheConfig === undefined ? null : new Map();
    this.cacheSize = config.jwtCacheConfig?.jwtCacheSize || DEFAULT_CACHE_SIZE;
  }

  /** What only this filter may set. */
  sanitize(headers: HeaderMap): void {
    if (this.payloadHeader !== '') headers.remove(this.payloadHeader);
    for (const { header } of this.claimHeaders) headers.remove(header);
  }

  tokens(headers: HeaderMap): Token[] {
    const found: Token[] = [];
    const add = (text: string, remove: Token['remove']): number => found.push({ text, provider: this, remove });
    for (const { name, prefix } of this.headers) {
      for (const value of headers.getAll(name)) {
        const at = value.indexOf(prefix);
        if (at < 0) continue;
        const text = prefix === '' ? value : firstToken(value, at + prefix.length);
        add(text, (from) => from.remove(name));
      }
    }
    const path = this.params.length === 0 ? undefined : headers.get(':path');
    for (const name of path === undefined ? [] : this.params) {
      const text = queryParameter(path as string, name);
      if (text !== undefined) add(decodeQuery(text), (from) => removeParameter(from, name));
    }
    for (const name of this.cookies) {
      const text = cookieValue(headers, name);
      if (text !== undefined) add(text, () => {});
    }
    return found;
  }

  /** All but the signature. `audiences`: in place of the provider's own. */
  check(jwt: Jwt, nowSeconds: number, audiences: ReadonlySet<string> | null): JwtStatus {
    if (this.issuer !== '' && jwt.issuer !== this.issuer) return 'UnknownIssuer';
    const times = checkTimes(jwt, nowSeconds, this.skewS);
    if (times !== 'Ok') return times;
    if (this.subjects?.match(byteText(jwt.subject)) === false) return 'VerificationFails';
    const { requireExpiration, maxLifetime } = this.config;
    if (jwt.expires === 0 && (requireExpiration === true || maxLifetime !== undefined)) return 'VerificationFails';
    const start = jwt.issuedAt || jwt.notBefore || nowSeconds;
    if (maxLifetime !== undefined && jwt.expires - start > maxLifetime / 1000) return 'VerificationFails';
    const allowed = audiences ?? this.audiences;
    return allowed.size === 0 || jwt.audiences.some((audience) => allowed.has(audience)) ? 'Ok' : 'AudienceNotAllowed';
  }

  cached(text: string): Jwt | undefined {
    const { cache } = this;
    const jwt = cache?.get(text);
    if (cache === null || jwt === undefined) return undefined;
    cache.delete(text);
    cache.set(text, jwt);
    return jwt;
  }

  get caches(): boolean {
    return this.cache !== null;
  }

  keep(text: string, jwt: Jwt): void {
    const { cache } = this;
    if (cache === null || text.length > MAX_CACHED_TOKEN) return;
    cache.set(text, jwt);
    if (cache.size > this.cacheSize) cache.delete(cache.keys().next().value as string);
  }

  /** Puts into the request what a good token says. */
  forward(token: Token, jwt: Jwt, headers: HeaderMap): void {
    if (this.payloadHeader !== '') {
      const missing = this.config.padForwardPayloadHeader === true ? (4 - (jwt.payloadText.length % 4)) % 4 : 0;
      headers.add(this.payloadHeader, jwt.payloadText + '='.repeat(missing));
    }
    for (const { header, path } of this.claimHeaders) {
      const value = claimText(valueAt(jwt.payload, path));
      if (value !== '') headers.add(header, value);
    }
    if (this.config.forward !== true) token.remove(headers);
  }

  /** The payload as metadata has it. */
  normalized(payload: Record<string, unknown>): Record<string, unknown> {
    const claims = this.config.normalizePayloadInMetadata?.spaceDelimitedClaims ?? [];
    if (claims.length === 0) return payload;
    const result = { ...payload };
    for (const claim of claims) {
      const value = result[claim];
      if (typeof value === 'string') result[claim] = value.split(' ').filter((part) => part !== '');
    }
    return result;
  }
}

/** From the first character that a token may have on. */
function firstToken(value: string, from: number): string {
  const rest = value.slice(from);
  const start = rest.search(/[\w.-]/);
  if (start < 0) return value;
  return (/^[\w.-]+/.exec(rest.slice(start)) as RegExpExecArray)[0];
}

function decodeQuery(text: string): string {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function removeParameter(headers: HeaderMap, name: string): void {
  const path = headers.get(':path') ?? '';
  const at = path.indexOf('?');
  const kept = path
    .slice(at + 1)
    .split('&')
    .filter((pair) => pair !== name && !pair.startsWith(`${name}=`))
    .join('&');
  headers.set(':path', kept === '' ? path.slice(0, at) : `${path.slice(0, at)}?${kept}`);
}

/** '' for what is no text, number or truth; what could end a header line is none either. */
function claimText(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return typeof value === 'string' && !/[\r\n\0]/.test(value) ? byteText(value) : '';
}
