/**
 * The session layer of one stack worker: takes the requests of applications, finds out who serves them, and keeps sessions, tables and
 * rules. Runs no I/O; `HostStack` feeds it and owns the sockets.
 *
 * A connect goes: rules of the namespace (deny, redirect) -> listeners of the namespace if the application has local scope -> listeners
 * of the routing table -> the transport of that protocol. A hit on a listener is cut through.
 */
import type { Application, AppWorker } from './application.ts';
import { CtTransport } from './cut_through/ct_transport.ts';
import { DeferredConnects } from './deferred_connects.ts';
import { Endpoint } from './endpoint.ts';
import { SessionError } from './errors.ts';
import { Listeners } from './listeners.ts';
import { LocalPorts } from './local_ports.ts';
import { LookupTables } from './lookup.ts';
import {
  MessageFlag,
  MessageWord,
  messageFlags,
  messageProto,
  Notice,
  newMessage,
  Request,
  readLocal,
  readRemote,
} from './messages.ts';
import type { AppNamespace } from './namespace.ts';
import { RulesTable } from './rules_table.ts';
import type { SegmentManager } from './segment_manager.ts';
import { type ListenerWorker, type Session, SessionPool, SessionState } from './session.ts';
import { SharedSessions } from './shared_sessions.ts';
import { SourceDenyLists } from './source_deny.ts';
import { type SessionHost, type Transport, TransportProto } from './transport.ts';
import { transportAttributeName } from './transport_attributes.ts';
import { TransportSessions } from './transport_sessions.ts';

export class SessionLayer implements SessionHost {
  readonly pool = new SessionPool();
  readonly globalRules = new RulesTable();
  readonly sourceDeny = new SourceDenyLists();
  readonly transports = new Map<number, Transport>();
  /** How often each error was given to an application. */
  readonly errorCounts = new Map<number, number>();
  /** Addresses of interfaces, as `fib/address`. */
  private readonly localAddresses = new Set<string>();
  /** Sessions connected since the start. */
  connects = 0;
  /** Sessions whose bytes pass through here. */
  readonly transportSessions: TransportSessions;
  /** A transport reaches beyond this stack. */
  private networked = false;
  /** Protocols that may meet another one within this stack: TLS in the stack, and in the application over TCP. */
  private readonly across = new Map<number, number>();
  /** Those that several processes hold. */
  private readonly shared: SharedSessions;
  private readonly segments: SegmentManager;
  private readonly ct: CtTransport;
  private readonly global = new Map<number, LookupTables>();
  readonly applications: ReadonlyMap<number, Application>;
  /** Connects whose listener is full. */
  private readonly deferred = new DeferredConnects();
  /** The listener that had no room when `route` last said so. */
  private fullListener: Session | null = null;
  private retrying = false;
  private readonly drain: (worker: AppWorker) => boolean;
  readonly ports = new LocalPorts();
  private readonly listeners: Listeners;
  private readonly message = newMessage();
  private readonly anyV4 = new Endpoint();
  private readonly anyV6: Endpoint;

  /**
   * `drain` handles what a worker has in its queue: called when an answer depends on messages that were sent lazily, or come after the one
   * that is being handled. False when it cannot, because it is at that already.
   */
  constructor(segments: SegmentManager, applications: Map<number, Application>, drain: (worker: AppWorker) => boolean) {
    this.applications = applications;
    this.segments = segments;
    this.ct = new CtTransport(this.pool, segments, (session) => this.removeFromTables(session));
    this.transports.set(TransportProto.ct, this.ct);
    this.transportSessions = new TransportSessions(
      this.pool,
      segments,
      (session) => this.transportOf(session),
      (session) => this.removeFromTables(session),
    );
    this.shared = new SharedSessions(segments, (session) => (session.fifos === null ? this.ct : this.transportSessions));
    this.drain = drain;
    this.listeners = new Listeners(this, drain);
    this.anyV6 = Endpoint.parse('::', 0)!;
    this.anyV6.isV4 = false;
  }

  /** Makes a protocol reachable beyond this stack. */
  registerTransport(transport: Transport): void {
    this.transports.set(transport.proto, transport);
    if (!transport.usesCrypto) this.networked = true;
    if (transport.carriedBy === undefined) return;
    this.across.set(transport.proto, transport.carriedBy);
    this.across.set(transport.carriedBy, transport.proto);
  }

