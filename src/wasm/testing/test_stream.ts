/**
 * One HTTP exchange through a module without a proxy: the request goes in, what an upstream would get is kept, its answer goes back, and what the
 * client would get is the result. Pausing, buffering, local replies and resuming are those of the proxy's filter; there is one filter.
 */
import { DataAction, HeadersAction, Status } from '../abi/enums.ts';
import { ByteBuffer, type HostBuffer } from '../host/buffer.ts';
import type { LocalResponse } from '../host/context.ts';
import type { ForeignResult } from '../host/environment.ts';
import { type HostHeaderMap, PairMap } from '../host/header_map.ts';
import { HttpContext, type HttpStreamHost, REPLIED } from '../host/http_context.ts';
import { NOT_SERIALIZABLE, type PropertyValue, propertyAt } from '../host/property_value.ts';
import type { RootContext } from '../host/root_context.ts';
import type { TestEnvironment } from './test_environment.ts';

export type HeaderList = readonly (readonly [string, string])[];

export interface TestMessage {
  readonly headers: HeaderList;
  /** In the pieces in which it comes. */
  readonly body?: readonly (Uint8Array | string)[];
  readonly trailers?: HeaderList;
}

/** What came out at one end. */
export class Received {
  headers: [string, string][] | null = null;
  body: Buffer = Buffer.alloc(0);
  trailers: [string, string][] | null = null;
  ended = false;

  /** Several values joined with `,`. */
  header(name: string): string | undefined {
    const found = (this.headers ?? []).filter((pair) => pair[0] === name.toLowerCase()).map((pair) => pair[1]);
    return found.length === 0 ? undefined : found.join(',');
  }

  get text(): string {
    return this.body.toString('utf8');
  }

  get status(): number {
    return Number(this.header(':status') ?? 0);
  }
}

/** One direction of the stream. */
class Side {
  readonly out = new Received();
  paused: 'no' | 'all' | 'data' = 'no';
  headers: PairMap | null = null;
  buffer = new ByteBuffer();
  trailers: PairMap | null = null;
  private readonly chunks: Uint8Array[] = [];
  private ended = false;
  private finished = false;
  private trailersShown = false;
  private headersShown = false;
  private running = false;
  private resume = false;
  keepAll = false;
  private readonly stream: TestStream;
  private readonly isRequest: boolean;

  constructor(stream: TestStream, isRequest: boolean) {
    this.stream = stream;
    this.isRequest = isRequest;
  }

  begin(message: TestMessage): void {
    this.headers = new PairMap(message.headers);
    for (const chunk of message.body ?? []) this.chunks.push(typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk);
    if (message.trailers !== undefined) this.trailers = new PairMap(message.trailers);
    this.ended = true;
    this.pump();
  }

  /** Goes on until the module pauses or everything is through. */
  pump(): void {
    if (this.running) return;
    this.running = true;
    try {
      while (this.paused !== 'all' && !this.finished && !this.stream.over && this.step());
    } finally {
      this.running = false;
    }
  }

  /** False: nothing more to do now. */
  private step(): boolean {
    if (!this.headersShown) {
      this.headersShown = true;
      this.showHeaders();
      return true;
    }
    const chunk = this.chunks.shift();
    if (chunk !== undefined) {
      this.showData(chunk);
      return true;
    }
    if (this.trailers !== null && !this.trailersShown) {
      this.trailersShown = true;
      this.showTrailers();
      return true;
    }
    if (this.paused === 'data' || !this.ended) return false;
    this.finish();
    return false;
  }

  private showHeaders(): void {
    const context = this.stream.context;
    const headers = this.headers as PairMap;
    const endStream = this.chunks.length === 0 && this.trailers === null;
    const action = this.call(() =>
      this.isRequest ? context.onRequestHeaders(headers, endStream) : context.onResponseHeaders(headers, endStream),
    );
    if (action === HeadersAction.Continue || action === HeadersAction.ContinueAndEndStream) this.forgetHeaders();
    else {
      const headersOnly = action === HeadersAction.StopIteration && this.stream.allowOnHeadersStopIteration;
      this.paused = headersOnly ? 'data' : 'all';
    }
  }

  private forgetHeaders(): void {
    if (this.isRequest) this.stream.context.requestHeaders = null;
    else this.stream.context.responseHeaders = null;
  }

  private showData(chunk: Uint8Array): void {
    const context = this.stream.context;
    const endStream = this.chunks.length === 0 && this.trailers === null;
    const hadTrailers = this.trailers !== null;
    const data = this.keepAll ? this.buffer : new ByteBuffer(chunk.slice());
    if (this.keepAll) this.buffer.append(chunk);
    const action = this.call(() =>
      this.isRequest ? context.onRequestBody(data, endStream) : context.onResponseBody(data, endStream),
    );
    if (!this.keepAll) this.buffer.append(data.bytes);
    this.keepAll = action === DataAction.StopAndBuffer;
    if (this.isRequest) context.requestBody = null;
    else context.responseBody = null;
    this.paused = action === DataAction.Continue ? 'no' : 'data';
    if (this.paused === 'no') this.flush();
    // Trailers that the module just made are for others.
    if (!hadTrailers && this.trailers !== null) this.trailersShown = true;
  }

  private showTrailers(): void {
    const context = this.stream.context;
    const trailers = this.trailers as PairMap;
    const action = this.call(() => (this.isRequest ? context.onRequestTrailers(trailers) : context.onResponseTrailers(trailers)));
    this.paused = action === 0 ? 'no' : 'data';
  }

