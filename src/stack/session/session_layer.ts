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
  writeEndpoints,
} from './messages.ts';
import type { AppNamespace } from './namespace.ts';
import { RulesTable } from './rules_table.ts';
import type { SegmentManager } from './segment_manager.ts';
import { type ListenerState, type Session, SessionPool, SessionState } from './session.ts';
import { type SessionHost, type Transport, TransportProto } from './transport.ts';
import { TransportSessions } from './transport_sessions.ts';

const DEFAULT_BACKLOG = 511;
/** What two applications of one stack can use without any transport. */
const CUT_THROUGH_PROTOS: ReadonlySet<number> = new Set([TransportProto.tcp, TransportProto.udp, TransportProto.ct]);

export class SessionLayer implements SessionHost {
  readonly pool = new SessionPool();
  readonly globalRules = new RulesTable();
  readonly transports = new Map<number, Transport>();
  /** How often each error was given to an application. */
  readonly errorCounts = new Map<number, number>();
  /** Addresses of interfaces, as `fib/address`. */
  private readonly localAddresses = new Set<string>();
  /** Sessions connected since the start. */
  connects = 0;
  /** Sessions whose bytes pass through here. */
  readonly transportSessions: TransportSessions;
  private readonly ct: CtTransport;
  private readonly global = new Map<number, LookupTables>();
  private readonly applications: Map<number, Application>;
  private readonly drain: (worker: AppWorker) => void;
  /** Connects whose listener is full. */
  private readonly deferred = new DeferredConnects();
  /** The listener that had no room when `route` last said so. */
  private fullListener: Session | null = null;
  private retrying = false;
  private readonly ports = new LocalPorts();
  private readonly message = newMessage();
  private readonly anyV4 = new Endpoint();
  private readonly anyV6: Endpoint;

  /** `drain` handles what a worker has in its queue: called when an answer depends on messages that were sent lazily. */
  constructor(segments: SegmentManager, applications: Map<number, Application>, drain: (worker: AppWorker) => void) {
    this.applications = applications;
    this.drain = drain;
    this.ct = new CtTransport(this.pool, segments, (session) => this.removeFromTables(session));
    this.transports.set(TransportProto.ct, this.ct);
    this.transportSessions = new TransportSessions(
      this.pool,
      segments,
      (session) => this.transportOf(session),
      (session) => this.removeFromTables(session),
    );
    this.anyV6 = Endpoint.parse('::', 0)!;
    this.anyV6.isV4 = false;
  }

