/**
 * The main thread's part of the VCL socket interface: attaches the proxy as an application (this thread is its first worker, as in
 * Envoy), to a stack that runs already or to one of its own, and attaches again when the stack was restarted.
 */
import { E, SysError } from '../../../../core/sys/libc.ts';
import { type AppOptions, AttachError } from '../../../../stack/vcl/attach.ts';
import { type EmbeddedStack, startEmbeddedStack } from '../../../../stack/vcl/embedded.ts';
import { TransportProto } from '../../../../stack/vcl/native.ts';
import { VclState as SessionState } from '../../../../stack/vcl/session.ts';
import { VclWorker } from '../../../../stack/vcl/worker.ts';
import type { Address } from '../../../network/address.ts';
import type { ListenOptions } from '../../../network/io_handle.ts';
import type { MainContext, MainSocketInterface } from '../../../network/socket_interfaces.ts';
import { fromEndpoint, toEndpoint } from './address.ts';
import { type VclStats, vclStats } from './stats.ts';
import type { VclState } from './vcl_thread.ts';

const RETRY_MS = 20;
const MAX_RETRY_MS = 1000;
/** The stack's heart beats once a second. */
const STALL_CHECK_MS = 3000;

export interface VclSettings {
  readonly applicationName: string;
  readonly attach: AppOptions;
  /** Run a stack in this process; the text of its configuration. */
  readonly embedded: { readonly config: string | null } | null;
}

export class VclMain implements MainSocketInterface {
  private readonly settings: VclSettings;
  private readonly context: MainContext;
  private readonly stats: VclStats;
  private options: AppOptions;
  private stack: EmbeddedStack | null = null;
  private worker: VclWorker | null = null;
  private timer: NodeJS.Timeout | null = null;
  private readonly stallTimer: NodeJS.Timeout;
  private beat = -1;
  private retryMs = RETRY_MS;
  private closed = false;

  constructor(settings: VclSettings, context: MainContext) {
    this.settings = settings;
    this.context = context;
    this.options = settings.attach;
    this.stats = vclStats(context.scope);
    this.stallTimer = setInterval(() => this.checkStall(), STALL_CHECK_MS);
    this.stallTimer.unref();
  }

  async start(): Promise<void> {
    if (this.settings.embedded !== null) {
      this.stack = await startEmbeddedStack(this.settings.embedded.config, this.options.runtimeDir);
      this.options = { ...this.options, runtimeDir: this.stack.runtimeDir };
    }
    try {
      this.adopt(await VclWorker.attach(this.settings.applicationName, this.options));
    } catch (error) {
      await this.stack?.close();
      if (!(error instanceof SysError || error instanceof AttachError)) throw error;
      throw new Error(`no host stack to attach to: ${error.message}; start one (sluice stack) or embed one (embedded_stack)`, {
        cause: error,
      });
    }
  }

  get state(): VclState | null {
    return this.worker === null ? null : { ticket: this.worker.ticket };
  }

  async reserve(options: ListenOptions): Promise<Address> {
    const { worker } = this;
    if (worker === null) throw new SysError('listen', E.NETDOWN, options.address.asString);
    const session = worker.createSession(TransportProto.tcp);
    try {
      if (!toEndpoint(options.address, session.local)) throw new SysError('listen', E.OPNOTSUPP);
      session.v6only = options.address.kind === 'ip' && options.address.v6only !== false;
      worker.ref();
      await new Promise<void>((resolve) => {
        session.observer = { onSessionEvent: () => resolve() };
        worker.listen(session, options.backlog);
      });
      if (session.state !== SessionState.listening) throw new SysError('listen', session.error || E.PROTO);
      return fromEndpoint(session.local);
    } finally {
      worker.unref();
      worker.close(session);
    }
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.stallTimer);
    if (this.timer !== null) clearTimeout(this.timer);
    this.worker?.destroy();
    await this.stack?.close();
  }

  private adopt(worker: VclWorker): void {
    this.worker = worker;
    this.retryMs = RETRY_MS;
    this.stats.attached.inc();
    this.stats.workers_attached.inc();
    worker.onDetached = () => this.onDetached(worker);
    worker.useEventLoop();
  }

  private onDetached(worker: VclWorker): void {
    this.worker = null;
    this.stats.detached.inc();
    this.stats.workers_attached.dec();
    worker.destroy();
    if (this.closed) return;
    this.context.log.warn('the host stack has gone: attaching again when it is back');
    this.attachLater();
  }

  private attachLater(): void {
    this.timer = setTimeout(() => void this.attachAgain(), this.retryMs);
    this.timer.unref();
    this.retryMs = Math.min(this.retryMs * 2, MAX_RETRY_MS);
  }

  private async attachAgain(): Promise<void> {
    try {
      const worker = await VclWorker.attach(this.settings.applicationName, this.options);
      if (this.closed) {
        worker.destroy();
        return;
      }
      this.adopt(worker);
      this.context.log.info('attached to the host stack again');
      this.context.post(this.state);
    } catch (error) {
      if (!(error instanceof SysError || error instanceof AttachError)) throw error;
      this.stats.attach_failed.inc();
      if (!this.closed) this.attachLater();
    }
  }

  /** A stack that hangs cannot be told from one that has nothing to do, but its heart stops. */
  private checkStall(): void {
    const beat = this.worker?.stackHeartbeat ?? -1;
    const stalled = this.worker !== null && beat === this.beat;
    this.beat = beat;
    if (stalled !== (this.stats.stack_stalled.value !== 0)) {
      this.stats.stack_stalled.set(stalled ? 1 : 0);
      if (stalled) this.context.log.warn(`the host stack (process ${this.worker!.stackPid}) does not move`);
    }
  }
}