  private call(run: () => number): number {
    const action = run();
    const resumed = this.resume;
    this.resume = false;
    if (this.stream.context.wasm.failed) {
      this.stream.fail();
      return HeadersAction.StopAllWatermark;
    }
    if (action === REPLIED) return HeadersAction.StopAllWatermark;
    return resumed ? 0 : action;
  }

  continue(): void {
    if (this.running) {
      this.resume = true;
      return;
    }
    // It has not begun: there is nothing to resume.
    if (this.headers === null) return;
    this.paused = 'no';
    this.keepAll = false;
    this.pump();
  }

  private flush(): void {
    const { out } = this;
    out.headers ??= copyOf(this.headers as PairMap);
    out.body = Buffer.concat([out.body, this.buffer.bytes]);
    this.buffer = new ByteBuffer();
  }

  private finish(): void {
    this.finished = true;
    this.flush();
    if (this.trailers !== null) this.out.trailers = copyOf(this.trailers);
    this.out.ended = true;
    if (this.isRequest) this.stream.onRequestComplete();
    else this.stream.end();
  }
}

function copyOf(map: PairMap): [string, string][] {
  return map.pairs.map(([name, value]) => [name, value]);
}

export interface TestStreamOptions {
  readonly request: TestMessage;
  /** The upstream's answer; made when the request is complete. */
  readonly respond: (request: Received) => TestMessage;
  readonly failOpen?: boolean;
}

export class TestStream implements HttpStreamHost {
  readonly context: HttpContext;
  readonly allowOnHeadersStopIteration: boolean;
  over = false;
  /** The module answered, or ended the stream: with which details. */
  localReply: LocalResponse | null = null;
  details = '';
  reset = false;
  routeCacheCleared = 0;
  private readonly environment: TestEnvironment;
  private readonly request = new Side(this, true);
  private response = new Side(this, false);
  private readonly respond: (request: Received) => TestMessage;
  private readonly state = new Map<string, Uint8Array>();

  constructor(root: RootContext, environment: TestEnvironment, options: TestStreamOptions) {
    this.environment = environment;
    this.respond = options.respond;
    this.allowOnHeadersStopIteration = root.plugin.allowOnHeadersStopIteration;
    this.context = new HttpContext(root, this);
    this.context.create(root);
    this.request.begin(options.request);
  }

  /** What the upstream got. */
  get upstream(): Received {
    return this.request.out;
  }

  /** What the client got. */
  get client(): Received {
    return this.response.out;
  }

  get paused(): boolean {
    return !this.over;
  }

  onRequestComplete(): void {
    this.response.begin(this.respond(this.request.out));
  }

  end(): void {
    if (this.over) return;
    this.over = true;
    this.context.end(this.request.headers, this.response.headers, this.response.trailers);
  }

  /** The module failed. */
  fail(): void {
    if (this.over) return;
    this.details = 'wasm_fail_stream';
    this.answer(new PairMap([[':status', '503']]), new Uint8Array(0));
    this.end();
  }

  private answer(headers: PairMap, body: Uint8Array): void {
    const { out } = this.response;
    out.headers = headers.pairs;
    out.body = Buffer.from(body);
    out.ended = true;
  }

  continueRequest(): void {
    this.request.continue();
  }

  continueResponse(): void {
    this.response.continue();
  }

  resetStream(): void {
    this.reset = true;
    this.details = 'wasm_close_stream';
    this.end();
  }

  sendLocalReply(response: LocalResponse): void {
    if (this.over) return;
    this.localReply = response;
    this.details = response.details;
    this.context.forgetReply();
    const headers = new PairMap([[':status', String(response.status)], ...response.headers]);
    if (response.body.length > 0) {
      headers.set('content-length', String(response.body.length));
      if (headers.get('content-type') === undefined) headers.set('content-type', 'text/plain');
    }
    if (this.response.headers !== null) {
      this.answer(headers, response.body);
      this.end();
      return;
    }
    // A reply in the request's phase goes through the response's side.
    this.response.begin({ headers: headers.pairs, body: response.body.length > 0 ? [response.body] : [] });
  }

  clearRouteCache(): void {
    this.routeCacheCleared++;
  }

  heldRequestBody(): HostBuffer | null {
    return this.request.keepAll ? this.request.buffer : null;
  }

  heldResponseBody(): HostBuffer | null {
    return this.response.keepAll ? this.response.buffer : null;
  }

  addRequestTrailers(): HostHeaderMap {
    this.request.trailers = new PairMap();
    return this.request.trailers;
  }

  addResponseTrailers(): HostHeaderMap {
    this.response.trailers = new PairMap();
    return this.response.trailers;
  }

  property(path: string): PropertyValue {
    const own = this.state.get(path);
    if (own !== undefined) return own;
    const segments = path.split('\0');
    const headers = this.request.headers;
    const known: Record<string, PropertyValue> = {
      path: headers?.get(':path'),
      method: headers?.get(':method'),
      host: headers?.get(':authority'),
      scheme: headers?.get(':scheme'),
      headers: headers === null ? undefined : Object.fromEntries(headers.pairs.map(([name]) => [name, headers.get(name)])),
    };
    if (path === 'request') return NOT_SERIALIZABLE;
    if (segments[0] === 'request' && segments[1] in known) return propertyAt(known[segments[1]], segments, 2);
    return this.environment.property(path);
  }

  setProperty(path: string, value: Uint8Array): Status {
    this.state.set(path, value);
    return Status.Ok;
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    if (name === 'clear_route_cache') {
      this.clearRouteCache();
      return { status: Status.Ok };
    }
    return this.environment.foreignFunction(name, args);
  }
}
