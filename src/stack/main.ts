/**
 * The stack as a process (`sluice stack [-c FILE]`), and its command line (`sluice ctl [--json] COMMAND`).
 *
 *     node main.ts [-c FILE] [--runtime-dir DIR]      runs until SIGINT or SIGTERM
 *     node main.ts ctl [--runtime-dir DIR] [--json] COMMAND...
 *
 * FILE is JSON: `{ "runtimeDir": ..., "namespaces": [{ "id", "secret", "fib" }], "segments": { "slots", "arenaPages", "highWatermark",
 * "maxSegments" }, "spinUs": 0 }`. Unknown fields are errors.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { sendCommand } from './ctl/client.ts';
import { HostStack, type HostStackOptions } from './host_stack.ts';
import { defaultRuntimeDir } from './vcl/attach.ts';

export interface StackCommandOptions {
  configFile?: string;
  runtimeDir?: string;
}

/** Starts a stack in this thread and stops it on SIGINT and SIGTERM. Returns it; throws on a bad configuration. */
export function runStack(options: StackCommandOptions): HostStack {
  const config = options.configFile === undefined ? {} : readStackConfig(readFileSync(options.configFile, 'utf8'));
  const stack = new HostStack({ ...config, runtimeDir: options.runtimeDir ?? config.runtimeDir ?? defaultRuntimeDir() });
  const stop = (): void => stack.close();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  return stack;
}

/** Prints the answer of a stack; returns the exit status. */
export async function runControl(runtimeDir: string, command: string, json: boolean): Promise<number> {
  try {
    const result = await sendCommand(runtimeDir, command, json);
    const text = result.text === '' || result.text.endsWith('\n') ? result.text : `${result.text}\n`;
    (result.ok ? process.stdout : process.stderr).write(text);
    return result.ok ? 0 : 1;
  } catch (error) {
    process.stderr.write(`no stack at ${runtimeDir}: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}

type FieldCheck = (value: unknown) => boolean;

const isString: FieldCheck = (value) => typeof value === 'string';
const isCount: FieldCheck = (value) => Number.isInteger(value) && (value as number) >= 0;
const NAMESPACE_FIELDS: Record<string, FieldCheck> = { id: isString, secret: isString, fib: isCount };
const SEGMENT_FIELDS: Record<string, FieldCheck> = {
  slots: isCount,
  arenaPages: isCount,
  highWatermark: isCount,
  maxSegments: isCount,
};
const FIELDS: Record<string, FieldCheck> = {
  runtimeDir: isString,
  spinUs: isCount,
  namespaces: (value) => Array.isArray(value),
  segments: (value) => typeof value === 'object' && value !== null,
};

/** Checks a configuration text. Throws an Error that names the field. */
export function readStackConfig(text: string): Partial<HostStackOptions> {
  const config = JSON.parse(text) as Partial<HostStackOptions>;
  checkFields('', config, FIELDS);
  for (const [i, namespace] of (config.namespaces ?? []).entries()) checkFields(`namespaces[${i}].`, namespace, NAMESPACE_FIELDS);
  if (config.segments !== undefined) checkFields('segments.', config.segments, SEGMENT_FIELDS);
  return config;
}

function checkFields(path: string, value: unknown, fields: Record<string, FieldCheck>): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${path || 'configuration'} is not an object`);
  for (const [name, field] of Object.entries(value)) {
    if (!Object.hasOwn(fields, name)) throw new Error(`unknown field ${path}${name}; known: ${Object.keys(fields).join(', ')}`);
    if (!fields[name](field)) throw new Error(`${path}${name} has an invalid value: ${JSON.stringify(field)}`);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      config: { type: 'string', short: 'c' },
      'runtime-dir': { type: 'string' },
      json: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  });
  const runtimeDir = values['runtime-dir'];
  if (positionals[0] === 'ctl') {
    process.exitCode = await runControl(runtimeDir ?? defaultRuntimeDir(), positionals.slice(1).join(' '), values.json);
    return;
  }
  const stack = runStack({ configFile: values.config, runtimeDir });
  process.stdout.write(`stack ${stack.generation} listens at ${stack.socketPath()}\n`);
}

if (import.meta.main) await main();
