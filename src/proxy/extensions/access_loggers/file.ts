/**
 * `envoy.access_loggers.file`: lines of text or JSON in a file. The deprecated `format`, `json_format` and `typed_json_format` are read
 * too. Shared with stdout and stderr, which are files here.
 */
import type { AccessLog, AccessLogFile, AccessLogManager, FormatterContext } from '../../access_log/access_log.ts';
import type { AccessLogConfigFactory } from '../../access_log/factory.ts';
import type { AccessLogFilter } from '../../access_log/filters.ts';
import {
  DEFAULT_FORMAT,
  type Formatter,
  jsonFormatter,
  parseFormat,
  type SubstitutionFormatStringConfig,
  substitutionFormatString,
} from '../../access_log/formatter.ts';
import { ConfigError } from '../../config/error.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';

/** `envoy.extensions.access_loggers.file.v3.FileAccessLog`. */
interface FileAccessLogConfig {
  path?: string;
  format?: string;
  jsonFormat?: Record<string, unknown>;
  typedJsonFormat?: Record<string, unknown>;
  logFormat?: SubstitutionFormatStringConfig;
}

export const fileAccessLogFactory: AccessLogConfigFactory = {
  typeName: 'envoy.extensions.access_loggers.file.v3.FileAccessLog',
  name: 'envoy.access_loggers.file',
  create(config, filter, context) {
    const file = config as FileAccessLogConfig;
    if (!file.path) throw new ConfigError('value length must be at least 1 characters', { path: 'path' });
    return createFileAccessLog(file.path, formatterOf(file), filter, context.accessLogManager);
  },
};

/** A logger that writes formatted lines to `path`. */
export function createFileAccessLog(
  path: string,
  formatter: Formatter,
  filter: AccessLogFilter | null,
  manager: AccessLogManager,
): AccessLog {
  try {
    return new FileAccessLog(manager.createAccessLog(path), formatter, filter);
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError(error.reason, { path: 'path' });
    throw error;
  }
}

/** `log_format`, or the default format. */
export function logFormatter(config: SubstitutionFormatStringConfig | undefined): Formatter {
  return config === undefined ? parseFormat(DEFAULT_FORMAT) : substitutionFormatString(config, 'log_format');
}

function formatterOf(config: FileAccessLogConfig): Formatter {
  if (config.jsonFormat !== undefined) return jsonFormatter(config.jsonFormat);
  if (config.typedJsonFormat !== undefined) return jsonFormatter(config.typedJsonFormat);
  if (config.format !== undefined && config.format !== '') return parseFormat(config.format);
  return logFormatter(config.logFormat);
}

class FileAccessLog implements AccessLog {
  private readonly file: AccessLogFile;
  private readonly formatter: Formatter;
  private readonly filter: AccessLogFilter | null;

  constructor(file: AccessLogFile, formatter: Formatter, filter: AccessLogFilter | null) {
    this.file = file;
    this.formatter = formatter;
    this.filter = filter;
  }

  log(context: FormatterContext, info: StreamInfo): void {
    if (this.filter !== null && !this.filter.evaluate(context, info)) return;
    const file = this.file;
    this.formatter.append(file.line, context, info);
    file.endLine();
  }
}
