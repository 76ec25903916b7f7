/**
 * SYN cookies (RFC 4987 3.6): when the backlog is full the connection's state is in the sequence number of the SYN-ACK, and, if the peer
 * sends timestamps, its options are in the low bits of ours.
 *
 * Cookie: keyed hash of the addresses + the peer's sequence number + (minute << 24) + 24 bits of (keyed hash with the minute + MSS index).
 */
import type { IpAddress } from '../ip/address.ts';
import { hashTuple } from './isn.ts';

const MSS_TABLE = [536, 1024, 1220, 1300, 1380, 1440, 1460, 8960] as const;
const COUNT_US = 64_000_000;
/** Cookies are accepted for this many periods. */
const MAX_AGE = 2;
const LOW = 0xff_ffff;
/** Low bits of the timestamp: window scale (15: none), SACK. */
const TS_BITS = 5;

export class SynCookies {
  private readonly keyA: Int32Array;
  private readonly keyB: Int32Array;

  constructor(random: () => number) {
    this.keyA = Int32Array.from({ length: 4 }, random);
    this.keyB = Int32Array.from({ length: 4 }, random);
  }

  make(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    irs: number,
    mss: number,
    nowUs: number,
  ): number {
    let index = 0;
    while (index + 1 < MSS_TABLE.length && MSS_TABLE[index + 1] <= mss) index++;
    const count = Math.floor(nowUs / COUNT_US) & 0xff;
    const a = hashTuple(this.keyA, local, localPort, remote, remotePort);
    const b = hashTuple(this.keyB, local, localPort, remote, remotePort, count);
    return (a + irs + (count << 24) + ((b + index) & LOW)) | 0;
  }

  /** The peer's MSS from a cookie that was acknowledged, or 0 when it is none of ours or too old. */
  check(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    irs: number,
    cookie: number,
    nowUs: number,
  ): number {
    const a = hashTuple(this.keyA, local, localPort, remote, remotePort);
    const rest = (cookie - a - irs) | 0;
    const now = Math.floor(nowUs / COUNT_US) & 0xff;
    const count = (rest >>> 24) & 0xff;
    if (((now - count) & 0xff) >= MAX_AGE) return 0;
    const b = hashTuple(this.keyB, local, localPort, remote, remotePort, count);
    const index = ((rest & LOW) - b) & LOW;
    return index < MSS_TABLE.length ? MSS_TABLE[index] : 0;
  }
}

/** A timestamp not after `clock` that carries the options. */
export function encodeOptions(clock: number, windowScale: number, sack: boolean): number {
  const bits = (windowScale < 0 ? 15 : windowScale) | (sack ? 16 : 0);
  const coded = (clock & ~((1 << TS_BITS) - 1)) | bits;
  return ((coded - clock) | 0) > 0 ? (coded - (1 << TS_BITS)) | 0 : coded;
}

export function decodeOptions(tsEcr: number): { windowScale: number; sack: boolean } {
  const scale = tsEcr & 15;
  return { windowScale: scale === 15 ? -1 : scale, sack: (tsEcr & 16) !== 0 };
}
