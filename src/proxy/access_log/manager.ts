/**
 * The log files of a thread by path (Envoy's AccessLogManagerImpl): each opened once, flushed when 64 KiB have gathered or the flush
 * interval is over, reopened after a rotation. `/dev/stdout` and `/dev/stderr` are this process's streams. A terminal is flushed
 * after 100 ms, so that whoever watches does not wait.
 */
import type { Timer } from '../../core/event/dispatcher.ts';
import type { Counter, Scope } from '../../core/stats/stats.ts';
import { Store } from '../../core/stats/store.ts';
import type { AccessLogFile, AccessLogManager } from './access_log.ts';
import { LogFile, type LogFileStats } from './log_file.ts';

export interface AccessLogManagerOptions {
  /** Such as `dispatcher.createTimer`. Without it only full buffers and `flush` write. */
  createTimer?: (callback: () => void) => Timer;
  /** `--file-flush-interval-msec`. */
  flushIntervalMs?: number;
  /** `--file-flush-min-size-kb`, in bytes. */
  flushSizeBytes?: number;
  /** For the `filesystem.` stats. */
  scope?: Scope;
}

const TERMINAL_INTERVAL_MS = 100;

export class AccessLogManagerImpl implements AccessLogManager {
  private readonly files = new Map<string, LogFile>();
  private readonly flushIntervalMs: number;
  private readonly flushSizeBytes: number;
  private readonly stats: LogFileStats;
  private readonly flushedByTimer: Counter;
  private readonly timer: Timer | null;
  private soon = false;

  constructor(options: AccessLogManagerOptions = {}) {
    this.flushIntervalMs = options.flushIntervalMs ?? 10_000;
    this.flushSizeBytes = options.flushSizeBytes ?? 65_536;
    const scope = (options.scope ?? new Store()).scope('filesystem.');
    this.stats = {
      writeBuffered: scope.counter('write_buffered'),
      writeCompleted: scope.counter('write_completed'),
      writeFailed: scope.counter('write_failed'),
      reopenFailed: scope.counter('reopen_failed'),
      writeTotalBuffered: scope.gauge('write_total_buffered'),
    };
    this.flushedByTimer = scope.counter('flushed_by_timer');
    this.timer = options.createTimer?.(() => this.onTimer()) ?? null;
  }

  /** Throws ConfigError when the file cannot be opened. */
  createAccessLog(path: string): AccessLogFile {
    let file = this.files.get(path);
    if (file === undefined) {
      file = new LogFile(path, this.flushSizeBytes, this.stats, this.armTimer);
      this.files.set(path, file);
    }
    return file;
  }

  reopen(): void {
    for (const file of this.files.values()) file.reopen();
  }

  flush(): void {
    for (const file of this.files.values()) file.flush();
  }

  /** At the end of the thread: writes what is left. Files created before are not to be used after it. */
  close(): void {
    this.timer?.disableTimer();
    for (const file of this.files.values()) file.close();
    this.files.clear();
  }

  private readonly armTimer = (file: LogFile): void => {
    if (this.timer === null) return;
    if (file.interactive && !this.soon) {
      this.soon = true;
      this.timer.enableTimer(Math.min(TERMINAL_INTERVAL_MS, this.flushIntervalMs));
    } else if (!this.timer.enabled) this.timer.enableTimer(this.flushIntervalMs);
  };

  private onTimer(): void {
    this.soon = false;
    this.flushedByTimer.inc();
    this.flush();
  }
}
