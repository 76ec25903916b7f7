/**
 * A plugin in a thread of its own, for modules that are not trusted: a call that takes longer than its budget ends the thread, and only that
 * plugin fails. Callbacks are asynchronous here: the caller pauses its stream until the outcome comes.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import type { FailState } from '../abi/enums.ts';
import { LogLevel, Status } from '../abi/enums.ts';
import type { ForeignResult, HostEnvironment, HostTimer } from '../host/environment.ts';
import { NOT_SERIALIZABLE, type PropertyValue, serializeProperty } from '../host/property_value.ts';
import { WasmError } from '../host/wasm.ts';
import { IsolatedCallouts } from './isolated_callouts.ts';
import {
  ANSWER_BYTES,
  type CallKind,
  type CallMessage,
  type ChannelInit,
  CONTROL_BYTES,
  type FromVm,
  type Outcome,
  type Pairs,
  type Question,
  type StreamAction,
  type ToVm,
  Word,
} from './protocol.ts';

export interface IsolatedLimits {
  /** Wall-clock time that one call of the module may take. */
  readonly callBudgetMs: number;
}

/** What runs in the thread. */
export interface IsolatedSpec {
  /** Its program, which speaks `protocol.ts`. */
  readonly entry: URL;
  readonly name: string;
  /** What the program gets besides its channel. */
  readonly data: object;
  readonly env: NodeJS.ProcessEnv;
  /** JavaScript heap of the thread. */
  readonly heapMb: number;
  /** How long it may take to start; more than its calls, since the thread has to. */
  readonly startMs: number;
  /** Its code may run at any time (promises, timers): the thread must go on taking messages, not only return from calls. */
  readonly heartbeat: boolean;
}

export interface IsolatedEnds {
  /** Nobody uses it any more. */
  released(): void;
  /** Its thread is gone. */
  exited(): void;
}

/** A call before the module has started may take this long: the engine compiles in it. */
const START_CALL_MS = 2000;
/** A look at a thread that has nothing to do. */
const IDLE_LOOK_MS = 1000;

/** The caller's side of a stream. */
export interface IsolatedStreamHost {
  onOutcome(outcome: Outcome, kind: CallKind): void;
  onAction(action: StreamAction): void;
  onVmFailed(): void;
  property(path: string): PropertyValue;
  setProperty(path: string, value: Uint8Array): Status;
  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined;
}

export class IsolatedInstance {
  failState: FailState = 'Ok';
  failMessage = '';
  abiVersion = '';
  /** Exports that the module has. */
  callbacks: ReadonlySet<string> = new Set();
  /** What it was loaded from, as far as the thread tells. */
  files: readonly string[] = [];
  private readonly environment: HostEnvironment;
  private readonly limits: IsolatedLimits;
  private readonly thread: Worker;
  private readonly port: MessagePort;
  private readonly words: Int32Array;
  private readonly answer: Uint8Array;
  private readonly streams = new Map<number, IsolatedStreamHost>();
  private readonly callouts: IsolatedCallouts;
  private readonly failCallbacks = new Set<() => void>();
  private readonly watchdog: HostTimer;
  private lastRunning = 0;
  private runningSince = 0;
  private nextStream = 1;
  private references = 1;
  private started = false;
  private readonly ends: IsolatedEnds;
  private released = false;
  private startCallback: ((error: WasmError | null) => void) | null = null;
  private readonly spec: IsolatedSpec;
  private readonly startedAt: number;
  /** With a heartbeat: how many messages the thread had taken at the last look, and when that last changed. */
  private progress = 0;
  private progressAt = 0;

