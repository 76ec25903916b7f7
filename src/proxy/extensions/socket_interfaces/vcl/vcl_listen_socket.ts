/**
 * A listener on the host stack. Each proxy worker is a worker of the same application and listens for itself; the stack gives accepts to
 * them in turn. After a restart of the stack it listens again at the same address.
 */
import type { SchedulableCallback, Timer } from '../../../../core/event/dispatcher.ts';
import { E, SysError } from '../../../../core/sys/libc.ts';
import { TransportProto } from '../../../../stack/vcl/native.ts';
import { Ready, type SessionObserver, type VclSession, VclState } from '../../../../stack/vcl/session.ts';
import type { VclWorker } from '../../../../stack/vcl/worker.ts';
import type { Address } from '../../../network/address.ts';
import type { IoHandle, ListenOptions, ListenSocket } from '../../../network/io_handle.ts';
import { fromEndpoint, toEndpoint } from './address.ts';
import { setSessionOptions } from './socket_options.ts';
import { VclSocket } from './vcl_socket.ts';
import type { Restartable, VclThread } from './vcl_thread.ts';

const MAX_ACCEPTS = 64;
const LISTEN_TIMEOUT_MS = 5000;
const RETRY_MS = 100;

export class VclListenSocket implements ListenSocket, SessionObserver, Restartable {
  localAddress: Address;
  private readonly thread: VclThread;
  private readonly options: ListenOptions;
  private readonly onAccept: (handle: IoHandle) => void;
  private session: VclSession | null = null;
  private accepting = false;
  private listening = false;
  private closed = false;
  /** The constructor waits by itself. */
  private starting = true;
  private readonly more: SchedulableCallback;
  private readonly retry: Timer;

  /** Blocks until the stack has answered. Throws SysError. */
  constructor(thread: VclThread, options: ListenOptions, onAccept: (handle: IoHandle) => void) {
    this.thread = thread;
    this.options = options;
    this.onAccept = onAccept;
    this.localAddress = options.address;
    this.more = thread.dispatcher.createSchedulableCallback(() => this.accept());
    this.retry = thread.dispatcher.createTimer(() => this.tryAgain());
    const worker = thread.worker();
    const session = this.open(worker);
    const deadline = performance.now() + LISTEN_TIMEOUT_MS;
    while (session.state === VclState.connecting && !worker.detached && performance.now() < deadline) worker.wait(50);
    if (session.state !== VclState.listening) {
      this.session = null;
      const error = session.error || (worker.detached ? E.NETDOWN : E.TIMEDOUT);
      worker.close(session);
      throw new SysError('listen', error, options.address.asString);
    }
    this.starting = false;
    this.onListening(session);
    thread.listeners.add(this);
  }

  setAccepting(enabled: boolean): void {
    if (this.closed || this.accepting === enabled) return;
    this.accepting = enabled;
    if (enabled) this.more.scheduleCallbackCurrentIteration();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.thread.listeners.delete(this);
    this.more.cancel();
    this.retry.disableTimer();
    this.drop();
  }

  restart(worker: VclWorker): void {
    this.retry.disableTimer();
    this.open(worker);
  }

  onSessionEvent(session: VclSession, events: number): void {
    if (session !== this.session || this.starting) return;
    if (!this.listening && session.state === VclState.listening) this.onListening(session);
    if ((events & Ready.err) !== 0 || session.error !== 0) this.onLost(session);
    else this.accept();
  }

  private open(worker: VclWorker): VclSession {
    const { options } = this;
    const session = worker.createSession(TransportProto.tcp);
    const known = toEndpoint(this.localAddress, session.local);
    // Accepted connections have them from their listener.
    const refused = known
      ? setSessionOptions(session, options.socketOptions)
      : new SysError('listen', E.OPNOTSUPP, options.address.asString);
    if (refused !== null) {
      worker.close(session);
      throw refused;
    }
    session.v6only = options.address.kind === 'ip' && options.address.v6only !== false;
    session.observer = this;
    this.session = session;
    worker.listen(session, options.backlog);
    return session;
  }

  private onListening(session: VclSession): void {
    this.listening = true;
    this.thread.stats.listeners_active.inc();
    if (this.localAddress.kind === 'ip') {
      const bound = fromEndpoint(session.local);
      this.localAddress = { ...bound, v6only: this.localAddress.v6only };
    }
  }

  private accept(): void {
    const { session } = this;
    if (session === null) return;
    for (let i = 0; i < MAX_ACCEPTS; i++) {
      if (!this.accepting || this.session !== session) return;
      const accepted = session.worker.accept(session);
      if (accepted === null) return;
      this.thread.stats.cx_accepted.inc();
      this.onAccept(new VclSocket(this.thread, accepted));
    }
    this.more.scheduleCallbackNextIteration();
  }

  /** The stack has gone (the thread restarts this), or refuses (somebody else has the address: it is tried again). */
  private onLost(session: VclSession): void {
    const refused = !session.worker.detached;
    if (!this.listening) this.thread.stats.listen_failed.inc();
    this.drop();
    if (refused) this.retry.enableTimer(RETRY_MS);
  }

  private tryAgain(): void {
    try {
      this.open(this.thread.worker());
    } catch (error) {
      // No stack at the moment: the thread restarts this listener when there is one.
      if (!(error instanceof SysError)) throw error;
    }
  }

  private drop(): void {
    const { session } = this;
    this.session = null;
    if (this.listening) this.thread.stats.listeners_active.dec();
    this.listening = false;
    if (session !== null) session.worker.close(session);
  }
}
