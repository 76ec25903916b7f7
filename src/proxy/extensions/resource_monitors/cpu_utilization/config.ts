/**
 * `envoy.resource_monitors.cpu_utilization`, mode HOST: the part of the time that the machine's processors worked since the last look, from
 * /proc/stat, smoothed as in Envoy (a new value weighs 0.05). Left out: mode CONTAINER, which is refused.
 */
import { readFileSync } from 'node:fs';
import { ConfigError } from '../../../config/error.ts';
import type { ResourceMonitorFactory } from '../../../overload/resource_monitor.ts';

const WEIGHT = 0.05;

export function createCpuUtilizationFactory(stat = '/proc/stat'): ResourceMonitorFactory {
  return {
    typeName: 'envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig',
    create(config) {
      if (config.mode === 'CONTAINER') throw new ConfigError('CONTAINER is not supported by Sluice yet', { path: 'mode' });
      let last = readTimes(stat);
      let utilization = 0;
      return {
        pressure() {
          const now = readTimes(stat);
          const total = now.total - last.total;
          const work = now.work - last.work;
          if (total > 0 && work >= 0) {
            last = now;
            utilization = utilization * (1 - WEIGHT) + (work / total) * WEIGHT;
          }
          return utilization;
        },
      };
    },
  };
}

/** Of all processors together: user, nice and system are work; idle is the rest. */
function readTimes(path: string): { work: number; total: number } {
  const line = /^cpu +(\d+) (\d+) (\d+) (\d+)/m.exec(readFileSync(path, 'utf8'));
  if (line === null) throw new Error(`no line 'cpu' in '${path}'`);
  const work = Number(line[1]) + Number(line[2]) + Number(line[3]);
  return { work, total: work + Number(line[4]) };
}
