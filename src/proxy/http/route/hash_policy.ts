/**
 * RouteAction.hash_policy: one 64-bit hash from headers, cookies, the source address and query parameters. The policies' hashes are
 * combined in order (rotate left by one, exclusive or); a terminal policy that produced a hash ends the list.
 *
 * The result is the upper 53 bits of Envoy's hash as a number, which keeps the order of a ring. Left out: filter_state.
 */
import { asciiLower, byteText } from '../../common/byte_text.ts';
import { RegexSubstitution } from '../../common/matchers.ts';
import { xxHash64 } from '../../common/xxhash64.ts';
import { ConfigError } from '../../config/error.ts';
import { addressWithoutPort } from '../../network/address.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { HashPolicyConfig } from './config_types.ts';
import { queryParameter } from './query_matcher.ts';

/** Receives the `set-cookie` value of a cookie that a policy generated. */
export type AddCookie = (setCookie: string) => void;

interface HashMethod {
  readonly terminal: boolean;
  hash(headers: HeaderMap, info: StreamInfo, addCookie: AddCookie | undefined): bigint | null;
}

export class HashPolicy {
  private readonly methods: readonly HashMethod[];

  /** Throws ConfigError. */
  constructor(configs: readonly HashPolicyConfig[], path: string) {
    this.methods = configs.flatMap((config, i) => compileMethod(config, `${path}[${i}]`) ?? []);
  }

  /** Null when no policy applied. */
  generateHash(headers: HeaderMap, info: StreamInfo, addCookie?: AddCookie): number | null {
    let hash: bigint | null = null;
    for (const method of this.methods) {
      const next = method.hash(headers, info, addCookie);
      if (next !== null) hash = hash === null ? next : BigInt.asUintN(64, (hash << 1n) | (hash >> 63n)) ^ next;
      if (method.terminal && hash !== null) break;
    }
    return hash === null ? null : Number(hash >> 11n);
  }
}

function compileMethod(config: HashPolicyConfig, path: string): HashMethod | null {
  const terminal = config.terminal === true;
  if (config.header !== undefined) {
    const name = asciiLower(config.header.headerName ?? '');
    const rewrite = config.header.regexRewrite;
    const substitution = rewrite === undefined ? null : new RegexSubstitution(rewrite, `${path}.header.regex_rewrite`);
    return { terminal, hash: (headers) => hashOfHeader(headers, name, substitution) };
  }
  if (config.cookie !== undefined) return { terminal, hash: cookieMethod(config.cookie) };
  if (config.connectionProperties !== undefined) {
    return config.connectionProperties.sourceIp === true ? { terminal, hash: (_headers, info) => hashOfSource(info) } : null;
  }
  if (config.queryParameter !== undefined) {
    const name = byteText(config.queryParameter.name ?? '');
    return {
      terminal,
      hash: (headers) => {
        const value = queryParameter(headers.getId(H[':path']) ?? '', name);
        return value === undefined ? null : xxHash64(value);
      },
    };
  }
  if (config.filterState !== undefined) throw new ConfigError('filter_state is not supported', { path: `${path}.filter_state` });
  throw new ConfigError('a hash policy is required', { path });
}

/** Several values are sorted, so that their order does not matter. */
function hashOfHeader(headers: HeaderMap, name: string, substitution: RegexSubstitution | null): bigint | null {
  const values = headers.getAll(name);
  if (values.length === 0) return null;
  const rewritten = substitution === null ? values : values.map((value) => substitution.apply(value));
  if (rewritten.length === 1) return xxHash64(rewritten[0]);
  rewritten.sort();
  let hash = 0n;
  for (const value of rewritten) hash = xxHash64(value, hash);
  return hash;
}

function hashOfSource(info: StreamInfo): bigint | null {
  const address = info.downstreamRemoteAddress;
  return address === null || address.kind !== 'ip' ? null : xxHash64(addressWithoutPort(address));
}

function cookieMethod(config: NonNullable<HashPolicyConfig['cookie']>): HashMethod['hash'] {
  const name = byteText(config.name ?? '');
  const attributes = (config.attributes ?? []).map(({ name: key = '', value = '' }) =>
    byteText(value === '' ? key : `${key}=${value}`),
  );
  return (headers, info, addCookie) => {
    const present = cookieValue(headers, name);
    if (present !== undefined && present !== '') return xxHash64(present);
    if (config.ttl === undefined || addCookie === undefined) return null;
    // The same connection gets the same value.
    const value = xxHash64(`${info.downstreamRemoteAddress?.asString ?? ''}${info.downstreamLocalAddress?.asString ?? ''}`);
    const text = value.toString(16).padStart(16, '0');
    addCookie(setCookieValue(name, text, config.path ?? '', Math.floor(config.ttl / 1000), attributes));
    return xxHash64(text);
  };
}

/** The value of a cookie, without quotes around it; undefined when it is not sent. */
export function cookieValue(headers: HeaderMap, name: string): string | undefined {
  for (const header of headers.getAll('cookie')) {
    for (const part of header.split(';')) {
      const pair = part.trimStart();
      const equals = pair.indexOf('=');
      if (equals < 0 || pair.slice(0, equals) !== name) continue;
      const value = pair.slice(equals + 1).trimEnd();
      return value.length >= 2 && value[0] === '"' && value.endsWith('"') ? value.slice(1, -1) : value;
    }
  }
  return undefined;
}

function setCookieValue(name: string, value: string, path: string, maxAgeSeconds: number, attributes: readonly string[]): string {
  let text = `${name}="${value}"`;
  if (maxAgeSeconds !== 0) text += `; Max-Age=${maxAgeSeconds}`;
  if (path !== '') text += `; Path=${byteText(path)}`;
  for (const attribute of attributes) text += `; ${attribute}`;
  return `${text}; HttpOnly`;
}
