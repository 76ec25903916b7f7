/**
 * A stream of an isolated filter in its thread: the object of the user's class, its phases over copies, its promises. What it wants done with the
 * stream is said to the worker.
 */

import { REPLIED } from '../../../../../wasm/host/http_context.ts';
import { say } from '../../../../../wasm/isolated/channel.ts';
import type { CallKind, CallMessage, StreamAction, ToVm } from '../../../../../wasm/isolated/protocol.ts';
import { foreignOf } from '../../../../../wasm/isolated/remote_environment.ts';
import { type Body, toBytes } from '../../../../typescript/body_view.ts';
import { type Headers, headerName, headerValue } from '../../../../typescript/headers_view.ts';
import { CallError, type CallRequest, type CallResponse, type Host } from '../../../../typescript/host_api.ts';
import {
  Action,
  type HttpFilter,
  type HttpStream,
  type LocalReply,
  type PhaseResult,
  type StreamProperties,
} from '../../../../typescript/http_filter.ts';
import type { HttpFilterVersion } from '../../../../typescript/http_filter_version.ts';
import { decodeJson, encodeJson, ScriptQuestion } from './script_init.ts';
import { ByteBody, PairHeaders } from './thread_views.ts';

const PHASES: Partial<Record<CallKind, keyof HttpFilterVersion['has']>> = {
  requestHeaders: 'onRequestHeaders',
  requestBody: 'onRequestData',
  requestTrailers: 'onRequestTrailers',
  responseHeaders: 'onResponseHeaders',
  responseBody: 'onResponseData',
  responseTrailers: 'onResponseTrailers',
};

export class ThreadStream implements HttpStream {
  readonly id: number;
  readonly info: StreamProperties;
  private readonly version: HttpFilterVersion;
  private readonly maps: Partial<Record<CallKind, PairHeaders>> = {};
  private filter: HttpFilter<unknown, unknown> | null = null;
  private over = false;
  /** It answered the request, or in place of a response: what it makes of them is of no interest any more. */
  private repliedRequest = false;
  private repliedResponse = false;
  /** The filter failed open: nothing of it runs any more. */
  private dead = false;
  private body: ByteBody | null = null;
  private addedBody: Uint8Array | null = null;
  private addedTrailers: PairHeaders | null = null;
  private readonly calls = new Set<{ cancel(): void }>();

  constructor(id: number, version: HttpFilterVersion, config: Readonly<Record<string, unknown>> | undefined) {
    this.id = id;
    this.version = version;
    this.info = streamProperties(id);
    version.acquire();
    try {
      const parts = config === undefined ? [] : partsOf(config);
      this.filter = new version.extensionClass({
        stream: this,
        config: parts.length === 0 ? version.config : version.configFor(parts),
        shared: version.shared,
        host: version.host as Host<unknown>,
      });
    } catch (error) {
      this.fail(error, 'constructor');
    }
  }

  take({ kind, pairs, body, end }: CallMessage): void {
    const phase = PHASES[kind];
    if (pairs !== null) this.maps[kind] = new PairHeaders(pairs);
    if (this.dead || this.filter === null || phase === undefined) {
      this.answer(kind, this.replied(kind) ? REPLIED : 0, null);
      return;
    }
    const data = body === null ? null : new ByteBody(body);
    this.body = data;
    let result: PhaseResult;
    try {
      result = this.run(this.filter, kind, data, end);
    } catch (error) {
      this.fail(error, phase);
      this.answer(kind, this.replied(kind) ? REPLIED : 0, null);
      return;
    }
    if (result instanceof Promise) this.wait(result, kind, phase, data);
    else this.finish(kind, result as Action | undefined, data);
  }

