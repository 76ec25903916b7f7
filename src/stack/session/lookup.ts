/**
 * Session lookup tables of one scope (a namespace's own, or a routing table's): established and half-open sessions by 5-tuple,
 * listeners by local endpoint, each for IPv4 and IPv6. Values are session indices. All operations are O(1).
 *
 * Order of an incoming packet or connect: established, half-open, rules, listener (address:port, any:port, address:0 for a proxy).
 * An IPv4 connect also finds a listener on `::` that is not IPv6-only.
 */
import type { Endpoint } from './endpoint.ts';
import { TupleTable } from './tuple_table.ts';

const V4_WORDS = 4;
const V6_WORDS = 10;

class Tables {
  readonly v4 = new TupleTable(V4_WORDS);
  readonly v6 = new TupleTable(V6_WORDS);
}

export class LookupTables {
  private readonly established = new Tables();
  private readonly halfOpens = new Tables();
  private readonly listeners = new Tables();
  /** Listeners on `::` that take IPv4 too, by port << 8 | proto. */
  private readonly dualStack = new Map<number, number>();
  private readonly key4 = new Int32Array(V4_WORDS);
  private readonly key6 = new Int32Array(V6_WORDS);

  addSession(proto: number, local: Endpoint, remote: Endpoint, session: number): void {
    add(this.established, this.tuple(proto, local, remote), session);
  }

  deleteSession(proto: number, local: Endpoint, remote: Endpoint): void {
    remove(this.established, this.tuple(proto, local, remote));
  }

  findSession(proto: number, local: Endpoint, remote: Endpoint): number {
    return find(this.established, this.tuple(proto, local, remote));
  }

  addHalfOpen(proto: number, local: Endpoint, remote: Endpoint, session: number): void {
    add(this.halfOpens, this.tuple(proto, local, remote), session);
  }

  deleteHalfOpen(proto: number, local: Endpoint, remote: Endpoint): void {
    remove(this.halfOpens, this.tuple(proto, local, remote));
  }

  findHalfOpen(proto: number, local: Endpoint, remote: Endpoint): number {
    return find(this.halfOpens, this.tuple(proto, local, remote));
  }

  addListener(proto: number, local: Endpoint, session: number, dualStack: boolean): void {
    add(this.listeners, this.tuple(proto, local, null), session);
    if (dualStack && !local.isV4 && local.isUnspecified) this.dualStack.set((local.port << 8) | proto, session);
  }

  deleteListener(proto: number, local: Endpoint): void {
    remove(this.listeners, this.tuple(proto, local, null));
    if (!local.isV4 && local.isUnspecified) this.dualStack.delete((local.port << 8) | proto);
  }

  /** Exactly this endpoint. */
  findExactListener(proto: number, local: Endpoint): number {
    return find(this.listeners, this.tuple(proto, local, null));
  }

  /** The listener that takes a connection to `local`, or -1. `wildcard`: also one on any address. */
  findListener(proto: number, local: Endpoint, wildcard: boolean): number {
    const exact = this.findExactListener(proto, local);
    if (exact >= 0) return exact;
    if (wildcard) {
      const any = find(this.listeners, this.wildcard(proto, local.isV4, local.port));
      if (any >= 0) return any;
      if (local.isV4) {
        const dual = this.dualStack.get((local.port << 8) | proto);
        if (dual !== undefined) return dual;
      }
    }
    const { port } = local;
    local.port = 0;
    const proxy = this.findExactListener(proto, local);
    local.port = port;
    return proxy;
  }

  get counts(): { established: number; halfOpen: number; listeners: number } {
    const sum = (tables: Tables): number => tables.v4.size + tables.v6.size;
    return { established: sum(this.established), halfOpen: sum(this.halfOpens), listeners: sum(this.listeners) };
  }

  private tuple(proto: number, local: Endpoint, remote: Endpoint | null): Int32Array {
    const key = local.isV4 ? this.key4 : this.key6;
    const words = local.isV4 ? 1 : 4;
    for (let i = 0; i < words; i++) {
      key[i] = local.words[i];
      key[words + i] = remote === null ? 0 : remote.words[i];
    }
    key[2 * words] = (local.port << 16) | (remote === null ? 0 : remote.port);
    key[2 * words + 1] = proto;
    return key;
  }

  private wildcard(proto: number, isV4: boolean, port: number): Int32Array {
    const key = isV4 ? this.key4 : this.key6;
    key.fill(0);
    key[key.length - 2] = port << 16;
    key[key.length - 1] = proto;
    return key;
  }
}

function add(tables: Tables, key: Int32Array, session: number): void {
  (key.length === V4_WORDS ? tables.v4 : tables.v6).set(key, session);
}

function remove(tables: Tables, key: Int32Array): void {
  (key.length === V4_WORDS ? tables.v4 : tables.v6).delete(key);
}

function find(tables: Tables, key: Int32Array): number {
  return (key.length === V4_WORDS ? tables.v4 : tables.v6).get(key);
}
