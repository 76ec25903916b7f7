/**
 * Which filter chain serves a connection (Envoy: FilterChainManagerImpl).
 *
 * The criteria form nested maps that are walked in this order: destination port, destination address, server name, transport
 * protocol, application protocols, direct source address, source type, source address, source port. At every level the most
 * specific entry is taken and never given up again: when something further down does not match, the default chain answers, not
 * the next best entry. Leaves out `filter_chain_matcher` (the generic matching tree), which the listener refuses.
 */
import { ConfigError } from '../config/error.ts';
import { type Address, addressWithoutPort } from './address.ts';
import { type CidrRange, type CidrRangeConfig, PrefixTable, parseCidrRange } from './filter_chain_prefix_table.ts';

/** `envoy.config.listener.v3.FilterChainMatch`. */
export interface FilterChainMatchConfig {
  destinationPort?: number;
  prefixRanges: CidrRangeConfig[];
  addressSuffix?: string;
  suffixLen?: number;
  directSourcePrefixRanges: CidrRangeConfig[];
  sourceType: ConnectionSourceType;
  sourcePrefixRanges: CidrRangeConfig[];
  sourcePorts: number[];
  serverNames: string[];
  transportProtocol: string;
  applicationProtocols: string[];
}

export type ConnectionSourceType = 'ANY' | 'SAME_IP_OR_LOOPBACK' | 'EXTERNAL';

/** What is known about a connection before its chain is chosen. */
export interface FilterChainMatchInput {
  /** Where the client wanted to go (restored by original_dst and proxy_protocol). */
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  /** The peer of the socket. */
  readonly directRemoteAddress: Address;
  /** Lower case; '' when unknown. */
  readonly requestedServerName: string;
  /** 'tls' or 'raw_buffer'. */
  readonly detectedTransportProtocol: string;
  /** In the client's order. */
  readonly requestedApplicationProtocols: readonly string[];
}

type SourcePorts<T> = Map<number, T>;
type SourceTypes<T> = Record<ConnectionSourceType, PrefixTable<SourcePorts<T>>>;
type ApplicationProtocols<T> = Map<string, PrefixTable<SourceTypes<T>>>;
type TransportProtocols<T> = Map<string, ApplicationProtocols<T>>;
type ServerNames<T> = Map<string, TransportProtocols<T>>;

export class FilterChainMatcher<T> {
  private readonly destinationPorts = new Map<number, PrefixTable<ServerNames<T>>>();
  private readonly seen = new Map<string, string>();
  private readonly addresses: string;
  private fallback: T | null = null;

  /** `addresses` are the listener's, comma-joined: error texts name them. */
  constructor(addresses: string) {
    this.addresses = addresses;
  }

  setDefault(chain: T): void {
    this.fallback = chain;
  }

  /** The chain for a connection; the default one when none matches; null without a default. */
  find(input: FilterChainMatchInput): T | null {
    return this.findByDestinationPort(input) ?? this.fallback;
  }

  /** Throws ConfigError, in Envoy's words, for rules that cannot be or that others already cover. */
  add(match: FilterChainMatchConfig | undefined, name: string, chain: T): void {
    const rules = { ...NO_RULES, ...match };
    this.checkImplemented(rules, name);
    this.checkDuplicate(rules, name);
    const destinations = ranges(rules.prefixRanges, 'prefix_ranges');
    const sources = ranges(rules.sourcePrefixRanges, 'source_prefix_ranges');
    const directSources = ranges(rules.directSourcePrefixRanges, 'direct_source_prefix_ranges');
    const serverNames = this.serverNameKeys(rules.serverNames);
    const protocols = rules.applicationProtocols.length === 0 ? [''] : rules.applicationProtocols;
    const ports = rules.sourcePorts.length === 0 ? [0] : rules.sourcePorts;

    const byPort = getOrCreate(this.destinationPorts, rules.destinationPort ?? 0, newTable<ServerNames<T>>);
    for (const destination of destinations) {
      const byName = byPort.getOrCreate(destination, newMap<string, TransportProtocols<T>>);
      for (const serverName of serverNames) {
        const byTransport = getOrCreate(byName, serverName, newMap<string, ApplicationProtocols<T>>);
        const byProtocol = getOrCreate(byTransport, rules.transportProtocol, newMap<string, PrefixTable<SourceTypes<T>>>);
        for (const protocol of protocols) {
          const byDirectSource = getOrCreate(byProtocol, protocol, newTable<SourceTypes<T>>);
          for (const directSource of directSources) {
            const bySource = byDirectSource.getOrCreate(directSource, newSourceTypes<T>)[rules.sourceType];
            for (const source of sources) {
              const bySourcePort = bySource.getOrCreate(source, newMap<number, T>);
              for (const port of ports) {
                if (bySourcePort.has(port))
                  throw this.error('multiple filter chains with overlapping matching rules are defined');
                bySourcePort.set(port, chain);
              }
            }
          }
        }
      }
    }
  }

