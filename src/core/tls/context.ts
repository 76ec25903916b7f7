/**
 * Builds an SSL_CTX from settings. Defaults are Envoy's: TLS 1.2 and up, ECDHE with AES-GCM or ChaCha20 only, X25519 and P-256 (and the
 * hybrid X25519MLKEM768 when it is asked for), no compression, no renegotiation.
 */
import { createHash } from 'node:crypto';
import { ssl, withBytes, withText } from '../sys/openssl.ts';
import { callbacks } from './callbacks.ts';
import { type Certificate, type LoadedCertificate, loadCertificates, loadRevocationLists } from './certificate.ts';
import { errorText, TlsConfigError } from './errors.ts';
import type { OcspResponse } from './ocsp.ts';
import {
  type ClientTlsSettings,
  type CommonTlsSettings,
  type ServerTlsSettings,
  TLS_VERSIONS,
  type ValidationSettings,
} from './settings.ts';
import { TICKET_KEY_SIZE } from './ticket_keys.ts';

const SSL_CTRL_MODE = 33;
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
const SSL_CTRL_SET_TLSEXT_TICKET_KEYS = 59;
const SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB = 63;
const SSL_CTRL_CHAIN_CERT = 89;
const SSL_CTRL_SET_GROUPS_LIST = 92;
const SSL_CTRL_SET_SIGALGS_LIST = 98;
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
const SSL_CTRL_SET_MAX_PROTO_VERSION = 124;

/** AUTO_RETRY, NO_AUTO_CHAIN, RELEASE_BUFFERS. */
const MODES = 4n | 8n | 16n;

const SSL_OP_NO_TICKET = 1n << 14n;
const SSL_OP_NO_COMPRESSION = 1n << 17n;
const SSL_OP_PRIORITIZE_CHACHA = 1n << 21n;
const SSL_OP_CIPHER_SERVER_PREFERENCE = 1n << 22n;
const SSL_OP_NO_RENEGOTIATION = 1n << 30n;
const SSL_OP_NO_CERTIFICATE_COMPRESSION = (1n << 32n) | (1n << 33n);

const SESSION_CACHE_OFF = 0n;
const SESSION_CACHE_CLIENT_EXTERNAL = 1n | 0x300n;
const SESSION_CACHE_SERVER = 2n;

const SSL_VERIFY_NONE = 0;
const SSL_VERIFY_PEER = 1;
const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 2;

const X509_V_FLAG_CRL_CHECK = 0x4n;
const X509_V_FLAG_CRL_CHECK_ALL = 0x8n;
const X509_V_FLAG_TRUSTED_FIRST = 0x8000n;
const X509_V_FLAG_PARTIAL_CHAIN = 0x8_0000n;
const X509_V_FLAG_NO_CHECK_TIME = 0x20_0000n;

const DEFAULT_CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
];
/** Not configurable, as in Envoy. */
const TLS13_CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';
const DEFAULT_CURVES = ['X25519', 'P-256'];

export interface SslContext {
  readonly pointer: bigint;
  /** By the address of the X509 that the handshake used. */
  readonly certificates: ReadonlyMap<bigint, Certificate>;
  readonly staples: ReadonlyMap<bigint, OcspResponse>;
}

/** `certificates` are used, not taken over. Throws TlsConfigError. */
export function buildServerContext(
  settings: ServerTlsSettings,
  certificates: readonly LoadedCertificate[],
  staples: readonly (OcspResponse | null)[],
): SslContext {
  return build(settings, certificates, staples, (context) => {
    let options = SSL_OP_NO_RENEGOTIATION;
    if (!settings.preferClientCiphers) options |= SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
    if (!settings.statelessResumption) options |= SSL_OP_NO_TICKET;
    ssl.SSL_CTX_set_options(context, options);
    if (!settings.statelessResumption && !settings.statefulResumption) ssl.SSL_CTX_set_num_tickets(context, 0n);
    const cache = settings.statefulResumption ? SESSION_CACHE_SERVER : SESSION_CACHE_OFF;
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, cache, 0n);
    ssl.SSL_CTX_set_timeout(context, BigInt(settings.sessionTimeoutSeconds));
    const identity = sessionIdentity(settings, certificates);
    withBytes(identity, (pointer, length) => ssl.SSL_CTX_set_session_id_context(context, pointer, length));
    if (settings.alpn.length > 0) ssl.SSL_CTX_set_alpn_select_cb(context, callbacks().alpnSelect, 0n);
    if (staples.some((staple) => staple !== null)) {
      ssl.SSL_CTX_callback_ctrl(context, SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB, callbacks().status);
    }
    let mode = settings.validation === null ? SSL_VERIFY_NONE : SSL_VERIFY_PEER;
    if (settings.requireClientCertificate) mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    setVerification(context, mode, settings.validation, true);
  });
}

