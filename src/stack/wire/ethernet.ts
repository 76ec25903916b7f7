/** Ethernet II frames (RFC 894). 802.1Q tags and 802.3 length frames are reported as their type and not taken apart. */
import { get16, ParseResult, put16 } from './bytes.ts';

export const ETHERNET_HEADER = 14;
export const EtherType = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;

/** View: the fields of the frame at `at`. */
export function etherType(u8: Uint8Array, at: number): number {
  return get16(u8, at + 12);
}

/** True when the destination address has the group bit. */
export function isGroupAddress(u8: Uint8Array, at: number): boolean {
  return (u8[at] & 1) !== 0;
}

export function sameMac(u8: Uint8Array, at: number, mac: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (u8[at + i] !== mac[i]) return false;
  return true;
}

export function checkEthernet(from: number, to: number): ParseResult {
  return to - from >= ETHERNET_HEADER ? ParseResult.ok : ParseResult.truncated;
}

/** Writes the header at `at`. */
export function emitEthernet(u8: Uint8Array, at: number, destination: Uint8Array, source: Uint8Array, type: number): void {
  for (let i = 0; i < 6; i++) {
    u8[at + i] = destination[i];
    u8[at + 6 + i] = source[i];
  }
  put16(u8, at + 12, type);
}

export function formatMac(u8: Uint8Array, at = 0): string {
  return Array.from(u8.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
