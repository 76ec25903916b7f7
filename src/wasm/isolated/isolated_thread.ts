/**
 * The thread of an isolated VM: the whole host with one plugin, whose streams are copies of what the dispatcher's thread sends. It has no
 * descriptors of its own and may be ended at any moment.
 */
import { workerData } from 'node:worker_threads';
import type { Counter, Gauge, Histogram, Scope, TextReadout } from '../../core/stats/stats.ts';
import { Status } from '../abi/enums.ts';
import { ByteBuffer } from '../host/buffer.ts';
import type { LocalResponse } from '../host/context.ts';
import type { Callouts, ForeignResult, HostEnvironment, HostTimer, HttpCallCallbacks } from '../host/environment.ts';
import { PairMap } from '../host/header_map.ts';
import { HttpContext, type HttpStreamHost } from '../host/http_context.ts';
import { NOT_SERIALIZABLE, type PropertyValue } from '../host/property_value.ts';
import { RootContext } from '../host/root_context.ts';
import { Wasm } from '../host/wasm.ts';
import type { QueueListener, SharedDataValue, SharedState } from '../shared/shared_state.ts';
import { compileCode } from '../vm/compiled_code.ts';
import { V8Vm } from '../vm/v8/v8_vm.ts';
import {
  CONTROL_BYTES,
  type FromVm,
  type IsolatedInit,
  type Outcome,
  type Pairs,
  type Question,
  type ToVm,
  Word,
} from './protocol.ts';

const init = workerData as IsolatedInit;
const { port } = init;
const words = new Int32Array(init.control);
const answer = new Uint8Array(init.control, CONTROL_BYTES);

function say(message: FromVm): void {
  port.postMessage(message);
  Atomics.add(words, Word.Signal, 1);
  Atomics.notify(words, Word.Signal);
}

interface Answer {
  readonly status: number;
  readonly bytes: Uint8Array;
  readonly extra: number;
}

/** Waits for the dispatcher's thread to answer. */
function ask(question: Question): Answer {
  Atomics.store(words, Word.Answered, 0);
  say({ type: 'question', question });
  Atomics.wait(words, Word.Answered, 0);
  return { status: words[Word.AnswerStatus], bytes: answer.slice(0, words[Word.AnswerLength]), extra: words[Word.AnswerExtra] };
}

/** Stats: what is added goes to the other thread, values are asked for. */
class RemoteScope implements Scope {
  readonly prefix: string;

  constructor(prefix = '') {
    this.prefix = prefix;
  }

  scope(prefix: string): Scope {
    return new RemoteScope(this.prefix + prefix);
  }

  private value(kind: 'counter' | 'gauge', name: string): number {
    return new DataView(ask({ ask: 'metric', kind, name }).bytes.buffer).getFloat64(0, true);
  }

  counter(own: string): Counter {
    const name = this.prefix + own;
    const add = (value: number): void => say({ type: 'metric', kind: 'counter', op: 'add', name, value });
    const read = (): number => this.value('counter', name);
    return {
      name,
      inc: () => add(1),
      add,
      get value() {
        return read();
      },
    };
  }

  gauge(own: string): Gauge {
    const name = this.prefix + own;
    const change = (op: 'add' | 'sub' | 'set', value: number): void => say({ type: 'metric', kind: 'gauge', op, name, value });
    const read = (): number => this.value('gauge', name);
    return {
      name,
      inc: () => change('add', 1),
      dec: () => change('sub', 1),
      add: (value) => change('add', value),
      sub: (value) => change('sub', value),
      set: (value) => change('set', value),
      get value() {
        return read();
      },
    };
  }

  histogram(own: string): Histogram {
    const name = this.prefix + own;
    return { name, recordValue: (value) => say({ type: 'metric', kind: 'histogram', op: 'add', name, value }) };
  }

  textReadout(): TextReadout {
    throw new Error('modules have no text readouts');
  }
}

class RemoteShared implements SharedState {
  readonly listeners = new Map<number, QueueListener>();

  getData(vmId: string, key: Uint8Array): SharedDataValue | null {
    const { status, bytes, extra } = ask({ ask: 'getData', vmId, key });
    return status === Status.Ok ? { value: bytes, cas: extra >>> 0 } : null;
  }

  setData(vmId: string, key: Uint8Array, value: Uint8Array, cas: number): 'ok' | 'cas_mismatch' | 'full' {
    const { status } = ask({ ask: 'setData', vmId, key, value, cas });
    return status === Status.Ok ? 'ok' : status === Status.CasMismatch ? 'cas_mismatch' : 'full';
  }

