/**
 * Checks of configuration values, as small functions that are put together to tables. Each throws a `StackConfigError` that names the
 * field's path, what was found and what is allowed.
 */

/** Says what is wrong in a configuration: the message is for the user. */
export class StackConfigError extends Error {}

/** Checks `value`, found at `path`. */
export type FieldCheck = (value: unknown, path: string) => void;
export type FieldTable = Readonly<Record<string, FieldCheck>>;

function wrong(path: string, value: unknown, allowed: string): never {
  throw new StackConfigError(`${path} has an invalid value: ${JSON.stringify(value)} (${allowed})`);
}

/** A string for which `test` holds. */
export function text(allowed = 'a string', test: (value: string) => boolean = () => true): FieldCheck {
  return (value, path) => {
    if (typeof value !== 'string' || !test(value)) wrong(path, value, allowed);
  };
}

export function whole(least = 0, most = Number.MAX_SAFE_INTEGER): FieldCheck {
  const range = most === Number.MAX_SAFE_INTEGER ? `a whole number from ${least}` : `a whole number from ${least} to ${most}`;
  return (value, path) => {
    if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) wrong(path, value, range);
  };
}

export function number(least: number, most: number): FieldCheck {
  return (value, path) => {
    const ok = typeof value === 'number' && Number.isFinite(value) && value >= least && value <= most;
    if (!ok) wrong(path, value, `a number from ${least} to ${most}`);
  };
}

export const flag: FieldCheck = (value, path) => {
  if (typeof value !== 'boolean') wrong(path, value, 'true or false');
};

export function oneOf(names: readonly string[], allowed = names.join(', ')): FieldCheck {
  return (value, path) => {
    if (typeof value !== 'string' || !names.includes(value)) wrong(path, value, allowed);
  };
}

export function list(of: FieldCheck): FieldCheck {
  return (value, path) => {
    if (!Array.isArray(value)) wrong(path, value, 'a list');
    for (const [i, item] of (value as unknown[]).entries()) of(item, `${path}[${i}]`);
  };
}

/** An object with these fields and no others, of which `required` have to be there. */
export function object(fields: FieldTable, required: readonly string[] = []): FieldCheck {
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new StackConfigError(`${path || 'configuration'} is not an object`);
    const prefix = path === '' ? '' : `${path}.`;
    for (const [name, field] of Object.entries(value)) {
      if (!Object.hasOwn(fields, name))
        throw new StackConfigError(`unknown field ${prefix}${name}; known: ${Object.keys(fields).join(', ')}`);
      fields[name](field, `${prefix}${name}`);
    }
    for (const name of required) if (!Object.hasOwn(value, name)) throw new StackConfigError(`${prefix}${name} is missing`);
  };
}
