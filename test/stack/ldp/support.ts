/** Native programs on a host stack of the test's own, by LD_PRELOAD. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createHostStack, type EmbeddedHostStack } from '../../../src/stack/index.ts';
import { ldpLibrary } from '../../../src/stack/ldp/build.ts';

export function missing(...programs: string[]): string | false {
  const none = programs.find((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
  return none === undefined ? false : `${none} is not installed`;
}

export const noCompiler = missing(process.env['CC'] ?? 'cc');

export class LdpStack {
  readonly directory: string;
  readonly stack: EmbeddedHostStack;
  readonly env: NodeJS.ProcessEnv;
  private readonly running = new Set<ChildProcess>();

  private constructor(directory: string, stack: EmbeddedHostStack) {
    this.directory = directory;
    this.stack = stack;
    this.env = { ...process.env, LD_PRELOAD: ldpLibrary(directory), SLUICE_RUNTIME_DIR: stack.runtimeDir };
  }

  static async create(options: Parameters<typeof createHostStack>[0] = {}): Promise<LdpStack> {
    return new LdpStack(mkdtempSync(join(tmpdir(), 'sluice-ldp-')), await createHostStack(options));
  }

  /** On the host stack, or (`env` of the caller) elsewhere. */
  start(
    program: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = this.env,
    stdin: 'ignore' | 'pipe' = 'ignore',
  ): ChildProcess {
    const child = spawn(program, args, { env, stdio: [stdin, 'pipe', 'inherit'] });
    this.running.add(child);
    child.once('close', () => this.running.delete(child));
    return child;
  }

  async output(program: string, args: readonly string[], env = this.env): Promise<{ status: number | null; out: string }> {
    const child = this.start(program, args, env);
    const [out, [status]] = await Promise.all([buffer(child.stdout!), once(child, 'close')]);
    return { status: status as number | null, out: String(out) };
  }

  /** Resolves when somebody of the stack listens at the port. */
  async listening(port: number): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const sessions = JSON.parse((await this.stack.command('show session verbose 1', { json: true })).text) as {
        connection: string;
        state: string;
      }[];
      if (sessions.some(({ connection, state }) => state === 'listening' && connection.includes(`:${port}->`))) return;
    }
  }

  async stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'close');
    child.kill(signal);
    await ended;
  }

  async close(): Promise<void> {
    for (const child of this.running) await this.stop(child, 'SIGKILL');
    await this.stack.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
