/**
 * Resources from a control plane over one gRPC stream: aggregated (ADS), or one for each type. State of the world and incremental are the two
 * subclasses; here is what they share: connecting again with jittered exponential backoff, answering in order, initial fetch timeouts,
 * names that are wanted, what was received last of each, and time to live. Envoy: GrpcMuxImpl, NewGrpcMuxImpl, GrpcStream.
 */
import type { Gauge, Scope, TextReadout } from '../../../core/stats/stats.ts';
import { duplicateName } from './file_source.ts';
import { GrpcStream, type GrpcTarget, type GrpcTransport } from './grpc_stream.ts';
import type { ResourceParser } from './parser.ts';
import { RESOURCE_TYPES, type ResourceKind } from './resource_types.ts';
import type { ParsedResource, ParsedResponse } from './response.ts';
import {
  fetchTimeout,
  noteSuccess,
  type ResourceSource,
  type ResourceUpdate,
  type Subscription,
  type Watcher,
} from './subscription.ts';

const BACKOFF_BASE_MS = 500;
const BACKOFF_MAX_MS = 30_000;

/** Make before break: requests go in this order. */
const ORDER: readonly ResourceKind[] = ['runtime', 'cluster', 'endpoint', 'listener', 'route'];

export interface GrpcSourceOptions {
  readonly target: GrpcTarget;
  /** Of ADS; null: each type has its own stream, so this source serves one type. */
  readonly aggregatedPath: string | null;
  readonly delta: boolean;
  readonly nodeOnFirstMessageOnly: boolean;
  readonly node: () => Promise<Uint8Array>;
  readonly transport: () => GrpcTransport;
  readonly parser: ResourceParser;
  /** `control_plane.` */
  readonly scope: Scope;
  readonly warn: (message: string) => void;
  readonly random?: () => number;
}

interface Watch {
  readonly watcher: Watcher;
  /** Something came for it. */
  served: boolean;
  readonly stopTimeout: () => void;
}

/** All about one type. */
export interface TypeState {
  readonly kind: ResourceKind;
  /** By name; '*': all. */
  readonly watches: Map<string, Set<Watch>>;
  /** What was received last and accepted. */
  readonly known: Map<string, ParsedResource>;
  readonly expiry: Map<string, NodeJS.Timeout>;
  version: string;
  nonce: string;
  /** A request is to be sent for other reasons than a response. */
  wanted: boolean;
  /** On this stream one was sent. */
  asked: boolean;
  /** Delta: names that the control plane has been told of on this stream. */
  told: Set<string>;
}

const WILDCARD = '*';

export abstract class GrpcSource implements ResourceSource {
  protected readonly options: GrpcSourceOptions;
  protected readonly types = new Map<ResourceKind, TypeState>();
  private readonly connected: Gauge;
  private readonly identifier: TextReadout;
  private stream: GrpcStream | null = null;
  private node: Uint8Array | null = null;
  private nodeSent = false;
  private failures = 0;
  private retry: NodeJS.Timeout | null = null;
  private flushing = false;
  private handling: Promise<void> = Promise.resolve();
  private closed = false;

  constructor(options: GrpcSourceOptions) {
    this.options = options;
    this.connected = options.scope.gauge('connected_state');
    this.identifier = options.scope.textReadout('identifier');
    options.scope.counter('rate_limit_enforced');
    options.scope.gauge('pending_requests').set(0);
  }

  subscribe(kind: ResourceKind, name: string | null, watcher: Watcher, fetchTimeoutMs: number): Subscription {
    const state = this.stateOf(kind);
    const key = name ?? WILDCARD;
    const watch: Watch = { watcher, served: false, stopTimeout: fetchTimeout(watcher, fetchTimeoutMs) };
    const known = name === null ? undefined : state.known.get(name);
    const watches = state.watches.get(key) ?? new Set();
    state.watches.set(key, watches.add(watch));
    watcher.stats.updateAttempt.inc();
    // A control plane does not send again what it has sent.
    if (known !== undefined) {
      queueMicrotask(() => {
        if (watches.has(watch)) this.tell(watch, { resources: [known], removed: [], full: false, version: state.version });
      });
    }
    if (watches.size === 1) this.want(state);
    if (this.stream === null && this.retry === null) void this.connect();
    return {
      close: () => {
        watch.stopTimeout();
        watches.delete(watch);
        if (watches.size > 0 || state.watches.get(key) !== watches) return;
        state.watches.delete(key);
        state.known.delete(key);
        this.want(state);
      },
    };
  }

