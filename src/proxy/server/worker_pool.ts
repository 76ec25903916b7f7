/** The main thread's view of its workers. */
import { Worker } from 'node:worker_threads';
import { threadEnvironment } from '../../core/thread_environment.ts';
import type { PluginStatus } from '../../wasm/plugin/plugin_status.ts';
import { processSharedMemory } from '../../wasm/shared/shared_memory.ts';
import type { ConnectionStatus } from '../network/connection_status.ts';
import type { HostEvent } from '../upstream/host_update.ts';
import type { FromWorker, ToWorker, WorkerInit } from './worker_protocol.ts';

/**
 * The data path allocates a few hundred bytes per request that die at once: a small nursery is collected in a fraction of a millisecond
 * and stays in cache. V8's default grows to 48 MB of resident memory.
 */
const YOUNG_GENERATION_MB = 6;

/** To a question of this thread. */
type Answer = FromWorker & { id: number };

const ANSWER_TIMEOUT_MS = 2000;

export class WorkerPool {
  private readonly workers: { thread: Worker; exited: Promise<void>; drained: boolean }[] = [];
  private readonly onFailure: (message: string) => void;
  /** A worker saw something of a host. */
  onHostEvent: (event: HostEvent) => void = () => {};
  private onDrained: (() => void) | null = null;
  /** What workers say of changes of listeners. */
  onListener: (message: FromWorker & { type: 'listenerChanged' | 'listenerDrained' }) => void = () => {};
  private ending = false;
  private nextQuestion = 1;
  private readonly asked = new Map<number, (answer: Answer) => void>();

  /** `onFailure`: a worker ended or failed although nobody asked it to. */
  constructor(onFailure: (message: string) => void) {
    this.onFailure = onFailure;
    // Made here, so that all workers have the same.
    processSharedMemory();
  }

  get size(): number {
    return this.workers.length;
  }

  /** Starts one worker; resolves when it serves. */
  async start(init: WorkerInit): Promise<void> {
    const thread = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: init,
      name: `worker_${init.index}`,
      env: threadEnvironment(),
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
      execArgv: ['--disable-warning=ExperimentalWarning', ...process.execArgv.filter((flag) => flag.startsWith('--cpu-prof'))],
    });
    const exited = new Promise<void>((resolve) => thread.once('exit', () => resolve()));
    const worker = { thread, exited, drained: false };
    this.workers[init.index] = worker;
    await new Promise<void>((resolve, reject) => {
      thread.on('message', (message: FromWorker) => {
        if (message.type === 'ready') resolve();
        else if (message.type === 'failed') reject(new Error(message.message));
        else if (message.type === 'connections' || message.type === 'plugins') this.asked.get(message.id)?.(message);
        else if (message.type === 'host') this.onHostEvent(message.event);
        else if (message.type === 'listenerChanged' || message.type === 'listenerDrained') this.onListener(message);
        else {
          worker.drained = true;
          if (this.workers.every((w) => w.drained)) this.onDrained?.();
        }
      });
      thread.on('error', (error) => {
        reject(error);
        this.onFailure(`worker ${init.index}: ${error instanceof Error ? error.stack : String(error)}`);
      });
      thread.once('exit', (code) => {
        reject(new Error(`worker ${init.index} ended with ${code}`));
        if (!this.ending) this.onFailure(`worker ${init.index} ended with ${code}`);
      });
    });
  }

  post(message: ToWorker): void {
    for (const worker of this.workers) worker.thread.postMessage(message);
  }

  /** Connections of all workers, at most `most` of each; how many there are. A worker that does not answer in time is left out. */
  async connections(most: number): Promise<{ list: ConnectionStatus[]; total: number }> {
    const answers = await this.askAll((id) => ({ type: 'connections', id, most }), 'connections');
    const list = answers.flatMap((answer) => answer.list);
    list.sort((a, b) => a.worker - b.worker || a.id - b.id);
    return { list, total: answers.reduce((sum, { total }) => sum + total, 0) };
  }

  /** Wasm plugins (and isolated filters) of all workers. */
  async plugins(): Promise<PluginStatus[]> {
    return (await this.askAll((id) => ({ type: 'plugins', id }), 'plugins')).flatMap(({ list }) => list);
  }

  /** The answers of the workers that give one in time. */
  private async askAll<T extends Answer['type']>(question: (id: number) => ToWorker, type: T): Promise<(Answer & { type: T })[]> {
    const answers: (Answer & { type: T })[] = [];
    const ask = (thread: Worker): Promise<void> =>
      new Promise((resolve) => {
        const id = this.nextQuestion++;
        const done = (): void => {
          clearTimeout(timer);
          this.asked.delete(id);
          resolve();
        };
        const timer = setTimeout(done, ANSWER_TIMEOUT_MS);
        this.asked.set(id, (answer) => {
          if (answer.type === type) answers.push(answer as Answer & { type: T });
          done();
        });
        thread.postMessage(question(id));
      });
    await Promise.all(this.workers.map(({ thread }) => ask(thread)));
    return answers;
  }

  postTo(index: number, message: ToWorker): void {
    this.workers[index]?.thread.postMessage(message);
  }

  /** Resolves after `timeoutMs`, or earlier, with `untilEmpty`, when no worker has a connection left. */
  async drain(durationMs: number, strategy: 'gradual' | 'immediate', timeoutMs: number, untilEmpty: boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      // Workers keep the process while they run; when they were told to end meanwhile, the rest of the drain time must not.
      timer.unref();
      if (untilEmpty) {
        this.onDrained = () => {
          clearTimeout(timer);
          resolve();
        };
      }
      this.post({ type: 'drain', durationMs, strategy });
    });
  }

  /** Asks all workers to end, and waits for them. Workers are never terminated: their loop handles must be closed first. */
  async exit(): Promise<void> {
    this.ending = true;
    this.post({ type: 'exit' });
    await Promise.all(this.workers.map((worker) => worker.exited));
  }
}
