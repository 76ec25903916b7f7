/**
 * `envoy.resource_monitors.fixed_heap`: the memory of the process against `max_heap_size_bytes`.
 *
 * Envoy asks its allocator for what is allocated. Here many have memory: V8's heap of each thread, the slab of each worker, OpenSSL and libc. What
 * counts is what is resident less what is known to be free in it: pages that V8 keeps for later, and blocks of slabs that hold nothing. Each
 * thread reports its own; what libc keeps for later counts as used.
 */
import { FIXED_HEAP } from '../../../overload/overload_config.ts';
import type { ResourceMonitorFactory } from '../../../overload/resource_monitor.ts';

export const factory: ResourceMonitorFactory = {
  typeName: FIXED_HEAP,
  create(config, memory) {
    const most = config.maxHeapSizeBytes as number;
    return {
      pressure() {
        let used = process.memoryUsage.rss();
        for (const spare of memory.spareBytes) used -= spare;
        return Math.max(0, used) / most;
      },
    };
  },
};