  /**
   * Waits until the module has started; throws WasmError when it does not in time, or at all. In place of one that ran (`instead`) it does not
   * wait: calls wait in its queue, and `onStarted` tells.
   */
  constructor(
    spec: IsolatedSpec,
    environment: HostEnvironment,
    limits: IsolatedLimits,
    ends: IsolatedEnds,
    instead: { readonly callbacks: ReadonlySet<string> } | null = null,
  ) {
    this.spec = spec;
    this.environment = environment;
    this.limits = limits;
    this.ends = ends;
    this.callouts = new IsolatedCallouts(environment, (message) => this.post(message));
    const control = new SharedArrayBuffer(CONTROL_BYTES + ANSWER_BYTES);
    this.words = new Int32Array(control, 0, CONTROL_BYTES / 4);
    this.answer = new Uint8Array(control, CONTROL_BYTES);
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    const channel: ChannelInit = { control, port: port2, logLevel: environment.logLevel };
    this.thread = new Worker(spec.entry, {
      workerData: { ...spec.data, ...channel },
      transferList: [port2],
      name: spec.name,
      resourceLimits: { maxOldGenerationSizeMb: spec.heapMb, maxYoungGenerationSizeMb: 8 },
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env: spec.env,
    });
    this.thread.unref();
    this.watchdog = environment.createTimer(() => this.watch());
    this.thread.on('exit', () => {
      if (!this.released) this.fail('RuntimeError', 'the thread ended');
      this.ends.exited();
    });
    this.startedAt = performance.now();
    if (instead === null) this.awaitStart();
    else this.callbacks = instead.callbacks;
    this.port.on('message', (message: FromVm) => this.receive(message));
    this.port.unref();
    this.thread.on('error', (error: Error) => this.fail('RuntimeError', `the thread ended: ${error.message}`));
    this.watchdog.enableTimer(limits.callBudgetMs / 4);
  }

  /** Nothing else can be done before the module has started: its messages are taken here. */
  private awaitStart(): void {
    const end = performance.now() + this.spec.startMs;
    const { port } = this;
    let busySince = 0;
    while (!this.started) {
      const seen = Atomics.load(this.words, Word.Signal);
      for (let next = receiveMessage(port); next !== undefined; next = receiveMessage(port)) this.receive(next);
      if (this.started) return;
      if (this.failed) break;
      const now = performance.now();
      if (Atomics.load(this.words, Word.Running) === 0) busySince = now;
      else if (busySince === 0) busySince = now;
      const overBudget =
        now - busySince > Math.max(this.limits.callBudgetMs, START_CALL_MS) &&
        busySince !== 0 &&
        Atomics.load(this.words, Word.Running) !== 0;
      if (overBudget || now > end) {
        this.fail('RuntimeError', overBudget ? this.overBudgetText() : 'the module did not start in time');
        break;
      }
      Atomics.wait(this.words, Word.Signal, seen, 10);
    }
    throw new WasmError(this.failState, this.failMessage);
  }

  private overBudgetText(): string {
    return `a call took longer than its budget of ${this.limits.callBudgetMs} ms`;
  }

  get failed(): boolean {
    return this.failState !== 'Ok';
  }

  retain(): void {
    this.references++;
  }

  /** The last one ends the plugin: it is told, and then its thread goes. */
  release(): void {
    if (--this.references > 0) return;
    this.released = true;
    this.ends.released();
    if (this.failed) return;
    this.post({ type: 'shutdown' });
    const timer = this.environment.createTimer(() => void this.thread.terminate());
    timer.enableTimer(this.limits.callBudgetMs * 4);
    this.watchdog.disableTimer();
  }

  /** Called once, with null when it has started, or with why it has not. */
  onStarted(callback: (error: WasmError | null) => void): void {
    this.startCallback = callback;
  }

  addFailCallback(callback: () => void): void {
    this.failCallbacks.add(callback);
  }

  removeFailCallback(callback: () => void): void {
    this.failCallbacks.delete(callback);
  }

  // Streams.

  openStream(host: IsolatedStreamHost): number {
    const id = this.nextStream++;
    this.streams.set(id, host);
    if (this.streams.size === 1 && this.spec.heartbeat) this.lookAgain(this.limits.callBudgetMs / 4);
    return id;
  }

