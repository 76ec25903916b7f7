/** What a TLS context is made from: plain data with everything read from files already. */
import type { CertificateSource } from './certificate.ts';
import type { OcspStaplePolicy } from './ocsp.ts';

export const TLS_VERSIONS = { TLSv1_2: 0x0303, TLSv1_3: 0x0304 } as const;
export type TlsVersion = keyof typeof TLS_VERSIONS;

export interface TlsCertificateSettings extends CertificateSource {
  /** DER of an OCSP response to staple; null: none. */
  readonly ocspStaple: Uint8Array | null;
}

export type SanType = 'EMAIL' | 'DNS' | 'URI' | 'IP_ADDRESS' | 'OTHER_NAME';

export interface SanMatcher {
  readonly type: SanType;
  /** Of OTHER_NAME. */
  readonly oid: string;
  /** For DNS: also the wildcards of certificates are understood when the matcher is an exact name. */
  readonly exact: string | null;
  matches(value: string): boolean;
}

export interface ValidationSettings {
  /** PEM; null: none. */
  readonly trustedCa: Uint8Array | null;
  readonly systemRoots: boolean;
  /** PEM; null: none. */
  readonly crl: Uint8Array | null;
  readonly onlyVerifyLeafCrl: boolean;
  /** -1: OpenSSL's. */
  readonly maxVerifyDepth: number;
  readonly allowExpired: boolean;
  readonly acceptUntrusted: boolean;
  readonly sanMatchers: readonly SanMatcher[];
  /** SHA-256 of the certificate, lower-case hex without colons. */
  readonly hashes: readonly string[];
  /** SHA-256 of the public key info, base64. */
  readonly spkis: readonly string[];
}

export interface CommonTlsSettings {
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  /** For TLS 1.2, as OpenSSL names them; empty: the default. */
  readonly cipherSuites: readonly string[];
  /** Empty: the default. */
  readonly curves: readonly string[];
  readonly signatureAlgorithms: readonly string[];
  readonly alpn: readonly string[];
  readonly certificates: readonly TlsCertificateSettings[];
  /** Null: peers are not verified. */
  readonly validation: ValidationSettings | null;
  /** Gets NSS key log lines of connections. */
  readonly keyLog: ((line: string) => void) | null;
}

export interface ServerTlsSettings extends CommonTlsSettings {
  readonly requireClientCertificate: boolean;
  readonly preferClientCiphers: boolean;
  /** Sessions in tickets; false: none are issued or taken. */
  readonly statelessResumption: boolean;
  /** Sessions in this worker's memory, by id. */
  readonly statefulResumption: boolean;
  /** 80 bytes each, the first seals; empty: keys that all workers derive and that change daily. */
  readonly ticketKeys: readonly Uint8Array[];
  readonly sessionTimeoutSeconds: number;
  readonly fullScanOnSniMismatch: boolean;
  readonly ocspStaplePolicy: OcspStaplePolicy;
}

export interface ClientTlsSettings extends CommonTlsSettings {
  readonly sni: string;
  /** Sessions kept for resumption; 0: none. */
  readonly maxSessionKeys: number;
  /** False: certificates for RSA keys that may not be used so are counted in TLS 1.2, and not refused. */
  readonly enforceRsaKeyUsage: boolean;
}
