/**
 * Permissions and principals of RBAC policies as predicates (envoy.config.rbac.v3, Envoy: filters/common/rbac/matchers.cc).
 *
 * Left out, refused: matchers and path templates that are extensions, `condition` (CEL), filter state that is an address.
 */

import { byteText } from '../../../common/byte_text.ts';
import { CidrRange, type CidrRangeConfig, compileStringMatcher, type StringMatcherConfig } from '../../../common/matchers.ts';
import { compileMetadataMatcher, type MetadataMatcherConfig } from '../../../common/value_matcher.ts';
import { ConfigError } from '../../../config/error.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import type { HeaderMatcherConfig } from '../../../http/route/config_types.ts';
import { compileHeaderMatcher } from '../../../http/route/header_matcher.ts';
import type { Address } from '../../../network/address.ts';
import type { Connection } from '../../../network/connection.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

/** What a policy decides about. */
export interface RbacSubject {
  readonly connection: Connection | null;
  /** Empty for connections. */
  readonly headers: HeaderMap;
  readonly info: StreamInfo;
}

export type RbacMatcher = (subject: RbacSubject) => boolean;

interface SharedFields {
  any?: boolean;
  header?: HeaderMatcherConfig;
  urlPath?: { path?: StringMatcherConfig };
  metadata?: MetadataMatcherConfig;
  sourcedMetadata?: { metadataMatcher?: MetadataMatcherConfig; metadataSource?: 'DYNAMIC' | 'ROUTE' };
}

export interface PermissionConfig extends SharedFields {
  andRules?: { rules?: readonly PermissionConfig[] };
  orRules?: { rules?: readonly PermissionConfig[] };
  notRule?: PermissionConfig;
  destinationIp?: CidrRangeConfig;
  destinationPort?: number;
  destinationPortRange?: { start?: number; end?: number };
  requestedServerName?: StringMatcherConfig;
}

export interface PrincipalConfig extends SharedFields {
  andIds?: { ids?: readonly PrincipalConfig[] };
  orIds?: { ids?: readonly PrincipalConfig[] };
  notId?: PrincipalConfig;
  authenticated?: { principalName?: StringMatcherConfig };
  sourceIp?: CidrRangeConfig;
  directRemoteIp?: CidrRangeConfig;
  remoteIp?: CidrRangeConfig;
  filterState?: { key?: string; stringMatch?: StringMatcherConfig };
}

/** Throws ConfigError. */
export function compilePermission(config: PermissionConfig, path: string): RbacMatcher {
  if (config.andRules !== undefined) return all(compileSet(config.andRules.rules, `${path}.and_rules.rules`, compilePermission));
  if (config.orRules !== undefined) return any(compileSet(config.orRules.rules, `${path}.or_rules.rules`, compilePermission));
  if (config.notRule !== undefined) return not(compilePermission(config.notRule, `${path}.not_rule`));
  if (config.destinationIp !== undefined) return address(config.destinationIp, localAddress, `${path}.destination_ip`);
  if (config.destinationPort !== undefined) {
    const port = config.destinationPort;
    return (subject) => portOf(subject) === port;
  }
  if (config.destinationPortRange !== undefined) return portRange(config.destinationPortRange, `${path}.destination_port_range`);
  if (config.requestedServerName !== undefined) {
    const matcher = compileStringMatcher(config.requestedServerName, `${path}.requested_server_name`);
    return ({ connection }) => matcher.match(connection?.requestedServerName ?? '');
  }
  return compileShared(config, path);
}

/** Throws ConfigError. */
export function compilePrincipal(config: PrincipalConfig, path: string): RbacMatcher {
  if (config.andIds !== undefined) return all(compileSet(config.andIds.ids, `${path}.and_ids.ids`, compilePrincipal));
  if (config.orIds !== undefined) return any(compileSet(config.orIds.ids, `${path}.or_ids.ids`, compilePrincipal));
  if (config.notId !== undefined) return not(compilePrincipal(config.notId, `${path}.not_id`));
  if (config.authenticated !== undefined) return authenticated(config.authenticated.principalName, `${path}.authenticated`);
  if (config.sourceIp !== undefined)
    return address(config.sourceIp, ({ connection }) => connection?.remoteAddress, `${path}.source_ip`);
  if (config.directRemoteIp !== undefined) {
    const direct = ({ connection, info }: RbacSubject) => info.downstreamDirectRemoteAddress ?? connection?.remoteAddress;
    return address(config.directRemoteIp, direct, `${path}.direct_remote_ip`);
  }
  if (config.remoteIp !== undefined) {
    const remote = ({ connection, info }: RbacSubject) => info.downstreamRemoteAddress ?? connection?.remoteAddress;
    return address(config.remoteIp, remote, `${path}.remote_ip`);
  }
  if (config.filterState !== undefined) {
    const key = config.filterState.key ?? '';
    const matcher = compileStringMatcher(config.filterState.stringMatch ?? {}, `${path}.filter_state.string_match`);
    return ({ info, connection }) => {
      const value = info.filterState?.get(key) ?? connection?.streamInfo.filterState?.get(key);
      return typeof value === 'string' && matcher.match(byteText(value));
    };
  }
  return compileShared(config, path);
}

