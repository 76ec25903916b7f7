/**
 * One log file (Envoy's AccessLogFileImpl): lines gather in a buffer and are written in one call.
 *
 * Several threads may write the same path: each has its own descriptor with O_APPEND and writes whole lines, so lines never mix.
 * On a pipe, where the kernel keeps only 4 KiB together, batches are cut at line ends. Trouble never reaches the data path: what
 * cannot be written is dropped and counted, except when a pipe is only full, then it waits in the buffer.
 *
 * A line is put together where it will be written from: header values are copied from where they were received, and no string is
 * made of them (bench/stats/).
 */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { getSystemErrorMap } from 'node:util';
import { LineBuffer } from '../../core/buffer/line_buffer.ts';
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
  readonly line = new LineBuffer();
  /** Bytes of whole lines. */
  private used = 0;
  /** A batch, and the line that completes it: more is not kept when the file takes nothing. */
  private readonly limitBytes: number;

  /** A terminal: somebody is watching. */
  readonly interactive: boolean;

  /** Throws ConfigError when the file cannot be opened. `onFirstWrite` runs when the buffer stops being empty. */
  constructor(path: string, flushSizeBytes: number, stats: LogFileStats, onFirstWrite: (file: LogFile) => void) {
    this.path = path;
    this.flushSizeBytes = flushSizeBytes;
    this.limitBytes = flushSizeBytes + 16_384;
    this.stats = stats;
    this.onFirstWrite = onFirstWrite;
    this.standardStream = path === '/dev/stdout' || path === '/dev/stderr';
    this.fd = this.open();
    this.pipe = isPipe(this.fd);
    this.interactive = isatty(this.fd);
  }

  endLine(): void {
    const { line, stats } = this;
    if (line.length > this.limitBytes && this.used > 0) {
      this.flush();
      if (this.used > 0) {
        // The reader of a pipe is slow.
        line.length = this.used;
        stats.writeFailed.inc();
        return;
      }
    }
    if (this.used === 0) this.onFirstWrite(this);
    stats.writeBuffered.inc();
    stats.writeTotalBuffered.add(line.length - this.used);
    this.used = line.length;
    if (this.used >= this.flushSizeBytes) this.flush();
  }

  /** Writes the lines that are whole. */
  flush(): void {
    if (this.used === 0) return;
    const written = this.writeOut();
    this.line.drain(written);
    this.used -= written;
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

  /** Bytes that are done with: written, or given up. */
  private writeOut(): number {
    let at = 0;
    while (at < this.used) {
      const length = this.pipe ? this.linesLength(at) : this.used - at;
      try {
        at += writeSync(this.fd, this.line.u8, at, length);
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
    const end = this.line.u8.lastIndexOf(NEWLINE, at + PIPE_BUF - 1);
    if (end >= at) return end + 1 - at;
    const first = this.line.u8.indexOf(NEWLINE, at);
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
