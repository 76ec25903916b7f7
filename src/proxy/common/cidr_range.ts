/** Address ranges (Envoy: CidrRange, Network::Address::IpList). An IPv4 range never contains an IPv6 address, nor the reverse. */
import { isIP } from 'node:net';
import { ConfigError } from '../config/error.ts';
import type { Address } from '../network/address.ts';
import { ipAddress } from '../network/address.ts';

export interface CidrRangeConfig {
  addressPrefix?: string;
  /** Absent: 0, as Envoy reads it. */
  prefixLen?: number;
}

export class CidrRange {
  readonly asString: string;
  private readonly bytes: Uint8Array;
  private readonly length: number;

  /** Throws ConfigError when the address is malformed. A prefix beyond the address's length means the whole address. */
  constructor(config: CidrRangeConfig, path = '') {
    const text = config.addressPrefix ?? '';
    if (isIP(text) === 0) throw new ConfigError(`malformed IP address: ${text}`, { path });
    const address = ipAddress(text, 0);
    this.length = Math.min(config.prefixLen ?? 0, address.bytes.length * 8);
    this.bytes = truncated(address.bytes, this.length);
    this.asString = `${text}/${this.length}`;
  }

  contains(address: Address | null): boolean {
    return address !== null && address.kind === 'ip' && this.containsBytes(address.bytes);
  }

  /** 4 or 16 bytes in network order. */
  containsBytes(bytes: Uint8Array): boolean {
    if (bytes.length !== this.bytes.length) return false;
    const whole = this.length >> 3;
    for (let i = 0; i < whole; i++) if (bytes[i] !== this.bytes[i]) return false;
    const rest = this.length & 7;
    return rest === 0 || ((bytes[whole] ^ this.bytes[whole]) & (0xff << (8 - rest)) & 0xff) === 0;
  }
}

/** Whether any of several ranges contains an address. */
export class IpList {
  private readonly ranges: readonly CidrRange[];

  constructor(configs: readonly CidrRangeConfig[], path = '') {
    this.ranges = configs.map((config, i) => new CidrRange(config, `${path}[${i}]`));
  }

  get size(): number {
    return this.ranges.length;
  }

  contains(address: Address | null): boolean {
    for (let i = 0; i < this.ranges.length; i++) if (this.ranges[i].contains(address)) return true;
    return false;
  }
}

function truncated(bytes: Uint8Array, length: number): Uint8Array {
  const result = bytes.slice();
  for (let i = 0; i < result.length; i++) {
    const bits = Math.max(0, Math.min(8, length - i * 8));
    result[i] &= (0xff << (8 - bits)) & 0xff;
  }
  return result;
}
