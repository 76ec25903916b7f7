/**
 * The HTTP connection manager: the network filter that turns a downstream connection's bytes into streams (Envoy:
 * source/common/http/conn_manager_impl.cc). Owns the codec, the connection's timeouts and its draining.
 *
 * AUTO takes HTTP/2 when ALPN says so or the connection begins with its preface; where configured, also when the first request asks
 * for h2c (RFC 7540 3.2).
 *
 * Left out: HTTP/3.
 */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { BytesSentListener, ConnectionCallbacks, ReadFilter, ReadFilterCallbacks } from '../../network/connection.ts';
import { type Connection, ConnectionCloseType, ConnectionEvent, FilterStatus } from '../../network/connection.ts';
import { LoadShedPoint } from '../../overload/overload_memory.ts';
import type { OverloadState } from '../../overload/overload_state.ts';
import type { ScaledTimer } from '../../overload/scaled_timer.ts';
import type { Protocol, ResponseFlag } from '../../stream_info/stream_info.ts';
import {
  type RequestDecoder,
  type ResponseEncoder,
  type ServerConnection,
  type ServerConnectionCallbacks,
  StreamResetReason,
} from '../codec.ts';
import type { HeaderMap } from '../header_map.ts';
import { H } from '../header_names.ts';
import { ActiveStream } from './active_stream.ts';
import type { ConnectionManagerConfig } from './conn_manager_config.ts';
import { ConnectionFacts, hasToken } from './conn_manager_utility.ts';
import { LazyTimer } from './lazy_timer.ts';

export const DrainState = { NotDraining: 0, Draining: 1, Closing: 2 } as const;
export type DrainState = (typeof DrainState)[keyof typeof DrainState];

const HTTP2_PREFACE = 'PRI * HTTP/2';

/** To a client whose request was not even looked at. */
const OVERLOADED = Buffer.from(
  'HTTP/1.1 500 Internal Server Error\r\ncontent-length: 21\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nInternal Server Error',
);

const Choice = { Http1: 0, Http2: 1, Undecided: 2 } as const;
type Choice = (typeof Choice)[keyof typeof Choice];

/** A server codec that knows more about keep-alive than the headers still tell. */
interface KeepAliveAware extends ServerConnection {
  readonly requestKeepsAlive?: boolean;
}

export class ConnectionManagerImpl implements ReadFilter, ConnectionCallbacks, BytesSentListener, ServerConnectionCallbacks {
  readonly config: ConnectionManagerConfig;
  private readCallbacks: ReadFilterCallbacks | null = null;
  /** Null before the first byte, and while the connection waits for its next request. */
  private codec: KeepAliveAware | null = null;
  /** The protocol once it is known. */
  private knownProtocol: Protocol = '';
  facts!: ConnectionFacts;
  drainState: DrainState = DrainState.NotDraining;
  http1 = true;
  private readonly streams: ActiveStream[] = [];
  private accumulatedRequests = 0;
  /** Bytes of the read buffer that were counted already. */
  private rxBuffered = 0;
  private softDrain = false;
  private closed = false;
  private startMs = 0;
  private idleTimer: LazyTimer | ScaledTimer | null = null;
  private drainTimer: LazyTimer | null = null;
  private durationTimer: LazyTimer | ScaledTimer | null = null;

  constructor(config: ConnectionManagerConfig) {
    this.config = config;
  }

  get connection(): Connection {
    return (this.readCallbacks as ReadFilterCallbacks).connection;
  }

  get protocol(): Protocol {
    return this.codec === null ? this.knownProtocol : this.codec.protocol;
  }

