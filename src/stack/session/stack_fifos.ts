/**
 * The stack's side of sessions whose bytes pass through a transport: its end of a segment shared with one application worker, and the
 * FIFO pair of a session in the shapes that a TCP wants (offsets relative to the first byte that is not acknowledged, or not in order).
 */
import { ChunkArena } from '../svm/chunk_arena.ts';
import { FifoConsumer } from '../svm/fifo_consumer.ts';
import { FifoProducer } from '../svm/fifo_producer.ts';
import { DequeueNotify } from '../svm/layout.ts';
import { MessageQueueConsumer, MessageQueueProducer } from '../svm/message_queue.ts';
import type { AppWorker } from './application.ts';
import { IoEvent } from './messages.ts';
import type { SharedSegment } from './segment_manager.ts';
import type { Session } from './session.ts';

const STACK_SIDE = 1;
const APP_SIDE = 0;

export class StackEnd {
  readonly shared: SharedSegment;
  readonly arena: ChunkArena;
  readonly fromApp: MessageQueueConsumer;
  readonly toApp: MessageQueueProducer;
  readonly sessions: (Session | undefined)[] = [];

  constructor(shared: SharedSegment, worker: AppWorker) {
    this.shared = shared;
    this.arena = new ChunkArena(shared.segment, STACK_SIDE);
    this.fromApp = new MessageQueueConsumer(shared.segment, APP_SIDE);
    this.toApp = new MessageQueueProducer(shared.segment, STACK_SIDE, () => worker.ring());
    this.fromApp.arm();
  }
}

/** Where the events of a session come and go: where its bytes are, until another process of the application uses it. */
export interface EventRoute {
  end: StackEnd;
  slot: number;
}

/** The FIFO pair of one session, seen from its transport. */
export class StackFifos {
  readonly end: StackEnd;
  readonly slot: number;
  readonly events: EventRoute;
  readonly send: SendFifo;
  readonly receive: ReceiveFifo;

  constructor(end: StackEnd, slot: number, session: Session) {
    this.end = end;
    this.slot = slot;
    this.events = { end, slot };
    end.sessions[slot] = session;
    this.send = new SendFifo(end, slot, this.events);
    this.receive = new ReceiveFifo(end, slot, this.events);
  }

  /** Its events have a way of their own. */
  get moved(): boolean {
    return this.events.end !== this.end || this.events.slot !== this.slot;
  }

  reroute(end: StackEnd, slot: number, session: Session): void {
    this.events.end.sessions[this.events.slot] = undefined;
    this.events.end = end;
    this.events.slot = slot;
    end.sessions[slot] = session;
  }

  /** Gives the memory back. */
  release(): void {
    this.receive.release();
    this.events.end.sessions[this.events.slot] = undefined;
  }
}

/** What the application has written and the transport has not let go of. Offset 0 is the first byte that is not acknowledged. */
export class SendFifo {
  private readonly events: EventRoute;
  private readonly fifo: FifoConsumer;

  constructor(end: StackEnd, slot: number, events: EventRoute) {
    this.events = events;
    this.fifo = new FifoConsumer(end.shared.segment, end.shared.segment.fifoWord(slot, APP_SIDE), APP_SIDE);
  }

  get length(): number {
    return this.fifo.used;
  }

  /** Of offset 0 in the stream. */
  get position(): number {
    return this.fifo.position;
  }

  /** The application has damaged the FIFO: reset the connection. */
  get corrupted(): boolean {
    return this.fifo.corrupted;
  }

  copyOut(offset: number, to: Uint8Array, at: number, length: number): number {
    return this.fifo.peek(offset, to, at, length);
  }

  /** The first `length` bytes are acknowledged; the application hears of it when it waits for room. */
  drop(length: number): void {
    this.fifo.drop(length);
    if (this.fifo.shouldNotify()) this.events.end.toApp.sendIo((this.events.slot << 2) | IoEvent.room);
  }

  /** The application's event has been taken; call before looking at `length`. */
  clearEvent(): void {
    this.fifo.clearEvent();
  }

  release(): void {}
}

/** Where received bytes go. Offset 0 is the next byte in order. */
export class ReceiveFifo {
  /** Most bytes it may hold, those that wait out of order included. */
  limit: number;
  private readonly events: EventRoute;
  private readonly fifo: FifoProducer;

  constructor(end: StackEnd, slot: number, events: EventRoute) {
    this.events = events;
    this.fifo = new FifoProducer(end.arena, end.shared.segment.fifoWord(slot, STACK_SIDE));
    this.limit = this.fifo.capacity;
  }

  /** Bytes in order that the application has not read. */
  get length(): number {
    return this.fifo.used;
  }

  get free(): number {
    return this.fifo.free;
  }

  /** Of offset 0 in the stream. */
  get position(): number {
    return this.fifo.position;
  }

  get corrupted(): boolean {
    return this.fifo.corrupted;
  }

  /** Places bytes; false when there is no memory: they are as good as lost on the way. */
  write(offset: number, from: Uint8Array, at: number, length: number): boolean {
    return this.fifo.place(offset, from, at, length);
  }

  /** The next `length` bytes, all written, are now in order. */
  commit(length: number): void {
    this.fifo.commit(length);
    if (this.fifo.raiseEvent()) this.events.end.toApp.sendIo((this.events.slot << 2) | IoEvent.data);
  }

  /** Asks for `appReadEvent` when `bytes` are free. True: they are already. */
  wantRoom(bytes: number): boolean {
    return this.fifo.wantDequeueNotify(DequeueNotify.Room, bytes);
  }

  release(): void {
    this.fifo.release();
  }
}
