/**
 * Sessions of transports whose bytes pass through the stack: FIFOs, what applications are told, and when a session is over (both the
 * application and the transport have closed). The cut-through counterpart is `cut_through/ct_transport.ts`.
 */
import type { AppWorker } from './application.ts';
import type { Endpoint } from './endpoint.ts';
import { SessionError } from './errors.ts';
import { IoEvent, MessageFlag, MessageWord, messageFlags, Notice, newMessage, withAlpn, writeEndpoints } from './messages.ts';
import type { SegmentManager } from './segment_manager.ts';
import { type Session, type SessionPool, SessionState } from './session.ts';
import { movedMessage, type SessionMover, type SessionPlace } from './shared_sessions.ts';
import { type StackEnd, StackFifos } from './stack_fifos.ts';
import type { Transport } from './transport.ts';

const IO_EVENTS_PER_DRAIN = 4096;

export class TransportSessions implements SessionMover {
  private readonly pool: SessionPool;
  private readonly segments: SegmentManager;
  private readonly transportOf: (session: Session) => Transport;
  private readonly onForgotten: (session: Session) => void;
  private readonly message = newMessage();

  /** `onForgotten` is called just before a session is released. */
  constructor(
    pool: SessionPool,
    segments: SegmentManager,
    transportOf: (session: Session) => Transport,
    onForgotten: (session: Session) => void,
  ) {
    this.pool = pool;
    this.segments = segments;
    this.transportOf = transportOf;
    this.onForgotten = onForgotten;
  }

  /** A new session of `listener` for `target`, announced to the application; null when there is no memory. */
  accept(
    listener: Session,
    target: { worker: AppWorker; context: number },
    connection: unknown,
    local: Endpoint,
    remote: Endpoint,
    alpn: number,
  ): Session | null {
    const session = this.pool.alloc();
    session.worker = target.worker;
    session.proto = listener.proto;
    session.transport = listener.transport;
    session.local.copyFrom(local);
    session.remote.copyFrom(remote);
    if (!this.attachFifos(session)) {
      this.pool.release(session);
      return null;
    }
    target.worker.sessions++;
    session.connection = connection;
    session.alpn = alpn;
    session.state = SessionState.accepting;
    session.listener = listener;
    listener.accept!.waiting++;
    this.announce(Notice.accepted, session, target.context);
    return session;
  }

  /** Gives a connecting session its FIFOs and tells the application; false when there is no memory. */
  connected(session: Session): boolean {
    if (!this.attachFifos(session)) return false;
    session.state = SessionState.ready;
    this.announce(Notice.connected, session, session.context);
    return true;
  }

  halfClosed(session: Session): void {
    if (session.state > SessionState.ready) return;
    session.state = SessionState.transportClosing;
    this.notify(Notice.halfClosed, session);
  }

  /** Urgent data ends `ahead` bytes behind what has been received. */
  urgent(session: Session, ahead: number): void {
    const { fifos, worker } = session;
    if (fifos === null || worker === null || session.appClosed) return;
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Notice.urgent;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    message[MessageWord.value] = (fifos.receive.position + ahead) | 0;
    worker.send(message);
  }

  reset(session: Session, code: number = SessionError.none): void {
    if (session.appClosed || session.worker === null) return;
    session.state = SessionState.transportClosing;
    this.notify(Notice.reset, session, false, code);
  }

  /** The application has closed. */
  appClosed(session: Session, reset: boolean): void {
    if (session.appClosed) return;
    session.appClosed = true;
    if (session.transportClosed) {
      this.release(session);
      return;
    }
    session.state = SessionState.appClosed;
    const transport = this.transportOf(session);
    if (reset) transport.reset(session);
    else transport.close(session);
  }

  /** The transport has closed. */
  transportClosed(session: Session): void {
    if (session.transportClosed || session.worker === null) return;
    session.transportClosed = true;
    if (session.appClosed) {
      this.release(session);
      return;
    }
    session.state = SessionState.transportClosing;
    this.notify(Notice.disconnected, session);
  }

  placeOf(session: Session): SessionPlace {
    const { end, slot } = session.fifos!;
    return { shared: end.shared, slot, side: 0 };
  }

