/**
 * An HTTP stream of a plugin (cpp-host: a stream context): which maps and buffers a module may look at in which callback, and what it wants
 * done with the stream. The filter that owns it calls `on...` in the stream's order. The object is used again for the next stream.
 */
import { BufferType, MapType, Status, StreamType } from '../abi/enums.ts';
import type { HostBuffer } from './buffer.ts';
import { Context, EMPTY, type LocalResponse } from './context.ts';
import type { ForeignResult } from './environment.ts';
import type { HostHeaderMap } from './header_map.ts';
import type { PropertyValue } from './property_value.ts';
import type { RootContext } from './root_context.ts';

/** The stream, as the context needs it. All that changes its course comes when the module has returned. */
export interface HttpStreamHost {
  continueRequest(): void;
  continueResponse(): void;
  resetStream(): void;
  sendLocalReply(response: LocalResponse): void;
  clearRouteCache(): void;
  /** Trailers for a message that has none, while its last data is in hand; null: too late. */
  addRequestTrailers(): HostHeaderMap | null;
  addResponseTrailers(): HostHeaderMap | null;
  /** What of a body is held back because the module said so; null: nothing. */
  heldRequestBody(): HostBuffer | null;
  heldResponseBody(): HostBuffer | null;
  property(path: string): PropertyValue;
  setProperty(path: string, value: Uint8Array): Status;
  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined;
}

/** The module answered the stream itself: whatever it returned, iteration stops. */
export const REPLIED = -1;

export class HttpContext extends Context {
  private host: HttpStreamHost;
  private created = false;
  requestHeaders: HostHeaderMap | null = null;
  requestTrailers: HostHeaderMap | null = null;
  responseHeaders: HostHeaderMap | null = null;
  responseTrailers: HostHeaderMap | null = null;
  requestBody: HostBuffer | null = null;
  responseBody: HostBuffer | null = null;
  /** The module took a body to change it. */
  touchedBody = false;
  /** The last data of the message is in hand: trailers may be added. */
  requestEnding = false;
  responseEnding = false;
  /** A local reply was asked for and not stopped by anything since. */
  private replied = false;
  private inLog = false;

  constructor(root: RootContext, host: HttpStreamHost) {
    super(root.wasm, 0, root);
    this.host = host;
  }

  get active(): boolean {
    return this.created;
  }

  /** A new stream. */
  create(root: RootContext): void {
    this.wasm = root.wasm;
    this.root = root;
    this.id = root.wasm.allocateContextId();
    this.created = true;
    this.touchedBody = false;
    this.replied = false;
    this.inLog = false;
    root.wasm.contexts.set(this.id, this);
    if (root.wasm.on.proxy_on_context_create !== null) root.wasm.call2(this, 'proxy_on_context_create', this.id, root.id);
  }

  // Callbacks. Each returns what the module did, or REPLIED.

  onRequestHeaders(headers: HostHeaderMap, endStream: boolean): number {
    this.requestHeaders = headers;
    const wasm = this.wasm;
    if (wasm.on.proxy_on_request_headers === null) return 0;
    return this.outcome(wasm.call3(this, 'proxy_on_request_headers', this.id, headers.size, endStream ? 1 : 0));
  }

  onRequestBody(body: HostBuffer, endStream: boolean): number {
    this.requestBody = body;
    this.requestEnding = endStream;
    const wasm = this.wasm;
    if (wasm.on.proxy_on_request_body === null) return 0;
    const result = this.outcome(wasm.call3(this, 'proxy_on_request_body', this.id, body.length, endStream ? 1 : 0));
    this.requestEnding = false;
    return result;
  }

  onRequestTrailers(trailers: HostHeaderMap): number {
    this.requestTrailers = trailers;
    const wasm = this.wasm;
    if (wasm.on.proxy_on_request_trailers === null) return 0;
    return this.outcome(wasm.call2(this, 'proxy_on_request_trailers', this.id, trailers.size));
  }

  onResponseHeaders(headers: HostHeaderMap, endStream: boolean): number {
    this.responseHeaders = headers;
    const wasm = this.wasm;
    if (wasm.on.proxy_on_response_headers === null) return 0;
    return this.outcome(wasm.call3(this, 'proxy_on_response_headers', this.id, headers.size, endStream ? 1 : 0));
  }

  onResponseBody(body: HostBuffer, endStream: boolean): number {
    this.responseBody = body;
    this.responseEnding = endStream;
    const wasm = this.wasm;
    if (wasm.on.proxy_on_response_body === null) return 0;
    const result = this.outcome(wasm.call3(this, 'proxy_on_response_body', this.id, body.length, endStream ? 1 : 0));
    this.responseEnding = false;
    return result;
  }

  onResponseTrailers(trailers: HostHeaderMap): number {
    this.responseTrailers = trailers;
    const wasm = this.wasm;
    if (wasm.on.proxy_on_response_trailers === null) return 0;
    return this.outcome(wasm.call2(this, 'proxy_on_response_trailers', this.id, trailers.size));
  }

  private outcome(result: number): number {
    return this.replied ? REPLIED : result;
  }

