/**
 * An HTTP stream through a Wasm plugin (Envoy: source/extensions/common/wasm/context.cc, its filter side): which data a module sees and when,
 * what its answers mean for the stream, and what becomes of the stream when the module fails. Kept and used again with its stream.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { DataAction, HeadersAction } from '../../../../wasm/abi/enums.ts';
import type { LocalResponse } from '../../../../wasm/host/context.ts';
import { HttpContext, type HttpStreamHost, REPLIED } from '../../../../wasm/host/http_context.ts';
import type { PluginHandle } from '../../../../wasm/plugin/plugin_handle.ts';
import type { PluginInstance } from '../../../../wasm/plugin/wasm_host.ts';
import {
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type StreamDecoderFilter,
  type StreamEncoderFilter,
} from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { BodyLength } from './body_length.ts';
import { MODULE_FAILURES, PluginStream } from './plugin_stream.ts';

export class WasmFilter extends PluginStream implements StreamDecoderFilter, StreamEncoderFilter, HttpStreamHost {
  private readonly handle: PluginHandle;
  private stream: HttpContext | null = null;
  private instance: PluginInstance | null = null;
  private handleOfStream: PluginHandle;
  /** The first callback of a stream has come. */
  private begun = false;
  private bufferingRequest = false;
  private bufferingResponse = false;
  /** A callback of this side is running: resuming then means not to stop. */
  private inDecode = false;
  private inEncode = false;
  private resumeDecode = false;
  private resumeEncode = false;
  private readonly requestLength = new BodyLength();
  private readonly responseLength = new BodyLength();
  private requestEnded = false;
  private responseEnded = false;
  private pausedDecode = false;
  private pausedEncode = false;

  requestHeaders: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  responseTrailers: HeaderMap | null = null;

  constructor(handle: PluginHandle, context: FactoryContext) {
    super(context, MODULE_FAILURES);
    this.handle = handle;
    this.handleOfStream = handle;
  }

  /** True when the module is to be called; false: the caller continues, or stops after `failedReply`. */
  private ready(): boolean {
    if (!this.begun) this.begin();
    const { instance } = this;
    if (instance === null || instance.wasm.failState !== 'Ok') return false;
    // The module is running and something it did led here: it is never re-entered.
    return instance.wasm.depth === 0;
  }

  private begin(): void {
    this.begun = true;
    this.handleOfStream = this.decoder.perFilterConfig<PluginHandle>() ?? this.handle;
    const instance = this.handleOfStream.acquire();
    this.instance = instance;
    if (instance === null) return;
    if (this.stream === null) this.stream = new HttpContext(instance.root, this);
    this.stream.create(instance.root);
    instance.wasm.addFailCallback(this.onVmFailed);
  }

  /** Somebody else's call ended the VM: a stream that waits for it must not wait for ever. */
  private readonly onVmFailed = (): void => {
    if (this.destroyed || this.inDecode || this.inEncode) return;
    if (this.handleOfStream.failsOpen) {
      if (this.pausedDecode) this.continueRequest();
      if (!this.destroyed && this.pausedEncode) this.continueResponse();
    } else if (this.pausedDecode || this.pausedEncode) this.failStream();
  };

  /** The module cannot be asked. True: go on without it; false: the stream is answered. */
  private passes(): boolean {
    const { instance } = this;
    if (instance !== null && instance.wasm.failState === 'Ok') return true;
    if (this.handleOfStream.failsOpen || this.failedReply) return true;
    this.failStream();
    return false;
  }

  // The request.

  decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    this.requestHeaders = headers;
    if (!this.ready()) return this.passes() ? FilterHeadersStatus.Continue : FilterHeadersStatus.StopAllIterationAndWatermark;
    const stream = this.stream as HttpContext;
    this.inDecode = true;
    const action = stream.onRequestHeaders(headers, endStream);
    this.inDecode = false;
    const status = this.headersStatus(action, this.resumeDecode);
    this.resumeDecode = false;
    if (status === FilterHeadersStatus.Continue) stream.requestHeaders = null;
    this.pausedDecode = status !== FilterHeadersStatus.Continue;
    return status;
  }

  decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (!this.ready()) return this.passes() ? FilterDataStatus.Continue : FilterDataStatus.StopIterationNoBuffer;
    const stream = this.stream as HttpContext;
    if (stream.wasm.on.proxy_on_request_body === null) return FilterDataStatus.Continue;
    let body = data;
    if (this.bufferingRequest) {
      this.decoder.addDecodedData(data, false);
      if (this.destroyed) return FilterDataStatus.StopIterationNoBuffer;
      body = this.decoder.decodingBuffer() ?? data;
    }
    this.inDecode = true;
    const action = stream.onRequestBody(body, endStream);
    this.inDecode = false;
    const status = this.dataStatus(action, this.resumeDecode);
    this.resumeDecode = false;
    this.requestEnded = endStream;
    if (status === FilterDataStatus.Continue || status === FilterDataStatus.StopIterationAndWatermark) {
      if (!this.requestLength.fits(this.requestHeaders, body.length, endStream) && stream.touchedBody) return this.refuseLength();
    }
    this.bufferingRequest = status === FilterDataStatus.StopIterationAndBuffer;
    stream.requestBody = null;
    this.pausedDecode = status !== FilterDataStatus.Continue;
    return status;
  }

  private refuseLength(): FilterDataStatus {
    this.failLength();
    return FilterDataStatus.StopIterationNoBuffer;
  }

  decodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    if (!this.ready()) return this.passes() ? FilterTrailersStatus.Continue : FilterTrailersStatus.StopIteration;
    const stream = this.stream as HttpContext;
    this.inDecode = true;
    const action = stream.onRequestTrailers(trailers);
    this.inDecode = false;
    const status = this.trailersStatus(action, this.resumeDecode);
    this.resumeDecode = false;
    if (status === FilterTrailersStatus.Continue) stream.requestTrailers = null;
    this.pausedDecode = status !== FilterTrailersStatus.Continue;
    return status;
  }

  // The response.

  encode1xxHeaders(): FilterHeadersStatus {
    return FilterHeadersStatus.Continue;
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    this.responseHeaders = headers;
    if (!this.ready()) return this.passes() ? FilterHeadersStatus.Continue : FilterHeadersStatus.StopAllIterationAndWatermark;
    const stream = this.stream as HttpContext;
    this.inEncode = true;
    const action = stream.onResponseHeaders(headers, endStream);
    this.inEncode = false;
    const status = this.headersStatus(action, this.resumeEncode);
    this.resumeEncode = false;
    if (status === FilterHeadersStatus.Continue) stream.responseHeaders = null;
    this.pausedEncode = status !== FilterHeadersStatus.Continue;
    return status;
  }

  encodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (!this.ready()) return this.passes() ? FilterDataStatus.Continue : FilterDataStatus.StopIterationNoBuffer;
    const stream = this.stream as HttpContext;
    if (stream.wasm.on.proxy_on_response_body === null) return FilterDataStatus.Continue;
    let body = data;
    if (this.bufferingResponse) {
      this.encoder.addEncodedData(data, false);
      if (this.destroyed) return FilterDataStatus.StopIterationNoBuffer;
      body = this.encoder.encodingBuffer() ?? data;
    }
    this.inEncode = true;
    const action = stream.onResponseBody(body, endStream);
    this.inEncode = false;
    const status = this.dataStatus(action, this.resumeEncode);
    this.resumeEncode = false;
    this.responseEnded = endStream;
    if (status === FilterDataStatus.Continue || status === FilterDataStatus.StopIterationAndWatermark) {
      if (!this.responseLength.fits(this.responseHeaders, body.length, endStream) && stream.touchedBody)
        return this.refuseLength();
    }
    this.bufferingResponse = status === FilterDataStatus.StopIterationAndBuffer;
    stream.responseBody = null;
    this.pausedEncode = status !== FilterDataStatus.Continue;
    return status;
  }

  encodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.responseTrailers = trailers;
    if (!this.ready()) return this.passes() ? FilterTrailersStatus.Continue : FilterTrailersStatus.StopIteration;
    const stream = this.stream as HttpContext;
    this.inEncode = true;
    const action = stream.onResponseTrailers(trailers);
    this.inEncode = false;
    const status = this.trailersStatus(action, this.resumeEncode);
    this.resumeEncode = false;
    if (status === FilterTrailersStatus.Continue) stream.responseTrailers = null;
    this.pausedEncode = status !== FilterTrailersStatus.Continue;
    return status;
  }

  // What the module's answers mean.

  private headersStatus(action: number, resume: boolean): FilterHeadersStatus {
    if (this.trapped()) return this.passes() ? FilterHeadersStatus.Continue : FilterHeadersStatus.StopAllIterationAndWatermark;
    if (action === REPLIED) return FilterHeadersStatus.StopAllIterationAndWatermark;
    if (resume || action === HeadersAction.Continue || action === HeadersAction.ContinueAndEndStream)
      return FilterHeadersStatus.Continue;
    if (action === HeadersAction.StopIteration && this.handleOfStream.settings.allowOnHeadersStopIteration)
      return FilterHeadersStatus.StopIteration;
    return action === HeadersAction.StopAllBuffer
      ? FilterHeadersStatus.StopAllIterationAndBuffer
      : FilterHeadersStatus.StopAllIterationAndWatermark;
  }

  private dataStatus(action: number, resume: boolean): FilterDataStatus {
    if (this.trapped()) return this.passes() ? FilterDataStatus.Continue : FilterDataStatus.StopIterationNoBuffer;
    if (action === REPLIED) return FilterDataStatus.StopIterationNoBuffer;
    if (resume || action === DataAction.Continue) return FilterDataStatus.Continue;
    if (action === DataAction.StopAndBuffer) return FilterDataStatus.StopIterationAndBuffer;
    return action === DataAction.StopAndWatermark
      ? FilterDataStatus.StopIterationAndWatermark
      : FilterDataStatus.StopIterationNoBuffer;
  }

  private trailersStatus(action: number, resume: boolean): FilterTrailersStatus {
    if (this.trapped()) return this.passes() ? FilterTrailersStatus.Continue : FilterTrailersStatus.StopIteration;
    return action === REPLIED || (action !== 0 && !resume) ? FilterTrailersStatus.StopIteration : FilterTrailersStatus.Continue;
  }

  private trapped(): boolean {
    return this.instance !== null && this.instance.wasm.failState !== 'Ok';
  }

  // HttpStreamHost: what the module asked for, when it has returned.

  continueRequest(): void {
    if (this.destroyed) return;
    if (this.inDecode) {
      this.resumeDecode = true;
      return;
    }
    this.pausedDecode = false;
    if (this.bufferingRequest) {
      this.bufferingRequest = false;
      const held = this.decoder.decodingBuffer()?.length ?? 0;
      if (!this.requestLength.fits(this.requestHeaders, held, this.requestEnded) && this.stream?.touchedBody === true) {
        this.refuseLength();
        return;
      }
    }
    this.decoder.continueDecoding();
  }

  continueResponse(): void {
    if (this.destroyed) return;
    if (this.inEncode) {
      this.resumeEncode = true;
      return;
    }
    this.pausedEncode = false;
    if (this.bufferingResponse) {
      this.bufferingResponse = false;
      const held = this.encoder.encodingBuffer()?.length ?? 0;
      if (!this.responseLength.fits(this.responseHeaders, held, this.responseEnded) && this.stream?.touchedBody === true) {
        this.refuseLength();
        return;
      }
    }
    this.encoder.continueEncoding();
  }

  resetStream(): void {
    if (this.destroyed) return;
    this.info.responseCodeDetails = 'wasm_close_stream';
    this.decoder.resetStream(0);
  }

  sendLocalReply(response: LocalResponse): void {
    if (this.destroyed) return;
    this.stream?.forgetReply();
    this.reply(response);
  }

  clearRouteCache(): void {
    if (!this.destroyed) this.decoder.clearRouteCache();
  }

  heldRequestBody(): SliceBuffer | null {
    return this.bufferingRequest && !this.destroyed ? this.decoder.decodingBuffer() : null;
  }

  heldResponseBody(): SliceBuffer | null {
    return this.bufferingResponse && !this.destroyed ? this.encoder.encodingBuffer() : null;
  }

  addRequestTrailers(): HeaderMap | null {
    return this.inDecode ? this.decoder.addDecodedTrailers() : null;
  }

  addResponseTrailers(): HeaderMap | null {
    return this.inEncode ? this.encoder.addEncodedTrailers() : null;
  }

  // The end.

  onDestroy(): void {
    if (!this.begun && this.requestHeaders === null && this.responseHeaders === null) this.begin();
    this.destroyed = true;
    this.completed = true;
    const { instance, stream } = this;
    this.instance = null;
    if (instance === null || stream === null) {
      this.forget();
      return;
    }
    instance.wasm.removeFailCallback(this.onVmFailed);
    if (instance.wasm.depth > 0) {
      // The module's own doing ended the stream: what it is told of that comes when it has returned.
      this.stream = null;
      instance.wasm.afterCall(() => {
        stream.end(null, null, null);
        instance.release();
      });
      this.forget();
      return;
    }
    stream.end(this.requestHeaders, this.responseHeaders, this.responseTrailers);
    instance.release();
    this.forget();
  }

  private forget(): void {
    this.requestHeaders = null;
    this.responseHeaders = null;
    this.responseTrailers = null;
  }

  reset(): void {
    this.begun = false;
    this.destroyed = false;
    this.completed = false;
    this.failedReply = false;
    this.bufferingRequest = false;
    this.bufferingResponse = false;
    this.requestLength.reset();
    this.responseLength.reset();
    this.requestEnded = false;
    this.responseEnded = false;
    this.resumeDecode = false;
    this.resumeEncode = false;
    this.pausedDecode = false;
    this.pausedEncode = false;
  }
}
