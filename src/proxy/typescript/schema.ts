/**
 * The shape of a filter's own configuration: what `schema.object({ ... })` says is checked when the proxy's configuration is loaded and
 * is the type of `this.config`. Unknown fields are mistakes. Anything else with `parse(value)` works in its place (zod, for one).
 */
import { nearest } from '../config/suggest.ts';

/** A mistake in a filter's configuration. `path` is relative to it: `limits[2].name`. */
export class SchemaError extends Error {
  readonly path: string;
  readonly reason: string;

  constructor(reason: string, path: string) {
    super(path === '' ? reason : `${path}: ${reason}`);
    this.name = 'SchemaError';
    this.reason = reason;
    this.path = path;
  }
}

/** What checks and completes a configuration. Throws when it is wrong. */
export interface ConfigSchema<T> {
  parse(value: unknown): T;
}

/** The type that a schema describes. */
export type Infer<S> = S extends ConfigSchema<infer T> ? T : never;

/** One kind of value. */
export class Schema<T> implements ConfigSchema<T> {
  private readonly check: (value: unknown, path: string) => T;
  /** What an absent field becomes; undefined: it must be there. */
  private readonly absent: (() => T) | undefined;

  constructor(check: (value: unknown, path: string) => T, absent?: () => T) {
    this.check = check;
    this.absent = absent;
  }

  parse(value: unknown): T {
    return this.parseAt(value, '');
  }

  parseAt(value: unknown, path: string): T {
    if (value !== undefined && value !== null) return this.check(value, path);
    if (this.absent === undefined) throw new SchemaError('is missing', path);
    return this.absent();
  }

  /** May be left out; the field is `undefined` then. */
  optional(): Schema<T | undefined> {
    return new Schema<T | undefined>(this.check, () => undefined);
  }

  /** May be left out; the field is `value` then. */
  default(value: T): Schema<T> {
    return new Schema(this.check, () => value);
  }

  /** A further condition; `reason` is what is said when it does not hold. */
  refine(holds: (value: T) => boolean, reason: string): Schema<T> {
    return new Schema((value, path) => {
      const checked = this.check(value, path);
      if (!holds(checked)) throw new SchemaError(`${reason}, got ${shown(checked)}`, path);
      return checked;
    }, this.absent);
  }
}

type Fields = Record<string, Schema<unknown>>;
type OptionalKeys<F extends Fields> = { [K in keyof F]: undefined extends Infer<F[K]> ? K : never }[keyof F];
type ObjectOf<F extends Fields> = { readonly [K in Exclude<keyof F, OptionalKeys<F>>]: Infer<F[K]> } & {
  readonly [K in OptionalKeys<F>]?: Infer<F[K]>;
};

export const schema = {
  string: (): Schema<string> => new Schema((value, path) => expectType(value, 'string', path) as string),
  boolean: (): Schema<boolean> => new Schema((value, path) => expectType(value, 'boolean', path) as boolean),
  number: (range: { min?: number; max?: number } = {}): Schema<number> =>
    new Schema((value, path) => inRange(expectNumber(value, path), range, path)),
  integer: (range: { min?: number; max?: number } = {}): Schema<number> =>
    new Schema((value, path) => {
      const number = inRange(expectNumber(value, path), range, path);
      if (!Number.isSafeInteger(number)) throw new SchemaError(`expected a whole number, got ${number}`, path);
      return number;
    }),
  /** `1.5s`, `200ms`, `2m`, `1h`: milliseconds. */
  duration: (range: { min?: number; max?: number } = {}): Schema<number> =>
    new Schema((value, path) => inRange(milliseconds(value, path), range, path)),
  /** One of these strings. */
  oneOf: <const S extends string>(...values: S[]): Schema<S> =>
    new Schema((value, path) => {
      const text = expectType(value, 'string', path) as string;
      if (!values.includes(text as S)) {
        const near = nearest(text, values);
        const hint = near === undefined ? '' : `; did you mean ${shown(near)}?`;
        throw new SchemaError(`expected one of ${values.map(shown).join(', ')}, got ${shown(text)}${hint}`, path);
      }
      return text as S;
    }),
  list: <T>(item: Schema<T>): Schema<readonly T[]> =>
    new Schema((value, path) => {
      if (!Array.isArray(value)) throw new SchemaError(`expected a list, got ${shown(value)}`, path);
      return value.map((element, i) => item.parseAt(element, `${path}[${i}]`));
    }),
  map: <T>(item: Schema<T>): Schema<Readonly<Record<string, T>>> =>
    new Schema((value, path) => {
      const entries = Object.entries(expectObject(value, path));
      return Object.fromEntries(entries.map(([key, element]) => [key, item.parseAt(element, `${path}[${JSON.stringify(key)}]`)]));
    }),
  object: <const F extends Fields>(fields: F): Schema<ObjectOf<F>> =>
    new Schema<ObjectOf<F>>((value, path) => {
      const given = expectObject(value, path);
      const at = (name: string): string => (path === '' ? name : `${path}.${name}`);
      for (const name of Object.keys(given)) {
        if (Object.hasOwn(fields, name)) continue;
        const near = nearest(name, Object.keys(fields));
        throw new SchemaError(`there is no such field${near === undefined ? '' : `; did you mean '${near}'?`}`, at(name));
      }
      const result: Record<string, unknown> = {};
      for (const [name, field] of Object.entries(fields)) result[name] = field.parseAt(given[name], at(name));
      return result as ObjectOf<F>;
    }),
  /** Anything that JSON can say. */
  any: (): Schema<unknown> =>
    new Schema<unknown>(
      (value) => value,
      () => undefined,
    ),
} as const;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

function expectType(value: unknown, type: 'string' | 'boolean' | 'number', path: string): unknown {
  if (typeof value !== type) throw new SchemaError(`expected a ${type}, got ${shown(value)}`, path);
  return value;
}

const DECIMAL = /^-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/** As Envoy reads YAML, `0.5` in a Struct is text: it counts as the number that it says. */
function expectNumber(value: unknown, path: string): number {
  if (typeof value === 'string' && DECIMAL.test(value)) return Number(value);
  return expectType(value, 'number', path) as number;
}

function expectObject(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SchemaError(`expected an object, got ${shown(value)}`, path);
  }
  return value as Record<string, unknown>;
}

function inRange(value: number, { min, max }: { min?: number; max?: number }, path: string): number {
  if (min !== undefined && value < min) throw new SchemaError(`must be at least ${min}, got ${value}`, path);
  if (max !== undefined && value > max) throw new SchemaError(`must be at most ${max}, got ${value}`, path);
  return value;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

function milliseconds(value: unknown, path: string): number {
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(value) : null;
  if (match === null) throw new SchemaError(`expected a duration such as "1.5s" or "200ms", got ${shown(value)}`, path);
  return Number(match[1]) * UNITS[match[2]];
}
