/**
 * What an application configures of TLS (VPP: `transport_endpt_crypto_cfg_t` and certificate-key pairs): plain data that travels as JSON in
 * a sealed memfd, and what a stack worker keeps of it for one application worker. Checked on both sides: the stack trusts nobody.
 */

export const TLS_VERSION_NAMES = ['TLSv1_2', 'TLSv1_3'] as const;
export type TlsVersionName = (typeof TLS_VERSION_NAMES)[number];

/** PEM texts. */
export interface CertKeyPair {
  readonly cert: string;
  readonly key: string;
  readonly password: string | null;
}

export interface CryptoConfig {
  /** Of a listener at least one; several are chosen by server name and key type. */
  readonly certificates: readonly CertKeyPair[];
  /** PEM; null: the system's roots. */
  readonly ca: string | null;
  readonly crl: string | null;
  /** The peer's certificate is verified. */
  readonly verify: boolean;
  /** Of a listener that verifies: a client without a certificate is refused. */
  readonly requireClientCertificate: boolean;
  /** A peer that leaves without close_notify has ended its stream, and not cut it off. */
  readonly allowTruncation: boolean;
  /** The application wants to know what each handshake settled. */
  readonly details: boolean;
  /** Of which the server's certificate must have one; null: the server name of the connect. */
  readonly verifyNames: readonly string[] | null;
  readonly alpn: readonly string[];
  readonly minVersion: TlsVersionName;
  readonly maxVersion: TlsVersionName;
  /** For TLS 1.2; empty: the default. */
  readonly cipherSuites: readonly string[];
  /** Empty: the default. */
  readonly curves: readonly string[];
}

export const MAX_CRYPTO_CONFIG_BYTES = 2 << 20;
export const MAX_SERVER_NAME = 255;
/** The chosen one travels as its place in the list, in a byte. */
const MAX_ALPN = 250;
/** Of one application worker. */
const MAX_CONFIGS = 1024;
const MAX_NAMES = 4096;
/** Numbers of names from here on are for one connect; those below are kept. */
export const NAMES_ONCE = 1 << 30;

/** The configuration, or what is wrong with it. */
export function checkCryptoConfig(value: unknown): CryptoConfig | string {
  if (typeof value !== 'object' || value === null) return 'is not an object';
  const v = value as Record<string, unknown>;
  const textOrNull = (x: unknown): boolean => x === null || typeof x === 'string';
  const texts = (x: unknown): x is string[] => Array.isArray(x) && x.every((item) => typeof item === 'string');
  for (const name of ['ca', 'crl']) if (!textOrNull(v[name])) return `${name} is not a PEM text`;
  for (const name of ['verify', 'requireClientCertificate', 'allowTruncation', 'details'])
    if (typeof v[name] !== 'boolean') return `${name} is not true or false`;
  for (const name of ['alpn', 'cipherSuites', 'curves']) if (!texts(v[name])) return `${name} is not a list of names`;
  if (v['verifyNames'] !== null && !texts(v['verifyNames'])) return 'verifyNames is not a list of names';
  for (const name of ['minVersion', 'maxVersion'])
    if (!TLS_VERSION_NAMES.includes(v[name] as TlsVersionName)) return `${name} is not one of ${TLS_VERSION_NAMES.join(', ')}`;
  const alpn = v['alpn'] as string[];
  if (alpn.length > MAX_ALPN || alpn.some((name) => name.length === 0 || name.length > 255 || /[^\x20-\x7e]/.test(name)))
    return `alpn has more than ${MAX_ALPN} names, or one that is empty or too long`;
  const { certificates } = v;
  const isPair = (pair: Record<string, unknown> | null): boolean =>
    pair !== null && typeof pair === 'object' && typeof pair['cert'] === 'string' && typeof pair['key'] === 'string';
  if (!Array.isArray(certificates) || !certificates.every((pair) => isPair(pair) && textOrNull(pair['password'])))
    return 'certificates is not a list of {cert, key}';
  return value as CryptoConfig;
}

/** What a session connects or listens with. */
export interface SessionCrypto {
  readonly config: CryptoConfig;
  /** Of a connect: what is sent as SNI; '' for nothing. */
  readonly serverName: string;
}

/** The configurations of one application worker, by the numbers it gave them. */
export class CryptoConfigs {
  private readonly configs = new Map<number, CryptoConfig>();
  /** Names to connect to. */
  private readonly names = new Map<number, string>();

  /** False: too many. */
  add(id: number, config: CryptoConfig): boolean {
    if (this.configs.size >= MAX_CONFIGS && !this.configs.has(id)) return false;
    this.configs.set(id, config);
    return true;
  }

  drop(id: number): void {
    this.configs.delete(id);
  }

  addName(id: number, name: string): boolean {
    if (this.names.size >= MAX_NAMES) return false;
    this.names.set(id, name);
    return true;
  }

  has(id: number, nameId: number): boolean {
    return this.configs.has(id) && (nameId === 0 || this.names.has(nameId));
  }

  /** Null when the application has not said what it means. */
  take(id: number, nameId: number): SessionCrypto | null {
    const config = this.configs.get(id);
    const serverName = nameId === 0 ? '' : this.names.get(nameId);
    if (nameId >= NAMES_ONCE) this.names.delete(nameId);
    return config === undefined || serverName === undefined ? null : { config, serverName };
  }
}
