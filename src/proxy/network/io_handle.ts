/**
 * The seam between the proxy and whatever moves bytes (Envoy's IoHandle and SocketInterface): io_uring, epoll, the host stack (vcl).
 *
 * Completion-shaped: received bytes arrive as slices that the receiver then owns; slices to send are handed over; nobody above
 * sees a descriptor. All calls and callbacks happen on the thread of `dispatcher`. No callback runs after `close()` returned.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Address } from './address.ts';

export interface IoHandleCallbacks {
  /** A received slice; its reference is now the receiver's. */
  onRead(offset: number, length: number): void;
  /** The peer sent FIN; no `onRead` follows. */
  onReadEnd(): void;
  /** All of one batch of reads was delivered: process what has arrived. */
  onReadBatch(): void;
  /** `bytes` more of what was given to `write` are with the kernel; `pending` are still to go. */
  onWritten(bytes: number, pending: number): void;
  /** The outcome of `connect`: 0 or an errno. */
  onConnect(error: number): void;
  /** Reading or writing failed for good with this errno (ECONNRESET ...). The handle is unusable; close it. */
  onError(error: number): void;
}

export interface IoHandle {
  /** For logs and for passing to kernel interfaces; -1 when there is no descriptor. */
  readonly fd: number;
  /** Of its socket interface: `io_uring`, `epoll`, `vcl`. */
  readonly interfaceName: string;
  readonly isOpen: boolean;
  setCallbacks(callbacks: IoHandleCallbacks): void;
  /** Starts connecting; `onConnect` tells. */
  connect(address: Address): void;
  /** Starts or stops delivering reads. Off at the start. Bytes that the kernel already handed over wait inside, bounded. */
  setReading(enabled: boolean): void;
  /**
   * So many of the bytes that come next (counted from what was delivered last) are passed on unseen, so that their sender may change them
   * meanwhile: a handle that can do so delivers them where they lie. Replaces what was said before.
   */
  opaqueAhead?(bytes: number): void;
  /**
   * Takes all slices of `data`. Sent in order, batched at the end of the turn. `pendingBytes` grows until `onWritten`.
   * Must not be called after `shutdownWrite`.
   */
  write(data: SliceBuffer): void;
  readonly pendingBytes: number;
  /** Sends FIN after everything written before. */
  shutdownWrite(): void;
  /** Closes now; unsent bytes are lost. `reset` sends RST. */
  close(reset?: boolean): void;
  localAddress(): Address;
  remoteAddress(): Address;
  /** setsockopt with an int32; returns 0 or an errno. */
  setOption(level: number, name: number, value: number): number;
  getOption(level: number, name: number): number;
  /** getsockopt into bytes (at most 128); null when it failed. */
  getOptionBytes(level: number, name: number, length: number): Uint8Array | null;
  /** Smoothed round-trip time in ms, or undefined. */
  lastRoundTripTimeMs(): number | undefined;
}

export interface ListenOptions {
  address: Address;
  backlog: number;
  reusePort: boolean;
  /** IP_TRANSPARENT, IP_FREEBIND. */
  transparent?: boolean;
  freebind?: boolean;
  /** Raw socket options, applied before bind ('prebind'), after bind ('bound') or after listen ('listening'). */
  socketOptions?: { level: number; name: number; value: number | Uint8Array; state: 'prebind' | 'bound' | 'listening' }[];
  /** Name of the socket interface; undefined: the default one. */
  socketInterface?: string;
  /** An already bound descriptor to use instead of making one (hot restart, sharing without reuse_port). */
  fd?: number;
}

/** A bound and listening socket of this thread. */
export interface ListenSocket {
  readonly localAddress: Address;
  /** Delivers accepted handles (non-blocking, TCP_NODELAY set, reading off) until `setAccepting(false)` or `close()`. */
  setAccepting(enabled: boolean): void;
  close(): void;
}

export interface ConnectOptions {
  address: Address;
  /** Name of the socket interface; undefined: the default one. */
  socketInterface?: string;
  sourceAddress?: Address;
  socketOptions?: { level: number; name: number; value: number | Uint8Array; state: 'prebind' | 'bound' | 'listening' }[];
}

export interface SocketInterface {
  /** `io_uring`, `epoll`, `vcl`. */
  readonly name: string;
  /** Binds and listens. Throws SysError (EADDRINUSE, EACCES ...). */
  listen(dispatcher: Dispatcher, options: ListenOptions, onAccept: (handle: IoHandle) => void): ListenSocket;
  /** A socket that is not connected yet. Throws SysError. Call `connect` on it after `setCallbacks`. */
  createSocket(dispatcher: Dispatcher, options: ConnectOptions): IoHandle;
}