  reroute(session: Session): boolean {
    const fifos = session.fifos!;
    const worker = session.worker!;
    const before = fifos.moved ? { ...fifos.events } : null;
    const end = this.endFor(worker);
    if (end === null) return false;
    fifos.reroute(end, end.shared.takeSlot(0, 0), session);
    worker.send(movedMessage(this.message, session, end.shared, fifos.events.slot, 0));
    if (before !== null) this.segments.returnSlot(before.end.shared, before.slot);
    if (session.transportClosed) return true;
    // What its worker before has said is not looked at any more.
    const transport = this.transportOf(session);
    fifos.send.clearEvent();
    transport.appWriteEvent?.(session);
    transport.appReadEvent?.(session);
    return true;
  }

  /** Handles the IO events of a worker; returns how many there were, or -1 when its queue is damaged. */
  drain(worker: AppWorker): number {
    let n = 0;
    for (const end of worker.stackEnds) {
      while (n < IO_EVENTS_PER_DRAIN) {
        const event = end.fromApp.takeIo();
        if (event < 0) break;
        n++;
        const session = end.sessions[event >>> 2];
        if (session === undefined) continue;
        const transport = this.transportOf(session);
        if ((event & 3) === IoEvent.data) {
          session.fifos!.send.clearEvent();
          transport.appWriteEvent?.(session);
        } else transport.appReadEvent?.(session);
      }
      if (end.fromApp.corrupted) return -1;
    }
    return n;
  }

  /** Arms the doorbells of a worker's IO queues; false when something has arrived meanwhile. */
  arm(worker: AppWorker): boolean {
    let empty = true;
    for (const end of worker.stackEnds) empty = (end.fromApp.isArmed ? end.fromApp.empty : end.fromApp.arm()) && empty;
    return empty;
  }

  private attachFifos(session: Session): boolean {
    const worker = session.worker!;
    const end = this.endFor(worker);
    if (end === null) return false;
    const { rxFifoSize, txFifoSize } = worker.app.options;
    // Direction 0 is the application's transmit FIFO.
    session.fifos = new StackFifos(end, end.shared.takeSlot(txFifoSize, rxFifoSize), session);
    return true;
  }

  private endFor(worker: AppWorker): StackEnd | null {
    const shared = this.segments.segmentFor(worker, null);
    return shared === null ? null : (worker.stackEnds.find((candidate) => candidate.shared === shared) ?? null);
  }

  private release(session: Session): void {
    const { fifos } = session;
    this.notify(Notice.cleanup, session, true);
    const homes: AppWorker[] = [];
    if (fifos !== null && session.holders !== null) {
      // Other processes were the last to use it: what was written is in the memory of this one.
      const home = fifos.end.shared.home(0)!;
      if (home !== session.worker) this.notify(Notice.cleanup, session, true, 0, home);
      homes.push(home);
    }
    session.worker!.sessions--;
    if (session.listener?.accept) session.listener.accept.waiting--;
    this.onForgotten(session);
    fifos?.release();
    this.pool.release(session);
    if (fifos === null) return;
    if (fifos.moved) this.segments.returnSlot(fifos.events.end.shared, fifos.events.slot);
    this.segments.returnSlotAfter(fifos.end.shared, fifos.slot, homes);
  }

  private announce(type: number, session: Session, context: number): void {
    if (session.crypto !== null || session.listener?.crypto) this.transportOf(session).announcing?.(session);
    const { message } = this;
    const fifos = session.fifos!;
    message[MessageWord.type] = type;
    message[MessageWord.context] = context;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    message[MessageWord.segmentId] = fifos.end.shared.id;
    message[MessageWord.slot] = fifos.slot;
    message[MessageWord.flags] = withAlpn(
      messageFlags(session.remote.isV4 ? MessageFlag.v4 : 0, session.proto, SessionError.none),
      session.alpn,
    );
    writeEndpoints(message, session.local, session.remote);
    session.worker!.send(message);
  }

  private notify(type: number, session: Session, lazy = false, code = 0, worker = session.worker!): void {
    const { message } = this;
    if (type !== Notice.cleanup) {
      session.peerNotice = type;
      session.peerCode = code;
    }
    message.fill(0);
    message[MessageWord.type] = type;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    message[MessageWord.flags] = messageFlags(0, 0, code);
    worker.send(message, lazy);
  }
}
