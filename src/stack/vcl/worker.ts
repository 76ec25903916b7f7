/**
 * A VCL worker: one thread's attachment to the stack. Owns the message queues, the segments it shares with peers, and the sessions, and
 * turns what arrives in the queues into session events.
 *
 * Two ways to wait, which may be mixed: in an event loop (`useEventLoop`: the worker's eventfd is watched), or blocking the thread
 * (`wait`: spin for a while if asked to, then poll(2)). Doorbells are armed only before sleeping, so a busy worker costs its peers no
 * system calls; an idle one uses no CPU.
 */
import type { SlabWindows } from '../../core/buffer/slab_windows.ts';
import { E } from '../../core/sys/libc.ts';
import { closeDescriptor } from '../../core/sys/unix_socket.ts';
import { IoEvent, MessageFlag, newMessage, Request } from '../session/messages.ts';
import { TransportProto } from '../session/transport.ts';
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
import { type EventLoop, NODE_LOOP } from './event_loop.ts';
import { MemoryKeeper } from './memory_keeper.ts';
import { NoticeHandler } from './notices.ts';
import { SegmentEnds } from './segment_ends.ts';
import { Ready, VclSession, VclState } from './session.ts';
import { SessionTable } from './session_table.ts';
import type { SegmentEnd } from './shared_segment.ts';
import { ADAPTIVE_SPIN, Spinner } from './spinner.ts';
import { CertKeyPairs, TlsChannel } from './tls_options.ts';
import { withVclConfig } from './vcl_config.ts';
import { WakeSet } from './wake_set.ts';