/** What seals and opens tickets from now on: `TICKET_KEY_SIZE` bytes at an address. */
export function setTicketKey(context: SslContext, key: bigint): void {
  ssl.SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_TLSEXT_TICKET_KEYS, BigInt(TICKET_KEY_SIZE), key);
}

/** `onHello` is an address that OpenSSL calls with each hello. */
export function refuseHellos(context: SslContext, onHello: bigint): void {
  ssl.SSL_CTX_set_client_hello_cb(context.pointer, onHello, 0n);
}

/** Throws TlsConfigError. */
export function buildClientContext(settings: ClientTlsSettings, certificates: readonly LoadedCertificate[]): SslContext {
  return build(settings, certificates, [], (context) => {
    ssl.SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    const keeps = settings.maxSessionKeys > 0;
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, keeps ? SESSION_CACHE_CLIENT_EXTERNAL : SESSION_CACHE_OFF, 0n);
    if (keeps) ssl.SSL_CTX_sess_set_new_cb(context, callbacks().newSession);
    // Without validation too: what the key may be used for is asked in any case.
    setVerification(context, SSL_VERIFY_PEER, settings.validation, false);
  });
}

export interface KeptSession {
  readonly key: string;
  readonly session: bigint;
}

interface Natives {
  readonly context: bigint;
  readonly sessions: readonly KeptSession[];
}

const registry = new FinalizationRegistry<Natives>(({ context, sessions }) => {
  for (const { session } of sessions) ssl.SSL_SESSION_free(session);
  ssl.SSL_CTX_free(context);
});

/** Frees the context, and sessions made with it, when nothing can use `owner` any more: connections that live on keep it. */
export function freeWithOwner(owner: object, context: SslContext, sessions: readonly KeptSession[] = []): void {
  registry.register(owner, { context: context.pointer, sessions });
}

function build(
  settings: CommonTlsSettings,
  certificates: readonly LoadedCertificate[],
  staples: readonly (OcspResponse | null)[],
  finish: (context: bigint) => void,
): SslContext {
  const context = ssl.SSL_CTX_new(ssl.TLS_method());
  if (context === 0n) throw new TlsConfigError(`no TLS context: ${errorText()}`);
  try {
    ssl.SSL_CTX_ctrl(context, SSL_CTRL_MODE, MODES, 0n);
    ssl.SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_CERTIFICATE_COMPRESSION);
    setParameters(context, settings);
    for (const certificate of certificates) useCertificate(context, certificate);
    if (settings.keyLog !== null) ssl.SSL_CTX_set_keylog_callback(context, callbacks().keyLog);
    finish(context);
  } catch (error) {
    ssl.SSL_CTX_free(context);
    throw error;
  }
  const stapled = certificates.flatMap((c, i): [bigint, OcspResponse][] => {
    const staple = staples[i] ?? null;
    return staple === null ? [] : [[c.x509, staple]];
  });
  return {
    pointer: context,
    certificates: new Map(certificates.map((c) => [c.x509, c.leaf])),
    staples: new Map(stapled),
  };
}

