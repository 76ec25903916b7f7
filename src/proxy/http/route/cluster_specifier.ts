/**
 * Which cluster a route forwards to: one by name, one named by a request header, or one of several by weight.
 *
 * Weights: the stream's random value (or that of `header_name`, when it is a single integer) modulo the total picks; weights under
 * `runtime_key_prefix` are read anew for each request. Routes for named clusters exist beforehand; choosing one allocates nothing.
 */
import { asciiLower, byteText, parseInteger } from '../../common/byte_text.ts';
import { ConfigError } from '../../config/error.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HeaderMap } from '../header_map.ts';
import type { ClusterWeightConfig, MetadataConfig, RouteActionConfig, WeightedClusterConfig } from './config_types.ts';
import type { HeaderParser } from './header_parser.ts';
import type { PerFilterLevel } from './per_filter_config.ts';
import type { Route } from './route.ts';
import type { ClusterChoice, RouteEntryImpl } from './route_entry.ts';

/** Gives the route of a request that matched; null when none can be chosen. */
export interface ClusterSpecifier {
  pick(headers: HeaderMap, info: StreamInfo, random: number): Route | null;
  /** Clusters that are named literally. */
  readonly clusterNames: readonly string[];
}

/** How the surrounding route builds things. */
export interface ClusterSpecifierContext {
  readonly routeName: string;
  readonly runtime: Runtime;
  entry(choice: ClusterChoice): RouteEntryImpl;
  route(entry: RouteEntryImpl, perFilter: PerFilterLevel | null): Route;
  headerParser(config: ClusterWeightConfig, side: 'request' | 'response', path: string): HeaderParser | null;
  perFilter(config: ClusterWeightConfig, path: string): PerFilterLevel;
}

/** Throws ConfigError. */
export function compileClusterSpecifier(
  config: RouteActionConfig,
  context: ClusterSpecifierContext,
  path: string,
): ClusterSpecifier {
  const metadataMatch = lbMetadata(config.metadataMatch);
  const plain: ClusterChoice = {
    clusterName: '',
    metadataMatch,
    requestParser: null,
    responseParser: null,
    hostRewriteLiteral: '',
  };
  if (config.cluster !== undefined && config.cluster !== '') {
    const route = context.route(context.entry({ ...plain, clusterName: config.cluster }), null);
    return { pick: () => route, clusterNames: [config.cluster] };
  }
  if (config.clusterHeader !== undefined && config.clusterHeader !== '') {
    return new ClusterHeader(config.clusterHeader, context.entry(plain), (entry) => context.route(entry, null));
  }
  if (config.weightedClusters !== undefined) {
    return new WeightedClusters(config.weightedClusters, plain, context, `${path}.weighted_clusters`);
  }
  throw new ConfigError('one of cluster, cluster_header, weighted_clusters is required', { path });
}

/** Names from a header are anyone's: so many routes are kept, more are built per request. */
const MAX_HEADER_ROUTES = 1024;

class ClusterHeader implements ClusterSpecifier {
  readonly clusterNames: readonly string[] = [];
  private readonly name: string;
  private readonly base: RouteEntryImpl;
  private readonly build: (entry: RouteEntryImpl) => Route;
  private readonly routes = new Map<string, Route>();

  constructor(name: string, base: RouteEntryImpl, build: (entry: RouteEntryImpl) => Route) {
    this.name = asciiLower(name);
    this.base = base;
    this.build = build;
  }

  /** Only the first value counts; a missing header names no cluster. */
  pick(headers: HeaderMap): Route {
    const name = headers.getAll(this.name)[0] ?? '';
    const known = this.routes.get(name);
    if (known !== undefined) return known;
    const route = this.build(this.base.withCluster(name));
    if (this.routes.size < MAX_HEADER_ROUTES) this.routes.set(name, route);
    return route;
  }
}

interface WeightedEntry {
  readonly weight: number;
  readonly runtimeKey: string;
  readonly specifier: ClusterSpecifier;
}

class WeightedClusters implements ClusterSpecifier {
  readonly clusterNames: readonly string[];
  private readonly entries: readonly WeightedEntry[];
  private readonly totalWeight: number;
  private readonly headerName: string;
  private readonly runtime: Runtime | null;
  private readonly hashEntry: RouteEntryImpl | null;
  /** Weights of the request at hand, when runtime may change them. */
  private readonly weights: Float64Array;

