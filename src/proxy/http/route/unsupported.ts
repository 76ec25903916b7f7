/** Refuses what a route table does not do: a field is honoured or an error, never passed over. */
import { ConfigError } from '../../config/error.ts';

/** Throws ConfigError when one of these fields (proto local names) is set. Empty lists, empty texts and false count as unset. */
export function refuse<T extends object>(config: T, fields: readonly (keyof T & string)[], path: string): void {
  for (const field of fields) {
    const value: unknown = config[field];
    if (value === undefined || value === '' || value === false || (Array.isArray(value) && value.length === 0)) continue;
    const name = protoName(field);
    throw new ConfigError(`${name} is not supported`, { path: path === '' ? name : `${path}.${name}` });
  }
}

/** `retryPolicyTypedConfig` as it is written in configuration: `retry_policy_typed_config`. */
function protoName(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
