/**
 * One stack worker: the application sockets, the attached workers and their queues, and the session layer they feed. Runs in the thread
 * that makes it, inside Node's event loop, and uses no CPU while nobody asks for anything.
 *
 * One epoll descriptor holds everything: sockets level-triggered; the workers' doorbells edge-triggered, so that they need not be read.
 * A turn handles what is there, a bounded number of messages per worker, then arms the doorbells of the queues that are empty.
 */
import { randomBytes, randomFillSync, randomInt } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createDoorbell } from '../core/sys/doorbell.ts';
import { EPOLLET, EPOLLIN, EPOLLOUT, Epoll } from '../core/sys/epoll.ts';
import { createEventfd } from '../core/sys/eventfd.ts';
import { E, errno, SysError } from '../core/sys/libc.ts';
import {
  acceptSeqpacket,
  closeDescriptor,
  connectSeqpacket,
  listenSeqpacket,
  peerPid,
  receivePacket,
  sendPacket,
} from '../core/sys/unix_socket.ts';
import { UvPoll } from '../core/sys/uv_poll.ts';
import type { NetworkConfig } from './config/network_config.ts';
import { runCommand } from './ctl/commands.ts';
import { attachNetwork, type Network } from './link/network.ts';
import { Application, AppWorker } from './session/application.ts';
import { takeCryptoMessage } from './session/crypto_messages.ts';
import { SessionError, type SessionErrorName, sessionErrorText } from './session/errors.ts';
import { newMessage } from './session/messages.ts';
import { AppNamespace, type NamespaceConfig, validNamespaceId } from './session/namespace.ts';
import { type AddWorkerMessage, type AttachMessage, decodeSapi, encodeSapi, type SapiMessage } from './session/sapi.ts';
import { DEFAULT_SEGMENT_OPTIONS, SegmentManager, type SegmentOptions } from './session/segment_manager.ts';
import { SessionLayer } from './session/session_layer.ts';
import { MAX_FIFO_SIZE, MIN_FIFO_SIZE } from './svm/fifo_producer.ts';
import { LAYOUT_VERSION, SegmentKind } from './svm/layout.ts';
import { Segment } from './svm/segment.ts';
import { TlsTransport } from './tls/tls_transport.ts';

export interface HostStackOptions {
  /** Where the sockets are: `<runtimeDir>/app_ns_sockets/<namespace>` and `<runtimeDir>/cli.sock`. */
  runtimeDir: string;
  /** Besides `default`, which has no secret. */
  namespaces?: NamespaceConfig[];
  segments?: Partial<SegmentOptions>;
  /** Devices, addresses and routes; without, applications of this host talk to each other only. */
  network?: NetworkConfig;
  /** How long to look at the queues again before sleeping, in microseconds. Worth it only with a core to spare. */
  spinUs?: number;
  tls?: { handshakeTimeoutMs?: number };
}

const MESSAGES_PER_TURN = 512;
const ACCEPT_PAUSE_MS = 100;
const DEFERRED_RETRY_MS = 100;
const REPLY_PART = 8 * 1024;
/** More than a socket holds. */
const PACKETS_PER_READ = 4096;
const CONTROL_RING = 1024;
const IO_RING = 1024;

export class HostStack {
  readonly runtimeDir: string;
  readonly generation = randomInt(1, 0x7fff_ffff);
  readonly startedAtMs = Date.now();
  readonly layer: SessionLayer;
  readonly segments: SegmentManager;
  readonly namespaces = new Map<string, AppNamespace>();
  readonly applications = new Map<number, Application>();
  network: Network | null = null;
  tls: TlsTransport | null = null;
  private readonly epoll = new Epoll();
  private readonly poll: UvPoll;
  private readonly handlers = new Map<number, () => void>();
  private readonly descriptors = new Set<number>();
  private readonly paths: string[] = [];
  private readonly workers = new Map<number, AppWorker>();
  private readonly active = new Set<AppWorker>();
  /** Workers that have written nonsense into a queue. */
  private readonly damaged = new Set<AppWorker>();
  private readonly handlerIds = new Map<AppWorker, [number, number]>();
  private readonly heartbeat: NodeJS.Timeout;
  private readonly message = newMessage();
  private readonly nestedMessage = newMessage();
  private nested = false;
  private readonly spinNs: number;
  private nextHandler = 1;
  private nextApp = 1;
  private nextWorker = 1;
  private turnScheduled = false;
  private deferredTimer: NodeJS.Timeout | null = null;
  private closed = false;

