/**
 * A running listener of one worker (Envoy: ActiveTcpListener): accepts, enforces limits, chooses filter chains, keeps the books on
 * its connections per chain.
 */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';
import type { Dispatcher, SchedulableCallback } from '../../core/event/dispatcher.ts';
import type { Counter } from '../../core/stats/stats.ts';
import { LoadShedPoint, OverloadAction } from '../overload/overload_memory.ts';
import type { OverloadState } from '../overload/overload_state.ts';
import { StreamInfo } from '../stream_info/stream_info.ts';
import type { Address } from './address.ts';
import { type Connection, ConnectionCloseType } from './connection.ts';
import type { ConnectionHandler } from './connection_handler.ts';
import type { DrainManager } from './drain_manager.ts';
import type { FilterChain } from './filter_chain.ts';
import type { IoHandle, ListenSocket } from './io_handle.ts';
import { ActiveConnection, emitListenerLogs } from './listener_active_connection.ts';
import { ActiveSocket } from './listener_active_socket.ts';
import type { ListenerConfig } from './listener_config.ts';
import { type ListenerStats, listenerStats } from './listener_stats.ts';
import { MemberList } from './member_list.ts';
import { AcceptedSocket } from './server_connection.ts';

/** Already bound descriptors or resolved addresses, by the index of the listener's address. */
export interface BindOverride {
  address?: Address;
  fd?: number;
}

export class ActiveListener {
  config: ListenerConfig;
  readonly dispatcher: Dispatcher;
  /** Of accepted sockets; takes the listening sockets over when it is not this one. */
  private successor: ActiveListener = this;
  readonly stats: ListenerStats;
  /** Sockets whose listener filters are not done. */
  readonly sockets = new MemberList<ActiveSocket>();
  private readonly handler: ConnectionHandler;
  private readonly connections = new Map<FilterChain, MemberList<ActiveConnection>>();
  private readonly connectionLimitKey: string;
  private readonly endOfTurn = () => this.onEndOfTurn();
  private readonly nextAccepts: SchedulableCallback;
  /** Accepted above max_connections_to_accept_per_socket_event: their turn comes. */
  private readonly waiting: IoHandle[] = [];
  private listenSockets: ListenSocket[] = [];
  private enabled = true;
  private acceptedThisTurn = 0;
  /** Connections that are not done, including those that are closed and not yet logged. */
  private live = 0;
  private onIdle: (() => void) | null = null;

  constructor(handler: ConnectionHandler, config: ListenerConfig) {
    this.handler = handler;
    this.dispatcher = handler.dispatcher;
    this.config = config;
    this.stats = listenerStats(config.statsScope, config.context.workerIndex);
    this.connectionLimitKey = `envoy.resource_limits.listener.${config.name}.connection_limit`;
    this.nextAccepts = this.dispatcher.createSchedulableCallback(() => this.acceptWaiting());
  }

  /** Binds and listens. Throws SysError; then nothing stays open. */
  listen(overrides: readonly BindOverride[]): void {
    const config = this.config;
    if (!config.bindToPort) return;
    try {
      config.addresses.forEach(({ address, socketOptions }, i) => {
        const options = {
          address: overrides[i]?.address ?? address,
          backlog: config.backlog,
          reusePort: config.reusePort,
          transparent: config.transparent,
          freebind: config.freebind,
          socketOptions,
          socketInterface: config.socketInterface,
          fd: overrides[i]?.fd,
        };
        const onAccept = (handle: IoHandle) => this.accepted(handle);
        this.listenSockets.push(config.context.socketInterface.listen(this.dispatcher, options, onAccept));
      });
    } catch (error) {
      this.stopListening();
      throw error;
    }
    if (this.enabled) this.setAccepting(true);
  }

  /** Takes the listening sockets of `previous`, and what they have accepted: no connection is refused meanwhile. */
  takeOver(previous: ActiveListener): void {
    previous.successor = this;
    this.listenSockets = previous.listenSockets;
    previous.listenSockets = [];
    for (const handle of previous.waiting.splice(0)) this.onAccept(handle);
    this.setAccepting(this.enabled);
  }

  /** As bound: port 0 is resolved. Configured addresses when it does not bind. */
  get localAddresses(): Address[] {
    if (this.listenSockets.length > 0) return this.listenSockets.map((socket) => socket.localAddress);
    return this.config.addresses.map((a) => a.address);
  }

  get isListening(): boolean {
    return this.listenSockets.length > 0;
  }

  get connectionCount(): number {
    return this.live;
  }

  /** Connections past their listener filters. */
  *openConnections(): Iterable<Connection> {
    for (const siblings of this.connections.values()) for (const { connection } of siblings) yield connection;
  }

