/**
 * The OpenSSL inside Node (3.x) as node:ffi sees it: functions by their C names, callbacks, and the shared memory BIO pair.
 *
 * A call costs about 30 ns, with a bigint for each pointer made up front. Callbacks that OpenSSL calls from inside a call run on
 * the calling thread; they must not throw, so `callback` turns anything thrown into the value that refuses.
 *
 * BIOs without copies: OpenSSL's memory BIO keeps its bytes in a BUF_MEM {length, data, max, flags}, of which BIO_get_mem_ptr is the
 * public accessor. All TLS connections of a thread share one read-only and one writable memory BIO; before each call the two are
 * pointed at the bytes at hand, by storing into those structures, so that ciphertext is read from where it was received and
 * written to where it is sent from. `checkLayout` refuses to go on with an OpenSSL whose BIO works otherwise.
 */
import ffi from 'node:ffi';
import { NativeMemory } from './memory.ts';

const P = 'pointer';
const I = 'int32';
const L = 'int64';

const SIGNATURES = {
  OpenSSL_version_num: { arguments: [], return: 'uint64' },
  TLS_method: { arguments: [], return: P },
  SSL_CTX_new: { arguments: [P], return: P },
  SSL_CTX_free: { arguments: [P], return: 'void' },
  SSL_CTX_ctrl: { arguments: [P, I, L, P], return: L },
  SSL_CTX_callback_ctrl: { arguments: [P, I, P], return: L },
  SSL_CTX_set_options: { arguments: [P, 'uint64'], return: 'uint64' },
  SSL_CTX_set_cipher_list: { arguments: [P, P], return: I },
  SSL_CTX_set_ciphersuites: { arguments: [P, P], return: I },
  SSL_CTX_use_certificate: { arguments: [P, P], return: I },
  SSL_CTX_use_PrivateKey: { arguments: [P, P], return: I },
  SSL_CTX_check_private_key: { arguments: [P], return: I },
  SSL_CTX_set_alpn_select_cb: { arguments: [P, P, P], return: 'void' },
  SSL_CTX_set_client_hello_cb: { arguments: [P, P, P], return: 'void' },
  SSL_CTX_set_cert_verify_callback: { arguments: [P, P, P], return: 'void' },
  SSL_CTX_set_verify: { arguments: [P, I, P], return: 'void' },
  SSL_CTX_set_verify_depth: { arguments: [P, I], return: 'void' },
  SSL_CTX_set_cert_store: { arguments: [P, P], return: 'void' },
  SSL_CTX_set0_CA_list: { arguments: [P, P], return: 'void' },
  SSL_CTX_set_session_id_context: { arguments: [P, P, I], return: I },
  SSL_CTX_sess_set_new_cb: { arguments: [P, P], return: 'void' },
  SSL_CTX_set_keylog_callback: { arguments: [P, P], return: 'void' },
  SSL_CTX_set_num_tickets: { arguments: [P, 'uint64'], return: I },
  SSL_CTX_set_tlsext_ticket_key_evp_cb: { arguments: [P, P], return: I },
  SSL_CTX_set_timeout: { arguments: [P, L], return: L },
  SSL_new: { arguments: [P], return: P },
  SSL_free: { arguments: [P], return: 'void' },
  SSL_set_bio: { arguments: [P, P, P], return: 'void' },
  SSL_set_accept_state: { arguments: [P], return: 'void' },
  SSL_set_connect_state: { arguments: [P], return: 'void' },
  SSL_do_handshake: { arguments: [P], return: I },
  SSL_read: { arguments: [P, P, I], return: I },
  SSL_write: { arguments: [P, P, I], return: I },
  SSL_pending: { arguments: [P], return: I },
  SSL_set_shutdown: { arguments: [P, I], return: 'void' },
  SSL_shutdown: { arguments: [P], return: I },
  SSL_get_error: { arguments: [P, I], return: I },
  SSL_ctrl: { arguments: [P, I, L, P], return: L },
  SSL_set_alpn_protos: { arguments: [P, P, I], return: I },
  SSL_get0_alpn_selected: { arguments: [P, P, P], return: 'void' },
  SSL_version: { arguments: [P], return: I },
  SSL_get_version: { arguments: [P], return: P },
  SSL_get_current_cipher: { arguments: [P], return: P },
  SSL_get_pending_cipher: { arguments: [P], return: P },
  SSL_CIPHER_get_name: { arguments: [P], return: P },
  SSL_CIPHER_get_kx_nid: { arguments: [P], return: I },
  SSL_get0_group_name: { arguments: [P], return: P },
  SSL_get_peer_signature_type_nid: { arguments: [P, P], return: I },
  SSL_session_reused: { arguments: [P], return: I },
  SSL_get0_peer_certificate: { arguments: [P], return: P },
  SSL_get_peer_cert_chain: { arguments: [P], return: P },
  SSL_get_certificate: { arguments: [P], return: P },
  SSL_get_session: { arguments: [P], return: P },
  SSL_set_session: { arguments: [P, P], return: I },
  SSL_SESSION_get_id: { arguments: [P, P], return: P },
  SSL_SESSION_get_protocol_version: { arguments: [P], return: I },
  SSL_SESSION_get_max_fragment_length: { arguments: [P], return: I },
  SSL_SESSION_free: { arguments: [P], return: 'void' },
  X509_verify_cert: { arguments: [P], return: I },
  X509_verify_cert_error_string: { arguments: [L], return: P },
  X509_STORE_new: { arguments: [], return: P },
  X509_STORE_add_cert: { arguments: [P, P], return: I },
  X509_STORE_add_crl: { arguments: [P, P], return: I },
  X509_STORE_set_flags: { arguments: [P, 'uint64'], return: I },
  X509_STORE_set_default_paths: { arguments: [P], return: I },
  X509_STORE_CTX_get0_cert: { arguments: [P], return: P },
  X509_STORE_CTX_get_error: { arguments: [P], return: I },
  X509_STORE_CTX_set_error: { arguments: [P, I], return: 'void' },
  X509_free: { arguments: [P], return: 'void' },
  X509_get_subject_name: { arguments: [P], return: P },
  X509_get_issuer_name: { arguments: [P], return: P },
  X509_get0_pubkey: { arguments: [P], return: P },
  X509_get_key_usage: { arguments: [P], return: 'uint32' },
  X509_NAME_print_ex: { arguments: [P, P, I, 'uint64'], return: I },
  X509_NAME_dup: { arguments: [P], return: P },
  i2d_X509: { arguments: [P, P], return: I },
  d2i_X509: { arguments: [P, P, L], return: P },
  PEM_read_bio_X509: { arguments: [P, P, P, P], return: P },
  PEM_read_bio_X509_AUX: { arguments: [P, P, P, P], return: P },
  PEM_read_bio_X509_CRL: { arguments: [P, P, P, P], return: P },
  PEM_read_bio_PrivateKey: { arguments: [P, P, P, P], return: P },
  X509_CRL_free: { arguments: [P], return: 'void' },
  d2i_PKCS12_bio: { arguments: [P, P], return: P },
  PKCS12_parse: { arguments: [P, P, P, P, P], return: I },
  PKCS12_free: { arguments: [P], return: 'void' },
  EVP_PKEY_free: { arguments: [P], return: 'void' },
  EVP_PKEY_get_base_id: { arguments: [P], return: I },
  EVP_PKEY_get_bits: { arguments: [P], return: I },
  EVP_EncryptInit_ex: { arguments: [P, P, P, P, P], return: I },
  EVP_DecryptInit_ex: { arguments: [P, P, P, P, P], return: I },
  EVP_MAC_CTX_set_params: { arguments: [P, P], return: I },
  EVP_CIPHER_fetch: { arguments: [P, P, P], return: P },
  RAND_bytes: { arguments: [P, I], return: I },
  BIO_s_mem: { arguments: [], return: P },
  BIO_new: { arguments: [P], return: P },
  BIO_new_mem_buf: { arguments: [P, I], return: P },
  BIO_free: { arguments: [P], return: I },
  BIO_up_ref: { arguments: [P], return: I },
  BIO_read: { arguments: [P, P, I], return: I },
  BIO_write: { arguments: [P, P, I], return: I },
  BIO_ctrl: { arguments: [P, I, L, P], return: L },
  BIO_get_data: { arguments: [P], return: P },
  OPENSSL_sk_num: { arguments: [P], return: I },
  OPENSSL_sk_value: { arguments: [P, I], return: P },
  OPENSSL_sk_new_null: { arguments: [], return: P },
  OPENSSL_sk_push: { arguments: [P, P], return: I },
  OPENSSL_sk_free: { arguments: [P], return: 'void' },
  ERR_get_error: { arguments: [], return: 'uint64' },
  ERR_clear_error: { arguments: [], return: 'void' },
  ERR_lib_error_string: { arguments: ['uint64'], return: P },
  ERR_reason_error_string: { arguments: ['uint64'], return: P },
  CRYPTO_malloc: { arguments: ['uint64', P, I], return: P },
} as const;

