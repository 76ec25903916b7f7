/**
 * The cut-through transport: a connection between two applications of one stack. Both map the same segment; bytes and their events go
 * from one to the other without passing here. What passes here is set-up, half-close, close and reset.
 *
 * The client is told that it is connected at the same time as the server is told of the connection, so a server that never accepts
 * looks as it does with a kernel socket: connected, and silent. (VPP waits for the server's reply.)
 */
import type { AppWorker } from '../application.ts';
import type { Endpoint } from '../endpoint.ts';
import { SessionError } from '../errors.ts';
import { MessageFlag, MessageWord, messageFlags, Notice, newMessage, writeEndpoints } from '../messages.ts';
import type { SegmentManager, SharedSegment } from '../segment_manager.ts';
import { type Session, type SessionPool, SessionState } from '../session.ts';
import { movedMessage, type SessionMover, type SessionPlace } from '../shared_sessions.ts';
import { type Transport, TransportProto } from '../transport.ts';

/** One half of a cut-through connection hangs on each of its two sessions. */
class CtConnection {
  readonly client: Session;
  readonly server: Session;
  readonly shared: SharedSegment;
  readonly slot: number;
  /** Where its events go: as its bytes, until another process of one of the applications uses it. */
  events: SharedSegment;
  eventSlot: number;
  clientClosed = false;
  serverClosed = false;

  constructor(client: Session, server: Session, shared: SharedSegment, slot: number) {
    this.client = client;
    this.server = server;
    this.shared = shared;
    this.slot = slot;
    this.events = shared;
    this.eventSlot = slot;
  }

  get moved(): boolean {
    return this.events !== this.shared || this.eventSlot !== this.slot;
  }

  peerOf(session: Session): Session {
    return session === this.client ? this.server : this.client;
  }

  closedBy(session: Session): boolean {
    return session === this.client ? this.clientClosed : this.serverClosed;
  }

  markClosed(session: Session): void {
    if (session === this.client) this.clientClosed = true;
    else this.serverClosed = true;
  }
}

export class CtTransport implements Transport, SessionMover {
  readonly proto = TransportProto.ct;
  readonly name = 'ct';
  private readonly sessions: SessionPool;
  private readonly segments: SegmentManager;
  private readonly onForgotten: (session: Session) => void;
  private readonly message = newMessage();

  /** `onForgotten` is called for the client's session of a connection that is over, just before both are released. */
  constructor(sessions: SessionPool, segments: SegmentManager, onForgotten: (session: Session) => void) {
    this.sessions = sessions;
    this.segments = segments;
    this.onForgotten = onForgotten;
  }

  listen(): number {
    return SessionError.none;
  }

  unlisten(): void {}

  /** The session layer connects through `connectTo`, which knows the listener. */
  connect(): number {
    return SessionError.noSupport;
  }

  /**
   * Connects `client` (endpoints set, worker set) to `listener`, which has room in its backlog. Tells both applications.
   * Returns a SessionError code; the caller reports a failure to the client.
   */
  connectTo(client: Session, listener: Session, target: { worker: NonNullable<Session['worker']>; context: number }): number {
    const worker = client.worker!;
    const shared = this.segments.segmentFor(worker, target.worker);
    if (shared === null) return SessionError.alloc;
    const { rxFifoSize, txFifoSize } = target.worker.app.options;
    const slot = shared.takeSlot(rxFifoSize, txFifoSize);
    const server = this.sessions.alloc();
    server.worker = target.worker;
    target.worker.sessions++;
    server.proto = client.proto;
    server.transport = TransportProto.ct;
    server.state = SessionState.accepting;
    server.local.copyFrom(client.remote);
    server.remote.copyFrom(client.local);
    server.listener = listener;
    listener.accept!.waiting++;
    client.transport = TransportProto.ct;
    client.state = SessionState.ready;
    client.connection = server.connection = new CtConnection(client, server, shared, slot);
    this.announce(Notice.accepted, server, target.context, shared.id, slot, MessageFlag.side);
    this.announce(Notice.connected, client, client.context, shared.id, slot, 0);
    return SessionError.none;
  }

  halfClose(session: Session): void {
    const connection = session.connection as CtConnection;
    const peer = connection.peerOf(session);
    if (session.halfClosed || connection.closedBy(session)) return;
    session.halfClosed = true;
    if (connection.closedBy(peer)) return;
    this.notify(Notice.halfClosed, peer);
    if (peer.state <= SessionState.ready) peer.state = SessionState.transportClosing;
  }

