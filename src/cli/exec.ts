/**
 * `sluice exec`: runs a program with its TCP sockets on the host stack, unchanged. A Node program (and its threads and children) gets a
 * preload in JavaScript; anything else the preload library, which the machine's C compiler builds on first use.
 */
import { accessSync, closeSync, existsSync, constants as fsConstants, openSync, readSync, realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ldpLibrary } from '../stack/ldp/build.ts';
import { appSocketPath, defaultRuntimeDir } from '../stack/vcl/attach.ts';
import { LIMITS, type Limit, NATIVE_LIMITS } from '../stack/vcl/preload/limits.ts';
import { nativeRules } from '../stack/vcl/preload/rules.ts';
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

/** Becomes the program; an exit status when there is nothing to run. */
export async function execCommand(args: readonly string[]): Promise<number> {
  const at = args.indexOf('--');
  const own = at < 0 ? args : args.slice(0, at);
  const command = at < 0 ? [] : args.slice(at + 1);
  const { values } = parseFlags(own, EXEC_FLAGS);
  if (values.help) {
    process.stdout.write(
      `sluice exec [flags] -- PROGRAM ...: run a program with its TCP sockets on the host stack\n\n${formatFlags(EXEC_FLAGS)}\n`,
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
  const socket = appSocketPath({ runtimeDir: settings.runtimeDir, namespaceId: settings.namespaceId });
  if (!existsSync(socket))
    throw new UsageError(`no stack at ${socket}; start one: sluice stack --runtime-dir ${settings.runtimeDir}`);
  const path = findProgram(command[0]);
  if (path === null) throw new UsageError(`there is no program '${command[0]}'`);
  const program = realpathSync(path);
  if (!isExecutable(program)) throw new UsageError(`${path} is no program: neither ELF nor a script with #!`);
  return run(path, command, isNodeProgram(program) ? nodeEnvironment(settings) : nativeEnvironment(settings, program));
}

function nodeEnvironment(settings: ExecSettings): NodeJS.ProcessEnv {
  return {
    ...process.env,
    // The preload needs a Node as new as this one.
    PATH: `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
    [SETTINGS_VARIABLE]: encodeSettings(settings),
    NODE_OPTIONS: nodeOptions(process.env['NODE_OPTIONS']),
  };
}

/** Throws UsageError when the program cannot have the library, or there is none. */
function nativeEnvironment(settings: ExecSettings, program: string): NodeJS.ProcessEnv {
  if (isStatic(program)) throw new UsageError(`${program} is statically linked: it cannot be moved to the host stack`);
  let library: string;
  try {
    library = ldpLibrary();
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const others = process.env['LD_PRELOAD'];
  return {
    ...process.env,
    LD_PRELOAD: others ? `${library}:${others}` : library,
    LDP_APP_NAME: settings.name,
    SLUICE_LDP_RULES: nativeRules(effectiveRules(settings.rules)),
    SLUICE_RUNTIME_DIR: settings.runtimeDir,
    ...(settings.namespaceId !== undefined && { VCL_APP_NAMESPACE_ID: settings.namespaceId }),
  };
}

/** Its path; null: there is none. `node` is the one that runs this. */
function findProgram(name: string): string | null {
  if (name === 'node') return process.execPath;
  const paths = name.includes('/') ? [name] : (process.env['PATH'] ?? '').split(':').map((directory) => join(directory, name));
  for (const path of paths) {
    try {
      accessSync(path, fsConstants.X_OK);
      return path;
    } catch {
      // The next one.
    }
  }
  return null;
}

/** Node itself, or a script that asks for it (npm, npx ...). */
function isNodeProgram(path: string): boolean {
  if (/^node(js)?([0-9.]*)$/.test(basename(path))) return true;
  const start = readStart(path).toString('latin1');
  return start.startsWith('#!') && /\bnode\b/.test(start.split('\n')[0]);
}

function isExecutable(path: string): boolean {
  const start = readStart(path).toString('latin1', 0, 4);
  return start.startsWith('#!') || start === '\x7fELF';
}

const PT_INTERP = 3;

/** An ELF file (64 bits, little-endian) without an interpreter: nothing is loaded into it. */
function isStatic(path: string): boolean {
  const start = readStart(path);
  if (start.length < 64 || start.readUInt32BE(0) !== 0x7f454c46 || start[4] !== 2 || start[5] !== 1) return false;
  const offset = Number(start.readBigUInt64LE(32));
  const size = start.readUInt16LE(54);
  const count = start.readUInt16LE(56);
  for (let i = 0; i < count && offset + i * size + 4 <= start.length; i++) {
    if (start.readUInt32LE(offset + i * size) === PT_INTERP) return false;
  }
  return true;
}

function readStart(path: string): Buffer {
  const buffer = Buffer.alloc(4096);
  const fd = openSync(path, 'r');
  try {
    return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0));
  } finally {
    closeSync(fd);
  }
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
  return [
    `stack: ${appSocketPath({ runtimeDir: settings.runtimeDir, namespaceId: settings.namespaceId })}\n\n`,
    `rules (the first that matches):\n${rules.join('')}\n`,
    `Node programs, not on the host stack or otherwise than on the kernel's:\n${limitTable(LIMITS)}\n`,
    `other programs:\n${limitTable(NATIVE_LIMITS)}\n`,
    `environment: ${SETTINGS_VARIABLE}='${encodeSettings(settings)}' NODE_OPTIONS='${nodeOptions()}'\n`,
  ].join('');
}

function limitTable(limits: readonly Limit[]): string {
  const width = Math.max(...limits.map(({ what }) => what.length));
  return limits.map(({ what, instead }) => `  ${what.padEnd(width)}  ${instead}\n`).join('');
}

function programName(command: readonly string[]): string {
  const [program = 'exec', ...args] = command;
  const script = basename(program) === 'node' ? args.find((word) => !word.startsWith('-')) : undefined;
  return basename(script ?? program).slice(0, 64);
}

/** Becomes the program: signals, status and the end are its own. Returns only when that was refused. */
function run(program: string, command: readonly string[], env: NodeJS.ProcessEnv): never {
  process.execve!(program, [...command], env as Record<string, string>);
  throw new UsageError(`cannot run ${program}`);
}
