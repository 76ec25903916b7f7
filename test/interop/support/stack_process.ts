/** `sluice stack` as a process that can be killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { closeAtEnd } from '../../support/proxy_process.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));

export class StackProcess {
  readonly runtimeDir: string;
  private readonly args: readonly string[];
  private readonly under: readonly string[];
  private child: ChildProcess | null = null;

  constructor(args: readonly string[] = [], under: readonly string[] = []) {
    this.runtimeDir = mkdtempSync(join(tmpdir(), 'sluice-stack-'));
    this.args = args;
    this.under = under;
    closeAtEnd(() => {
      this.child?.kill('SIGKILL');
      rmSync(this.runtimeDir, { recursive: true, force: true });
    });
  }

  get pid(): number {
    return this.child?.pid ?? -1;
  }

  async start(): Promise<this> {
    const flags = ['--disable-warning=ExperimentalWarning', MAIN, 'stack', '--runtime-dir', this.runtimeDir, ...this.args];
    const command = [...this.under, process.execPath, ...flags];
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    this.child = child;
    const ended = once(child, 'exit').then(() => {
      throw new Error('the stack did not start');
    });
    await Promise.race([once(child.stdout!, 'data'), ended]);
    ended.catch(() => {});
    child.stdout!.resume();
    return this;
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child === null) return;
    const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : null;
    child.kill(signal);
    await exited;
  }

  async close(): Promise<void> {
    await this.kill('SIGTERM');
    rmSync(this.runtimeDir, { recursive: true, force: true });
  }
}
