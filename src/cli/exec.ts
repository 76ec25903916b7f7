/** `sluice exec`: runs a Node program with its TCP sockets on the host stack, unchanged. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { appSocketPath, defaultRuntimeDir } from '../stack/vcl/attach.ts';
import { LIMITS } from '../stack/vcl/preload/limits.ts';
import { type ExecSettings, effectiveRules, encodeSettings, SETTINGS_VARIABLE } from '../stack/vcl/preload/settings.ts';
import { type FlagTable, formatFlags, parseFlags, UsageError } from './flags.ts';

export const EXEC_FLAGS: FlagTable = {
  'runtime-dir': { type: 'string', value: 'dir', help: 'Where the application sockets of the stack are' },
  namespace: { type: 'string', value: 'id', help: 'Namespace of the stack to attach to' },
  name: { type: 'string', value: 'name', help: "How the stack shows the program (default: the program's name)" },
  rule: {
    type: 'string',
    value: 'rule',
    multiple: true,
    help: "Who gets a socket: 'connect|listen ADDRESS[/LENGTH][:PORT[-PORT]] stack|kernel|auto'; the first that matches",
  },
  explain: { type: 'boolean', help: 'Print the rules in effect and what stays with the kernel' },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

/** Runs the program; its exit status. */
export async function execCommand(args: readonly string[]): Promise<number> {
  const at = args.indexOf('--');
  const own = at < 0 ? args : args.slice(0, at);
  const command = at < 0 ? [] : args.slice(at + 1);
  const { values } = parseFlags(own, EXEC_FLAGS);
  if (values.help) {
    process.stdout.write(
      `sluice exec [flags] -- node app.js ...: run a Node program on the host stack\n\n${formatFlags(EXEC_FLAGS)}\n`,
    );
    return 0;
  }
  const settings: ExecSettings = {
    runtimeDir: (values['runtime-dir'] as string | undefined) ?? defaultRuntimeDir(),
    namespaceId: values['namespace'] as string | undefined,
    name: (values['name'] as string | undefined) ?? programName(command),
    rules: (values['rule'] as string[] | undefined) ?? [],
  };
  try {
    effectiveRules(settings.rules);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  if (values.explain) {
    process.stdout.write(explain(settings));
    return 0;
  }
  if (command.length === 0) throw new UsageError('no program: sluice exec [flags] -- node app.js (see sluice exec --help)');
  const path = appSocketPath({ runtimeDir: settings.runtimeDir, namespaceId: settings.namespaceId });
  if (!existsSync(path))
    throw new UsageError(`no stack at ${path}; start one: sluice stack --runtime-dir ${settings.runtimeDir}`);
  return run(command, {
    ...process.env,
    // The preload needs a Node as new as this one.
    PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    [SETTINGS_VARIABLE]: encodeSettings(settings),
    NODE_OPTIONS: nodeOptions(process.env['NODE_OPTIONS']),
  });
}

/** What NODE_OPTIONS must be for a program to run on the stack; for those who start it some other way. */
export function nodeOptions(given = ''): string {
  const source = import.meta.url.endsWith('.ts');
  const preload = fileURLToPath(new URL(`../stack/vcl/preload/preload.${source ? 'ts' : 'js'}`, import.meta.url));
  const quoted = /[\s"\\]/.test(preload) ? `"${preload.replace(/[\\"]/g, '\\$&')}"` : preload;
  return `${given} --disable-warning=ExperimentalWarning --require ${quoted}`.trim();
}

function explain(settings: ExecSettings): string {
  const rules = effectiveRules(settings.rules).map((rule) => `  ${rule.text}\n`);
  const width = Math.max(...LIMITS.map(({ what }) => what.length));
  const limits = LIMITS.map(({ what, instead }) => `  ${what.padEnd(width)}  ${instead}\n`);
  return [
    `stack: ${appSocketPath({ runtimeDir: settings.runtimeDir, namespaceId: settings.namespaceId })}\n\n`,
    `rules (the first that matches):\n${rules.join('')}\n`,
    `not on the host stack, or otherwise than on the kernel's:\n${limits.join('')}\n`,
    `environment: ${SETTINGS_VARIABLE}='${encodeSettings(settings)}' NODE_OPTIONS='${nodeOptions()}'\n`,
  ].join('');
}

function programName(command: readonly string[]): string {
  const script = command.find((word, i) => i > 0 && !word.startsWith('-'));
  return basename(script ?? command[0] ?? 'exec').slice(0, 64);
}

/** Signals go to the program; its end is ours. */
function run(command: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [program, ...args] = command;
  const child = spawn(program, args, { stdio: 'inherit', env });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;
  for (const signal of signals) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(new UsageError(error.code === 'ENOENT' ? `there is no program '${program}'` : error.message));
    });
    child.once('exit', (status, signal) => {
      for (const one of signals) process.removeListener(one, forward);
      resolve(status ?? 128 + constants.signals[signal!]);
    });
  });
}
