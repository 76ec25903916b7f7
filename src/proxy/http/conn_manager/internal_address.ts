/**
 * Which client addresses count as internal (Envoy: InternalAddressConfig). Not configured: none. Configured without ranges: RFC 1918,
 * RFC 4193 and loopback.
 */

import { type CidrRangeConfig, IpList } from '../../common/cidr_range.ts';
import type { Address } from '../../network/address.ts';

const PRIVATE: readonly CidrRangeConfig[] = [
  { addressPrefix: '10.0.0.0', prefixLen: 8 },
  { addressPrefix: '172.16.0.0', prefixLen: 12 },
  { addressPrefix: '192.168.0.0', prefixLen: 16 },
  { addressPrefix: '127.0.0.1', prefixLen: 32 },
  { addressPrefix: 'fd00::', prefixLen: 8 },
  { addressPrefix: '::1', prefixLen: 128 },
];

export class InternalAddressConfig {
  private readonly unixSockets: boolean;
  private readonly ranges: IpList;

  constructor(unixSockets: boolean, cidrRanges: readonly CidrRangeConfig[], path = 'internal_address_config.cidr_ranges') {
    this.unixSockets = unixSockets;
    this.ranges = new IpList(cidrRanges.length === 0 ? PRIVATE : cidrRanges, path);
  }

  contains(address: Address): boolean {
    return address.kind === 'pipe' ? this.unixSockets : this.ranges.contains(address);
  }
}

export function isLoopback(address: Address): boolean {
  if (address.kind !== 'ip') return false;
  const bytes = address.bytes;
  if (bytes.length === 4) return bytes[0] === 127;
  for (let i = 0; i < 15; i++) if (bytes[i] !== 0) return false;
  return bytes[15] === 1;
}