  /** `ip` is an address of this stack in that routing table. */
  addLocalAddress(fib: number, ip: string): void {
    this.localAddresses.add(`${fib}/${ip}`);
  }

  globalTables(fib: number): LookupTables {
    let tables = this.global.get(fib);
    if (tables === undefined) this.global.set(fib, (tables = new LookupTables()));
    return tables;
  }

  /** Handles one control message of a worker. Unknown types and stale sessions are ignored: they can only be a peer's mistake. */
  handle(worker: AppWorker, message: Int32Array): void {
    switch (message[MessageWord.type]) {
      case Request.connect:
        this.connect(worker, message);
        return;
      case Request.listen: {
        const listener = this.listeners.listen(worker, message);
        if (listener !== null) this.retryWaiting(listener);
        return;
      }
      case Request.accepted:
        this.accepted(this.owned(worker, message));
        return;
      case Request.halfClose: {
        const session = this.owned(worker, message);
        if (session === null || session.connection === null || session.halfClosed) return;
        if (session.fifos !== null) session.halfClosed = true;
        this.transportOf(session).halfClose(session);
        this.shared.shut(session, worker);
        return;
      }
      case Request.close: {
        const session = this.owned(worker, message);
        if (session === null || !isOpen(session) || this.shared.leave(session, worker)) return;
        this.closeByApp(session, (message[MessageWord.flags] & MessageFlag.reset) !== 0 || this.shared.hasUnread(session));
        return;
      }
      case Request.cancel: {
        const session = worker.connecting.get(message[MessageWord.context]);
        if (session !== undefined) this.giveUp(session);
        return;
      }
      case Request.attribute: {
        const session = this.owned(worker, message);
        const name = transportAttributeName(message[MessageWord.attribute]);
        if (session === null || session.connection === null || name === undefined) return;
        this.transportOf(session).attribute?.(session, name, message[MessageWord.value]);
        return;
      }
      case Request.hold: {
        const session = this.owned(worker, message);
        const heir = worker.heir(message[MessageWord.context]);
        if (session === null || heir === null) return;
        if (session.accept !== null) this.listeners.hold(session, heir);
        else this.shared.hold(session, heir);
        return;
      }
      case Request.claim: {
        const session = this.owned(worker, message);
        if (session !== null && isOpen(session)) this.shared.claim(session, worker);
        else this.shared.unknown(worker, message);
        return;
      }
      case Request.slotDone:
        this.segments.slotDone(worker, message[MessageWord.segmentId], message[MessageWord.slot]);
        return;
      case Request.unlisten: {
        const listener = this.owned(worker, message);
        if (listener !== null) this.unlisten(listener, worker);
        return;
      }
    }
  }

  /** Connects wait for a listener, or claims for a session: `retryDeferred` is to be called again in a while. */
  get hasDeferred(): boolean {
    return this.deferred.size > 0 || this.shared.waiting;
  }

  /** Tries the connects whose listener was full once more, and gives up those that have waited too long. */
  retryDeferred(nowMs: number): void {
    this.shared.retry();
    for (const listener of this.deferred.listeners) this.retryWaiting(listener);
    this.deferred.expire(nowMs, (session) => this.refuse(session, SessionError.timedOut));
  }

  /** A process that has not attached closes a listener that it was born with. */
  unlistenUnattached(worker: AppWorker, index: number, generation: number): void {
    const listener = this.pool.get(index, generation);
    if (listener !== null && listener.accept !== null) this.unlisten(listener, worker);
  }

  /** Ends a connection from here: both applications see a reset. */
  abort(session: Session): void {
    this.transportOf(session).abort(session);
  }

  /**
   * Ends all sessions of a worker that is gone; peers see a reset. What several processes had ends as with the kernel when the last of them
   * does, however that comes (one that runs another program leaves without a word): in order, unless there is something unread.
   */
  workerGone(worker: AppWorker): void {
    for (const session of this.pool.all()) {
      const last = session.holders?.size === 1 || worker.silent;
      if (session.accept !== null) this.unlisten(session, worker);
      else if (session.holders !== null && this.shared.leave(session, worker)) continue;
      else if (session.worker === worker && isOpen(session)) this.closeByApp(session, !last || this.shared.hasUnread(session));
      else if (session.worker === worker) this.forget(session);
    }
  }

