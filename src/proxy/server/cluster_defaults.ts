/** What the bootstrap says for clusters that do not say it themselves: which DNS resolver they ask. */
import type { Bootstrap } from '../config/types.gen.ts';

/** Changes the clusters in place. */
export function applyClusterDefaults(bootstrap: Bootstrap): void {
  for (const cluster of bootstrap.staticResources?.clusters ?? []) {
    const hasOwn = cluster.dnsResolvers.length > 0 || cluster.dnsResolutionConfig !== undefined;
    if (hasOwn) continue;
    cluster.typedDnsResolverConfig ??= bootstrap.typedDnsResolverConfig;
    if (cluster.typedDnsResolverConfig === undefined) cluster.dnsResolutionConfig = bootstrap.dnsResolutionConfig;
  }
}
