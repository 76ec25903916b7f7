/**
 * A VCL worker: one thread's attachment to the stack. Owns the message queues, the segments it shares with peers, and the sessions, and
 * turns what arrives in the queues into session events.
 *
 * Two ways to wait, which may be mixed: in an event loop (`useEventLoop`: the worker's eventfd is watched), or blocking the thread
 * (`wait`: spin for a while if asked to, then poll(2)). Doorbells are armed only before sleeping, so a busy worker costs its peers no
 * system calls; an idle one uses no CPU.
 */
import { clearEventfd, pollDescriptors } from '../../core/sys/eventfd.ts';
import { E } from '../../core/sys/libc.ts';
import { closeDescriptor, receivePacket } from '../../core/sys/unix_socket.ts';
import { sessionErrno } from '../session/errors.ts';
import {
  IoEvent,
  MessageFlag,
  MessageWord,
  messageProto,
  messageRetval,
  Notice,
  newMessage,
  Request,
  readLocal,
  readRemote,
} from '../session/messages.ts';
import { decodeSapi } from '../session/sapi.ts';
import { LAYOUT_VERSION } from '../svm/layout.ts';
import {
  type AppOptions,
  type Attachment,
  appSocketPath,
  attachAsync,
  attachBlocking,
  attachMessage,
  type WorkerTicket,
} from './attach.ts';
import { ControlChannel } from './control_channel.ts';
import { type EventLoop, type LoopWatch, NODE_LOOP } from './event_loop.ts';
import { MemoryKeeper } from './memory_keeper.ts';
import { Ready, VclSession, VclState } from './session.ts';
import { SegmentEnd, segmentKey } from './shared_segment.ts';
import { ADAPTIVE_SPIN, Spinner } from './spinner.ts';

/** Of calls that wait for themselves. */
const EVENTS_PER_POLL = 1024;

export class VclWorker {
  readonly appIndex: number;
  readonly workerIndex: number;
  /** Of the stack's start that this worker is attached to. */
  readonly generation: number;
  /** For further workers of the same application. */
  readonly ticket: WorkerTicket;
  /** The stack has gone, or the worker has left: every session is reset. */
  detached = false;
  /** Called once when the stack has gone. */
  onDetached: (() => void) | null = null;
  private readonly attachment: Attachment;
  private readonly control: ControlChannel;
  private readonly sessions: (VclSession | null)[] = [];
  private readonly freeHandles: number[] = [];
  private readonly byStackIndex = new Map<number, VclSession>();
  /** Listeners, and sessions whose connect is on its way, by the name the stack gives back. Handles are reused too soon for that. */
  private readonly byContext = new Map<number, VclSession>();
  private nextContext = 1;
  private readonly ends = new Map<number, SegmentEnd>();
  /** The values of `ends`: what every wake-up looks at. */
  private endList: SegmentEnd[] = [];
  private readonly memory: MemoryKeeper;
  private readonly incoming = newMessage();
  private readonly spinner: Spinner;
  private readonly drainSome = (): boolean => this.drain(EVENTS_PER_POLL) > 0;
  private loop: EventLoop = NODE_LOOP;
  private watches: LoopWatch[] = [];
  private keepAlive = 0;
  private runScheduled = false;
  private readonly runLater = (): void => this.run();
  /** Descriptors outlive a thread: without this the stack would not notice that it has ended. */
  private readonly onExit = (): void => this.destroy();

  private constructor(attachment: Attachment, socketPath: string, spinUs: number) {
    const { reply } = attachment;
    this.attachment = attachment;
    this.appIndex = reply.appIndex;
    this.workerIndex = reply.workerIndex;
    this.generation = reply.generation;
    this.ticket = { socketPath, appIndex: reply.appIndex, token: reply.token, spinUs };
    this.spinner = new Spinner(spinUs);
    this.control = new ControlChannel(attachment.segment, attachment.stackFd);
    this.memory = new MemoryKeeper(this.sessions, () => this.endList);
    process.once('exit', this.onExit);
  }

