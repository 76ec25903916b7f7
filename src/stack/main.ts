/**
 * The stack as a process (`sluice stack`), and its command line (`sluice ctl [--json] COMMAND`):
 *
 *     node main.ts [-c FILE] [--runtime-dir DIR]      runs until SIGINT or SIGTERM
 *     node main.ts ctl [--runtime-dir DIR] [--json] COMMAND...
 *
 * FILE is JSON, see `config/stack_config.ts`.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readStackConfig } from './config/stack_config.ts';
import { sendCommand } from './ctl/client.ts';
import { runProbe } from './ctl/probe_client.ts';
import { HostStack, type HostStackOptions } from './host_stack.ts';
import { defaultRuntimeDir } from './vcl/attach.ts';

/** Starts a stack in this thread and stops it on SIGINT and SIGTERM. Returns it; throws when it cannot be started. */
export function runStack(config: Partial<HostStackOptions>): HostStack {
  const stack = new HostStack({ ...config, runtimeDir: config.runtimeDir ?? defaultRuntimeDir() });
  const stop = (): void => stack.close();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  return stack;
}

/** Prints the answer of a stack; returns the exit status. */
export async function runControl(runtimeDir: string, command: string, json: boolean): Promise<number> {
  try {
    const words = command.trim().split(/\s+/);
    const probe = words[0] === 'tcp' && words[1] === 'probe' && words[2] !== 'on' && words[2] !== 'off';
    const result = probe
      ? await runProbe(runtimeDir, words.slice(2), interrupted())
      : await sendCommand(runtimeDir, command, json);
    const text = result.text === '' || result.text.endsWith('\n') ? result.text : `${result.text}\n`;
    (result.ok ? process.stdout : process.stderr).write(text);
    return result.ok ? 0 : 1;
  } catch (error) {
    process.stderr.write(`no stack at ${runtimeDir}: ${error instanceof Error ? error.message : String(error)}\n`);
    return 2;
  }
}

function interrupted(): Promise<void> {
  return new Promise((resolve) => process.once('SIGINT', () => resolve()));
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
  const config = values.config === undefined ? {} : readStackConfig(readFileSync(values.config, 'utf8'));
  const stack = runStack(runtimeDir === undefined ? config : { ...config, runtimeDir });
  process.stdout.write(`stack ${stack.generation} listens at ${stack.socketPath()}\n`);
}

if (import.meta.main) await main();
