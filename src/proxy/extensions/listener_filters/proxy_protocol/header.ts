/**
 * The PROXY protocol header, versions 1 and 2 (haproxy.org/download/2.1/doc/proxy-protocol.txt), read from the first bytes of a
 * connection as Envoy does: v2 with anything but TCP/UDP over IPv4/IPv6 is an error unless the command is LOCAL. Nothing throws.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { type IpAddress, ipAddress, ipFromBytes } from '../../../network/address.ts';

export interface Tlv {
  readonly type: number;
  readonly value: Uint8Array;
}

export type ProxyHeader =
  /** `length`: how many bytes it takes to know more. */
  | { readonly kind: 'more'; readonly version: 0 | 1 | 2; readonly length: number }
  | { readonly kind: 'error'; readonly version: 0 | 1 | 2 }
  /** `source` and `destination` are null for LOCAL and UNKNOWN: the socket's own addresses stand. */
  | {
      readonly kind: 'header';
      readonly version: 1 | 2;
      readonly length: number;
      readonly source: IpAddress | null;
      readonly destination: IpAddress | null;
      readonly tlvs: readonly Tlv[];
    };

const V1_SIGNATURE = latin1('PROXY ');
const V2_SIGNATURE = latin1('\r\n\r\n\0\r\nQUIT\n');
const V2_HEADER = 16;
const V1_MAX = 108;

/** Which version the bytes seen so far can still become. */
export function couldBe(bytes: Uint8Array): { v1: boolean; v2: boolean } {
  return { v1: startsAlike(bytes, V1_SIGNATURE), v2: startsAlike(bytes, V2_SIGNATURE) };
}

/** `bytes` is the start of the connection, all that has arrived. */
export function parseProxyHeader(bytes: Uint8Array): ProxyHeader {
  if (bytes.length >= V2_HEADER) {
    const { v1, v2 } = couldBe(bytes);
    if (v2) return parseV2(bytes);
    if (!v1) return { kind: 'error', version: 0 };
  }
  return parseV1(bytes);
}

function parseV1(bytes: Uint8Array): ProxyHeader {
  const limit = Math.min(bytes.length, V1_MAX + 1);
  let end = -1;
  // A line break right at the start may be a v2 signature that is not complete.
  for (let i = 2; i < limit && end < 0; i++) if (bytes[i] === 0x0a && bytes[i - 1] === 0x0d) end = i + 1;
  const version = bytes.length >= V1_SIGNATURE.length && startsAlike(bytes, V1_SIGNATURE) ? 1 : 0;
  if (startsAlike(bytes, V2_SIGNATURE)) return { kind: 'more', version: 0, length: V2_HEADER };
  if (end < 0) return bytes.length > V1_MAX ? { kind: 'error', version } : { kind: 'more', version, length: bytes.length + 1 };
  if (end > V1_MAX) return { kind: 'error', version };

  const parts = Buffer.from(bytes.buffer, bytes.byteOffset, end).toString('latin1').trimEnd().split(' ');
  const header = (source: IpAddress | null, destination: IpAddress | null): ProxyHeader => ({
    kind: 'header',
    version: 1,
    length: end,
    source,
    destination,
    tlvs: [],
  });
  if (parts[0] !== 'PROXY' || parts.length < 2) return { kind: 'error', version };
  if (parts[1] === 'UNKNOWN') return header(null, null);
  const isIp = parts[1] === 'TCP4' ? isIPv4 : parts[1] === 'TCP6' ? isIPv6 : null;
  if (isIp === null || parts.length !== 6) return { kind: 'error', version: 1 };
  const [, , sourceIp, destinationIp, sourcePort, destinationPort] = parts;
  if (!isIp(sourceIp) || !isIp(destinationIp) || sourceIp.includes('%') || destinationIp.includes('%'))
    return { kind: 'error', version: 1 };
  const from = parsePort(sourcePort);
  const to = parsePort(destinationPort);
  if (from < 0 || to < 0) return { kind: 'error', version: 1 };
  const source = ipAddress(sourceIp, from);
  const destination = ipAddress(destinationIp, to);
  return isUnicast(source) && isUnicast(destination) ? header(source, destination) : { kind: 'error', version: 1 };
}

function parseV2(bytes: Uint8Array): ProxyHeader {
  const error = { kind: 'error', version: 2 } as const;
  const command = bytes[12] & 0x0f;
  const family = bytes[13] >> 4;
  const transport = bytes[13] & 0x0f;
  const body = (bytes[14] << 8) | bytes[15];
  const length = V2_HEADER + body;
  if (bytes[12] >> 4 !== 2) return error;
  if (command === 0) {
    if (bytes.length < length) return { kind: 'more', version: 2, length };
    return { kind: 'header', version: 2, length, source: null, destination: null, tlvs: [] };
  }
  const ip = family === 1 ? 4 : family === 2 ? 16 : 0;
  if (command !== 1 || ip === 0 || (transport !== 1 && transport !== 2) || body < 2 * ip + 4) return error;
  if (bytes.length < length) return { kind: 'more', version: 2, length };

  const ports = V2_HEADER + 2 * ip;
  const source = ipFromBytes(bytes.subarray(V2_HEADER, V2_HEADER + ip), (bytes[ports] << 8) | bytes[ports + 1]);
  const destination = ipFromBytes(bytes.subarray(V2_HEADER + ip, ports), (bytes[ports + 2] << 8) | bytes[ports + 3]);
  const tlvs = parseTlvs(bytes.subarray(ports + 4, length));
  if (tlvs === null || !isUnicast(source) || !isUnicast(destination)) return error;
  return { kind: 'header', version: 2, length, source, destination, tlvs };
}

/** Copies of the values; null when one does not fit. */
function parseTlvs(bytes: Uint8Array): Tlv[] | null {
  const tlvs: Tlv[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + 3 > bytes.length) return null;
    const length = (bytes[at + 1] << 8) | bytes[at + 2];
    if (at + 3 + length > bytes.length) return null;
    tlvs.push({ type: bytes[at], value: bytes.slice(at + 3, at + 3 + length) });
    at += 3 + length;
  }
  return tlvs;
}

/** Neither any, nor multicast, nor (IPv4) broadcast. */
function isUnicast(address: IpAddress): boolean {
  const { bytes } = address;
  if (bytes.every((byte) => byte === 0)) return false;
  if (address.version === 6) return bytes[0] !== 0xff;
  return bytes[0] >> 4 !== 0xe && !bytes.every((byte) => byte === 0xff);
}

function parsePort(text: string): number {
  if (!/^\d{1,5}$/.test(text)) return -1;
  const port = Number(text);
  return port <= 65_535 ? port : -1;
}

function startsAlike(bytes: Uint8Array, signature: Uint8Array): boolean {
  const length = Math.min(bytes.length, signature.length);
  for (let i = 0; i < length; i++) if (bytes[i] !== signature[i]) return false;
  return true;
}

function latin1(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}
