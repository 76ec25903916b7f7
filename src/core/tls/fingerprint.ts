/**
 * Fingerprints of clients by what their hello offers: JA3 (an MD5 of numbers in the order sent) and JA4 (counts, then hashes of sorted
 * numbers, FoxIO's "JA4: TLS Client Fingerprinting"). Values of GREASE (RFC 8701) do not count.
 */
import { createHash } from 'node:crypto';

/** The numbers that a hello offers, as sent. */
export interface HelloOffer {
  /** `legacy_version`. */
  version: number;
  cipherSuites: number[];
  /** Types in their order. */
  extensions: number[];
  groups: number[];
  pointFormats: number[];
  signatureAlgorithms: number[];
  /** Of the extension; empty without it. */
  supportedVersions: number[];
  /** First application protocol, a character per byte; '' for none. */
  firstProtocol: string;
}

const SERVER_NAME = 0;
const ALPN = 16;
const VERSIONS: Record<number, string> = { 772: '13', 771: '12', 770: '11', 769: '10', 768: 's3', 2: 's2' };

export function ja3(offer: HelloOffer): string {
  const lists = [offer.cipherSuites, offer.extensions, offer.groups, offer.pointFormats];
  const parts = lists.map((list) => list.filter(isReal).join('-'));
  return createHash('md5')
    .update([offer.version, ...parts].join())
    .digest('hex');
}

export function ja4(offer: HelloOffer): string {
  const ciphers = offer.cipherSuites.filter(isReal);
  const extensions = offer.extensions.filter(isReal);
  const version = Math.max(0, ...offer.supportedVersions.filter(isReal)) || offer.version;
  const name = extensions.includes(SERVER_NAME) ? 'd' : 'i';
  const facts = `t${VERSIONS[version] ?? '00'}${name}${count(ciphers)}${count(extensions)}${protocol(offer.firstProtocol)}`;
  const others = sorted(extensions.filter((type) => type !== SERVER_NAME && type !== ALPN));
  const algorithms = offer.signatureAlgorithms.filter(isReal).map(hex4).join();
  const hashed = extensions.length === 0 ? '' : others + (algorithms === '' ? '' : `_${algorithms}`);
  return `${facts}_${shortHash(sorted(ciphers))}_${shortHash(hashed)}`;
}

/** Neither of the values 0x0a0a, 0x1a1a ... 0xfafa; numbers of one byte always. */
function isReal(value: number): boolean {
  return (value & 0x0f0f) !== 0x0a0a || value >> 8 !== (value & 0xff);
}

function count(list: readonly number[]): string {
  return String(Math.min(list.length, 99)).padStart(2, '0');
}

/** First and last character; of its bytes in hex when one of them is neither letter nor digit. */
function protocol(name: string): string {
  if (name === '') return '00';
  const ends = name[0] + name[name.length - 1];
  if (/^[0-9A-Za-z]{2}$/.test(ends)) return ends;
  const bytes = Buffer.from(name, 'latin1').toString('hex');
  return bytes[0] + bytes[bytes.length - 1];
}

function sorted(list: readonly number[]): string {
  return list.map(hex4).sort().join();
}

function hex4(value: number): string {
  return value.toString(16).padStart(4, '0');
}

function shortHash(text: string): string {
  return text === '' ? '000000000000' : createHash('sha256').update(text).digest('hex').slice(0, 12);
}
