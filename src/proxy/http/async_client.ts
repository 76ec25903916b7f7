/**
 * HTTP call-outs from inside the proxy (Envoy: Http::AsyncClient): to a cluster by its name, through this worker's pools, with the
 * router's timeouts, retries, circuit breakers and statistics. `start` streams, `send` gathers the response up to a limit.
 *
 * Callbacks may come before `start` or `send` returns (a free connection, a missing cluster). Statistics of the router part are under
 * `http.async-client.`. Left out of Envoy's: shadowing, child spans, per-call filters.
 */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Scope } from '../../core/stats/stats.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { ClusterManager } from '../upstream/upstream.ts';
import { AsyncStream } from './async_client_stream.ts';
import type { HeaderMap } from './header_map.ts';
import { H } from './header_names.ts';
import type { RetryPolicy, RouteEntry } from './route/route.ts';
import { RouterConfig, RouterStats } from './router/router_config.ts';

export type { AsyncStream } from './async_client_stream.ts';

export interface AsyncStreamOptions {
  /** From the end of the request to the end of the response; 0 (the default): none. A 504 is answered then. */
  readonly timeoutMs?: number;
  readonly retryPolicy?: RetryPolicy;
  readonly hashPolicy?: RouteEntry['hashPolicy'];
  readonly metadataMatch?: Record<string, unknown>;
  /** How much of the request may wait for a connection, or is kept for retries. Default 1 MiB. */
  readonly bufferLimitBytes?: number;
  /** Appends this proxy's address to x-forwarded-for. Default true. */
  readonly sendXff?: boolean;
  /** Sets `x-envoy-internal: true`. Default true. */
  readonly sendInternal?: boolean;
}

export interface AsyncStreamCallbacks {
  /** Valid until the stream has ended and the call stack has unwound. */
  onHeaders(headers: HeaderMap, endStream: boolean): void;
  /** Borrowed: move out what is to be kept. */
  onData(data: SliceBuffer, endStream: boolean): void;
  onTrailers(trailers: HeaderMap): void;
  /** The response is complete. Nothing comes after it. */
  onComplete(): void;
  /** It was cut off. Nothing comes after it. */
  onReset(): void;
  /** The upstream takes the request more slowly than it is sent (`true`), or caught up. */
  onSendBackedUp?(backedUp: boolean): void;
}

export interface AsyncRequestOptions extends AsyncStreamOptions {
  /** A response body beyond this fails the call-out. Default 1 MiB. */
  readonly maxResponseBytes?: number;
}

export interface AsyncResponse {
  readonly headers: HeaderMap;
  readonly body: SliceBuffer;
  readonly trailers: HeaderMap | null;
  /** The proxy answered this itself: why, as in `%RESPONSE_CODE_DETAILS%`. Empty: the upstream did. */
  readonly localReplyDetails: string;
}

export const AsyncFailure = { Reset: 0, ResponseTooLarge: 1 } as const;
export type AsyncFailure = (typeof AsyncFailure)[keyof typeof AsyncFailure];

export interface AsyncRequestCallbacks {
  /** Everything in `response` is valid during this call only; `body.move` what is to be kept. */
  onSuccess(response: AsyncResponse): void;
  onFailure(reason: AsyncFailure): void;
}

/** A call-out under way. */
export interface AsyncRequest {
  /** No callback comes after this. */
  cancel(): void;
}

export interface AsyncClientContext {
  readonly dispatcher: Dispatcher;
  readonly clusterManager: ClusterManager;
  readonly runtime: Runtime;
  /** Root scope. */
  readonly scope: Scope;
  readonly localInfo: { readonly address: string };
  random(): number;
}

export class AsyncClient {
  readonly dispatcher: Dispatcher;
  readonly clusterManager: ClusterManager;
  readonly routerConfig: RouterConfig;
  private readonly localAddress: string;
  private readonly free: AsyncStream[] = [];
  private activeCount = 0;

  constructor(context: AsyncClientContext) {
    this.dispatcher = context.dispatcher;
    this.clusterManager = context.clusterManager;
    this.localAddress = context.localInfo.address;
    this.routerConfig = new RouterConfig({
      clusterManager: context.clusterManager,
      runtime: context.runtime,
      random: () => context.random(),
      stats: new RouterStats(context.scope.scope('http.async-client.')),
      dynamicStats: true,
      suppressEnvoyHeaders: false,
      respectExpectedRqTimeout: false,
      strictCheckHeaders: [],
      upstreamLogs: [],
    });
  }

  /** The worker's client. */
  static of(context: AsyncClientContext): AsyncClient {
    let client = clients.get(context.dispatcher);
    if (client === undefined) {
      client = new AsyncClient(context);
      clients.set(context.dispatcher, client);
    }
    return client;
  }