  /** The reply goes through the response side: its callbacks count again. */
  forgetReply(): void {
    this.replied = false;
  }

  /** The stream is over: log, done, delete, in Envoy's order for HTTP. The maps are what is known of the message. */
  end(request: HostHeaderMap | null, response: HostHeaderMap | null, responseTrailers: HostHeaderMap | null): void {
    if (!this.created) return;
    this.created = false;
    const wasm = this.wasm;
    if (!wasm.failed) {
      if (wasm.on.proxy_on_log !== null) {
        this.requestHeaders = request;
        this.responseHeaders = response;
        this.responseTrailers = responseTrailers;
        this.inLog = true;
        wasm.call1(this, 'proxy_on_log', this.id);
        this.inLog = false;
      }
      if (wasm.on.proxy_on_done !== null) wasm.call1(this, 'proxy_on_done', this.id);
      if (wasm.on.proxy_on_delete !== null) wasm.call1(this, 'proxy_on_delete', this.id);
    }
    wasm.contexts.delete(this.id);
    this.requestHeaders = null;
    this.requestTrailers = null;
    this.responseHeaders = null;
    this.responseTrailers = null;
    this.requestBody = null;
    this.responseBody = null;
    this.requestEnding = false;
    this.responseEnding = false;
  }

  // What host functions ask.

  override get logging(): boolean {
    return this.inLog;
  }

  override headerMap(type: number): HostHeaderMap | null {
    switch (type) {
      case MapType.HttpRequestHeaders:
        return this.requestHeaders;
      case MapType.HttpRequestTrailers:
        return this.requestTrailers;
      case MapType.HttpResponseHeaders:
        return this.responseHeaders;
      case MapType.HttpResponseTrailers:
        return this.responseTrailers;
      default:
        return super.headerMap(type);
    }
  }

  override mutableHeaderMap(type: number): HostHeaderMap | null {
    if (this.inLog) return null;
    switch (type) {
      case MapType.HttpRequestHeaders:
        return this.requestHeaders;
      case MapType.HttpRequestTrailers:
        if (this.requestTrailers === null && this.requestEnding) this.requestTrailers = this.host.addRequestTrailers();
        return this.requestTrailers;
      case MapType.HttpResponseHeaders:
        return this.responseHeaders;
      case MapType.HttpResponseTrailers:
        if (this.responseTrailers === null && this.responseEnding) this.responseTrailers = this.host.addResponseTrailers();
        return this.responseTrailers;
      default:
        return null;
    }
  }

  override onRequestHeadersChanged(): void {
    this.host.clearRouteCache();
  }

  override buffer(type: number): HostBuffer | null {
    switch (type) {
      case BufferType.HttpRequestBody:
        return this.requestBody ?? this.host.heldRequestBody() ?? EMPTY;
      case BufferType.HttpResponseBody:
        return this.responseBody ?? this.host.heldResponseBody() ?? EMPTY;
      default:
        return super.buffer(type);
    }
  }

  override mutableBuffer(type: number): HostBuffer | null {
    this.touchedBody = true;
    if (type === BufferType.HttpRequestBody) return this.requestBody ?? this.host.heldRequestBody();
    return type === BufferType.HttpResponseBody ? (this.responseBody ?? this.host.heldResponseBody()) : null;
  }

  override continueStream(type: number): Status {
    const { host, id } = this;
    switch (type) {
      case StreamType.HttpRequest:
        this.wasm.afterCall(() => {
          if (!this.isStream(id)) return;
          this.requestHeaders = null;
          this.requestBody = null;
          this.requestTrailers = null;
          host.continueRequest();
        });
        return Status.Ok;
      case StreamType.HttpResponse:
        this.wasm.afterCall(() => {
          if (!this.isStream(id)) return;
          this.responseHeaders = null;
          this.responseBody = null;
          this.responseTrailers = null;
          host.continueResponse();
        });
        return Status.Ok;
      default:
        return type === StreamType.Upstream ? Status.Unimplemented : Status.Ok;
    }
  }

  /** The object may serve another stream by the time that a deferred action runs. */
  private isStream(id: number): boolean {
    return this.created && this.id === id;
  }

  override closeStream(type: number): Status {
    if (type !== StreamType.HttpRequest && type !== StreamType.HttpResponse) return Status.Ok;
    const { host, id } = this;
    this.wasm.afterCall(() => {
      if (this.isStream(id)) host.resetStream();
    });
    return Status.Ok;
  }

  override sendLocalResponse(response: LocalResponse): void {
    // A second reply of the same stream is nobody's wish.
    if (this.replied || this.inLog || !this.created) return;
    this.replied = true;
    const { host, id } = this;
    this.wasm.afterCall(() => {
      if (this.isStream(id)) host.sendLocalReply(response);
    });
  }

  override clearRouteCache(): void {
    this.host.clearRouteCache();
  }

  override property(path: string): PropertyValue {
    const own = (this.root as RootContext).ownProperty(path);
    return own !== undefined ? own : this.host.property(path);
  }

  override setProperty(path: string, value: Uint8Array): Status {
    return this.host.setProperty(path, value);
  }

  override foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return this.host.foreignFunction(name, args);
  }
}