  /** Attaches a new application; blocks, so the stack must run in another thread or process. */
  static attachBlocking(name: string, options: AppOptions = {}): VclWorker {
    const path = appSocketPath(options);
    return new VclWorker(
      attachBlocking(path, attachMessage(name, options), options.timeoutMs),
      path,
      options.spinUs ?? ADAPTIVE_SPIN,
    );
  }

  static async attach(name: string, options: AppOptions = {}): Promise<VclWorker> {
    const path = appSocketPath(options);
    return new VclWorker(
      await attachAsync(path, attachMessage(name, options), options.timeoutMs),
      path,
      options.spinUs ?? ADAPTIVE_SPIN,
    );
  }

  /** Makes this thread a further worker of an application. */
  static registerBlocking(ticket: WorkerTicket, timeoutMs?: number): VclWorker {
    return new VclWorker(
      attachBlocking(ticket.socketPath, addWorkerMessage(ticket), timeoutMs),
      ticket.socketPath,
      ticket.spinUs,
    );
  }

  static async register(ticket: WorkerTicket): Promise<VclWorker> {
    return new VclWorker(await attachAsync(ticket.socketPath, addWorkerMessage(ticket)), ticket.socketPath, ticket.spinUs);
  }

  get stackPid(): number {
    return this.attachment.reply.pid;
  }

  /** Counts up while the stack is alive and its loop turns. */
  get stackHeartbeat(): number {
    return this.attachment.segment.heartbeat;
  }

  // --- sessions ---

  createSession(proto: number): VclSession {
    const sh = this.freeHandles.pop() ?? this.sessions.length;
    const session = new VclSession(this, proto, sh);
    this.sessions[sh] = session;
    return session;
  }

  session(sh: number): VclSession | null {
    return this.sessions[sh] ?? null;
  }

  get sessionCount(): number {
    return this.sessions.length - this.freeHandles.length;
  }

  /** Asks the stack to listen at `session.local`; `Ready.in` or an error follows as an event when `bound` changes. */
  listen(session: VclSession, backlog: number): number {
    if (this.detached) return -E.NETDOWN;
    if (session.state > VclState.bound) return -E.INVAL;
    session.state = VclState.connecting;
    this.name(session);
    this.control.listen(session, backlog);
    return 0;
  }

  /** Asks the stack to connect to `session.remote`; `Ready.out` or an error follows as an event. */
  connect(session: VclSession): number {
    if (this.detached) return -E.NETDOWN;
    if (session.state > VclState.bound) return session.state === VclState.connecting ? -E.ALREADY : -E.ISCONN;
    session.state = VclState.connecting;
    // An earlier attempt may have failed.
    session.error = 0;
    session.readClosed = session.peerClosed = false;
    this.name(session);
    this.control.connect(session);
    return 0;
  }

  /** The next connection of a listener, or null. */
  accept(listener: VclSession): VclSession | null {
    const session = listener.acceptQueue.shift();
    if (session === undefined) return null;
    this.control.request(Request.accepted, session, 0, true);
    return session;
  }

  /** No more bytes will be written. */
  shutdownWrite(session: VclSession): number {
    if (session.state !== VclState.ready) return -E.NOTCONN;
    if (session.writeShut) return 0;
    session.writeShut = true;
    if (!session.peerClosed) this.control.request(Request.halfClose, session);
    return 0;
  }

  /** Forgets the session. With unread data, or `reset`, the peer sees a reset; else what was written is still delivered. */
  close(session: VclSession, reset = false): void {
    if (session.sh < 0) return;
    const { state } = session;
    session.state = VclState.closed;
    session.observer = null;
    for (const watcher of [...session.watchers]) watcher.sessionReady(session);
    session.watchers.length = 0;
    this.memory.forget(session);
    this.sessions[session.sh] = null;
    this.freeHandles.push(session.sh);
    session.sh = -1;
    this.byContext.delete(session.context);
    session.datagrams?.close();
    if (state === VclState.listening) {
      for (const waiting of session.acceptQueue) this.close(waiting, true);
      session.acceptQueue.length = 0;
      this.byStackIndex.delete(session.stackIndex);
      this.control.request(Request.unlisten, session);
    } else if (session.end !== null) {
      const unread = session.rx!.used > 0;
      this.control.request(Request.close, session, unread || reset ? MessageFlag.reset : 0);
    }
  }

