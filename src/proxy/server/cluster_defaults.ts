/** What the bootstrap says for clusters that do not say it themselves: which DNS resolver they ask. */
import type { Bootstrap, Cluster } from '../config/types.gen.ts';

/** Changes the clusters in place. */
export function applyClusterDefaults(bootstrap: Bootstrap): void {
  for (const cluster of bootstrap.staticResources?.clusters ?? []) completeCluster(cluster, bootstrap);
}

/** Changes one that came later in place. */
export function completeCluster(cluster: Cluster, bootstrap: Bootstrap): void {
  if (cluster.dnsResolvers.length > 0 || cluster.dnsResolutionConfig !== undefined) return;
  cluster.typedDnsResolverConfig ??= bootstrap.typedDnsResolverConfig;
  if (cluster.typedDnsResolverConfig === undefined) cluster.dnsResolutionConfig = bootstrap.dnsResolutionConfig;
}
