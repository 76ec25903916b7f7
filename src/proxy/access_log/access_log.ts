/** Access logs (Envoy: envoy/access_log). Formatters and loggers live beside this file and under `extensions/access_loggers`. */
import type { LineBuffer } from '../../core/buffer/line_buffer.ts';
import type { HeaderMap } from '../http/header_map.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';

export type AccessLogType =
  | 'NotSet'
  | 'TcpUpstreamConnected'
  | 'TcpPeriodic'
  | 'TcpConnectionEnd'
  | 'DownstreamStart'
  | 'DownstreamPeriodic'
  | 'DownstreamEnd'
  | 'UpstreamPoolReady'
  | 'UpstreamPeriodic'
  | 'UpstreamEnd'
  | 'DownstreamTunnelSuccessfullyEstablished';

/** Everything a formatter may look at. Maps are null where there are none (TCP, no response). */
export interface FormatterContext {
  readonly requestHeaders: HeaderMap | null;
  readonly responseHeaders: HeaderMap | null;
  readonly responseTrailers: HeaderMap | null;
  readonly localReplyBody: string;
  readonly accessLogType: AccessLogType;
}

/** One configured logger with its filter. */
export interface AccessLog {
  log(context: FormatterContext, info: StreamInfo): void;
}

/** Files by path: opened once, written in batches (64 KiB or the flush interval), reopened on request. */
export interface AccessLogFile {
  /** Where the next line goes, its newline included; `endLine` says that it is whole. */
  readonly line: LineBuffer;
  endLine(): void;
  flush(): void;
  reopen(): void;
}

export interface AccessLogManager {
  createAccessLog(path: string): AccessLogFile;
  reopen(): void;
  flush(): void;
}
