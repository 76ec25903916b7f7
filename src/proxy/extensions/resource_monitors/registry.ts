/** Resource monitors by the full name of their message. */
import type { ResourceMonitorFactory } from '../../overload/resource_monitor.ts';
import { createCgroupMemoryFactory } from './cgroup_memory/config.ts';
import { createCpuUtilizationFactory } from './cpu_utilization/config.ts';
import { factory as downstreamConnections } from './downstream_connections/config.ts';
import { factory as fixedHeap } from './fixed_heap/config.ts';
import { factory as injectedResource } from './injected_resource/config.ts';

export const RESOURCE_MONITORS: ReadonlyMap<string, ResourceMonitorFactory> = new Map(
  [createCgroupMemoryFactory(), createCpuUtilizationFactory(), downstreamConnections, fixedHeap, injectedResource].map(
    (factory) => [factory.typeName, factory],
  ),
);
