/**
 * `envoy.filters.http.buffer`: holds a request back until its body is complete, 413 beyond `max_request_bytes`. A request that came
 * without a length gets one.
 */

import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { ConfigError } from '../../../config/error.ts';
import {
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type StreamDecoderFilter,
  type StreamDecoderFilterCallbacks,
} from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

interface BufferSettings {
  readonly maxRequestBytes: number;
  readonly disabled: boolean;
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.buffer.v3.Buffer',
  name: 'envoy.filters.http.buffer',
  routeTypeName: 'envoy.extensions.filters.http.buffer.v3.BufferPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig) {
    const settings = bufferSettings(config as { maxRequestBytes?: number }, '');
    return (callbacks) => callbacks.addStreamDecoderFilter(new BufferFilter(settings));
  },
  createRouteSpecificConfig(config: TypedConfig): BufferSettings {
    const message = config as { disabled?: boolean; buffer?: { maxRequestBytes?: number } };
    if (message.disabled === true) return { maxRequestBytes: 0, disabled: true };
    return bufferSettings(message.buffer ?? {}, 'buffer.');
  },
};

function bufferSettings(config: { maxRequestBytes?: number }, path: string): BufferSettings {
  const limit = config.maxRequestBytes ?? 0;
  if (limit <= 0) throw new ConfigError('value must be greater than 0', { path: `${path}max_request_bytes` });
  return { maxRequestBytes: limit, disabled: false };
}

class BufferFilter implements StreamDecoderFilter {
  private readonly settings: BufferSettings;
  private callbacks!: StreamDecoderFilterCallbacks;
  private headers: HeaderMap | null = null;
  private length = 0;

  constructor(settings: BufferSettings) {
    this.settings = settings;
  }

  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void {
    this.callbacks = callbacks;
  }

  decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    const settings = this.callbacks.perFilterConfig<BufferSettings>() ?? this.settings;
    if (endStream || settings.disabled) return FilterHeadersStatus.Continue;
    this.headers = headers;
    this.callbacks.setDecoderBufferLimit(settings.maxRequestBytes);
    return FilterHeadersStatus.StopIteration;
  }

  decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    if (this.headers === null) return FilterDataStatus.Continue;
    this.length += data.length;
    if (!endStream) return FilterDataStatus.StopIterationAndBuffer;
    this.addLength(this.headers);
    return FilterDataStatus.Continue;
  }

  decodeTrailers(): FilterTrailersStatus {
    if (this.headers !== null) this.addLength(this.headers);
    return FilterTrailersStatus.Continue;
  }

  onDestroy(): void {
    this.headers = null;
  }

  reset(): void {
    this.length = 0;
  }

  private addLength(headers: HeaderMap): void {
    if (!headers.hasId(H['content-length'])) headers.addId(H['content-length'], String(this.length));
  }
}
