/** From the messages that name a module to its use: what the factories of all extensions in TypeScript share. */
import { basename, extname } from 'node:path';
import { ConfigError } from '../config/error.ts';
import type { ModuleSettings } from './class_version.ts';
import type { LoadedModule } from './module_loader.ts';
import { toConfigError } from './parse_config.ts';
import type { ScriptHost } from './script_host.ts';
import { type ScriptModule, ScriptUse, type UseVersion } from './script_modules.ts';

/** Fields of the messages, as far as each has them. */
export interface ModuleMessage {
  module?: string;
  name?: string;
  config?: Record<string, unknown>;
  failurePolicy?: 'FAIL_CLOSED' | 'FAIL_OPEN';
  /** ms */
  deadline?: number;
}

const DEFAULT_DEADLINE_MS = 15_000;

/** Throws ConfigError. */
export function scriptsOf(context: { readonly scripts?: ScriptHost }): ScriptHost {
  if (context.scripts === undefined) throw new ConfigError('modules cannot be loaded here', { path: 'module' });
  return context.scripts;
}

export function moduleSettings(message: ModuleMessage, path: string): ModuleSettings {
  const { name = '' } = message;
  return { name: name === '' ? basename(path, extname(path)) : name, path, config: message.config ?? {} };
}

/** Throws ConfigError. */
export function deadlineOf(message: ModuleMessage): number {
  const deadlineMs = message.deadline ?? DEFAULT_DEADLINE_MS;
  if (deadlineMs < 0) throw new ConfigError('must not be negative', { path: 'deadline' });
  return deadlineMs;
}

/** Throws ConfigError. */
export function useModule<V extends UseVersion>(module: ScriptModule, build: (loaded: LoadedModule) => V): ScriptUse<V> {
  try {
    return new ScriptUse(module, build);
  } catch (error) {
    throw toConfigError(error);
  }
}
