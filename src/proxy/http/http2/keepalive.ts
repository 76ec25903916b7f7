/**
 * `connection_keepalive` (Envoy: ConnectionImpl's keepalive timers): a PING every interval, and before the first stream after a while
 * without any; a connection whose answer is late is closed.
 */
import type { Dispatcher, Timer } from '../../../core/event/dispatcher.ts';
import type { Http2Connection } from './connection.ts';

export interface KeepaliveSettings {
  /** 0: none. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Share of the interval that is added at random, 0 to 1. */
  readonly jitter: number;
  /** A PING before a stream on a connection that was idle for so long; 0: none. */
  readonly idleIntervalMs: number;
}

const PAYLOAD_BYTES = 8;

export class Keepalive {
  private readonly dispatcher: Dispatcher;
  private readonly settings: KeepaliveSettings;
  private readonly onTimeout: () => void;
  private codec: Http2Connection | null = null;
  private readonly sendTimer: Timer;
  private readonly ackTimer: Timer;
  private lastActivityMs: number;
  private count = 0;

  constructor(dispatcher: Dispatcher, settings: KeepaliveSettings, onTimeout: () => void) {
    this.dispatcher = dispatcher;
    this.settings = settings;
    this.onTimeout = onTimeout;
    this.sendTimer = dispatcher.createTimer(() => this.send());
    this.ackTimer = dispatcher.createTimer(() => this.onLate());
    this.lastActivityMs = dispatcher.nowMs;
  }

  /** `codec` exists: PINGs begin. */
  start(codec: Http2Connection): void {
    this.codec = codec;
    this.armInterval();
  }

  /** A stream begins. */
  onStream(): void {
    const idle = this.settings.idleIntervalMs;
    const now = this.dispatcher.nowMs;
    if (idle > 0 && now - this.lastActivityMs > idle && !this.ackTimer.enabled) this.send();
    this.lastActivityMs = now;
  }

  onData(): void {
    this.lastActivityMs = this.dispatcher.nowMs;
  }

  onAck(): void {
    this.ackTimer.disableTimer();
    this.armInterval();
  }

  stop(): void {
    this.sendTimer.disableTimer();
    this.ackTimer.disableTimer();
    this.codec = null;
  }

  private armInterval(): void {
    const { intervalMs, jitter } = this.settings;
    if (intervalMs > 0) this.sendTimer.enableTimer(intervalMs * (1 + jitter * Math.random()));
  }

  private send(): void {
    const codec = this.codec;
    if (codec === null) return;
    this.sendTimer.disableTimer();
    const payload = new Uint8Array(PAYLOAD_BYTES);
    new DataView(payload.buffer).setUint32(4, ++this.count);
    this.ackTimer.enableTimer(this.settings.timeoutMs);
    codec.sendPing(payload);
  }

  private onLate(): void {
    const codec = this.codec;
    if (codec === null) return;
    codec.stats.keepaliveTimeout.inc();
    this.stop();
    this.onTimeout();
  }
}
