/**
 * The C callbacks that OpenSSL calls during handshakes: registered once per thread, they ask the connection that is being worked on.
 * Everything is synchronous, so one variable says which that is.
 */
import { bytesAt, callback, cString, ssl, writeByte, writePointer } from '../sys/openssl.ts';
import type { TicketKeys } from './ticket_keys.ts';

export interface CallbackTarget {
  /** Chooses among what a client offers: where the name lies in the list (after its length byte), and how long; -1 none, -2 refuse. */
  selectProtocol(offered: Uint8Array): number;
  /** True: the peer's certificate is accepted. `store` is the X509_STORE_CTX. */
  verify(store: bigint): boolean;
  /** True: the session's reference was kept. */
  onNewSession(session: bigint): boolean;
  readonly ticketKeys: TicketKeys | null;
  onKeyLog(line: string): void;
  ocspStaple(): Uint8Array | null;
}

const SSL_TLSEXT_ERR_OK = 0;
const SSL_TLSEXT_ERR_ALERT_FATAL = 2;
const SSL_TLSEXT_ERR_NOACK = 3;
const SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP = 71;

let target: CallbackTarget | null = null;

/** Set before each call that may call back. */
export function setCallbackTarget(to: CallbackTarget): void {
  target = to;
}

export interface Callbacks {
  readonly alpnSelect: bigint;
  readonly verify: bigint;
  readonly newSession: bigint;
  readonly ticketKey: bigint;
  readonly keyLog: bigint;
  readonly status: bigint;
}

let registered: Callbacks | null = null;

/** The addresses to give to OpenSSL. */
export function callbacks(): Callbacks {
  registered ??= {
    alpnSelect: callback(['pointer', 'pointer', 'pointer', 'pointer', 'uint32', 'pointer'], 'int32', 2, onAlpnSelect),
    verify: callback(['pointer', 'pointer'], 'int32', 0, (store: bigint) => (target!.verify(store) ? 1 : 0)),
    newSession: callback(['pointer', 'pointer'], 'int32', 0, (_: bigint, session: bigint) =>
      target!.onNewSession(session) ? 1 : 0,
    ),
    ticketKey: callback(['pointer', 'pointer', 'pointer', 'pointer', 'pointer', 'int32'], 'int32', -1, onTicketKey),
    keyLog: callback(['pointer', 'pointer'], 'void', 0, (_: bigint, line: bigint) => {
      target!.onKeyLog(cString(line));
      return 0;
    }),
    status: callback(['pointer', 'pointer'], 'int32', SSL_TLSEXT_ERR_NOACK, onStatus),
  };
  return registered;
}

function onAlpnSelect(_: bigint, out: bigint, outLength: bigint, offered: bigint, length: number): number {
  const list = bytesAt(offered, length);
  const at = target!.selectProtocol(list);
  if (at < 0) return at === -1 ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_ALERT_FATAL;
  writePointer(out, offered + BigInt(at));
  writeByte(outLength, list[at - 1]);
  return SSL_TLSEXT_ERR_OK;
}

function onTicketKey(connection: bigint, name: bigint, iv: bigint, cipher: bigint, mac: bigint, seal: number): number {
  const keys = target!.ticketKeys;
  return keys === null ? 0 : keys.use(connection, name, iv, cipher, mac, seal === 1);
}

function onStatus(connection: bigint): number {
  const staple = target!.ocspStaple();
  if (staple === null) return SSL_TLSEXT_ERR_NOACK;
  // OpenSSL frees it.
  const copy = ssl.CRYPTO_malloc(BigInt(staple.length), 0n, 0);
  for (let i = 0; i < staple.length; i++) writeByte(copy + BigInt(i), staple[i]);
  ssl.SSL_ctrl(connection, SSL_CTRL_SET_TLSEXT_STATUS_REQ_OCSP_RESP, BigInt(staple.length), copy);
  return SSL_TLSEXT_ERR_OK;
}