  private findByDestinationPort(input: FilterChainMatchInput): T | undefined {
    if (input.localAddress.kind === 'ip') {
      const exact = this.destinationPorts.get(input.localAddress.port);
      if (exact !== undefined) return findByDestination(exact, input);
    }
    const any = this.destinationPorts.get(0);
    return any === undefined ? undefined : findByDestination(any, input);
  }

  private checkImplemented(rules: FilterChainMatchConfig, name: string): void {
    if ((rules.addressSuffix ?? '') !== '' || rules.suffixLen !== undefined) {
      throw this.error(`filter chain '${name}' contains unimplemented fields`);
    }
  }

  private checkDuplicate(rules: FilterChainMatchConfig, name: string): void {
    const text = describe(rules);
    const other = this.seen.get(text);
    if (other !== undefined) {
      throw this.error(`filter chain '${name}' has the same matching rules defined as '${other}'. duplicate matcher is: ${text}`);
    }
    this.seen.set(text, name);
  }

  /** Map keys: `name`, `.suffix` for `*.suffix`, '' for no names. */
  private serverNameKeys(names: string[]): string[] {
    if (names.length === 0) return [''];
    return names.map((name) => {
      const isWildcard = name.startsWith('*.');
      if (name.includes('*') && !isWildcard) throw this.error('partial wildcards are not supported in "server_names"');
      return (isWildcard ? name.slice(1) : name).toLowerCase();
    });
  }

  private error(reason: string): ConfigError {
    return new ConfigError(`error adding listener '${this.addresses}': ${reason}`);
  }
}

const NO_RULES: FilterChainMatchConfig = {
  prefixRanges: [],
  addressSuffix: '',
  directSourcePrefixRanges: [],
  sourceType: 'ANY',
  sourcePrefixRanges: [],
  sourcePorts: [],
  serverNames: [],
  transportProtocol: '',
  applicationProtocols: [],
};

function findByDestination<T>(table: PrefixTable<ServerNames<T>>, input: FilterChainMatchInput): T | undefined {
  const names = table.find(input.localAddress);
  return names === undefined ? undefined : findByServerName(names, input);
}

function findByServerName<T>(names: ServerNames<T>, input: FilterChainMatchInput): T | undefined {
  const name = input.requestedServerName;
  const exact = names.get(name);
  if (exact !== undefined) return findByTransport(exact, input);
  // `.example.com`, then `.com`, for `www.example.com`.
  for (let dot = name.indexOf('.', 1); dot !== -1 && dot < name.length - 1; dot = name.indexOf('.', dot + 1)) {
    const suffix = names.get(name.slice(dot));
    if (suffix !== undefined) return findByTransport(suffix, input);
  }
  const any = names.get('');
  return any === undefined ? undefined : findByTransport(any, input);
}

function findByTransport<T>(transports: TransportProtocols<T>, input: FilterChainMatchInput): T | undefined {
  const protocols = transports.get(input.detectedTransportProtocol) ?? transports.get('');
  return protocols === undefined ? undefined : findByApplicationProtocol(protocols, input);
}

