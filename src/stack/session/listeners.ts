/**
 * Listeners of a stack worker: who may listen where, which workers of an application share a listener, and who gets the next connection.
 * A listener stands in the tables of its application's scope (namespace, routing table), and at the transport when that is global.
 */
import type { Application, AppWorker } from './application.ts';
import { Endpoint } from './endpoint.ts';
import { SessionError } from './errors.ts';
import type { LocalPorts } from './local_ports.ts';
import type { LookupTables } from './lookup.ts';
import {
  MessageFlag,
  MessageWord,
  messageFlags,
  messageProto,
  Notice,
  newMessage,
  readLocal,
  writeEndpoints,
} from './messages.ts';
import type { AppNamespace } from './namespace.ts';
import { type ListenerState, type ListenerWorker, type Session, type SessionPool, SessionState } from './session.ts';
import { type Transport, TransportProto } from './transport.ts';

const DEFAULT_BACKLOG = 511;
/** Of a process that has not used its listener yet. */
const UNNAMED = 0;
/** What two applications of one stack can use without any transport. */
const CUT_THROUGH_PROTOS: ReadonlySet<number> = new Set([TransportProto.tcp, TransportProto.udp, TransportProto.ct]);

/** What listeners need of the session layer. */
export interface ListenerHost {
  readonly pool: SessionPool;
  readonly ports: LocalPorts;
  readonly transports: ReadonlyMap<number, Transport>;
  readonly applications: ReadonlyMap<number, Application>;
  globalTables(fib: number): LookupTables;
  countError(code: number): void;
}

export class Listeners {
  private readonly host: ListenerHost;
  private readonly drain: (worker: AppWorker) => unknown;
  private readonly message = newMessage();

  /** `drain` handles what a worker has in its queue: acceptances are sent lazily. */
  constructor(host: ListenerHost, drain: (worker: AppWorker) => unknown) {
    this.host = host;
    this.drain = drain;
  }

  /** Handles a request to listen and answers it. Returns a listener that may have room now for those who wait, or null. */
  listen(worker: AppWorker, message: Int32Array): Session | null {
    const { pool, ports, transports } = this.host;
    const { namespace, options } = worker.app;
    const proto = messageProto(message);
    const local = readLocal(message, new Endpoint());
    const v6only = (message[MessageWord.flags] & MessageFlag.v6only) !== 0;
    const passive = (message[MessageWord.flags] & MessageFlag.passive) !== 0;
    const context = message[MessageWord.context];
    const tables = this.tablesFor(namespace, options.scopeLocal, options.scopeGlobal);
    if (!CUT_THROUGH_PROTOS.has(proto) && !transports.has(proto)) {
      this.bound(worker, context, null, SessionError.noSupport);
      return null;
    }
    // Joining a listener means to want the same: what the first has said counts.
    const crypto = transports.get(proto)?.usesCrypto ? worker.takeCrypto(message[MessageWord.cryptoConfig], 0) : null;
    if (transports.get(proto)?.usesCrypto && crypto === null) {
      this.bound(worker, context, null, SessionError.tlsConfig);
      return null;
    }
    if (local.port === 0 && !ports.forListener(proto, local, tables)) {
      this.bound(worker, context, null, SessionError.noPort);
      return null;
    }
    for (const table of tables) {
      const index = table.findExactListener(proto, local);
      if (index < 0) continue;
      this.join(pool.at(index), worker, context, passive);
      return pool.at(index);
    }
    const session = pool.alloc();
    session.worker = worker;
    session.proto = proto;
    session.transport = proto;
    session.state = SessionState.listening;
    session.context = context;
    session.crypto = crypto;
    session.local.copyFrom(local);
    session.remote.clear(local.isV4);
    session.accept = {
      workers: [{ worker, context, passive }],
      next: 0,
      backlog: message[MessageWord.backlog] > 0 ? message[MessageWord.backlog] : DEFAULT_BACKLOG,
      waiting: 0,
      v6only,
      connectionless: (message[MessageWord.flags] & MessageFlag.connectionless) !== 0,
      local: options.scopeLocal,
      global: options.scopeGlobal,
    };
    const transport = options.scopeGlobal ? transports.get(proto) : undefined;
    const code = transport === undefined ? SessionError.none : transport.listen(session);
    if (code !== SessionError.none) {
      pool.release(session);
      this.bound(worker, context, null, code);
      return null;
    }
    worker.sessions++;
    for (const table of tables) table.addListener(proto, session.local, session.index, !v6only);
    this.confirm(session, session.accept.workers[0]);
    return null;
  }

