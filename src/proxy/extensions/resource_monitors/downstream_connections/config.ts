/**
 * `envoy.resource_monitors.global_downstream_max_connections`: open downstream connections against their limit. Workers enforce the limit
 * themselves when they accept; here is the pressure for whatever else is to happen. In Envoy this monitor triggers nothing.
 */

import { DOWNSTREAM_CONNECTIONS } from '../../../overload/overload_config.ts';
import type { ResourceMonitorFactory } from '../../../overload/resource_monitor.ts';

export const factory: ResourceMonitorFactory = {
  typeName: DOWNSTREAM_CONNECTIONS,
  create(config, { connections }) {
    const most = config.maxActiveDownstreamConnections as number;
    return { pressure: () => Atomics.load(connections, 0) / most };
  },
};
