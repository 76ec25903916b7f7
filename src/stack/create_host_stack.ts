/**
 * `createHostStack()`: a stack inside this process, in a thread of its own. Applications, in any thread of this process and in other
 * processes of the machine, attach to `runtimeDir`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { createEventfd, ringEventfd } from '../core/sys/eventfd.ts';
import type { CommandResult } from './ctl/commands.ts';
import type { HostStackOptions } from './host_stack.ts';
import type { StackReply, StackRequest } from './stack_worker.ts';

const STOP_TIMEOUT_MS = 2000;

export interface EmbeddedHostStack {
  /** Give it to `appCreate`, or to other processes. */
  readonly runtimeDir: string;
  /** Runs a command as `sluice ctl` does. */
  command(line: string, options?: { json?: boolean }): Promise<CommandResult>;
  /** Detaches all applications and ends the thread. Idempotent. */
  close(): Promise<void>;
  /** Let the process end although the stack runs (the default), or not. */
  ref(): void;
  unref(): void;
}

/** Starts the stack. Rejects when its sockets cannot be made. Without `runtimeDir` it makes a directory and removes it at the end. */
export async function createHostStack(options: Partial<HostStackOptions> = {}): Promise<EmbeddedHostStack> {
  const own = options.runtimeDir === undefined;
  const runtimeDir = options.runtimeDir ?? mkdtempSync(join(tmpdir(), 'sluice-'));
  const stopFd = createEventfd();
  const stopped = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(
    new URL(import.meta.url.endsWith('.ts') ? './stack_worker.ts' : './stack_worker.js', import.meta.url),
    {
      workerData: { options: { ...options, runtimeDir }, stopFd, stopped },
      name: 'host-stack',
    },
  );
  const pending = new Map<number, (result: CommandResult) => void>();
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  let nextId = 1;
  let stopping = false;
  let keepAlive = false;

  const stop = (): void => {
    if (stopping) return;
    stopping = true;
    ringEventfd(stopFd);
  };
  // A thread that is killed with event-loop handles open takes the process down: it is asked, and waited for.
  const onExit = (): void => {
    stop();
    Atomics.wait(stopped, 0, 0, STOP_TIMEOUT_MS);
    if (own) rmSync(runtimeDir, { recursive: true, force: true });
  };

  await new Promise<void>((resolve, reject) => {
    worker.on('message', (reply: StackReply) => {
      if (reply.type === 'ready') resolve();
      else if (reply.type === 'failed') reject(new Error(reply.message));
      else {
        pending.get(reply.id)?.({ ok: reply.ok, text: reply.text });
        pending.delete(reply.id);
        if (pending.size === 0 && !keepAlive) worker.unref();
      }
    });
    worker.once('error', reject);
  });
  process.on('exit', onExit);
  worker.unref();

  return {
    runtimeDir,
    command(line, { json = false } = {}) {
      if (stopping) return Promise.reject(new Error('the stack is closed'));
      const id = nextId++;
      worker.ref();
      worker.postMessage({ type: 'command', id, line, json } satisfies StackRequest);
      return new Promise((resolve) => pending.set(id, resolve));
    },
    async close() {
      stop();
      worker.ref();
      await exited;
      process.removeListener('exit', onExit);
      if (own) rmSync(runtimeDir, { recursive: true, force: true });
    },
    ref() {
      keepAlive = true;
      worker.ref();
    },
    unref() {
      keepAlive = false;
      if (pending.size === 0) worker.unref();
    },
  };
}