  /** A worker listens no more; true when it was the last one and the listener is gone. */
  unlisten(listener: Session, worker: AppWorker): boolean {
    const accept = listener.accept;
    const at = accept === null ? -1 : accept.workers.findIndex((entry) => entry.worker === worker);
    if (accept === null || at < 0) return false;
    accept.workers.splice(at, 1);
    worker.sessions--;
    if (accept.workers.length > 0) {
      listener.worker = accept.workers[0].worker;
      return false;
    }
    for (const table of this.tablesFor(worker.app.namespace, accept.local, accept.global))
      table.deleteListener(listener.proto, listener.local);
    if (accept.global) this.host.transports.get(listener.proto)?.unlisten(listener);
    for (const session of this.host.pool.all()) if (session.listener === listener) session.listener = null;
    this.host.pool.release(listener);
    return true;
  }

  /** The process of `heir`, which is about to be made, has the listener too: it is there until all have closed it. */
  hold(listener: Session, heir: AppWorker): void {
    const { workers, connectionless } = listener.accept!;
    if (heir.detached || connectionless || workers.some(({ worker }) => worker === heir)) return;
    workers.push({ worker: heir, context: UNNAMED, passive: true });
    heir.sessions++;
  }

  /**
   * The next of the listener's workers, round robin; null when too many connections wait already, or their queues are full. `from`: who
   * connects, whose queue has been looked at up to that.
   */
  chooseWorker(listener: Session, from: AppWorker | null = null): ListenerState['workers'][number] | null {
    const accept = listener.accept!;
    if (!this.belowBacklog(listener, from)) return null;
    for (let i = 0; i < accept.workers.length; i++) {
      accept.next = (accept.next + 1) % accept.workers.length;
      const entry = accept.workers[accept.next];
      if (takesConnections(entry)) return entry;
    }
    return null;
  }

  /** `chooseWorker` would find one. */
  hasRoom(listener: Session): boolean {
    return this.belowBacklog(listener) && listener.accept!.workers.some(takesConnections);
  }

  /** Some listener of that application, for rules that redirect to it. */
  ofApplication(appIndex: number, proto: number): Session | null {
    if (!this.host.applications.has(appIndex)) return null;
    for (const session of this.host.pool.all()) {
      if (session.accept !== null && session.proto === proto && session.worker!.app.index === appIndex) return session;
    }
    return null;
  }

  private belowBacklog(listener: Session, from: AppWorker | null = null): boolean {
    const accept = listener.accept!;
    if (accept.waiting < accept.backlog) return true;
    // Acceptances are sent lazily: they may be waiting in the queues.
    for (const { worker } of [...accept.workers]) if (worker !== from) this.drain(worker);
    return listener.accept === accept && accept.waiting < accept.backlog;
  }

  /** Further workers of the same application share the listener. */
  private join(listener: Session, worker: AppWorker, context: number, passive: boolean): void {
    const { workers } = listener.accept!;
    const own = workers.find((entry) => entry.worker === worker);
    if (own?.passive && (own.context === context || own.context === UNNAMED)) {
      own.context = context;
      own.passive = passive;
      this.confirm(listener, own);
      return;
    }
    if (listener.worker?.app !== worker.app || own !== undefined) {
      this.bound(worker, context, null, SessionError.portInUse);
      return;
    }
    const entry = { worker, context, passive };
    workers.push(entry);
    worker.sessions++;
    this.confirm(listener, entry);
  }

  /** Tells the worker that it listens; when the transport has a session for it, it is told that this follows. */
  private confirm(listener: Session, entry: ListenerWorker): void {
    const accept = listener.accept!;
    const transport = entry.passive || !accept.global ? undefined : this.host.transports.get(listener.proto);
    const follows = accept.connectionless && transport?.listening !== undefined;
    this.bound(entry.worker, entry.context, listener, SessionError.none, follows ? MessageFlag.connectionless : 0);
    transport?.listening?.(listener, entry);
  }

  private tablesFor(namespace: AppNamespace, local: boolean, global: boolean): LookupTables[] {
    const tables: LookupTables[] = [];
    if (local) tables.push(namespace.local);
    if (global) tables.push(this.host.globalTables(namespace.fib));
    return tables;
  }

  private bound(worker: AppWorker, context: number, session: Session | null, code: number, flags = 0): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Notice.bound;
    message[MessageWord.context] = context;
    message[MessageWord.flags] = messageFlags(flags | (session?.local.isV4 ? MessageFlag.v4 : 0), session?.proto ?? 0, code);
    if (session !== null) {
      message[MessageWord.session] = session.index;
      message[MessageWord.generation] = session.generation;
      writeEndpoints(message, session.local, session.remote);
    } else this.host.countError(code);
    worker.send(message);
  }
}

function takesConnections(entry: ListenerWorker): boolean {
  return !entry.passive && !entry.worker.overloaded;
}
