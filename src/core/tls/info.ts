/** What a finished handshake settled, kept beyond the connection: for access logs, headers and stats. */
import { bytesAt, cString, NativeConstants, readPointer, readUint32, ssl, writePointer } from '../sys/openssl.ts';
import { Certificate, certificateDer } from './certificate.ts';

const SSL_CTRL_GET_PEER_SIGNATURE_NID = 108;
/** `TlsInfo.version` of TLS 1.3. */
export const TLS1_3 = 'TLSv1.3';
/** The hard limit of OpenSSL's own verification. */
const MAX_CHAIN = 100;

/** Names that OpenSSL holds as constants, by their addresses. */
const names = new Map<bigint, string>();

function constantName(pointer: bigint): string {
  let name = names.get(pointer);
  if (name === undefined) {
    name = cString(pointer);
    if (names.size < 1024) names.set(pointer, name);
  }
  return name;
}

/** Names of cipher suites by the addresses of their constants. */
const ciphers = new Map<bigint, string>();

function cipherName(cipher: bigint): string {
  let name = ciphers.get(cipher);
  if (name === undefined) {
    name = cString(ssl.SSL_CIPHER_get_name(cipher));
    if (ciphers.size < 1024) ciphers.set(cipher, name);
  }
  return name;
}

/** What `complete` is told of the side it is on. */
export interface TlsSide {
  readonly isServer: boolean;
  readonly seesPeerCertificate: boolean;
  readonly context: { readonly certificates: ReadonlyMap<bigint, Certificate> };
}

let slots: bigint | null = null;

export class TlsInfo {
  handshakeComplete = false;
  peerCertificateValidated = false;
  sni = '';
  alpn = '';
  version = '';
  cipher = '';
  /** The group of the key exchange, `X25519`. */
  curve = '';
  /** With which the peer proved its key, `ecdsa_secp256r1_sha256`; '' when it had to prove none. */
  signatureAlgorithm = '';
  sessionId = '';
  sessionReused = false;
  localCertificate: Certificate | null = null;
  private chain: readonly Certificate[] = [];

  get peerCertificatePresented(): boolean {
    return this.chain.length > 0;
  }

  get peerCertificate(): Certificate | null {
    return this.chain.length > 0 ? this.chain[0] : null;
  }

  get peerCertificateChain(): readonly Certificate[] {
    return this.chain;
  }

  /**
   * Reads what the handshake of `connection` settled, but for `sni` and `alpn` on the accepting side, which its owner knows. Nothing is
   * asked whose answer is known: with an address as an argument each question costs a quarter of a microsecond.
   */
  complete(connection: bigint, side: TlsSide): void {
    const { isServer, seesPeerCertificate } = side;
    const local = side.context.certificates;
    slots ??= new NativeConstants().add(new Uint8Array(64));
    const at = slots;
    this.handshakeComplete = true;
    this.version = constantName(ssl.SSL_get_version(connection));
    const cipher = ssl.SSL_get_current_cipher(connection);
    this.cipher = cipher === 0n ? '' : cipherName(cipher);
    const curve = ssl.SSL_get0_group_name(connection);
    if (curve !== 0n) this.curve = groupName(constantName(curve));
    if (seesPeerCertificate && ssl.SSL_get_peer_signature_type_nid(connection, at) === 1) {
      const type = readUint32(at);
      ssl.SSL_ctrl(connection, SSL_CTRL_GET_PEER_SIGNATURE_NID, 0n, at);
      this.signatureAlgorithm = SIGNATURES[`${type} ${readUint32(at)}`] ?? '';
    }
    this.sessionReused = ssl.SSL_session_reused(connection) === 1;
    if (!isServer) {
      writePointer(at, 0n);
      ssl.SSL_get0_alpn_selected(connection, at, at + 8n);
      const name = readPointer(at);
      if (name !== 0n) this.alpn = Buffer.from(bytesAt(name, readUint32(at + 8n))).toString('latin1');
    }
    if (local.size === 1) [this.localCertificate] = local.values();
    else if (local.size > 1) this.localCertificate = local.get(ssl.SSL_get_certificate(connection)) ?? null;
    // In TLS 1.3 the id means nothing.
    const session = this.version === TLS1_3 ? 0n : ssl.SSL_get_session(connection);
    if (session !== 0n) {
      const id = ssl.SSL_SESSION_get_id(session, at);
      const length = readUint32(at);
      if (length > 0) this.sessionId = Buffer.from(bytesAt(id, length)).toString('hex');
    }
    const peer = seesPeerCertificate ? ssl.SSL_get0_peer_certificate(connection) : 0n;
    if (peer !== 0n) this.chain = readChain(connection, peer, isServer);
  }
}

/** NIDs of key and hash -> the names of RFC 8446 4.2.3. */
const SIGNATURES: Record<string, string> = {
  '6 672': 'rsa_pkcs1_sha256',
  '6 673': 'rsa_pkcs1_sha384',
  '6 674': 'rsa_pkcs1_sha512',
  '912 672': 'rsa_pss_rsae_sha256',
  '912 673': 'rsa_pss_rsae_sha384',
  '912 674': 'rsa_pss_rsae_sha512',
  '408 672': 'ecdsa_secp256r1_sha256',
  '408 673': 'ecdsa_secp384r1_sha384',
  '408 674': 'ecdsa_secp521r1_sha512',
  '1087 0': 'ed25519',
};

/** BoringSSL's names, which stats and configuration use. */
const GROUPS: Record<string, string> = { x25519: 'X25519', secp256r1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

function groupName(name: string): string {
  return GROUPS[name] ?? name;
}

function readChain(connection: bigint, peer: bigint, isServer: boolean): Certificate[] {
  const found = [new Certificate(certificateDer(peer))];
  const chain = ssl.SSL_get_peer_cert_chain(connection);
  if (chain === 0n) return found;
  const count = Math.min(ssl.OPENSSL_sk_num(chain), MAX_CHAIN);
  // Clients get the leaf as part of the chain, servers do not.
  for (let i = isServer ? 0 : 1; i < count; i++) {
    found.push(new Certificate(certificateDer(ssl.OPENSSL_sk_value(chain, i))));
  }
  return found;
}