const open = () => ffi.dlopen(null, SIGNATURES);
type OpenSsl = ReturnType<typeof open>;

let lib: OpenSsl['lib'];
/** The OpenSSL functions themselves, by their C names; there after `loadOpenSsl`. */
export let ssl: OpenSsl['functions'];

/** Finds OpenSSL in this process, once per thread that uses TLS. Throws when it is not there. */
export function loadOpenSsl(): void {
  if (ssl !== undefined) return;
  let opened: OpenSsl;
  try {
    opened = open();
  } catch (error) {
    throw new Error(`this Node does not export the OpenSSL that TLS needs: ${error instanceof Error ? error.message : error}`);
  }
  lib = opened.lib;
  ssl = opened.functions;
}

/** Text at a C string's address; '' for NULL. */
export function cString(pointer: bigint): string {
  return pointer === 0n ? '' : (ffi.toString(pointer) ?? '');
}

/** A copy of `length` bytes at an address. */
export function bytesAt(pointer: bigint, length: number): Uint8Array {
  return length === 0 ? new Uint8Array(0) : new Uint8Array(ffi.toArrayBuffer(pointer, length, true));
}

export function readUint32(pointer: bigint): number {
  return ffi.getUint32(pointer, 0);
}

export function readPointer(pointer: bigint): bigint {
  return ffi.getUint64(pointer, 0);
}