  // ReadFilter.

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.readCallbacks = callbacks;
    const config = this.config;
    const stats = config.stats;
    const connection = callbacks.connection;
    connection.addConnectionCallbacks(this);
    connection.addBytesSentListener(this);
    connection.setDelayedCloseTimeout(config.delayedCloseTimeoutMs);
    this.startMs = config.dispatcher.nowMs;
    stats.downstreamCxTotal.inc();
    stats.downstreamCxActive.inc();
    if (connection.ssl !== null) {
      stats.downstreamCxSslTotal.inc();
      stats.downstreamCxSslActive.inc();
    }
  }

  onBytesSent(bytes: number): void {
    this.config.stats.downstreamCxTxBytesTotal.add(bytes);
  }

  onNewConnection(): FilterStatus {
    const config = this.config;
    this.facts = new ConnectionFacts(this.connection, config);
    if (config.idleTimeoutMs > 0) {
      this.idleTimer = config.createTimer('HTTP_DOWNSTREAM_CONNECTION_IDLE', () => this.onIdleTimeout());
      this.idleTimer.set(config.idleTimeoutMs);
    }
    if (config.maxConnectionDurationMs > 0) {
      this.durationTimer = config.createTimer('HTTP_DOWNSTREAM_CONNECTION_MAX', () => this.onDurationTimeout());
      this.durationTimer.set(config.maxConnectionDurationMs);
    }
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer, _endStream: boolean): FilterStatus {
    const { overload } = this.config;
    if (this.codec === null) {
      if (overload !== null && this.knownProtocol === '' && overload.shouldShed(LoadShedPoint.CreatingCodec)) {
        this.config.stats.downstreamRqOverloadClose.inc();
        this.doConnectionClose(ConnectionCloseType.NoFlush, 'OverloadManagerTerminated', 'envoy_overload');
        return FilterStatus.StopIteration;
      }
      if (this.knownProtocol === '' && this.config.codecType !== 'HTTP1') {
        const choice = this.config.codecType === 'HTTP2' ? Choice.Http2 : this.chooseCodec(data);
        if (choice === Choice.Undecided) return FilterStatus.StopIteration;
        this.http1 = choice === Choice.Http1;
      }
      this.createCodec();
    }
    const codec = this.codec as ServerConnection;
    if (overload !== null && this.shedsDispatch(overload, data)) return FilterStatus.StopIteration;
    this.config.stats.downstreamCxRxBytesTotal.add(data.length - this.rxBuffered);
    let error = codec.dispatch(data);
    if (this.codec !== codec && this.codec !== null && error === null) error = this.codec.dispatch(data);
    this.rxBuffered = data.length;
    if (error !== null) {
      this.config.stats.downstreamCxProtocolError.inc();
      const details = `codec_error:${error.details}`.replaceAll(' ', '_');
      this.connection.streamInfo.setFlag('DownstreamProtocolError');
      this.connection.streamInfo.connectionTerminationDetails = details;
      this.doConnectionClose(ConnectionCloseType.FlushWriteAndDelay, 'DownstreamProtocolError', details);
      return FilterStatus.StopIteration;
    }
    if (this.drainState === DrainState.Closing) this.checkForDeferredClose(false);
    return FilterStatus.StopIteration;
  }

  /** True: what was received is not looked at, and the connection ends. */
  private shedsDispatch(overload: OverloadState, data: SliceBuffer): boolean {
    const { stats } = this.config;
    if (this.http1) {
      if (!overload.shouldShed(LoadShedPoint.Http1AbortDispatch)) return false;
      stats.downstreamRqOverloadClose.inc();
      data.clear();
      this.rxBuffered = 0;
      this.drainState = DrainState.Closing;
      const stream = this.streams[0];
      stream?.streamInfo.setFlag('OverloadManagerTerminated');
      // A request under way that nothing was answered to is told; a new one has no stream yet.
      if (stream !== undefined && stream.responseHeaders === null)
        stream.sendLocalReply(500, 'Internal Server Error', 'overload');
      else {
        if (stream === undefined) {
          data.append(OVERLOADED);
          this.connection.write(data, false);
        }
        this.doConnectionClose(ConnectionCloseType.FlushWrite, 'OverloadManagerTerminated', 'envoy_overload');
      }
      return true;
    }
    if (overload.shouldShed(LoadShedPoint.Http2GoAwayAndCloseOnDispatch)) {
      stats.downstreamRqOverloadClose.inc();
      this.codec?.goAway();
      this.doConnectionClose(ConnectionCloseType.FlushWriteAndDelay, 'OverloadManagerTerminated', 'envoy_overload');
      return true;
    }
    if (this.drainState === DrainState.NotDraining && overload.shouldShed(LoadShedPoint.Http2GoAwayOnDispatch))
      this.startDrainSequence();
    return false;
  }

  private chooseCodec(data: SliceBuffer): Choice {
    const protocol = this.connection.nextProtocol;
    if (protocol === 'h2') return Choice.Http2;
    if (protocol !== '' && protocol !== 'h2c') return Choice.Http1;
    const length = Math.min(data.length, HTTP2_PREFACE.length);
    for (let i = 0; i < length; i++) if (data.byteAt(i) !== HTTP2_PREFACE.charCodeAt(i)) return Choice.Http1;
    return length === HTTP2_PREFACE.length ? Choice.Http2 : Choice.Undecided;
  }

  private createCodec(): void {
    const factory = this.config.codecFactory;
    this.codec = this.http1 ? factory.create(this.connection, this) : factory.createHttp2(this.connection, this);
    if (this.knownProtocol !== '') return;
    const stats = this.config.stats;
    this.knownProtocol = this.codec.protocol;
    this.connection.streamInfo.protocol = this.codec.protocol;
    if (this.http1) {
      stats.downstreamCxHttp1Total.inc();
      stats.downstreamCxHttp1Active.inc();
    } else {
      stats.downstreamCxHttp2Total.inc();
      stats.downstreamCxHttp2Active.inc();
    }
  }

  // ServerConnectionCallbacks.

  newStream(encoder: ResponseEncoder): RequestDecoder {
    const config = this.config;
    const stats = config.stats;
    if (this.idleTimer !== null) this.idleTimer.clear();
    const stream = config.freeStreams.pop() ?? new ActiveStream(config);
    stream.listIndex = this.streams.length;
    this.streams.push(stream);
    stats.downstreamRqTotal.inc();
    stats.downstreamRqActive.inc();
    if (this.http1) stats.downstreamRqHttp1Total.inc();
    else stats.downstreamRqHttp2Total.inc();
    stream.begin(this, encoder);
    this.accumulatedRequests++;
    if (config.maxRequestsPerConnection > 0 && this.accumulatedRequests >= config.maxRequestsPerConnection)
      this.onMaxRequests(stream);
    if (this.softDrain) stream.sawConnectionClose = true;
    return stream;
  }

  onHttp2Upgrade(decoder: RequestDecoder, settings: Uint8Array, accept: () => void): boolean {
    const stream = decoder as ActiveStream;
    if (this.accumulatedRequests !== 1 || this.drainState !== DrainState.NotDraining) return false;
    const codec = this.config.codecFactory.createHttp2(this.connection, this);
    const encoder = codec.upgrade(settings, stream);
    if (encoder === null) {
      codec.onConnectionClosed();
      return false;
    }
    const stats = this.config.stats;
    stats.downstreamCxHttp1Active.dec();
    stats.downstreamCxHttp2Total.inc();
    stats.downstreamCxHttp2Active.inc();
    stats.downstreamCxUpgradesTotal.inc();
    this.http1 = false;
    this.codec = codec;
    this.knownProtocol = codec.protocol;
    this.connection.streamInfo.protocol = codec.protocol;
    accept();
    stream.moveTo(encoder);
    return true;
  }

  onStreamsFlushed(): void {
    this.checkForDeferredClose(false);
  }

  private onMaxRequests(stream: ActiveStream): void {
    if (this.http1) {
      stream.sawConnectionClose = true;
      this.drainState = DrainState.Closing;
    } else if (this.drainState === DrainState.NotDraining) this.startDrainSequence();
    else return;
    this.config.stats.downstreamCxMaxRequestsReached.inc();
  }

  /** Whether this request lets the connection live on. */
  requestKeepsAlive(headers: HeaderMap): boolean {
    const codec = this.codec as KeepAliveAware;
    const known = codec.requestKeepsAlive;
    if (known === false) return false;
    if (known === undefined && headers.hasId(H.connection) && hasToken(headers.getId(H.connection) as string, 'close'))
      return false;
    if (headers.hasId(H['proxy-connection']) && hasToken(headers.getId(H['proxy-connection']) as string, 'close')) return false;
    if (known !== undefined || codec.protocol !== 'HTTP/1.0') return true;
    return headers.hasId(H.connection) && hasToken(headers.getId(H.connection) as string, 'keep-alive');
  }

  // Draining.

  startDrainSequence(): void {
    if (this.drainState !== DrainState.NotDraining) return;
    this.drainState = DrainState.Draining;
    this.codec?.shutdownNotice();
    this.drainTimer = new LazyTimer(this.config.dispatcher, () => this.onDrainTimeout());
    this.drainTimer.set(this.config.drainTimeoutMs);
  }

  /** A connection without a request learns of the end here, others by their next response. */
  onDrain(): void {
    if (this.streams.length > 0 || this.drainState !== DrainState.NotDraining || this.closed) return;
    this.startDrainSequence();
    this.config.stats.downstreamCxDrainClose.inc();
  }

  setClosing(): void {
    this.drainState = DrainState.Closing;
  }

  private onDrainTimeout(): void {
    this.codec?.goAway();
    this.drainState = DrainState.Closing;
    this.checkForDeferredClose(false);
  }

  private onIdleTimeout(): void {
    this.config.stats.downstreamCxIdleTimeout.inc();
    if (this.knownProtocol === '') this.doConnectionClose(ConnectionCloseType.FlushWrite, null, 'on_idle_timeout');
    else this.startDrainSequence();
  }

  private onDurationTimeout(): void {
    this.config.stats.downstreamCxMaxDurationReached.inc();
    if (this.knownProtocol === '') {
      this.doConnectionClose(ConnectionCloseType.FlushWrite, 'DurationTimeout', 'max_connection_duration');
    } else if (this.drainState === DrainState.NotDraining) {
      if (this.config.http1SafeMaxConnectionDuration && this.http1) {
        this.config.stats.downstreamCxHttp1SoftDrain.inc();
        this.softDrain = true;
        for (const stream of this.streams) stream.sawConnectionClose = true;
      } else this.startDrainSequence();
    }
  }

  // Ends of streams.

  /** The response is complete, or the stream gives up: resets what is not finished, then closes when draining is done. */
  doEndStream(stream: ActiveStream): void {
    if (stream.listIndex < 0) return;
    const encoder = stream.responseEncoder;
    const filters = stream.filterManager;
    const requestComplete = filters.remoteComplete;
    const sawClose = stream.sawConnectionClose;
    let reset = false;
    if (encoder !== null && (!requestComplete || !stream.codecSawLocalComplete)) {
      filters.localComplete = true;
      const cleanly = stream.codecSawLocalComplete;
      stream.codecSawLocalComplete = true;
      reset = true;
      encoder.stream.removeCallbacks(stream);
      const reason = stream.streamInfo.hasFlag('UpstreamProtocolError')
        ? StreamResetReason.ProtocolError
        : StreamResetReason.LocalReset;
      encoder.stream.resetStream(reason);
      // A complete response to a request that is not: the bytes that are out stay out, the rest of the request is not read.
      if (cleanly) this.config.stats.downstreamRqTxReset.inc();
      else stream.onReset(reason);
    }
    this.doDeferredStreamDestroy(stream);
    if (reset && this.http1) this.drainState = DrainState.Closing;
    if (this.drainState === DrainState.Closing) {
      const http10 = stream.streamInfo.protocol === 'HTTP/1.0';
      this.checkForDeferredClose(sawClose && (requestComplete || http10));
    }
  }

  /** The codec gave a stream up: an HTTP/1 message that cannot be completed takes its connection with it. */
  onCodecReset(): void {
    if (!this.http1) return;
    this.drainState = DrainState.Closing;
    this.checkForDeferredClose(false);
  }

  doDeferredStreamDestroy(stream: ActiveStream): void {
    const at = stream.listIndex;
    if (at < 0) return;
    stream.listIndex = -1;
    const streams = this.streams;
    const last = streams.pop() as ActiveStream;
    if (last !== stream) {
      streams[at] = last;
      last.listIndex = at;
    }
    stream.complete();
    this.config.dispatcher.deferredDelete(stream);
    if (!this.http1) this.countReset(stream);
    if (streams.length === 0 && this.idleTimer !== null && !this.closed) this.idleTimer.set(this.config.idleTimeoutMs);
  }

  private closedRequests = 0;
  private prematureResets = 0;

  /**
   * Rapid reset (Envoy: maybeDrainDueToPrematureResets): a connection most of whose streams are reset before anything is answered
   * does nothing but make work.
   */
  private countReset(stream: ActiveStream): void {
    if (this.closed) return;
    this.closedRequests++;
    const info = stream.streamInfo;
    const runtime = this.config.runtime?.snapshot;
    const minLifetimeMs = (runtime?.getInteger('overload.premature_reset_min_stream_lifetime_seconds', 1) ?? 1) * 1000;
    const young = info.endMonotonicMs - info.startMonotonicMs < minLifetimeMs + 1000;
    if (young && info.responseCode === 0) this.prematureResets++;
    const limit = runtime?.getInteger('overload.premature_reset_total_stream_count', 500) ?? 500;
    if (this.prematureResets < (this.closedRequests < limit ? limit : this.closedRequests) / 2) return;
    if (this.drainState !== DrainState.NotDraining || this.connection.state !== 'open') return;
    this.drainState = DrainState.Closing;
    this.config.stats.downstreamRqTooManyPrematureResets.inc();
    this.doConnectionClose(ConnectionCloseType.NoFlush, null, 'too_many_premature_resets');
  }

  /** A stream's memory is released, nothing of it is on the stack: a connection without another one gives its codec back. */
  onStreamDeleted(): void {
    if (this.codec === null || this.streams.length > 0) return;
    this.knownProtocol = this.codec.protocol;
    if (this.connection.state === 'open') {
      if (this.config.codecFactory.park(this.codec)) this.codec = null;
    } else if (this.http1) {
      this.codec.onConnectionClosed();
      this.config.codecFactory.retire(this.codec);
      this.codec = null;
    }
  }

  private checkForDeferredClose(skipDelay: boolean): void {
    if (this.drainState !== DrainState.Closing || this.streams.length > 0 || this.closed) return;
    // Responses that are complete here and not yet at the peer.
    if (!this.http1 && (this.codec as { activeStreams?: number } | null)?.activeStreams !== 0) return;
    this.doConnectionClose(skipDelay ? ConnectionCloseType.FlushWrite : ConnectionCloseType.FlushWriteAndDelay, null, '');
  }

  private doConnectionClose(type: ConnectionCloseType | null, flag: ResponseFlag | null, details: string): void {
    this.idleTimer?.clear();
    this.drainTimer?.clear();
    this.durationTimer?.clear();
    if (this.streams.length > 0) {
      const stats = this.config.stats;
      stats.downstreamCxDestroyActiveRq.inc();
      if (type === null && this.remoteClose) stats.downstreamCxDestroyRemoteActiveRq.inc();
      else stats.downstreamCxDestroyLocalActiveRq.inc();
      this.resetAllStreams(flag, details);
    }
    if (type !== null && this.connection.state === 'open') this.connection.close(type, details);
  }

  private resetAllStreams(flag: ResponseFlag | null, details: string): void {
    while (this.streams.length > 0) {
      const stream = this.streams[this.streams.length - 1];
      const info = stream.streamInfo;
      stream.responseEncoder?.stream.removeCallbacks(stream);
      if (details !== '') info.responseCodeDetails = details;
      if (flag !== null) info.setFlag(flag);
      stream.onReset(StreamResetReason.ConnectionTermination);
      // `onReset` refuses a second call: never loop on a stream that is stuck.
      if (stream.listIndex >= 0) this.doDeferredStreamDestroy(stream);
    }
  }

  // ConnectionCallbacks.

  private remoteClose = false;

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected || this.closed) return;
    this.closed = true;
    const stats = this.config.stats;
    const connection = this.connection;
    this.remoteClose = event === ConnectionEvent.RemoteClose;
    stats.downstreamCxDestroy.inc();
    if (this.remoteClose) stats.downstreamCxDestroyRemote.inc();
    else stats.downstreamCxDestroyLocal.inc();
    this.doConnectionClose(
      null,
      'DownstreamConnectionTermination',
      this.remoteClose ? 'downstream_remote_disconnect' : localDisconnect(connection.streamInfo.connectionTerminationDetails),
    );
    this.codec?.onConnectionClosed();
    if (this.knownProtocol !== '') {
      if (this.http1) stats.downstreamCxHttp1Active.dec();
      else stats.downstreamCxHttp2Active.dec();
    }
    this.idleTimer?.destroy();
    this.drainTimer?.destroy();
    this.durationTimer?.destroy();
    stats.downstreamCxActive.dec();
    if (connection.ssl !== null) stats.downstreamCxSslActive.dec();
    stats.downstreamCxLengthMs.recordValue(Math.round(this.config.dispatcher.nowMs - this.startMs));
  }

  onAboveWriteBufferHighWatermark(): void {
    this.codec?.onUnderlyingConnectionAboveWriteBufferHighWatermark();
  }

  onBelowWriteBufferLowWatermark(): void {
    this.codec?.onUnderlyingConnectionBelowWriteBufferLowWatermark();
  }
}

function localDisconnect(details: string): string {
  return details === '' ? 'downstream_local_disconnect' : `downstream_local_disconnect(${details})`;
}
