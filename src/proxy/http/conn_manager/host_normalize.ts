/** Ports and trailing dots of `:authority` (Envoy: maybeNormalizeHost; strip_matching_host_port, strip_any_host_port, strip_trailing_host_dot). */
import type { Address } from '../../network/address.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';

export interface HostNormalization {
  readonly stripMatchingHostPort: boolean;
  readonly stripAnyHostPort: boolean;
  readonly stripTrailingHostDot: boolean;
}

export function normalizeHost(headers: HeaderMap, options: HostNormalization, local: Address): void {
  const host = headers.getId(H[':authority']);
  if (host === undefined) return;
  let result = host;
  if (options.stripTrailingHostDot) result = withoutTrailingDot(result);
  if (options.stripAnyHostPort) result = withoutPort(result, -1);
  else if (options.stripMatchingHostPort && local.kind === 'ip') result = withoutPort(result, local.port);
  if (result !== host) headers.setId(H[':authority'], result);
}

function withoutTrailingDot(host: string): string {
  const at = portStart(host);
  const end = at < 0 ? host.length : at;
  return end > 0 && host.charCodeAt(end - 1) === 46 ? host.slice(0, end - 1) + host.slice(end) : host;
}

/** `port` -1: any. */
function withoutPort(host: string, port: number): string {
  const at = portStart(host);
  if (at < 0) return host;
  const text = host.slice(at + 1);
  if (text === '' || !/^[0-9]+$/.test(text)) return host;
  return port < 0 || Number(text) === port ? host.slice(0, at) : host;
}

/** Position of the port's colon, or -1. */
function portStart(host: string): number {
  const colon = host.lastIndexOf(':');
  if (colon < 0 || host.indexOf(']', colon) >= 0) return -1;
  // An IPv6 address without brackets has no port.
  if (host.indexOf(':') !== colon && host.charCodeAt(0) !== 91) return -1;
  return colon;
}
