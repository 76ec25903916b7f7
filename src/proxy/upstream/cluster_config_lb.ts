/** Which balancer a cluster uses: `lb_policy`, or the first known entry of `load_balancing_policy`, which then wins. */
import { ConfigError } from '../config/error.ts';
import { type PlainCluster, type PlainRuntimeDouble, typeNameOf } from './cluster_types.ts';
import { unsupported } from './unsupported.ts';

export type LbPolicyName = 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RANDOM' | 'CLUSTER_PROVIDED';

export interface LbSettings {
  readonly policy: LbPolicyName;
  readonly choiceCount: number;
  readonly activeRequestBias: number;
  /** '' when there is none. */
  readonly activeRequestBiasKey: string;
  readonly fullScan: boolean;
  /** Percent; 0 turns panic off. */
  readonly healthyPanicThreshold: number;
  /** Percent. */
  readonly overprovisioningFactor: number;
  readonly weightedPriorityHealth: boolean;
}

export function parseLbPolicy(config: PlainCluster, at: (field: string) => string): LbSettings {
  const common = config.commonLbConfig;
  if (common?.zoneAwareLbConfig) throw unsupported('zone_aware_lb_config', at('common_lb_config.zone_aware_lb_config'));
  if (common?.localityWeightedLbConfig) {
    throw unsupported('locality_weighted_lb_config', at('common_lb_config.locality_weighted_lb_config'));
  }
  if (common?.consistentHashingLbConfig) {
    throw unsupported('consistent_hashing_lb_config', at('common_lb_config.consistent_hashing_lb_config'));
  }
  if (common?.overrideHostStatus) throw unsupported('override_host_status', at('common_lb_config.override_host_status'));
  const chosen = config.loadBalancingPolicy ? fromTypedPolicies(config, at) : fromLbPolicy(config, at);
  const policy = config.loadAssignment?.policy;
  return {
    ...chosen,
    healthyPanicThreshold: common?.healthyPanicThreshold?.value ?? 50,
    overprovisioningFactor: policy?.overprovisioningFactor ?? 140,
    weightedPriorityHealth: policy?.weightedPriorityHealth ?? false,
  };
}

type Chosen = Pick<LbSettings, 'policy' | 'choiceCount' | 'activeRequestBias' | 'activeRequestBiasKey' | 'fullScan'>;

interface LeastRequest {
  choiceCount?: number;
  activeRequestBias?: PlainRuntimeDouble;
  enableFullScan?: boolean;
  selectionMethod?: string;
  slowStartConfig?: unknown;
  localityLbConfig?: unknown;
}

function fromLbPolicy(config: PlainCluster, at: (field: string) => string): Chosen {
  const policy = config.lbPolicy ?? 'ROUND_ROBIN';
  if (policy === 'LOAD_BALANCING_POLICY_CONFIG') {
    throw new ConfigError('LOAD_BALANCING_POLICY_CONFIG needs load_balancing_policy to be set', { path: at('lb_policy') });
  }
  if (!POLICIES.includes(policy)) throw unsupported(`LB policy ${policy}`, at('lb_policy'));
  if (config.roundRobinLbConfig?.slowStartConfig) {
    throw unsupported('slow_start_config', at('round_robin_lb_config.slow_start_config'));
  }
  if (config.leastRequestLbConfig?.slowStartConfig) {
    throw unsupported('slow_start_config', at('least_request_lb_config.slow_start_config'));
  }
  return choose(policy as LbPolicyName, config.leastRequestLbConfig);
}

const POLICIES: readonly string[] = ['ROUND_ROBIN', 'LEAST_REQUEST', 'RANDOM', 'CLUSTER_PROVIDED'];

const BY_TYPE: Record<string, LbPolicyName> = {
  'envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin': 'ROUND_ROBIN',
  'envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest': 'LEAST_REQUEST',
  'envoy.extensions.load_balancing_policies.random.v3.Random': 'RANDOM',
  'envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided': 'CLUSTER_PROVIDED',
};

function fromTypedPolicies(config: PlainCluster, at: (field: string) => string): Chosen {
  const policies = config.loadBalancingPolicy?.policies ?? [];
  for (let i = 0; i < policies.length; i++) {
    const typed = policies[i].typedExtensionConfig?.typedConfig;
    const policy = BY_TYPE[typeNameOf(typed)];
    if (policy === undefined) continue;
    const path = `load_balancing_policy.policies[${i}].typed_extension_config.typed_config`;
    const options = typed as LeastRequest;
    if (options.slowStartConfig) throw unsupported('slow_start_config', at(`${path}.slow_start_config`));
    if (options.localityLbConfig) throw unsupported('locality_lb_config', at(`${path}.locality_lb_config`));
    return choose(policy, options);
  }
  const names = policies.map((p) => typeNameOf(p.typedExtensionConfig?.typedConfig) || p.typedExtensionConfig?.name || '?');
  throw new ConfigError(`none of these load balancing policies is supported: ${names.join(', ')}`, {
    path: at('load_balancing_policy'),
  });
}

function choose(policy: LbPolicyName, least: LeastRequest | undefined): Chosen {
  return {
    policy,
    choiceCount: least?.choiceCount ?? 2,
    activeRequestBias: least?.activeRequestBias?.defaultValue ?? 1,
    activeRequestBiasKey: least?.activeRequestBias?.runtimeKey ?? '',
    fullScan: least?.selectionMethod === 'FULL_SCAN' || least?.enableFullScan === true,
  };
}