  /** Leaves the stack: sessions are reset. Idempotent. */
  destroy(): void {
    process.removeListener('exit', this.onExit);
    if (!this.detached) this.leave(null);
    for (const watch of this.watches) watch.close();
    this.watches = [];
    this.memory.close();
  }

  // --- waiting ---

  /** Delivers events in an event loop from now on: Node's, or another of this thread. */
  useEventLoop(loop: EventLoop = NODE_LOOP): void {
    if (this.watches.length > 0 || this.detached) return;
    this.loop = loop;
    this.watches = [
      loop.watch(this.attachment.wakeFd, () => {
        clearEventfd(this.attachment.wakeFd);
        this.run();
      }),
      loop.watch(this.attachment.socket, () => this.readSocket()),
    ];
    if (this.keepAlive > 0) this.watches[0].ref();
    this.scheduleRun();
  }

  /** The loop stays alive while there are more `ref`s than `unref`s. */
  ref(): void {
    if (this.keepAlive++ === 0) this.watches[0]?.ref();
  }

  unref(): void {
    if (--this.keepAlive === 0) this.watches[0]?.unref();
  }

  /** Handles what has arrived; returns how much that was. */
  poll(): number {
    return this.drain(EVENTS_PER_POLL);
  }

  /** Blocks until something has been handled (true) or `timeoutMs` have passed (false; -1: no limit). */
  wait(timeoutMs: number): boolean {
    if (this.drain(EVENTS_PER_POLL) > 0) return true;
    if (timeoutMs === 0) {
      this.readSocket();
      return false;
    }
    return this.spinner.until(this.drainSome) || this.sleep(timeoutMs);
  }

  /** Looks again and again, for as long as that is cheaper than to sleep, whether `done`; queues are not served meanwhile. */
  spinUntil(done: () => boolean): boolean {
    return this.spinner.until(done);
  }

  /** As `wait`, asleep at once. */
  sleep(timeoutMs: number): boolean {
    if (!this.arm()) return this.drain(EVENTS_PER_POLL) > 0;
    const { wakeFd, socket } = this.attachment;
    if (this.detached) return false;
    const ready = pollDescriptors([wakeFd, socket], timeoutMs);
    if ((ready & 1) !== 0) clearEventfd(wakeFd);
    if ((ready & 2) !== 0) this.readSocket();
    return this.drain(EVENTS_PER_POLL) > 0 || ready !== 0;
  }

  /** A session found no memory. */
  starved(session: VclSession): void {
    this.memory.starved(session);
  }

  /** A session has written. */
  noteWrite(): void {
    this.memory.noteWrite();
  }

  // --- queues ---

  private run(): void {
    this.runScheduled = false;
    let finished = false;
    try {
      let budget = this.loop.eventsPerRun;
      while (budget > 0) {
        const n = this.drain(budget);
        if (n === 0) break;
        budget -= n;
      }
      finished = budget > 0 && this.arm();
    } finally {
      // Also when a listener threw: what is left must not be lost.
      if (!finished && !this.detached) this.scheduleRun();
    }
  }

  private scheduleRun(): void {
    if (this.runScheduled) return;
    this.runScheduled = true;
    this.loop.schedule(this.runLater);
  }

