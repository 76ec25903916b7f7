/**
 * Sessions that several processes of an application hold, as after fork (VPP: VLS). Each holder may close and shut down; one of them, the
 * session's worker, moves bytes and gets its notices. Another becomes that by asking (`Request.claim`), or because the one before it has
 * closed or died. The session ends when the last one lets go of it.
 *
 * The bytes stay in the slot where they were, which its new worker maps too; events take the segment that it shares with the peer, which
 * is told. Whose turn it is stands in the slot itself (FifoWord.owner), where a process that moves bytes marks itself busy.
 */
import { FifoWord } from '../svm/layout.ts';
import type { AppWorker } from './application.ts';
import { MessageFlag, MessageWord, messageFlags, Notice, newMessage, writeEndpoints } from './messages.ts';
import type { SegmentManager, SharedSegment } from './segment_manager.ts';
import { type Session, SessionState } from './session.ts';
import { TransportProto } from './transport.ts';

/** Where a session's bytes are, and how its events are given another way: of the transport that keeps it. */
export interface SessionPlace {
  readonly shared: SharedSegment;
  readonly slot: number;
  readonly side: number;
}

export interface SessionMover {
  placeOf(session: Session): SessionPlace;
  /** Events of the session, whose worker is the new one already, take another way, and everyone is told. */
  reroute(session: Session): boolean;
}

interface Claim {
  session: Session;
  generation: number;
  worker: AppWorker;
}

export class SharedSessions {
  /** Claims whose session was being used. */
  private claims: Claim[] = [];
  private readonly segments: SegmentManager;
  private readonly moverOf: (session: Session) => SessionMover;
  private readonly message = newMessage();

  constructor(segments: SegmentManager, moverOf: (session: Session) => SessionMover) {
    this.segments = segments;
    this.moverOf = moverOf;
  }

  get waiting(): boolean {
    return this.claims.length > 0;
  }

  /** `heir` holds the session too. */
  hold(session: Session, heir: AppWorker): void {
    const movable = session.proto === TransportProto.tcp && (session.connection !== null || session.fifos !== null);
    // A process that has ended before this was heard of holds nothing.
    if (!movable || heir.detached || session.state < SessionState.ready || session.worker === null) return;
    session.holders ??= new Set([session.worker]);
    session.holders.add(heir);
  }

  claim(session: Session, worker: AppWorker): void {
    if (session.worker === worker || !session.holders?.has(worker)) return;
    if (!this.pass(session, worker, session.worker)) this.claims.push({ session, generation: session.generation, worker });
  }

  /** `worker` wants a session that is not its own, or is over. */
  unknown(worker: AppWorker, claim: Int32Array): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Notice.reset;
    message[MessageWord.session] = claim[MessageWord.session];
    message[MessageWord.generation] = claim[MessageWord.generation];
    worker.send(message);
  }

  /** Claims that had to wait. */
  retry(): void {
    const { claims } = this;
    this.claims = [];
    for (const { session, generation, worker } of claims)
      if (session.generation === generation && !worker.detached) this.claim(session, worker);
  }

  /** Another holder has shut down writing. */
  shut(session: Session, by: AppWorker): void {
    for (const worker of session.holders ?? []) if (worker !== by) this.notify(Notice.shut, session, worker);
  }

  /** Of several holders none has read everything. Each knows only what it has seen. */
  hasUnread(session: Session): boolean {
    if (session.holders === null) return false;
    const { shared, slot, side } = this.moverOf(session).placeOf(session);
    const { i32 } = shared.segment;
    const word = shared.segment.fifoWord(slot, 1 - side);
    return Atomics.load(i32, word + FifoWord.tail) !== Atomics.load(i32, word + FifoWord.head);
  }

  /** `worker` holds the session no more. False when nobody else does: it is over. */
  leave(session: Session, worker: AppWorker): boolean {
    const { holders } = session;
    if (holders === null || (holders.size === 1 && holders.has(worker))) return false;
    if (!holders.delete(worker)) return true;
    if (session.worker === worker) {
      // It has said so itself, or is there no more: it cannot be in the middle of something.
      for (const next of holders) if (this.pass(session, next, null)) break;
    }
    if (session.worker === worker) {
      for (const other of holders) {
        this.notify(Notice.reset, session, other);
        this.notify(Notice.cleanup, session, other);
      }
      return false;
    }
    const { shared, side } = this.moverOf(session).placeOf(session);
    // Who has the memory of it keeps it until the end.
    if (shared.home(side) !== worker) this.notify(Notice.cleanup, session, worker);
    return true;
  }

  /** Makes `to` the session's worker; `from` null: whoever was it does nothing more with it. */
  private pass(session: Session, to: AppWorker, from: AppWorker | null): boolean {
    const mover = this.moverOf(session);
    const { shared, slot, side } = mover.placeOf(session);
    if (to.detached) return false;
    const lent = this.segments.lend(shared, side, to);
    // Its process has ended, as after exec, and may have said in its queue who comes after it: its turn comes with its end.
    const over = !lent && to.hungUp && from === null;
    if (!over && (!lent || !shared.passSlot(slot, side, from, to))) return false;
    const before = session.worker!;
    before.sessions--;
    to.sessions++;
    session.worker = to;
    this.notify(Notice.taken, session, before);
    if (over) return true;
    this.adopted(session, shared, slot, side);
    if (session.peerNotice !== 0) this.notify(session.peerNotice, session, to, session.peerCode);
    if (mover.reroute(session)) return true;
    // No memory for another segment: the peer could not be told of what is written.
    this.notify(Notice.reset, session, to);
    return true;
  }

  private adopted(session: Session, shared: SharedSegment, slot: number, side: number): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Notice.adopted;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    message[MessageWord.segmentId] = shared.id;
    message[MessageWord.slot] = slot;
    const flags =
      (session.remote.isV4 ? MessageFlag.v4 : 0) |
      (side === 1 ? MessageFlag.side : 0) |
      (session.halfClosed ? MessageFlag.shut : 0);
    message[MessageWord.flags] = messageFlags(flags, session.proto);
    writeEndpoints(message, session.local, session.remote);
    session.worker!.send(message);
  }

  private notify(type: number, session: Session, worker: AppWorker, code = 0): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = type;
    message[MessageWord.session] = session.index;
    message[MessageWord.generation] = session.generation;
    message[MessageWord.flags] = messageFlags(0, 0, code);
    worker.send(message);
  }
}

/** What tells a worker of a session's new way for events. */
export function movedMessage(
  message: Int32Array,
  session: Session,
  shared: SharedSegment,
  slot: number,
  side: number,
): Int32Array {
  message.fill(0);
  message[MessageWord.type] = Notice.moved;
  message[MessageWord.session] = session.index;
  message[MessageWord.generation] = session.generation;
  message[MessageWord.segmentId] = shared.id;
  message[MessageWord.slot] = slot;
  message[MessageWord.flags] = side === 1 ? MessageFlag.side : 0;
  return message;
}
