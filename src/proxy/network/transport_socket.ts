/**
 * What stands between a connection and its IoHandle (Envoy's Network::TransportSocket): TLS, or plain text that may turn into TLS.
 *
 * A transport socket takes the IoHandle of a connection and is one itself, so that a connection without it (`raw_buffer`) pays
 * nothing. Reads it delivers are plain text, writes it takes are plain text. `onConnect(0)` of its callbacks tells that
 * the connection is secure, on the accepting side too; `onError` that it failed, and `failureReason` why.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { Address } from './address.ts';
import type { SslConnectionInfo } from './connection.ts';
import type { IoHandle } from './io_handle.ts';

export interface TransportSocket extends IoHandle {
  /** The application protocol that was negotiated: 'h2', 'http/1.1'; '' before, without and on plain text. */
  readonly protocol: string;
  /** Null while the connection is plain text. */
  readonly ssl: SslConnectionInfo | null;
  /** '' while nothing failed. */
  readonly failureReason: string;
  /** When the socket below was connected, in monotonic ms; -1 before, and on the accepting side. */
  readonly connectedMs: number;
  /** Accepting side, once, after `setCallbacks`: `data` was read already (and is moved from), `ended`: FIN followed it. */
  start(data: SliceBuffer | null, ended: boolean): void;
  /** Its owner closes it as soon as what was written is sent, and writes nothing more. */
  closeWhenFlushed?(): void;
  /** Turns plain text into TLS after everything written so far; false when it cannot, or is TLS already. */
  startSecureTransport(): boolean;
}

/** What one client connection wants otherwise than its cluster's configuration says (Envoy: TransportSocketOptions). */
export interface TransportSocketOptions {
  /** The endpoint's, for `auto_host_sni`; '' for none. */
  readonly hostName: string;
  /** Server name to send instead of the configured one; '' for that. */
  readonly serverNameOverride: string;
  /** Names of which the peer's certificate must have one, in place of the configured SAN matchers; empty for those. */
  readonly verifySubjectAltNames: readonly string[];
  /** Protocols to offer instead of the configured ones; empty for those. */
  readonly applicationProtocolOverride: readonly string[];
  /** Protocols to offer when neither the override nor the configuration names any. */
  readonly applicationProtocolFallback: readonly string[];
}

/** Between whom a connection is, which listener filters may have found out. */
export interface ConnectionAddresses {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
}

/** One per filter chain, cluster or transport socket match. */
export interface TransportSocketFactory {
  /** False: plain text unless something starts TLS. */
  readonly secure: boolean;
  /** The peer's certificate is checked against something. */
  readonly verifiesPeer: boolean;
  /** Takes over `handle`. `addresses`: null for those of `handle`. */
  create(
    dispatcher: Dispatcher,
    handle: IoHandle,
    options: TransportSocketOptions | null,
    addresses: ConnectionAddresses | null,
  ): TransportSocket;
}