  private drain(budget: number): number {
    if (this.detached) return 0;
    let n = 0;
    while (n < budget && this.control.take(this.incoming)) {
      n++;
      this.handleControl(this.incoming);
    }
    this.control.settle(n > 0);
    const ends = this.endList;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i];
      while (n < budget) {
        const event = end.fromPeer.takeIo();
        if (event < 0) break;
        n++;
        this.handleIo(end, event);
      }
      if (end.fromPeer.corrupted) this.failEnd(end);
    }
    return n;
  }

  private arm(): boolean {
    if (this.detached) return true;
    let empty = this.control.arm();
    for (let i = 0; i < this.endList.length; i++) {
      const { fromPeer } = this.endList[i];
      if (fromPeer.isArmed || fromPeer.corrupted) continue;
      empty = fromPeer.arm() && empty;
    }
    return empty;
  }

  private handleIo(end: SegmentEnd, event: number): void {
    const session = end.sessions[event >>> 2];
    if (session === undefined || session.state === VclState.closed) return;
    if ((event & 3) === IoEvent.data) {
      session.rx!.clearEvent();
      session.raise(Ready.in);
    } else session.raise(Ready.out);
  }

  private handleControl(message: Int32Array): void {
    switch (message[MessageWord.type]) {
      case Notice.accepted:
        this.onAccepted(message);
        return;
      case Notice.connected:
        this.onConnected(message);
        return;
      case Notice.bound:
        this.onBound(message);
        return;
      case Notice.deleteSegment: {
        const side = (message[MessageWord.flags] & MessageFlag.side) === 0 ? 0 : 1;
        const end =
          this.ends.get(segmentKey(message[MessageWord.segmentId], side)) ??
          this.receiveSegment(message[MessageWord.segmentId], side);
        if (end === null) return;
        end.deleted = true;
        this.releaseEnd(end);
        return;
      }
    }
    const session = this.byStackIndex.get(message[MessageWord.session]);
    if (session === undefined || session.stackGeneration !== message[MessageWord.generation]) return;
    switch (message[MessageWord.type]) {
      case Notice.halfClosed:
        session.readClosed = true;
        session.raise(Ready.in | Ready.rdhup);
        return;
      case Notice.disconnected:
        session.readClosed = true;
        session.peerClosed = true;
        session.raise(Ready.in | Ready.out | Ready.rdhup | Ready.hup);
        return;
      case Notice.reset:
        session.fail(E.CONNRESET);
        session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
        return;
      case Notice.cleanup: {
        const { end } = session;
        this.byStackIndex.delete(session.stackIndex);
        session.detach();
        if (end !== null) this.releaseEnd(end);
        return;
      }
    }
  }

  /** Gives the session the name that the stack's answer will carry. */
  private name(session: VclSession): void {
    session.context = this.nextContext;
    this.nextContext = (this.nextContext + 1) & 0x7fff_ffff;
    this.byContext.set(session.context, session);
  }

  private onBound(message: Int32Array): void {
    const session = this.byContext.get(message[MessageWord.context]);
    if (session === undefined || session.state !== VclState.connecting) {
      // Closed while the request was on its way.
      if (messageRetval(message) === 0) this.control.answer(Request.unlisten, message);
      return;
    }
    const code = messageRetval(message);
    if (code !== 0) {
      this.byContext.delete(session.context);
      session.state = VclState.bound;
      session.error = sessionErrno(code);
      session.raise(Ready.err);
      return;
    }
    session.stackIndex = message[MessageWord.session];
    session.stackGeneration = message[MessageWord.generation];
    this.byStackIndex.set(session.stackIndex, session);
    readLocal(message, session.local);
    session.state = VclState.listening;
    session.raise(0);
  }

  private onAccepted(message: Int32Array): void {
    const listener = this.byContext.get(message[MessageWord.context]);
    const end = this.segmentEnd(message);
    if (listener === undefined || listener.state !== VclState.listening || end === null) {
      this.control.answer(Request.close, message, MessageFlag.reset);
      this.orphan(message, end);
      return;
    }
    const session = this.createSession(messageProto(message));
    this.adopt(session, message, end);
    listener.acceptQueue.push(session);
    listener.raise(Ready.in);
    if (session.readable > 0) session.raise(Ready.in);
  }

  private onConnected(message: Int32Array): void {
    const session = this.byContext.get(message[MessageWord.context]);
    const code = messageRetval(message);
    if (session?.state === VclState.connecting) this.byContext.delete(session.context);
    if (code !== 0) {
      if (session === undefined || session.state !== VclState.connecting) return;
      session.state = VclState.bound;
      session.fail(sessionErrno(code));
      session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
      return;
    }
    const end = this.segmentEnd(message);
    if (session === undefined || session.state !== VclState.connecting || end === null) {
      this.control.answer(Request.close, message, MessageFlag.reset);
      this.orphan(message, end);
      if (session?.state === VclState.connecting) {
        session.fail(E.NOBUFS);
        session.raise(Ready.err);
      }
      return;
    }
    this.adopt(session, message, end);
    session.raise(session.readable > 0 ? Ready.in | Ready.out : Ready.out);
  }

  private adopt(session: VclSession, message: Int32Array, end: SegmentEnd): void {
    session.stackIndex = message[MessageWord.session];
    session.stackGeneration = message[MessageWord.generation];
    this.byStackIndex.set(session.stackIndex, session);
    readLocal(message, session.local);
    readRemote(message, session.remote);
    session.attach(end, message[MessageWord.slot]);
  }

  /** A session that nobody wants here any more still occupies its slot until the stack has cleaned it up. */
  private orphan(message: Int32Array, end: SegmentEnd | null): void {
    if (end === null) return;
    const session = new VclSession(this, messageProto(message), -1);
    this.adopt(session, message, end);
    session.state = VclState.closed;
  }

  private segmentEnd(message: Int32Array): SegmentEnd | null {
    const id = message[MessageWord.segmentId];
    const side = (message[MessageWord.flags] & MessageFlag.side) === 0 ? 0 : 1;
    const end = this.ends.get(segmentKey(id, side)) ?? this.receiveSegment(id, side);
    return end !== null && message[MessageWord.slot] >= 0 && message[MessageWord.slot] < end.segment.layout.slots ? end : null;
  }

  /** The descriptors of a segment were sent before the message that mentions it. */
  private receiveSegment(id: number, side: number): SegmentEnd | null {
    this.readSocket();
    return this.ends.get(segmentKey(id, side)) ?? null;
  }

  private readSocket(): void {
    while (!this.detached) {
      const received = receivePacket(this.attachment.socket);
      if (received.kind === 'again') return;
      if (received.kind !== 'packet') {
        this.leave(E.NETDOWN);
        return;
      }
      const message = decodeSapi(received.data);
      if (message?.type !== 'segment') {
        for (const fd of received.fds) closeDescriptor(fd);
        continue;
      }
      const end = SegmentEnd.attach(message.id, message.side, received.fds);
      if (typeof end === 'string') continue;
      this.ends.set(segmentKey(end.id, end.side), end);
      this.endList.push(end);
      if (this.watches.length > 0 && !end.fromPeer.arm()) this.scheduleRun();
    }
  }

  private releaseEnd(end: SegmentEnd): void {
    if (!end.deleted || end.inUse > 0) return;
    this.ends.delete(segmentKey(end.id, end.side));
    this.endList = this.endList.filter((other) => other !== end);
    end.close();
  }

  /** The peer has written nonsense into the queue of a segment: its sessions are over. */
  private failEnd(end: SegmentEnd): void {
    for (const session of end.sessions) {
      if (session === undefined || session.error !== 0 || session.state === VclState.closed) continue;
      session.fail(E.CONNRESET);
      session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
    }
  }

  /** Everything ends here: the stack has gone (`errno`) or this worker leaves (null). */
  private leave(errno: number | null): void {
    if (this.detached) return;
    // What the stack said before it went still counts.
    this.drain(Number.MAX_SAFE_INTEGER);
    this.detached = true;
    this.control.close();
    for (const watch of this.watches) watch.close();
    this.watches = [];
    const { socket, stackFd, wakeFd, segment } = this.attachment;
    for (const fd of [socket, stackFd, wakeFd]) closeDescriptor(fd);
    for (const session of this.sessions) {
      if (session === null) continue;
      session.fail(errno ?? E.CONNABORTED);
      session.state = session.state === VclState.listening ? VclState.bound : session.state;
    }
    const held = [...this.byStackIndex.values()];
    this.byStackIndex.clear();
    for (const session of this.sessions) if (session !== null) session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
    for (const session of held) session.detach();
    for (const end of this.endList) end.close();
    this.endList = [];
    this.ends.clear();
    segment.close();
    if (errno !== null) this.onDetached?.();
  }
}

function addWorkerMessage(ticket: WorkerTicket) {
  return { type: 'addWorker' as const, layoutVersion: LAYOUT_VERSION, appIndex: ticket.appIndex, token: ticket.token };
}
