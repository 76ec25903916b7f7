/**
 * A connection as filters and codecs see it (Envoy's Network::Connection), and the network filter contract.
 * Implementation: `connection_impl.ts`.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { Address } from './address.ts';

export const ConnectionEvent = { RemoteClose: 0, LocalClose: 1, Connected: 2 } as const;
export type ConnectionEvent = (typeof ConnectionEvent)[keyof typeof ConnectionEvent];

export const ConnectionCloseType = {
  /** Drop what is not sent yet. */
  NoFlush: 0,
  /** Send what is in the write buffer, then close. */
  FlushWrite: 1,
  /** Send, then wait for the peer to close or for the delayed-close timeout, so that an RST does not race the last bytes. */
  FlushWriteAndDelay: 2,
  /** Drop and send RST. */
  AbortReset: 3,
} as const;
export type ConnectionCloseType = (typeof ConnectionCloseType)[keyof typeof ConnectionCloseType];

export interface ConnectionCallbacks {
  onEvent(event: ConnectionEvent): void;
  /** The write buffer went above its high watermark: stop producing. */
  onAboveWriteBufferHighWatermark?(): void;
  onBelowWriteBufferLowWatermark?(): void;
}

export interface BytesSentListener {
  onBytesSent(bytes: number): void;
}

export const FilterStatus = { Continue: 0, StopIteration: 1 } as const;
export type FilterStatus = (typeof FilterStatus)[keyof typeof FilterStatus];

/** A network filter's read side. `data` is the connection's read buffer: drain what was consumed, leave the rest. */
export interface ReadFilter {
  /** Called once, before the first `onNewConnection`. */
  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void;
  onNewConnection(): FilterStatus;
  onData(data: SliceBuffer, endStream: boolean): FilterStatus;
  /** The server ends its connections, now or soon: a filter that has nothing under way may begin to close this one. May come again. */
  onDrain?(): void;
}

export interface WriteFilter {
  /** For those that pass bytes on later. Called once, when the filter is added. */
  initializeWriteFilterCallbacks?(callbacks: WriteFilterCallbacks): void;
  onWrite(data: SliceBuffer, endStream: boolean): FilterStatus;
}

export interface ReadFilterCallbacks {
  readonly connection: Connection;
  /** Resumes after StopIteration with the next filter. */
  continueReading(): void;
  /** Bytes in the connection's read buffer. */
  readonly bufferedBytes: number;
}

export interface WriteFilterCallbacks {
  /** Bytes that the filter took (StopIteration) go on to the filters after it and the socket. */
  continueWriting(data: SliceBuffer, endStream: boolean): void;
  /**
   * The filter took bytes that it will pass on by itself (`bytes` > 0), or has done so (< 0): until then they count as not sent, and a close
   * that flushes waits. What is added must be taken away again.
   */
  holdWrites(bytes: number): void;
}

/** One X.509 certificate, read when asked for. */
export interface SslCertificate {
  readonly der: Uint8Array;
  /** Of the DER, lower-case hex. */
  readonly sha256: string;
  readonly sha1: string;
  /** Lower-case hex. */
  readonly serialNumber: string;
  /** As RFC 2253 writes names. */
  readonly subject: string;
  readonly issuer: string;
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  readonly ipSans: readonly string[];
  readonly emailSans: readonly string[];
  readonly otherNameSans: readonly string[];
  /** ms since the epoch. */
  readonly validFromMs: number;
  readonly expirationMs: number;
  readonly pem: string;
}

