/** What `sluice exec` tells the preload of the program, its threads and its child processes, through the environment. */
import type { WorkerTicket } from '../attach.ts';
import { DEFAULT_RULES, parseRule, type Rule } from './rules.ts';

export const SETTINGS_VARIABLE = 'SLUICE_EXEC';
/** Of a cluster's primary, for its workers: they share its listeners. */
export const TICKET_VARIABLE = 'SLUICE_EXEC_TICKET';

export interface ExecSettings {
  readonly runtimeDir: string;
  readonly namespaceId?: string;
  readonly name: string;
  readonly rules: readonly string[];
}

export function encodeSettings(settings: ExecSettings): string {
  return JSON.stringify(settings);
}

/** Null when the program does not run under `sluice exec`. Throws an Error when the variable is not what exec wrote. */
export function readSettings(env: NodeJS.ProcessEnv): ExecSettings | null {
  const text = env[SETTINGS_VARIABLE];
  if (text === undefined || text === '') return null;
  return JSON.parse(text) as ExecSettings;
}

/** The rules in order, the default ones last. */
export function effectiveRules(given: readonly string[]): Rule[] {
  return [...given, ...DEFAULT_RULES].map(parseRule);
}

export function readTicket(env: NodeJS.ProcessEnv): WorkerTicket | null {
  const text = env[TICKET_VARIABLE];
  return text === undefined || text === '' ? null : (JSON.parse(text) as WorkerTicket);
}
