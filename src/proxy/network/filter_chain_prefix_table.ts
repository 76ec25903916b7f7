/**
 * CIDR ranges to values, looked up by the longest matching prefix (Envoy's LcTrie in its exclusive form: one answer, the most
 * specific one). A range of no configuration ("any address") is kept apart and answers when no range does, also for pipes.
 */

import { ConfigError } from '../config/error.ts';
import type { Address } from './address.ts';
import { ipAddress } from './address.ts';

/** `envoy.config.core.v3.CidrRange`. */
export interface CidrRangeConfig {
  addressPrefix: string;
  prefixLen?: number;
}

/** A range with its host bits cleared. `key` is equal for equal ranges: `10.0.0.0/8`. */
export interface CidrRange {
  readonly version: 4 | 6;
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly key: string;
}

/** Throws ConfigError for text that is no address and for a length that does not fit it. */
export function parseCidrRange(config: CidrRangeConfig): CidrRange {
  const length = config.prefixLen ?? 0;
  let address: ReturnType<typeof ipAddress>;
  try {
    address = ipAddress(config.addressPrefix, 0);
  } catch {
    throw new ConfigError(`malformed IP address: ${config.addressPrefix}`);
  }
  if (length > address.bytes.length * 8) {
    throw new ConfigError(`invalid ip/mask combo '${config.addressPrefix}/${length}' (format is <ip>/<# mask bits>)`);
  }
  const bytes = address.bytes.slice();
  maskBytes(bytes, length);
  return { version: address.version, bytes, length, key: `${address.version}:${hex(bytes)}/${length}` };
}

/** True when `bytes` (an address of the range's family) lies in `range`. */
export function rangeContains(range: CidrRange, bytes: Uint8Array): boolean {
  if (bytes.length !== range.bytes.length) return false;
  const whole = range.length >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== range.bytes[i]) return false;
  const rest = range.length & 7;
  return rest === 0 || (bytes[whole] & (0xff00 >> rest) & 0xff) === range.bytes[whole];
}

export class PrefixTable<T> {
  private readonly v4 = new Family<T>();
  private readonly v6 = new Family<T>();
  private any: T | undefined;

  /** The value under `range` (null: any address), made by `create` when it is new. */
  getOrCreate(range: CidrRange | null, create: () => T): T {
    if (range === null) {
      this.any ??= create();
      return this.any;
    }
    return (range.version === 4 ? this.v4 : this.v6).getOrCreate(range, create);
  }

  get isEmpty(): boolean {
    return this.any === undefined && this.v4.isEmpty && this.v6.isEmpty;
  }

  find(address: Address): T | undefined {
    if (address.kind !== 'ip') return this.any;
    return (address.version === 4 ? this.v4 : this.v6).find(address.bytes) ?? this.any;
  }
}

/** One address family: a map per prefix length, longest first. */
class Family<T> {
  private readonly levels: { length: number; values: Map<string, T> }[] = [];

  get isEmpty(): boolean {
    return this.levels.length === 0;
  }

  getOrCreate(range: CidrRange, create: () => T): T {
    let level = this.levels.find((l) => l.length === range.length);
    if (level === undefined) {
      level = { length: range.length, values: new Map() };
      this.levels.push(level);
      this.levels.sort((a, b) => b.length - a.length);
    }
    const key = hex(range.bytes);
    let value = level.values.get(key);
    if (value === undefined) {
      value = create();
      level.values.set(key, value);
    }
    return value;
  }

  find(bytes: Uint8Array): T | undefined {
    if (this.levels.length === 0) return undefined;
    const masked = bytes.slice();
    for (const level of this.levels) {
      maskBytes(masked, level.length);
      const value = level.values.get(hex(masked));
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

function maskBytes(bytes: Uint8Array, length: number): void {
  const whole = length >> 3;
  if (whole >= bytes.length) return;
  bytes[whole] &= 0xff00 >> (length & 7);
  bytes.fill(0, whole + 1);
}

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