  /** Starts to listen. Throws SysError; EADDRINUSE when another stack lives in that directory. */
  constructor(options: HostStackOptions) {
    this.runtimeDir = options.runtimeDir;
    this.spinNs = (options.spinUs ?? 0) * 1000;
    // Who says how large segments are means the first one, too.
    const first = options.segments?.slots === undefined ? DEFAULT_SEGMENT_OPTIONS.first : null;
    this.segments = new SegmentManager({ ...DEFAULT_SEGMENT_OPTIONS, first, ...options.segments }, this.generation);
    this.layer = new SessionLayer(this.segments, this.applications, (worker) => this.drainNested(worker));
    mkdirSync(join(this.runtimeDir, 'app_ns_sockets'), { recursive: true });
    this.poll = new UvPoll(this.epoll.fd, () => this.turn());
    this.heartbeat = setInterval(() => this.beat(), 1000);
    this.heartbeat.unref();
    try {
      this.listen(join(this.runtimeDir, 'cli.sock'), (fd) => this.commandConnection(fd));
      for (const config of [{ id: 'default' }, ...(options.namespaces ?? [])]) this.addNamespace(config);
      if (options.network !== undefined)
        this.network = attachNetwork(this.layer, { ...options.network, random32: secureRandom32() });
    } catch (error) {
      this.close();
      throw error;
    }
    this.tls = new TlsTransport({ host: this.layer, below: this.network?.tcpFor, ...options.tls });
    this.layer.registerTransport(this.tls);
  }

  /** Where applications of a namespace attach. */
  socketPath(namespace = 'default'): string {
    return join(this.runtimeDir, 'app_ns_sockets', namespace);
  }

  /** Adds a namespace and its socket. Returns an error text when it cannot be. */
  addNamespace(config: NamespaceConfig): string | null {
    if (!validNamespaceId(config.id)) return `invalid namespace id '${config.id}'`;
    if (this.namespaces.has(config.id)) return `namespace '${config.id}' exists`;
    const namespace = new AppNamespace(config);
    this.listen(this.socketPath(config.id), (fd) => this.appConnection(fd, namespace));
    this.namespaces.set(config.id, namespace);
    return null;
  }

  /** Detaches an application as if it had died. */
  detachApplication(application: Application): void {
    for (const worker of [...application.workers]) this.detach(worker);
  }

  /** Handles what applications have sent lazily, so that what is shown is up to date. */
  settle(): void {
    for (const worker of this.workers.values()) this.drain(worker, MESSAGES_PER_TURN);
  }

  /** Detaches everyone, removes the sockets and lets go of the event loop. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.heartbeat);
    if (this.deferredTimer !== null) clearTimeout(this.deferredTimer);
    for (const worker of [...this.workers.values()]) this.detach(worker);
    // Resets of what has just been detached go out first.
    this.tls?.dispose();
    this.network?.turn();
    this.network?.close();
    this.poll.close();
    for (const fd of this.descriptors) closeDescriptor(fd);
    this.epoll.close();
    for (const path of this.paths) rmSync(path, { force: true });
    this.segments.close();
  }

  private turn(): void {
    if (this.closed) return;
    this.turnScheduled = false;
    const n = this.epoll.wait(0);
    for (let i = 0; i < n; i++) this.handlers.get(this.epoll.dataAt(i))?.();
    if (this.spinNs > 0) this.spin();
    for (const worker of this.active) {
      this.active.delete(worker);
      this.serve(worker);
    }
    if (this.active.size > 0) this.scheduleTurn();
    // Room in a backlog is told at once; this is for what is not, and for those that have waited too long.
    if (this.layer.hasDeferred) this.deferredTimer ??= setTimeout(() => this.retryDeferred(), DEFERRED_RETRY_MS);
  }

  private retryDeferred(): void {
    this.deferredTimer = null;
    for (const worker of this.workers.values()) this.active.add(worker);
    this.turn();
    this.layer.retryDeferred(performance.now());
  }

  private scheduleTurn(): void {
    if (this.turnScheduled) return;
    this.turnScheduled = true;
    setImmediate(() => this.turn());
  }

  /** Serves the workers that have just been active without letting them ring, until they have been quiet for the spin time. */
  private spin(): void {
    let until = process.hrtime.bigint() + BigInt(this.spinNs);
    for (;;) {
      let busy = false;
      for (const worker of this.active) busy = this.drain(worker, MESSAGES_PER_TURN) > 0 || busy;
      const now = process.hrtime.bigint();
      if (busy) until = now + BigInt(this.spinNs);
      else if (now > until) return;
    }
  }

