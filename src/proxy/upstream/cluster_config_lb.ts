/**
 * Which balancer a cluster uses: `lb_policy` and the fields beside it, or the first known entry of `load_balancing_policy`, which then wins
 * (Envoy: source/extensions/load_balancing_policies). Subsets: `cluster_config_subset.ts`.
 */
import { ConfigError } from '../config/error.ts';
import { type PlainSubset, parseSubsets, type SubsetSettings } from './cluster_config_subset.ts';
import {
  type PlainCluster,
  type PlainHashingLb,
  type PlainLoadBalancingPolicy,
  type PlainLocalityLb,
  type PlainPercent,
  type PlainRuntimeDouble,
  type PlainSlowStart,
  typeNameOf,
} from './cluster_types.ts';
import type { SlowStartSettings } from './lb/slow_start.ts';
import { unsupported } from './unsupported.ts';

export type LbPolicyName = 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM' | 'RING_HASH' | 'MAGLEV' | 'CLUSTER_PROVIDED';

export interface LocalitySettings {
  /** By the localities' weights. Otherwise zone-aware, when there is a local cluster. */
  readonly weighted: boolean;
  /** Percent. */
  readonly routingEnabled: number;
  readonly minClusterSize: number;
  readonly failTrafficOnPanic: boolean;
}

export interface HashingSettings {
  readonly minRingSize: number;
  readonly maxRingSize: number;
  readonly murmur: boolean;
  /** Of Maglev; a prime. */
  readonly tableSize: number;
  readonly useHostname: boolean;
  /** Percent of the fair share that a host may have; 0: as much as comes. */
  readonly balanceFactor: number;
}

/** What one policy says. */
interface PolicySettings {
  readonly policy: LbPolicyName;
  readonly choiceCount: number;
  readonly activeRequestBias: number;
  /** '' when there is none. */
  readonly activeRequestBiasKey: string;
  readonly fullScan: boolean;
  readonly slowStart: SlowStartSettings | null;
  readonly locality: LocalitySettings;
  readonly hashing: HashingSettings;
  /** The policy then balances within subsets. */
  readonly subset: SubsetSettings | null;
}

export interface LbSettings extends PolicySettings {
  /** Percent; 0 turns panic off. */
  readonly healthyPanicThreshold: number;
  /** Percent. */
  readonly overprovisioningFactor: number;
  readonly weightedPriorityHealth: boolean;
}

export function parseLbPolicy(config: PlainCluster, at: (field: string) => string): LbSettings {
  const common = config.commonLbConfig;
  if (common?.overrideHostStatus) throw unsupported('override_host_status', at('common_lb_config.override_host_status'));
  const typed = config.loadBalancingPolicy;
  const chosen = typed === undefined ? fromLbPolicy(config, at) : fromTypedPolicies(typed, 'load_balancing_policy', at);
  const policy = config.loadAssignment?.policy;
  return {
    ...chosen,
    healthyPanicThreshold: Math.min(100, Math.round(common?.healthyPanicThreshold?.value ?? 50)),
    overprovisioningFactor: policy?.overprovisioningFactor ?? 140,
    weightedPriorityHealth: policy?.weightedPriorityHealth ?? false,
  };
}

const POLICIES: readonly string[] = ['ROUND_ROBIN', 'LEAST_REQUEST', 'RANDOM', 'RING_HASH', 'MAGLEV', 'CLUSTER_PROVIDED'];

