/**
 * The compressor on one stream: decides at the response's headers, and hands each piece of the body to the library's threads. While one is
 * there, later ones wait in a lane, so that order and back pressure are kept and no other stream waits.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import { BodyView } from '../../../typescript/body_view.ts';
import { HeadersView } from '../../../typescript/headers_view.ts';
import { Lane, type LaneSide } from '../../../typescript/lane.ts';
import { AcceptResult, chooseEncoding } from './accept_encoding.ts';
import type { CompressorConfig, CompressorRouteConfig } from './config.ts';
import type { Compression } from './library.ts';

/** Where the compressors of a stream's chain find each other. */
const FILTER_STATE = 'envoy.filters.http.compressor';
const CODED = new Set(['gzip', 'x-gzip', 'deflate', 'compress', 'x-compress', 'br', 'zstd']);

export class CompressorFilter extends PassThroughFilter implements LaneSide {
  readonly config: CompressorConfig;
  readonly headers = new HeadersView('response headers');
  readonly trailers = new HeadersView('response trailers');
  private acceptEncoding: string | undefined;
  private registered = false;
  private compression: Compression | null = null;
  private lane: Lane | null = null;
  /** Tells pieces of this stream from those of an earlier one. */
  private token = 0;

  constructor(config: CompressorConfig) {
    super();
    this.config = config;
  }

