/**
 * How applications configure TLS of their sessions, and how that reaches the stack: in sealed memory over the worker's socket, once per
 * configuration. What is wrong with it is said here, before anything is sent.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { writeSync } from 'node:fs';
import { E } from '../../core/sys/libc.ts';
import { createSealedMemfd } from '../../core/sys/memfd.ts';
import { closeDescriptor, sendPacket } from '../../core/sys/unix_socket.ts';
import {
  type CertKeyPair,
  type CryptoConfig,
  checkCryptoConfig,
  MAX_CRYPTO_CONFIG_BYTES,
  MAX_SERVER_NAME,
  NAMES_ONCE,
  type TlsVersionName,
} from '../session/crypto_config.ts';
import { encodeSapi } from '../session/sapi.ts';

/** PEM. */
type Pem = string | Uint8Array;

export interface TlsOptions {
  cert?: Pem;
  key?: Pem;
  /** Of an encrypted `key`. */
  passphrase?: string;
  /** More certificates, chosen by server name and key type. */
  certificates?: readonly { cert: Pem; key: Pem; passphrase?: string }[];
  /** Who signs the peer's certificate. Default: the system's roots. */
  ca?: Pem | readonly Pem[];
  crl?: Pem;
  /** Verify the peer. Default: a client does, a listener does when there is a `ca`. */
  verify?: boolean;
  /** Of a listener that verifies: without a certificate no client comes in. Default true. */
  requireClientCertificate?: boolean;
  /** Take the end of a connection for the end of its stream, also without close_notify: for protocols that say how long they are. */
  allowTruncation?: boolean;
  /** Tell what each handshake settled (`TlsDetails`). Default: for a listener that verifies. */
  details?: boolean;
  /** Of which the server's certificate must have one. Default: the server name, if there is one. */
  verifyNames?: readonly string[];
  alpn?: readonly string[];
  /** Default TLSv1_2. */
  minVersion?: TlsVersionName;
  maxVersion?: TlsVersionName;
  cipherSuites?: readonly string[];
  curves?: readonly string[];
}

/** What a handshake settled. */
export interface TlsDetails {
  /** As the client asked for; '' for none. */
  serverName: string;
  /** `TLSv1.3`. */
  version: string;
  cipher: string;
  resumed: boolean;
  /** DER; null when the peer showed none. */
  certificate: Uint8Array | null;
}

/** Throws Error that says what is wrong. */
export function cryptoConfigOf(options: TlsOptions, isServer: boolean): CryptoConfig {
  const pairs = [...(options.certificates ?? [])];
  if (options.cert !== undefined || options.key !== undefined) {
    if (options.cert === undefined || options.key === undefined) throw new Error('tls: cert and key belong together');
    pairs.unshift({ cert: options.cert, key: options.key, passphrase: options.passphrase });
  }
  const { ca } = options;
  const cas = ca === undefined ? null : (Array.isArray(ca) ? (ca as Pem[]) : [ca as Pem]).map(textOf).join('\n');
  const config = checkCryptoConfig({
    certificates: pairs.map((pair, i) => checkPair(pair, i)),
    ca: cas,
    crl: options.crl === undefined ? null : textOf(options.crl),
    verify: options.verify ?? (!isServer || ca !== undefined),
    requireClientCertificate: isServer && (options.requireClientCertificate ?? true) && (options.verify ?? ca !== undefined),
    allowTruncation: options.allowTruncation ?? false,
    details: options.details ?? (isServer && (options.verify ?? ca !== undefined)),
    verifyNames: options.verifyNames ?? null,
    alpn: options.alpn ?? [],
    minVersion: options.minVersion ?? 'TLSv1_2',
    maxVersion: options.maxVersion ?? 'TLSv1_3',
    cipherSuites: options.cipherSuites ?? [],
    curves: options.curves ?? [],
  });
  if (typeof config === 'string') throw new Error(`tls: ${config}`);
  if (cas !== null) checkCertificates(cas, 'ca');
  return config;
}

