/**
 * Compiles a RouteConfiguration into a RouteTable: picks the virtual host by the request's host, then its first matching route.
 *
 * Hosts are compared in lower case: exact, then the longest `*suffix`, then the longest `prefix*`, then `*`; a wildcard stands for
 * at least one character. No other virtual host is tried when none of the chosen one's routes match. Tables of a single `*` look at
 * no host at all; others remember the hosts they saw by their bytes, so that a repeated host costs no string.
 *
 * Left out, refused: vhds, cluster_specifier_plugins, vhost_header.
 */
import { asciiLower, byteText } from '../../common/byte_text.ts';
import { ConfigError } from '../../config/error.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import type { RouteConfigurationConfig } from './config_types.ts';
import type { CompileFormat } from './header_parser.ts';
import { compileHeaderParser } from './header_parser.ts';
import { compileMirrorPolicies } from './mirror_policy.ts';
import type { CreatePerRouteConfig } from './per_filter_config.ts';
import { compilePerFilterConfigs } from './per_filter_config.ts';
import { portStart } from './redirect.ts';
import type { Route, RouteTable } from './route.ts';
import { refuse } from './unsupported.ts';
import type { TableLevel } from './virtual_host.ts';
import { VirtualHostImpl } from './virtual_host.ts';

export interface RouteTableDeps {
  /** Its snapshot is read per request. */
  readonly runtime: Runtime;
  readonly createPerRouteConfig: CreatePerRouteConfig;
  clusterExists(name: string): boolean;
  /** For the nearest name in errors. */
  clusterNames?(): readonly string[];
  readonly compileFormat: CompileFormat;
  /** Whether unknown clusters are an error when `validate_clusters` does not say. Default true (static configuration). */
  readonly validateClusters?: boolean;
}

const DEFAULT_MAX_DIRECT_RESPONSE_BODY_SIZE_BYTES = 4096;
const AUTHORITY = H[':authority'];

/** Throws ConfigError; its path is relative to the RouteConfiguration. */
export function compileRouteTable(config: RouteConfigurationConfig, deps: RouteTableDeps): RouteTable {
  try {
    return new RouteTableImpl(config, deps);
  } catch (error) {
    if (error instanceof ConfigError && error.path.startsWith('.'))
      throw new ConfigError(error.reason, { path: error.path.slice(1) });
    throw error;
  }
}

class RouteTableImpl implements RouteTable {
  readonly name: string;
  readonly internalOnlyHeaders: readonly string[];
  private readonly virtualHosts: VirtualHostImpl[] = [];
  private readonly exact = new Map<string, VirtualHostImpl>();
  private readonly suffixes = new WildcardMap();
  private readonly prefixes = new WildcardMap();
  private fallback: VirtualHostImpl | null = null;
  private readonly fallbackOnly: boolean;
  private readonly ignorePort: boolean;
  private readonly seen = new HostCache();

  constructor(config: RouteConfigurationConfig, deps: RouteTableDeps) {
    refuse(config, ['vhds', 'clusterSpecifierPlugins', 'vhostHeader'], '');
    this.name = config.name ?? '';
    this.internalOnlyHeaders = (config.internalOnlyHeaders ?? []).map(asciiLower);
    this.ignorePort = config.ignorePortInHostMatching === true;
    const table: TableLevel = {
      deps,
      requestParser: compileHeaderParser(
        config.requestHeadersToAdd,
        config.requestHeadersToRemove,
        'request',
        '',
        deps.compileFormat,
      ),
      responseParser: compileHeaderParser(
        config.responseHeadersToAdd,
        config.responseHeadersToRemove,
        'response',
        '',
        deps.compileFormat,
      ),
      mostSpecificWins: config.mostSpecificHeaderMutationsWins === true,
      mirrors: compileMirrorPolicies(config.requestMirrorPolicies, deps.runtime, 'request_mirror_policies'),
      perFilter: compilePerFilterConfigs(config.typedPerFilterConfig, '', deps.createPerRouteConfig),
      maxDirectResponseBodySizeBytes: config.maxDirectResponseBodySizeBytes ?? DEFAULT_MAX_DIRECT_RESPONSE_BODY_SIZE_BYTES,
      ignorePathParameters: config.ignorePathParametersInPathMatching === true,
      validateClusters: config.validateClusters ?? deps.validateClusters ?? true,
    };
    for (const [i, virtualHostConfig] of (config.virtualHosts ?? []).entries()) {
      const path = `virtual_hosts[${i}]`;
      const virtualHost = new VirtualHostImpl(virtualHostConfig, table, path);
      this.virtualHosts.push(virtualHost);
      for (const [k, domain] of (virtualHostConfig.domains ?? []).entries())
        this.addDomain(domain, virtualHost, `${path}.domains[${k}]`);
    }
    this.fallbackOnly = this.exact.size === 0 && this.suffixes.isEmpty && this.prefixes.isEmpty;
  }