  close(session: Session): void {
    this.end(session, Notice.disconnected);
  }

  reset(session: Session): void {
    this.end(session, Notice.reset);
  }

  abort(session: Session): void {
    const connection = session.connection as CtConnection;
    for (const each of [connection.client, connection.server]) {
      if (connection.closedBy(each)) continue;
      this.notify(Notice.reset, each);
      each.state = SessionState.transportClosing;
    }
  }

  placeOf(session: Session): SessionPlace {
    const { shared, slot, client } = session.connection as CtConnection;
    return { shared, slot, side: session === client ? 0 : 1 };
  }

  reroute(session: Session): boolean {
    const connection = session.connection as CtConnection;
    const { client, server } = connection;
    // Nobody is there any more to whom something could be said.
    if (connection.closedBy(connection.peerOf(session))) return true;
    const events = this.segments.segmentFor(client.worker!, server.worker!);
    if (events === null) return false;
    const before = connection.moved ? { shared: connection.events, slot: connection.eventSlot } : null;
    connection.events = events;
    connection.eventSlot = events.takeSlot(0, 0);
    client.worker!.send(movedMessage(this.message, client, events, connection.eventSlot, 0));
    server.worker!.send(movedMessage(this.message, server, events, connection.eventSlot, 1));
    if (before !== null) this.segments.returnSlot(before.shared, before.slot);
    return true;
  }

  format(session: Session, verbose: number): string {
    const connection = session.connection as CtConnection;
    const side = session === connection.client ? 0 : 1;
    const { segment, id } = connection.shared;
    const used = (direction: number): number => {
      const word = segment.fifoWord(connection.slot, direction);
      return Math.max((segment.i32[word] - segment.i32[word + 16]) | 0, 0);
    };
    const line = `rx-f ${used(1 - side)} tx-f ${used(side)}`;
    return verbose < 2 ? line : `${line} segment ${id} slot ${connection.slot} side ${side}`;
  }

  private end(session: Session, notice: number): void {
    const connection = session.connection as CtConnection;
    if (connection.closedBy(session)) return;
    connection.markClosed(session);
    session.state = SessionState.appClosed;
    const peer = connection.peerOf(session);
    if (!connection.closedBy(peer)) {
      this.notify(notice, peer);
      peer.state = SessionState.transportClosing;
      return;
    }
    // Both have closed: their queues tell them in order, so the slot can be given to the next session at once.
    this.notify(Notice.cleanup, peer, true);
    this.notify(Notice.cleanup, session, true);
    const homes = this.otherHomes(connection);
    this.onForgotten(connection.client);
    this.forget(peer);
    this.forget(session);
    if (connection.moved) this.segments.returnSlot(connection.events, connection.eventSlot);
    this.segments.returnSlotAfter(connection.shared, connection.slot, homes);
  }

  /** Workers whose session was used by other processes last, told that it is over: what was written is in their memory. */
  private otherHomes(connection: CtConnection): AppWorker[] {
    const { client, server, shared } = connection;
    const homes: AppWorker[] = [];
    for (const session of [client, server]) {
      if (session.holders === null) continue;
      const home = shared.home(session === client ? 0 : 1)!;
      if (home !== session.worker) this.notify(Notice.cleanup, session, true, home);
      homes.push(home);
    }
    return homes;
  }

  private forget(session: Session): void {
    if (session.listener?.accept) session.listener.accept.waiting--;
    session.worker!.sessions--;
    session.state = SessionState.closed;
    this.sessions.release(session);
  }

  private announce(type: number, session: Session, context: number, segmentId: number, slot: number, flags: number): void {
    const { message } = this;
    message[MessageWord.type] = type;
    message[MessageWord.context] = context;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    message[MessageWord.segmentId] = segmentId;
    message[MessageWord.slot] = slot;
    message[MessageWord.flags] = messageFlags(flags | (session.remote.isV4 ? MessageFlag.v4 : 0), session.proto);
    writeEndpoints(message, session.local as Endpoint, session.remote);
    session.worker!.send(message);
  }

  private notify(type: number, session: Session, lazy = false, worker = session.worker!): void {
    const { message } = this;
    if (type !== Notice.cleanup) session.peerNotice = type;
    message.fill(0);
    message[MessageWord.type] = type;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    worker.send(message, lazy);
  }
}
