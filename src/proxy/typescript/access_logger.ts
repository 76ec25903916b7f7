/** The class that access loggers in TypeScript extend: one object per worker and place in the configuration. */
import type { Headers } from './headers_view.ts';
import type { Host } from './host_api.ts';
import type { StreamProperties } from './http_filter.ts';
import type { ConfigSchema } from './schema.ts';

/** One finished stream or connection; valid during `log` only. */
export interface LogEntry {
  /** Null for TCP, and what did not come. */
  readonly requestHeaders: Headers | null;
  readonly responseHeaders: Headers | null;
  readonly responseTrailers: Headers | null;
  readonly info: StreamProperties;
  /** `DownstreamEnd`, `TcpConnectionEnd` ... as `%ACCESS_LOG_TYPE%`. */
  readonly type: string;
}

export interface AccessLoggerInit<Config> {
  readonly config: Config;
  readonly host: Host<Config>;
}

export abstract class AccessLogger<Config = unknown> {
  readonly config: Config;
  readonly host: Host<Config>;

  constructor(init: AccessLoggerInit<Config>) {
    this.config = init.config;
    this.host = init.host;
  }

  abstract log(entry: LogEntry): void;
}

export interface AccessLoggerClass<Config = unknown> {
  new (init: AccessLoggerInit<Config>): AccessLogger<Config>;
  readonly schema?: ConfigSchema<Config>;
}
