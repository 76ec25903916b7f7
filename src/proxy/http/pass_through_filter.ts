/** A filter that lets everything pass (Envoy: Http::PassThroughFilter): others extend it and say only where they differ. */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
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

export class PassThroughFilter implements StreamDecoderFilter, StreamEncoderFilter {
  protected decoder!: StreamDecoderFilterCallbacks;
  protected encoder!: StreamEncoderFilterCallbacks;

  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void {
    this.decoder = callbacks;
  }

  setEncoderFilterCallbacks(callbacks: StreamEncoderFilterCallbacks): void {
    this.encoder = callbacks;
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

  onDestroy(): void {}
}
