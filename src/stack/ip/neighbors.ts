/**
 * Link-layer addresses of neighbours: ARP (RFC 826) and neighbour discovery (RFC 4861) share the states. Packets wait for an answer up to
 * a bound; an answer nobody asked for only refreshes what is known. Left out: router discovery.
 */
import type { Packet } from '../graph/packet.ts';
import type { IpAddress } from './address.ts';

const MAX_WAITING = 16;
const MAX_NEIGHBORS = 4096;
const RETRY_US = 1_000_000;
const MAX_TRIES = 3;
const REACHABLE_US = 60_000_000;

export interface Neighbor {
  readonly address: IpAddress;
  readonly device: number;
  readonly mac: Uint8Array;
  known: boolean;
  waiting: Packet[];
  tries: number;
  /** Next solicitation while unknown; from when on a known one is to be confirmed. */
  atUs: number;
}

export interface NeighborEvents {
  solicit(neighbor: Neighbor): void;
  /** The address is known: `packet` can go. */
  resolved(packet: Packet, neighbor: Neighbor): void;
  failed(packet: Packet): void;
}

export class NeighborTable {
  private readonly table = new Map<string, Neighbor>();
  private readonly incomplete = new Set<Neighbor>();
  private readonly events: NeighborEvents;

  constructor(events: NeighborEvents) {
    this.events = events;
  }

  /** Sends `packet` to `address` now or when it is resolved. */
  send(packet: Packet, device: number, address: IpAddress, nowUs: number): void {
    const key = `${device}/${address}`;
    let neighbor = this.table.get(key);
    if (neighbor === undefined) neighbor = this.create(key, device, address, nowUs);
    if (neighbor.known) {
      if (nowUs > neighbor.atUs) {
        neighbor.atUs = nowUs + RETRY_US;
        this.events.solicit(neighbor);
      }
      this.events.resolved(packet, neighbor);
      return;
    }
    if (neighbor.waiting.length >= MAX_WAITING) this.events.failed(neighbor.waiting.shift()!);
    neighbor.waiting.push(packet);
    if (neighbor.tries === 0) this.solicit(neighbor, nowUs);
  }

  /** Someone said where `address` is. `create`: also note it when we never asked (it has asked us). */
  learn(device: number, address: IpAddress, mac: Uint8Array, at: number, create: boolean, nowUs: number): void {
    const key = `${device}/${address}`;
    let neighbor = this.table.get(key);
    if (neighbor === undefined) {
      if (!create) return;
      neighbor = this.create(key, device, address, nowUs);
    }
    for (let i = 0; i < 6; i++) neighbor.mac[i] = mac[at + i];
    neighbor.known = true;
    neighbor.tries = 0;
    neighbor.atUs = nowUs + REACHABLE_US;
    this.incomplete.delete(neighbor);
    for (const packet of neighbor.waiting.splice(0)) this.events.resolved(packet, neighbor);
  }

  poll(nowUs: number): void {
    for (const neighbor of this.incomplete) {
      if (neighbor.atUs > nowUs) continue;
      if (neighbor.tries < MAX_TRIES) this.solicit(neighbor, nowUs);
      else {
        this.incomplete.delete(neighbor);
        this.table.delete(`${neighbor.device}/${neighbor.address}`);
        for (const packet of neighbor.waiting.splice(0)) this.events.failed(packet);
      }
    }
  }

  nextDeadlineUs(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const neighbor of this.incomplete) next = Math.min(next, neighbor.atUs);
    return next;
  }

  all(): Neighbor[] {
    return [...this.table.values()];
  }

  clear(): void {
    for (const neighbor of this.table.values()) for (const packet of neighbor.waiting.splice(0)) packet.free();
    this.table.clear();
    this.incomplete.clear();
  }

  private create(key: string, device: number, address: IpAddress, nowUs: number): Neighbor {
    if (this.table.size >= MAX_NEIGHBORS) {
      for (const [oldKey, old] of this.table) {
        if (!old.known) continue;
        this.table.delete(oldKey);
        break;
      }
    }
    const neighbor: Neighbor = { address, device, mac: new Uint8Array(6), known: false, waiting: [], tries: 0, atUs: nowUs };
    this.table.set(key, neighbor);
    return neighbor;
  }

  private solicit(neighbor: Neighbor, nowUs: number): void {
    neighbor.tries++;
    neighbor.atUs = nowUs + RETRY_US;
    this.incomplete.add(neighbor);
    this.events.solicit(neighbor);
  }
}
