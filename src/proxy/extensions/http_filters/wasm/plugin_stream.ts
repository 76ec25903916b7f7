/** What the HTTP filters of plugins have in common, wherever the module runs: what it may ask of the stream, and how the stream is answered. */
import type { Status } from '../../../../wasm/abi/enums.ts';
import type { LocalResponse } from '../../../../wasm/host/context.ts';
import type { ForeignResult } from '../../../../wasm/host/environment.ts';
import type { PropertyValue } from '../../../../wasm/host/property_value.ts';
import type { StreamDecoderFilterCallbacks, StreamEncoderFilterCallbacks } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import type { Connection } from '../../../network/connection.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { type PropertySource, streamProperty } from '../../common/wasm/properties.ts';
import { streamForeignFunction, writeStreamProperty } from '../../common/wasm/stream_state.ts';
import { LENGTH_MISMATCH } from './body_length.ts';

const GRPC_INTERNAL = 13;
const GRPC_UNAVAILABLE = 14;

/** How a stream is answered that cannot go on. */
export interface FailureAnswers {
  readonly status: number;
  /** Response code details. */
  readonly failed: string;
  readonly lengthMismatch: string;
}

export const MODULE_FAILURES: FailureAnswers = { status: 503, failed: 'wasm_fail_stream', lengthMismatch: LENGTH_MISMATCH };

export abstract class PluginStream implements PropertySource {
  readonly context: FactoryContext;
  protected decoder!: StreamDecoderFilterCallbacks;
  protected encoder!: StreamEncoderFilterCallbacks;
  protected destroyed = false;
  /** The module cannot be used and the stream was answered because of it. */
  protected failedReply = false;
  completed = false;
  abstract readonly requestHeaders: HeaderMap | null;
  abstract readonly responseHeaders: HeaderMap | null;
  abstract readonly responseTrailers: HeaderMap | null;
  private readonly answers: FailureAnswers;

  constructor(context: FactoryContext, answers: FailureAnswers) {
    this.context = context;
    this.answers = answers;
  }

  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void {
    this.decoder = callbacks;
  }

  setEncoderFilterCallbacks(callbacks: StreamEncoderFilterCallbacks): void {
    this.encoder = callbacks;
  }

  get info(): StreamInfo {
    return this.decoder.streamInfo;
  }

  get connection(): Connection | null {
    return this.decoder.connection;
  }

  property(path: string): PropertyValue {
    return streamProperty(path, this);
  }

  setProperty(path: string, value: Uint8Array): Status {
    return writeStreamProperty(this.info, path, value);
  }

  foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
    return streamForeignFunction(name, args, this.info, this.destroyed ? null : this.decoder);
  }

  protected failStream(): void {
    if (this.failedReply || this.destroyed) return;
    this.failedReply = true;
    this.info.setFlag('ExtensionFailure');
    this.decoder.sendLocalReply(this.answers.status, '', null, GRPC_UNAVAILABLE, this.answers.failed);
  }

  /** The module made a body that is not as long as its headers say. */
  protected failLength(): void {
    this.info.setFlag('ExtensionFailure');
    this.decoder.sendLocalReply(500, '', null, GRPC_INTERNAL, this.answers.lengthMismatch);
  }

  /** The module answers. */
  protected reply({ status, body, headers, grpcStatus, details }: LocalResponse): void {
    const modify =
      headers.length === 0
        ? null
        : (map: HeaderMap): void => {
            for (const [name, value] of headers) if (name !== '' && name[0] !== ':') map.add(name, value);
          };
    const sent = status >= 200 && status <= 999 ? status : 500;
    this.decoder.sendLocalReply(sent, body, modify, grpcStatus >= 0 && grpcStatus <= 16 ? grpcStatus : null, details);
  }
}
