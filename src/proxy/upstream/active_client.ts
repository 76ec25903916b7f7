/**
 * One connection of a pool: its state, its timers and what it counts (Envoy: ConnectionPool::ActiveClient).
 *
 * One timer object serves connecting and being idle. The idle timer is not moved for every request: it fires when the connection may
 * have been idle long enough, and looks.
 */
import type { Timer } from '../../core/event/dispatcher.ts';
import {
  type BytesSentListener,
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
} from '../network/connection.ts';
import type { ConnPoolBase } from './conn_pool_base.ts';
import type { Links } from './linked_list.ts';

export const ClientState = { Connecting: 0, Ready: 1, Busy: 2, Draining: 3, Closed: 4 } as const;
export type ClientState = (typeof ClientState)[keyof typeof ClientState];

export abstract class ActiveClient implements Links<ActiveClient>, ConnectionCallbacks, BytesSentListener {
  prev: ActiveClient | null = null;
  next: ActiveClient | null = null;
  state: ClientState = ClientState.Connecting;
  readonly connection: Connection;
  readonly pool: ConnPoolBase;
  /** A stream is on it. */
  active = false;
  /** The stream on it was cut short by the close. */
  incomplete = false;
  timedOut = false;
  connected = false;
  streams = 0;
  /** Streams it may still carry; -1: any number. */
  private remaining: number;
  createdMs: number;
  private idleSinceMs = 0;
  /** Guards connecting first, being idle later. */
  private readonly timer: Timer;
  private durationTimer: Timer | null = null;
  private rxBuffered = 0;
  private txBuffered = 0;

  constructor(pool: ConnPoolBase, connection: Connection, maxStreams: number) {
    this.pool = pool;
    this.connection = connection;
    this.remaining = maxStreams > 0 ? maxStreams : -1;
    this.createdMs = pool.dispatcher.nowMs;
    this.timer = pool.dispatcher.createTimer(() => this.onTimer());
    this.timer.enableTimer(pool.cluster.connectTimeoutMs);
    connection.setBufferLimits(pool.cluster.perConnectionBufferLimitBytes);
    connection.addConnectionCallbacks(this);
    connection.addBytesSentListener(this);
  }

  /** Counts a stream. True: it is the last one this connection may carry. */
  isLastStream(): boolean {
    this.streams++;
    return this.remaining > 0 && --this.remaining === 0;
  }

  /** Called when the connection is up, before any stream. */
  abstract onConnected(): void;
  /** Called when it is down, before the pool's books are put right: end the stream on it and set `incomplete`. */
  abstract onClosed(event: ConnectionEvent): void;
  /** After the pool's books: tell whoever borrowed the connection. */
  abstract afterClosed(event: ConnectionEvent): void;

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected) {
      this.connected = true;
      this.timer.disableTimer();
      this.pool.onClientConnected(this);
      return;
    }
    if (this.state === ClientState.Closed) return;
    this.timer.disableTimer();
    this.durationTimer?.disableTimer();
    this.onClosed(event);
    this.pool.onClientClosed(this, event);
    this.afterClosed(event);
  }

  close(): void {
    this.connection.close(ConnectionCloseType.NoFlush);
  }

  /** No stream is on it now. A timer that is still armed from an earlier idle time looks at `idleSinceMs` when it fires. */
  startIdle(): void {
    if (this.pool.idleTimeoutMs === 0) return;
    this.idleSinceMs = Math.floor(this.pool.dispatcher.nowMs);
    if (!this.timer.enabled) this.timer.enableTimer(this.pool.idleTimeoutMs);
  }

  startMaxDuration(maxMs: number): void {
    if (maxMs === 0) return;
    this.durationTimer = this.pool.dispatcher.createTimer(() => {
      this.pool.stats.upstreamCxMaxDurationReached.inc();
      if (this.active) this.pool.drainClient(this);
      else this.close();
    });
    this.durationTimer.enableTimer(maxMs);
  }

  /** Before the read buffer is read from: `length` are in it. */
  countReceived(length: number): void {
    this.pool.stats.upstreamCxRxBytesTotal.add(length - this.rxBuffered);
  }

  /** After: `length` are left. */
  countBuffered(length: number): void {
    if (length === this.rxBuffered || this.state === ClientState.Closed) return;
    this.pool.stats.upstreamCxRxBytesBuffered.add(length - this.rxBuffered);
    this.rxBuffered = length;
  }

  onBytesSent(bytes: number): void {
    this.pool.stats.upstreamCxTxBytesTotal.add(bytes);
    const pending = this.connection.state === 'closed' ? 0 : this.connection.writeBufferBytes;
    if (pending === this.txBuffered || this.state === ClientState.Closed) return;
    this.pool.stats.upstreamCxTxBytesBuffered.add(pending - this.txBuffered);
    this.txBuffered = pending;
  }

  releaseBufferedCounts(): void {
    if (this.rxBuffered !== 0) this.pool.stats.upstreamCxRxBytesBuffered.sub(this.rxBuffered);
    if (this.txBuffered !== 0) this.pool.stats.upstreamCxTxBytesBuffered.sub(this.txBuffered);
    this.rxBuffered = 0;
    this.txBuffered = 0;
  }

  private onTimer(): void {
    if (!this.connected) {
      this.timedOut = true;
      this.pool.stats.upstreamCxConnectTimeout.inc();
      this.close();
      return;
    }
    if (this.active || this.state !== ClientState.Ready) return;
    const left = this.idleSinceMs + this.pool.idleTimeoutMs - this.pool.dispatcher.nowMs;
    if (left > 0) {
      this.timer.enableTimer(left);
      return;
    }
    this.pool.stats.upstreamCxIdleTimeout.inc();
    this.close();
  }
}
