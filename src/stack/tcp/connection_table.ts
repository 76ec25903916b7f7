/** Connections by addresses and ports: chained hash table with a secret seed, looked up straight from packet bytes. */
import type { IpAddress } from '../ip/address.ts';
import { get32 } from '../wire/bytes.ts';
import type { TcpConnection } from './connection.ts';

export class ConnectionTable {
  size = 0;
  private buckets: (TcpConnection | null)[] = new Array<TcpConnection | null>(1024).fill(null);
  private readonly seed: number;

  constructor(seed: number) {
    this.seed = seed | 1;
  }

  /** `ports`: source << 16 | destination of the arriving segment; `source` and `destination`: offsets of its addresses. */
  lookupPacket(u8: Uint8Array, isV4: boolean, source: number, destination: number, ports: number, fib = 0): TcpConnection | null {
    let hash = get32(u8, source) ^ get32(u8, destination);
    if (!isV4)
      for (let i = 4; i < 16; i += 4) hash = Math.imul(hash ^ get32(u8, source + i), 0x9e3779b1) ^ get32(u8, destination + i);
    const remotePort = ports >>> 16;
    const localPort = ports & 0xffff;
    let c = this.buckets[this.mix(hash, ports)];
    while (c !== null) {
      if (
        c.remotePort === remotePort &&
        c.localPort === localPort &&
        c.fib === fib &&
        c.remote.isV4 === isV4 &&
        c.remote.matches(u8, source) &&
        c.local.matches(u8, destination)
      )
        return c;
      c = c.hashNext;
    }
    return null;
  }

  has(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number, fib: number): boolean {
    let c = this.buckets[this.bucketOf(local, localPort, remote, remotePort)];
    while (c !== null) {
      const samePorts = c.remotePort === remotePort && c.localPort === localPort && c.fib === fib;
      if (samePorts && c.remote.equals(remote) && c.local.equals(local)) return true;
      c = c.hashNext;
    }
    return false;
  }

  add(c: TcpConnection): void {
    if (this.size >= this.buckets.length) this.grow();
    const bucket = this.bucketOf(c.local, c.localPort, c.remote, c.remotePort);
    c.hashNext = this.buckets[bucket];
    this.buckets[bucket] = c;
    this.size++;
  }

  delete(c: TcpConnection): void {
    const bucket = this.bucketOf(c.local, c.localPort, c.remote, c.remotePort);
    let at = this.buckets[bucket];
    if (at === c) this.buckets[bucket] = c.hashNext;
    else {
      while (at !== null && at.hashNext !== c) at = at.hashNext;
      if (at === null) return;
      at.hashNext = c.hashNext;
    }
    c.hashNext = null;
    this.size--;
  }

  /** All connections, for `show`. */
  *all(): Generator<TcpConnection> {
    for (const head of this.buckets) for (let c = head; c !== null; c = c.hashNext) yield c;
  }

  private bucketOf(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): number {
    let hash = remote.w0 ^ local.w0;
    if (!remote.isV4) for (let i = 1; i < 4; i++) hash = Math.imul(hash ^ remote.word(i), 0x9e3779b1) ^ local.word(i);
    return this.mix(hash, (remotePort << 16) | localPort);
  }

  private mix(hash: number, ports: number): number {
    let h = Math.imul(hash ^ this.seed, 0x85ebca6b) ^ ports;
    h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
    return (h ^ (h >>> 13)) & (this.buckets.length - 1);
  }

  private grow(): void {
    const all = [...this.all()];
    this.buckets = new Array<TcpConnection | null>(this.buckets.length * 4).fill(null);
    this.size = 0;
    for (const c of all) this.add(c);
  }
}
