/**
 * An accepted socket on its way to becoming a server connection (Envoy: ConnectionSocket and its ConnectionInfoProvider), and what
 * the connection is then made from. Listener filters write their findings here; chain matching reads them.
 */
import type { Dispatcher } from '../../core/event/dispatcher.ts';
import type { HelloFingerprints } from '../stream_info/stream_info.ts';
import type { Address } from './address.ts';
import type { Connection } from './connection.ts';
import type { ServerConnectionOptions } from './connection_impl.ts';
import type { FilterChainMatchInput } from './filter_chain_match.ts';
import type { IoHandle } from './io_handle.ts';

export class AcceptedSocket implements FilterChainMatchInput {
  readonly handle: IoHandle;
  /** The addresses of the socket itself. */
  readonly directLocalAddress: Address;
  readonly directRemoteAddress: Address;
  localAddress: Address;
  remoteAddress: Address;
  /** The local address is not the socket's but the one the client asked for. */
  localAddressRestored = false;
  /** '' until a listener filter knows; 'raw_buffer' when none did. */
  detectedTransportProtocol = '';
  requestedApplicationProtocols: readonly string[] = [];
  /** Lower case. */
  requestedServerName = '';
  /** Set: it has a place among the connections of the whole process. */
  slots: { giveConnectionBack(): void } | null = null;
  helloFingerprints: HelloFingerprints | null = null;

  constructor(handle: IoHandle) {
    this.handle = handle;
    this.directLocalAddress = handle.localAddress();
    this.directRemoteAddress = handle.remoteAddress();
    this.localAddress = this.directLocalAddress;
    this.remoteAddress = this.directRemoteAddress;
  }

  /** The socket, or the connection made from it, is gone. */
  giveSlotBack(): void {
    this.slots?.giveConnectionBack();
    this.slots = null;
  }

  restoreLocalAddress(address: Address): void {
    this.localAddress = address;
    this.localAddressRestored = true;
  }

  setRequestedServerName(name: string): void {
    this.requestedServerName = name.toLowerCase();
  }
}

/**
 * Makes a connection that owns `handle`, whose reading is off and whose callbacks it replaces (`connection_impl.ts`). Filters are
 * added after this call, so the first data is delivered after `initializeReadFilters`, never inside it.
 */
export type CreateServerConnection = (dispatcher: Dispatcher, handle: IoHandle, options: ServerConnectionOptions) => Connection;
