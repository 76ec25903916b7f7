/** Filters that let everything pass (Envoy: Http::PassThroughFilter): others extend them and say only where they differ. */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { AccessLogType, FormatterContext } from '../access_log/access_log.ts';
import {
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type StreamDecoderFilter,
  type StreamDecoderFilterCallbacks,
  type StreamEncoderFilter,
  type StreamEncoderFilterCallbacks,
} from './filter.ts';
import type { HeaderMap } from './header_map.ts';

/** One that sees requests only. */
export class PassThroughDecoderFilter implements StreamDecoderFilter {
  protected decoder!: StreamDecoderFilterCallbacks;

  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void {
    this.decoder = callbacks;
  }

  decodeHeaders(_headers: HeaderMap, _endStream: boolean): FilterHeadersStatus {
    return FilterHeadersStatus.Continue;
  }

  decodeData(_data: SliceBuffer, _endStream: boolean): FilterDataStatus {
    return FilterDataStatus.Continue;
  }

  decodeTrailers(_trailers: HeaderMap): FilterTrailersStatus {
    return FilterTrailersStatus.Continue;
  }

  onDestroy(): void {}
}

export class PassThroughFilter extends PassThroughDecoderFilter implements StreamEncoderFilter {
  protected encoder!: StreamEncoderFilterCallbacks;

  setEncoderFilterCallbacks(callbacks: StreamEncoderFilterCallbacks): void {
    this.encoder = callbacks;
  }

  encode1xxHeaders(_headers: HeaderMap): FilterHeadersStatus {
    return FilterHeadersStatus.Continue;
  }

  encodeHeaders(_headers: HeaderMap, _endStream: boolean): FilterHeadersStatus {
    return FilterHeadersStatus.Continue;
  }

  encodeData(_data: SliceBuffer, _endStream: boolean): FilterDataStatus {
    return FilterDataStatus.Continue;
  }

  encodeTrailers(_trailers: HeaderMap): FilterTrailersStatus {
    return FilterTrailersStatus.Continue;
  }
}

/** What header formats of a filter look at. */
export class HeadersContext implements FormatterContext {
  requestHeaders: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  readonly responseTrailers = null;
  readonly localReplyBody = '';
  readonly accessLogType: AccessLogType = 'NotSet';
}