  /** Call-outs under way. */
  get active(): number {
    return this.activeCount;
  }

  hasCluster(name: string): boolean {
    return this.clusterManager.get(name) !== null;
  }

  /**
   * A stream to the cluster. Nothing is sent before its `sendHeaders`; `prepare` adds to the headers what options want. After
   * `onComplete`, `onReset` or `cancel` the object serves another call-out: forget it then.
   */
  start(cluster: string, callbacks: AsyncStreamCallbacks, options: AsyncStreamOptions = {}): AsyncStream {
    const stream = this.free.pop() ?? new AsyncStream(this);
    this.activeCount++;
    stream.begin(cluster, callbacks, options);
    return stream;
  }

  /** Adds what options want in the headers. */
  prepare(headers: HeaderMap, options: AsyncStreamOptions): void {
    if (options.sendInternal !== false) headers.setId(H['x-envoy-internal'], 'true');
    if (options.sendXff !== false) headers.append('x-forwarded-for', this.localAddress);
  }

  /**
   * One request with its whole response. `headers`, `body` and `trailers` become the client's. Null: it is over already, and the
   * callbacks have been called.
   */
  send(
    cluster: string,
    headers: HeaderMap,
    body: SliceBuffer | null,
    callbacks: AsyncRequestCallbacks,
    options: AsyncRequestOptions = {},
    trailers: HeaderMap | null = null,
  ): AsyncRequest | null {
    const call = new GatheredCall(this.dispatcher, callbacks, options.maxResponseBytes ?? DEFAULT_MAX_RESPONSE);
    const stream = this.start(cluster, call, options);
    call.stream = stream;
    this.prepare(headers, options);
    const hasBody = body !== null && body.length > 0;
    if (hasBody && !headers.hasId(H['content-length'])) headers.addId(H['content-length'], String(body.length));
    stream.sendHeaders(headers, !hasBody && trailers === null);
    if (hasBody) stream.sendData(body, trailers === null);
    if (trailers !== null) stream.sendTrailers(trailers);
    return call.over ? null : call;
  }

  /** For streams. */
  onStreamEnd(_stream: AsyncStream): void {
    this.activeCount--;
  }

  /** For streams: everything of the call-out is forgotten. */
  recycle(stream: AsyncStream): void {
    if (this.free.length < MAX_FREE) this.free.push(stream);
  }
}

const DEFAULT_MAX_RESPONSE = 1024 * 1024;
/** Idle stream objects that are kept. */
const MAX_FREE = 256;
const clients = new WeakMap<Dispatcher, AsyncClient>();

/** Gathers the response of one call-out (Envoy: AsyncRequestSharedImpl). */
class GatheredCall implements AsyncStreamCallbacks, AsyncRequest, AsyncResponse {
  stream: AsyncStream | null = null;
  over = false;
  readonly body: SliceBuffer;
  private responseHeaders: HeaderMap | null = null;
  trailers: HeaderMap | null = null;
  localReplyDetails = '';
  private readonly callbacks: AsyncRequestCallbacks;
  private readonly maxBytes: number;

  constructor(dispatcher: Dispatcher, callbacks: AsyncRequestCallbacks, maxBytes: number) {
    this.body = new SliceBuffer(dispatcher.slab);
    this.callbacks = callbacks;
    this.maxBytes = maxBytes;
  }

  get headers(): HeaderMap {
    return this.responseHeaders as HeaderMap;
  }

  cancel(): void {
    if (this.over) return;
    this.over = true;
    this.stream?.cancel();
    this.release();
  }

  onHeaders(headers: HeaderMap): void {
    this.responseHeaders = headers;
    const stream = this.stream as AsyncStream;
    if (stream.localReply) this.localReplyDetails = stream.streamInfo.responseCodeDetails;
  }

  onData(data: SliceBuffer): void {
    if (this.over) return;
    if (this.body.length + data.length > this.maxBytes) {
      this.over = true;
      this.stream?.cancel();
      this.release();
      this.callbacks.onFailure(AsyncFailure.ResponseTooLarge);
      return;
    }
    this.body.move(data);
  }

  onTrailers(trailers: HeaderMap): void {
    this.trailers = trailers;
  }

  onComplete(): void {
    this.over = true;
    try {
      this.callbacks.onSuccess(this);
    } finally {
      this.release();
    }
  }

  onReset(): void {
    this.over = true;
    this.release();
    this.callbacks.onFailure(AsyncFailure.Reset);
  }

  private release(): void {
    this.body.clear();
    this.stream = null;
  }
}
