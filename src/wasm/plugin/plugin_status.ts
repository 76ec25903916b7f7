/** What runs on this thread, for people who look: each configured plugin with its VM and code as they are now. */
import type { FailState } from '../abi/enums.ts';
import { sha256Hex } from '../vm/compiled_code.ts';
import type { PluginSettings } from './plugin_settings.ts';

/** Plain data: it goes from the workers to the main thread. */
export interface PluginStatus {
  readonly name: string;
  readonly rootId: string;
  readonly vmId: string;
  readonly runtime: string;
  readonly failurePolicy: string;
  /** Of the code that new streams get; '' when none was loaded. */
  readonly codeSha256: string;
  readonly abiVersion: string;
  /** `no code`, `running`, or how it failed. */
  readonly state: string;
  readonly error: string;
}

export interface Described {
  readonly settings: PluginSettings;
  readonly codeKey: string;
  readonly current: { readonly failState: FailState; readonly failMessage: string; readonly abiVersion: string } | null;
}

const known = new Set<Described>();

export function enlist(handle: Described): void {
  known.add(handle);
}

export function strikeOff(handle: Described): void {
  known.delete(handle);
}

export function pluginStatuses(): PluginStatus[] {
  return Array.from(known, ({ settings, codeKey, current }) => {
    const { name, rootId, vmId, runtime, failurePolicy } = settings;
    const failed = current !== null && current.failState !== 'Ok';
    return {
      name,
      rootId,
      vmId,
      runtime,
      failurePolicy,
      codeSha256: codeKey === '' || /^[0-9a-f]{64}$/.test(codeKey) ? codeKey : sha256Hex(Buffer.from(codeKey, 'utf8')),
      abiVersion: current?.abiVersion ?? '',
      state: current === null ? 'no code' : failed ? current.failState : 'running',
      error: failed ? current.failMessage : '',
    };
  });
}