  registerQueue(vmId: string, name: Uint8Array, listener: QueueListener): number {
    const token = ask({ ask: 'registerQueue', vmId, name }).extra;
    if (token !== 0) this.listeners.set(token, listener);
    return token;
  }

  resolveQueue(vmId: string, name: Uint8Array): number {
    return ask({ ask: 'resolveQueue', vmId, name }).extra;
  }

  enqueue(token: number, data: Uint8Array): 'ok' | 'unknown' | 'full' {
    const { status } = ask({ ask: 'enqueue', token, data });
    return status === Status.Ok ? 'ok' : status === Status.NotFound ? 'unknown' : 'full';
  }

  dequeue(token: number): Uint8Array | 'unknown' | 'empty' {
    const { status, bytes } = ask({ ask: 'dequeue', token });
    return status === Status.Ok ? bytes : status === Status.Empty ? 'empty' : 'unknown';
  }

  removeListener(listener: QueueListener): void {
    for (const [token, own] of this.listeners) if (own === listener) this.listeners.delete(token);
  }
}

const httpCalls = new Map<number, HttpCallCallbacks>();
let nextHttpCall = 1;

class RemoteEnvironment implements HostEnvironment {
  readonly scope: Scope = new RemoteScope();
  readonly shared = new RemoteShared();
  readonly logLevel = init.logLevel;
  readonly callouts: Callouts = {
    hasCluster: (name) => ask({ ask: 'hasCluster', name }).extra !== 0,
    httpCall: (request, callbacks) => {
      const id = nextHttpCall++;
      httpCalls.set(id, callbacks);
      say({ type: 'httpCall', id, request });
      return {
        cancel: () => {
          httpCalls.delete(id);
          say({ type: 'cancelHttpCall', id });
        },
      };
    },
    grpcStream: () => null,
  };

  log(level: number, message: string): void {
    say({ type: 'log', level, message });
  }

  createTimer(callback: () => void): HostTimer {
    let timer: NodeJS.Timeout | null = null;
    return {
      enableTimer: (delayMs) => {
        if (timer !== null) clearTimeout(timer);
        timer = setTimeout(callback, delayMs);
      },
      disableTimer: () => {
        if (timer !== null) clearTimeout(timer);
        timer = null;
      },
    };
  }

  post(callback: () => void): void {
    setImmediate(callback);
  }

  systemTimeNs(): bigint {
    return BigInt(Date.now()) * 1_000_000n;
  }

  monotonicNs(): bigint {
    return process.hrtime.bigint();
  }

  property(path: string): PropertyValue {
    return propertyOf(0, path);
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return foreignOf(0, name, args);
  }
}

function propertyOf(stream: number, path: string): PropertyValue {
  const { status, bytes } = ask({ ask: 'property', stream, path });
  if (status === Status.Ok) return bytes;
  return status === Status.NotFound ? undefined : NOT_SERIALIZABLE;
}

function foreignOf(stream: number, name: string, args: Uint8Array): ForeignResult | undefined {
  const { status, bytes, extra } = ask({ ask: 'foreign', stream, name, args });
  return extra === 0 ? undefined : { status, result: bytes };
}

/** A stream whose messages are copies; what the module wants done with it is said to the other thread. */
class RemoteStream implements HttpStreamHost {
  readonly id: number;
  readonly context: HttpContext;
  private requestHeaders: PairMap | null = null;
  private addedTrailers: PairMap | null = null;

  constructor(id: number, root: RootContext) {
    this.id = id;
    this.context = new HttpContext(root, this);
    this.context.create(root);
  }

  call(message: ToVm & { type: 'call' }): Outcome {
    const { kind, end } = message;
    const map = message.pairs === null ? null : new PairMap(message.pairs);
    const before = map === null ? '' : JSON.stringify(map.pairs);
    const body = message.body === null ? null : new ByteBuffer(message.body);
    this.addedTrailers = null;
    let action: number;
    switch (kind) {
      case 'requestHeaders':
        this.requestHeaders = map;
        action = this.context.onRequestHeaders(map as PairMap, end);
        break;
      case 'requestBody':
        action = this.context.onRequestBody(body as ByteBuffer, end);
        this.context.requestBody = null;
        break;
      case 'requestTrailers':
        action = this.context.onRequestTrailers(map as PairMap);
        break;
      case 'responseHeaders':
        action = this.context.onResponseHeaders(map as PairMap, end);
        break;
      case 'responseBody':
        action = this.context.onResponseBody(body as ByteBuffer, end);
        this.context.responseBody = null;
        break;
      default:
        action = this.context.onResponseTrailers(map as PairMap);
        break;
    }
    if (action === 0) {
      if (kind === 'requestHeaders') this.context.requestHeaders = null;
      if (kind === 'responseHeaders') this.context.responseHeaders = null;
    }
    return {
      action,
      pairs: map !== null && JSON.stringify(map.pairs) !== before ? map.pairs : null,
      body: body?.changed === true ? body.bytes : null,
      trailers: (this.addedTrailers as PairMap | null)?.pairs ?? null,
    };
  }

