/** Which local port a session gets when its application names none: the next one that is free, from a random start. */
import type { Endpoint } from './endpoint.ts';
import type { LookupTables } from './lookup.ts';

const MIN_PORT = 1024;
const MAX_PORT = 65535;
const TRIES = 64;
/** When the ports of 127.0.0.1 run out, 127.0.0.2 has as many again, up to here. */
const LOOPBACK_ADDRESSES = 254;

export class LocalPorts {
  private next = MIN_PORT + Math.floor(Math.random() * (MAX_PORT - MIN_PORT));

  /** Sets `local.port` so that the 5-tuple is new in `tables`; a loopback address may change. False: none was found. */
  forClient(proto: number, local: Endpoint, remote: Endpoint, tables: LookupTables): boolean {
    const addresses = local.isV4 && local.isLoopback ? LOOPBACK_ADDRESSES : 1;
    for (let address = 0; address < addresses; address++) {
      if (address > 0) local.words[0] = 0x7f000001 + address;
      for (let i = 0; i < TRIES; i++) {
        local.port = this.advance();
        if (tables.findSession(proto, local, remote) < 0) return true;
      }
    }
    return false;
  }

  /** Sets `local.port` so that nobody listens there in any of `tables`. False: all are taken. */
  forListener(proto: number, local: Endpoint, tables: readonly LookupTables[]): boolean {
    for (let i = 0; i <= MAX_PORT - MIN_PORT; i++) {
      local.port = this.advance();
      if (tables.every((table) => table.findListener(proto, local, true) < 0)) return true;
    }
    return false;
  }

  private advance(): number {
    this.next = this.next >= MAX_PORT ? MIN_PORT : this.next + 1;
    return this.next;
  }
}
