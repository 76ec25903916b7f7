/** Socket addresses (Envoy's Network::Address). Immutable; `asString` is what logs, stats and admin print. */
import { isIPv4, isIPv6 } from 'node:net';

export interface IpAddress {
  readonly kind: 'ip';
  readonly version: 4 | 6;
  /** Canonical text: dotted quad, or RFC 5952. */
  readonly ip: string;
  readonly port: number;
  /** 4 or 16 bytes, network order. */
  readonly bytes: Uint8Array;
  /** `1.2.3.4:80` or `[::1]:80`. */
  readonly asString: string;
  readonly v6only?: boolean;
}

export interface PipeAddress {
  readonly kind: 'pipe';
  /** A path, or `@name` for the abstract namespace. */
  readonly path: string;
  readonly mode?: number;
  readonly asString: string;
}

export type Address = IpAddress | PipeAddress;

/** An IP address from text. Throws RangeError when it is not one. */
export function ipAddress(ip: string, port: number): IpAddress {
  if (isIPv4(ip)) return ipFromBytes(Uint8Array.from(ip.split('.').map(Number)), port);
  if (isIPv6(ip)) return ipFromBytes(parseIpv6(ip), port);
  throw new RangeError(`malformed IP address: ${ip}`);
}

interface Ipv4Parts {
  readonly bits: number;
  readonly ip: string;
  readonly bytes: Uint8Array;
}

/** IPv4 hosts seen before, by a few bits of their address: a client's next connection makes no text and no array again. */
const knownIpv4: (Ipv4Parts | null)[] = new Array<Ipv4Parts | null>(256).fill(null);

/** From the 4 bytes at `at`. */
export function ipv4FromBytes(bytes: Uint8Array, at: number, port: number): IpAddress {
  const bits = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  const place = (bits ^ (bits >>> 8) ^ (bits >>> 16)) & 255;
  let known = knownIpv4[place];
  if (known === null || known.bits !== bits) {
    const own = bytes.slice(at, at + 4);
    known = { bits, ip: `${own[0]}.${own[1]}.${own[2]}.${own[3]}`, bytes: own };
    knownIpv4[place] = known;
  }
  return { kind: 'ip', version: 4, ip: known.ip, port, bytes: known.bytes, asString: `${known.ip}:${port}` };
}

/** From 4 or 16 bytes in network order (copied). */
export function ipFromBytes(bytes: Uint8Array, port: number): IpAddress {
  if (bytes.length === 4) return ipv4FromBytes(bytes, 0, port);
  const own = bytes.slice();
  const ip = formatIpv6(own);
  return { kind: 'ip', version: 6, ip, port, bytes: own, asString: `[${ip}]:${port}` };
}

export function withPort(address: IpAddress, port: number): IpAddress {
  return ipFromBytes(address.bytes, port);
}

export function pipeAddress(path: string, mode?: number): PipeAddress {
  return { kind: 'pipe', path, mode, asString: path };
}

/** Only the address, without the port: `1.2.3.4`, `::1`, or the pipe's path. */
export function addressWithoutPort(address: Address): string {
  return address.kind === 'ip' ? address.ip : address.path;
}

function parseIpv6(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  let body = text.split('%')[0];
  const v4 = body.lastIndexOf('.') > 0 ? body.slice(body.lastIndexOf(':') + 1) : '';
  if (v4 !== '') {
    const [a, b, c, d] = v4.split('.').map(Number);
    body = `${body.slice(0, body.length - v4.length)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [left, right] = body.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  for (const [i, group] of head.entries()) put(bytes, i, Number.parseInt(group, 16));
  for (const [i, group] of tail.entries()) put(bytes, 8 - tail.length + i, Number.parseInt(group, 16));
  return bytes;
}

function put(bytes: Uint8Array, group: number, value: number): void {
  bytes[group * 2] = value >> 8;
  bytes[group * 2 + 1] = value & 0xff;
}

/** RFC 5952 text of 16 bytes. */
function formatIpv6(bytes: Uint8Array): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i] << 8) | bytes[i + 1]);
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytes[12]}.${bytes[13]}.${bytes[14]}.${bytes[15]}`;
  }
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
  }
  const hex = groups.map((g) => g.toString(16));
  if (best < 0) return hex.join(':');
  return `${hex.slice(0, best).join(':')}::${hex.slice(best + bestLength).join(':')}`;
}