  constructor(config: WeightedClusterConfig, plain: ClusterChoice, context: ClusterSpecifierContext, path: string) {
    const prefix = config.runtimeKeyPrefix ?? '';
    this.entries = (config.clusters ?? []).map((cluster, i) => ({
      weight: requiredWeight(cluster, `${path}.clusters[${i}]`),
      runtimeKey: `${prefix}.${cluster.name ?? ''}`,
      specifier: weightedEntry(cluster, plain, context, `${path}.clusters[${i}]`),
    }));
    this.totalWeight = this.entries.reduce((sum, entry) => sum + entry.weight, 0);
    if (this.totalWeight > 0xffffffff) {
      throw new ConfigError(`The sum of weights of all weighted clusters of route ${context.routeName} exceeds 4294967295`, {
        path,
      });
    }
    if (this.totalWeight === 0) throw new ConfigError('Sum of weights in the weighted_cluster must be greater than 0.', { path });
    if (config.totalWeight !== undefined && config.totalWeight !== this.totalWeight) {
      throw new ConfigError(`Sum of weights in the weighted_cluster should be equal to ${config.totalWeight}`, { path });
    }
    this.clusterNames = this.entries.flatMap((entry) => entry.specifier.clusterNames);
    this.headerName = asciiLower(config.headerName ?? '');
    this.runtime = prefix === '' ? null : context.runtime;
    this.hashEntry = config.useHashPolicy === true ? context.entry(plain) : null;
    this.weights = new Float64Array(this.entries.length);
  }

  pick(headers: HeaderMap, info: StreamInfo, random: number): Route | null {
    const { entries, weights } = this;
    let total = this.totalWeight;
    if (this.runtime !== null) {
      total = 0;
      const snapshot = this.runtime.snapshot;
      for (let i = 0; i < entries.length; i++)
        total += weights[i] = snapshot.getInteger(entries[i].runtimeKey, entries[i].weight);
      if (total === 0 || total > 0xffffffff) return null;
    }
    const selected = this.selection(headers, info, random, total);
    let end = 0;
    for (let i = 0; i < entries.length; i++) {
      end += this.runtime === null ? entries[i].weight : weights[i];
      if (selected < end) return entries[i].specifier.pick(headers, info, random);
    }
    return null;
  }

  private selection(headers: HeaderMap, info: StreamInfo, random: number, total: number): number {
    if (this.headerName !== '') {
      const values = headers.getAll(this.headerName);
      const value = values.length === 1 ? parseInteger(values[0]) : undefined;
      if (value !== undefined && value >= 0) return value % total;
    }
    const hash = this.hashEntry?.hashPolicy?.generateHash(headers, info) ?? null;
    return hash === null ? random % total : hash.modulo(total);
  }
}

function requiredWeight(cluster: ClusterWeightConfig, path: string): number {
  if (cluster.weight !== undefined) return cluster.weight;
  throw new ConfigError(`Field 'weight' is missing in: name: "${cluster.name ?? ''}"`, { path });
}

function weightedEntry(
  config: ClusterWeightConfig,
  plain: ClusterChoice,
  context: ClusterSpecifierContext,
  path: string,
): ClusterSpecifier {
  const name = config.name ?? '';
  const header = config.clusterHeader ?? '';
  if (name === '' && header === '')
    throw new ConfigError('At least one of name or cluster_header need to be specified', { path });
  if (name !== '' && header !== '') throw new ConfigError('Only one of name or cluster_header can be specified', { path });
  const own = lbMetadata(config.metadataMatch);
  const entry = context.entry({
    clusterName: name,
    metadataMatch: own === null ? plain.metadataMatch : { ...plain.metadataMatch, ...own },
    requestParser: context.headerParser(config, 'request', path),
    responseParser: context.headerParser(config, 'response', path),
    hostRewriteLiteral: byteText(config.hostRewriteLiteral ?? ''),
  });
  const perFilter = context.perFilter(config, path);
  if (header !== '') return new ClusterHeader(header, entry, (chosen) => context.route(chosen, perFilter));
  const route = context.route(entry, perFilter);
  return { pick: () => route, clusterNames: [name] };
}

/** Criteria of subset load balancing. */
function lbMetadata(metadata: MetadataConfig | undefined): Record<string, unknown> | null {
  return metadata?.filterMetadata?.['envoy.lb'] ?? null;
}