export function writePointer(pointer: bigint, value: bigint): void {
  ffi.setUint64(pointer, 0, value);
}

export function writeByte(pointer: bigint, value: number): void {
  ffi.setUint8(pointer, 0, value);
}

export function writeBytes(pointer: bigint, bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) ffi.setUint8(pointer, i, bytes[i]);
}

/** Runs `use` with the address of `bytes`, which must not move meanwhile: nothing in between allocates on their behalf. */
export function withBytes<T>(bytes: Uint8Array, use: (pointer: bigint, length: number) => T): T {
  // A copy outside the JavaScript heap: small arrays live inside it, where the collector moves them.
  const native = Buffer.allocUnsafeSlow(Math.max(bytes.length, 128));
  native.set(bytes);
  const result = use(ffi.getRawPointer(native), bytes.length);
  // Touched after the call: not collected during it. What was in it may be a key.
  native.fill(0);
  return result;
}

/** Runs `use` with the address of a NUL-terminated copy of `text`. */
export function withText<T>(text: string, use: (pointer: bigint) => T): T {
  return withBytes(Buffer.from(`${text}\0`), use);
}

/** Memory for constants that OpenSSL keeps pointing to: for the life of the thread, cut from pages. */
export class NativeConstants {
  private memory = NativeMemory.map(64 * 1024);
  private used = 0;

  /** A copy of `bytes`, followed by a NUL, at a multiple of 16. */
  add(bytes: Uint8Array): bigint {
    const length = (bytes.length + 16) & ~15;
    if (this.used + length > this.memory.size) {
      this.memory = NativeMemory.map(Math.max(64 * 1024, length));
      this.used = 0;
    }
    const at = this.used;
    this.memory.u8.set(bytes, at);
    this.used += length;
    return this.memory.pointer + BigInt(at);
  }
}

type CallbackArgument = 'pointer' | 'int32' | 'uint32';

/**
 * A C function that calls `run`; `refused` is returned when it throws, and `onThrow` hears of it. For the life of the thread.
 * Pointers arrive as bigints.
 */
export function callback(
  argumentTypes: readonly CallbackArgument[],
  returns: 'int32' | 'void',
  refused: number,
  // biome-ignore lint/suspicious/noExplicitAny: the arguments are what `argumentTypes` says
  run: (...values: any[]) => number,
): bigint {
  const guarded = (...values: unknown[]): number | undefined => {
    let result = refused;
    try {
      result = run(...values);
    } catch (error) {
      lastThrown = error;
    }
    return returns === 'void' ? undefined : result;
  };
  return lib.registerCallback({ arguments: [...argumentTypes], return: returns }, guarded);
}

let lastThrown: unknown = null;