  close(): void {
    this.closed = true;
    if (this.retry !== null) clearTimeout(this.retry);
    for (const { expiry, watches } of this.types.values()) {
      for (const timer of expiry.values()) clearTimeout(timer);
      for (const each of watches.values()) for (const watch of each) watch.stopTimeout();
    }
    this.stream?.close();
  }

  /** The names that are wanted; empty: all. */
  protected namesOf(state: TypeState): string[] {
    return state.watches.has(WILDCARD) ? [] : [...state.watches.keys()];
  }

  /** A request for what is wanted now; null: there is nothing new to say. */
  protected abstract requestFor(state: TypeState, node: Uint8Array | null): Uint8Array | null;
  /** The answer to a response; `error` null: it is accepted. */
  protected abstract answerFor(
    state: TypeState,
    response: ParsedResponse,
    error: string | null,
    node: Uint8Array | null,
  ): Uint8Array;
  /** A response as its watchers are to see it. */
  protected abstract updateOf(state: TypeState, response: ParsedResponse): ResourceUpdate;

  private stateOf(kind: ResourceKind): TypeState {
    let state = this.types.get(kind);
    if (state === undefined) {
      state = {
        kind,
        watches: new Map(),
        known: new Map(),
        expiry: new Map(),
        version: '',
        nonce: '',
        wanted: false,
        asked: false,
        told: new Set(),
      };
      this.types.set(kind, state);
    }
    return state;
  }

  private async connect(): Promise<void> {
    if (this.closed) return;
    this.retry = setTimeout(() => {}, 0);
    try {
      this.node ??= await this.options.node();
    } catch (error) {
      this.disconnected(error instanceof Error ? error.message : String(error));
      return;
    }
    this.retry = null;
    if (this.closed) return;
    const { target, aggregatedPath, delta } = this.options;
    const [kind] = this.types.keys();
    const path = aggregatedPath ?? RESOURCE_TYPES[kind][delta ? 'delta' : 'sotw'];
    this.nodeSent = false;
    for (const state of this.types.values()) {
      state.nonce = '';
      state.asked = false;
      state.told.clear();
      state.wanted = state.watches.size > 0;
    }
    const stream: GrpcStream = new GrpcStream(this.options.transport(), target, path, {
      onMessage: (message) => {
        this.failures = 0;
        this.connected.set(1);
        this.handling = this.handling.then(() => (this.stream === stream ? this.onMessage(message) : undefined));
      },
      onClosed: (reason) => {
        this.stream = null;
        this.disconnected(reason);
      },
    });
    this.stream = stream;
    this.flush();
  }

