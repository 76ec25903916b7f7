/**
 * RouteAction.hash_policy: one 64-bit hash from headers, cookies, the source address, query parameters and filter state. The policies'
 * hashes are combined in order (rotate left by one, exclusive or); a terminal policy that produced a hash ends the list.
 */
import { asciiLower, byteText } from '../../common/byte_text.ts';
import { Hash64 } from '../../common/hash64.ts';
import { RegexSubstitution } from '../../common/matchers.ts';
import { xxHash64Text } from '../../common/xxhash64.ts';
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
  /** Writes the hash to `out`; false when there is none. */
  hash(out: Hash64, headers: HeaderMap, info: StreamInfo, addCookie: AddCookie | undefined): boolean;
}

export class HashPolicy {
  private readonly methods: readonly HashMethod[];
  private readonly result = new Hash64();
  private readonly next = new Hash64();

  /** Throws ConfigError. */
  constructor(configs: readonly HashPolicyConfig[], path: string) {
    this.methods = configs.flatMap((config, i) => compileMethod(config, `${path}[${i}]`) ?? []);
  }

  /** Null when no policy applied; otherwise the same object each time. */
  generateHash(headers: HeaderMap, info: StreamInfo, addCookie?: AddCookie): Hash64 | null {
    const { result, next } = this;
    let any = false;
    for (const method of this.methods) {
      if (method.hash(next, headers, info, addCookie)) {
        if (any) result.rotate().xor(next.hi, next.lo);
        else result.set(next.hi, next.lo);
        any = true;
      }
      if (method.terminal && any) break;
    }
    return any ? result : null;
  }
}

function compileMethod(config: HashPolicyConfig, path: string): HashMethod | null {
  const terminal = config.terminal === true;
  if (config.header !== undefined) {
    const name = asciiLower(config.header.headerName ?? '');
    const rewrite = config.header.regexRewrite;
    const substitution = rewrite === undefined ? null : new RegexSubstitution(rewrite, `${path}.header.regex_rewrite`);
    return { terminal, hash: (out, headers) => hashOfHeader(out, headers, name, substitution) };
  }
  if (config.cookie !== undefined) return { terminal, hash: cookieMethod(config.cookie) };
  if (config.connectionProperties !== undefined) {
    return config.connectionProperties.sourceIp === true
      ? { terminal, hash: (out, _headers, info) => hashOfSource(out, info) }
      : null;
  }
  if (config.queryParameter !== undefined) {
    const name = byteText(config.queryParameter.name ?? '');
    return {
      terminal,
      hash: (out, headers) => hashOfText(out, queryParameter(headers.getId(H[':path']) ?? '', name)),
    };
  }
  if (config.filterState !== undefined) {
    const key = config.filterState.key ?? '';
    return { terminal, hash: (out, _headers, info) => hashOfFilterState(out, info, key) };
  }
  throw new ConfigError('a hash policy is required', { path });
}

function hashOfText(out: Hash64, text: string | undefined): boolean {
  if (text === undefined) return false;
  xxHash64Text(out, text);
  return true;
}

/** Several values are sorted, so that their order does not matter. */
function hashOfHeader(out: Hash64, headers: HeaderMap, name: string, substitution: RegexSubstitution | null): boolean {
  const values = headers.getAll(name);
  if (values.length === 0) return false;
  const rewritten = substitution === null ? values : values.map((value) => substitution.apply(value));
  if (rewritten.length > 1) rewritten.sort();
  out.set(0, 0);
  for (const value of rewritten) xxHash64Text(out, value, out.hi, out.lo);
  return true;
}

/** Of the address without its port. */
export function hashOfSource(out: Hash64, info: StreamInfo): boolean {
  const address = info.downstreamRemoteAddress;
  return address !== null && address.kind === 'ip' && hashOfText(out, addressWithoutPort(address));
}

/** Only text has a hash. */
export function hashOfFilterState(out: Hash64, info: StreamInfo, key: string): boolean {
  const value = info.filterState?.get(key);
  return typeof value === 'string' && hashOfText(out, byteText(value));
}

function cookieMethod(config: NonNullable<HashPolicyConfig['cookie']>): HashMethod['hash'] {
  const name = byteText(config.name ?? '');
  const attributes = (config.attributes ?? []).map(({ name: key = '', value = '' }) =>
    byteText(value === '' ? key : `${key}=${value}`),
  );
  return (out, headers, info, addCookie) => {
    const present = cookieValue(headers, name);
    if (present !== undefined && present !== '') return hashOfText(out, present);
    if (config.ttl === undefined || addCookie === undefined) return false;
    // The same connection gets the same value.
    hashOfText(out, `${info.downstreamRemoteAddress?.asString ?? ''}${info.downstreamLocalAddress?.asString ?? ''}`);
    const text = out.toHex();
    addCookie(setCookieValue(name, text, config.path ?? '', Math.floor(config.ttl / 1000), attributes));
    return hashOfText(out, text);
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