/** The PEM of a certificate and its key, one pair. Throws Error. */
export function checkPair(pair: { cert: Pem; key: Pem; passphrase?: string }, index = 0): CertKeyPair {
  const [cert, key] = [textOf(pair.cert), textOf(pair.key)];
  const leaf = checkCertificates(cert, `certificates[${index}].cert`);
  let privateKey: ReturnType<typeof createPrivateKey>;
  try {
    privateKey = createPrivateKey({ key, passphrase: pair.passphrase });
  } catch (error) {
    throw new Error(`tls: certificates[${index}].key cannot be read: ${(error as Error).message}`);
  }
  if (!leaf.checkPrivateKey(privateKey)) throw new Error(`tls: certificates[${index}].key does not fit its certificate`);
  return { cert, key, password: pair.passphrase ?? null };
}

function checkCertificates(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new Error(`tls: ${what} holds no certificate: ${(error as Error).message}`);
  }
}

function textOf(pem: Pem): string {
  return typeof pem === 'string' ? pem : Buffer.from(pem).toString();
}

/** Certificates with their keys that an application has registered (VPP: `vppcom_add_cert_key_pair`). */
export class CertKeyPairs {
  /** Of listeners, and of clients, which verify their servers. */
  private readonly pairs: ({ listen: CryptoConfig; connect: CryptoConfig } | null)[] = [];

  /** Throws Error. */
  add(cert: string, key: string): number {
    const pair = { listen: cryptoConfigOf({ cert, key }, true), connect: cryptoConfigOf({ cert, key }, false) };
    const free = this.pairs.indexOf(null);
    const index = free < 0 ? this.pairs.length : free;
    this.pairs[index] = pair;
    return index;
  }

  delete(index: number): boolean {
    if (!this.pairs[index]) return false;
    this.pairs[index] = null;
    return true;
  }

  get(index: number, use: 'listen' | 'connect'): CryptoConfig | null {
    return this.pairs[index]?.[use] ?? null;
  }
}

const MAX_KEPT_NAMES = 1024;

/** One worker's configurations and names as the stack knows them. */
export class TlsChannel {
  private readonly socket: number;
  private nextId = 1;
  private nextName = NAMES_ONCE;
  private readonly names = new Map<string, number>();
  private readonly known = new WeakMap<CryptoConfig, number>();
  private readonly dropped = new FinalizationRegistry<number>((id) => this.drop(id));
  private closed = false;

  constructor(socket: number) {
    this.socket = socket;
  }

  close(): void {
    this.closed = true;
  }

  /** The number of a configuration, which the stack has been told; a negative errno when it cannot be. */
  idOf(config: CryptoConfig): number {
    const known = this.known.get(config);
    if (known !== undefined) return known;
    const bytes = Buffer.from(JSON.stringify(config));
    if (bytes.length > MAX_CRYPTO_CONFIG_BYTES) return -E.MSGSIZE;
    const id = this.nextId++;
    const fd = createSealedMemfd('sluice-tls', bytes.length);
    try {
      writeSync(fd, bytes, 0, bytes.length, 0);
      if (sendPacket(this.socket, encodeSapi({ type: 'cryptoConfig', id, bytes: bytes.length }), [fd]) !== null) return -E.NOBUFS;
    } finally {
      closeDescriptor(fd);
    }
    this.known.set(config, id);
    this.dropped.register(config, id);
    return id;
  }

  /** The number of a server name for one connect; 0 for ''. The first names are told once, beyond them each for its connect. */
  nameId(name: string): number {
    if (name === '') return 0;
    if (name.length > MAX_SERVER_NAME) return -E.INVAL;
    const kept = this.names.get(name);
    if (kept !== undefined) return kept;
    const keeps = this.names.size < MAX_KEPT_NAMES;
    const id = keeps ? this.names.size + 1 : this.nextName;
    if (sendPacket(this.socket, encodeSapi({ type: 'serverName', id, name })) !== null) return -E.NOBUFS;
    if (keeps) this.names.set(name, id);
    else this.nextName = id === 0x7fff_ffff ? NAMES_ONCE : id + 1;
    return id;
  }

  private drop(id: number): void {
    if (!this.closed) sendPacket(this.socket, encodeSapi({ type: 'dropCryptoConfig', id }));
  }
}