  private disconnected(reason: string): void {
    this.connected.set(0);
    if (this.closed) return;
    this.options.warn(`stream to control plane ${this.options.target.cluster}: ${reason}`);
    for (const watch of this.allWatches()) if (!watch.served) watch.watcher.stats.updateFailure.inc();
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(this.failures++, 16));
    const delayMs = Math.max(1, Math.floor((this.options.random ?? Math.random)() * most));
    this.retry = setTimeout(() => void this.connect(), delayMs);
    this.retry.unref();
  }

  private *allWatches(): Iterable<Watch> {
    for (const { watches } of this.types.values()) for (const each of watches.values()) yield* each;
  }

  /** Many changes of names in one turn are one request. */
  private want(state: TypeState): void {
    state.wanted = true;
    if (this.flushing) return;
    this.flushing = true;
    setImmediate(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.stream === null || this.closed) return;
    for (const kind of ORDER) {
      const state = this.types.get(kind);
      if (state === undefined || !state.wanted) continue;
      state.wanted = false;
      if (state.watches.size === 0 && !state.asked) continue;
      const request = this.requestFor(state, this.nodeToSend());
      if (request !== null) this.send(state, request);
    }
  }

  private send(state: TypeState, request: Uint8Array): void {
    state.asked = true;
    this.nodeSent = true;
    this.stream?.send(request);
  }

  private nodeToSend(): Uint8Array | null {
    return this.nodeSent && this.options.nodeOnFirstMessageOnly ? null : this.node;
  }

  private async onMessage(message: Buffer): Promise<void> {
    let response: ParsedResponse;
    try {
      response = await this.options.parser.parse(message, this.options.delta);
    } catch (error) {
      this.options.warn(
        `control plane ${this.options.target.cluster}: ${error instanceof Error ? error.message : String(error)}`,
      );
      return;
    }
    if (this.closed) return;
    if (response.controlPlane !== '') this.identifier.set(response.controlPlane);
    const state = response.kind === null ? undefined : this.types.get(response.kind);
    if (state === undefined || state.watches.size === 0) {
      this.options.warn(
        `control plane ${this.options.target.cluster}: a response for ${response.typeUrl}, which nobody asked for`,
      );
      return;
    }
    state.nonce = response.nonce;
    const error = this.apply(state, response);
    if (error === null) state.version = response.version;
    else this.options.warn(`gRPC config for ${response.typeUrl} rejected: ${error}`);
    // The names of this moment go with it.
    state.wanted = false;
    this.send(state, this.answerFor(state, response, error, this.nodeToSend()));
  }

  private apply(state: TypeState, response: ParsedResponse): string | null {
    const duplicate = duplicateName(response.resources.map((resource) => resource.name));
    if (duplicate !== null) return this.reject(state, duplicate);
    const wildcard = state.watches.get(WILDCARD);
    const bad = response.resources.filter((resource) => resource.error !== null);
    if (bad.length > 0 && wildcard === undefined) {
      return this.reject(state, bad.map(({ name, error }) => `${name}: ${error}`).join('; '));
    }
    const update = this.updateOf(state, response);
    this.keep(state, update);
    const errors = new Set<string>();
    for (const watch of wildcard ?? []) {
      const error = this.tell(watch, update);
      if (error !== null) errors.add(error);
    }
    if (wildcard === undefined) {
      const byName = new Map(update.resources.map((resource) => [resource.name, resource]));
      const removed = new Set(update.removed);
      for (const [name, watches] of [...state.watches]) {
        const resource = byName.get(name);
        if (resource === undefined && !removed.has(name)) continue;
        const own = { ...update, resources: resource === undefined ? [] : [resource], removed: removed.has(name) ? [name] : [] };
        for (const watch of [...watches]) {
          const error = this.tell(watch, own);
          if (error !== null) errors.add(`${name}: ${error}`);
        }
      }
    }
    return errors.size === 0 ? null : [...errors].join('; ');
  }

  private reject(state: TypeState, reason: string): string {
    const told = new Set<object>();
    for (const watches of state.watches.values()) {
      for (const { watcher } of watches) {
        if (told.has(watcher.stats)) continue;
        told.add(watcher.stats);
        watcher.stats.updateRejected.inc();
      }
    }
    return reason;
  }

  private tell(watch: Watch, update: ResourceUpdate): string | null {
    const { watcher } = watch;
    const error = watcher.onResources(update);
    if (error === null) {
      watch.served = true;
      watch.stopTimeout();
      noteSuccess(watcher.stats, update.version);
    } else watcher.stats.updateRejected.inc();
    watcher.stats.updateAttempt.inc();
    return error;
  }

  private keep(state: TypeState, update: ResourceUpdate): void {
    if (update.full) {
      const names = new Set(update.resources.map(({ name }) => name));
      for (const name of [...state.known.keys()]) if (!names.has(name)) this.forget(state, name);
    }
    for (const name of update.removed) this.forget(state, name);
    for (const resource of update.resources) {
      const { name, ttlMs } = resource;
      if (resource.plain !== null) state.known.set(name, resource);
      clearTimeout(state.expiry.get(name));
      state.expiry.delete(name);
      if (ttlMs === null) continue;
      const timer = setTimeout(() => this.expire(state, name), ttlMs);
      timer.unref();
      state.expiry.set(name, timer);
    }
  }

  private forget(state: TypeState, name: string): void {
    state.known.delete(name);
    clearTimeout(state.expiry.get(name));
    state.expiry.delete(name);
  }

  private expire(state: TypeState, name: string): void {
    this.forget(state, name);
    const update = { resources: [], removed: [name], full: false, version: state.version };
    for (const key of [WILDCARD, name])
      for (const watch of [...(state.watches.get(key) ?? [])]) watch.watcher.onResources(update);
  }
}