  call(message: CallMessage): void {
    this.post(message);
  }

  closeStream(stream: number, request: Pairs | null, response: Pairs | null, trailers: Pairs | null): void {
    if (!this.streams.delete(stream) || this.failed) return;
    this.post({ type: 'end', stream, request, response, trailers });
  }

  private post(message: ToVm): void {
    if (!this.failed) this.port.postMessage(message);
  }

  // The watchdog.

  private watch(): void {
    if (this.failed) return;
    const now = performance.now();
    if (!this.started) {
      if (now - this.startedAt > this.spec.startMs) this.fail('RuntimeError', 'the module did not start in time');
      else this.lookAgain(this.limits.callBudgetMs / 4);
      return;
    }
    if (this.spec.heartbeat) {
      this.watchProgress(now);
      return;
    }
    const running = Atomics.load(this.words, Word.Running);
    if (running === 0 || running !== this.lastRunning) {
      this.lastRunning = running;
      this.runningSince = now;
    } else if (now - this.runningSince >= this.limits.callBudgetMs) {
      this.fail('RuntimeError', this.overBudgetText());
      return;
    }
    this.lookAgain(this.limits.callBudgetMs / 4);
  }

  private lookAgain(afterMs: number): void {
    this.watchdog.enableTimer(Math.max(1, afterMs));
  }

  /** There is always a message under way to the thread: when none of them is taken for its budget, it does not come back. */
  private watchProgress(now: number): void {
    const progress = Atomics.load(this.words, Word.Progress);
    if (progress !== this.progress || this.progressAt === 0) {
      this.progress = progress;
      this.progressAt = now;
      this.post({ type: 'ping' });
    } else if (now - this.progressAt >= this.limits.callBudgetMs) {
      this.fail('RuntimeError', this.overBudgetText());
      return;
    }
    this.lookAgain(this.streams.size > 0 ? this.limits.callBudgetMs / 4 : IDLE_LOOK_MS);
  }

