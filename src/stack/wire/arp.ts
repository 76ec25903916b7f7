/** ARP for IPv4 over Ethernet (RFC 826). Other hardware or protocol types are refused. */
import { get16, get32, ParseResult, put16, put32 } from './bytes.ts';

export const ARP_LENGTH = 28;
export const ArpOperation = { request: 1, reply: 2 } as const;

export interface ArpRepr {
  operation: number;
  senderMac: Uint8Array;
  senderIp: number;
  targetMac: Uint8Array;
  targetIp: number;
}

export function newArpRepr(): ArpRepr {
  return { operation: 0, senderMac: new Uint8Array(6), senderIp: 0, targetMac: new Uint8Array(6), targetIp: 0 };
}

export function parseArp(u8: Uint8Array, from: number, to: number, out: ArpRepr): ParseResult {
  if (to - from < ARP_LENGTH) return ParseResult.truncated;
  if (get16(u8, from) !== 1 || get16(u8, from + 2) !== 0x0800 || u8[from + 4] !== 6 || u8[from + 5] !== 4)
    return ParseResult.badField;
  out.operation = get16(u8, from + 6);
  for (let i = 0; i < 6; i++) {
    out.senderMac[i] = u8[from + 8 + i];
    out.targetMac[i] = u8[from + 18 + i];
  }
  out.senderIp = get32(u8, from + 14);
  out.targetIp = get32(u8, from + 24);
  return ParseResult.ok;
}

export function emitArp(u8: Uint8Array, at: number, repr: ArpRepr): void {
  put16(u8, at, 1);
  put16(u8, at + 2, 0x0800);
  u8[at + 4] = 6;
  u8[at + 5] = 4;
  put16(u8, at + 6, repr.operation);
  for (let i = 0; i < 6; i++) {
    u8[at + 8 + i] = repr.senderMac[i];
    u8[at + 18 + i] = repr.targetMac[i];
  }
  put32(u8, at + 14, repr.senderIp);
  put32(u8, at + 24, repr.targetIp);
}