  private serve(worker: AppWorker): void {
    if (worker.detached) return;
    this.drain(worker, MESSAGES_PER_TURN);
    if (worker.congested) worker.flush();
    if (worker.fromApp.corrupted || worker.beyondHelp || this.damaged.delete(worker)) this.detach(worker);
    else if (!worker.detached && !this.arm(worker)) this.active.add(worker);
  }

  private arm(worker: AppWorker): boolean {
    const empty = worker.fromApp.arm();
    return (worker.stackEnds.length === 0 || this.layer.transportSessions.arm(worker)) && empty;
  }

  /** Drains a queue while a message of another (or the same) queue is being handled; false when it would be deeper than that. */
  private drainNested(worker: AppWorker): boolean {
    if (this.nested) return false;
    this.nested = true;
    this.drain(worker, MESSAGES_PER_TURN, this.nestedMessage);
    this.nested = false;
    return true;
  }

  private drain(worker: AppWorker, most: number, message = this.message): number {
    let n = 0;
    while (n < most && !worker.detached && worker.fromApp.takeControl(message)) {
      this.layer.handle(worker, message);
      n++;
    }
    if (worker.stackEnds.length > 0) {
      const events = this.layer.transportSessions.drain(worker);
      if (events < 0) this.damaged.add(worker);
      else n += events;
    }
    if (n > 0) worker.silent = false;
    if (n > 0 && worker.fromApp.control.takeWantRoom()) worker.ring();
    return n;
  }

  private beat(): void {
    for (const worker of this.workers.values()) {
      worker.segment.beat();
      worker.watchProgress();
    }
  }

  private listen(path: string, accept: (fd: number) => void): void {
    removeStaleSocket(path);
    const fd = listenSeqpacket(path);
    this.paths.push(path);
    const id = this.watch(fd, EPOLLIN, () => {
      for (let client = acceptSeqpacket(fd); client >= 0; client = acceptSeqpacket(fd)) accept(client);
      if (errno() !== E.MFILE) return;
      // No descriptor left: look away for a while, or the listener stays ready and the loop spins.
      this.epoll.modify(fd, 0, id);
      setTimeout(() => {
        if (!this.closed) this.epoll.modify(fd, EPOLLIN, id);
      }, ACCEPT_PAUSE_MS);
    });
  }

  private watch(fd: number, events: number, handler: () => void): number {
    const id = this.nextHandler++;
    this.handlers.set(id, handler);
    this.descriptors.add(fd);
    this.epoll.add(fd, events, id);
    return id;
  }

  private unwatch(fd: number, id: number): void {
    this.handlers.delete(id);
    this.descriptors.delete(fd);
    this.epoll.remove(fd);
  }

  private appConnection(fd: number, namespace: AppNamespace): void {
    this.watchApp(fd, namespace, null);
  }

  /** A worker for a process to come, at the other end of `fd`. */
  private makeHeir(fd: number, app: Application): AppWorker | null {
    // Anything else might not be a socket at all.
    if (peerPid(fd) === 0) {
      closeDescriptor(fd);
      return null;
    }
    const heir = this.watchApp(fd, app.namespace, app);
    if (heir !== null) heir.silent = true;
    return heir;
  }

