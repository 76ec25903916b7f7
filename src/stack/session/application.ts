/**
 * Attached applications and their workers. A worker is one thread of an application: its own socket to the stack, its own message
 * queue pair in its own segment, one doorbell in each direction.
 */
import { ringDoorbell } from '../../core/sys/doorbell.ts';
import { E } from '../../core/sys/libc.ts';
import { closeDescriptor, sendPacket } from '../../core/sys/unix_socket.ts';
import { MessageQueueConsumer, MessageQueueProducer } from '../svm/message_queue.ts';
import type { Segment } from '../svm/segment.ts';
import { CryptoConfigs, type SessionCrypto } from './crypto_config.ts';
import type { AppNamespace } from './namespace.ts';
import { encodeSapi, type SapiMessage } from './sapi.ts';
import type { Session } from './session.ts';
import type { StackEnd } from './stack_fifos.ts';

/** What an application asks for when it attaches. Sizes in bytes. */
export interface AppOptions {
  rxFifoSize: number;
  txFifoSize: number;
  /** Reachable by applications of the same namespace. */
  scopeLocal: boolean;
  /** Reachable through the routing table of the namespace: networks, and other namespaces on the same table. */
  scopeGlobal: boolean;
}

export class Application {
  readonly index: number;
  readonly name: string;
  readonly namespace: AppNamespace;
  readonly options: AppOptions;
  /** What a further worker must present. */
  readonly token: string;
  readonly workers: AppWorker[] = [];

  constructor(index: number, name: string, namespace: AppNamespace, options: AppOptions, token: string) {
    this.index = index;
    this.name = name;
    this.namespace = namespace;
    this.options = options;
    this.token = token;
  }
}

/** Seconds after which a worker that takes nothing counts as hung. */
const UNRESPONSIVE_BEATS = 10;
/** Messages kept for a worker whose ring is full; above this the worker is beyond help and is detached. */
const MAX_PENDING = 1 << 20;
const MAX_PENDING_FOR_ACCEPT = 1 << 14;
/** That nothing was held for yet. */
const MAX_HEIR_SOCKETS = 64;

export class AppWorker {
  /** Unique among all workers. */
  readonly index: number;
  readonly app: Application;
  readonly pid: number;
  readonly socket: number;
  /** Tells the worker that it has something to look at. Only the stack has it; the worker has the hearing end. */
  readonly ringFd: number;
  /** An eventfd that is readable when the stack has something of this worker to look at. */
  readonly stackFd: number;
  readonly segment: Segment;
  readonly toApp: MessageQueueProducer;
  readonly fromApp: MessageQueueConsumer;
  detached = false;
  /** Nobody is at the other end of its socket any more, which is noticed in its turn. */
  hungUp = false;
  /** It has left messages in its queue for a long time although its bell was rung: nothing new is given to it. */
  unresponsive = false;
  sessions = 0;
  /** Connects that are on their way, by the application's name of them. */
  readonly connecting = new Map<number, Session>();
  /** The stack's ends of the segments that this worker shares with it. */
  stackEnds: StackEnd[] = [];
  /** What it has configured of TLS. */
  readonly crypto = new CryptoConfigs();
  /** Takes what is in its socket now. */
  readSocket: () => void = () => {};
  /** It was made for a process that has not said anything yet, nor perhaps ever will: its end is no accident. */
  silent = false;
  /** Makes a worker of the process at the other end of a socket. */
  makeHeir: (socket: number) => AppWorker | null = () => null;
  /** The stack's ends of sockets of processes to come, and the worker that was made last for one of them. */
  private readonly heirSockets = new Map<number, number>();
  private lastHeir: { id: number; worker: AppWorker | null } = { id: -1, worker: null };
  private readonly pending: Int32Array[] = [];
  private lastPosition = 0;
  private staleBeats = 0;

  constructor(parts: {
    index: number;
    app: Application;
    pid: number;
    socket: number;
    ringFd: number;
    stackFd: number;
    segment: Segment;
  }) {
    this.index = parts.index;
    this.app = parts.app;
    this.pid = parts.pid;
    this.socket = parts.socket;
    this.ringFd = parts.ringFd;
    this.stackFd = parts.stackFd;
    this.segment = parts.segment;
    this.toApp = new MessageQueueProducer(parts.segment, 0, () => this.ring());
    this.fromApp = new MessageQueueConsumer(parts.segment, 1);
  }

  /** Its queue is full. */
  get congested(): boolean {
    return this.pending.length > 0;
  }

  /** It is so far behind, or has not moved for so long, that it gets no new sessions. The backlog of a listener is a bound already: this is for many of them. */
  get overloaded(): boolean {
    return this.pending.length > MAX_PENDING_FOR_ACCEPT || this.unresponsive;
  }

  get beyondHelp(): boolean {
    return this.pending.length > MAX_PENDING || this.toApp.corrupted;
  }

  /** Once a second: does it take what it is sent? */
  watchProgress(): void {
    const { unread, position } = this.toApp.control;
    if (unread === 0 || position !== this.lastPosition) {
      this.staleBeats = 0;
      this.unresponsive = false;
    } else if (++this.staleBeats === UNRESPONSIVE_BEATS) this.unresponsive = true;
    // Some messages come without a sound.
    else this.toApp.signal();
    this.lastPosition = position;
  }

  ring(): void {
    ringDoorbell(this.ringFd);
  }

  /** Sends a copy of `message`; in order, however full the queue is. `lazy`: do not wake the worker for it. */
  send(message: Int32Array, lazy = false): void {
    if (this.detached) return;
    if (this.pending.length === 0 && this.toApp.sendControl(message, lazy)) return;
    this.pending.push(message.slice());
    this.toApp.signal();
  }

  /** What a session of this worker listens or connects with; null when it has not said so. */
  takeCrypto(id: number, nameId: number): SessionCrypto | null {
    // It comes by the socket before the message that means it, which may be seen first.
    if (!this.crypto.has(id, nameId)) this.readSocket();
    return this.crypto.take(id, nameId);
  }

  addHeirSocket(id: number, socket: number): void {
    if (this.heirSockets.size < MAX_HEIR_SOCKETS && !this.heirSockets.has(id)) this.heirSockets.set(id, socket);
    else closeDescriptor(socket);
  }

  /** The worker of a process that is about to be made; null when it has not said how to reach it. */
  heir(id: number): AppWorker | null {
    if (this.lastHeir.id === id) return this.lastHeir.worker;
    if (!this.heirSockets.has(id)) this.readSocket();
    const socket = this.heirSockets.get(id);
    this.heirSockets.delete(id);
    this.lastHeir = { id, worker: socket === undefined ? null : this.makeHeir(socket) };
    return this.lastHeir.worker;
  }

  /** The worker has made room in its queue. */
  flush(): void {
    let sent = 0;
    while (sent < this.pending.length && this.toApp.sendControl(this.pending[sent])) sent++;
    if (sent > 0) this.pending.splice(0, sent);
  }

  /** Sends a message with descriptors over the socket; false when the worker does not read it. */
  sendFds(message: SapiMessage, fds: number[]): boolean {
    const error = sendPacket(this.socket, encodeSapi(message), fds);
    if (error !== null && error.errno !== E.AGAIN) this.hungUp = true;
    return error === null;
  }

  /** Lets go of descriptors and memory. */
  dispose(): void {
    this.detached = true;
    for (const fd of [this.socket, this.ringFd, this.stackFd, ...this.heirSockets.values()]) closeDescriptor(fd);
    this.lastHeir.worker = null;
    this.segment.close();
  }
}