  route(headers: HeaderMap, info: StreamInfo, random: number): Route | null {
    const virtualHost = this.fallbackOnly ? this.fallback : this.findVirtualHost(headers);
    return virtualHost === null ? null : virtualHost.route(headers, info, random);
  }

  clusterNames(): string[] {
    return [...new Set(this.virtualHosts.flatMap((virtualHost) => virtualHost.clusterNames))];
  }

  private addDomain(given: string, virtualHost: VirtualHostImpl, path: string): void {
    const domain = asciiLower(byteText(given));
    if (domain === '*') {
      if (this.fallback !== null)
        throw new ConfigError(`Only a single wildcard domain is permitted in route ${this.name}`, { path });
      this.fallback = virtualHost;
      return;
    }
    const added = domain.startsWith('*')
      ? this.suffixes.add(domain.slice(1), virtualHost)
      : domain.endsWith('*')
        ? this.prefixes.add(domain.slice(0, -1), virtualHost)
        : !this.exact.has(domain) && this.exact.set(domain, virtualHost) !== undefined;
    if (!added) {
      throw new ConfigError(
        `Only unique values for domains are permitted. Duplicate entry of domain ${asciiLower(given)} in route ${this.name}`,
        { path },
      );
    }
  }

  private findVirtualHost(headers: HeaderMap): VirtualHostImpl | null {
    const start = headers.valueByteStart(AUTHORITY);
    if (start >= 0) {
      const length = headers.valueByteLength(AUTHORITY);
      const u8 = headers.slab.u8;
      const slot = this.seen.find(u8, start, length);
      if (slot.matches(u8, start, length)) return slot.virtualHost;
      const found = this.lookUp(headers.getId(AUTHORITY) ?? '');
      slot.set(u8, start, length, found);
      return found;
    }
    const host = headers.getId(AUTHORITY);
    return host === undefined ? null : this.lookUp(host);
  }

  private lookUp(authority: string): VirtualHostImpl | null {
    const end = this.ignorePort ? portStart(authority) : -1;
    const host = asciiLower(end < 0 ? authority : authority.slice(0, end));
    return (
      this.exact.get(host) ??
      this.suffixes.find(host, (length) => host.slice(host.length - length)) ??
      this.prefixes.find(host, (length) => host.slice(0, length)) ??
      this.fallback
    );
  }
}

/** Wildcards by length, the longest first. */
class WildcardMap {
  private readonly byLength = new Map<number, Map<string, VirtualHostImpl>>();
  private lengths: number[] = [];

  get isEmpty(): boolean {
    return this.lengths.length === 0;
  }

  /** False when it is there already. */
  add(text: string, virtualHost: VirtualHostImpl): boolean {
    const same = this.byLength.get(text.length) ?? new Map<string, VirtualHostImpl>();
    if (same.has(text)) return false;
    same.set(text, virtualHost);
    this.byLength.set(text.length, same);
    this.lengths = [...this.byLength.keys()].sort((a, b) => b - a);
    return true;
  }

  find(host: string, part: (length: number) => string): VirtualHostImpl | undefined {
    for (const length of this.lengths) {
      if (length >= host.length) continue;
      const found = this.byLength.get(length)?.get(part(length));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

const CACHE_SLOTS = 256;
/** Longer hosts are looked up each time. */
const MAX_CACHED_HOST = 128;

/** The last host seen per slot; a slot is chosen by the host's bytes. */
class HostCache {
  private readonly slots: HostSlot[] = Array.from({ length: CACHE_SLOTS }, () => new HostSlot());

  find(u8: Uint8Array, start: number, length: number): HostSlot {
    let hash = length;
    for (let i = start; i < start + length; i++) hash = (Math.imul(hash, 31) + u8[i]) | 0;
    return this.slots[(hash ^ (hash >>> 8)) & (CACHE_SLOTS - 1)];
  }
}

class HostSlot {
  virtualHost: VirtualHostImpl | null = null;
  private bytes: Uint8Array = new Uint8Array(0);
  /** -1: nothing yet. */
  private length = -1;

  matches(u8: Uint8Array, start: number, length: number): boolean {
    if (length !== this.length) return false;
    const bytes = this.bytes;
    for (let i = 0; i < length; i++) if (bytes[i] !== u8[start + i]) return false;
    return true;
  }

  set(u8: Uint8Array, start: number, length: number, virtualHost: VirtualHostImpl | null): void {
    if (length > MAX_CACHED_HOST) return;
    if (this.bytes.length < length) this.bytes = new Uint8Array(MAX_CACHED_HOST);
    for (let i = 0; i < length; i++) this.bytes[i] = u8[start + i];
    this.length = length;
    this.virtualHost = virtualHost;
  }
}