  // --- SessionHost: what transports call ---

  deniesSource(fib: number, remote: Endpoint): boolean {
    return this.sourceDeny.denies(fib, remote);
  }

  findListener(proto: number, fib: number, local: Endpoint, remote: Endpoint): Session | null {
    const action = this.globalRules.lookup(proto, local, remote);
    if (action?.kind === 'deny') return null;
    if (action?.kind === 'redirect') return this.listeners.ofApplication(action.appIndex, proto);
    const index = this.globalTables(fib).findListener(proto, local, true);
    return index < 0 ? null : this.pool.at(index);
  }

  mayAccept(listener: Session): boolean {
    return this.listeners.hasRoom(listener);
  }

  acceptNotify(
    listener: Session,
    connection: unknown,
    local: Endpoint,
    remote: Endpoint,
    worker?: ListenerWorker,
    alpn = 0,
  ): Session | null {
    const target = worker ?? (listener.accept === null ? null : this.listeners.chooseWorker(listener));
    if (target === null) return null;
    const session = this.transportSessions.accept(listener, target, connection, local, remote, alpn);
    if (session !== null) target.worker.app.namespace.local.addSession(session.proto, local, remote, session.index);
    return session;
  }

  connectNotify(session: Session, code: number): boolean {
    if (session.worker === null || session.worker.detached || session.state !== SessionState.connecting) return false;
    settled(session);
    if (code === SessionError.none && this.transportSessions.connected(session)) {
      session.worker.app.namespace.local.addSession(session.proto, session.local, session.remote, session.index);
      return true;
    }
    this.leaveTables(session);
    this.refuse(session, code || SessionError.alloc);
    return false;
  }

  urgentNotify(session: Session, ahead: number): void {
    this.transportSessions.urgent(session, ahead);
  }

  halfClosedNotify(session: Session): void {
    this.transportSessions.halfClosed(session);
  }

  resetNotify(session: Session, code?: number): void {
    this.transportSessions.reset(session, code);
  }

  closedNotify(session: Session): void {
    this.transportSessions.transportClosed(session);
  }

  private closeByApp(session: Session, reset: boolean): void {
    if (session.fifos !== null) this.transportSessions.appClosed(session, reset);
    else if (session.transport === TransportProto.ct && reset) this.ct.reset(session);
    else if (session.transport === TransportProto.ct) this.ct.close(session);
    else if (session.state === SessionState.connecting) this.giveUp(session);
  }

  /** The connect is still on its way, to a transport or to a full listener; nobody waits for the outcome. */
  private giveUp(session: Session): void {
    if (session.connection !== null) this.transportOf(session).reset(session);
    this.leaveTables(session);
    this.forget(session);
  }

  private unlisten(listener: Session, worker: AppWorker): void {
    if (this.listeners.unlisten(listener, worker)) this.retryWaiting(listener);
  }

  private accepted(session: Session | null): void {
    const listener = session?.listener;
    if (!session || !listener) return;
    if (listener.accept !== null) listener.accept.waiting--;
    session.listener = null;
    if (session.state === SessionState.accepting) session.state = SessionState.ready;
    this.retryWaiting(listener);
  }

  private connect(worker: AppWorker, message: Int32Array): void {
    const session = this.pool.alloc();
    session.worker = worker;
    worker.sessions++;
    session.proto = messageProto(message);
    session.transport = session.proto;
    session.state = SessionState.connecting;
    session.context = message[MessageWord.context];
    readLocal(message, session.local);
    readRemote(message, session.remote);
    const code = takeCrypto(this.transports, session, message) ? this.route(session) : SessionError.tlsConfig;
    if (code === SessionError.none) {
      this.connects++;
      if (session.state === SessionState.connecting) worker.connecting.set(session.context, session);
      return;
    }
    if (code === SessionError.backlog && this.deferred.add(this.fullListener!, session, performance.now())) {
      worker.connecting.set(session.context, session);
      this.askForAcceptance(this.fullListener!);
    } else this.refuse(session, code);
  }

