/** A server connection under its listener's books (Envoy: ActiveTcpConnection): counted, timed, logged when it is gone. */
import type { DeferredDeletable } from '../../core/event/dispatcher.ts';
import type { AccessLog, FormatterContext } from '../access_log/access_log.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import { type Connection, type ConnectionCallbacks, ConnectionCloseType, ConnectionEvent } from './connection.ts';
import type { ActiveListener } from './listener_active.ts';
import type { Member, MemberList } from './member_list.ts';
import type { AcceptedSocket } from './server_connection.ts';

const NO_MESSAGE: FormatterContext = {
  requestHeaders: null,
  responseHeaders: null,
  responseTrailers: null,
  localReplyBody: '',
  accessLogType: 'NotSet',
};

/** Ends the stream info and writes it to the listener's access logs. */
export function emitListenerLogs(logs: readonly AccessLog[], info: StreamInfo, nowMs: number): void {
  if (info.endMonotonicMs < 0) info.endMonotonicMs = nowMs;
  for (const log of logs) log.log(NO_MESSAGE, info);
}

export class ActiveConnection implements ConnectionCallbacks, DeferredDeletable, Member {
  memberIndex = -1;
  readonly connection: Connection;
  private readonly listener: ActiveListener;
  private readonly siblings: MemberList<ActiveConnection>;
  private readonly logs: readonly AccessLog[];
  private readonly socket: AcceptedSocket;

  /** `siblings` are the connections of the same filter chain. */
  constructor(listener: ActiveListener, siblings: MemberList<ActiveConnection>, connection: Connection, socket: AcceptedSocket) {
    this.socket = socket;
    this.listener = listener;
    this.siblings = siblings;
    this.connection = connection;
    this.logs = listener.config.accessLogs;
    listener.stats.downstream_cx_total.inc();
    listener.stats.downstream_cx_active.inc();
    listener.stats.worker.downstream_cx_total.inc();
    listener.stats.worker.downstream_cx_active.inc();
    if (connection.state === 'closed') {
      // A filter closed it while it was being set up.
      listener.dispatcher.deferredDelete(this);
      return;
    }
    siblings.add(this);
    connection.addConnectionCallbacks(this);
  }

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected) return;
    this.connection.streamInfo.downstreamTransportFailureReason = this.connection.transportFailureReason;
    this.siblings.delete(this);
    this.listener.dispatcher.deferredDelete(this);
  }

  close(details: string): void {
    this.connection.close(ConnectionCloseType.NoFlush, details);
  }

  /** By now every filter has seen the end of the connection, so that the stream's info is complete. */
  deleteNow(): void {
    const { stats, dispatcher } = this.listener;
    emitListenerLogs(this.logs, this.connection.streamInfo, dispatcher.nowMs);
    this.socket.giveSlotBack();
    stats.downstream_cx_active.dec();
    stats.downstream_cx_destroy.inc();
    stats.worker.downstream_cx_active.dec();
    stats.downstream_cx_length_ms.recordValue(Math.max(0, dispatcher.nowMs - this.connection.streamInfo.startMonotonicMs));
    this.listener.onConnectionGone();
  }
}
