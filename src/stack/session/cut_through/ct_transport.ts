/**
 * The cut-through transport: a connection between two applications of one stack. Both map the same segment; bytes and their events go
 * from one to the other without passing here. What passes here is set-up, half-close, close and reset.
 *
 * The client is told that it is connected at the same time as the server is told of the connection, so a server that never accepts
 * looks as it does with a kernel socket: connected, and silent. (VPP waits for the server's reply.)
 */
import type { Endpoint } from '../endpoint.ts';
import { SessionError } from '../errors.ts';
import { MessageFlag, MessageWord, messageFlags, Notice, newMessage, writeEndpoints } from '../messages.ts';
import type { SegmentManager, SharedSegment } from '../segment_manager.ts';
import { type Session, type SessionPool, SessionState } from '../session.ts';
import { type Transport, TransportProto } from '../transport.ts';

/** One half of a cut-through connection hangs on each of its two sessions. */
class CtConnection {
  readonly client: Session;
  readonly server: Session;
  readonly shared: SharedSegment;
  readonly slot: number;
  clientClosed = false;
  serverClosed = false;

  constructor(client: Session, server: Session, shared: SharedSegment, slot: number) {
    this.client = client;
    this.server = server;
    this.shared = shared;
    this.slot = slot;
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

export class CtTransport implements Transport {
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
    this.onForgotten(connection.client);
    this.forget(peer);
    this.forget(session);
    this.segments.returnSlot(connection.shared, connection.slot);
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

  private notify(type: number, session: Session, lazy = false): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = type;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    session.worker!.send(message, lazy);
  }
}
