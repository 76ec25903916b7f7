/** A connection as admin shows it: plain data that a worker sends to the main thread. */
import type { Connection } from './connection.ts';

export interface ConnectionStatus {
  readonly id: number;
  readonly worker: number;
  readonly side: 'downstream' | 'upstream';
  /** The listener or cluster. */
  readonly owner: string;
  /** `io_uring`, `epoll`, `vcl`. */
  readonly socketInterface: string;
  readonly local: string;
  readonly remote: string;
  readonly state: string;
}

export function connectionStatus(
  connection: Connection,
  worker: number,
  side: ConnectionStatus['side'],
  owner: string,
): ConnectionStatus {
  const connecting = connection.connecting;
  return {
    id: connection.id,
    worker,
    side,
    owner,
    socketInterface: connection.interfaceName,
    local: connecting ? '' : connection.localAddress.asString,
    remote: connection.remoteAddress.asString,
    state: connecting ? 'connecting' : connection.state,
  };
}