  /** Makes a protocol reachable beyond this stack. */
  registerTransport(transport: Transport): void {
    this.transports.set(transport.proto, transport);
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
      case Request.listen:
        this.listen(worker, message);
        return;
      case Request.accepted:
        this.accepted(this.owned(worker, message));
        return;
      case Request.halfClose: {
        const session = this.owned(worker, message);
        if (session === null || session.connection === null || session.halfClosed) return;
        if (session.fifos !== null) session.halfClosed = true;
        this.transportOf(session).halfClose(session);
        return;
      }
      case Request.close: {
        const session = this.owned(worker, message);
        if (session === null || session.connection === null) return;
        this.closeByApp(session, (message[MessageWord.flags] & MessageFlag.reset) !== 0);
        return;
      }
      case Request.unlisten: {
        const listener = this.owned(worker, message);
        if (listener !== null) this.unlisten(listener, worker);
        return;
      }
    }
  }

  /** Connects wait for a listener: `retryDeferred` is to be called again in a while. */
  get hasDeferred(): boolean {
    return this.deferred.size > 0;
  }

  /** Tries the connects whose listener was full once more, and gives up those that have waited too long. */
  retryDeferred(nowMs: number): void {
    for (const listener of this.deferred.listeners) this.retryWaiting(listener);
    this.deferred.expire(nowMs, (session) => this.refuse(session, SessionError.timedOut));
  }

  /** Ends a connection from here: both applications see a reset. */
  abort(session: Session): void {
    this.transportOf(session).abort(session);
  }

  /** Ends all sessions of a worker that is gone; peers see a reset. */
  workerGone(worker: AppWorker): void {
    for (const session of this.pool.all()) {
      if (session.accept !== null) this.unlisten(session, worker);
      else if (session.worker === worker && session.connection !== null) this.closeByApp(session, true);
      else if (session.worker === worker) this.forget(session);
    }
  }

  // --- SessionHost: what transports call ---

  findListener(proto: number, fib: number, local: Endpoint, remote: Endpoint): Session | null {
    const action = this.globalRules.lookup(proto, local, remote);
    if (action?.kind === 'deny') return null;
    if (action?.kind === 'redirect') return this.listenerOf(action.appIndex, proto);
    const index = this.globalTables(fib).findListener(proto, local, true);
    return index < 0 ? null : this.pool.at(index);
  }

  acceptNotify(listener: Session, connection: unknown, local: Endpoint, remote: Endpoint): Session | null {
    const target = listener.accept === null ? null : this.chooseWorker(listener);
    if (target === null) return null;
    const session = this.transportSessions.accept(listener, target, connection, local, remote);
    if (session !== null) target.worker.app.namespace.local.addSession(session.proto, local, remote, session.index);
    return session;
  }

  connectNotify(session: Session, code: number): boolean {
    if (session.worker === null || session.worker.detached || session.state !== SessionState.connecting) return false;
    if (code === SessionError.none && this.transportSessions.connected(session)) {
      session.worker.app.namespace.local.addSession(session.proto, session.local, session.remote, session.index);
      return true;
    }
    this.refuse(session, code || SessionError.alloc);
    return false;
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
    // The connect is still on its way: the transport gives it up, and nobody waits for the outcome.
    else if (session.state === SessionState.connecting) {
      this.transportOf(session).reset(session);
      this.forget(session);
    }
  }

  private listen(worker: AppWorker, message: Int32Array): void {
    const { namespace, options } = worker.app;
    const proto = messageProto(message);
    const local = readLocal(message, new Endpoint());
    const v6only = (message[MessageWord.flags] & MessageFlag.v6only) !== 0;
    const context = message[MessageWord.context];
    const tables = this.tablesFor(namespace, options.scopeLocal, options.scopeGlobal);
    if (!CUT_THROUGH_PROTOS.has(proto) && !this.transports.has(proto)) {
      this.bound(worker, context, null, SessionError.noSupport);
      return;
    }
    if (local.port === 0 && !this.ports.forListener(proto, local, tables)) {
      this.bound(worker, context, null, SessionError.noPort);
      return;
    }
    for (const table of tables) {
      const index = table.findExactListener(proto, local);
      if (index < 0) continue;
      const existing = this.pool.at(index);
      // Further workers of the same application share the listener.
      const shared = existing.worker?.app === worker.app && !existing.accept!.workers.some((entry) => entry.worker === worker);
      if (!shared) this.bound(worker, context, null, SessionError.portInUse);
      else {
        existing.accept!.workers.push({ worker, context });
        worker.sessions++;
        this.bound(worker, context, existing, SessionError.none);
      }
      return;
    }
    const session = this.pool.alloc();
    session.worker = worker;
    session.proto = proto;
    session.transport = proto;
    session.state = SessionState.listening;
    session.context = context;
    session.local.copyFrom(local);
    session.remote.copyFrom(local.isV4 ? this.anyV4 : this.anyV6);
    session.accept = {
      workers: [{ worker, context }],
      next: 0,
      backlog: message[MessageWord.backlog] > 0 ? message[MessageWord.backlog] : DEFAULT_BACKLOG,
      waiting: 0,
      v6only,
      connectionless: (message[MessageWord.flags] & MessageFlag.connectionless) !== 0,
      local: options.scopeLocal,
      global: options.scopeGlobal,
    };
    const transport = options.scopeGlobal ? this.transports.get(proto) : undefined;
    const code = transport === undefined ? SessionError.none : transport.listen(session);
    if (code !== SessionError.none) {
      this.pool.release(session);
      this.bound(worker, context, null, code);
      return;
    }
    worker.sessions++;
    for (const table of tables) table.addListener(proto, session.local, session.index, !v6only);
    this.bound(worker, context, session, SessionError.none);
    transport?.listening?.(session);
  }

  private unlisten(listener: Session, worker: AppWorker): void {
    const accept = listener.accept;
    if (accept === null) return;
    const at = accept.workers.findIndex((entry) => entry.worker === worker);
    if (at < 0) return;
    accept.workers.splice(at, 1);
    worker.sessions--;
    if (accept.workers.length > 0) {
      listener.worker = accept.workers[0].worker;
      return;
    }
    const { namespace } = worker.app;
    for (const table of this.tablesFor(namespace, accept.local, accept.global))
      table.deleteListener(listener.proto, listener.local);
    if (accept.global) this.transports.get(listener.proto)?.unlisten(listener);
    for (const session of this.pool.all()) if (session.listener === listener) session.listener = null;
    this.pool.release(listener);
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
    const code = this.route(session);
    if (code === SessionError.none) {
      this.connects++;
      return;
    }
    if (code === SessionError.backlog && this.deferred.add(this.fullListener!, session, performance.now())) {
      this.askForAcceptance(this.fullListener!);
    } else this.refuse(session, code);
  }

  /** Acceptances come without a sound, unless the application knows that one is waited for. */
  private askForAcceptance(listener: Session): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Notice.backlogFull;
    message[MessageWord.session] = listener.index;
    message[MessageWord.generation] = listener.generation;
    for (const { worker } of listener.accept!.workers) worker.send(message);
  }

  /** A listener has room, or is gone: connects that wait for it go on. */
  private retryWaiting(listener: Session): void {
    // Choosing a worker may drain its queue, and so come here again.
    if (this.retrying || !this.deferred.waitsFor(listener)) return;
    this.retrying = true;
    this.deferred.retry(listener, (session) => {
      const code = this.route(session);
      if (code === SessionError.backlog) return false;
      if (code === SessionError.none) this.connects++;
      else this.refuse(session, code);
      return true;
    });
    this.retrying = false;
    if (this.deferred.waitsFor(listener) && listener.accept !== null) this.askForAcceptance(listener);
  }

  /** Finds who takes the connection and starts it. */
  private route(session: Session): number {
    const { namespace, options } = session.worker!.app;
    const { proto, remote, local } = session;
    if (remote.port === 0) return SessionError.invalid;
    if (remote.isUnspecified) remote.setLoopback(remote.isV4);
    const action = namespace.rules.lookup(proto, remote.isV4 ? this.anyV4 : this.anyV6, remote);
    if (action?.kind === 'deny') return SessionError.denied;
    const find = (): Session | null =>
      action?.kind === 'redirect' ? this.listenerOf(action.appIndex, proto) : this.findLocal(namespace, options, proto, remote);
    let listener = find();
    if (listener !== null) {
      // Who has stopped to listen before this connect was made may have said so in a queue that was not looked at yet.
      for (const entry of [...listener.accept!.workers]) this.drain(entry.worker);
      listener = find();
    }
    if (listener !== null) {
      const target = this.chooseWorker(listener);
      if (target === null) {
        this.fullListener = listener;
        return SessionError.backlog;
      }
      if (!this.chooseLocal(session, namespace)) return SessionError.noPort;
      const code = this.ct.connectTo(session, listener, target);
      if (code !== SessionError.none) namespace.local.deleteSession(proto, local, remote);
      return code;
    }
    if (remote.isLoopback || action?.kind === 'redirect') return SessionError.refused;
    if (!options.scopeGlobal) return SessionError.scope;
    const transport = this.transports.get(proto);
    if (transport === undefined || transport === this.ct) return SessionError.noRoute;
    return transport.connect(session);
  }

  private findLocal(namespace: AppNamespace, options: Application['options'], proto: number, remote: Endpoint): Session | null {
    const wildcard = remote.isLoopback || this.isLocalAddress(namespace.fib, remote);
    let index = options.scopeLocal ? namespace.local.findListener(proto, remote, wildcard) : -1;
    if (index < 0 && options.scopeGlobal) index = this.globalTables(namespace.fib).findListener(proto, remote, wildcard);
    return index < 0 ? null : this.pool.at(index);
  }

  /** Without a network every address can only be meant for this stack. */
  private isLocalAddress(fib: number, address: Endpoint): boolean {
    return this.transports.size === 1 || this.localAddresses.has(`${fib}/${address.ip}`);
  }

  private listenerOf(appIndex: number, proto: number): Session | null {
    if (!this.applications.has(appIndex)) return null;
    for (const session of this.pool.all()) {
      if (session.accept !== null && session.proto === proto && session.worker!.app.index === appIndex) return session;
    }
    return null;
  }

  /** The next of the listener's workers, round robin; null when too many connections wait already, or their queues are full. */
  private chooseWorker(listener: Session): ListenerState['workers'][number] | null {
    const accept = listener.accept!;
    if (accept.waiting >= accept.backlog) {
      // Acceptances are sent lazily: they may be waiting in the queues.
      for (const entry of [...accept.workers]) this.drain(entry.worker);
      if (listener.accept !== accept || accept.waiting >= accept.backlog) return null;
    }
    for (let i = 0; i < accept.workers.length; i++) {
      accept.next = (accept.next + 1) % accept.workers.length;
      if (!accept.workers[accept.next].worker.overloaded) return accept.workers[accept.next];
    }
    return null;
  }

  private accepted(session: Session | null): void {
    if (session === null || session.listener === null) return;
    const { listener } = session;
    if (listener.accept !== null) listener.accept.waiting--;
    session.listener = null;
    if (session.state === SessionState.accepting) session.state = SessionState.ready;
    this.retryWaiting(listener);
  }

  /** Local address and port of a cut-through client, unique as a 5-tuple while there are free ports. */
  private chooseLocal(session: Session, namespace: AppNamespace): boolean {
    const { local, remote, proto } = session;
    if (local.isV4 !== remote.isV4 || local.isUnspecified) {
      const { port } = local;
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

  private tablesFor(namespace: AppNamespace, local: boolean, global: boolean): LookupTables[] {
    const tables: LookupTables[] = [];
    if (local) tables.push(namespace.local);
    if (global) tables.push(this.globalTables(namespace.fib));
    return tables;
  }

  private owned(worker: AppWorker, message: Int32Array): Session | null {
    const session = this.pool.get(message[MessageWord.session], message[MessageWord.generation]);
    if (session === null) return null;
    if (session.accept !== null) return session.accept.workers.some((entry) => entry.worker === worker) ? session : null;
    return session.worker === worker ? session : null;
  }

  private transportOf(session: Session): Transport {
    return this.transports.get(session.transport)!;
  }

  private removeFromTables(session: Session): void {
    session.worker!.app.namespace.local.deleteSession(session.proto, session.local, session.remote);
  }

  private bound(worker: AppWorker, context: number, session: Session | null, code: number): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Notice.bound;
    message[MessageWord.context] = context;
    message[MessageWord.flags] = messageFlags(session?.local.isV4 ? MessageFlag.v4 : 0, session?.proto ?? 0, code);
    if (session !== null) {
      message[MessageWord.session] = session.index;
      message[MessageWord.generation] = session.generation;
      writeEndpoints(message, session.local, session.remote);
    } else this.countError(code);
    worker.send(message);
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
    session.worker!.sessions--;
    this.pool.release(session);
  }

  private countError(code: number): void {
    this.errorCounts.set(code, (this.errorCounts.get(code) ?? 0) + 1);
  }
}