  // The request: what the client accepts.

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    this.acceptEncoding = headers.getId(H['accept-encoding']);
    const route = this.decoder.perFilterConfig<CompressorRouteConfig>();
    if (route?.disabled === true) return FilterHeadersStatus.Continue;
    this.registered = true;
    const info = this.decoder.streamInfo;
    info.filterState ??= new Map();
    const others = info.filterState.get(FILTER_STATE) as CompressorFilter[] | undefined;
    if (others === undefined) info.filterState.set(FILTER_STATE, [this]);
    else {
      // An earlier compressor may have taken the header away already.
      this.acceptEncoding = others[0].acceptEncoding;
      others.push(this);
    }
    const remove = route?.removeAcceptEncoding ?? this.config.removeAcceptEncoding;
    if (remove && this.config.enabled) headers.removeId(H['accept-encoding']);
    return FilterHeadersStatus.Continue;
  }

  // The response.

  override encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    const { stats, library } = this.config;
    if (!this.registered) return FilterHeadersStatus.Continue;
    const longEnough = this.config.enabled && this.isLongEnough(headers);
    const compressible = longEnough && this.isCompressible(headers);
    if (!endStream && compressible && this.isAccepted(headers)) {
      const etag = headers.getId(H.etag);
      // A strong one says that the bytes are the same, which they are not.
      if (etag !== undefined && !/^[wW]\//.test(etag)) headers.removeId(H.etag);
      headers.removeId(H['content-length']);
      headers.setId(H['content-encoding'], library.encoding);
      stats.compressed.inc();
      this.compression = library.create();
    } else stats.notCompressed.inc();
    if (compressible) addVary(headers);
    return FilterHeadersStatus.Continue;
  }

  override encodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (this.compression === null) return FilterDataStatus.Continue;
    const lane = this.laneOf();
    if (lane.busy) lane.enqueue(data, endStream);
    else this.compress(lane.holdCurrent(data, endStream), endStream);
    return FilterDataStatus.StopIterationNoBuffer;
  }

  override encodeTrailers(): FilterTrailersStatus {
    if (this.compression === null) return FilterTrailersStatus.Continue;
    const lane = this.laneOf();
    if (lane.busy) lane.enqueueTrailers();
    else {
      lane.holdTrailers();
      this.finish(this.newBuffer());
    }
    return FilterTrailersStatus.StopIteration;
  }

  override onDestroy(): void {
    this.token++;
    this.compression?.destroy();
    this.compression = null;
    this.lane?.reset();
    this.registered = false;
    this.acceptEncoding = undefined;
  }

  reset(): void {}

  // Decisions.

  private isLongEnough(headers: HeaderMap): boolean {
    const length = headers.getId(H['content-length']);
    if (length === undefined) return true;
    if (Number(length) >= this.config.minLength) return true;
    this.config.stats.contentLengthTooSmall.inc();
    return false;
  }

  private isCompressible(headers: HeaderMap): boolean {
    const { config } = this;
    if (headers.hasId(H['content-encoding']) || headers.hasId(H.upgrade)) return false;
    const type = headers.getId(H['content-type']);
    if (type !== undefined && !config.types.has(type.split(';', 1)[0].trim().toLowerCase())) return false;
    if (tokensOf(headers.getId(H['cache-control'])).includes('no-transform')) return false;
    if (tokensOf(headers.getId(H['transfer-encoding'])).some((token) => CODED.has(token))) return false;
    // Parts of a body that was not compressed fit no compressed one.
    if (headers.getId(H[':status']) === '206') return false;
    if (config.disableOnEtag && headers.hasId(H.etag)) {
      config.stats.notCompressedEtag.inc();
      return false;
    }
    return true;
  }

  /** Whether the request chooses this compressor among those of the chain that would compress this response. */
  private isAccepted(headers: HeaderMap): boolean {
    const { stats, library } = this.config;
    const chain = this.encoder.streamInfo.filterState?.get(FILTER_STATE) as readonly CompressorFilter[];
    const able = chain.filter((other) => other === this || other.wouldCompress(headers));
    const choice = chooseEncoding(
      this.acceptEncoding,
      able.map((other) => other.config.library.encoding),
      new Set(able.filter((other) => other.config.chooseFirst).map((other) => other.config.library.encoding)),
    );
    if (choice.encoding !== '' && choice.encoding !== library.encoding) {
      stats.overshadowed.inc();
      return false;
    }
    stats.accept(choice.result).inc();
    return choice.encoding !== '' && choice.result !== AcceptResult.Identity;
  }

  private wouldCompress(headers: HeaderMap): boolean {
    const type = headers.getId(H['content-type']);
    return this.config.enabled && (type === undefined || this.config.types.has(type.split(';', 1)[0].trim().toLowerCase()));
  }

  // Work.

  private compress(data: SliceBuffer, endStream: boolean): void {
    const { stats } = this.config;
    const token = this.token;
    stats.totalUncompressedBytes.add(data.length);
    const bytes = data.toBytes();
    const { dispatcher } = this.encoder;
    (this.compression as Compression).push(bytes, endStream, (error, output) => {
      if (token !== this.token) return;
      dispatcher.post(() => {
        if (token !== this.token) return;
        if (error !== null) {
          this.encoder.resetStream(0);
          return;
        }
        stats.totalCompressedBytes.add(output.length);
        data.clear();
        data.append(output);
        this.laneOf().settled();
      });
    });
    dispatcher.wakeNode?.();
  }

  /** The end of the compressed body, when trailers follow it: it goes before them. */
  private finish(rest: SliceBuffer): void {
    const token = this.token;
    const { dispatcher } = this.encoder;
    (this.compression as Compression).push(new Uint8Array(), true, (error, output) => {
      if (token !== this.token) return;
      dispatcher.post(() => {
        if (token !== this.token) return;
        if (error !== null) {
          this.encoder.resetStream(0);
          return;
        }
        this.config.stats.totalCompressedBytes.add(output.length);
        rest.append(output);
        this.laneOf().add(rest);
        this.laneOf().settled();
      });
    });
    dispatcher.wakeNode?.();
  }

  // LaneSide.

  bufferLimit(): number {
    return this.encoder.encoderBufferLimit;
  }

  give(data: SliceBuffer): void {
    this.encoder.addEncodedData(data, true);
  }

  inject(data: SliceBuffer): void {
    this.encoder.injectEncodedData(data, false);
  }

  resume(): void {
    this.encoder.continueEncoding();
  }

  backUp(full: boolean): void {
    if (full) this.encoder.onEncoderFilterAboveWriteBufferHighWatermark();
    else this.encoder.onEncoderFilterBelowWriteBufferLowWatermark();
  }

  tooLarge(): void {}

  runData(body: BodyView, endStream: boolean): boolean {
    this.compress(body.buffer as SliceBuffer, endStream);
    return false;
  }

  runTrailers(): boolean {
    this.finish(this.newBuffer());
    return false;
  }

  wake(): void {}

  private laneOf(): Lane {
    this.lane ??= new Lane(this, new BodyView(), () => this.newBuffer());
    return this.lane;
  }

  private newBuffer(): SliceBuffer {
    return new SliceBuffer(this.encoder.dispatcher.slab);
  }
}

function tokensOf(value: string | undefined): string[] {
  return value === undefined ? [] : value.split(',').map((token) => token.trim().toLowerCase());
}

function addVary(headers: HeaderMap): void {
  const vary = headers.getId(H.vary);
  if (vary === undefined || vary === '') headers.setId(H.vary, 'Accept-Encoding');
  else if (!tokensOf(vary).includes('accept-encoding')) headers.setId(H.vary, `${vary}, Accept-Encoding`);
}