  /** Pauses and resumes accepting (overload). */
  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    this.setAccepting(enabled);
  }

  /** Closes the listening sockets; connections live on. */
  stopListening(): void {
    for (const socket of this.listenSockets) socket.close();
    this.listenSockets = [];
    this.nextAccepts.cancel();
    for (const handle of this.waiting.splice(0)) handle.close();
  }

  /** Closes everything; `done` runs when the last connection is gone. */
  destroy(done: () => void): void {
    this.stopListening();
    for (const socket of this.sockets.toArray()) socket.abandon();
    for (const chain of [...this.connections.keys()]) this.closeFilterChain(chain, 'listener_is_being_removed');
    this.whenIdle(done);
  }

  /** Closes the connections of one chain. */
  closeFilterChain(chain: FilterChain, details: string): void {
    for (const connection of this.connections.get(chain)?.toArray() ?? []) connection.close(details);
    this.connections.delete(chain);
  }

  connectionsOf(chain: FilterChain): number {
    return this.connections.get(chain)?.size ?? 0;
  }

  /** Connections of these chains are to end when it suits them. */
  drainConnections(chains: readonly FilterChain[], decision: DrainManager): void {
    for (const chain of chains) {
      for (const { connection } of this.connections.get(chain)?.toArray() ?? []) if (decision.drainClose()) connection.drain();
    }
  }

  /** All chains that have had connections. */
  get usedChains(): readonly FilterChain[] {
    return [...this.connections.keys()];
  }

  whenIdle(done: () => void): void {
    this.onIdle = done;
    this.checkIdle();
  }

  onConnectionGone(): void {
    this.live--;
    this.checkIdle();
  }

  /** The listener bound to an original destination; null when it is this one or none. */
  handOffTarget(address: Address): ActiveListener | null {
    const target = this.handler.findByAddress(address);
    return target === this ? null : target;
  }

  /** A socket that another listener accepted; it is not handed on again. */
  onHandedOff(socket: AcceptedSocket, data: SliceBuffer | null, ended: boolean): void {
    this.startSocket(socket, false, data, ended);
  }

  /** `early` is what listener filters noted; null when there were none. */
  newConnection(socket: AcceptedSocket, early: StreamInfo | null, data: SliceBuffer | null, ended: boolean): void {
    if (socket.detectedTransportProtocol === '') socket.detectedTransportProtocol = 'raw_buffer';
    const chain = this.config.filterChains.find(socket);
    if (chain === null) {
      this.stats.no_filter_chain_match.inc();
      const info = early ?? this.newStreamInfo(socket);
      noteAddresses(info, socket);
      info.setFlag('NoRouteFound');
      info.responseCodeDetails = 'filter_chain_not_found';
      emitListenerLogs(this.config.accessLogs, info, this.dispatcher.nowMs);
      data?.clear();
      socket.giveSlotBack();
      socket.handle.close();
      return;
    }
    const connection = this.handler.createServerConnection(this.dispatcher, socket.handle, {
      localAddress: socket.localAddress,
      remoteAddress: socket.remoteAddress,
      requestedServerName: socket.requestedServerName,
      helloFingerprints: socket.helloFingerprints,
      initialData: data,
      initialEnd: ended,
      transportSocket: chain.transportSocket,
    });
    const info = connection.streamInfo;
    noteAddresses(info, socket);
    info.filterChainName = chain.name;
    info.listenerMetadata = this.config.metadata;
    if (early !== null) {
      info.startTimeMs = early.startTimeMs;
      info.startMonotonicMs = early.startMonotonicMs;
      info.dynamicMetadata = early.dynamicMetadata;
      info.filterState = early.filterState;
      info.downstreamTransportFailureReason = early.downstreamTransportFailureReason;
    }
    connection.setBufferLimits(this.config.perConnectionBufferLimitBytes);
    if (chain.transportSocketConnectTimeoutMs > 0) {
      const timeoutMs = chain.transportSocketConnectTimeoutMs;
      const overload = this.config.context.overload;
      const scaled = overload === undefined ? timeoutMs : overload.scaledTimeout('TRANSPORT_SOCKET_CONNECT', timeoutMs);
      connection.setTransportSocketConnectTimeout(scaled, () => this.stats.downstream_cx_transport_socket_connect_timeout.inc());
    }
    for (const factory of chain.networkFilterFactories) factory(connection);
    // A filter may have answered already: then it is being flushed, not open.
    if (!connection.initializeReadFilters() && connection.state === 'open') {
      connection.close(ConnectionCloseType.NoFlush, 'no_filters');
    }
    let siblings = this.connections.get(chain);
    if (siblings === undefined) {
      siblings = new MemberList();
      this.connections.set(chain, siblings);
    }
    this.live++;
    new ActiveConnection(this, siblings, connection, socket);
  }

  private accepted(handle: IoHandle): void {
    let listener: ActiveListener = this;
    while (listener.successor !== listener) listener = listener.successor;
    // The way does not grow with each update.
    this.successor = listener;
    listener.onAccept(handle);
  }

  private onAccept(handle: IoHandle): void {
    const most = this.config.maxConnectionsToAcceptPerSocketEvent;
    if (most > 0 && this.acceptedThisTurn >= most) {
      this.waiting.push(handle);
      this.nextAccepts.scheduleCallbackNextIteration();
      return;
    }
    if (this.acceptedThisTurn++ === 0) this.dispatcher.atEndOfTurn(this.endOfTurn);
    const slots = this.globalSlots();
    if (slots === undefined) this.refuse(handle, this.stats.downstream_global_cx_overflow, null);
    else if (this.shedsConnection()) this.refuse(handle, this.stats.downstream_cx_overload_reject, slots);
    else if (this.connectionLimitReached()) this.refuse(handle, this.stats.downstream_cx_overflow, slots);
    else {
      const socket = new AcceptedSocket(handle);
      socket.slots = slots;
      this.startSocket(socket, this.config.handOffRestoredDestinationConnections, null, false);
    }
  }

  /** Where a place among all connections was taken; null: none is needed; undefined: none is left. */
  private globalSlots(): OverloadState | null | undefined {
    if (this.config.ignoreGlobalConnectionLimit) return null;
    const { overload } = this.handler;
    if (overload?.limitsConnections === true) return overload.takeConnection() ? overload : undefined;
    return this.handler.globalConnectionLimitReached() ? undefined : null;
  }

  private refuse(handle: IoHandle, counter: Counter, slots: OverloadState | null): void {
    counter.inc();
    slots?.giveConnectionBack();
    handle.close();
  }

  private shedsConnection(): boolean {
    const overload = this.config.context.overload;
    if (overload === undefined) return false;
    return overload.happens(OverloadAction.RejectIncomingConnections) || overload.shouldShed(LoadShedPoint.TcpListenerAccept);
  }

  private startSocket(socket: AcceptedSocket, handOff: boolean, data: SliceBuffer | null, ended: boolean): void {
    const entries = this.config.listenerFilters;
    if (entries.length === 0) {
      this.newConnection(socket, null, data, ended);
      return;
    }
    const filters = [];
    for (const { create, isDisabled } of entries) if (isDisabled === null || !isDisabled(socket)) filters.push(create());
    new ActiveSocket(this, socket, this.newStreamInfo(socket), filters, handOff, data, ended).start();
  }

  private newStreamInfo(socket: AcceptedSocket): StreamInfo {
    const info = new StreamInfo();
    info.startTimeMs = this.dispatcher.systemTimeMs;
    info.startMonotonicMs = this.dispatcher.nowMs;
    noteAddresses(info, socket);
    return info;
  }

  /** Over all workers: gauges are sums. */
  private connectionLimitReached(): boolean {
    const limit = this.config.context.runtime.snapshot.getInteger(this.connectionLimitKey, Number.MAX_SAFE_INTEGER);
    if (limit === Number.MAX_SAFE_INTEGER) return false;
    return this.stats.downstream_cx_active.value + this.stats.downstream_pre_cx_active.value >= limit;
  }

  private acceptWaiting(): void {
    for (const handle of this.waiting.splice(0, this.config.maxConnectionsToAcceptPerSocketEvent)) this.onAccept(handle);
    if (this.waiting.length > 0) this.nextAccepts.scheduleCallbackNextIteration();
  }

  private checkIdle(): void {
    if (this.onIdle === null || this.live > 0) return;
    const done = this.onIdle;
    this.onIdle = null;
    done();
  }

  private onEndOfTurn(): void {
    this.stats.connections_accepted_per_socket_event.recordValue(this.acceptedThisTurn);
    this.acceptedThisTurn = 0;
  }

  private setAccepting(accepting: boolean): void {
    for (const socket of this.listenSockets) socket.setAccepting(accepting);
  }
}

function noteAddresses(info: StreamInfo, socket: AcceptedSocket): void {
  info.downstreamDirectLocalAddress = socket.directLocalAddress;
  info.downstreamDirectRemoteAddress = socket.directRemoteAddress;
  info.downstreamLocalAddress = socket.localAddress;
  info.downstreamRemoteAddress = socket.remoteAddress;
  info.requestedServerName = socket.requestedServerName;
  info.helloFingerprints = socket.helloFingerprints;
}
