/**
 * A runtime snapshot: keys with their values as text and, where they are such, as number, boolean or fraction.
 *
 * `PlainRuntime` is what travels from the main thread to the workers by structured clone.
 */
import { fractionContains } from '../common/matchers.ts';
import type { FractionalPercent, RuntimeSnapshot } from './runtime.ts';

/** One value. Fields are undefined where the value is no such thing. */
export interface RuntimeEntry {
  /** As given, for `get` and `/runtime`. */
  readonly raw: string;
  /** A number that is not negative, without its fraction. */
  readonly uint: number | undefined;
  readonly double: number | undefined;
  readonly boolean: boolean | undefined;
  readonly fraction: FractionalPercent | undefined;
}

export type PlainRuntime = readonly (readonly [string, RuntimeEntry])[];

/** For workers: the snapshot that `RuntimeLoader.toPlain` gave. */
export function snapshotFromPlain(plain: PlainRuntime): RuntimeSnapshot {
  return new Snapshot(new Map(plain));
}

class Snapshot implements RuntimeSnapshot {
  private readonly entries: ReadonlyMap<string, RuntimeEntry>;

  constructor(entries: ReadonlyMap<string, RuntimeEntry>) {
    this.entries = entries;
  }

  get(key: string): string | undefined {
    return this.entries.get(key)?.raw;
  }

  getInteger(key: string, defaultValue: number): number {
    return this.entries.get(key)?.uint ?? defaultValue;
  }

  getDouble(key: string, defaultValue: number): number {
    return this.entries.get(key)?.double ?? defaultValue;
  }

  getBoolean(key: string, defaultValue: boolean): boolean {
    return this.entries.get(key)?.boolean ?? defaultValue;
  }

  /** A plain integer under the key is a percentage; beyond 100 is always. */
  featureEnabled(key: string, defaultValue: FractionalPercent, random: number): boolean {
    const entry = key === '' ? undefined : this.entries.get(key);
    if (entry?.fraction !== undefined) return fractionContains(entry.fraction.numerator, entry.fraction.denominator, random);
    if (entry?.uint !== undefined) return fractionContains(entry.uint, 'HUNDRED', random);
    return fractionContains(defaultValue.numerator, defaultValue.denominator, random);
  }
}

/** A snapshot without any key. */
export const EMPTY_SNAPSHOT: RuntimeSnapshot = snapshotFromPlain([]);

/** A value of a layer, as YAML or JSON gave it. `raw` is its text when it came as text. */
export function runtimeEntry(value: string | number | boolean | Record<string, unknown>, raw?: string): RuntimeEntry {
  if (typeof value === 'number') return numberEntry(value, raw ?? String(value));
  if (typeof value === 'boolean') return entry(raw ?? String(value), { boolean: value });
  if (typeof value === 'object') return entry(raw ?? fractionText(value), { fraction: fractionOf(value) });
  const text = value.trim();
  const number = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/.test(text) ? Number(text) : undefined;
  if (number !== undefined) return numberEntry(number, raw ?? value);
  const lower = text.toLowerCase();
  return entry(raw ?? value, { boolean: lower === 'true' ? true : lower === 'false' ? false : undefined });
}

function numberEntry(value: number, raw: string): RuntimeEntry {
  return entry(raw, {
    double: value,
    uint: value >= 0 ? Math.floor(value) : undefined,
    boolean: Number.isInteger(value) ? value !== 0 : undefined,
  });
}

function entry(raw: string, parts: Partial<RuntimeEntry>): RuntimeEntry {
  return { raw, uint: parts.uint, double: parts.double, boolean: parts.boolean, fraction: parts.fraction };
}

function fractionOf(value: Record<string, unknown>): FractionalPercent | undefined {
  const { numerator = 0, denominator = 'HUNDRED', ...others } = value;
  if (Object.keys(others).length > 0 || typeof numerator !== 'number') return undefined;
  if (denominator !== 'HUNDRED' && denominator !== 'TEN_THOUSAND' && denominator !== 'MILLION') return undefined;
  return { numerator, denominator };
}

function fractionText(value: Record<string, unknown>): string {
  return JSON.stringify(value);
}
