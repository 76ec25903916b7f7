/** An IP address as four 32-bit words (IPv4 uses the first only), so that tables and headers are compared without strings. Immutable. */
import { isIPv4, isIPv6 } from 'node:net';
import { get32, put32 } from '../wire/bytes.ts';

export class IpAddress {
  readonly isV4: boolean;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;

  constructor(isV4: boolean, w0: number, w1 = 0, w2 = 0, w3 = 0) {
    this.isV4 = isV4;
    this.w0 = w0 | 0;
    this.w1 = w1 | 0;
    this.w2 = w2 | 0;
    this.w3 = w3 | 0;
  }

  /** Null when `text` is not an address. */
  static parse(text: string): IpAddress | null {
    if (isIPv4(text)) {
      const [a, b, c, d] = text.split('.').map(Number);
      return new IpAddress(true, (a << 24) | (b << 16) | (c << 8) | d);
    }
    return isIPv6(text) ? parseIpv6Text(text) : null;
  }

  /** The address whose bytes are at `at`. */
  static read(u8: Uint8Array, at: number, isV4: boolean): IpAddress {
    if (isV4) return new IpAddress(true, get32(u8, at));
    return new IpAddress(false, get32(u8, at), get32(u8, at + 4), get32(u8, at + 8), get32(u8, at + 12));
  }

  write(u8: Uint8Array, at: number): void {
    put32(u8, at, this.w0);
    if (this.isV4) return;
    put32(u8, at + 4, this.w1);
    put32(u8, at + 8, this.w2);
    put32(u8, at + 12, this.w3);
  }

  /** True when the bytes at `at` are this address. */
  matches(u8: Uint8Array, at: number): boolean {
    if (get32(u8, at) !== this.w0) return false;
    return this.isV4 || (get32(u8, at + 4) === this.w1 && get32(u8, at + 8) === this.w2 && get32(u8, at + 12) === this.w3);
  }

  equals(other: IpAddress): boolean {
    return (
      this.isV4 === other.isV4 && this.w0 === other.w0 && this.w1 === other.w1 && this.w2 === other.w2 && this.w3 === other.w3
    );
  }

  /** The 32 bits that begin at word `i`. */
  word(i: number): number {
    return i === 0 ? this.w0 : i === 1 ? this.w1 : i === 2 ? this.w2 : this.w3;
  }

  /** The last 32 bits, unsigned. */
  get low(): number {
    return (this.isV4 ? this.w0 : this.w3) >>> 0;
  }

  /** Equal in all but the last 32 bits. */
  shared(other: IpAddress): boolean {
    if (this.isV4 || other.isV4) return this.isV4 === other.isV4;
    return this.w0 === other.w0 && this.w1 === other.w1 && this.w2 === other.w2;
  }

  /** So many addresses further, within the last 32 bits. */
  plus(n: number): IpAddress {
    if (this.isV4) return new IpAddress(true, (this.w0 + n) | 0);
    return new IpAddress(false, this.w0, this.w1, this.w2, (this.w3 + n) | 0);
  }

  get isUnspecified(): boolean {
    return (this.w0 | this.w1 | this.w2 | this.w3) === 0;
  }

  get isMulticast(): boolean {
    return this.isV4 ? this.w0 >>> 28 === 14 : this.w0 >>> 24 === 0xff;
  }

  /** 255.255.255.255. */
  get isLimitedBroadcast(): boolean {
    return this.isV4 && this.w0 === -1;
  }

  /** fe80::/10. */
  get isLinkLocal(): boolean {
    return !this.isV4 && this.w0 >>> 22 === 0x3fa;
  }

  /** RFC 5952 text. */
  toString(): string {
    if (this.isV4) return `${this.w0 >>> 24}.${(this.w0 >>> 16) & 255}.${(this.w0 >>> 8) & 255}.${this.w0 & 255}`;
    const groups: number[] = [];
    for (let i = 0; i < 4; i++) groups.push(this.word(i) >>> 16, this.word(i) & 0xffff);
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
    const hex = (list: number[]): string => list.map((group) => group.toString(16)).join(':');
    return best < 0 ? hex(groups) : `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`;
  }
}

export const ANY_V4 = new IpAddress(true, 0);
export const ANY_V6 = new IpAddress(false, 0);

/** ff02::1:ffXX:XXXX of an address (RFC 4291 2.7.1). */
export function solicitedNode(address: IpAddress): IpAddress {
  return new IpAddress(false, 0xff02_0000, 0, 1, 0xff00_0000 | (address.w3 & 0xff_ffff));
}

export interface IpPrefix {
  address: IpAddress;
  length: number;
}

/** `10.0.0.1/8`; a bare address is a host prefix. The host bits are kept. Null when it is not a prefix. */
export function parseIpPrefix(text: string): IpPrefix | null {
  const slash = text.indexOf('/');
  const address = IpAddress.parse(slash < 0 ? text : text.slice(0, slash));
  if (address === null) return null;
  const most = address.isV4 ? 32 : 128;
  const length = slash < 0 ? most : /^\d{1,3}$/.test(text.slice(slash + 1)) ? Number(text.slice(slash + 1)) : -1;
  return length < 0 || length > most ? null : { address, length };
}

function parseIpv6Text(text: string): IpAddress {
  const zone = text.indexOf('%');
  let address = zone < 0 ? text : text.slice(0, zone);
  const lastColon = address.lastIndexOf(':');
  if (address.includes('.')) {
    const [a, b, c, d] = address
      .slice(lastColon + 1)
      .split('.')
      .map(Number);
    address = `${address.slice(0, lastColon + 1)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [front, back] = address.split('::');
  const list = (part: string | undefined): number[] => (part ? part.split(':').map((group) => Number.parseInt(group, 16)) : []);
  const head = list(front);
  const tail = list(back);
  const groups = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  const word = (i: number): number => (groups[2 * i] << 16) | groups[2 * i + 1];
  return new IpAddress(false, word(0), word(1), word(2), word(3));
}
