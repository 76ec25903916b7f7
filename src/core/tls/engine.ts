/**
 * One TLS connection without I/O: ciphertext goes in from where it was received, plaintext comes out in the slab, and back.
 *
 * Input is given with `setInput`, then `handshake` or `read` are called until they ask for more: then all of it was taken. Output
 * that is not application data (handshake messages, alerts, key updates) is fetched with `takeOutput` after each call. `write`
 * encrypts one record straight into the slab. One call of OpenSSL per record, none that finds out nothing.
 */

import { BLOCK_SIZE, type Slab } from '../buffer/slab.ts';
import type { SliceBuffer } from '../buffer/slice_buffer.ts';
import { SharedBios, ssl, withBytes, withText } from '../sys/openssl.ts';
import { type CallbackTarget, callbacks, setCallbackTarget } from './callbacks.ts';
import type { SslContext } from './context.ts';
import {
  ERR_LIB_SSL,
  type OpenSslError,
  SSL_R_CERTIFICATE_VERIFY_FAILED,
  SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
  takeErrors,
} from './errors.ts';
import { TLS1_3, type TlsInfo } from './info.ts';
import { keyUsageFits, mayOverlookKeyUsage } from './key_usage.ts';
import type { StapleAction } from './ocsp.ts';
import type { ValidationSettings } from './settings.ts';
import type { TicketKeys } from './ticket_keys.ts';
import { type VerifyFailure, verifyPeer } from './verify.ts';

/** Results of `handshake` and `read` besides a length. */
export const WANT_INPUT = 0;
export const HANDSHAKE_DONE = 1;
/** The peer said close_notify. */
export const CLOSED = -1;
export const FAILED = -2;

const SSL_ERROR_WANT_READ = 2;
const SSL_ERROR_ZERO_RETURN = 6;
const SHUTDOWN_BOTH = 3;
const MAX_PLAINTEXT = 16_384;
/** More than any record adds: header, IV, MAC, padding; and one alert or key update before it. */
const RECORD_OVERHEAD = 256;
/** The most plaintext that `write` ever takes: its record fits a block. */
export const MAX_WRITE = BLOCK_SIZE - RECORD_OVERHEAD;
const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55;

let bios: SharedBios | null = null;

function sharedBios(): SharedBios {
  bios ??= new SharedBios();
  return bios;
}

/** What an engine asks of the configuration it was made with. */
export interface EngineOwner {
  readonly context: SslContext;
  readonly isServer: boolean;
  /** Peers are asked for certificates. */
  readonly seesPeerCertificate: boolean;
  readonly validation: ValidationSettings | null;
  /** Also of RSA certificates where only TLS 1.2 is spoken. */
  readonly enforceKeyUsage: boolean;
  readonly alpn: readonly string[];
  readonly ticketKeys: TicketKeys | null;
  readonly keyLog: ((line: string) => void) | null;
  /** True: keeps the session's reference. */
  keepSession(engine: TlsEngine, session: bigint): boolean;
}

export class TlsEngine implements CallbackTarget {
  readonly info: TlsInfo;
  readonly owner: EngineOwner;
  /** For the session cache of clients: connections with the same key may resume each other's sessions. */
  sessionKey = '';
  /** '' while nothing failed; then as Envoy writes it. */
  failureReason = '';
  /** Why verification failed. */
  verifyFailure: VerifyFailure | 'no_cert' | 'key_usage' | null = null;
  /** The peer's certificate is not for what it was used for, which was overlooked. */
  keyUsageInvalid = false;
  /** False: the owner's key log is not for this connection. */
  logsKeys = true;
  /** A protocol error, and not the mere end of the connection. */
  protocolError = false;
  /** The most plaintext that `write` takes, known with the handshake: one record, and no more. */
  maxWrite = MAX_WRITE;
  /** The client has a ticket that OpenSSL itself cannot open: our keys are asked. */
  asksTicketKeys = false;
  /** What is done for a client that asks for an OCSP response; null: it does not, or this depends on the certificate that is chosen. */
  staple: StapleAction | null = null;
  /** Why this handshake is not to be; '' when it may be. */
  refusal = '';
  /** False: the peer did not ask for short records. */
  mayLimitFragments = true;
  /** Where `read` and `write` put their bytes. */
  offset = 0;
  private readonly bios: SharedBios;
  private readonly verifyNames: readonly string[];
  private pointer: bigint;
  /** Ciphertext that OpenSSL took and that gave nothing yet: bounds the next plaintext together with what is there. */
  private held = 0;
  private verifyDetails = '';
  private broken = false;
  private saidClose = false;

