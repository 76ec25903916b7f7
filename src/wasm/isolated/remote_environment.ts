/** What a host in an isolated VM's thread stands on: everything but time is the dispatcher's thread's, behind the channel. */
import type { Counter, Gauge, Histogram, Scope, TextReadout } from '../../core/stats/stats.ts';
import { Status } from '../abi/enums.ts';
import type {
  Callouts,
  ForeignResult,
  GrpcCallbacks,
  HostEnvironment,
  HostTimer,
  HttpCallCallbacks,
} from '../host/environment.ts';
import { PairMap } from '../host/header_map.ts';
import { NOT_SERIALIZABLE, type PropertyValue } from '../host/property_value.ts';
import type { QueueListener, SharedDataValue, SharedState } from '../shared/shared_state.ts';
import { ask, init, say } from './channel.ts';
import { pairMap, type ToVm } from './protocol.ts';

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

  /** Counted in the other thread, which knows of the end of this one in any case. */
  retain(): void {}

  release(): void {}

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

export class RemoteEnvironment implements HostEnvironment {
  readonly scope: Scope = new RemoteScope();
  readonly shared = new RemoteShared();
  private readonly httpCalls = new Map<number, HttpCallCallbacks>();
  private readonly grpcCalls = new Map<number, GrpcCallbacks>();
  private nextCall = 1;
  readonly logLevel = init.logLevel;
  readonly callouts: Callouts = {
    hasCluster: (name) => ask({ ask: 'hasCluster', name }).extra !== 0,
    httpCall: (request, callbacks) => {
      const id = this.nextCall++;
      this.httpCalls.set(id, callbacks);
      say({ type: 'httpCall', id, request });
      return {
        cancel: () => {
          this.httpCalls.delete(id);
          say({ type: 'cancelHttpCall', id });
        },
      };
    },
    grpcStream: (request, callbacks) => {
      const id = this.nextCall++;
      this.grpcCalls.set(id, callbacks);
      say({ type: 'grpcStart', id, request });
      return {
        send: (message, end) => say({ type: 'grpcSend', id, message, end }),
        close: () => say({ type: 'grpcSend', id, message: null, end: true }),
        reset: () => {
          this.grpcCalls.delete(id);
          say({ type: 'grpcReset', id });
        },
      };
    },
  };

  /** What the other thread has to say about a call-out or a queue. */
  receive(message: ToVm & { type: 'httpAnswer' | 'grpcEvent' | 'queue' }): void {
    switch (message.type) {
      case 'httpAnswer': {
        const callbacks = this.httpCalls.get(message.id);
        this.httpCalls.delete(message.id);
        if (message.headers === null) callbacks?.onFailure();
        else callbacks?.onResponse(new PairMap(message.headers), message.body, pairMap(message.trailers));
        break;
      }
      case 'grpcEvent': {
        const callbacks = this.grpcCalls.get(message.id);
        const { event } = message;
        if (event.kind === 'initialMetadata') callbacks?.onInitialMetadata(new PairMap(event.pairs));
        else if (event.kind === 'message') callbacks?.onMessage(event.bytes);
        else if (event.kind === 'trailingMetadata') callbacks?.onTrailingMetadata(new PairMap(event.pairs));
        else {
          this.grpcCalls.delete(message.id);
          callbacks?.onClose(event.status, event.message);
        }
        break;
      }
      case 'queue':
        this.shared.listeners.get(message.token)?.(message.token);
        break;
    }
  }

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

export function propertyOf(stream: number, path: string): PropertyValue {
  const { status, bytes } = ask({ ask: 'property', stream, path });
  if (status === Status.Ok) return bytes;
  return status === Status.NotFound ? undefined : NOT_SERIALIZABLE;
}

export function foreignOf(stream: number, name: string, args: Uint8Array): ForeignResult | undefined {
  const { status, bytes, extra } = ask({ ask: 'foreign', stream, name, args });
  return extra === 0 ? undefined : { status, result: bytes };
}