  private run(filter: HttpFilter<unknown, unknown>, kind: CallKind, data: ByteBody | null, end: boolean): PhaseResult {
    switch (kind) {
      case 'requestHeaders':
        return filter.onRequestHeaders(this.maps.requestHeaders as Headers, end);
      case 'requestBody':
        return filter.onRequestData(data as Body, end);
      case 'requestTrailers':
        return filter.onRequestTrailers(this.maps.requestTrailers as Headers);
      case 'responseHeaders':
        return filter.onResponseHeaders(this.maps.responseHeaders as Headers, end);
      case 'responseBody':
        return filter.onResponseData(data as Body, end);
      default:
        return filter.onResponseTrailers(this.maps.responseTrailers as Headers);
    }
  }

  private wait(result: Extract<PhaseResult, Promise<unknown>>, kind: CallKind, phase: string, data: ByteBody | null): void {
    const { deadlineMs } = this.version.settings;
    let settled = false;
    const once = (then: () => void): void => {
      if (settled || this.over) return;
      settled = true;
      clearTimeout(timer);
      then();
    };
    const failed = (error: unknown, status?: number): void => {
      this.fail(error, phase, status);
      this.answer(kind, this.replied(kind) ? REPLIED : 0, null);
    };
    const late = (): void => once(() => failed(new Error(`took longer than ${deadlineMs} ms`), 504));
    const timer = deadlineMs > 0 ? setTimeout(late, deadlineMs) : undefined;
    result.then(
      (action) => once(() => this.finish(kind, action as Action | undefined, data)),
      (error: unknown) => once(() => failed(error)),
    );
  }

  private replied(kind: CallKind): boolean {
    return kind.startsWith('request') ? this.repliedRequest : this.repliedResponse;
  }

  private finish(kind: CallKind, action: Action | undefined, data: ByteBody | null): void {
    if (this.replied(kind)) this.answer(kind, REPLIED, null);
    else if (action === Action.StopNoBuffer && data !== null) this.answer(kind, 1, new Uint8Array(0));
    else this.answer(kind, action === undefined || action === Action.Continue ? 0 : 1, data?.takeChanged() ?? null);
  }

  private answer(kind: CallKind, action: number, body: Uint8Array | null): void {
    if (this.over) return;
    const outcome = {
      action,
      pairs: this.maps[kind]?.takeChanged() ?? null,
      body: body ?? this.addedBody,
      trailers: this.addedTrailers?.map.pairs ?? null,
    };
    this.body = null;
    this.addedBody = null;
    this.addedTrailers = null;
    say({ type: 'outcome', stream: this.id, kind, outcome });
  }

  /** Counts and logs; then the stream goes on without the filter, or is answered. */
  private fail(error: unknown, phase: string, status = 500): void {
    const { host, settings } = this.version;
    host.reportError(error, phase);
    this.dead = true;
    if (settings.failOpen) return;
    this.send({ status, body: '', headers: {}, details: `typescript_filter_failed{${settings.name}}` });
  }

  end({ request, response, trailers }: ToVm & { type: 'end' }): void {
    const { version, filter } = this;
    for (const call of this.calls) call.cancel();
    this.calls.clear();
    if (request !== null) this.maps.requestHeaders = new PairHeaders(request);
    if (response !== null) this.maps.responseHeaders = new PairHeaders(response);
    if (trailers !== null) this.maps.responseTrailers = new PairHeaders(trailers);
    if (filter !== null) {
      for (const phase of ['onLog', 'onDestroy'] as const) {
        if (!version.has[phase] || (phase === 'onLog' && this.dead)) continue;
        try {
          filter[phase]();
        } catch (error) {
          version.host.reportError(error, phase);
        }
      }
    }
    this.over = true;
    this.filter = null;
    version.release();
  }

  // HttpStream.

  get requestHeaders(): Headers | null {
    return this.maps.requestHeaders ?? null;
  }

  get requestTrailers(): Headers | null {
    return this.maps.requestTrailers ?? null;
  }

  get responseHeaders(): Headers | null {
    return this.maps.responseHeaders ?? null;
  }

  get responseTrailers(): Headers | null {
    return this.maps.responseTrailers ?? null;
  }

