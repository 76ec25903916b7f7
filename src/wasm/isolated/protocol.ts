/**
 * What a dispatcher's thread and the thread of an isolated VM say to each other. Calls of callbacks and their outcomes are messages; what the
 * module asks in the middle of a call (properties, shared data) is a message, and an answer in shared memory for which the VM's thread waits.
 */
import type { MessagePort } from 'node:worker_threads';
import type { LocalResponse } from '../host/context.ts';
import type { GrpcRequest, HttpCallRequest } from '../host/environment.ts';
import { PairMap } from '../host/header_map.ts';
import type { PluginInfo } from '../host/root_context.ts';
import type { WasmOptions } from '../host/wasm.ts';

/** Words of the shared control memory. */
export const Word = {
  /** Counts messages of the VM's thread: somebody may wait for the next. */
  Signal: 0,
  /** The number of the call that runs, 0 when none does: the watchdog looks at it. */
  Running: 1,
  /** 1: the answer to a question is there. */
  Answered: 2,
  AnswerStatus: 3,
  AnswerLength: 4,
  /** A second result (cas, token). */
  AnswerExtra: 5,
  /** Counts the messages that the VM's thread has taken. */
  Progress: 6,
} as const;
export const CONTROL_BYTES = 64;
/** Answers stand behind the words; longer ones do not fit and are InternalFailure. */
export const ANSWER_BYTES = 1 << 20;

export interface ChannelInit {
  readonly control: SharedArrayBuffer;
  /** The VM's end. */
  readonly port: MessagePort;
  readonly logLevel: number;
}

/** Of a module's thread. */
export interface ModuleInit {
  readonly code: Uint8Array;
  readonly maxMemoryPages: number;
  readonly options: WasmOptions;
  readonly plugin: PluginInfo;
}

/** Entries of a header map. */
export type Pairs = [string, string][];

export function pairMap(pairs: Pairs | null): PairMap | null {
  return pairs === null ? null : new PairMap(pairs);
}

export type CallKind =
  | 'requestHeaders'
  | 'requestBody'
  | 'requestTrailers'
  | 'responseHeaders'
  | 'responseBody'
  | 'responseTrailers'
  | ConnectionCallKind;

export type ConnectionCallKind = 'newConnection' | 'downstreamData' | 'upstreamData' | 'downstreamClose' | 'upstreamClose';
export const CONNECTION_CALLS: ReadonlySet<CallKind> = new Set<ConnectionCallKind>([
  'newConnection',
  'downstreamData',
  'upstreamData',
  'downstreamClose',
  'upstreamClose',
]);

/** A callback of a stream; answered by an outcome. */
export interface CallMessage {
  readonly type: 'call';
  readonly stream: number;
  readonly kind: CallKind;
  readonly pairs: Pairs | null;
  readonly body: Uint8Array | null;
  /** Of `downstreamClose`: the client closed. */
  readonly end: boolean;
  /** With a stream's first call, when its route has one of its own: the configuration in place of the plugin's. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** What a gRPC server says. */
export type GrpcEvent =
  | { readonly kind: 'initialMetadata'; readonly pairs: Pairs }
  | { readonly kind: 'trailingMetadata'; readonly pairs: Pairs }
  | { readonly kind: 'message'; readonly bytes: Uint8Array }
  | { readonly kind: 'close'; readonly status: number; readonly message: string };

export type ToVm =
  | CallMessage
  | {
      readonly type: 'end';
      readonly stream: number;
      readonly request: Pairs | null;
      readonly response: Pairs | null;
      readonly trailers: Pairs | null;
    }
  | {
      readonly type: 'httpAnswer';
      readonly id: number;
      readonly headers: Pairs | null;
      readonly body: Uint8Array;
      readonly trailers: Pairs | null;
    }
  | { readonly type: 'grpcEvent'; readonly id: number; readonly event: GrpcEvent }
  | { readonly type: 'queue'; readonly token: number }
  | { readonly type: 'ping' }
  | { readonly type: 'shutdown' };

/** What a callback did. Null: unchanged. */
export interface Outcome {
  readonly action: number;
  readonly pairs: Pairs | null;
  readonly body: Uint8Array | null;
  /** Trailers that the module added. */
  readonly trailers: Pairs | null;
}

export type StreamAction =
  | { readonly do: 'continueRequest' | 'continueResponse' | 'reset' | 'clearRouteCache'; readonly requestHeaders?: Pairs }
  | { readonly do: 'continueDownstream' | 'close' }
  | { readonly do: 'reply'; readonly response: LocalResponse };

/** Asked in the middle of a call. */
export type Question =
  | { readonly ask: 'property'; readonly stream: number; readonly path: string }
  | { readonly ask: 'setProperty'; readonly stream: number; readonly path: string; readonly value: Uint8Array }
  | { readonly ask: 'hasCluster'; readonly name: string }
  | { readonly ask: 'getData'; readonly vmId: string; readonly key: Uint8Array }
  | { readonly ask: 'setData'; readonly vmId: string; readonly key: Uint8Array; readonly value: Uint8Array; readonly cas: number }
  | { readonly ask: 'registerQueue' | 'resolveQueue'; readonly vmId: string; readonly name: Uint8Array }
  | { readonly ask: 'enqueue'; readonly token: number; readonly data: Uint8Array }
  | { readonly ask: 'dequeue'; readonly token: number }
  | { readonly ask: 'metric'; readonly kind: 'counter' | 'gauge'; readonly name: string }
  | { readonly ask: 'foreign'; readonly stream: number; readonly name: string; readonly args: Uint8Array };

export type FromVm =
  | {
      readonly type: 'ready';
      readonly callbacks: readonly string[];
      readonly files?: readonly string[];
      readonly abiVersion?: string;
    }
  | { readonly type: 'failed'; readonly state: string; readonly message: string }
  | { readonly type: 'outcome'; readonly stream: number; readonly kind: CallKind; readonly outcome: Outcome }
  | { readonly type: 'action'; readonly stream: number; readonly action: StreamAction }
  | { readonly type: 'question'; readonly question: Question }
  | { readonly type: 'log'; readonly level: number; readonly message: string }
  | {
      readonly type: 'metric';
      readonly kind: 'counter' | 'gauge' | 'histogram';
      readonly op: 'add' | 'sub' | 'set';
      readonly name: string;
      readonly value: number;
    }
  | { readonly type: 'httpCall'; readonly id: number; readonly request: HttpCallRequest }
  | { readonly type: 'cancelHttpCall'; readonly id: number }
  | { readonly type: 'grpcStart'; readonly id: number; readonly request: GrpcRequest }
  /** No message: our side is finished. */
  | { readonly type: 'grpcSend'; readonly id: number; readonly message: Uint8Array | null; readonly end: boolean }
  | { readonly type: 'grpcReset'; readonly id: number };
