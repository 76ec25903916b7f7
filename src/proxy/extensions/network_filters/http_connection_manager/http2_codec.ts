/** HTTP/2 on a downstream connection: its codec's transport, flush timer and keepalive. */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Scope } from '../../../../core/stats/stats.ts';
import type { HttpConnectionManager } from '../../../config/types.gen.ts';
import type { RequestDecoder, ResponseEncoder, ServerConnectionCallbacks } from '../../../http/codec.ts';
import type { Http2Codec } from '../../../http/conn_manager/conn_manager_config.ts';
import { LazyTimer } from '../../../http/conn_manager/lazy_timer.ts';
import type { Http2Transport } from '../../../http/http2/frame_writer.ts';
import { Keepalive, type KeepaliveSettings } from '../../../http/http2/keepalive.ts';
import { http2SettingsOf, keepaliveOf, type PlainHttp2ProtocolOptions } from '../../../http/http2/protocol_options.ts';
import { Http2ServerConnection, type ServerStreamStock } from '../../../http/http2/server_connection.ts';
import { type Http2Settings, http2Stats } from '../../../http/http2/settings.ts';
import { type Connection, ConnectionCloseType } from '../../../network/connection.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';

const DEFAULT_FLUSH_MS = 300_000;

class Http2Slot implements Http2Transport, ServerConnectionCallbacks {
  readonly codec: Http2ServerConnection;
  private readonly connection: Connection;
  private readonly callbacks: ServerConnectionCallbacks;
  private readonly flushMs: number;
  private readonly keepalive: Keepalive | null;
  private flushTimer: LazyTimer | null = null;

  constructor(
    connection: Connection,
    callbacks: ServerConnectionCallbacks,
    flushMs: number,
    keepalive: KeepaliveSettings | null,
    createCodec: (slot: Http2Slot) => Http2ServerConnection,
  ) {
    this.connection = connection;
    this.callbacks = callbacks;
    this.flushMs = flushMs;
    this.keepalive =
      keepalive === null
        ? null
        : new Keepalive(connection.dispatcher, keepalive, () =>
            connection.close(ConnectionCloseType.FlushWrite, 'http2.keepalive_timeout'),
          );
    this.codec = createCodec(this);
    this.keepalive?.start(this.codec);
  }

  newStream(encoder: ResponseEncoder): RequestDecoder {
    this.keepalive?.onStream();
    return this.callbacks.newStream(encoder);
  }

  onStreamsFlushed(): void {
    this.callbacks.onStreamsFlushed?.();
  }

  get writeBufferBytes(): number {
    return this.connection.writeBufferBytes;
  }

  write(data: SliceBuffer): void {
    if (this.connection.state === 'open') this.connection.write(data, false);
    else data.clear();
  }

  readDisable(disable: boolean): void {
    this.connection.readDisable(disable);
  }

  /** Streams without progress in two intervals are reset: within one and a half to two of what was configured. */
  watchFlush(): void {
    if (this.flushMs === 0) return;
    this.flushTimer ??= new LazyTimer(this.connection.dispatcher, () => {
      if (this.codec.onFlushTimeout()) this.watchFlush();
    });
    if (!this.flushTimer.enabled) this.flushTimer.set(this.flushMs / 2);
  }

  onPingAck(): void {
    this.keepalive?.onAck();
  }

  onEnd(): void {
    this.keepalive?.stop();
    this.flushTimer?.destroy();
  }
}

export type CreateHttp2Codec = (connection: Connection, callbacks: ServerConnectionCallbacks) => Http2Codec;

export function http2CodecCreator(config: HttpConnectionManager, context: FactoryContext, scope: Scope): CreateHttp2Codec {
  const options = config.http2ProtocolOptions as PlainHttp2ProtocolOptions | undefined;
  const common = config.commonHttpProtocolOptions;
  const settings = http2SettingsOf(options, 'http2_protocol_options', {
    maxHeadersKb: config.maxRequestHeadersKb ?? 60,
    maxHeadersCount: common?.maxHeadersCount ?? 100,
    headersWithUnderscoresAction: common?.headersWithUnderscoresAction ?? 'ALLOW',
    streamErrorOnInvalidHttpMessage: config.streamErrorOnInvalidHttpMessage ?? false,
  });
  const keepalive = keepaliveOf(options);
  const flushMs = config.streamIdleTimeout ?? DEFAULT_FLUSH_MS;
  const stats = http2Stats(scope);
  const slab = context.dispatcher.slab;
  const stock: ServerStreamStock = [];
  const byLimit = new Map<number, Http2Settings>();
  const settingsFor = (limit: number): Http2Settings => {
    if (limit === 0) return settings;
    let own = byLimit.get(limit);
    if (own === undefined) {
      own = { ...settings, streamBufferLimit: Math.min(limit, settings.initialStreamWindowSize) };
      byLimit.set(limit, own);
    }
    return own;
  };
  return (connection, callbacks) =>
    new Http2Slot(
      connection,
      callbacks,
      flushMs,
      keepalive,
      (slot) => new Http2ServerConnection(slot, slab, slot, settingsFor(connection.bufferLimit), stats, stock),
    ).codec;
}