  /** Acceptances come without a sound, unless the application knows that one is waited for. */
  private askForAcceptance(listener: Session): void {
    const { message } = this;
    // It may have gone while its room was looked at.
    if (listener.accept === null) return;
    message.fill(0);
    message[MessageWord.type] = Notice.backlogFull;
    message[MessageWord.session] = listener.index;
    message[MessageWord.generation] = listener.generation;
    for (const { worker, passive } of listener.accept.workers) if (!passive) worker.send(message);
  }

  /** A listener has room, or is gone: connects that wait for it go on. */
  private retryWaiting(listener: Session): void {
    // Choosing a worker may drain its queue, and so come here again.
    if (this.retrying || !this.deferred.waitsFor(listener)) return;
    this.retrying = true;
    this.deferred.retry(listener, (session) => {
      const { generation } = session;
      const code = this.route(session);
      // Its application has given it up meanwhile.
      if (session.generation !== generation) return true;
      if (code === SessionError.backlog) {
        if (this.fullListener === listener) return false;
        // It has come to wait for another one meanwhile.
        if (this.deferred.add(this.fullListener!, session, performance.now())) return true;
      }
      if (code === SessionError.none) {
        this.connects++;
        if (session.state !== SessionState.connecting) settled(session);
      } else this.refuse(session, code);
      return true;
    });
    this.retrying = false;
    if (this.deferred.waitsFor(listener)) this.askForAcceptance(listener);
  }

  /** Finds who takes the connection and starts it. Queues are drained meanwhile: the session may be given up in one of them. */
  private route(session: Session, lastTry = false): number {
    const { generation } = session;
    const { namespace, options } = session.worker!.app;
    const { proto, remote } = session;
    if (remote.port === 0) return SessionError.invalid;
    if (remote.isUnspecified) remote.setLoopback(remote.isV4);
    const action = namespace.rules.lookup(proto, remote.isV4 ? this.anyV4 : this.anyV6, remote);
    if (action?.kind === 'deny') return SessionError.denied;
    const find = (): Session | null =>
      action?.kind === 'redirect'
        ? this.listeners.ofApplication(action.appIndex, proto)
        : (this.findLocal(namespace, options, proto, remote) ??
          this.findLocal(namespace, options, this.across.get(proto) ?? -1, remote));
    let listener = find();
    if (listener !== null) {
      // Who has stopped to listen before this connect was made may have said so in a queue that was not looked at yet.
      const accept = listener.accept!;
      for (let i = accept.workers.length - 1; i >= 0; i--) {
        const worker = accept.workers[i]?.worker;
        if (worker !== undefined && worker !== session.worker) this.drain(worker);
      }
      if (session.generation !== generation) return SessionError.none;
      if (listener.accept !== accept) listener = find();
    }
    if (listener !== null) {
      const target = this.listeners.chooseWorker(listener, session.worker);
      if (session.generation !== generation) return SessionError.none;
      if (target === null) {
        this.fullListener = listener;
        return SessionError.backlog;
      }
      const { port } = session.local;
      if (!this.chooseLocal(session, namespace)) return SessionError.noPort;
      const own = this.transports.get(proto);
      if (listener.proto !== proto || own?.connectLocal !== undefined) {
        const result =
          listener.proto === proto
            ? own!.connectLocal!(session, listener, target)
            : this.connectAcross(session, listener, target);
        if (result !== SessionError.none && session.worker !== null) this.leaveTables(session);
        if (result === SessionError.backlog) {
          // It is tried again as it came.
          session.local.port = port;
          this.fullListener = listener;
        }
        return result;
      }
      return this.cutThrough(session, listener, target, lastTry);
    }
    if (remote.isLoopback || action?.kind === 'redirect') return SessionError.refused;
    if (!options.scopeGlobal) return SessionError.scope;
    const transport = this.transports.get(proto);
    if (transport === undefined || transport === this.ct) return SessionError.noRoute;
    return transport.connect(session);
  }