  private act(action: StreamAction): void {
    if (!this.over) say({ type: 'action', stream: this.id, action });
  }

  reply({ status, body = '', headers = {}, grpcStatus, details }: LocalReply): void {
    if (!Number.isInteger(status) || status < 200 || status > 599) throw new RangeError(`${status} is not a status to answer`);
    this.send({ status, body, headers, grpcStatus, details: details ?? `typescript_filter{${this.version.settings.name}}` });
  }

  private send({ status, body = '', headers = {}, grpcStatus = -1, details = '' }: LocalReply): void {
    const lines = Object.entries(headers).map(([name, value]): [string, string] => [headerName(name), headerValue(value)]);
    const response = { status, details, body: toBytes(body), headers: lines, grpcStatus };
    this.repliedRequest = true;
    this.repliedResponse ||= this.maps.responseHeaders !== undefined;
    this.act({ do: 'reply', response });
  }

  continueRequest(): void {
    this.act({ do: 'continueRequest', requestHeaders: this.maps.requestHeaders?.takeChanged() ?? undefined });
  }

  continueResponse(): void {
    this.act({ do: 'continueResponse' });
  }

  bufferRequestBody(): Promise<Body> {
    return Promise.reject(new Error('an isolated filter gets bodies whole: use onRequestData'));
  }

  bufferResponseBody(): Promise<Body> {
    return Promise.reject(new Error('an isolated filter gets bodies whole: use onResponseData'));
  }

  addRequestData(content: string | Uint8Array): void {
    this.addData(content);
  }

  addResponseData(content: string | Uint8Array): void {
    this.addData(content);
  }

  private addData(content: string | Uint8Array): void {
    if (this.body !== null) this.body.append(content);
    else this.addedBody = Buffer.concat([this.addedBody ?? new Uint8Array(0), toBytes(content)]);
  }

  addRequestTrailers(): Headers {
    return this.addTrailers();
  }

  addResponseTrailers(): Headers {
    return this.addTrailers();
  }

  private addTrailers(): Headers {
    this.addedTrailers = new PairHeaders([]);
    return this.addedTrailers;
  }

  clearRouteCache(): void {
    this.act({ do: 'clearRouteCache' });
  }

  call(cluster: string, request: CallRequest = {}): Promise<CallResponse> {
    if (this.over) return Promise.reject(new CallError('stream_ended', 'the stream is over'));
    let tracked: { cancel(): void } | null = null;
    return this.version.host.startCall(cluster, request, (call) => {
      if (call !== null) {
        tracked = call;
        this.calls.add(call);
      } else if (tracked !== null) this.calls.delete(tracked);
    });
  }

  abort(): void {
    this.act({ do: 'reset' });
  }
}

const parts = new Map<string, readonly { fields: Readonly<Record<string, unknown>> }[]>();
const MAX_PARTS = 1000;

/** The same object for the same fields: what is made of them is remembered by it. */
function partsOf(config: Readonly<Record<string, unknown>>): readonly { fields: Readonly<Record<string, unknown>> }[] {
  const key = JSON.stringify(config);
  let known = parts.get(key);
  if (known === undefined) {
    if (parts.size >= MAX_PARTS) parts.clear();
    known = [{ fields: config }];
    parts.set(key, known);
  }
  return known;
}

/** Asked for in the worker, one at a time. */
function streamProperties(id: number): StreamProperties {
  const ask = (name: string, ...args: unknown[]): unknown => {
    const found = foreignOf(id, ScriptQuestion.Info, encodeJson([name, ...args]));
    return found?.result === undefined ? undefined : decodeJson(found.result);
  };
  return new Proxy({} as StreamProperties, {
    get: (_target, name) => {
      if (typeof name !== 'string') return undefined;
      return METHODS.has(name) ? (...args: unknown[]) => ask(name, ...args) : ask(name);
    },
  });
}

const METHODS: ReadonlySet<string> = new Set(['metadata', 'setMetadata', 'routeMetadata']);
