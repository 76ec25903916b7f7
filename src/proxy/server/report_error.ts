/** Mistakes in the configuration, and what else keeps a server from starting, in the log: a line each. */
import type { Logger } from '../../core/log/logger.ts';
import { ConfigError } from '../config/error.ts';
import { ConfigErrors } from '../config/errors.ts';
import type { ServerOptions } from './server_options.ts';

export function reportError(error: unknown, options: ServerOptions, log: Logger): void {
  const where = options.configPath ?? '--config-yaml';
  if (error instanceof ConfigErrors)
    for (const e of error.errors) log.critical(`error initializing configuration '${where}': ${e.message}`);
  else if (error instanceof ConfigError) log.critical(`error initializing configuration '${where}': ${error.message}`);
  else
    log.critical(
      `error initializing configuration '${where}': ${error instanceof Error ? (log.debugEnabled ? error.stack : error.message) : String(error)}`,
    );
}