function findByApplicationProtocol<T>(protocols: ApplicationProtocols<T>, input: FilterChainMatchInput): T | undefined {
  for (const protocol of input.requestedApplicationProtocols) {
    const exact = protocols.get(protocol);
    if (exact !== undefined) return findByDirectSource(exact, input);
  }
  const any = protocols.get('');
  return any === undefined ? undefined : findByDirectSource(any, input);
}

function findByDirectSource<T>(table: PrefixTable<SourceTypes<T>>, input: FilterChainMatchInput): T | undefined {
  const types = table.find(input.directRemoteAddress);
  if (types === undefined) return undefined;
  const local = types.SAME_IP_OR_LOOPBACK;
  const external = types.EXTERNAL;
  if (!local.isEmpty || !external.isEmpty) {
    const own = isSameIpOrLoopback(input) ? local : external;
    if (!own.isEmpty) return findBySource(own, input);
  }
  return types.ANY.isEmpty ? undefined : findBySource(types.ANY, input);
}

function findBySource<T>(table: PrefixTable<SourcePorts<T>>, input: FilterChainMatchInput): T | undefined {
  const ports = table.find(input.remoteAddress);
  if (ports === undefined) return undefined;
  const exact = input.remoteAddress.kind === 'ip' ? ports.get(input.remoteAddress.port) : undefined;
  return exact ?? ports.get(0);
}

/** A pipe, a loopback address, or the same address on both ends. */
export function isSameIpOrLoopback(input: { readonly localAddress: Address; readonly remoteAddress: Address }): boolean {
  const remote = input.remoteAddress;
  if (remote.kind !== 'ip') return true;
  if (isLoopback(remote.bytes)) return true;
  return input.localAddress.kind === 'ip' && addressWithoutPort(input.localAddress) === remote.ip;
}

function isLoopback(bytes: Uint8Array): boolean {
  if (bytes.length === 4) return bytes[0] === 127;
  return bytes[15] === 1 && bytes.subarray(0, 15).every((byte) => byte === 0);
}

function ranges(configs: CidrRangeConfig[], field: string): (CidrRange | null)[] {
  if (configs.length === 0) return [null];
  return configs.map((config, i) => {
    try {
      return parseCidrRange(config);
    } catch (error) {
      if (error instanceof ConfigError) throw new ConfigError(error.reason, { path: `filter_chain_match.${field}[${i}]` });
      throw error;
    }
  });
}

/** The rules that are set, as JSON in proto field names and a fixed order: equal text means equal rules. */
function describe(rules: FilterChainMatchConfig): string {
  const cidr = (list: CidrRangeConfig[]) =>
    list.length === 0 ? undefined : list.map((range) => ({ address_prefix: range.addressPrefix, prefix_len: range.prefixLen }));
  const list = <V>(values: V[]) => (values.length === 0 ? undefined : values);
  return JSON.stringify({
    prefix_ranges: cidr(rules.prefixRanges),
    source_prefix_ranges: cidr(rules.sourcePrefixRanges),
    source_ports: list(rules.sourcePorts),
    destination_port: rules.destinationPort,
    transport_protocol: rules.transportProtocol === '' ? undefined : rules.transportProtocol,
    application_protocols: list(rules.applicationProtocols),
    server_names: list(rules.serverNames),
    source_type: rules.sourceType === 'ANY' ? undefined : rules.sourceType,
    direct_source_prefix_ranges: cidr(rules.directSourcePrefixRanges),
  });
}

function getOrCreate<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = create();
    map.set(key, value);
  }
  return value;
}

function newMap<K, V>(): Map<K, V> {
  return new Map();
}

function newTable<V>(): PrefixTable<V> {
  return new PrefixTable();
}

function newSourceTypes<T>(): SourceTypes<T> {
  return { ANY: new PrefixTable(), SAME_IP_OR_LOOPBACK: new PrefixTable(), EXTERNAL: new PrefixTable() };
}
