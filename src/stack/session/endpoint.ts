/**
 * An address and port as the session layer handles them: four 32-bit words (IPv4 uses only the first) and a port, so that table keys
 * and control messages are copied without strings.
 */
import { isIPv4, isIPv6 } from 'node:net';

export class Endpoint {
  isV4 = true;
  /** Words in network order: 127.0.0.1 is words[0] = 0x7f000001. */
  readonly words = new Int32Array(4);
  port = 0;

  static parse(ip: string, port: number): Endpoint | null {
    const endpoint = new Endpoint();
    return endpoint.set(ip, port) ? endpoint : null;
  }

  /** Takes the value of textual `ip` ('' means 0.0.0.0); false when it is not an address or the port is out of range. */
  set(ip: string, port: number): boolean {
    if (!Number.isInteger(port) || port < 0 || port > 65535) return false;
    this.port = port;
    this.words.fill(0);
    this.isV4 = true;
    if (ip === '') return true;
    if (isIPv4(ip)) {
      this.words[0] = parseIPv4(ip);
      return true;
    }
    if (!isIPv6(ip)) return false;
    const parsed = parseIPv6(ip);
    // ::ffff:a.b.c.d is an IPv4 endpoint.
    if (parsed[0] === 0 && parsed[1] === 0 && parsed[2] === 0xffff) this.words[0] = parsed[3];
    else {
      this.isV4 = false;
      this.words.set(parsed);
    }
    return true;
  }

  /** Any address, port 0. */
  clear(isV4: boolean): void {
    this.isV4 = isV4;
    this.words.fill(0);
    this.port = 0;
  }

  copyFrom(other: Endpoint): this {
    this.isV4 = other.isV4;
    this.words.set(other.words);
    this.port = other.port;
    return this;
  }

  clone(): Endpoint {
    return new Endpoint().copyFrom(this);
  }

  get isUnspecified(): boolean {
    const w = this.words;
    return (w[0] | w[1] | w[2] | w[3]) === 0;
  }

  get isLoopback(): boolean {
    const w = this.words;
    return this.isV4 ? w[0] >>> 24 === 127 : w[0] === 0 && w[1] === 0 && w[2] === 0 && w[3] === 1;
  }

  setLoopback(isV4: boolean): void {
    this.isV4 = isV4;
    this.words.fill(0);
    if (isV4) this.words[0] = 0x7f000001;
    else this.words[3] = 1;
  }

  get ip(): string {
    return formatIp(this.words, this.isV4);
  }

  toString(): string {
    return this.isV4 ? `${this.ip}:${this.port}` : `[${this.ip}]:${this.port}`;
  }
}

/** An address prefix of a rule: `10.0.0.0/8`, `::/0`, or a bare address. */
export interface Prefix {
  isV4: boolean;
  words: Int32Array;
  length: number;
}

export function parsePrefix(text: string): Prefix | null {
  const slash = text.indexOf('/');
  const endpoint = Endpoint.parse(slash < 0 ? text : text.slice(0, slash), 0);
  if (endpoint === null) return null;
  const most = endpoint.isV4 ? 32 : 128;
  const length = slash < 0 ? most : /^\d{1,3}$/.test(text.slice(slash + 1)) ? Number(text.slice(slash + 1)) : -1;
  if (length < 0 || length > most) return null;
  const words = endpoint.words.slice();
  for (let i = 0; i < 4; i++) words[i] &= prefixMask(length, i);
  return { isV4: endpoint.isV4, words, length };
}

/** Word `i` of the mask of a prefix of `length` bits. */
export function prefixMask(length: number, i: number): number {
  const bits = Math.min(Math.max(length - 32 * i, 0), 32);
  return bits === 0 ? 0 : (0xffffffff << (32 - bits)) | 0;
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix.words, prefix.isV4)}/${prefix.length}`;
}

/** Text of an address; IPv6 as RFC 5952 has it. */
export function formatIp(words: Int32Array, isV4: boolean): string {
  if (isV4) return `${words[0] >>> 24}.${(words[0] >>> 16) & 255}.${(words[0] >>> 8) & 255}.${words[0] & 255}`;
  const groups: number[] = [];
  for (let i = 0; i < 4; i++) groups.push(words[i] >>> 16, words[i] & 0xffff);
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

function parseIPv4(text: string): number {
  const [a, b, c, d] = text.split('.').map(Number);
  return (a << 24) | (b << 16) | (c << 8) | d;
}

function parseIPv6(text: string): number[] {
  const zone = text.indexOf('%');
  let address = zone < 0 ? text : text.slice(0, zone);
  const dotted = address.lastIndexOf('.') > 0 ? address.slice(address.lastIndexOf(':') + 1) : '';
  if (dotted !== '') {
    const v4 = parseIPv4(dotted);
    address = `${address.slice(0, address.length - dotted.length)}${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
  }
  const [front, back] = address.split('::');
  const list = (part: string | undefined): number[] => (part ? part.split(':').map((group) => Number.parseInt(group, 16)) : []);
  const head = list(front);
  const tail = list(back);
  const groups = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return [0, 1, 2, 3].map((i) => (groups[2 * i] << 16) | groups[2 * i + 1]);
}
