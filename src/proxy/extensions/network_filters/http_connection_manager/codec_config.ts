/** Settings of the downstream HTTP/1 codec, and how a connection gets a codec. */

import type { Slab } from '../../../../core/buffer/slab.ts';
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Scope } from '../../../../core/stats/stats.ts';
import { compileStringMatcher } from '../../../common/matchers.ts';
import { ConfigError } from '../../../config/error.ts';
import type { Http1ProtocolOptions, HttpConnectionManager } from '../../../config/types.gen.ts';
import type { CodecTransport, RequestDecoder, ResponseEncoder, ServerConnectionCallbacks } from '../../../http/codec.ts';
import type { CodecFactory } from '../../../http/conn_manager/conn_manager_config.ts';
import { Http1ServerConnection } from '../../../http/http1/server_connection.ts';
import {
  type HeaderKeyFormat,
  type Http1Settings,
  type Http1Stats,
  http1Settings,
  http1Stats,
} from '../../../http/http1/settings.ts';
import type { Connection } from '../../../network/connection.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { http2CodecCreator } from './http2_codec.ts';

const PRESERVE_CASE = 'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig';

/** Codecs of ended connections that are kept for new ones. */
const MAX_RETIRED = 1024;

/**
 * A codec and whose it is now. A codec is some 4 KB of parsers, header maps and buffers, so connections that wait for their next request
 * have none: they take one from the factory's stock with the first byte and give it back after the response.
 */
class CodecSlot implements CodecTransport, ServerConnectionCallbacks {
  readonly codec: Http1ServerConnection;
  readonly stock: CodecSlot[];
  private connection: Connection | null = null;
  private callbacks: ServerConnectionCallbacks | null = null;

  constructor(slab: Slab, settings: Http1Settings, stats: Http1Stats, stock: CodecSlot[]) {
    this.codec = new Http1ServerConnection(this, slab, this, settings, stats);
    this.stock = stock;
  }

  bind(connection: Connection | null, callbacks: ServerConnectionCallbacks | null): void {
    this.connection = connection;
    this.callbacks = callbacks;
  }

  newStream(encoder: ResponseEncoder): RequestDecoder {
    return (this.callbacks as ServerConnectionCallbacks).newStream(encoder);
  }

  onHttp2Upgrade(decoder: RequestDecoder, settings: Uint8Array, accept: () => void): boolean {
    return this.callbacks?.onHttp2Upgrade?.(decoder, settings, accept) ?? false;
  }

  write(data: SliceBuffer): void {
    const connection = this.connection;
    if (connection !== null && connection.state === 'open') connection.write(data, false);
    else data.clear();
  }

  readDisable(disable: boolean): void {
    this.connection?.readDisable(disable);
  }

  opaqueAhead(bytes: number): void {
    this.connection?.opaqueAhead(bytes);
  }
}

export function codecFactory(config: HttpConnectionManager, context: FactoryContext, scope: Scope): CodecFactory {
  const settings = downstreamHttp1Settings(config, false);
  const plaintextEdge = {
    ...downstreamHttp1Settings(config, (config.useRemoteAddress ?? false) && (config.xffNumTrustedHops ?? 0) === 0),
    http2Upgrade: takesHttp2Upgrade(config),
  };
  const stats = http1Stats(scope);
  const slab = context.dispatcher.slab;
  const plainStock: CodecSlot[] = [];
  const tlsStock: CodecSlot[] = [];
  return {
    createHttp2: http2CodecCreator(config, context, scope),
    create: (connection, callbacks) => {
      const plain = connection.ssl === null;
      const stock = plain ? plainStock : tlsStock;
      const slot = stock.pop() ?? new CodecSlot(slab, plain ? plaintextEdge : settings, stats, stock);
      slot.bind(connection, callbacks);
      return slot.codec;
    },
    park: (codec) => {
      if (!(codec instanceof Http1ServerConnection) || !codec.parkable) return false;
      const slot = codec.transport as CodecSlot;
      slot.bind(null, null);
      slot.stock.push(slot);
      return true;
    },
    retire: (codec) => {
      if (!(codec instanceof Http1ServerConnection)) return;
      const slot = codec.transport as CodecSlot;
      slot.bind(null, null);
      if (slot.stock.length < MAX_RETIRED && codec.reset()) slot.stock.push(slot);
    },
  };
}

/** `upgrade_configs` with `h2c`: the one upgrade that the connection manager takes itself. */
function takesHttp2Upgrade(config: HttpConnectionManager): boolean {
  const at = (config.upgradeConfigs ?? []).findIndex((upgrade) => upgrade.upgradeType.toLowerCase() === 'h2c');
  if (at < 0 || config.upgradeConfigs?.[at].enabled === false) return false;
  if (config.codecType === 'HTTP1' || config.codecType === 'HTTP2')
    throw new ConfigError('an upgrade to h2c needs codec_type AUTO', { path: `upgrade_configs[${at}]` });
  return true;
}

function downstreamHttp1Settings(config: HttpConnectionManager, validateScheme: boolean): Http1Settings {
  const options = config.httpProtocolOptions;
  const common = config.commonHttpProtocolOptions;
  const ignored = (options?.ignoreHttp11Upgrade ?? []).map((matcher, i) =>
    compileStringMatcher(matcher, `http_protocol_options.ignore_http_11_upgrade[${i}]`),
  );
  return http1Settings({
    maxHeadersKb: config.maxRequestHeadersKb ?? 60,
    maxHeadersCount: common?.maxHeadersCount ?? 100,
    acceptHttp10: options?.acceptHttp10 ?? false,
    defaultHostForHttp10: options?.defaultHostForHttp10 ?? '',
    allowAbsoluteUrl: options?.allowAbsoluteUrl ?? true,
    allowChunkedLength: options?.allowChunkedLength ?? false,
    enableTrailers: options?.enableTrailers ?? false,
    headerKeyFormat: headerKeyFormat(options),
    headersWithUnderscoresAction: common?.headersWithUnderscoresAction ?? 'ALLOW',
    streamErrorOnInvalidHttpMessage:
      options?.overrideStreamErrorOnInvalidHttpMessage ?? config.streamErrorOnInvalidHttpMessage ?? false,
    allowCustomMethods: options?.allowCustomMethods ?? false,
    ignoreHttp11Upgrade: ignored.length === 0 ? null : (token) => ignored.some((matcher) => matcher.match(token)),
    validateScheme,
  });
}

function headerKeyFormat(options: Http1ProtocolOptions | undefined): HeaderKeyFormat {
  const format = options?.headerKeyFormat;
  if (format === undefined) return 'lower_case';
  if (format.properCaseWords !== undefined) return 'proper_case_words';
  const type = format.statefulFormatter?.typedConfig?.['@type'];
  if (type === PRESERVE_CASE) return 'preserve_case';
  throw new ConfigError(`header formatter ${type ?? ''} is not supported by Sluice yet`, {
    path: 'http_protocol_options.header_key_format',
  });
}
