/**
 * One attempt of a request at an upstream (Envoy: UpstreamRequest): waits for a pool, writes what the router gives it, hands the response
 * back, and keeps the flow of both in step. One object per router, used again for each attempt and stream.
 */
import { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { Connection } from '../../network/connection.ts';
import type { Protocol, StreamInfo } from '../../stream_info/stream_info.ts';
import { finishUpstreamSpan, wallTime } from '../../tracing/http_tracing.ts';
import type { Span } from '../../tracing/span.ts';
import { OutlierResult } from '../../upstream/outlier/host_monitor.ts';
import type {
  Cancellable,
  Host,
  HttpConnectionPool,
  HttpPoolCallbacks,
  PoolFailureReason,
  TcpConnectionData,
  TcpConnectionPool,
  TcpPoolCallbacks,
} from '../../upstream/upstream.ts';
import {
  type CodecStream,
  type RequestEncoder,
  type ResponseDecoder,
  type StreamCallbacks,
  StreamResetReason,
} from '../codec.ts';
import { statusOf } from '../conn_manager/header_bytes.ts';
import { LazyTimer } from '../conn_manager/lazy_timer.ts';
import type { StreamDecoderFilterCallbacks } from '../filter.ts';
import type { HeaderMap } from '../header_map.ts';
import type { Router } from './router.ts';
import { TcpUpstream } from './tcp_upstream.ts';
import { POOL_FAILURE_RESET } from './upstream_failure.ts';

export class UpstreamRequest implements ResponseDecoder, StreamCallbacks, HttpPoolCallbacks {
  private readonly router: Router;
  readonly callbacks: StreamDecoderFilterCallbacks;
  private encoder: RequestEncoder | null = null;
  private stream: CodecStream | null = null;
  private waiting: Cancellable | null = null;
  host: Host | null = null;
  /** Belongs to a request that is under way. */
  active = false;
  awaitingHeaders = true;
  encodeComplete = false;
  decodeComplete = false;
  /** Request headers went out. */
  started = false;
  private headersOnly = false;
  private perTryWhenComplete = false;
  private bodyEnded = false;
  private trailers: HeaderMap | null = null;
  /** Of this attempt, when each has one. */
  private span: Span | null = null;
  private readonly body: SliceBuffer;
  private upstreamAbove = false;
  private pausedByPending = false;
  private downstreamPauses = 0;
  private perTryTimer: LazyTimer | null = null;
  private perTryIdleTimer: LazyTimer | null = null;
  private tcpCallbacks: TcpPoolCallbacks | null = null;

  constructor(router: Router, callbacks: StreamDecoderFilterCallbacks) {
    this.router = router;
    this.callbacks = callbacks;
    this.body = new SliceBuffer(callbacks.dispatcher.slab);
  }

  // From the router.

  acceptHeaders(pool: HttpConnectionPool, endStream: boolean): void {
    this.begin(endStream);
    const waiting = pool.newStream(this, this);
    if (waiting !== null && this.active) this.waiting = waiting;
  }

  acceptTcp(pool: TcpConnectionPool, endStream: boolean): void {
    this.begin(endStream);
    this.tcpCallbacks ??= {
      onPoolFailure: (reason, transportFailureReason, host) => this.onPoolFailure(reason, transportFailureReason, host),
      onPoolReady: (data, host) => this.onTcpReady(data, host),
    };
    const waiting = pool.newConnection(this.tcpCallbacks);
    if (waiting !== null && this.active) this.waiting = waiting;
  }

  private begin(endStream: boolean): void {
    this.active = true;
    this.awaitingHeaders = true;
    this.encodeComplete = false;
    this.decodeComplete = false;
    this.started = false;
    this.headersOnly = endStream;
    this.bodyEnded = endStream;
    this.trailers = null;
    this.host = null;
    this.perTryWhenComplete = false;
    const info = this.callbacks.streamInfo;
    const parent = info.activeSpan;
    if (parent !== null && (parent.spawnsUpstream || this.router.startsChildSpans)) this.span = this.startSpan(parent, info);
  }

  private startSpan(parent: Span, info: StreamInfo): Span {
    const name = `router ${info.upstreamClusterObservableName} egress`;
    const span = parent.driver.startChild(parent, name, wallTime(info, this.callbacks.dispatcher.nowMs));
    if (info.attemptCount > 1 && span.sampled) span.setTag('retry.count', String(info.attemptCount - 1));
    return span;
  }

  /** Takes all of `data`. */
  acceptData(data: SliceBuffer, endStream: boolean): void {
    const encoder = this.encoder;
    if (encoder === null) {
      // No connection yet: what arrives meanwhile is held, and reading stops when that is more than the limit.
      this.body.move(data);
      this.bodyEnded = endStream;
      const limit = this.callbacks.decoderBufferLimit;
      if (!this.pausedByPending && limit > 0 && this.body.length > limit) {
        this.pausedByPending = true;
        this.callbacks.onDecoderFilterAboveWriteBufferHighWatermark();
      }
      return;
    }
    this.bodyEnded = endStream;
    if (endStream) this.onEncodeComplete();
    encoder.encodeData(data, endStream);
    this.touchPerTryIdle();
  }

  acceptTrailers(trailers: HeaderMap): void {
    this.bodyEnded = true;
    if (this.encoder === null) {
      this.trailers = trailers;
      return;
    }
    this.onEncodeComplete();
    this.encoder.encodeTrailers(trailers);
  }

  /** The request was received whole: what was put off until then. */
  onRequestComplete(): void {
    if (this.perTryWhenComplete) this.setupPerTry();
  }

  /** Gives the attempt up; nothing comes back from it. */
  reset(): void {
    if (!this.active) return;
    const stream = this.stream;
    const over = this.decodeComplete && this.encodeComplete;
    const waiting = this.waiting;
    this.detach();
    if (waiting !== null) waiting.cancel();
    if (stream !== null && !over) {
      this.router.onStreamReset(false);
      stream.resetStream(StreamResetReason.LocalReset);
    }
  }

  /** Lets go of the stream without resetting it: it is over. */
  detach(): void {
    if (!this.active) return;
    this.active = false;
    this.waiting = null;
    if (this.span !== null) {
      finishUpstreamSpan(this.span, this.callbacks.streamInfo, this.callbacks.dispatcher.nowMs);
      this.span = null;
    }
    const stream = this.stream;
    if (stream !== null) {
      stream.removeCallbacks(this);
      const info = this.callbacks.streamInfo;
      info.upstreamWireBytesSent += stream.bytesSent;
      info.upstreamWireBytesReceived += stream.bytesReceived;
      info.upstreamHeaderBytesSent += stream.headerBytesSent;
      info.upstreamHeaderBytesReceived += stream.headerBytesReceived;
      // The connection goes on to other requests: what was stopped for this one must not stay stopped.
      while (this.downstreamPauses > 0) {
        this.downstreamPauses--;
        stream.readDisable(false);
      }
      this.callbacks.removeDownstreamWatermarkCallbacks(this.router);
    }
    this.encoder = null;
    this.stream = null;
    if (this.body.length > 0) this.body.clear();
    if (this.upstreamAbove || this.pausedByPending) this.resumeDownstream();
    this.perTryTimer?.clear();
    this.perTryIdleTimer?.clear();
  }

  private resumeDownstream(): void {
    if (this.upstreamAbove) {
      this.upstreamAbove = false;
      this.callbacks.onDecoderFilterBelowWriteBufferLowWatermark();
    }
    if (this.pausedByPending) {
      this.pausedByPending = false;
      this.callbacks.onDecoderFilterBelowWriteBufferLowWatermark();
    }
  }

  // From the pool.

  onPoolFailure(reason: PoolFailureReason, transportFailureReason: string, host: Host | null): void {
    this.waiting = null;
    if (!this.active) return;
    this.setHost(host);
    if (transportFailureReason !== '') this.callbacks.streamInfo.upstreamTransportFailureReason = transportFailureReason;
    this.router.onUpstreamReset(POOL_FAILURE_RESET[reason], transportFailureReason, this);
  }

  onPoolReady(encoder: RequestEncoder, host: Host, connection: Connection, protocol: Protocol): void {
    this.waiting = null;
    const stream = encoder.stream;
    if (!this.active) {
      stream.resetStream(StreamResetReason.LocalReset);
      return;
    }
    const router = this.router;
    const callbacks = this.callbacks;
    const info = callbacks.streamInfo;
    const now = callbacks.dispatcher.nowMs;
    this.encoder = encoder;
    this.stream = stream;
    this.setHost(host);
    if (host.outlier !== null) host.outlier.putResult(OutlierResult.ConnectSuccess);
    info.upstreamProtocol = protocol;
    info.upstreamPoolReadyMs = now;
    info.upstreamConnectionId = connection.id;
    info.upstreamLocalAddress = connection.localAddress;
    info.upstreamSsl = connection.ssl;
    info.upstreamRemoteAddress = connection.remoteAddress;
    stream.addCallbacks(this);
    callbacks.addDownstreamWatermarkCallbacks(router);
    const headers = router.prepareHeaders(host);
    const span = this.span ?? info.activeSpan;
    if (span !== null) span.inject(headers);
    if (router.timeouts.perTryMs > 0 || router.timeouts.perTryIdleMs > 0) {
      if (router.requestComplete) this.setupPerTry();
      else this.perTryWhenComplete = true;
    }
    if (info.firstUpstreamTxByteMs < 0) info.firstUpstreamTxByteMs = now;
    this.started = true;
    const headersOnly = this.headersOnly;
    if (headersOnly) this.onEncodeComplete();
    const error = encoder.encodeHeaders(headers, headersOnly);
    if (error !== null) {
      router.onInvalidRequestHeaders(error);
      return;
    }
    // The answer may have come at once (a raw TCP upstream), and with it the end.
    if (headersOnly || !this.active) return;
    this.flushHeld(encoder);
  }

  private flushHeld(encoder: RequestEncoder): void {
    const trailers = this.trailers;
    const ended = this.bodyEnded && trailers === null;
    if (this.body.length > 0 || ended) {
      if (ended) this.onEncodeComplete();
      encoder.encodeData(this.body, ended);
    }
    if (!this.active) return;
    if (trailers !== null) {
      this.trailers = null;
      this.onEncodeComplete();
      encoder.encodeTrailers(trailers);
    }
    if (this.pausedByPending) {
      this.pausedByPending = false;
      this.callbacks.onDecoderFilterBelowWriteBufferLowWatermark();
    }
  }

  private onTcpReady(data: TcpConnectionData, host: Host): void {
    this.onPoolReady(new TcpUpstream(data, this), host, data.connection, '');
  }

  private setHost(host: Host | null): void {
    this.host = host;
    if (host === null) return;
    this.callbacks.streamInfo.upstreamHost = host;
    this.router.onHostSelected(host);
  }

  private onEncodeComplete(): void {
    this.encodeComplete = true;
    this.callbacks.streamInfo.lastUpstreamTxByteMs = this.callbacks.dispatcher.nowMs;
  }

  // The response, from the codec.

  decode1xxHeaders(headers: HeaderMap): void {
    if (!this.active) headers.release();
    else this.router.onUpstream1xx(headers);
  }

  decodeHeaders(headers: HeaderMap, endStream: boolean): void {
    if (!this.active) {
      headers.release();
      return;
    }
    const info = this.callbacks.streamInfo;
    const now = this.callbacks.dispatcher.nowMs;
    this.awaitingHeaders = false;
    this.touchPerTryIdle();
    info.firstUpstreamRxByteMs = now;
    if (endStream) this.onDecodeComplete();
    this.router.onUpstreamHeaders(statusOf(headers), headers, this, endStream);
  }

  decodeData(data: SliceBuffer, endStream: boolean): void {
    if (!this.active) {
      data.clear();
      return;
    }
    this.touchPerTryIdle();
    if (endStream) this.onDecodeComplete();
    this.router.onUpstreamData(data, this, endStream);
  }

  decodeTrailers(trailers: HeaderMap): void {
    if (!this.active) {
      trailers.release();
      return;
    }
    this.onDecodeComplete();
    this.router.onUpstreamTrailers(trailers, this);
  }

  private onDecodeComplete(): void {
    this.decodeComplete = true;
    this.callbacks.streamInfo.lastUpstreamRxByteMs = this.callbacks.dispatcher.nowMs;
  }

  // StreamCallbacks of the upstream codec.

  onResetStream(reason: StreamResetReason, transportFailureReason: string): void {
    if (!this.active) return;
    if (transportFailureReason !== '') this.callbacks.streamInfo.upstreamTransportFailureReason = transportFailureReason;
    this.router.onStreamReset(true);
    this.stream = null;
    this.encoder = null;
    this.callbacks.removeDownstreamWatermarkCallbacks(this.router);
    this.downstreamPauses = 0;
    this.router.onUpstreamReset(reason, transportFailureReason, this);
  }

  onAboveWriteBufferHighWatermark(): void {
    if (this.upstreamAbove || !this.active) return;
    this.upstreamAbove = true;
    this.router.onUpstreamBackedUp(true);
    this.callbacks.onDecoderFilterAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    if (!this.upstreamAbove) return;
    this.upstreamAbove = false;
    this.router.onUpstreamBackedUp(false);
    this.callbacks.onDecoderFilterBelowWriteBufferLowWatermark();
  }

  // Timeouts of one try.

  private setupPerTry(): void {
    const timeouts = this.router.timeouts;
    this.perTryWhenComplete = false;
    if (timeouts.perTryMs > 0) {
      this.perTryTimer ??= new LazyTimer(this.callbacks.dispatcher, () => this.onPerTryTimeout());
      this.perTryTimer.set(timeouts.perTryMs);
    }
    if (timeouts.perTryIdleMs > 0) {
      this.perTryIdleTimer ??= new LazyTimer(this.callbacks.dispatcher, () => this.onPerTryIdleTimeout());
      this.perTryIdleTimer.set(timeouts.perTryIdleMs);
    }
  }

  private touchPerTryIdle(): void {
    if (this.perTryIdleTimer?.enabled) this.perTryIdleTimer.set(this.router.timeouts.perTryIdleMs);
  }

  private onPerTryTimeout(): void {
    if (this.active) this.router.onPerTryTimeout(this);
  }

  private onPerTryIdleTimeout(): void {
    if (this.active) this.router.onPerTryIdleTimeout(this);
  }

  /** Pauses (resumes) reading the response: the client takes it too slowly. */
  pauseResponse(pause: boolean): void {
    const stream = this.stream;
    if (stream === null || this.decodeComplete) return;
    if (pause) this.downstreamPauses++;
    else if (this.downstreamPauses === 0) return;
    else this.downstreamPauses--;
    this.router.onResponsePaused(pause);
    stream.readDisable(pause);
  }
}
