/**
 * `envoy.filters.http.grpc_http1_bridge`: gRPC for HTTP/1.1 clients that know no trailers. The response is held until its trailers, whose
 * grpc-status and grpc-message go into its headers; a status other than 0 makes it a 503.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { isGrpcRequest } from '../../../http/conn_manager/conn_manager_utility.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { HttpFilterConfigFactory } from '../../../server/factory_context.ts';

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.grpc_http1_bridge.v3.Config',
  name: 'envoy.filters.http.grpc_http1_bridge',
  isTerminal: () => false,
  create: () => (callbacks) => callbacks.addStreamFilter(new GrpcHttp1Bridge()),
};

class GrpcHttp1Bridge extends PassThroughFilter {
  private bridging = false;
  private responseHeaders: HeaderMap | null = null;

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const protocol = this.decoder.streamInfo.protocol;
    this.bridging = (protocol === 'HTTP/1.1' || protocol === 'HTTP/1.0') && isGrpcRequest(headers);
    return FilterHeadersStatus.Continue;
  }

  override encodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    if (!this.bridging || endStream) return FilterHeadersStatus.Continue;
    this.responseHeaders = headers;
    return FilterHeadersStatus.StopIteration;
  }

  override encodeData(_data: SliceBuffer, endStream: boolean): FilterDataStatus {
    return !this.bridging || endStream ? FilterDataStatus.Continue : FilterDataStatus.StopIterationAndBuffer;
  }

  override encodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    const headers = this.responseHeaders;
    if (!this.bridging || headers === null) return FilterTrailersStatus.Continue;
    const status = trailers.getId(H['grpc-status']);
    if (status !== undefined) {
      if (status !== '0') headers.setId(H[':status'], '503');
      headers.setId(H['grpc-status'], status);
    }
    const message = trailers.getId(H['grpc-message']);
    if (message !== undefined) headers.setId(H['grpc-message'], message);
    // All of it is here: a length tells an HTTP/1.1 client that it has the whole.
    headers.setId(H['content-length'], String(this.encoder.encodingBuffer()?.length ?? 0));
    return FilterTrailersStatus.Continue;
  }

  override onDestroy(): void {
    this.responseHeaders = null;
  }

  reset(): void {
    this.bridging = false;
  }
}