function fromLbPolicy(config: PlainCluster, at: (field: string) => string): PolicySettings {
  const policy = (config.lbPolicy ?? 'ROUND_ROBIN') as LbPolicyName;
  if ((policy as string) === 'LOAD_BALANCING_POLICY_CONFIG') {
    throw new ConfigError('LOAD_BALANCING_POLICY_CONFIG needs load_balancing_policy to be set', { path: at('lb_policy') });
  }
  if (!POLICIES.includes(policy)) throw unsupported(`LB policy ${policy}`, at('lb_policy'));
  const common = config.commonLbConfig;
  const ring = policy === 'RING_HASH' ? config.ringHashLbConfig : undefined;
  const field = ring === undefined ? 'maglev_lb_config' : 'ring_hash_lb_config';
  const hashing = { ...(ring ?? config.maglevLbConfig), consistentHashingLbConfig: common?.consistentHashingLbConfig };
  const subset = config.lbSubsetConfig;
  if (subset !== undefined && policy === 'CLUSTER_PROVIDED') {
    throw new ConfigError('LB policy CLUSTER_PROVIDED cannot be combined with lb_subset_config', {
      path: at('lb_subset_config'),
    });
  }
  const least = policy === 'LEAST_REQUEST' ? config.leastRequestLbConfig : undefined;
  const ramp = policy === 'ROUND_ROBIN' ? config.roundRobinLbConfig?.slowStartConfig : least?.slowStartConfig;
  return {
    ...leastRequest(least),
    policy,
    slowStart: slowStart(ramp, at(`${policy.toLowerCase()}_lb_config.slow_start_config`)),
    locality: locality(common),
    hashing: hashingSettings(hashing, at(field)),
    // Without selectors and without a default subset there is nothing to choose by (Envoy: LoadBalancerSubsetInfo::isEnabled).
    subset:
      subset === undefined || (subset.subsetSelectors ?? []).length === 0 ? null : parseSubsets(subset, at('lb_subset_config')),
  };
}

const PREFIX = 'envoy.extensions.load_balancing_policies.';
const WRR_LOCALITY = `${PREFIX}wrr_locality.v3.WrrLocality`;
const SUBSET = `${PREFIX}subset.v3.Subset`;

const BY_TYPE: Record<string, LbPolicyName> = {
  [`${PREFIX}round_robin.v3.RoundRobin`]: 'ROUND_ROBIN',
  [`${PREFIX}least_request.v3.LeastRequest`]: 'LEAST_REQUEST',
  [`${PREFIX}random.v3.Random`]: 'RANDOM',
  [`${PREFIX}ring_hash.v3.RingHash`]: 'RING_HASH',
  [`${PREFIX}maglev.v3.Maglev`]: 'MAGLEV',
  [`${PREFIX}cluster_provided.v3.ClusterProvided`]: 'CLUSTER_PROVIDED',
};

/** What the messages of the policies have among them. */
interface TypedPolicy extends PlainHashingLb, LeastRequest {
  slowStartConfig?: PlainSlowStart;
  localityLbConfig?: PlainLocalityLb;
  localityWeightedLbConfig?: object;
  endpointPickingPolicy?: PlainLoadBalancingPolicy;
  subsetLbPolicy?: PlainLoadBalancingPolicy;
}

/** Policies within policies: so deep. */
const MAX_DEPTH = 8;

function fromTypedPolicies(
  list: PlainLoadBalancingPolicy,
  field: string,
  at: (field: string) => string,
  depth = 0,
): PolicySettings {
  if (depth > MAX_DEPTH) throw new ConfigError('load balancing policies are nested too deeply', { path: at(field) });
  const policies = list.policies ?? [];
  for (let i = 0; i < policies.length; i++) {
    const typed = policies[i].typedExtensionConfig?.typedConfig;
    const path = `${field}.policies[${i}].typed_extension_config.typed_config`;
    const type = typeNameOf(typed);
    const options = typed as TypedPolicy;
    if (type === WRR_LOCALITY) {
      const inner = fromTypedPolicies(options.endpointPickingPolicy ?? {}, `${path}.endpoint_picking_policy`, at, depth + 1);
      return { ...inner, locality: { ...inner.locality, weighted: true } };
    }
    if (type === SUBSET) {
      const inner = fromTypedPolicies(options.subsetLbPolicy ?? {}, `${path}.subset_lb_policy`, at, depth + 1);
      if (inner.subset !== null) throw new ConfigError('subsets within subsets are not possible', { path: at(path) });
      if (inner.policy === 'CLUSTER_PROVIDED') {
        throw new ConfigError('CLUSTER_PROVIDED cannot balance within subsets', { path: at(path) });
      }
      return { ...inner, subset: parseSubsets(typed as PlainSubset, at(path)) };
    }
    const policy = BY_TYPE[type];
    if (policy !== undefined) return fromTypedPolicy(policy, options, at(path));
  }
  const names = policies.map((p) => typeNameOf(p.typedExtensionConfig?.typedConfig) || p.typedExtensionConfig?.name || '?');
  throw new ConfigError(`none of these load balancing policies is supported: ${names.join(', ')}`, { path: at(field) });
}

