/** `envoy.resource_monitors.injected_resource`: a pressure that is read from a file, for tests and for programs that know better. */
import { readFileSync, statSync } from 'node:fs';
import type { ResourceMonitorFactory } from '../../../overload/resource_monitor.ts';

export const factory: ResourceMonitorFactory = {
  typeName: 'envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig',
  create(config) {
    const filename = config.filename as string;
    let last = '';
    let value = 0;
    return {
      pressure() {
        const { ino, mtimeNs, size } = statSync(filename, { bigint: true });
        const identity = `${ino} ${mtimeNs} ${size}`;
        if (identity === last) return value;
        const text = readFileSync(filename, 'utf8').trim();
        const read = Number(text);
        if (text === '' || !(read >= 0 && read <= 1))
          throw new Error(`'${text.slice(0, 40)}' in '${filename}' is no number from 0 to 1`);
        last = identity;
        value = read;
        return value;
      },
    };
  },
};