/** What a callback threw since the last time this was asked; null for nothing. */
export function takeThrown(): unknown {
  const thrown = lastThrown;
  lastThrown = null;
  return thrown;
}

const BIO_C_GET_BUF_MEM_PTR = 115;
const BIO_C_SET_BUF_MEM_EOF_RETURN = 130;
/** More than any flight of handshake messages: those hold our own certificates, whose size is checked when they are loaded. */
export const STAGING_SIZE = 1 << 20;

/** One per thread; see the head of this file. Lengths are below 2^31, so the upper halves of lengths stay 0. */
export class SharedBios {
  readonly readBio: bigint;
  readonly writeBio: bigint;
  /** Where output goes that is not bounded by a block: handshakes and alerts. */
  readonly staging = NativeMemory.map(STAGING_SIZE, { noReserve: true });
  private readonly input: Uint32Array;
  private readonly outputs: readonly [Uint32Array, Uint32Array];

  constructor() {
    this.readBio = ssl.BIO_new_mem_buf(this.staging.pointer, 16);
    ssl.BIO_ctrl(this.readBio, BIO_C_SET_BUF_MEM_EOF_RETURN, -1n, 0n);
    this.writeBio = ssl.BIO_new(ssl.BIO_s_mem());
    checkLayout(this.readBio, this.writeBio);
    this.input = bufMem(this.readBio, 0);
    this.outputs = [bufMem(this.writeBio, 0), bufMem(this.writeBio, 1)];
    this.resetOutput();
  }

  /** What is read next. */
  setInput(address: number, length: number): void {
    const input = this.input;
    input[0] = length;
    input[1] = 0;
    input[2] = address | 0;
    input[3] = (address / 0x1_0000_0000) | 0;
    input[4] = length;
    input[5] = 0;
  }

  /** Bytes of the input that were not taken yet. */
  get inputLength(): number {
    return this.input[0];
  }

  setOutput(address: number, room: number): void {
    const low = address | 0;
    const high = (address / 0x1_0000_0000) | 0;
    const [a, b] = this.outputs;
    a[0] = b[0] = 0;
    a[1] = b[1] = 0;
    a[2] = b[2] = low;
    a[3] = b[3] = high;
    a[4] = b[4] = room;
    a[5] = b[5] = 0;
  }

  /** Output goes to `staging`, from its start. */
  resetOutput(): void {
    this.setOutput(this.staging.address, STAGING_SIZE);
  }

  /** Bytes written since the output was set. */
  get outputLength(): number {
    return this.outputs[0][0];
  }
}

/** The BUF_MEM of a memory BIO: 0 the buffer, 1 the reading position of a writable one. */
function bufMem(bio: bigint, which: 0 | 1): Uint32Array {
  const data = ssl.BIO_get_data(bio);
  const pointer = ffi.getUint64(data, which * 8);
  return new Uint32Array(ffi.toArrayBuffer(pointer, 32, false));
}

function checkLayout(readBio: bigint, writeBio: bigint): void {
  const probe = NativeMemory.map(4096);
  probe.u8.set([1, 2, 3, 4, 5, 6, 7, 8]);
  const place = NativeMemory.map(4096);
  ssl.BIO_ctrl(writeBio, BIO_C_GET_BUF_MEM_PTR, 0n, place.pointer);
  const isOurs = ffi.getUint64(place.pointer, 0) === ffi.getUint64(ssl.BIO_get_data(writeBio), 0);
  const input = bufMem(readBio, 0);
  const address = probe.address;
  input.set([5, 0, address | 0, (address / 0x1_0000_0000) | 0, 5, 0]);
  const readOk = ssl.BIO_read(readBio, place.pointer, 100) === 5 && place.u8[4] === 5 && input[0] === 0;
  const again = ssl.BIO_read(readBio, place.pointer, 100);
  const target = NativeMemory.map(4096);
  for (const which of [0, 1] as const) {
    bufMem(writeBio, which).set([0, 0, target.address | 0, (target.address / 0x1_0000_0000) | 0, 4096, 0]);
  }
  const wrote = ssl.BIO_write(writeBio, probe.pointer, 8);
  const writeOk = wrote === 8 && target.u8[7] === 8 && bufMem(writeBio, 0)[0] === 8 && bufMem(writeBio, 1)[0] === 8;
  if (!isOurs || !readOk || again !== -1 || !writeOk) {
    throw new Error('the OpenSSL of this Node has memory BIOs of an unknown layout: TLS is not available');
  }
}
