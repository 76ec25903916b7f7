/**
 * `application_log_config` of the bootstrap (Envoy: InstanceBase::initialize, Logger::setLogFormat and setJsonLogFormat): the format
 * of the application log as text, or as JSON whose values hold format operators; there `%j` is the message.
 */
import { DEFAULT_LOG_FORMAT } from '../../core/log/logger.ts';
import { ConfigError } from '../config/error.ts';
import type { Bootstrap } from '../config/types.gen.ts';

/** The format of lines; undefined: as the command line says. Throws ConfigError. `cliFormat`: `--log-format`. */
export function applicationLogFormat(bootstrap: Bootstrap, cliFormat: string): string | undefined {
  const format = bootstrap.applicationLogConfig?.logFormat;
  if (format === undefined) return undefined;
  const path = 'application_log_config.log_format';
  if (cliFormat !== DEFAULT_LOG_FORMAT) {
    throw new ConfigError('Only one of ApplicationLogConfig.log_format or CLI option --log-format can be specified.', { path });
  }
  if (format.jsonFormat === undefined) return format.textFormat;
  const text = JSON.stringify(format.jsonFormat);
  if (/%[v_]/.test(text.replaceAll('%%', ''))) {
    throw new ConfigError('setJsonLogFormat error: usage of %v, %_ is unavailable for JSON log formats; %j is the message', {
      path: `${path}.json_format`,
    });
  }
  return text;
}
