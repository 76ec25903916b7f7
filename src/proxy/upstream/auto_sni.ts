/**
 * Server names towards upstreams that follow the request (Envoy: `auto_sni`, `auto_san_validation`, `override_auto_sni_header` of
 * UpstreamHttpProtocolOptions): its host without the port, unless that is an address. Connections of different names are kept in
 * different pools.
 */
import { isIP } from 'node:net';
import type { HeaderMap } from '../http/header_map.ts';

export interface AutoSniSettings {
  readonly setServerName: boolean;
  readonly verifyName: boolean;
  /** Lower case; '' is the host header. */
  readonly header: string;
}

/** What a connection is for; '' stands for "as configured". */
export interface PoolServerName {
  readonly serverName: string;
  readonly verifyName: string;
}

export const NO_SERVER_NAME: PoolServerName = { serverName: '', verifyName: '' };

export function serverNameOf(settings: AutoSniSettings, headers: HeaderMap | null): PoolServerName {
  if (headers === null) return NO_SERVER_NAME;
  const value = headers.get(settings.header === '' ? ':authority' : settings.header) ?? '';
  const host = hostOf(value);
  if (host === '') return NO_SERVER_NAME;
  return {
    serverName: settings.setServerName && isIP(host) === 0 ? host : '',
    verifyName: settings.verifyName ? host : '',
  };
}

/** Without port and brackets, lower case; '' when it cannot be a name. */
function hostOf(authority: string): string {
  if (authority.startsWith('[')) {
    const end = authority.indexOf(']');
    return end < 0 ? '' : authority.slice(1, end).toLowerCase();
  }
  const colon = authority.indexOf(':');
  const host = colon < 0 ? authority : authority.slice(0, colon);
  return host.length > 255 ? '' : host.toLowerCase();
}
