/**
 * A listener with a real backlog: half-open connections up to `synBacklog`, established ones that wait for accept up to `acceptBacklog`.
 * When the first is full, SYN cookies; when the second is full, the handshake's last segment is not taken and the peer repeats it. Who
 * takes connections at once (`onAccept`) has a queue of its own, and says itself whether there is room in it (`mayAccept`).
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
  /** Beside `onAccept`: whether it would take a connection now. It may close the listener. */
  mayAccept?: (local: IpAddress, remote: IpAddress, remotePort: number) => boolean;
}

export class TcpListener {
  readonly tcp: Tcp;
  readonly address: IpAddress;
  readonly port: number;
  readonly fib: number;
  readonly acceptBacklog: number;
  readonly onAccept: ((connection: TcpConnection) => TcpApp | null) | null;
  readonly mayAccept: ((local: IpAddress, remote: IpAddress, remotePort: number) => boolean) | null;
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
    this.mayAccept = options.mayAccept ?? null;
  }

  /** The next established connection; null when none waits. */
  accept(): TcpConnection | null {
    const connection = this.queue.shift() ?? null;
    if (connection !== null) connection.listener = null;
    return connection;
  }

  /** There is room for an established connection with that peer, and the listener is still there. */
  hasRoom(local: IpAddress, remote: IpAddress, remotePort: number): boolean {
    if (this.onAccept === null) return this.queue.length < this.acceptBacklog;
    return this.mayAccept === null || (this.mayAccept(local, remote, remotePort) && !this.closed);
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

  mayEstablish(connection: TcpConnection): boolean {
    if (this.hasRoom(connection.local, connection.remote, connection.remotePort)) return true;
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
