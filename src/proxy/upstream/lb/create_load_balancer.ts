/** The balancer that a cluster's settings ask for. */
import { HashingLoadBalancer } from './hashing_load_balancer.ts';
import type { LoadBalancer, LoadBalancerEnvironment } from './load_balancer.ts';
import { LeastRequestLoadBalancer, RandomLoadBalancer, RoundRobinLoadBalancer } from './policies.ts';
import { SubsetLoadBalancer } from './subset_load_balancer.ts';

export function createLoadBalancer(environment: LoadBalancerEnvironment): LoadBalancer {
  const { subset } = environment.settings;
  if (subset !== null) return new SubsetLoadBalancer(environment, subset, createLoadBalancer);
  switch (environment.settings.policy) {
    case 'ROUND_ROBIN':
      return new RoundRobinLoadBalancer(environment);
    case 'LEAST_REQUEST':
      return new LeastRequestLoadBalancer(environment);
    case 'RANDOM':
      return new RandomLoadBalancer(environment);
    case 'RING_HASH':
    case 'MAGLEV':
      return new HashingLoadBalancer(environment);
    case 'CLUSTER_PROVIDED':
      throw new Error('CLUSTER_PROVIDED has its own balancer');
  }
}