  constructor(owner: EngineOwner, info: TlsInfo, verifyNames: readonly string[] = []) {
    this.owner = owner;
    this.info = info;
    this.verifyNames = verifyNames;
    this.bios = sharedBios();
    this.pointer = ssl.SSL_new(owner.context.pointer);
    if (this.pointer === 0n) throw new Error(`SSL_new: ${takeErrors().map((error) => error.text)}`);
    ssl.BIO_up_ref(this.bios.readBio);
    ssl.BIO_up_ref(this.bios.writeBio);
    ssl.SSL_set_bio(this.pointer, this.bios.readBio, this.bios.writeBio);
    if (owner.isServer) ssl.SSL_set_accept_state(this.pointer);
    else ssl.SSL_set_connect_state(this.pointer);
  }

  /** Client side, before the handshake. */
  setServerName(name: string): void {
    this.info.sni = name;
    if (name !== '') withText(name, (text) => ssl.SSL_ctrl(this.pointer, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0n, text));
  }

  /** Client side, before the handshake. */
  offerProtocols(protocols: readonly string[]): void {
    if (protocols.length === 0) return;
    const wire = Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name, 'latin1')])));
    withBytes(wire, (pointer, length) => ssl.SSL_set_alpn_protos(this.pointer, pointer, length));
  }

  /** Client side, before the handshake. */
  offerSession(session: bigint): void {
    ssl.SSL_set_session(this.pointer, session);
  }

  /** Ciphertext for the next calls, at an address. */
  setInput(address: number, length: number): void {
    this.bios.setInput(address, length);
  }

  /** Bytes of the input that were not taken. */
  get inputLeft(): number {
    return this.bios.inputLength;
  }

  /** HANDSHAKE_DONE, WANT_INPUT or FAILED. */
  handshake(): number {
    setCallbackTarget(this);
    this.bios.resetOutput();
    const result = this.asksTicketKeys ? this.handshakeWithTicketKeys() : ssl.SSL_do_handshake(this.pointer);
    if (result === 1) {
      this.info.complete(this.pointer, this.owner);
      if (this.mayLimitFragments) this.maxWrite = this.maxFragment();
      if (this.info.sessionReused && this.owner.validation !== null) this.info.peerCertificateValidated = true;
      return HANDSHAKE_DONE;
    }
    return this.onNoResult(result);
  }

  /** The length of the plaintext of the next record, which is at `offset` in `slab` with one reference; else WANT_INPUT, CLOSED, FAILED. */
  read(slab: Slab): number {
    setCallbackTarget(this);
    const shared = this.bios;
    shared.resetOutput();
    const before = shared.inputLength;
    const possible = this.held + before;
    const bound = possible < MAX_PLAINTEXT ? possible : MAX_PLAINTEXT;
    const offset = slab.reserve(bound);
    const length = ssl.SSL_read(this.pointer, BigInt(slab.address + offset), bound);
    if (length > 0) {
      slab.trimReserved(offset + length);
      this.held = 0;
      this.offset = offset;
      return length;
    }
    slab.trimReserved(offset);
    slab.release(offset);
    this.held = Math.min(MAX_PLAINTEXT, possible - shared.inputLength);
    return this.onNoResult(length);
  }

  /** Encrypts `length` (at most `maxWrite`) bytes at an address; the length of the record at `offset` in `slab`, or FAILED. */
  write(slab: Slab, source: bigint, length: number): number {
    // More would be several records, for which there is no room: memory that is not OpenSSL's must never have to grow.
    if (length > this.maxWrite) throw new RangeError(`a record of ${length} bytes where ${this.maxWrite} are allowed`);
    const room = length + RECORD_OVERHEAD;
    const offset = slab.reserve(room);
    setCallbackTarget(this);
    this.bios.setOutput(slab.address + offset, room);
    const result = ssl.SSL_write(this.pointer, source, length);
    const produced = this.bios.outputLength;
    slab.trimReserved(offset + produced);
    if (result === length) {
      this.offset = offset;
      return produced;
    }
    slab.release(offset);
    this.bios.resetOutput();
    const code = this.onNoResult(result);
    if (code === WANT_INPUT) this.broken = true;
    return FAILED;
  }

  /** Bytes that `takeOutput` would add; the next call of any engine discards them. */
  get outputPending(): number {
    return this.bios.outputLength;
  }

  /** Adds what the last call wants sent, besides what `write` returned. */
  takeOutput(to: SliceBuffer): void {
    const shared = this.bios;
    const length = shared.outputLength;
    if (length === 0) return;
    const slab = to.slab;
    for (let at = 0; at < length; ) {
      const n = Math.min(length - at, BLOCK_SIZE);
      const offset = slab.reserve(n);
      slab.u8.set(shared.staging.u8.subarray(at, at + n), offset);
      to.push(offset, n);
      at += n;
    }
    shared.resetOutput();
  }

  /** What the last call of `handshake` on the accepting side wants sent are tickets and nothing else. */
  get finishedWithTickets(): boolean {
    return this.owner.isServer && this.info.version === TLS1_3;
  }

  /** Says close_notify; `takeOutput` has it. */
  closeNotify(): void {
    if (this.pointer === 0n || this.broken || !this.info.handshakeComplete) return;
    setCallbackTarget(this);
    this.bios.resetOutput();
    if (ssl.SSL_shutdown(this.pointer) < 0) ssl.ERR_clear_error();
    else this.saidClose = true;
  }

  free(): void {
    if (this.pointer === 0n) return;
    // A session outlives a connection that just ended (RFC 4346 7.2.1), though not one that failed.
    if (!this.broken && !this.saidClose) ssl.SSL_set_shutdown(this.pointer, SHUTDOWN_BOTH);
    ssl.SSL_free(this.pointer);
    this.pointer = 0n;
  }

  // --- CallbackTarget ---

  get ticketKeys(): TicketKeys | null {
    return this.owner.ticketKeys;
  }

  selectProtocol(offered: Uint8Array): number {
    for (const name of this.owner.alpn) {
      for (let at = 0; at < offered.length; at += 1 + offered[at]) {
        if (offered[at] !== name.length || at + 1 + name.length > offered.length) continue;
        let i = 0;
        while (i < name.length && offered[at + 1 + i] === name.charCodeAt(i)) i++;
        if (i < name.length) continue;
        this.info.alpn = name;
        return at + 1;
      }
    }
    // As Envoy: no protocol in common is no error, the connection goes on without ALPN.
    return -1;
  }

  verify(store: bigint): boolean {
    const { validation } = this.owner;
    if (validation !== null) {
      const result = verifyPeer(store, validation, this.verifyNames);
      this.info.peerCertificateValidated = result.validated;
      this.verifyFailure = result.failure;
      this.verifyDetails = result.details;
      if (!result.accepted) return false;
    }
    if (keyUsageFits(store, this.pointer, this.owner.isServer)) return true;
    if (!this.owner.enforceKeyUsage && mayOverlookKeyUsage(store, this.pointer)) {
      this.keyUsageInvalid = true;
      return true;
    }
    this.info.peerCertificateValidated = false;
    this.verifyFailure = 'key_usage';
    this.verifyDetails = 'KEY_USAGE_BIT_INCORRECT';
    return false;
  }

  onNewSession(session: bigint): boolean {
    return this.owner.keepSession(this, session);
  }

  onKeyLog(line: string): void {
    if (this.logsKeys) this.owner.keyLog?.(line);
  }

  ocspStaple(): Uint8Array | null {
    const response = this.owner.context.staples.get(ssl.SSL_get_certificate(this.pointer));
    this.staple ??= response !== undefined && Date.now() <= response.nextUpdateMs ? 'staple' : 'omit';
    return response !== undefined && this.staple === 'staple' ? response.der : null;
  }

  // --- private ---

  /** The callback is the context's: it is there for this call only. */
  private handshakeWithTicketKeys(): number {
    const context = this.owner.context.pointer;
    ssl.SSL_CTX_set_tlsext_ticket_key_evp_cb(context, callbacks().ticketKey);
    const result = ssl.SSL_do_handshake(this.pointer);
    ssl.SSL_CTX_set_tlsext_ticket_key_evp_cb(context, 0n);
    return result;
  }

  /** A peer may ask for shorter records (RFC 6066 4): 512 to 4,096 bytes. */
  private maxFragment(): number {
    const session = ssl.SSL_get_session(this.pointer);
    const code = session === 0n ? 0 : ssl.SSL_SESSION_get_max_fragment_length(session) & 0xff;
    return code >= 1 && code <= 4 ? 256 << code : MAX_WRITE;
  }

  private onNoResult(result: number): number {
    const error = ssl.SSL_get_error(this.pointer, result);
    if (error === SSL_ERROR_WANT_READ) return WANT_INPUT;
    if (error === SSL_ERROR_ZERO_RETURN) return CLOSED;
    this.broken = true;
    this.onErrors(takeErrors());
    return FAILED;
  }

  private onErrors(errors: readonly OpenSslError[]): void {
    let counted = false;
    const texts: string[] = [];
    for (const error of errors) {
      if (error.library === ERR_LIB_SSL && error.reason === SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        this.verifyFailure = 'no_cert';
        counted = true;
      } else if (error.library === ERR_LIB_SSL && error.reason === SSL_R_CERTIFICATE_VERIFY_FAILED) counted = true;
      const details = this.verifyDetails === '' ? this.refusal : this.verifyDetails;
      texts.push(error.text + (details === '' ? '' : `:${details}`));
    }
    this.protocolError = errors.length > 0 && (!counted || this.verifyFailure === 'key_usage');
    this.failureReason = `TLS_error:|${texts.join('|')}:TLS_error_end`;
  }
}
