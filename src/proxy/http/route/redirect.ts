/**
 * RedirectAction: the `location` of the answer. The port is dropped from the request's host when a new one is given, and when it is
 * the default port of a scheme that changes. A path_redirect with `?` keeps its own query whatever strip_query says.
 */
import { byteText } from '../../common/byte_text.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { RedirectActionConfig } from './config_types.ts';
import type { PathMatcher } from './path_matcher.ts';
import type { PathRewrite } from './rewrite.ts';
import { compilePathRewrite } from './rewrite.ts';

const RESPONSE_CODES = {
  MOVED_PERMANENTLY: 301,
  FOUND: 302,
  SEE_OTHER: 303,
  TEMPORARY_REDIRECT: 307,
  PERMANENT_REDIRECT: 308,
} as const;

export class Redirect {
  readonly status: number;
  private readonly scheme: string;
  private readonly host: string;
  private readonly port: string;
  private readonly path: string;
  private readonly pathHasQuery: boolean;
  private readonly stripQuery: boolean;
  private readonly rewrite: PathRewrite | null;
  private readonly matcher: PathMatcher;

  /** Throws ConfigError. */
  constructor(config: RedirectActionConfig, matcher: PathMatcher, path: string) {
    this.status = RESPONSE_CODES[config.responseCode ?? 'MOVED_PERMANENTLY'];
    const scheme = byteText(config.schemeRedirect ?? '');
    this.scheme = scheme !== '' ? scheme : config.httpsRedirect === true ? 'https' : '';
    this.host = byteText(config.hostRedirect ?? '');
    this.port = (config.portRedirect ?? 0) === 0 ? '' : `:${config.portRedirect}`;
    this.path = byteText(config.pathRedirect ?? '');
    this.pathHasQuery = this.path.includes('?');
    this.stripQuery = config.stripQuery === true;
    this.rewrite = compilePathRewrite(config, path);
    this.matcher = matcher;
  }

  newUri(headers: HeaderMap): string {
    const scheme = this.scheme !== '' ? this.scheme : (headers.getId(H[':scheme']) ?? '');
    const host = this.host !== '' ? this.host : requestHost(headers, scheme, this.port);
    return `${scheme}://${host}${this.port}${this.newPath(headers.getId(H[':path']) ?? '')}`;
  }

  private newPath(requestPath: string): string {
    let path = this.rewrite === null ? requestPath : this.rewrite(requestPath, this.matcher.matchedLength(requestPath));
    if (this.path !== '') {
      const query = this.pathHasQuery ? -1 : path.indexOf('?');
      path = query < 0 ? this.path : this.path + path.slice(query);
    }
    if (path[0] !== '/') path = `/${path}`;
    const query = this.stripQuery && !this.pathHasQuery ? path.indexOf('?') : -1;
    return query < 0 ? path : path.slice(0, query);
  }
}

/** The request's own URL: what a direct response's location is. */
export function requestUri(headers: HeaderMap): string {
  const path = headers.getId(H[':path']) ?? '';
  const scheme = headers.getId(H[':scheme']) ?? '';
  return `${scheme}://${requestHost(headers, scheme, '')}${path[0] === '/' ? '' : '/'}${path}`;
}

/** Where require_tls sends a plain request. */
export function sslRedirectUri(headers: HeaderMap): string {
  return `https://${headers.getId(H[':authority']) ?? ''}${headers.getId(H[':path']) ?? ''}`;
}

function requestHost(headers: HeaderMap, newScheme: string, newPort: string): string {
  const host = headers.getId(H[':authority']) ?? '';
  const end = portStart(host);
  if (end < 0) return host;
  // By x-forwarded-proto rather than :scheme, so that http://foo:80 keeps its port when served over TLS.
  const protocol = headers.getId(H['x-forwarded-proto']) ?? '';
  const port = host.slice(end);
  const defaultPort = (protocol === 'http' && port === ':80') || (protocol === 'https' && port === ':443');
  return newPort !== '' || (newScheme !== protocol && defaultPort) ? host.slice(0, end) : host;
}

/** Where `:port` starts in a host, minding IPv6 brackets; -1 without one. */
export function portStart(host: string): number {
  const colon = host.lastIndexOf(':');
  return colon < 0 || host.lastIndexOf(']') > colon ? -1 : colon;
}
