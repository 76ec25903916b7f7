/** Settings of the downstream HTTP/1 codec, and how a connection gets one. */

import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Scope } from '../../../../core/stats/stats.ts';
import { compileStringMatcher } from '../../../common/matchers.ts';
import { ConfigError } from '../../../config/error.ts';
import type { Http1ProtocolOptions, HttpConnectionManager } from '../../../config/types.gen.ts';
import type { CodecTransport } from '../../../http/codec.ts';
import type { CodecFactory } from '../../../http/conn_manager/conn_manager_config.ts';
import { Http1ServerConnection } from '../../../http/http1/server_connection.ts';
import { type HeaderKeyFormat, type Http1Settings, http1Settings, http1Stats } from '../../../http/http1/settings.ts';
import type { Connection } from '../../../network/connection.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';

const PRESERVE_CASE = 'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig';

/** The connection as the codec writes to it. */
class ConnectionTransport implements CodecTransport {
  private readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  write(data: SliceBuffer): void {
    if (this.connection.state === 'open') this.connection.write(data, false);
    else data.clear();
  }

  readDisable(disable: boolean): void {
    this.connection.readDisable(disable);
  }
}

export function codecFactory(config: HttpConnectionManager, context: FactoryContext, scope: Scope): CodecFactory {
  const settings = downstreamHttp1Settings(config, false);
  const plaintextEdge = downstreamHttp1Settings(
    config,
    (config.useRemoteAddress ?? false) && (config.xffNumTrustedHops ?? 0) === 0,
  );
  const stats = http1Stats(scope);
  const slab = context.dispatcher.slab;
  return {
    create: (connection, callbacks) =>
      new Http1ServerConnection(
        new ConnectionTransport(connection),
        slab,
        callbacks,
        connection.ssl === null ? plaintextEdge : settings,
        stats,
      ),
  };
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
