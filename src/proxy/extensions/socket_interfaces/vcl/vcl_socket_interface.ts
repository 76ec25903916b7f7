/** The socket interface of one worker on the host stack. */
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import { E, SysError } from '../../../../core/sys/libc.ts';
import { TransportProto } from '../../../../stack/vcl/native.ts';
import { VclState as SessionState } from '../../../../stack/vcl/session.ts';
import type { ConnectOptions, IoHandle, ListenOptions, ListenSocket } from '../../../network/io_handle.ts';
import type { WorkerContext, WorkerSocketInterface } from '../../../network/socket_interfaces.ts';
import { toEndpoint } from './address.ts';
import { setSessionOptions } from './socket_options.ts';
import { vclStats } from './stats.ts';
import { VclListenSocket } from './vcl_listen_socket.ts';
import { VclSocket } from './vcl_socket.ts';
import { type VclState, VclThread } from './vcl_thread.ts';

export class VclSocketInterface implements WorkerSocketInterface {
  readonly name = 'vcl';
  private readonly thread: VclThread;

  constructor(context: WorkerContext, state: VclState | null) {
    this.thread = new VclThread(context.dispatcher, vclStats(context.scope), context.log, state);
  }

  listen(_dispatcher: Dispatcher, options: ListenOptions, onAccept: (handle: IoHandle) => void): ListenSocket {
    return new VclListenSocket(this.thread, options, onAccept);
  }

  createSocket(_dispatcher: Dispatcher, options: ConnectOptions): IoHandle {
    const worker = this.thread.worker();
    const session = worker.createSession(TransportProto.tcp);
    const refused = setSessionOptions(session, options.socketOptions);
    if (refused !== null) {
      worker.close(session);
      throw refused;
    }
    if (options.sourceAddress !== undefined) {
      if (!toEndpoint(options.sourceAddress, session.local)) {
        worker.close(session);
        throw new SysError('bind', E.OPNOTSUPP, options.sourceAddress.asString);
      }
      session.state = SessionState.bound;
    }
    return new VclSocket(this.thread, session);
  }

  onState(state: unknown): void {
    this.thread.onState(state as VclState);
  }

  close(): void {
    this.thread.close();
  }
}
