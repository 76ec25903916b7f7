/**
 * A thread of a program under `sluice exec`: attaches to the stack at the first socket that wants it, and again after the stack was
 * restarted, when there are servers that wait for it.
 */
import { SysError } from '../../../core/sys/libc.ts';
import { AttachError } from '../attach.ts';
import { VclWorker } from '../worker.ts';
import type { Rule } from './rules.ts';
import { type ExecSettings, effectiveRules, readTicket } from './settings.ts';

const ATTACH_TIMEOUT_MS = 2000;
const RETRY_MS = 50;
const MAX_RETRY_MS = 1000;

export interface Restartable {
  restart(worker: VclWorker): void;
}

export class ExecThread {
  readonly rules: readonly Rule[];
  /** A call waits for the stack: what sockets get meanwhile is for later. */
  blocking = false;
  readonly servers = new Set<Restartable>();
  private readonly settings: ExecSettings;
  private current: VclWorker | null = null;
  private retryMs = RETRY_MS;
  private retry: NodeJS.Timeout | null = null;
  private later: (() => void)[] = [];

  constructor(settings: ExecSettings) {
    this.settings = settings;
    this.rules = effectiveRules(settings.rules);
  }

  /** This thread's worker; null while there is no stack. */
  worker(): VclWorker | null {
    if (this.current !== null && !this.current.detached) return this.current;
    this.current = null;
    try {
      const worker = this.attach();
      worker.onDetached = () => this.onDetached(worker);
      worker.useEventLoop();
      this.current = worker;
      this.retryMs = RETRY_MS;
      return worker;
    } catch (error) {
      if (error instanceof SysError || error instanceof AttachError) return null;
      throw error;
    }
  }

  /** Waits for the stack until `done`, for `timeoutMs` at most. */
  block(worker: VclWorker, done: () => boolean, timeoutMs: number): void {
    const deadline = performance.now() + timeoutMs;
    const outer = this.blocking;
    this.blocking = true;
    try {
      while (!done() && !worker.detached && performance.now() < deadline) worker.wait(20);
    } finally {
      this.blocking = outer;
    }
  }

  /** Runs `callback` when no call waits any more. */
  afterBlocking(callback: () => void): void {
    if (this.later.length === 0) {
      setImmediate(() => {
        for (const one of this.later.splice(0)) one();
      });
    }
    this.later.push(callback);
  }

  private attach(): VclWorker {
    const { name, runtimeDir, namespaceId } = this.settings;
    const ticket = readTicket(process.env);
    if (ticket !== null) {
      try {
        return VclWorker.registerBlocking(ticket, ATTACH_TIMEOUT_MS);
      } catch (error) {
        // Its primary has gone, or the stack was restarted: on its own then.
        if (!(error instanceof AttachError || error instanceof SysError)) throw error;
      }
    }
    return VclWorker.attachBlocking(name, { runtimeDir, namespaceId, timeoutMs: ATTACH_TIMEOUT_MS });
  }

  private onDetached(worker: VclWorker): void {
    worker.destroy();
    if (this.current === worker) this.current = null;
    if (this.servers.size > 0) this.attachLater();
  }

  /** Servers keep the process while they wait, as they do while they listen. */
  private attachLater(): void {
    if (this.retry !== null) return;
    this.retry = setTimeout(() => {
      this.retry = null;
      if (this.servers.size === 0) return;
      const worker = this.worker();
      if (worker === null) this.attachLater();
      else for (const server of this.servers) server.restart(worker);
    }, this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, MAX_RETRY_MS);
  }
}
