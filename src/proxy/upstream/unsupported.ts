/** The error for a valid field that this layer does not implement. */
import { ConfigError } from '../config/error.ts';

export function unsupported(what: string, path: string): ConfigError {
  return new ConfigError(`${what} is not supported`, { path });
}
