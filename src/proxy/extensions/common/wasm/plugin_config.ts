/** `envoy.extensions.wasm.v3.PluginConfig` -> the settings of a plugin. */
import { FAILURE_POLICIES, type FailurePolicy, type PluginSettings } from '../../../../wasm/plugin/plugin_settings.ts';
import { ConfigError } from '../../../config/error.ts';
import type { CodeConfig } from './code_source.ts';

/** A configuration that is an Any: a wrapped string or bytes, or a Struct. */
interface AnyConfiguration {
  '@type': string;
  value?: unknown;
}

export interface PluginConfigMessage {
  name?: string;
  rootId?: string;
  vmConfig?: {
    vmId?: string;
    runtime?: string;
    code?: CodeConfig;
    configuration?: AnyConfiguration;
    nackOnCodeCacheMiss?: boolean;
    environmentVariables?: { hostEnvKeys?: string[]; keyValues?: Record<string, string> };
  };
  configuration?: AnyConfiguration;
  failOpen?: boolean;
  failurePolicy?: string;
  reloadConfig?: { backoff?: { baseInterval?: number; maxInterval?: number } };
  capabilityRestrictionConfig?: { allowedCapabilities?: Record<string, unknown> };
  allowOnHeadersStopIteration?: boolean;
}

export const V8_RUNTIME = 'envoy.wasm.runtime.v8';
export const NULL_RUNTIME = 'envoy.wasm.runtime.null';
/** In a thread of its own, with a time limit for each call. */
export const ISOLATED_RUNTIME = 'sluice.wasm.runtime.isolated';

const DEFAULT_RELOAD_MS = 1000;

/** Throws ConfigError with a path inside the message. */
export function pluginSettings(config: PluginConfigMessage): PluginSettings {
  const vm = config.vmConfig ?? {};
  const runtime = vm.runtime === undefined || vm.runtime === '' ? V8_RUNTIME : vm.runtime;
  const capabilities = Object.keys(config.capabilityRestrictionConfig?.allowedCapabilities ?? {});
  return {
    name: config.name ?? '',
    rootId: config.rootId ?? '',
    configuration: configurationBytes(config.configuration),
    vmId: vm.vmId ?? '',
    vmConfiguration: configurationBytes(vm.configuration),
    runtime,
    environmentVariables: environmentVariables(vm.environmentVariables),
    failurePolicy: failurePolicy(config),
    reloads: config.failurePolicy === 'FAIL_RELOAD',
    reloadIntervalMs: reloadInterval(config),
    allowedCapabilities: capabilities.length === 0 ? null : new Set(capabilities),
    allowOnHeadersStopIteration: config.allowOnHeadersStopIteration === true,
  };
}

/** The wait before the code is loaded again. It does not grow, so that a longest wait would mean nothing. */
function reloadInterval(config: PluginConfigMessage): number {
  const backoff = config.reloadConfig?.backoff;
  if (backoff?.maxInterval !== undefined)
    throw new ConfigError('is not supported: the interval does not grow', { path: 'reload_config.backoff.max_interval' });
  return backoff?.baseInterval ?? DEFAULT_RELOAD_MS;
}

function failurePolicy(config: PluginConfigMessage): FailurePolicy {
  const given = config.failurePolicy ?? 'UNSPECIFIED';
  if (config.failOpen === true) {
    if (given !== 'UNSPECIFIED')
      throw new ConfigError('only one of fail_open or failure_policy can be set', { path: 'failure_policy' });
    return 'FAIL_OPEN';
  }
  return FAILURE_POLICIES.find((policy) => policy === given) ?? 'FAIL_CLOSED';
}

function environmentVariables(
  config: { hostEnvKeys?: string[]; keyValues?: Record<string, string> } | undefined,
): [string, string][] {
  const variables = new Map<string, string>(Object.entries(config?.keyValues ?? {}));
  for (const key of config?.hostEnvKeys ?? []) {
    if (variables.has(key)) {
      throw new ConfigError(`Key ${key} is duplicated in envoy.extensions.wasm.v3.VmConfig.environment_variables`, {
        path: 'vm_config.environment_variables',
      });
    }
    const value = process.env[key];
    if (value !== undefined) variables.set(key, value);
  }
  return [...variables];
}

/** Strings and bytes as they are, a Struct as JSON. */
export function configurationBytes(any: AnyConfiguration | undefined): Uint8Array {
  const value = any?.value;
  if (value === undefined || value === null) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value), 'utf8');
}