  /** `app`: the worker is one of it already; null when it cannot be. */
  private watchApp(fd: number, namespace: AppNamespace, app: Application | null): AppWorker | null {
    let worker: AppWorker | null = null;
    const id = this.watch(fd, EPOLLIN, () => {
      const received = receivePacket(fd);
      if (received.kind === 'again') return;
      if (received.kind !== 'packet') {
        if (worker !== null) this.detach(worker);
        else {
          this.unwatch(fd, id);
          closeDescriptor(fd);
        }
        return;
      }
      const message = decodeSapi(received.data);
      if (worker === null && message?.type === 'attach') worker = this.attach(fd, id, namespace, message);
      else if (worker === null && message?.type === 'addWorker') worker = this.addWorker(fd, id, namespace, message);
      else if (worker !== null && message !== null) this.takeMessage(worker, message, received.fds);
      // Says that there is an answer to whoever waits for its other end.
      for (const extra of received.fds) closeDescriptor(extra);
    });
    if (app === null) return null;
    worker = this.startWorker(fd, id, app);
    if (worker === null) {
      this.unwatch(fd, id);
      closeDescriptor(fd);
    }
    return worker;
  }

  /** What is there now; that the worker has gone is noticed in its turn. */
  private readSocket(worker: AppWorker): void {
    let ended = false;
    for (let n = 0; n < PACKETS_PER_READ; n++) {
      const received = receivePacket(worker.socket);
      if (received.kind === 'closed' && !ended) {
        // A process that leaves without having read everything: what it has sent comes after the error.
        ended = true;
        continue;
      }
      if (received.kind !== 'packet') return;
      const message = decodeSapi(received.data);
      if (message !== null) this.takeMessage(worker, message, received.fds);
      for (const extra of received.fds) closeDescriptor(extra);
    }
  }

  private takeMessage(worker: AppWorker, message: SapiMessage, fds: number[]): void {
    if (message.type === 'heir' && fds.length > 0) worker.addHeirSocket(message.id, fds.shift()!);
    else if (message.type === 'unlisten') this.layer.unlistenUnattached(worker, message.session, message.generation);
    else takeCryptoMessage(worker, message, fds);
  }

  private attach(fd: number, handlerId: number, namespace: AppNamespace, message: AttachMessage): AppWorker | null {
    if (message.layoutVersion !== LAYOUT_VERSION) return refuseVersion(fd, message.layoutVersion);
    if (!namespace.admits(message.secret)) return refuse(fd, 'wrongSecret');
    const size = (bytes: number): number => Math.min(Math.max(Math.floor(bytes) || MIN_FIFO_SIZE, MIN_FIFO_SIZE), MAX_FIFO_SIZE);
    const options = {
      rxFifoSize: size(message.rxFifoSize),
      txFifoSize: size(message.txFifoSize),
      scopeLocal: message.scopeLocal,
      scopeGlobal: message.scopeGlobal,
    };
    const name = message.name.slice(0, 64);
    const application = new Application(this.nextApp++, name, namespace, options, randomBytes(16).toString('hex'));
    const worker = this.startWorker(fd, handlerId, application);
    if (worker === null) return refuse(fd, 'alloc');
    this.applications.set(application.index, application);
    namespace.applications++;
    return worker;
  }

  private addWorker(fd: number, handlerId: number, namespace: AppNamespace, message: AddWorkerMessage): AppWorker | null {
    if (message.layoutVersion !== LAYOUT_VERSION) return refuseVersion(fd, message.layoutVersion);
    const application = this.applications.get(message.appIndex);
    if (application === undefined || application.namespace !== namespace) return refuse(fd, 'noApp');
    if (application.token !== message.token) return refuse(fd, 'owner');
    return this.startWorker(fd, handlerId, application) ?? refuse(fd, 'alloc');
  }

