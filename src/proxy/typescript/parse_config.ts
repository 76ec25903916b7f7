/** A module's configuration through its schema. */
import { ConfigError } from '../config/error.ts';
import { type ConfigSchema, SchemaError } from './schema.ts';
import { ScriptError } from './script_error.ts';

/** Throws SchemaError, or what another library's schema throws. */
export function parseConfig(schema: ConfigSchema<unknown> | undefined, given: Readonly<Record<string, unknown>>): unknown {
  if (schema === undefined) return given;
  try {
    return schema.parse(given);
  } catch (error) {
    if (error instanceof SchemaError) throw error;
    throw new SchemaError(error instanceof Error ? error.message : String(error), '');
  }
}

/** Such an error, or one of a module, as one of the proxy's configuration; `field` is the one that holds the module's configuration. */
export function toConfigError(error: unknown, field = 'config'): unknown {
  if (error instanceof SchemaError) {
    const separator = error.path === '' || error.path.startsWith('[') ? '' : '.';
    return new ConfigError(error.reason, { path: field + separator + error.path });
  }
  if (error instanceof ScriptError) return new ConfigError(`cannot use the module: ${error.message}`, { path: 'module' });
  return error;
}
