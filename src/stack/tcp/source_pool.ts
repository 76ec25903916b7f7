/**
 * Addresses that active opens take turns to leave from (VPP: `tcp src-address`), so that more connections to one peer are possible than there
 * are ports.
 */
import type { IpAddress } from '../ip/address.ts';

export class SourcePool {
  private readonly pools = new Map<string, { list: IpAddress[]; next: number }>();

  get size(): number {
    let size = 0;
    for (const { list } of this.pools.values()) size += list.length;
    return size;
  }

  add(address: IpAddress, fib: number): void {
    const key = keyOf(address.isV4, fib);
    const pool = this.pools.get(key) ?? { list: [], next: 0 };
    this.pools.set(key, pool);
    if (!pool.list.some((each) => each.equals(address))) pool.list.push(address);
  }

  clear(): void {
    this.pools.clear();
  }

  /** How many there are to try for that family and table. */
  count(isV4: boolean, fib: number): number {
    return this.pools.get(keyOf(isV4, fib))?.list.length ?? 0;
  }

  /** The next in turn; there must be one. */
  take(isV4: boolean, fib: number): IpAddress {
    const pool = this.pools.get(keyOf(isV4, fib))!;
    const address = pool.list[pool.next];
    pool.next = (pool.next + 1) % pool.list.length;
    return address;
  }

  *all(): IterableIterator<{ address: IpAddress; fib: number }> {
    for (const [key, { list }] of this.pools) for (const address of list) yield { address, fib: Number(key.slice(2)) };
  }
}

function keyOf(isV4: boolean, fib: number): string {
  return `${isV4 ? 4 : 6}/${fib}`;
}
