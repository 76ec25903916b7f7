/**
 * A listener with a real backlog: half-open connections up to `synBacklog`, established ones that wait for accept up to `acceptBacklog`.
 * When the first is full, SYN cookies; when the second is full, the handshake's last segment is not taken and the peer repeats it.
 */
import type { IpAddress } from '../ip/address.ts';
import type { TcpApp, TcpConnection } from './connection.ts';
import type { Tcp } from './tcp.ts';

export interface TcpListenOptions {
  /** Unspecified: every local address. */
  address: IpAddress;
  port: number;
  /** Forwarding table of the connections it takes. */
  fib?: number;
  backlog?: number;
  /** Takes each connection at once; its result becomes the connection's application. Without it, poll `accept`. */
  onAccept?: (connection: TcpConnection) => TcpApp | null;
}

export class TcpListener {
  readonly tcp: Tcp;
  readonly address: IpAddress;
  readonly port: number;
  readonly fib: number;
  readonly acceptBacklog: number;
  readonly onAccept: ((connection: TcpConnection) => TcpApp | null) | null;
  readonly queue: TcpConnection[] = [];
  /** Connections in SYN-RECEIVED. */
  halfOpen = 0;
  closed = false;

  constructor(tcp: Tcp, options: TcpListenOptions) {
    this.tcp = tcp;
    this.address = options.address;
    this.port = options.port;
    this.fib = options.fib ?? 0;
    this.acceptBacklog = options.backlog ?? tcp.config.acceptBacklog;
    this.onAccept = options.onAccept ?? null;
  }

  /** The next established connection; null when none waits. */
  accept(): TcpConnection | null {
    const connection = this.queue.shift() ?? null;
    if (connection !== null) connection.listener = null;
    return connection;
  }

  get acceptFull(): boolean {
    return this.onAccept === null && this.queue.length >= this.acceptBacklog;
  }

  /** Stops listening; connections that nobody accepted are reset. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.tcp.removeListener(this);
    for (const connection of this.queue.splice(0)) {
      connection.listener = null;
      connection.abort();
    }
  }

  mayEstablish(_connection: TcpConnection): boolean {
    if (!this.acceptFull) return true;
    this.tcp.stats.listenOverflows++;
    return false;
  }

  onEstablished(connection: TcpConnection): void {
    this.halfOpen--;
    if (this.onAccept === null) {
      this.queue.push(connection);
      return;
    }
    connection.listener = null;
    connection.app = this.onAccept(connection);
  }

  /** A connection of this listener ended before it was accepted. */
  onGone(connection: TcpConnection, wasHalfOpen: boolean): void {
    if (wasHalfOpen) this.halfOpen--;
    else {
      const at = this.queue.indexOf(connection);
      if (at >= 0) this.queue.splice(at, 1);
    }
  }
}
