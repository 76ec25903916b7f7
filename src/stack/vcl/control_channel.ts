/** A worker's control messages to and from the stack: built in place, in order, however full the queue is. */
import { ringEventfd } from '../../core/sys/eventfd.ts';
import { MessageFlag, MessageWord, messageFlags, newMessage, Request, writeEndpoints } from '../session/messages.ts';
import { MessageQueueConsumer, MessageQueueProducer } from '../svm/message_queue.ts';
import type { Segment } from '../svm/segment.ts';
import type { VclSession } from './session.ts';

const APP_SIDE = 1;
const STACK_SIDE = 0;

export class ControlChannel {
  private readonly toStack: MessageQueueProducer;
  private readonly fromStack: MessageQueueConsumer;
  private readonly stackFd: number;
  private readonly pending: Int32Array[] = [];
  private readonly message = newMessage();
  private closed = false;

  /** `stackFd` rings the stack. */
  constructor(segment: Segment, stackFd: number) {
    this.stackFd = stackFd;
    this.toStack = new MessageQueueProducer(segment, APP_SIDE, () => ringEventfd(stackFd));
    this.fromStack = new MessageQueueConsumer(segment, STACK_SIDE);
    this.fromStack.arm();
  }

  listen(session: VclSession, backlog: number, cryptoConfig = 0): void {
    const { message } = this;
    const { local } = session;
    message.fill(0);
    message[MessageWord.type] = Request.listen;
    message[MessageWord.context] = session.context;
    message[MessageWord.cryptoConfig] = cryptoConfig;
    message[MessageWord.backlog] = backlog;
    message[MessageWord.flags] = messageFlags(
      (local.isV4 ? MessageFlag.v4 : 0) |
        (session.v6only ? MessageFlag.v6only : 0) |
        (session.connectionless ? MessageFlag.connectionless : 0),
      session.proto,
    );
    for (let i = 0; i < 4; i++) message[MessageWord.local + i] = local.words[i];
    message[MessageWord.ports] = local.port << 16;
    this.send();
  }

  connect(session: VclSession, cryptoConfig = 0, serverName = 0): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Request.connect;
    message[MessageWord.context] = session.context;
    message[MessageWord.cryptoConfig] = cryptoConfig;
    message[MessageWord.serverName] = serverName;
    message[MessageWord.flags] = messageFlags(session.remote.isV4 ? MessageFlag.v4 : 0, session.proto);
    writeEndpoints(message, session.local, session.remote);
    this.send();
  }

  /** Gives up the connect of `session`. */
  cancel(session: VclSession): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Request.cancel;
    message[MessageWord.context] = session.context;
    this.send();
  }

  /** A request about a session. `lazy`: the stack need not be woken for it. */
  request(type: number, session: VclSession, flags = 0, lazy = false): void {
    this.about(type, session.stackIndex, session.stackGeneration, flags, lazy);
  }

  /** Sets an attribute of the session's transport. */
  attribute(session: VclSession, number: number, value: number): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = Request.attribute;
    message[MessageWord.session] = session.stackIndex;
    message[MessageWord.generation] = session.stackGeneration;
    message[MessageWord.attribute] = number;
    message[MessageWord.value] = value;
    this.send();
  }

  /** An answer about the session that the notice `to` names. */
  answer(type: number, to: Int32Array, flags = 0): void {
    this.about(type, to[MessageWord.session], to[MessageWord.generation], flags, false);
  }

  /** Copies the next message of the stack into `message`; false when there is none. */
  take(message: Int32Array): boolean {
    return this.fromStack.takeControl(message);
  }

  /** After messages were taken: lets a stack that waited for room go on, and sends what has been waiting here. */
  settle(taken: boolean): void {
    if (taken && this.fromStack.control.takeWantRoom()) ringEventfd(this.stackFd);
    let sent = 0;
    while (sent < this.pending.length && this.toStack.sendControl(this.pending[sent])) sent++;
    if (sent > 0) this.pending.splice(0, sent);
  }

  /** Asks for the doorbell; false when there is something to take. */
  arm(): boolean {
    return this.fromStack.isArmed ? this.fromStack.empty : this.fromStack.arm();
  }

  /** Makes the stack look at what was sent lazily. */
  ring(): void {
    ringEventfd(this.stackFd);
  }

  /** Sends nothing any more. */
  close(): void {
    this.closed = true;
  }

  private about(type: number, index: number, generation: number, flags: number, lazy: boolean): void {
    const { message } = this;
    message.fill(0);
    message[MessageWord.type] = type;
    message[MessageWord.session] = index;
    message[MessageWord.generation] = generation;
    message[MessageWord.flags] = flags;
    this.send(lazy);
  }

  private send(lazy = false): void {
    if (this.closed) return;
    if (this.pending.length === 0 && this.toStack.sendControl(this.message, lazy)) return;
    this.pending.push(this.message.slice());
    this.toStack.signal();
  }
}
