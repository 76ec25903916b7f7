/** `/wasm`: each configured plugin, over all workers, with what its stats say (plugins of the same name share them). */
import type { Store } from '../../../core/stats/store.ts';
import { pluginStatPrefix } from '../../../wasm/host/root_context.ts';
import type { PluginStatus } from '../../../wasm/plugin/plugin_status.ts';

export interface PluginLine extends PluginStatus {
  readonly workers: number;
  readonly calls: number;
  readonly cpuUs: number;
  readonly memoryBytes: number;
  readonly vmFailures: number;
  readonly vmReloads: number;
  readonly codeLoaded: number;
  readonly codeRejected: number;
}

export function pluginLines(statuses: readonly PluginStatus[], stats: Store): PluginLine[] {
  const alike = new Map<string, { status: PluginStatus; workers: number }>();
  for (const status of statuses) {
    const key = JSON.stringify(status);
    const found = alike.get(key);
    if (found === undefined) alike.set(key, { status, workers: 1 });
    else found.workers++;
  }
  const lines = Array.from(alike.values(), ({ status, workers }) => {
    const prefix = pluginStatPrefix(status.name);
    const counter = (name: string): number => stats.counterValue(prefix + name);
    return {
      ...status,
      workers,
      calls: counter('calls'),
      cpuUs: counter('cpu_us'),
      memoryBytes: stats.gaugeValue(`${prefix}memory_bytes`),
      vmFailures: counter('vm_failures'),
      vmReloads: counter('vm_reload_success'),
      codeLoaded: counter('code_loaded'),
      codeRejected: counter('code_rejected'),
    };
  });
  return lines.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

export function pluginText(line: PluginLine): string {
  const { name, rootId, vmId, runtime, abiVersion, codeSha256, state, error, failurePolicy } = line;
  const text = [
    `${name}::state::${state}`,
    ...(error === '' ? [] : [`${name}::error::${error.split('\n')[0]}`]),
    `${name}::root_id::${rootId}`,
    `${name}::vm_id::${vmId}`,
    `${name}::runtime::${runtime}`,
    `${name}::abi::${abiVersion}`,
    `${name}::code_sha256::${codeSha256}`,
    `${name}::failure_policy::${failurePolicy}`,
    `${name}::workers::${line.workers}`,
    `${name}::calls::${line.calls}`,
    `${name}::cpu_us::${line.cpuUs}`,
    `${name}::memory_bytes::${line.memoryBytes}`,
    `${name}::vm_failures::${line.vmFailures}`,
    `${name}::vm_reloads::${line.vmReloads}`,
    `${name}::code_loaded::${line.codeLoaded}`,
    `${name}::code_rejected::${line.codeRejected}`,
  ];
  return `${text.join('\n')}\n`;
}

/** As JSON, in the style of Envoy's admin. */
export function pluginJson(line: PluginLine): Record<string, unknown> {
  const fields = Object.entries(line).map(([name, value]) => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value,
  ]);
  return Object.fromEntries(fields) as Record<string, unknown>;
}