function compileShared(config: SharedFields, path: string): RbacMatcher {
  if (config.any !== undefined) return () => true;
  if (config.header !== undefined) {
    const header = compileHeaderMatcher(config.header, `${path}.header`);
    return ({ headers }) => header.matches(headers);
  }
  if (config.urlPath !== undefined) {
    const matcher = compileStringMatcher(config.urlPath.path ?? {}, `${path}.url_path.path`);
    return ({ headers }) => {
      const text = headers.get(':path');
      return text !== undefined && matcher.match(text.replace(/[?#].*$/s, ''));
    };
  }
  if (config.metadata !== undefined) {
    const metadata = compileMetadataMatcher(config.metadata, `${path}.metadata`);
    return ({ info }) => metadata(info.dynamicMetadata);
  }
  if (config.sourcedMetadata !== undefined) {
    const metadata = compileMetadataMatcher(
      config.sourcedMetadata.metadataMatcher ?? {},
      `${path}.sourced_metadata.metadata_matcher`,
    );
    if (config.sourcedMetadata.metadataSource === 'ROUTE') return ({ info }) => metadata(info.routeMetadata);
    return ({ info }) => metadata(info.dynamicMetadata);
  }
  throw new ConfigError('a rule is required', { path });
}

function compileSet<C>(
  configs: readonly C[] | undefined,
  path: string,
  compile: (config: C, path: string) => RbacMatcher,
): RbacMatcher[] {
  return (configs ?? []).map((config, i) => compile(config, `${path}[${i}]`));
}

export function all(matchers: readonly RbacMatcher[]): RbacMatcher {
  return (subject) => {
    for (let i = 0; i < matchers.length; i++) if (!matchers[i](subject)) return false;
    return true;
  };
}

export function any(matchers: readonly RbacMatcher[]): RbacMatcher {
  return (subject) => {
    for (let i = 0; i < matchers.length; i++) if (matchers[i](subject)) return true;
    return false;
  };
}

function not(matcher: RbacMatcher): RbacMatcher {
  return (subject) => !matcher(subject);
}

function address(config: CidrRangeConfig, of: (subject: RbacSubject) => Address | null | undefined, path: string): RbacMatcher {
  const range = new CidrRange(config, path);
  return (subject) => range.contains(of(subject) ?? null);
}

const localAddress = ({ connection, info }: RbacSubject): Address | null | undefined =>
  info.downstreamLocalAddress ?? connection?.localAddress;

function portOf(subject: RbacSubject): number {
  const local = localAddress(subject);
  return local?.kind === 'ip' ? local.port : -1;
}

const MAX_PORT = 65_536;

function portRange({ start = 0, end = 0 }: { start?: number; end?: number }, path: string): RbacMatcher {
  if (start < 0 || start > MAX_PORT) throw new ConfigError(`range start ${start} is out of bounds`, { path });
  if (end < 0 || end > MAX_PORT) throw new ConfigError(`range end ${end} is out of bounds`, { path });
  if (start >= end) {
    throw new ConfigError(`range start ${start} cannot be greater or equal than range end ${end}`, { path });
  }
  return (subject) => {
    const port = portOf(subject);
    return port >= start && port < end;
  };
}

/** Any name of the certificate: URI and DNS SANs, then the subject. Without a pattern: any TLS connection. */
function authenticated(config: StringMatcherConfig | undefined, path: string): RbacMatcher {
  if (config === undefined) return ({ connection }) => connection !== null && connection.ssl !== null;
  const matcher = compileStringMatcher(config, `${path}.principal_name`);
  const matches = (name: string): boolean => matcher.match(byteText(name));
  return ({ connection }) => {
    const ssl = connection?.ssl;
    if (ssl === null || ssl === undefined) return false;
    const certificate = ssl.peerCertificate;
    if (certificate === null) return matches('');
    return certificate.uriSans.some(matches) || certificate.dnsSans.some(matches) || matches(certificate.subject);
  };
}