  private startWorker(fd: number, handlerId: number, app: Application): AppWorker | null {
    const shape = {
      kind: SegmentKind.MessageQueue,
      slots: 0,
      arenaPages: 0,
      ioRingCapacity: IO_RING,
      controlRingCapacity: CONTROL_RING,
    };
    const made: number[] = [];
    let queue: { segment: Segment; fd: number };
    try {
      made.push(createEventfd());
      const { ringFd, hearFd } = createDoorbell();
      made.push(ringFd, hearFd);
      queue = Segment.create(`sluice-mq-${app.name}`, shape, this.generation);
    } catch (error) {
      for (const each of made) closeDescriptor(each);
      if (error instanceof SysError) return null;
      throw error;
    }
    const [stackFd, ringFd, hearFd] = made;
    const index = this.nextWorker++;
    const worker = new AppWorker({ index, app, pid: peerPid(fd), socket: fd, ringFd, stackFd, segment: queue.segment });
    const reply = {
      type: 'attached' as const,
      appIndex: app.index,
      workerIndex: index,
      token: app.token,
      generation: this.generation,
      pid: process.pid,
    };
    worker.readSocket = () => this.readSocket(worker);
    worker.makeHeir = (socket) => this.makeHeir(socket, app);
    worker.fromApp.arm();
    const sent = worker.sendFds(reply, [queue.fd, stackFd, hearFd]);
    for (const each of [queue.fd, hearFd]) closeDescriptor(each);
    const bellId = this.watch(stackFd, (EPOLLIN | EPOLLET) >>> 0, () => this.active.add(worker));
    this.handlerIds.set(worker, [handlerId, bellId]);
    this.workers.set(index, worker);
    app.workers.push(worker);
    if (!sent) this.detach(worker);
    return worker;
  }

  private detach(worker: AppWorker): void {
    if (worker.detached) return;
    // What it asked for before it left still counts: a close is not a reset.
    this.drain(worker, Number.MAX_SAFE_INTEGER);
    worker.detached = true;
    const [socketId, bellId] = this.handlerIds.get(worker)!;
    this.handlerIds.delete(worker);
    this.unwatch(worker.socket, socketId);
    this.unwatch(worker.stackFd, bellId);
    this.workers.delete(worker.index);
    this.active.delete(worker);
    this.layer.workerGone(worker);
    this.segments.workerGone(worker);
    worker.dispose();
    const { app } = worker;
    app.workers.splice(app.workers.indexOf(worker), 1);
    if (app.workers.length > 0) return;
    if (this.applications.delete(app.index)) app.namespace.applications--;
  }

  private commandConnection(fd: number): void {
    /** Parts of answers that the client has not taken yet. */
    const waiting: Buffer[] = [];
    const flush = (): void => {
      while (waiting.length > 0 && sendPacket(fd, waiting[0]) === null) waiting.shift();
      this.epoll.modify(fd, EPOLLIN | (waiting.length > 0 ? EPOLLOUT : 0), id);
    };
    const id = this.watch(fd, EPOLLIN, () => {
      if (waiting.length > 0) flush();
      const received = receivePacket(fd);
      if (received.kind === 'again') return;
      if (received.kind !== 'packet') {
        this.unwatch(fd, id);
        closeDescriptor(fd);
        return;
      }
      for (const extra of received.fds) closeDescriptor(extra);
      const message = decodeSapi(received.data);
      if (message === null || message.type !== 'command') return;
      const result = runCommand(this, message.command, message.json);
      const parts = splitText(result.text, REPLY_PART);
      // One question at a time: who asks again before the answer is there does not read it.
      if (waiting.length > 0) return;
      parts.forEach((text, i) => {
        waiting.push(encodeSapi({ type: 'reply', ok: result.ok, text, more: i + 1 < parts.length }));
      });
      flush();
    });
  }
}

/** 32 random bits per call, fetched in blocks. */
function secureRandom32(): () => number {
  const block = new Int32Array(1024);
  let next = block.length;
  return () => {
    if (next === block.length) {
      randomFillSync(block);
      next = 0;
    }
    return block[next++];
  };
}

function refuse(fd: number, error: SessionErrorName): null {
  const code = SessionError[error];
  sendPacket(fd, encodeSapi({ type: 'refused', code, reason: sessionErrorText(code) }));
  return null;
}

function refuseVersion(fd: number, version: number): null {
  const reason = `application has layout version ${version}, the stack has ${LAYOUT_VERSION}`;
  sendPacket(fd, encodeSapi({ type: 'refused', code: SessionError.version, reason }));
  return null;
}

function splitText(text: string, size: number): string[] {
  const parts: string[] = [];
  for (let at = 0; at < text.length || parts.length === 0; at += size) parts.push(text.slice(at, at + size));
  return parts;
}

/** A socket file whose stack is gone is removed; one that answers is somebody's. */
function removeStaleSocket(path: string): void {
  if (!existsSync(path)) return;
  try {
    closeDescriptor(connectSeqpacket(path));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    rmSync(path, { force: true });
    return;
  }
  throw new Error(`another stack is listening at ${path}`);
}
