/**
 * The application log (not access logs): Envoy's levels, component names and line format, written whole lines at a time.
 *
 * Format operators (spdlog's, as Envoy's `--log-format`): %Y %m %d %T %e (time), %t (thread), %l (level), %n (component), %v (text), %_
 * (text with escaped line breaks), %j (text as the inside of a JSON string), %P (process id), %g %# (source file and line: empty here), %% . Levels are process-wide per thread; `setLevel` changes them at run time.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { threadId } from 'node:worker_threads';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warning', 'error', 'critical', 'off'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const DEFAULT_LOG_FORMAT = '[%Y-%m-%d %T.%e][%t][%l][%n] %v';

/** Components, as Envoy names them. */
export const LOG_COMPONENTS = [
  'admin',
  'assert',
  'client',
  'config',
  'conn_handler',
  'connection',
  'dns',
  'event',
  'file',
  'filter',
  'http',
  'io',
  'main',
  'misc',
  'pool',
  'router',
  'runtime',
  'secret',
  'stats',
  'tcp',
  'tls',
  'upstream',
  'udp',
  'vcl',
  'wasm',
] as const;

/** A level's name; `warn` counts as `warning`. Undefined when there is none such. */
export function parseLogLevel(text: string): LogLevel | undefined {
  const name = text === 'warn' ? 'warning' : text;
  return LOG_LEVELS.find((level) => level === name);
}

export interface LogSettings {
  level: LogLevel;
  components: Record<string, LogLevel>;
  format: string;
  /** Absent: standard error. */
  path?: string;
}

export class Logger {
  readonly name: string;
  private readonly sink: LogSink;

  constructor(name: string, sink: LogSink) {
    this.name = name;
    this.sink = sink;
  }

  get traceEnabled(): boolean {
    return this.sink.enabled(this.name, 0);
  }

  get debugEnabled(): boolean {
    return this.sink.enabled(this.name, 1);
  }

  trace(message: string): void {
    this.sink.log(this.name, 0, message);
  }

  debug(message: string): void {
    this.sink.log(this.name, 1, message);
  }

  info(message: string): void {
    this.sink.log(this.name, 2, message);
  }

  warn(message: string): void {
    this.sink.log(this.name, 3, message);
  }

  error(message: string): void {
    this.sink.log(this.name, 4, message);
  }

  critical(message: string): void {
    this.sink.log(this.name, 5, message);
  }
}

/** Where loggers of one thread write. */
export class LogSink {
  settings: LogSettings;
  private fd = 2;
  private readonly loggers = new Map<string, Logger>();

  constructor(settings: LogSettings) {
    this.settings = settings;
    this.reopen();
  }

  /** Opens `path` (again). Throws when it cannot be opened. */
  reopen(): void {
    if (this.settings.path === undefined) return;
    const old = this.fd;
    this.fd = openSync(this.settings.path, 'a');
    if (old !== 2) closeSync(old);
  }

  logger(name: string): Logger {
    let logger = this.loggers.get(name);
    if (logger === undefined) {
      logger = new Logger(name, this);
      this.loggers.set(name, logger);
    }
    return logger;
  }

  levelOf(name: string): LogLevel {
    return this.settings.components[name] ?? this.settings.level;
  }

  /** Sets every component (name undefined) or one. */
  setLevel(level: LogLevel, name?: string): void {
    if (name === undefined) {
      this.settings.level = level;
      this.settings.components = {};
    } else this.settings.components[name] = level;
  }

  enabled(name: string, level: number): boolean {
    return level >= LOG_LEVELS.indexOf(this.levelOf(name));
  }

  log(name: string, level: number, message: string): void {
    if (!this.enabled(name, level)) return;
    try {
      writeSync(this.fd, formatLine(this.settings.format, name, LOG_LEVELS[level], message));
    } catch {
      // A full disk or a closed pipe must not stop the proxy.
    }
  }
}

function formatLine(format: string, name: string, level: string, message: string): string {
  const now = new Date();
  const two = (n: number): string => String(n).padStart(2, '0');
  const body = format.replace(/%([%YmdTHMSetlnvjPg#_])/g, (_all, operator: string) => {
    switch (operator) {
      case 'Y':
        return String(now.getFullYear());
      case 'm':
        return two(now.getMonth() + 1);
      case 'd':
        return two(now.getDate());
      case 'H':
        return two(now.getHours());
      case 'M':
        return two(now.getMinutes());
      case 'S':
        return two(now.getSeconds());
      case 'T':
        return `${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;
      case 'e':
        return String(now.getMilliseconds()).padStart(3, '0');
      case 't':
        return String(threadId);
      case 'P':
        return String(process.pid);
      case 'l':
        return level;
      case 'n':
        return name;
      case 'v':
        return message;
      case '_':
        return message.replaceAll('\n', '\\n');
      case 'j':
        return JSON.stringify(message).slice(1, -1);
      case '%':
        return '%';
      default:
        return '';
    }
  });
  return `${body}\n`;
}