  private fail(state: FailState, message: string): void {
    if (this.failed) return;
    this.failState = state;
    this.failMessage = message;
    this.watchdog.disableTimer();
    this.environment.log(LogLevel.Error, this.spec.heartbeat ? message : `Wasm VM failed ${message}`);
    // Waiting for an answer that never comes would keep the thread.
    void this.thread.terminate();
    this.port.close();
    this.callouts.cancelAll();
    this.environment.shared.removeListener(this.onQueueFilled);
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const callback of [...this.failCallbacks]) callback();
    this.startCallback?.(new WasmError(state, message));
    this.startCallback = null;
    for (const stream of streams) stream.onVmFailed();
  }

  // What the VM's thread says.

  private receive(message: FromVm): void {
    if (this.failed) return;
    switch (message.type) {
      case 'ready':
        this.callbacks = new Set(message.callbacks);
        this.files = message.files ?? [];
        this.abiVersion = message.abiVersion ?? '';
        this.started = true;
        this.startCallback?.(null);
        this.startCallback = null;
        break;
      case 'failed':
        this.fail(message.state as FailState, message.message);
        break;
      case 'outcome':
        this.streams.get(message.stream)?.onOutcome(message.outcome, message.kind);
        break;
      case 'action':
        this.streams.get(message.stream)?.onAction(message.action);
        break;
      case 'question':
        this.reply(message.question);
        break;
      case 'log':
        // Its failure is told once, by this side.
        if (!message.message.startsWith('Wasm VM failed ')) this.environment.log(message.level, message.message);
        break;
      case 'metric':
        this.metric(message);
        break;
      case 'httpCall':
        this.callouts.httpCall(message);
        break;
      case 'cancelHttpCall':
        this.callouts.cancelHttpCall(message.id);
        break;
      case 'grpcStart':
        this.callouts.grpcStart(message);
        break;
      case 'grpcSend':
        this.callouts.grpcSend(message);
        break;
      case 'grpcReset':
        this.callouts.grpcReset(message.id);
        break;
    }
  }

  private metric({ kind, op, name, value }: FromVm & { type: 'metric' }): void {
    const { scope } = this.environment;
    if (kind === 'counter') scope.counter(name).add(value);
    else if (kind === 'histogram') scope.histogram(name, 'unspecified').recordValue(value);
    else scope.gauge(name)[op](value);
  }

  private readonly onQueueFilled = (token: number): void => this.post({ type: 'queue', token });

  private reply(question: Question): void {
    const { shared, callouts, scope } = this.environment;
    switch (question.ask) {
      case 'property': {
        const host = this.streams.get(question.stream);
        const value = host === undefined ? this.environment.property(question.path) : host.property(question.path);
        const bytes = value === undefined || value === NOT_SERIALIZABLE ? null : serializeProperty(value);
        this.respond(value === undefined ? Status.NotFound : bytes === null ? Status.SerializationFailure : Status.Ok, bytes);
        break;
      }
      case 'setProperty':
        this.respond(this.streams.get(question.stream)?.setProperty(question.path, question.value) ?? Status.NotFound);
        break;
      case 'hasCluster':
        this.respond(Status.Ok, null, callouts?.hasCluster(question.name) === true ? 1 : 0);
        break;
      case 'getData': {
        const found = shared.getData(question.vmId, question.key);
        this.respond(found === null ? Status.NotFound : Status.Ok, found?.value ?? null, found?.cas ?? 0);
        break;
      }
      case 'setData': {
        const result = shared.setData(question.vmId, question.key, question.value, question.cas);
        this.respond(result === 'ok' ? Status.Ok : result === 'cas_mismatch' ? Status.CasMismatch : Status.InternalFailure);
        break;
      }
      case 'registerQueue':
        this.respond(Status.Ok, null, shared.registerQueue(question.vmId, question.name, this.onQueueFilled));
        break;
      case 'resolveQueue':
        this.respond(Status.Ok, null, shared.resolveQueue(question.vmId, question.name));
        break;
      case 'enqueue': {
        const result = shared.enqueue(question.token, question.data);
        this.respond(result === 'ok' ? Status.Ok : result === 'unknown' ? Status.NotFound : Status.InternalFailure);
        break;
      }
      case 'dequeue': {
        const item = shared.dequeue(question.token);
        if (typeof item === 'string') this.respond(item === 'empty' ? Status.Empty : Status.NotFound);
        else this.respond(Status.Ok, item);
        break;
      }
      case 'metric': {
        const bytes = new Uint8Array(8);
        const value = question.kind === 'counter' ? scope.counter(question.name).value : scope.gauge(question.name).value;
        new DataView(bytes.buffer).setFloat64(0, value, true);
        this.respond(Status.Ok, bytes);
        break;
      }
      case 'foreign': {
        const { name, args } = question;
        const found =
          this.streams.get(question.stream)?.foreignFunction(name, args) ?? this.environment.foreignFunction(name, args);
        this.respond(found?.status ?? Status.NotFound, found?.result ?? null, found === undefined ? 0 : 1);
        break;
      }
    }
  }

  private respond(status: number, bytes: Uint8Array | null = null, extra = 0): void {
    const { words } = this;
    const fits = bytes === null || bytes.length <= this.answer.length;
    if (fits && bytes !== null) this.answer.set(bytes);
    words[Word.AnswerStatus] = fits ? status : Status.InternalFailure;
    words[Word.AnswerLength] = fits ? (bytes?.length ?? 0) : 0;
    words[Word.AnswerExtra] = extra;
    Atomics.store(words, Word.Answered, 1);
    Atomics.notify(words, Word.Answered);
  }
}

/** The next message of a worker without going back to the event loop. */
function receiveMessage(port: MessagePort): FromVm | undefined {
  return receiveMessageOnPort(port)?.message as FromVm | undefined;
}
