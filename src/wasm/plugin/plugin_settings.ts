/** A configured plugin, whatever names it: what to run, with which configuration, and what happens when it fails. */

export const FAILURE_POLICIES = ['FAIL_CLOSED', 'FAIL_OPEN', 'FAIL_RELOAD'] as const;
export type FailurePolicy = (typeof FAILURE_POLICIES)[number];

export interface PluginSettings {
  readonly name: string;
  readonly rootId: string;
  readonly configuration: Uint8Array;
  readonly vmId: string;
  readonly vmConfiguration: Uint8Array;
  /** Full name, such as `envoy.wasm.runtime.v8`. */
  readonly runtime: string;
  readonly environmentVariables: readonly (readonly [string, string])[];
  readonly failurePolicy: FailurePolicy;
  /** A VM that failed is replaced when the next stream comes. */
  readonly reloads: boolean;
  /** With FAIL_RELOAD: at least this long, and at most half as long again, between two loads. */
  readonly reloadIntervalMs: number;
  /** Null: everything is allowed. */
  readonly allowedCapabilities: ReadonlySet<string> | null;
  readonly allowOnHeadersStopIteration: boolean;
}
