/**
 * What a host needs of whoever embeds it: time, timers, log, stats, call-outs. The proxy gives its worker's; tests and tools give their own.
 * Nothing here may call back into a module before the function has returned.
 */
import type { Scope } from '../../core/stats/stats.ts';
import type { SharedState } from '../shared/shared_state.ts';
import type { HostHeaderMap } from './header_map.ts';
import type { PropertyValue } from './property_value.ts';

export interface HostTimer {
  enableTimer(delayMs: number): void;
  disableTimer(): void;
}

export interface HttpCallRequest {
  readonly cluster: string;
  /** Lower-case names, text of one character per byte. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Uint8Array;
  readonly trailers: readonly (readonly [string, string])[];
  /** 0: no limit. */
  readonly timeoutMs: number;
}

export interface HttpCallCallbacks {
  onResponse(headers: HostHeaderMap, body: Uint8Array, trailers: HostHeaderMap | null): void;
  /** Reset without a response. */
  onFailure(): void;
}

export interface GrpcRequest {
  readonly cluster: string;
  readonly service: string;
  readonly method: string;
  readonly initialMetadata: readonly (readonly [string, string])[];
  /** 0: no limit. */
  readonly timeoutMs: number;
}

export interface GrpcCallbacks {
  onInitialMetadata(metadata: HostHeaderMap): void;
  onMessage(message: Uint8Array): void;
  onTrailingMetadata(metadata: HostHeaderMap): void;
  onClose(status: number, message: string): void;
}

export interface GrpcStream {
  send(message: Uint8Array, endStream: boolean): void;
  /** Half-close. */
  close(): void;
  reset(): void;
}

export interface Callouts {
  hasCluster(name: string): boolean;
  /** Null: could not be sent. Callbacks may come before it returns. */
  httpCall(request: HttpCallRequest, callbacks: HttpCallCallbacks): { cancel(): void } | null;
  grpcStream(request: GrpcRequest, callbacks: GrpcCallbacks): GrpcStream | null;
}

/** Undefined: the function gave no result. */
export interface ForeignResult {
  readonly status: number;
  readonly result?: Uint8Array;
}

export interface HostEnvironment {
  /** Metrics of modules. */
  readonly scope: Scope;
  readonly shared: SharedState;
  readonly callouts: Callouts | null;
  /** As `proxy_get_log_level` tells: 0 to 5, 6 is off. */
  readonly logLevel: number;
  log(level: number, message: string): void;
  createTimer(callback: () => void): HostTimer;
  /** Soon, from the event loop. */
  post(callback: () => void): void;
  /** Nanoseconds since 1970. */
  systemTimeNs(): bigint;
  monotonicNs(): bigint;
  /** Properties that need no stream (`xds`, `node` ...). */
  property(path: string): PropertyValue;
  /** Functions of the embedder; undefined: no such one. `context`: the effective context. */
  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined;
}
