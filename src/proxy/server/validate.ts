/** `--mode validate`: everything that can be wrong with a configuration, without opening anything. */
import { LogSink } from '../../core/log/logger.ts';
import { ConfigError } from '../config/error.ts';
import { loadBootstrap } from '../config/load.ts';
import { buildConfiguration } from './build_configuration.ts';
import { reportError } from './report_error.ts';
import { loadOptions, type ServerOptions } from './server_options.ts';

/** Prints Envoy's line; the exit status. */
export function validateConfiguration(options: ServerOptions): number {
  const sink = new LogSink(options.log);
  const log = sink.logger('config');
  try {
    const loaded = loadBootstrap(loadOptions(options));
    for (const warning of loaded.warnings) log.warn(warning);
    try {
      const built = buildConfiguration(loaded, options, sink);
      built.runtime.close();
      built.discovery.close();
    } catch (error) {
      throw error instanceof ConfigError ? loaded.locate(error) : error;
    }
  } catch (error) {
    reportError(error, options, log);
    return 1;
  }
  process.stdout.write(`configuration '${options.configPath ?? '--config-yaml'}' OK\n`);
  return 0;
}