  private cutThrough(session: Session, listener: Session, target: ListenerWorker, lastTry: boolean): number {
    const code = this.ct.connectTo(session, listener, target);
    if (code === SessionError.none) return code;
    this.leaveTables(session);
    if (code !== SessionError.alloc || lastTry) return code;
    // The ends of sessions that both applications have closed may still be in the queues, and with them the memory.
    const { generation } = session;
    this.fullListener = listener;
    if (!this.drain(session.worker!) || !this.drain(target.worker)) return SessionError.backlog;
    return session.generation === generation ? this.route(session, true) : SessionError.none;
  }

  private connectAcross(session: Session, listener: Session, target: ListenerWorker): number {
    const own = this.transports.get(session.proto);
    const carried = own?.carriedBy === listener.proto ? own : this.transports.get(listener.proto)!;
    return carried.connectAcross!(session, listener, target);
  }

  private findLocal(namespace: AppNamespace, options: Application['options'], proto: number, remote: Endpoint): Session | null {
    const wildcard = remote.isLoopback || this.isLocalAddress(namespace.fib, remote);
    let index = options.scopeLocal ? namespace.local.findListener(proto, remote, wildcard) : -1;
    if (index < 0 && options.scopeGlobal) index = this.globalTables(namespace.fib).findListener(proto, remote, wildcard);
    return index < 0 ? null : this.pool.at(index);
  }

  /** Without a network every address can only be meant for this stack. */
  private isLocalAddress(fib: number, address: Endpoint): boolean {
    return !this.networked || this.localAddresses.has(`${fib}/${address.ip}`);
  }

  /** Local address and port of a cut-through client, unique as a 5-tuple while there are free ports. */
  private chooseLocal(session: Session, namespace: AppNamespace): boolean {
    const { local, remote, proto } = session;
    if (local.isV4 !== remote.isV4 || local.isUnspecified) {
      const { port } = session.local;
      if (remote.isLoopback) local.setLoopback(remote.isV4);
      else local.copyFrom(remote);
      local.port = port;
    }
    if (local.port !== 0) {
      if (namespace.local.findSession(proto, local, remote) >= 0) return false;
    } else if (!this.ports.forClient(proto, local, remote, namespace.local)) return false;
    namespace.local.addSession(proto, local, remote, session.index);
    return true;
  }

  private owned(worker: AppWorker, message: Int32Array): Session | null {
    const session = this.pool.get(message[MessageWord.session], message[MessageWord.generation]);
    if (session === null) return null;
    if (session.accept !== null) return session.accept.workers.some((entry) => entry.worker === worker) ? session : null;
    return session.worker === worker || session.holders?.has(worker) ? session : null;
  }

  private transportOf(session: Session): Transport {
    return this.transports.get(session.transport)!;
  }

  private removeFromTables(session: Session): void {
    session.worker!.app.namespace.local.deleteSession(session.proto, session.local, session.remote);
  }

  /** Of a connect that may have been given its local port already. */
  private leaveTables(session: Session): void {
    const { local } = session.worker!.app.namespace;
    if (local.findSession(session.proto, session.local, session.remote) === session.index) this.removeFromTables(session);
  }

  private refuse(session: Session, code: number): void {
    const { message } = this;
    this.countError(code);
    message.fill(0);
    message[MessageWord.type] = Notice.connected;
    message[MessageWord.context] = session.context;
    message[MessageWord.flags] = messageFlags(0, session.proto, code);
    session.worker!.send(message);
    this.forget(session);
  }

  private forget(session: Session): void {
    settled(session);
    session.worker!.sessions--;
    this.pool.release(session);
  }

  countError(code: number): void {
    this.errorCounts.set(code, (this.errorCounts.get(code) ?? 0) + 1);
  }
}

/** Its connect is not on its way any more. */
function settled(session: Session): void {
  const { connecting } = session.worker!;
  if (connecting.get(session.context) === session) connecting.delete(session.context);
}

/** Gives a session what it needs of TLS; false when the application has not said it. */
export function takeCrypto(transports: ReadonlyMap<number, Transport>, session: Session, message: Int32Array): boolean {
  if (!transports.get(session.proto)?.usesCrypto) return true;
  session.crypto = session.worker!.takeCrypto(message[MessageWord.cryptoConfig], message[MessageWord.serverName]);
  return session.crypto !== null;
}

/** There is something to close: a transport's connection, or what is left of one that the transport has forgotten. */
function isOpen(session: Session): boolean {
  return session.connection !== null || session.fifos !== null;
}
