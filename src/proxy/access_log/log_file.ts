/**
 * One log file (Envoy's AccessLogFileImpl): lines gather in a buffer and are written in one call.
 *
 * Several threads may write the same path: each has its own descriptor with O_APPEND and writes whole lines, so lines never mix.
 * On a pipe, where the kernel keeps only 4 KiB together, batches are cut at line ends. Trouble never reaches the data path: what
 * cannot be written is dropped and counted, except when a pipe is only full, then it waits in the buffer.
 *
 * A line is one flat string written into a preallocated Buffer: measured cheaper than copying its parts byte by byte, and than
 * gathering strings and encoding a whole batch (bench/stats/).
 */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { getSystemErrorMap } from 'node:util';
import type { Counter, Gauge } from '../../core/stats/stats.ts';
import { ConfigError } from '../config/error.ts';
import type { AccessLogFile } from './access_log.ts';

export interface LogFileStats {
  readonly writeBuffered: Counter;
  readonly writeCompleted: Counter;
  readonly writeFailed: Counter;
  readonly reopenFailed: Counter;
  readonly writeTotalBuffered: Gauge;
}

const PIPE_BUF = 4096;
const NEWLINE = 10;

export class LogFile implements AccessLogFile {
  private readonly path: string;
  private readonly flushSizeBytes: number;
  private readonly stats: LogFileStats;
  private readonly onFirstWrite: (file: LogFile) => void;
  private readonly standardStream: boolean;
  private fd: number;
  private pipe: boolean;
  private buffer: Buffer = Buffer.alloc(0);
  private used = 0;

  /** A terminal: somebody is watching. */
  readonly interactive: boolean;

  /** Throws ConfigError when the file cannot be opened. `onFirstWrite` runs when the buffer stops being empty. */
  constructor(path: string, flushSizeBytes: number, stats: LogFileStats, onFirstWrite: (file: LogFile) => void) {
    this.path = path;
    this.flushSizeBytes = flushSizeBytes;
    this.stats = stats;
    this.onFirstWrite = onFirstWrite;
    this.standardStream = path === '/dev/stdout' || path === '/dev/stderr';
    this.fd = this.open();
    this.pipe = isPipe(this.fd);
    this.interactive = isatty(this.fd);
  }

  write(text: string): void {
    const length = text.length;
    if (this.used + length > this.buffer.length && !this.makeRoom(length)) return;
    if (this.used === 0) this.onFirstWrite(this);
    this.used += this.buffer.write(text, this.used, length, 'latin1');
    this.stats.writeBuffered.inc();
    this.stats.writeTotalBuffered.add(length);
    if (this.used >= this.flushSizeBytes) this.flush();
  }

  flush(): void {
    if (this.used === 0) return;
    const before = this.used;
    const written = this.writeOut();
    if (written < before) this.buffer.copyWithin(0, written, before);
    this.used = before - written;
    this.stats.writeTotalBuffered.sub(written);
  }

  /** What is buffered goes to the old file. When the new one cannot be opened, the old one stays. */
  reopen(): void {
    this.flush();
    if (this.standardStream) return;
    try {
      const fd = this.open();
      closeSync(this.fd);
      this.fd = fd;
      this.pipe = isPipe(fd);
    } catch {
      this.stats.reopenFailed.inc();
    }
  }

  close(): void {
    this.flush();
    if (!this.standardStream) closeSync(this.fd);
  }

  private open(): number {
    if (this.standardStream) return this.path === '/dev/stdout' ? 1 : 2;
    try {
      return openSync(this.path, 'a', 0o644);
    } catch (error) {
      throw new ConfigError(`unable to open file '${this.path}': ${errorText(error)}`);
    }
  }

  /** Room for a line of this length. False: it has to be dropped. */
  private makeRoom(length: number): boolean {
    if (this.used > 0) this.flush();
    if (this.used + length <= this.buffer.length) return true;
    if (this.used > 0) {
      this.stats.writeFailed.inc();
      return false;
    }
    // Room for a batch and the line that completes it; more for one line that is longer than that.
    this.buffer = Buffer.allocUnsafeSlow(Math.max(this.flushSizeBytes + 16_384, length));
    return true;
  }

  /** Bytes that are done with: written, or given up. */
  private writeOut(): number {
    let at = 0;
    while (at < this.used) {
      const length = this.pipe ? this.linesLength(at) : this.used - at;
      try {
        at += writeSync(this.fd, this.buffer, at, length);
        this.stats.writeCompleted.inc();
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === 'EINTR') continue;
        if (code === 'EAGAIN') return at;
        this.stats.writeFailed.inc();
        return this.used;
      }
    }
    return at;
  }

  /** Length of the whole lines from `at` that a pipe takes in one piece; at least one line. */
  private linesLength(at: number): number {
    if (this.used - at <= PIPE_BUF) return this.used - at;
    const end = this.buffer.lastIndexOf(NEWLINE, at + PIPE_BUF - 1);
    if (end >= at) return end + 1 - at;
    const first = this.buffer.indexOf(NEWLINE, at);
    return (first < 0 || first >= this.used ? this.used : first + 1) - at;
  }
}

function isPipe(fd: number): boolean {
  try {
    return fstatSync(fd).isFIFO();
  } catch {
    return false;
  }
}

function errorText(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  const known = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1];
  return known === undefined ? message : known[0].toUpperCase() + known.slice(1);
}