/** A certificate's PEM as headers and logs carry it: everything but letters, digits, `_`, `-`, `.` and `~` escaped. */
export function urlEncodedPem(certificate: SslCertificate): string {
  return encodeURIComponent(certificate.pem).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** TLS facts of a connection (Envoy's Ssl::ConnectionInfo); absent on plain text. Complete when the handshake is. */
export interface SslConnectionInfo {
  readonly handshakeComplete: boolean;
  readonly peerCertificatePresented: boolean;
  /** It was checked against a trusted CA, a hash or a pin, and passed. */
  readonly peerCertificateValidated: boolean;
  readonly sni: string;
  readonly alpn: string;
  /** `TLSv1.3`. */
  readonly version: string;
  /** As OpenSSL names it. */
  readonly cipher: string;
  /** Lower-case hex; '' when the session has none. */
  readonly sessionId: string;
  readonly sessionReused: boolean;
  readonly peerCertificate: SslCertificate | null;
  /** As sent, leaf first. */
  readonly peerCertificateChain: readonly SslCertificate[];
  readonly localCertificate: SslCertificate | null;
}

export interface Connection {
  /** Unique in the process. */
  readonly id: number;
  readonly dispatcher: Dispatcher;
  readonly state: 'open' | 'closing' | 'closed';
  readonly connecting: boolean;
  /** What moves its bytes: `io_uring`, `epoll`, `vcl`. */
  readonly interfaceName: string;
  readonly streamInfo: StreamInfo;
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  /** The server name of the TLS ClientHello (or of the filter that detected it), lower case; '' when unknown. */
  readonly requestedServerName: string;
  /** The negotiated (or detected) application protocol: 'h2', 'http/1.1', ''. With TLS it is known when data arrives, or `Connected`. */
  readonly nextProtocol: string;
  readonly ssl: SslConnectionInfo | null;
  /** Why the transport failed, for `%UPSTREAM_TRANSPORT_FAILURE_REASON%`; '' when it did not. */
  readonly transportFailureReason: string;

  addReadFilter(filter: ReadFilter): void;
  addWriteFilter(filter: WriteFilter): void;
  addConnectionCallbacks(callbacks: ConnectionCallbacks): void;
  removeConnectionCallbacks(callbacks: ConnectionCallbacks): void;
  /** Runs `onNewConnection` of the filters. False when a filter closed the connection or there is none. */
  initializeReadFilters(): boolean;

  /** Client connections: starts connecting; `Connected` or a close event tells. */
  connect(): void;
  /** Takes all slices of `data`; `endStream` half-closes after them. */
  write(data: SliceBuffer, endStream: boolean): void;
  /** Counted: reads are delivered only when every `true` was answered by a `false`. */
  readDisable(disable: boolean): void;
  readonly readEnabled: boolean;
  /**
   * For the filter that reads, when it has taken all there is: so many of the bytes that come next it passes on unseen (see `IoHandle`). Such
   * bytes are not kept for later, but as `makePrivate` of their buffer. Replaces what was said before.
   */
  opaqueAhead(bytes: number): void;
  /** Default false: the peer's FIN closes both directions. With true it reaches filters as endStream. */
  enableHalfClose(enable: boolean): void;
  close(type: ConnectionCloseType, details?: string): void;
  /** Tells the filters (`onDrain`). */
  drain(): void;
  /** Bytes written but not yet with the kernel. */
  readonly writeBufferBytes: number;
  /** High watermark of both buffers, in bytes; 0 turns it off. */
  setBufferLimits(limitBytes: number): void;
  readonly bufferLimit: number;
  setDelayedCloseTimeout(timeoutMs: number): void;
  /** Tells `listener` how many bytes the kernel took, for idle timers and stats. */
  addBytesSentListener(listener: BytesSentListener): void;
  setSocketOption(level: number, name: number, value: number): number;
  getSocketOptionBytes(level: number, name: number, length: number): Uint8Array | null;
  lastRoundTripTimeMs(): number | undefined;
  /** Turns a `starttls` connection into TLS; false when its transport socket cannot. */
  startSecureTransport(): boolean;
  /** Accepting side: closes when the transport socket is not done after `timeoutMs`, and calls `onTimeout` before. */
  setTransportSocketConnectTimeout(timeoutMs: number, onTimeout: () => void): void;
}
