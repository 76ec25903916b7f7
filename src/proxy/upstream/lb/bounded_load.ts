/**
 * Consistent hashing with bounded loads, `hash_balance_factor` (Envoy: BoundedLoadHashingLoadBalancer; arXiv 1608.01350, 1908.08762): a
 * host that has more than its share of the active requests times the factor is passed over for one of a sequence that depends on the
 * hash alone; when all have too many, for the least loaded of them.
 */
import type { Hash64 } from '../../common/hash64.ts';
import { Mt19937 } from '../../common/mt19937.ts';
import type { HostImpl } from '../host.ts';
import type { HostWeights } from './host_weights.ts';

const random = new Mt19937();

/** `host` or another of `weights`. `activeRequests`: of the whole cluster. */
export function withinBounds(
  host: HostImpl,
  hash: Hash64,
  weights: HostWeights,
  balanceFactor: number,
  activeRequests: number,
): HostImpl {
  const slots = Math.floor(((activeRequests + 1) * balanceFactor + 99) / 100);
  let least = overload(host, weights.byHost.get(host) ?? 0, slots);
  if (least <= 1) return host;
  let leastLoaded = host;
  const order = indices(weights.hosts.length);
  random.seed(hash.lo);
  for (let i = 0; i < order.length; i++) {
    const j = i + random.below(order.length - i);
    const k = order[j];
    order[j] = order[i];
    order[i] = k;
    const other = weights.hosts[k];
    if (other === host) continue;
    const load = overload(other, weights.weights[k], slots);
    if (load <= 1) return other;
    if (load < least) {
      leastLoaded = other;
      least = load;
    }
  }
  return leastLoaded;
}

/** Active requests by those that the host may have. */
function overload(host: HostImpl, weight: number, slots: number): number {
  return host.stats.rqActive.value / Math.max(1, Math.ceil(slots * weight));
}

let scratch = new Uint32Array(0);

function indices(length: number): Uint32Array {
  if (scratch.length < length) scratch = new Uint32Array(length);
  const order = scratch.subarray(0, length);
  for (let i = 0; i < length; i++) order[i] = i;
  return order;
}
