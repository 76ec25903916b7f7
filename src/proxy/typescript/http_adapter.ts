/**
 * Between the filter manager and an object of a user's filter class: calls its phases, waits for its promises without holding up anything
 * but this stream, and answers for its mistakes. One adapter per place in a chain; it serves one stream after the other.
 *
 * A phase that throws, rejects or takes longer than the deadline ends this stream with 500 (504), or with `failure_policy: FAIL_OPEN` lets
 * it go on without the filter.
 */
import { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { AsyncRequest } from '../http/async_client.ts';
import { StreamResetReason } from '../http/codec.ts';
import { LazyTimer } from '../http/conn_manager/lazy_timer.ts';
import {
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type StreamDecoderFilter,
  type StreamDecoderFilterCallbacks,
  type StreamEncoderFilter,
  type StreamEncoderFilterCallbacks,
} from '../http/filter.ts';
import type { HeaderMap } from '../http/header_map.ts';
import { type Body, BodyView, toBytes } from './body_view.ts';
import { type Headers, HeadersView, headerName, headerValue } from './headers_view.ts';
import { CallError, type CallRequest, type CallResponse, type Host } from './host_api.ts';
import type { Action, HttpFilter, HttpFilterInit, HttpStream, LocalReply, PhaseResult } from './http_filter.ts';
import type { HttpFilterVersion, RoutePart } from './http_filter_version.ts';
import { Lane, type LaneSide } from './lane.ts';
import type { ScriptHost } from './script_host.ts';
import type { ScriptUse } from './script_modules.ts';
import { PropertiesView } from './stream_properties.ts';

/** By Action. */
const HEADERS_STATUS = [
  FilterHeadersStatus.Continue,
  FilterHeadersStatus.StopIteration,
  FilterHeadersStatus.StopAllIterationAndBuffer,
  FilterHeadersStatus.StopAllIterationAndWatermark,
  FilterHeadersStatus.StopIteration,
] as const;
const DATA_STATUS = [
  FilterDataStatus.Continue,
  FilterDataStatus.StopIterationAndWatermark,
  FilterDataStatus.StopIterationAndBuffer,
  FilterDataStatus.StopIterationAndWatermark,
  FilterDataStatus.StopIterationNoBuffer,
] as const;

type Settled = Action | undefined;
type Pending = Extract<PhaseResult, Promise<unknown>>;

export class HttpFilterAdapter implements StreamDecoderFilter, StreamEncoderFilter, HttpStream {
  private readonly use: ScriptUse<HttpFilterVersion>;
  private readonly scripts: ScriptHost;
  private decoder!: StreamDecoderFilterCallbacks;
  private encoder!: StreamEncoderFilterCallbacks;
  private version: HttpFilterVersion | null = null;
  private filter: HttpFilter<unknown, unknown> | null = null;
  /** The version that `filter` is of, when it was kept from the stream before. */
  private keptVersion: HttpFilterVersion | null = null;
  private keptConfig: unknown;
  private readonly init: { -readonly [K in keyof HttpFilterInit<unknown, unknown>]: HttpFilterInit<unknown, unknown>[K] };
  /** The filter failed: its code does not run again on this stream. */
  private dead = false;
  private begun = false;
  /** Tells promises of this stream from those of earlier ones. */
  private token = 0;
  private readonly request = new HeadersView('request headers');
  private readonly requestTrailerView = new HeadersView('request trailers');
  private readonly response = new HeadersView('response headers');
  private readonly responseTrailerView = new HeadersView('response trailers');
  private readonly requestBody = new BodyView();
  private readonly responseBody = new BodyView();
  private properties!: PropertiesView;
  private requestLane: Lane | null = null;
  private responseLane: Lane | null = null;
  private deadline: LazyTimer | null = null;
  /** The last phase that returned a promise. */
  private pendingPhase = '';
  private calls: Set<AsyncRequest> | null = null;

  constructor(use: ScriptUse<HttpFilterVersion>, scripts: ScriptHost) {
    this.use = use;
    this.scripts = scripts;
    this.init = { stream: this, config: undefined, shared: undefined, host: use.current.host as Host<unknown> };
  }

  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void {
    this.decoder = callbacks;
    this.properties = new PropertiesView(callbacks.dispatcher);
  }

  setEncoderFilterCallbacks(callbacks: StreamEncoderFilterCallbacks): void {
    this.encoder = callbacks;
  }

  // Phases of the request.

  decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    this.request.map = headers;
    if (!this.begun && !this.begin()) return this.dead ? FilterHeadersStatus.StopIteration : FilterHeadersStatus.Continue;
    const filter = this.filter;
    if (this.dead || filter === null || !(this.version as HttpFilterVersion).has.onRequestHeaders) {
      return FilterHeadersStatus.Continue;
    }
    let result: PhaseResult;
    try {
      result = filter.onRequestHeaders(this.request, endStream);
    } catch (error) {
      this.fail(error, 'onRequestHeaders');
      return this.afterFailure(FilterHeadersStatus.Continue, FilterHeadersStatus.StopIteration);
    }
    if (result === undefined) return FilterHeadersStatus.Continue;
    if (typeof result === 'number') return HEADERS_STATUS[result];
    const lane = this.laneOfRequest();
    lane.holdHeaders(endStream);
    this.wait(lane, result, 'onRequestHeaders');
    return FilterHeadersStatus.StopIteration;
  }

  decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    const lane = this.requestLane;
    if (lane?.busy) {
      lane.enqueue(data, endStream);
      return FilterDataStatus.StopIterationNoBuffer;
    }
    const filter = this.filter;
    if (this.dead || filter === null || !(this.version as HttpFilterVersion).has.onRequestData) return FilterDataStatus.Continue;
    const body = this.requestBody;
    let result: PhaseResult;
    body.buffer = data;
    try {
      result = filter.onRequestData(body, endStream);
    } catch (error) {
      this.fail(error, 'onRequestData');
      return this.afterFailure(FilterDataStatus.Continue, FilterDataStatus.StopIterationNoBuffer);
    } finally {
      body.buffer = null;
    }
    if (result === undefined) return FilterDataStatus.Continue;
    if (typeof result === 'number') return this.dataStatus(result, data);
    return this.waitForData(this.laneOfRequest(), data, endStream, result, 'onRequestData');
  }

  decodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.requestTrailerView.map = trailers;
    const lane = this.requestLane;
    if (lane?.busy) {
      lane.enqueueTrailers();
      return FilterTrailersStatus.StopIteration;
    }
    const filter = this.filter;
    if (this.dead || filter === null || !(this.version as HttpFilterVersion).has.onRequestTrailers) {
      return FilterTrailersStatus.Continue;
    }
    let result: PhaseResult;
    try {
      result = filter.onRequestTrailers(this.requestTrailerView);
    } catch (error) {
      this.fail(error, 'onRequestTrailers');
      return this.afterFailure(FilterTrailersStatus.Continue, FilterTrailersStatus.StopIteration);
    }
    if (result === undefined) return FilterTrailersStatus.Continue;
    if (typeof result === 'number') return result === 0 ? FilterTrailersStatus.Continue : FilterTrailersStatus.StopIteration;
    return this.waitForTrailers(this.laneOfRequest(), result, 'onRequestTrailers');
  }

  // Phases of the response.

  encode1xxHeaders(_headers: HeaderMap): FilterHeadersStatus {
    return FilterHeadersStatus.Continue;
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    this.response.map = headers;
    // Another filter may have answered before this one saw the request.
    if (!this.begun && !this.begin()) return this.dead ? FilterHeadersStatus.StopIteration : FilterHeadersStatus.Continue;
    const filter = this.filter;
    if (this.dead || filter === null || !(this.version as HttpFilterVersion).has.onResponseHeaders) {
      return FilterHeadersStatus.Continue;
    }
    let result: PhaseResult;
    try {
      result = filter.onResponseHeaders(this.response, endStream);
    } catch (error) {
      this.fail(error, 'onResponseHeaders');
      return this.afterFailure(FilterHeadersStatus.Continue, FilterHeadersStatus.StopIteration);
    }
    if (result === undefined) return FilterHeadersStatus.Continue;
    if (typeof result === 'number') return HEADERS_STATUS[result];
    const lane = this.laneOfResponse();
    lane.holdHeaders(endStream);
    this.wait(lane, result, 'onResponseHeaders');
    return FilterHeadersStatus.StopIteration;
  }

  encodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    const lane = this.responseLane;
    if (lane?.busy) {
      lane.enqueue(data, endStream);
      return FilterDataStatus.StopIterationNoBuffer;
    }
    const filter = this.filter;
    if (this.dead || filter === null || !(this.version as HttpFilterVersion).has.onResponseData) return FilterDataStatus.Continue;
    const body = this.responseBody;
    let result: PhaseResult;
    body.buffer = data;
    try {
      result = filter.onResponseData(body, endStream);
    } catch (error) {
      this.fail(error, 'onResponseData');
      return this.afterFailure(FilterDataStatus.Continue, FilterDataStatus.StopIterationNoBuffer);
    } finally {
      body.buffer = null;
    }
    if (result === undefined) return FilterDataStatus.Continue;
    if (typeof result === 'number') return this.dataStatus(result, data);
    return this.waitForData(this.laneOfResponse(), data, endStream, result, 'onResponseData');
  }

  encodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.responseTrailerView.map = trailers;
    const lane = this.responseLane;
    if (lane?.busy) {
      lane.enqueueTrailers();
      return FilterTrailersStatus.StopIteration;
    }
    const filter = this.filter;
    if (this.dead || filter === null || !(this.version as HttpFilterVersion).has.onResponseTrailers) {
      return FilterTrailersStatus.Continue;
    }
    let result: PhaseResult;
    try {
      result = filter.onResponseTrailers(this.responseTrailerView);
    } catch (error) {
      this.fail(error, 'onResponseTrailers');
      return this.afterFailure(FilterTrailersStatus.Continue, FilterTrailersStatus.StopIteration);
    }
    if (result === undefined) return FilterTrailersStatus.Continue;
    if (typeof result === 'number') return result === 0 ? FilterTrailersStatus.Continue : FilterTrailersStatus.StopIteration;
    return this.waitForTrailers(this.laneOfResponse(), result, 'onResponseTrailers');
  }

  private dataStatus(action: Action, data: SliceBuffer): FilterDataStatus {
    const status = DATA_STATUS[action];
    if (status === FilterDataStatus.StopIterationNoBuffer) data.clear();
    return status;
  }

  // Promises.

  private waitForData(lane: Lane, data: SliceBuffer, endStream: boolean, result: Pending, phase: string): FilterDataStatus {
    // The filter has the view in hand: it goes on over the bytes where they lie now.
    lane.body.buffer = lane.holdCurrent(data, endStream);
    this.wait(lane, result, phase);
    return FilterDataStatus.StopIterationNoBuffer;
  }

  private waitForTrailers(lane: Lane, result: Pending, phase: string): FilterTrailersStatus {
    lane.holdTrailers();
    this.wait(lane, result, phase);
    return FilterTrailersStatus.StopIteration;
  }

  private wait(lane: Lane, result: Pending, phase: string): void {
    const token = this.token;
    this.pendingPhase = phase;
    const deadlineMs = (this.version as HttpFilterVersion).settings.deadlineMs;
    if (deadlineMs > 0) {
      this.deadline ??= new LazyTimer(this.decoder.dispatcher, () => this.onDeadline());
      this.deadline.set(deadlineMs);
    }
    result.then(
      (action) => {
        if (token === this.token) this.scripts.post(() => this.onSettled(token, lane, action as Settled));
      },
      (error: unknown) => {
        if (token === this.token) this.scripts.post(() => this.onRejected(token, error, phase));
      },
    );
    this.scripts.wakeNode();
  }

  private onSettled(token: number, lane: Lane, action: Settled): void {
    if (token !== this.token) return;
    this.clearDeadline(lane);
    // Held back until `continueRequest` / `continueResponse`.
    if (action === undefined || action === 0) lane.settled();
  }

  private onRejected(token: number, error: unknown, phase: string): void {
    if (token !== this.token || this.dead) return;
    this.fail(error, phase);
  }

  /** The deadline is one for both directions: it counts from the last promise. */
  private clearDeadline(settled: Lane): void {
    const other = settled === this.requestLane ? this.responseLane : this.requestLane;
    if (other === null || !other.busy) this.deadline?.clear();
  }

  private onDeadline(): void {
    if (this.version === null || this.dead) return;
    const { deadlineMs } = this.version.settings;
    this.fail(new Error(`took longer than ${deadlineMs} ms`), this.pendingPhase, 504);
  }

  // Mistakes of the filter.

  /** Counts and logs; then the stream goes on without the filter, or is answered. */
  private fail(error: unknown, phase: string, status = 500): void {
    const version = this.version as HttpFilterVersion;
    version.host.reportError(error, phase);
    this.dead = true;
    this.token++;
    this.deadline?.clear();
    if (version.settings.failOpen) {
      for (const lane of [this.requestLane, this.responseLane]) {
        if (lane === null) continue;
        lane.bypass = true;
        if (lane.busy) lane.settled();
      }
      return;
    }
    this.decoder.sendLocalReply(status, '', null, null, `typescript_filter_failed{${version.settings.name}}`);
  }

  private afterFailure<T>(open: T, closed: T): T {
    return this.version?.settings.failOpen === true ? open : closed;
  }

  // The stream's beginning and end.

  /** Makes the filter object. False when there is none to call. */
  private begin(): boolean {
    this.begun = true;
    const version = this.use.current;
    this.version = version;
    version.acquire();
    this.properties.info = this.decoder.streamInfo;
    try {
      const parts = this.decoder.perFilterConfigs<RoutePart>();
      const config = parts.length === 0 ? version.config : version.configFor(parts);
      if (this.filter !== null && this.keptVersion === version && this.keptConfig === config) {
        (this.filter as unknown as { reset(): void }).reset();
        return true;
      }
      const init = this.init;
      init.config = config;
      init.shared = version.shared;
      init.host = version.host;
      this.filter = new version.extensionClass(init);
      if (version.reusable) {
        this.keptVersion = version;
        this.keptConfig = config;
      }
      return true;
    } catch (error) {
      this.filter = null;
      this.fail(error, 'constructor');
      if (version.settings.failOpen) this.dead = false;
      return false;
    }
  }

  onStreamComplete(): void {
    const version = this.version;
    if (version === null || this.dead || this.filter === null || !version.has.onLog) return;
    try {
      this.filter.onLog();
    } catch (error) {
      version.host.reportError(error, 'onLog');
    }
  }

  onDestroy(): void {
    const version = this.version;
    if (version === null) return;
    this.token++;
    this.deadline?.clear();
    if (this.calls !== null && this.calls.size > 0) this.cancelCalls(this.calls);
    if (this.filter !== null && version.has.onDestroy) {
      try {
        this.filter.onDestroy();
      } catch (error) {
        version.host.reportError(error, 'onDestroy');
      }
    }
    this.requestLane?.reset();
    this.responseLane?.reset();
    this.request.map = null;
    this.requestTrailerView.map = null;
    this.response.map = null;
    this.responseTrailerView.map = null;
    this.requestBody.buffer = null;
    this.responseBody.buffer = null;
    this.properties.info = null;
    this.version = null;
    if (!version.reusable || this.dead) this.filter = null;
    version.release();
  }

  reset(): void {
    this.begun = false;
    this.dead = false;
  }

  // HttpStream.

  get id(): number {
    return this.decoder.streamId;
  }

  get requestHeaders(): Headers | null {
    return this.request.map === null ? null : this.request;
  }

  get requestTrailers(): Headers | null {
    return this.requestTrailerView.map === null ? null : this.requestTrailerView;
  }

  get responseHeaders(): Headers | null {
    return this.response.map === null ? null : this.response;
  }

  get responseTrailers(): Headers | null {
    return this.responseTrailerView.map === null ? null : this.responseTrailerView;
  }

  get info(): PropertiesView {
    return this.properties;
  }

  reply({ status, body = '', headers, grpcStatus, details }: LocalReply): void {
    const version = this.live();
    if (!Number.isInteger(status) || status < 200 || status > 599) throw new RangeError(`${status} is not a status to answer`);
    const lines = Object.entries(headers ?? {}).map(([name, value]) => [headerName(name), headerValue(value)] as const);
    const modify =
      lines.length === 0
        ? null
        : (map: HeaderMap): void => {
            for (const [name, value] of lines) map.set(name, value);
          };
    this.decoder.sendLocalReply(
      status,
      typeof body === 'string' ? body : toBytes(body),
      modify,
      grpcStatus ?? null,
      details ?? `typescript_filter{${version.settings.name}}`,
    );
  }

  continueRequest(): void {
    if (this.version === null) return;
    const lane = this.requestLane;
    if (lane?.busy) lane.settled();
    else this.decoder.continueDecoding();
  }

  continueResponse(): void {
    if (this.version === null) return;
    const lane = this.responseLane;
    if (lane?.busy) lane.settled();
    else this.encoder.continueEncoding();
  }

  bufferRequestBody(maxBytes?: number): Promise<Body> {
    this.live();
    return this.whole(this.laneOfRequest(), maxBytes ?? unlimitedIfZero(this.decoder.decoderBufferLimit));
  }

  bufferResponseBody(maxBytes?: number): Promise<Body> {
    this.live();
    return this.whole(this.laneOfResponse(), maxBytes ?? unlimitedIfZero(this.encoder.encoderBufferLimit));
  }

  /** The phase has not returned its promise yet when it asks: the lane begins to hold when it has. */
  private whole(lane: Lane, maxBytes: number): Promise<Body> {
    return Promise.resolve().then(() => lane.whole(maxBytes));
  }

  addRequestData(content: string | Uint8Array): void {
    this.live();
    const data = this.newBuffer();
    data.append(toBytes(content));
    if (this.requestLane?.holds) this.requestLane.add(data);
    else this.decoder.addDecodedData(data, true);
  }

  addResponseData(content: string | Uint8Array): void {
    this.live();
    const data = this.newBuffer();
    data.append(toBytes(content));
    if (this.responseLane?.holds) this.responseLane.add(data);
    else this.encoder.addEncodedData(data, true);
  }

  addRequestTrailers(): Headers {
    this.live();
    this.requestTrailerView.map = this.decoder.addDecodedTrailers();
    return this.requestTrailerView;
  }

  addResponseTrailers(): Headers {
    this.live();
    this.responseTrailerView.map = this.encoder.addEncodedTrailers();
    return this.responseTrailerView;
  }

  clearRouteCache(): void {
    this.live();
    this.decoder.clearRouteCache();
  }

  call(cluster: string, request: CallRequest = {}): Promise<CallResponse> {
    const version = this.version;
    if (version === null) return Promise.reject(new CallError('stream_ended', 'the stream is over'));
    let tracked: AsyncRequest | null = null;
    return version.host.startCall(cluster, request, (call) => {
      if (call !== null) {
        tracked = call;
        this.calls ??= new Set();
        this.calls.add(call);
      } else if (tracked !== null) this.calls?.delete(tracked);
    });
  }

  private cancelCalls(calls: Set<AsyncRequest>): void {
    for (const call of calls) call.cancel();
    calls.clear();
  }

  abort(): void {
    this.live();
    this.decoder.resetStream(StreamResetReason.LocalReset);
  }

  private live(): HttpFilterVersion {
    if (this.version === null) throw new Error('the stream is over');
    return this.version;
  }

  // Lanes.

  private laneOfRequest(): Lane {
    this.requestLane ??= new Lane(this.requestSide(), this.requestBody, () => this.newBuffer());
    return this.requestLane;
  }

  private laneOfResponse(): Lane {
    this.responseLane ??= new Lane(this.responseSide(), this.responseBody, () => this.newBuffer());
    return this.responseLane;
  }

  private newBuffer(): SliceBuffer {
    return new SliceBuffer(this.decoder.dispatcher.slab);
  }

  private requestSide(): LaneSide {
    return {
      headers: this.request,
      trailers: this.requestTrailerView,
      bufferLimit: () => this.decoder.decoderBufferLimit,
      give: (data) => this.decoder.addDecodedData(data, true),
      inject: (data) => this.decoder.injectDecodedData(data, false),
      resume: () => this.decoder.continueDecoding(),
      backUp: (full) => {
        if (full) this.decoder.onDecoderFilterAboveWriteBufferHighWatermark();
        else this.decoder.onDecoderFilterBelowWriteBufferLowWatermark();
      },
      tooLarge: () => this.decoder.sendLocalReply(413, 'Payload Too Large', null, null, 'request_payload_too_large'),
      wake: () => this.scripts.wakeNode(),
      runData: (body, endStream) => this.runHeld(this.laneOfRequest(), 'onRequestData', body, endStream),
      runTrailers: () => this.runHeld(this.laneOfRequest(), 'onRequestTrailers', null, true),
    };
  }

  private responseSide(): LaneSide {
    return {
      headers: this.response,
      trailers: this.responseTrailerView,
      bufferLimit: () => this.encoder.encoderBufferLimit,
      give: (data) => this.encoder.addEncodedData(data, true),
      inject: (data) => this.encoder.injectEncodedData(data, false),
      resume: () => this.encoder.continueEncoding(),
      backUp: (full) => {
        if (full) this.encoder.onEncoderFilterAboveWriteBufferHighWatermark();
        else this.encoder.onEncoderFilterBelowWriteBufferLowWatermark();
      },
      tooLarge: () => this.encoder.sendLocalReply(500, 'Internal Server Error', null, null, 'response_payload_too_large'),
      wake: () => this.scripts.wakeNode(),
      runData: (body, endStream) => this.runHeld(this.laneOfResponse(), 'onResponseData', body, endStream),
      runTrailers: () => this.runHeld(this.laneOfResponse(), 'onResponseTrailers', null, true),
    };
  }

  /** A phase over what a lane held. Stop actions hold it further, until `continue...`. */
  private runHeld(lane: Lane, phase: HeldPhase, body: BodyView | null, endStream: boolean): boolean {
    const filter = this.filter;
    if (this.dead || filter === null || !(this.version as HttpFilterVersion).has[phase]) return true;
    let result: PhaseResult;
    try {
      result = body === null ? this.runTrailers(filter, phase) : this.runData(filter, phase, body, endStream);
    } catch (error) {
      this.fail(error, phase);
      return this.version?.settings.failOpen === true;
    }
    if (result === undefined || result === 0) return true;
    if (typeof result !== 'number') this.wait(lane, result, phase);
    return false;
  }

  private runData(filter: HttpFilter<unknown, unknown>, phase: HeldPhase, body: BodyView, endStream: boolean): PhaseResult {
    return phase === 'onRequestData' ? filter.onRequestData(body, endStream) : filter.onResponseData(body, endStream);
  }

  private runTrailers(filter: HttpFilter<unknown, unknown>, phase: HeldPhase): PhaseResult {
    return phase === 'onRequestTrailers'
      ? filter.onRequestTrailers(this.requestTrailerView)
      : filter.onResponseTrailers(this.responseTrailerView);
  }
}

type HeldPhase = 'onRequestData' | 'onRequestTrailers' | 'onResponseData' | 'onResponseTrailers';

function unlimitedIfZero(limit: number): number {
  return limit === 0 ? Number.MAX_SAFE_INTEGER : limit;
}
