/**
 * An HTTP stream through a plugin that runs in a thread of its own: the stream is paused while the module works, and goes on with what it made
 * of the message. Bodies reach the module whole (up to the buffer limit), and only when it has a callback for them.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { HeadersAction } from '../../../../wasm/abi/enums.ts';
import { REPLIED } from '../../../../wasm/host/http_context.ts';
import type { IsolatedInstance, IsolatedStreamHost } from '../../../../wasm/isolated/isolated_instance.ts';
import type { CallKind, Outcome, Pairs, StreamAction } from '../../../../wasm/isolated/protocol.ts';
import type { PluginHandle } from '../../../../wasm/plugin/plugin_handle.ts';
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
import { type FailureAnswers, MODULE_FAILURES, PluginStream } from './plugin_stream.ts';

/** One direction of the stream. */
interface Direction {
  readonly isRequest: boolean;
  headers: HeaderMap | null;
  trailers: HeaderMap | null;
  /** Calls whose outcomes have not come, and what is to be shown when they have. */
  waiting: CallKind | null;
  next: (() => void)[];
  /** The module said pause: it will resume the direction itself. */
  paused: boolean;
  /** Something stands still in the manager because of this filter. */
  stopped: boolean;
  /** The module resumed it before the outcome of its callback came. */
  resumed: boolean;
  bodyShown: boolean;
}

const direction = (isRequest: boolean): Direction => ({
  isRequest,
  headers: null,
  trailers: null,
  waiting: null,
  next: [],
  paused: false,
  stopped: false,
  resumed: false,
  bodyShown: false,
});

export class IsolatedFilter extends PluginStream implements StreamDecoderFilter, StreamEncoderFilter, IsolatedStreamHost {
  private readonly handleOfFilter: PluginHandle<IsolatedInstance>;
  /** Of the stream: its route may name another plugin. */
  private handle: PluginHandle<IsolatedInstance>;
  private instance: IsolatedInstance | null = null;
  private stream = 0;
  private begun = false;
  /** The module answered: nothing more of the request is its business. */
  private replied = false;
  private readonly request = direction(true);
  private readonly response = direction(false);

  /** Goes with the first call of the stream. */
  private config: Readonly<Record<string, unknown>> | undefined = undefined;

  constructor(handle: PluginHandle<IsolatedInstance>, context: FactoryContext, answers: FailureAnswers = MODULE_FAILURES) {
    super(context, answers);
    this.handleOfFilter = handle;
    this.handle = handle;
  }

  get requestHeaders(): HeaderMap | null {
    return this.request.headers;
  }

  get responseHeaders(): HeaderMap | null {
    return this.response.headers;
  }

  get responseTrailers(): HeaderMap | null {
    return this.response.trailers;
  }

  private begin(): void {
    this.begun = true;
    this.handle = this.handleOfRoute() ?? this.handleOfFilter;
    this.config = this.configOfRoute();
    this.instance = this.handle.acquire();
    if (this.instance !== null) this.stream = this.instance.openStream(this);
  }

  protected handleOfRoute(): PluginHandle<IsolatedInstance> | undefined {
    return this.decoder.perFilterConfig<PluginHandle<IsolatedInstance>>();
  }

  /** Of routes that have no plugin of their own, but something for the filter's. */
  protected configOfRoute(): Readonly<Record<string, unknown>> | undefined {
    return undefined;
  }

  /** True when the module is there to be called for this callback. */
  private wants(callback: string): boolean {
    if (!this.begun) this.begin();
    const { instance } = this;
    return instance !== null && !instance.failed && instance.callbacks.has(callback);
  }

  /** The module cannot be asked: true when the stream goes on without it. */
  private passes(): boolean {
    const { instance } = this;
    if ((instance !== null && !instance.failed) || this.handle.failsOpen || this.failedReply) return true;
    this.failStream();
    return false;
  }

  private send(side: Direction, kind: CallKind, map: HeaderMap | null, body: Uint8Array | null, end: boolean): void {
    const run = (): void => {
      side.waiting = kind;
      const pairs = map === null ? null : [...map.entries()];
      const { config } = this;
      this.config = undefined;
      (this.instance as IsolatedInstance).call({ type: 'call', stream: this.stream, kind, pairs, body, end, config });
    };
    side.stopped = true;
    if (side.waiting === null && !side.paused) run();
    else side.next.push(run);
  }

  // The request.

  decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    this.request.headers = headers;
    return this.headersCallback(this.request, 'requestHeaders', 'proxy_on_request_headers', headers, endStream);
  }

  decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    return this.dataCallback(this.request, 'requestBody', 'proxy_on_request_body', data, endStream);
  }

  decodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.request.trailers = trailers;
    return this.trailersCallback(this.request, trailers);
  }

  // The response.

  encode1xxHeaders(): FilterHeadersStatus {
    return FilterHeadersStatus.Continue;
  }

  encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    this.response.headers = headers;
    return this.headersCallback(this.response, 'responseHeaders', 'proxy_on_response_headers', headers, endStream);
  }

  encodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    return this.dataCallback(this.response, 'responseBody', 'proxy_on_response_body', data, endStream);
  }

  encodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.response.trailers = trailers;
    return this.trailersCallback(this.response, trailers);
  }

  private headersCallback(
    side: Direction,
    kind: CallKind,
    callback: string,
    headers: HeaderMap,
    end: boolean,
  ): FilterHeadersStatus {
    if (!this.wants(callback))
      return this.passes() ? FilterHeadersStatus.Continue : FilterHeadersStatus.StopAllIterationAndWatermark;
    this.send(side, kind, headers, null, end);
    return FilterHeadersStatus.StopAllIterationAndWatermark;
  }

  private dataCallback(side: Direction, kind: CallKind, callback: string, data: SliceBuffer, end: boolean): FilterDataStatus {
    if (!this.wants(callback) || side.bodyShown)
      return this.passes() ? FilterDataStatus.Continue : FilterDataStatus.StopIterationNoBuffer;
    if (!end) return FilterDataStatus.StopIterationAndBuffer;
    if (side.isRequest) this.decoder.addDecodedData(data, false);
    else this.encoder.addEncodedData(data, false);
    if (this.destroyed) return FilterDataStatus.StopIterationNoBuffer;
    side.bodyShown = true;
    this.send(side, kind, null, this.buffered(side).toBytes(), true);
    return FilterDataStatus.StopIterationAndBuffer;
  }

  private trailersCallback(side: Direction, trailers: HeaderMap): FilterTrailersStatus {
    const which = side.isRequest ? 'request' : 'response';
    const body = this.wants(`proxy_on_${which}_body`) && !side.bodyShown;
    const own = this.wants(`proxy_on_${which}_trailers`);
    if (!body && !own) return this.passes() ? FilterTrailersStatus.Continue : FilterTrailersStatus.StopIteration;
    if (body) {
      side.bodyShown = true;
      this.send(side, `${which}Body`, null, this.buffered(side).toBytes(), false);
    }
    if (own) this.send(side, `${which}Trailers`, trailers, null, true);
    return FilterTrailersStatus.StopIteration;
  }

  private buffered(side: Direction): SliceBuffer {
    const buffer = side.isRequest ? this.decoder.decodingBuffer() : this.encoder.encodingBuffer();
    return buffer ?? new SliceBuffer(this.decoder.dispatcher.slab);
  }

  // IsolatedStreamHost.

  onOutcome(outcome: Outcome, kind: CallKind): void {
    if (!this.destroyed) this.apply(kind.startsWith('request') ? this.request : this.response, outcome);
  }

  private apply(side: Direction, { action, pairs, body, trailers }: Outcome): void {
    const kind = side.waiting as CallKind;
    side.waiting = null;
    if (pairs !== null) {
      const map = kind.endsWith('Headers') ? side.headers : side.trailers;
      if (map !== null) replacePairs(map, pairs);
      if (kind === 'requestHeaders') this.decoder.clearRouteCache();
    }
    if (body !== null) {
      if (!new BodyLength().fits(side.headers, body.length, true)) {
        this.failLength();
        return;
      }
      this.replaceBody(side, body);
    }
    if (trailers !== null) {
      const added = side.isRequest ? this.decoder.addDecodedTrailers() : this.encoder.addEncodedTrailers();
      replacePairs(added, trailers);
    }
    if (this.replied || action === REPLIED) return;
    const goOn =
      action === 0 ||
      (kind.endsWith('Headers') && action === HeadersAction.ContinueAndEndStream) ||
      // There is nothing behind a body that is whole that could be waited for, but the module's own resuming.
      side.resumed;
    side.resumed = false;
    if (goOn) this.goOn(side);
    else side.paused = true;
  }

  private goOn(side: Direction): void {
    side.paused = false;
    const next = side.next.shift();
    if (next !== undefined) {
      next();
      return;
    }
    if (!side.stopped) return;
    side.stopped = false;
    if (side.isRequest) this.decoder.continueDecoding();
    else this.encoder.continueEncoding();
  }

  private replaceBody(side: Direction, body: Uint8Array): void {
    const buffer = this.buffered(side);
    buffer.clear();
    const made = new SliceBuffer(this.decoder.dispatcher.slab);
    made.append(body);
    if (side.isRequest) this.decoder.addDecodedData(made, true);
    else this.encoder.addEncodedData(made, true);
  }

  onAction(action: StreamAction): void {
    if (this.destroyed) return;
    switch (action.do) {
      case 'continueRequest':
        if (action.requestHeaders !== undefined && this.request.headers !== null) {
          replacePairs(this.request.headers, action.requestHeaders);
          this.decoder.clearRouteCache();
        }
        this.resume(this.request);
        break;
      case 'continueResponse':
        this.resume(this.response);
        break;
      case 'clearRouteCache':
        this.decoder.clearRouteCache();
        break;
      case 'reset':
        this.info.responseCodeDetails = 'wasm_close_stream';
        this.decoder.resetStream(0);
        break;
      case 'reply': {
        const { response } = action;
        this.replied = true;
        this.reply(response);
        this.replied = false;
        break;
      }
    }
  }

  private resume(side: Direction): void {
    if (side.paused) this.goOn(side);
    else if (side.waiting !== null) side.resumed = true;
  }

  onVmFailed(): void {
    if (this.destroyed) return;
    for (const side of [this.request, this.response]) {
      const stopped = side.stopped;
      side.waiting = null;
      side.next.length = 0;
      side.paused = false;
      if (!stopped) continue;
      if (!this.handle.failsOpen) {
        this.failStream();
        return;
      }
      this.goOn(side);
      if (this.destroyed) return;
    }
  }

  onDestroy(): void {
    this.destroyed = true;
    this.completed = true;
    const { instance } = this;
    if (instance !== null) {
      instance.closeStream(
        this.stream,
        pairsOf(this.request.headers),
        pairsOf(this.response.headers),
        pairsOf(this.response.trailers),
      );
      instance.release();
    }
    this.instance = null;
  }
}

function pairsOf(map: HeaderMap | null): Pairs | null {
  return map === null ? null : [...map.entries()];
}

function replacePairs(map: HeaderMap, pairs: Pairs): void {
  for (const name of new Set([...map.entries()].map(([header]) => header))) map.remove(name);
  for (const [name, value] of pairs) map.add(name, value);
}