function setParameters(context: bigint, settings: CommonTlsSettings): void {
  if (TLS_VERSIONS[settings.minVersion] > TLS_VERSIONS[settings.maxVersion]) {
    throw new TlsConfigError(`the minimum version ${settings.minVersion} is above the maximum ${settings.maxVersion}`);
  }
  const control = (command: number, value: number): bigint => ssl.SSL_CTX_ctrl(context, command, BigInt(value), 0n);
  control(SSL_CTRL_SET_MIN_PROTO_VERSION, TLS_VERSIONS[settings.minVersion]);
  control(SSL_CTRL_SET_MAX_PROTO_VERSION, TLS_VERSIONS[settings.maxVersion]);
  // `[A|B]` are equal in BoringSSL: here A is before B, and the client's ChaCha20 first wins in any case.
  const ciphers = settings.cipherSuites.flatMap((suite) => suite.replace(/^\[|\]$/g, '').split('|'));
  for (const cipher of ciphers) {
    if (withText(cipher, (text) => ssl.SSL_CTX_set_cipher_list(context, text)) !== 1) {
      ssl.ERR_clear_error();
      throw new TlsConfigError(
        `Failed to initialize cipher suites ${settings.cipherSuites.join(':')}. The following ciphers were rejected when tried individually: ${cipher}`,
      );
    }
  }
  const list = (ciphers.length > 0 ? ciphers : DEFAULT_CIPHERS).join(':');
  if (withText(list, (text) => ssl.SSL_CTX_set_cipher_list(context, text)) !== 1) {
    throw new TlsConfigError(`Failed to initialize cipher suites ${list}: ${errorText()}`);
  }
  withText(TLS13_CIPHERS, (text) => ssl.SSL_CTX_set_ciphersuites(context, text));
  const curves = (settings.curves.length > 0 ? settings.curves : DEFAULT_CURVES).join(':');
  if (withText(curves, (text) => ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_GROUPS_LIST, 0n, text)) !== 1n) {
    ssl.ERR_clear_error();
    throw new TlsConfigError(`Failed to initialize ECDH curves ${curves}`);
  }
  if (settings.signatureAlgorithms.length > 0) {
    const algorithms = settings.signatureAlgorithms.join(':');
    if (withText(algorithms, (text) => ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SIGALGS_LIST, 0n, text)) !== 1n) {
      ssl.ERR_clear_error();
      throw new TlsConfigError(`Failed to initialize TLS signature algorithms ${algorithms}`);
    }
  }
}

function useCertificate(context: bigint, certificate: LoadedCertificate): void {
  if (ssl.SSL_CTX_use_certificate(context, certificate.x509) !== 1) {
    throw new TlsConfigError(`the certificate cannot be used: ${errorText()}`);
  }
  if (ssl.SSL_CTX_use_PrivateKey(context, certificate.key) !== 1 || ssl.SSL_CTX_check_private_key(context) !== 1) {
    throw new TlsConfigError(`the private key does not fit the certificate: ${errorText()}`);
  }
  for (const link of certificate.chain) ssl.SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1n, link);
}

function setVerification(context: bigint, mode: number, settings: ValidationSettings | null, asServer: boolean): void {
  ssl.SSL_CTX_set_verify(context, mode, 0n);
  if (mode === SSL_VERIFY_NONE) return;
  ssl.SSL_CTX_set_cert_verify_callback(context, callbacks().verify, 0n);
  if (settings === null) return;
  if (settings.maxVerifyDepth >= 0) ssl.SSL_CTX_set_verify_depth(context, settings.maxVerifyDepth);
  const store = ssl.X509_STORE_new();
  ssl.SSL_CTX_set_cert_store(context, store);
  let flags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST;
  if (settings.systemRoots) ssl.X509_STORE_set_default_paths(store);
  if (settings.trustedCa !== null) {
    const names = asServer ? ssl.OPENSSL_sk_new_null() : 0n;
    for (const ca of loadCertificates(settings.trustedCa, 'trusted_ca')) {
      ssl.X509_STORE_add_cert(store, ca);
      if (asServer) ssl.OPENSSL_sk_push(names, ssl.X509_NAME_dup(ssl.X509_get_subject_name(ca)));
      ssl.X509_free(ca);
    }
    if (asServer) ssl.SSL_CTX_set0_CA_list(context, names);
  }
  if (settings.crl !== null) {
    for (const crl of loadRevocationLists(settings.crl, 'crl')) {
      ssl.X509_STORE_add_crl(store, crl);
      ssl.X509_CRL_free(crl);
    }
    flags |= settings.onlyVerifyLeafCrl ? X509_V_FLAG_CRL_CHECK : X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
  }
  if (settings.allowExpired) flags |= X509_V_FLAG_NO_CHECK_TIME;
  ssl.X509_STORE_set_flags(store, flags);
}

/** Sessions are only resumed under the configuration they were made with: the same on all workers. */
function sessionIdentity(settings: ServerTlsSettings, certificates: readonly LoadedCertificate[]): Uint8Array {
  const hash = createHash('sha256');
  for (const certificate of certificates) hash.update(certificate.serverNames.join(',')).update(certificate.leaf.der);
  const { validation } = settings;
  hash.update(settings.requireClientCertificate ? 'required' : 'optional').update(settings.alpn.join(','));
  if (validation !== null) {
    hash.update(validation.trustedCa ?? '').update(validation.crl ?? '');
    hash.update(JSON.stringify([validation.sanMatchers, validation.hashes, validation.spkis, validation.systemRoots]));
    hash.update(JSON.stringify([validation.acceptUntrusted, validation.maxVerifyDepth, validation.allowExpired]));
  }
  return hash.digest();
}