function fromTypedPolicy(policy: LbPolicyName, options: TypedPolicy, path: string): PolicySettings {
  const weighted = options.localityWeightedLbConfig;
  return {
    ...leastRequest(options),
    policy,
    slowStart: slowStart(options.slowStartConfig, `${path}.slow_start_config`),
    locality: locality(weighted === undefined ? options.localityLbConfig : { localityWeightedLbConfig: weighted }),
    hashing: hashingSettings(options, path),
    subset: null,
  };
}

interface LeastRequest {
  choiceCount?: number;
  activeRequestBias?: PlainRuntimeDouble;
  enableFullScan?: boolean;
  selectionMethod?: string;
}

function leastRequest(
  least: LeastRequest | undefined,
): Pick<PolicySettings, 'choiceCount' | 'activeRequestBias' | 'activeRequestBiasKey' | 'fullScan'> {
  return {
    choiceCount: least?.choiceCount ?? 2,
    activeRequestBias: least?.activeRequestBias?.defaultValue ?? 1,
    activeRequestBiasKey: least?.activeRequestBias?.runtimeKey ?? '',
    fullScan: least?.selectionMethod === 'FULL_SCAN' || least?.enableFullScan === true,
  };
}

function locality(config: PlainLocalityLb | undefined): LocalitySettings {
  const zone = config?.zoneAwareLbConfig;
  return {
    weighted: config?.localityWeightedLbConfig !== undefined,
    routingEnabled: percent(zone?.routingEnabled, 100),
    minClusterSize: zone?.minClusterSize ?? 6,
    failTrafficOnPanic: zone?.failTrafficOnPanic ?? false,
  };
}

function percent(value: PlainPercent | undefined, otherwise: number): number {
  return value === undefined ? otherwise : Math.round(value.value);
}

function slowStart(config: PlainSlowStart | undefined, path: string): SlowStartSettings | null {
  const windowMs = config?.slowStartWindow ?? 0;
  if (config === undefined || windowMs === 0) return null;
  const aggression = config.aggression?.defaultValue ?? 1;
  if (!(aggression > 0)) throw new ConfigError('must be greater than 0', { path: `${path}.aggression.default_value` });
  return {
    windowMs,
    aggression,
    aggressionKey: config.aggression?.runtimeKey ?? '',
    minWeight: (config.minWeightPercent?.value ?? 10) / 100,
  };
}

/** Rings of the size that the API allows at most. */
const MAX_RING_SIZE = 8_388_608;
const MAGLEV_TABLE_SIZE = 65_537;

function hashingSettings(config: PlainHashingLb, path: string): HashingSettings {
  const minRingSize = config.minimumRingSize ?? 1024;
  const maxRingSize = config.maximumRingSize ?? MAX_RING_SIZE;
  if (minRingSize > maxRingSize) {
    throw new ConfigError(`ring hash: minimum_ring_size (${minRingSize}) > maximum_ring_size (${maxRingSize})`, { path });
  }
  if (maxRingSize === 0) throw new ConfigError('ring hash: maximum_ring_size must not be 0', { path });
  const tableSize = config.tableSize ?? MAGLEV_TABLE_SIZE;
  if (!isPrime(tableSize)) throw new ConfigError('The table size of maglev must be prime number', { path: `${path}.table_size` });
  const common = config.consistentHashingLbConfig;
  return {
    minRingSize,
    maxRingSize,
    murmur: config.hashFunction === 'MURMUR_HASH_2',
    tableSize,
    useHostname: (common === undefined ? config.useHostnameForHashing : common.useHostnameForHashing) ?? false,
    balanceFactor: (common === undefined ? config.hashBalanceFactor : common.hashBalanceFactor) ?? 0,
  };
}

function isPrime(n: number): boolean {
  if (n < 2) return false;
  for (let divisor = 2; divisor * divisor <= n; divisor++) if (n % divisor === 0) return false;
  return true;
}
