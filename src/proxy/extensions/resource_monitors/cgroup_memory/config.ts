/**
 * `envoy.resource_monitors.cgroup_memory`: memory of the container against its limit, or against `max_memory_bytes` when that is less. The
 * second version of control groups, else the first; without a limit there is no pressure.
 */
import { existsSync, readFileSync } from 'node:fs';
import { ConfigError } from '../../../config/error.ts';
import type { ResourceMonitorFactory } from '../../../overload/resource_monitor.ts';

const LAYOUTS = [
  { usage: 'memory.current', limit: 'memory.max' },
  { usage: 'memory/memory.usage_in_bytes', limit: 'memory/memory.limit_in_bytes' },
];

/** Where control groups are mounted. */
export function createCgroupMemoryFactory(root = '/sys/fs/cgroup'): ResourceMonitorFactory {
  return {
    typeName: 'envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig',
    create(config) {
      const most = (config.maxMemoryBytes as number | undefined) ?? 0;
      const layout = LAYOUTS.find(({ usage, limit }) => existsSync(`${root}/${usage}`) && existsSync(`${root}/${limit}`));
      if (layout === undefined) throw new ConfigError(`No supported cgroup memory implementation found in ${root}`);
      return {
        pressure() {
          const usage = readNumber(`${root}/${layout.usage}`);
          const limit = readNumber(`${root}/${layout.limit}`);
          const against = most > 0 ? Math.min(most, limit) : limit;
          return Number.isFinite(against) ? usage / against : 0;
        },
      };
    },
  };
}

/** `max` is no limit. */
function readNumber(path: string): number {
  const text = readFileSync(path, 'utf8').trim();
  if (text === 'max') return Number.POSITIVE_INFINITY;
  const value = Number(text);
  if (text === '' || !(value >= 0)) throw new Error(`'${text.slice(0, 40)}' in '${path}' is no number of bytes`);
  return value;
}