  private act(action: (FromVm & { type: 'action' })['action']): void {
    say({ type: 'action', stream: this.id, action });
  }

  continueRequest(): void {
    this.act({ do: 'continueRequest', requestHeaders: this.requestHeaders?.pairs });
  }

  continueResponse(): void {
    this.act({ do: 'continueResponse' });
  }

  resetStream(): void {
    this.act({ do: 'reset' });
  }

  sendLocalReply(response: LocalResponse): void {
    this.context.forgetReply();
    this.act({ do: 'reply', response });
  }

  clearRouteCache(): void {
    this.act({ do: 'clearRouteCache' });
  }

  /** Bodies are whole here, and gone when their callback has returned. */
  heldRequestBody(): null {
    return null;
  }

  heldResponseBody(): null {
    return null;
  }

  addRequestTrailers(): PairMap {
    this.addedTrailers = new PairMap();
    return this.addedTrailers;
  }

  addResponseTrailers(): PairMap {
    this.addedTrailers = new PairMap();
    return this.addedTrailers;
  }

  property(path: string): PropertyValue {
    return propertyOf(this.id, path);
  }

  setProperty(path: string, value: Uint8Array): Status {
    return ask({ ask: 'setProperty', stream: this.id, path, value }).status as Status;
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    if (name === 'clear_route_cache') {
      this.clearRouteCache();
      return { status: Status.Ok };
    }
    return foreignOf(this.id, name, args);
  }
}

const environment = new RemoteEnvironment();
const streams = new Map<number, RemoteStream>();

function start(): RootContext | null {
  try {
    const wasm = new Wasm(new V8Vm(compileCode(init.code, init.maxMemoryPages)), environment, init.options);
    wasm.watch = words;
    wasm.addFailCallback(() => say({ type: 'failed', state: wasm.failState, message: wasm.failMessage }));
    wasm.start();
    const root = new RootContext(wasm, init.plugin);
    root.start();
    const callbacks = Object.entries(wasm.on).flatMap(([name, fn]) => (fn === null ? [] : [name]));
    say({ type: 'ready', callbacks, abiVersion: wasm.abiVersion });
    return root;
  } catch (error) {
    const state = (error as { failState?: string }).failState ?? 'UnableToInitializeCode';
    say({ type: 'failed', state, message: error instanceof Error ? error.message : String(error) });
    return null;
  }
}

const root = start();
if (root !== null) port.on('message', (message: ToVm) => receive(root, message));

function receive(plugin: RootContext, message: ToVm): void {
  switch (message.type) {
    case 'call': {
      let stream = streams.get(message.stream);
      if (stream === undefined) {
        stream = new RemoteStream(message.stream, plugin);
        streams.set(message.stream, stream);
      }
      const outcome = stream.call(message);
      if (!plugin.wasm.failed) say({ type: 'outcome', stream: message.stream, outcome });
      break;
    }
    case 'end': {
      const stream = streams.get(message.stream);
      streams.delete(message.stream);
      stream?.context.end(mapOf(message.request), mapOf(message.response), mapOf(message.trailers));
      break;
    }
    case 'httpAnswer': {
      const callbacks = httpCalls.get(message.id);
      httpCalls.delete(message.id);
      if (message.headers === null) callbacks?.onFailure();
      else callbacks?.onResponse(new PairMap(message.headers), message.body, mapOf(message.trailers));
      break;
    }
    case 'queue':
      environment.shared.listeners.get(message.token)?.(message.token);
      break;
    case 'shutdown':
      plugin.shutdown();
      if (plugin.wasm.roots.size === 0) port.close();
      break;
  }
}

function mapOf(pairs: Pairs | null): PairMap | null {
  return pairs === null ? null : new PairMap(pairs);
}
