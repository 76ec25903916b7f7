/** `sluice stack` and `sluice ctl`: the host stack as a process, and its command line. */
import { readFileSync } from 'node:fs';
import { runControl, runStack } from '../stack/main.ts';
import { defaultRuntimeDir } from '../stack/vcl/attach.ts';
import { type FlagTable, formatFlags, parseFlags, UsageError } from './flags.ts';

const RUNTIME_DIR = { type: 'string', value: 'dir', help: 'Where the application sockets are' } as const;

export const STACK_FLAGS: FlagTable = {
  config: { short: 'c', type: 'string', value: 'file', help: 'Configuration (JSON): runtimeDir, namespaces, segments, spinUs' },
  'runtime-dir': RUNTIME_DIR,
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

export const CTL_FLAGS: FlagTable = {
  json: { type: 'boolean', help: 'Answer as JSON' },
  'runtime-dir': RUNTIME_DIR,
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

/** Runs until SIGINT or SIGTERM; the exit status. */
export async function stackCommand(args: readonly string[]): Promise<number> {
  const { values } = parseFlags(args, STACK_FLAGS);
  if (values.help) {
    process.stdout.write(`sluice stack: run a host stack that applications attach to\n\n${formatFlags(STACK_FLAGS)}\n`);
    return 0;
  }
  const configFile = values.config as string | undefined;
  try {
    if (configFile !== undefined) readFileSync(configFile);
    const stack = runStack({ configFile, runtimeDir: values['runtime-dir'] as string | undefined });
    process.stdout.write(`stack at ${stack.runtimeDir}; sluice ctl show app tells who is attached\n`);
    return 0;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** `sluice ctl COMMAND...`: the words after the flags are the command. */
export async function ctlCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args, CTL_FLAGS, true);
  if (values.help || positionals.length === 0) {
    process.stdout.write(
      `sluice ctl [flags] COMMAND: ask a running stack (show session, show app, show errors, session rule add ...)\n\n${formatFlags(CTL_FLAGS)}\n`,
    );
    return values.help ? 0 : 1;
  }
  return runControl(
    (values['runtime-dir'] as string | undefined) ?? defaultRuntimeDir(),
    positionals.join(' '),
    values.json === true,
  );
}
