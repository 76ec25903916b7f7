/**
 * Keys that seal session tickets (RFC 5077 4, RFC 8446 4.6.1): configured ones, of which the first seals and all open, or keys that
 * every worker derives from one secret of the process and the day: yesterday's still open, and then the ticket is renewed.
 * AES-256-CBC and HMAC-SHA256, as OpenSSL's own: the key that seals is given to OpenSSL, and only handshakes with a ticket of another one
 * call back (two tickets for each handshake cost 25 us that way, of 150).
 */
import { hkdfSync, randomBytes } from 'node:crypto';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { bytesAt, NativeConstants, ssl, writeBytes } from '../sys/openssl.ts';

/** Name (16), HMAC key (32), AES key (32). */
export const TICKET_KEY_SIZE = 80;
const NAME_SIZE = 16;
const TLS1_3_VERSION = 0x0304;
const ROTATION_MS = 24 * 3600 * 1000;
const SECRET = 'sluice.tls.ticket_secret';

interface TicketKey {
  readonly bytes: bigint;
  readonly name: Uint8Array;
  readonly aes: bigint;
  /** OSSL_PARAM array with digest and key. */
  readonly macParameters: bigint;
}

/** The main thread calls this before it starts workers: they inherit the secret. */
export function shareTicketSecret(): void {
  if (getEnvironmentData(SECRET) === undefined) setEnvironmentData(SECRET, randomBytes(32).toString('hex'));
}

export class TicketKeys {
  private readonly constants = new NativeConstants();
  private readonly configured: readonly TicketKey[];
  private readonly derived = new Map<number, TicketKey>();
  private today = -1;
  private keysOfToday: readonly TicketKey[] = [];
  private readonly nowMs: () => number;
  /** Fetched once: to look it up by name costs as much as a ticket. */
  private readonly cipher: bigint;

  constructor(configured: readonly Uint8Array[], nowMs: () => number = Date.now) {
    this.configured = configured.map((bytes) => this.toKey(bytes));
    this.nowMs = nowMs;
    this.cipher = ssl.EVP_CIPHER_fetch(0n, this.constants.add(Buffer.from('AES-256-CBC')), 0n);
  }

  /** The key that seals, as OpenSSL takes it: the address of `TICKET_KEY_SIZE` bytes, the same as long as the key is. */
  get sealing(): bigint {
    return this.current()[0].bytes;
  }

  /** All of these tickets, which begin with the names of their keys, are of the key that seals. */
  sealed(tickets: readonly Uint8Array[]): boolean {
    if (tickets.length === 0) return true;
    const { name } = this.current()[0];
    return tickets.every((ticket) => ticket.length >= NAME_SIZE && name.every((byte, i) => ticket[i] === byte));
  }

  /** OpenSSL's ticket callback: 1 done, 2 done and renew, 0 unknown key, -1 error. */
  use(connection: bigint, name: bigint, iv: bigint, cipher: bigint, mac: bigint, seal: boolean): number {
    const keys = this.current();
    if (seal) {
      const key = keys[0];
      if (ssl.RAND_bytes(iv, 16) !== 1) return -1;
      writeBytes(name, key.name);
      if (ssl.EVP_EncryptInit_ex(cipher, this.cipher, 0n, key.aes, iv) !== 1) return -1;
      return ssl.EVP_MAC_CTX_set_params(mac, key.macParameters) === 1 ? 1 : -1;
    }
    const wanted = bytesAt(name, NAME_SIZE);
    const index = keys.findIndex((key) => Buffer.compare(key.name, wanted) === 0);
    if (index < 0) return 0;
    const key = keys[index];
    if (ssl.EVP_MAC_CTX_set_params(mac, key.macParameters) !== 1) return -1;
    if (ssl.EVP_DecryptInit_ex(cipher, this.cipher, 0n, key.aes, iv) !== 1) return -1;
    // Clients use a ticket of TLS 1.3 once (RFC 8446 C.4), so that they need a new one each time.
    return index === 0 && ssl.SSL_version(connection) < TLS1_3_VERSION ? 1 : 2;
  }

  private current(): readonly TicketKey[] {
    if (this.configured.length > 0) return this.configured;
    const day = Math.floor(this.nowMs() / ROTATION_MS);
    if (day !== this.today) {
      this.today = day;
      this.keysOfToday = [this.derive(day), this.derive(day - 1)];
    }
    return this.keysOfToday;
  }

  private derive(day: number): TicketKey {
    let key = this.derived.get(day);
    if (key === undefined) {
      shareTicketSecret();
      const secret = String(getEnvironmentData(SECRET));
      key = this.toKey(new Uint8Array(hkdfSync('sha256', secret, '', `tickets of day ${day}`, TICKET_KEY_SIZE)));
      this.derived.set(day, key);
    }
    return key;
  }

  private toKey(bytes: Uint8Array): TicketKey {
    if (bytes.length !== TICKET_KEY_SIZE) throw new RangeError(`a ticket key has ${bytes.length} bytes`);
    const hmac = this.constants.add(bytes.subarray(NAME_SIZE, 48));
    const text = (value: string): bigint => this.constants.add(Buffer.from(value));
    const OSSL_PARAM_UTF8_STRING = 4;
    const OSSL_PARAM_OCTET_STRING = 5;
    const parameters = new DataView(new ArrayBuffer(120));
    const write = (at: number, key: bigint, type: number, data: bigint, size: number): void => {
      parameters.setBigUint64(at, key, true);
      parameters.setUint32(at + 8, type, true);
      parameters.setBigUint64(at + 16, data, true);
      parameters.setBigUint64(at + 24, BigInt(size), true);
    };
    write(0, text('digest'), OSSL_PARAM_UTF8_STRING, text('sha256'), 6);
    write(40, text('key'), OSSL_PARAM_OCTET_STRING, hmac, 32);
    return {
      bytes: this.constants.add(bytes),
      name: bytes.slice(0, NAME_SIZE),
      aes: this.constants.add(bytes.subarray(48, 80)),
      macParameters: this.constants.add(new Uint8Array(parameters.buffer)),
    };
  }
}
