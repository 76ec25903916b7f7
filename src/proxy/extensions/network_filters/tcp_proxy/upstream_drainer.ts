/** An upstream connection whose client is gone, kept until what the client sent is flushed (Envoy: TcpProxy::Drainer). */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Timer } from '../../../../core/event/dispatcher.ts';
import { ConnectionCloseType, ConnectionEvent } from '../../../network/connection.ts';
import type { TcpConnectionData } from '../../../upstream/upstream.ts';
import type { TcpProxySettings } from './settings.ts';

export class UpstreamDrainer {
  private readonly upstream: TcpConnectionData;
  private readonly settings: TcpProxySettings;
  private idleTimer: Timer | null = null;
  private lastActivityMs = 0;
  private draining = false;
  private closed = false;

  constructor(upstream: TcpConnectionData, settings: TcpProxySettings) {
    this.upstream = upstream;
    this.settings = settings;
  }

  /** After the connection was told to flush and close: when that takes longer, waits for it. */
  start(): void {
    if (this.closed) return;
    const { stats, idleTimeoutMs } = this.settings;
    const { dispatcher } = this.upstream.connection;
    this.draining = true;
    stats.upstreamFlushTotal.inc();
    stats.upstreamFlushActive.inc();
    this.lastActivityMs = dispatcher.nowMs;
    if (idleTimeoutMs === 0) return;
    this.idleTimer = dispatcher.createTimer(() => this.onIdleTimer());
    this.idleTimer.enableTimer(idleTimeoutMs);
  }

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected || this.closed) return;
    this.closed = true;
    this.idleTimer?.disableTimer();
    if (this.draining) this.settings.stats.upstreamFlushActive.dec();
    this.upstream.release();
  }

  /** There is nobody to give it to: what a kernel does for a socket that was shut for reading. */
  onUpstreamData(data: SliceBuffer): void {
    if (data.length === 0) return;
    data.clear();
    this.cancel();
  }

  onActivity(): void {
    this.lastActivityMs = this.upstream.connection.dispatcher.nowMs;
  }

  private onIdleTimer(): void {
    const left = this.lastActivityMs + this.settings.idleTimeoutMs - this.upstream.connection.dispatcher.nowMs;
    if (left > 0) {
      this.idleTimer?.enableTimer(left);
      return;
    }
    this.settings.stats.idleTimeout.inc();
    this.cancel();
  }

  private cancel(): void {
    this.upstream.connection.close(ConnectionCloseType.NoFlush);
  }
}