/** Of calls that wait for themselves. */
const EVENTS_PER_POLL = 1024;
/** How long to sleep without looking whether the stack lives, and whether the thread is to end. */
const SLEEP_MS = 1000;
const DEFAULT_HEARTBEAT_TIMEOUT_MS = 10_000;

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
  private readonly table = new SessionTable();
  private readonly wake: WakeSet;
  private readonly ends: SegmentEnds;
  private readonly notices: NoticeHandler;
  private readonly memory: MemoryKeeper;
  private readonly tls: TlsChannel;
  readonly certKeyPairs = new CertKeyPairs();
  private readonly incoming = newMessage();
  private readonly spinner: Spinner;
  private readonly drainSome = (): boolean => this.drain(EVENTS_PER_POLL) > 0;
  private loop: EventLoop = NODE_LOOP;
  private runScheduled = false;
  private readonly runLater = (): void => this.run();
  private hungTimer: NodeJS.Timeout | null = null;
  /** Descriptors of the main thread outlive its JavaScript: without this the stack would hear of its end later. */
  private readonly onExit = (): void => {
    // As the kernel does with the sockets of a process that ends.
    for (const session of this.table.all) if (session !== null) this.close(session);
    this.destroy();
  };

  private constructor(attachment: Attachment, socketPath: string, options: Pick<AppOptions, 'spinUs' | 'heartbeatTimeoutMs'>) {
    const { reply } = attachment;
    const { spinUs = ADAPTIVE_SPIN, heartbeatTimeoutMs = DEFAULT_HEARTBEAT_TIMEOUT_MS } = options;
    this.attachment = attachment;
    this.appIndex = reply.appIndex;
    this.workerIndex = reply.workerIndex;
    this.generation = reply.generation;
    this.ticket = { socketPath, appIndex: reply.appIndex, token: reply.token, spinUs, heartbeatTimeoutMs };
    this.spinner = new Spinner(spinUs);
    this.control = new ControlChannel(attachment.segment, attachment.stackFd);
    this.wake = new WakeSet(attachment.bellFd);
    this.ends = new SegmentEnds(attachment.socket, this.wake, () => {
      if (this.wake.inEventLoop) this.scheduleRun();
    });
    this.tls = new TlsChannel(attachment.socket);
    this.notices = new NoticeHandler(this, this.table, this.ends, this.control);
    this.memory = new MemoryKeeper(this.table.all, () => this.ends.list);
    process.once('exit', this.onExit);
  }

  /** Attaches a new application; blocks, so the stack must run in another thread or process. */
  static attachBlocking(name: string, given: AppOptions = {}): VclWorker {
    const options = withVclConfig(given);
    const path = appSocketPath(options);
    return new VclWorker(attachBlocking(path, attachMessage(name, options), options.timeoutMs), path, options);
  }

  static async attach(name: string, given: AppOptions = {}): Promise<VclWorker> {
    const options = withVclConfig(given);
    const path = appSocketPath(options);
    return new VclWorker(await attachAsync(path, attachMessage(name, options), options.timeoutMs), path, options);
  }

  /** Makes this thread a further worker of an application. */
  static registerBlocking(ticket: WorkerTicket, timeoutMs?: number): VclWorker {
    return new VclWorker(attachBlocking(ticket.socketPath, addWorkerMessage(ticket), timeoutMs), ticket.socketPath, ticket);
  }

  static async register(ticket: WorkerTicket): Promise<VclWorker> {
    return new VclWorker(await attachAsync(ticket.socketPath, addWorkerMessage(ticket)), ticket.socketPath, ticket);
  }

  get stackPid(): number {
    return this.attachment.reply.pid;
  }

  /** Counts up while the stack is alive and its loop turns. */
  get stackHeartbeat(): number {
    return this.attachment.segment.heartbeat;
  }

  /** The stack's loop has not turned for so long that requests to it are not worth waiting for. Sessions with local peers go on. */
  get stackHung(): boolean {
    const { heartbeatTimeoutMs } = this.ticket;
    return !this.detached && heartbeatTimeoutMs > 0 && this.attachment.segment.silentSeconds * 1000 >= heartbeatTimeoutMs;
  }

  /** Sessions can be read by reference (`VclSession.lend`) from now on: those on segments that come later. */
  useWindows(windows: SlabWindows): void {
    this.ends.windows = windows;
  }

  // --- sessions ---

  createSession(proto: number): VclSession {
    const session = new VclSession(this, proto, this.table.nextHandle);
    this.table.add(session);
    return session;
  }

  session(sh: number): VclSession | null {
    return this.table.all[sh] ?? null;
  }

  get sessionCount(): number {
    return this.table.count;
  }

  /** Asks the stack to listen at `session.local`; an event follows when `state` changes. */
  listen(session: VclSession, backlog: number): number {
    if (this.detached) return -E.NETDOWN;
    if (session.state > VclState.bound) return -E.INVAL;
    if (this.stackHung) return -E.TIMEDOUT;
    const config = this.cryptoOf(session, 'listen');
    if (config < 0) return config;
    session.state = VclState.connecting;
    this.table.expectAnswer(session);
    this.control.listen(session, backlog, config);
    this.watchStack();
    return 0;
  }

  /** Asks the stack to connect to `session.remote`; `Ready.out` or an error follows as an event. */
  connect(session: VclSession): number {
    if (this.detached) return -E.NETDOWN;
    if (session.state > VclState.bound) return session.state === VclState.connecting ? -E.ALREADY : -E.ISCONN;
    if (this.stackHung) return -E.TIMEDOUT;
    const config = this.cryptoOf(session, 'connect');
    if (config < 0) return config;
    const name = config === 0 ? 0 : this.tls.nameId(session.serverName);
    if (name < 0) return name;
    session.state = VclState.connecting;
    // An earlier attempt may have failed.
    session.error = 0;
    session.readClosed = session.peerClosed = false;
    this.table.expectAnswer(session);
    this.control.connect(session, config, name);
    this.watchStack();
    return 0;
  }

  /** Tells the stack what a TLS session listens or connects with; 0 for others. */
  private cryptoOf(session: VclSession, use: 'listen' | 'connect'): number {
    if (session.proto !== TransportProto.tls) return 0;
    if (session.certKeyPair >= 0) session.crypto = this.certKeyPairs.get(session.certKeyPair, use);
    return session.crypto === null ? -E.INVAL : this.tls.idOf(session.crypto);
  }

  /** The next connection of a listener, or null. */
  accept(listener: VclSession): VclSession | null {
    const session = listener.acceptQueue.shift();
    if (session === undefined) return null;
    session.listener = listener;
    listener.accepted++;
    this.control.request(Request.accepted, session, 0, !listener.ringOnAccept);
    listener.ringOnAccept = false;
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

  /** For `attributes.ts`. Before there is a transport it does nothing. */
  setTransportAttribute(session: VclSession, number: number, value: number): void {
    if (session.hasTransport) this.control.attribute(session, number, value);
  }

  /** Forgets the session. With unread data, or `reset`, the peer sees a reset; else what was written is still delivered. */
  close(session: VclSession, reset = false): void {
    if (session.sh < 0) return;
    const { state } = session;
    session.state = VclState.closed;
    session.observer = null;
    if (session.listener !== null) session.listener.accepted--;
    for (const watcher of [...session.watchers]) watcher.sessionReady(session);
    session.watchers.length = 0;
    this.memory.forget(session);
    this.table.remove(session);
    session.datagrams?.close();
    session.endLoans();
    if (state === VclState.listening) {
      for (const waiting of session.acceptQueue) this.close(waiting, true);
      session.acceptQueue.length = 0;
      this.table.dropStackName(session);
      this.control.request(Request.unlisten, session);
    } else if (session.end !== null) {
      const unread = session.rx!.used > 0;
      this.control.request(Request.close, session, unread || reset ? MessageFlag.reset : 0);
    } else if (state === VclState.connecting) this.control.cancel(session);
  }

  /** Leaves the stack: sessions are reset. Idempotent. */
  destroy(): void {
    process.removeListener('exit', this.onExit);
    if (!this.detached) this.leave(null);
    this.memory.close();
  }

  // --- waiting ---

  /** Delivers events in an event loop from now on: Node's, or another of this thread. */
  useEventLoop(loop: EventLoop = NODE_LOOP): void {
    if (this.wake.inEventLoop || this.detached) return;
    if (this.wake.exposed) throw new Error('the events of this worker are waited for at its descriptor');
    this.loop = loop;
    this.wake.useEventLoop(loop, this.runLater);
    this.scheduleRun();
    this.watchStack();
  }

  /** The loop stays alive while there are more `ref`s than `unref`s. */
  ref(): void {
    this.wake.ref();
  }

  unref(): void {
    this.wake.unref();
  }

  /**
   * A descriptor for somebody else's epoll: readable when `poll` has something to do (VPP: `vppcom_mq_epoll_fd`). -EBUSY in an event loop.
   */
  exposeEvents(): number {
    if (this.detached) return -E.NETDOWN;
    if (this.wake.inEventLoop) return -E.BUSY;
    const fd = this.wake.expose();
    this.poll();
    return fd;
  }

  /** Something is ready that no peer will ring for: whoever waits for the descriptor is to look again. */
  moreToDo(): void {
    if (this.wake.exposed) this.wake.ringOwn();
  }

  /** Handles what has arrived; returns how much that was. */
  poll(): number {
    return this.wake.exposed ? this.pollExposed() : this.drain(EVENTS_PER_POLL);
  }

  /** Afterwards either all is handled and the bells are armed, or the descriptor is readable. */
  private pollExposed(): number {
    this.wake.wait(0);
    if (this.wake.stackGone) {
      this.leave(E.NETDOWN);
      return 1;
    }
    let n = 0;
    do n += this.drain(EVENTS_PER_POLL - n);
    while (n < EVENTS_PER_POLL && !this.arm());
    if (n >= EVENTS_PER_POLL) this.moreToDo();
    return n;
  }

  /** Blocks until something has been handled (true), or `timeoutMs` (-1: no limit) or a second have passed (false). */
  wait(timeoutMs: number): boolean {
    if (this.drain(EVENTS_PER_POLL) > 0) return true;
    return (timeoutMs !== 0 && this.spinner.until(this.drainSome)) || this.sleep(timeoutMs);
  }

  /** Looks again and again, for as long as that is cheaper than to sleep, whether `done`; queues are not served meanwhile. */
  spinUntil(done: () => boolean): boolean {
    return this.spinner.until(done);
  }

  /** As `wait`, asleep at once. */
  sleep(timeoutMs: number): boolean {
    if (!this.arm()) return this.drain(EVENTS_PER_POLL) > 0;
    if (this.detached) return false;
    const start = performance.now();
    const rung = this.wake.wait(timeoutMs < 0 ? SLEEP_MS : Math.min(timeoutMs, SLEEP_MS));
    if (rung) this.spinner.slept(performance.now() - start);
    // The event loop does not hear of this ring any more: it has to look, and to arm the doorbells again.
    if (this.wake.inEventLoop) this.scheduleRun();
    if (this.wake.stackGone) this.leave(E.NETDOWN);
    else if (!rung) this.failIfHung();
    return this.drain(EVENTS_PER_POLL) > 0 || rung;
  }

  /** Peers are not woken until `releaseBells`: once then, whatever there is for them. */
  holdBells(): void {
    const ends = this.ends.list;
    for (let i = 0; i < ends.length; i++) ends[i].toPeer.holdBell();
  }

  releaseBells(): void {
    const ends = this.ends.list;
    for (let i = 0; i < ends.length; i++) ends[i].toPeer.releaseBell();
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
    if (this.wake.stackGone) {
      this.leave(E.NETDOWN);
      return;
    }
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
      this.notices.handle(this.incoming);
    }
    this.control.settle(n > 0);
    const ends = this.ends.list;
    for (let i = 0; i < ends.length; i++) {
      const end = ends[i];
      while (n < budget) {
        const event = end.fromPeer.takeIo();
        if (event < 0) break;
        n++;
        handleIo(end, event);
      }
      if (!end.fromPeer.corrupted || end.deleted) continue;
      // The stack may have taken the memory back in this moment: it has said so before, and where the sessions go on.
      let said = false;
      for (; this.control.take(this.incoming); said = true) this.notices.handle(this.incoming);
      if (said) n++;
      else this.notices.failEnd(end);
    }
    return n;
  }

  private arm(): boolean {
    if (this.detached) return true;
    let empty = this.control.arm();
    const ends = this.ends.list;
    for (let i = 0; i < ends.length; i++) {
      const { fromPeer } = ends[i];
      if (fromPeer.isArmed || fromPeer.corrupted) continue;
      empty = fromPeer.arm() && empty;
    }
    return empty;
  }

  // --- a stack that hangs or goes ---

  /** While requests are on their way, looks every second whether the stack lives. (Blocking calls do so by themselves.) */
  private watchStack(): void {
    if (this.hungTimer !== null || !this.wake.inEventLoop || this.ticket.heartbeatTimeoutMs === 0) return;
    this.hungTimer = setTimeout(() => {
      this.hungTimer = null;
      this.failIfHung();
      if (this.requests().length > 0) this.watchStack();
    }, SLEEP_MS);
    this.hungTimer.unref();
  }

  private failIfHung(): void {
    if (!this.stackHung) return;
    for (const session of this.requests()) {
      this.table.answered(session);
      session.state = VclState.bound;
      session.fail(E.TIMEDOUT);
      session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
    }
  }

  private requests(): VclSession[] {
    return [...this.table.expecting].filter((session) => session.state === VclState.connecting);
  }

  /** Everything ends here: the stack has gone (`errno`) or this worker leaves (null). */
  private leave(errno: number | null): void {
    if (this.detached) return;
    // What the stack said before it went still counts.
    this.drain(Number.MAX_SAFE_INTEGER);
    this.detached = true;
    this.control.close();
    this.tls.close();
    this.wake.close();
    if (this.hungTimer !== null) clearTimeout(this.hungTimer);
    const { socket, stackFd, bellFd, segment } = this.attachment;
    for (const fd of [socket, stackFd, bellFd]) closeDescriptor(fd);
    for (const session of this.table.all) {
      if (session === null) continue;
      session.fail(errno ?? E.CONNABORTED);
      session.state = session.state === VclState.listening ? VclState.bound : session.state;
    }
    const held = this.table.takeStackNames();
    for (const session of this.table.all) {
      if (session !== null) session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
    }
    for (const session of held) session.detach();
    this.ends.close();
    segment.close();
    if (errno !== null) this.onDetached?.();
  }
}

function handleIo(end: SegmentEnd, event: number): void {
  const session = end.sessions[event >>> 2];
  if (session === undefined || session.state === VclState.closed) return;
  if ((event & 3) === IoEvent.data) {
    session.rx!.clearEvent();
    session.raise(Ready.in);
  } else session.raise(Ready.out);
}

function addWorkerMessage(ticket: WorkerTicket) {
  return { type: 'addWorker' as const, layoutVersion: LAYOUT_VERSION, appIndex: ticket.appIndex, token: ticket.token };
}
