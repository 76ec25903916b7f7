/** Facts of one certificate, read from its DER when asked for, and loading certificates and keys from PEM and PKCS #12. */
import { createHash } from 'node:crypto';
import { bytesAt, NativeConstants, readPointer, ssl, withBytes, withText, writePointer } from '../sys/openssl.ts';
import { type CertificateFields, parseCertificate, type SubjectAltNames } from './der.ts';
import { errorText, TlsConfigError, takeErrors } from './errors.ts';

const NO_FIELDS: CertificateFields = {
  serialNumber: '',
  validFromMs: Number.NaN,
  expirationMs: Number.NaN,
  publicKeyInfo: new Uint8Array(0),
  sans: { uri: [], dns: [], ip: [], email: [], otherName: [], otherNameOids: [] },
  mustStaple: false,
};

export class Certificate {
  readonly der: Uint8Array;
  private fieldsRead: CertificateFields | null = null;
  private names: { subject: string; issuer: string } | null = null;

  constructor(der: Uint8Array) {
    this.der = der;
  }

  get fields(): CertificateFields {
    this.fieldsRead ??= parseCertificate(this.der) ?? NO_FIELDS;
    return this.fieldsRead;
  }

  get sans(): SubjectAltNames {
    return this.fields.sans;
  }

  get sha256(): string {
    return createHash('sha256').update(this.der).digest('hex');
  }

  get sha1(): string {
    return createHash('sha1').update(this.der).digest('hex');
  }

  /** Of the public key info, base64: what `verify_certificate_spki` holds. */
  get spkiSha256(): string {
    return createHash('sha256').update(this.fields.publicKeyInfo).digest('base64');
  }

  get serialNumber(): string {
    return this.fields.serialNumber;
  }

  get subject(): string {
    return this.readNames().subject;
  }

  get issuer(): string {
    return this.readNames().issuer;
  }

  get uriSans(): readonly string[] {
    return this.sans.uri;
  }

  get dnsSans(): readonly string[] {
    return this.sans.dns;
  }

  get ipSans(): readonly string[] {
    return this.sans.ip;
  }

  get emailSans(): readonly string[] {
    return this.sans.email;
  }

  get otherNameSans(): readonly string[] {
    return this.sans.otherName;
  }

  get validFromMs(): number {
    return this.fields.validFromMs;
  }

  get expirationMs(): number {
    return this.fields.expirationMs;
  }

  get pem(): string {
    const base64 = Buffer.from(this.der).toString('base64');
    return `-----BEGIN CERTIFICATE-----\n${base64.replace(/(.{64})(?=.)/g, '$1\n')}\n-----END CERTIFICATE-----\n`;
  }

  private readNames(): { subject: string; issuer: string } {
    if (this.names !== null) return this.names;
    this.names = { subject: '', issuer: '' };
    const x509 = certificateFromDer(this.der);
    if (x509 === 0n) return this.names;
    this.names = { subject: nameText(ssl.X509_get_subject_name(x509)), issuer: nameText(ssl.X509_get_issuer_name(x509)) };
    ssl.X509_free(x509);
    return this.names;
  }
}

/** A certificate with its key, as OpenSSL objects that this module owns for as long as a context is being built. */
export interface LoadedCertificate {
  readonly x509: bigint;
  readonly chain: readonly bigint[];
  readonly key: bigint;
  readonly keyType: 'RSA' | 'EC' | 'other';
  readonly leaf: Certificate;
  /** Lower case: the DNS names, or the common name when there are none. */
  readonly serverNames: readonly string[];
  free(): void;
}

export interface CertificateSource {
  readonly chain: Uint8Array | null;
  readonly key: Uint8Array | null;
  readonly password: string | null;
  readonly pkcs12: Uint8Array | null;
}

const XN_FLAG_RFC2253 = 0x1110317n;
const EVP_PKEY_RSA = 6;
const EVP_PKEY_EC = 408;
const EVP_PKEY_RSA_PSS = 912;
/** A chain and what TLS adds to it must fit the staging area of handshakes several times. */
const MAX_CHAIN_BYTES = 256 * 1024;
const MIN_RSA_BITS = 2048;

let slots: bigint | null = null;

/** Room for pointers that OpenSSL reads or writes; used at once, never kept. */
function pointerSlots(): bigint {
  slots ??= new NativeConstants().add(new Uint8Array(64));
  return slots;
}

/** DER of an X509; a copy. */
export function certificateDer(x509: bigint): Uint8Array {
  const length = ssl.i2d_X509(x509, 0n);
  if (length <= 0) return new Uint8Array(0);
  return withBytes(new Uint8Array(length), (pointer) => {
    writePointer(pointerSlots(), pointer);
    ssl.i2d_X509(x509, pointerSlots());
    return bytesAt(pointer, length);
  });
}

function certificateFromDer(der: Uint8Array): bigint {
  return withBytes(der, (pointer, length) => {
    writePointer(pointerSlots(), pointer);
    const x509 = ssl.d2i_X509(0n, pointerSlots(), BigInt(length));
    if (x509 === 0n) ssl.ERR_clear_error();
    return x509;
  });
}

function nameText(name: bigint): string {
  const bio = ssl.BIO_new(ssl.BIO_s_mem());
  ssl.X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253);
  const text = withBytes(new Uint8Array(4096), (pointer, length) => {
    const read = ssl.BIO_read(bio, pointer, length);
    return read > 0 ? Buffer.from(bytesAt(pointer, read)).toString('utf8') : '';
  });
  ssl.BIO_free(bio);
  return text;
}

/** Runs `use` with a memory BIO over `bytes`. */
function withBio<T>(bytes: Uint8Array, use: (bio: bigint) => T): T {
  return withBytes(bytes, (pointer, length) => {
    const bio = ssl.BIO_new_mem_buf(pointer, length);
    try {
      return use(bio);
    } finally {
      ssl.BIO_free(bio);
    }
  });
}

/** All certificates of a PEM bundle; the caller frees them. Throws TlsConfigError when there is none or one is bad. */
export function loadCertificates(pem: Uint8Array, what: string): bigint[] {
  if (pem.length === 0) throw new TlsConfigError(`${what} is empty`);
  if (!Buffer.from(pem).includes('-----BEGIN')) throw new TlsConfigError(`${what} holds no PEM block`);
  return withBio(pem, (bio) => {
    const found: bigint[] = [];
    for (;;) {
      const x509 = ssl.PEM_read_bio_X509_AUX(bio, 0n, 0n, 0n);
      if (x509 === 0n) break;
      found.push(x509);
    }
    checkPemEnd(found.length, what, () => {
      for (const x509 of found) ssl.X509_free(x509);
    });
    return found;
  });
}

/** All revocation lists of a PEM bundle; the caller frees them. */
export function loadRevocationLists(pem: Uint8Array, what: string): bigint[] {
  return withBio(pem, (bio) => {
    const found: bigint[] = [];
    for (;;) {
      const crl = ssl.PEM_read_bio_X509_CRL(bio, 0n, 0n, 0n);
      if (crl === 0n) break;
      found.push(crl);
    }
    checkPemEnd(found.length, what, () => {
      for (const crl of found) ssl.X509_CRL_free(crl);
    });
    return found;
  });
}

const ERR_LIB_PEM = 9;
const PEM_R_NO_START_LINE = 108;

/** Reading ends well with "no start line" after at least one object. */
function checkPemEnd(count: number, what: string, free: () => void): void {
  const errors = takeErrors();
  const ended = errors.every((error) => error.library === ERR_LIB_PEM && error.reason === PEM_R_NO_START_LINE);
  if (count > 0 && ended) return;
  free();
  const last = errors.at(-1)?.text.split('::').at(-1) ?? '';
  throw new TlsConfigError(ended ? `${what} holds none` : `${what} cannot be read: ${last}`);
}

/** Throws TlsConfigError. */
export function loadCertificate(source: CertificateSource): LoadedCertificate {
  const parts = source.pkcs12 !== null ? loadPkcs12(source.pkcs12, source.password) : loadPem(source);
  const [x509, ...chain] = parts.certificates;
  const { key } = parts;
  const free = (): void => {
    for (const certificate of parts.certificates) ssl.X509_free(certificate);
    if (key !== 0n) ssl.EVP_PKEY_free(key);
  };
  try {
    const type = ssl.EVP_PKEY_get_base_id(ssl.X509_get0_pubkey(x509));
    const isRsa = type === EVP_PKEY_RSA || type === EVP_PKEY_RSA_PSS;
    const bits = ssl.EVP_PKEY_get_bits(ssl.X509_get0_pubkey(x509));
    if (isRsa && bits < MIN_RSA_BITS) {
      throw new TlsConfigError(`the certificate's RSA key has ${bits} bits: at least ${MIN_RSA_BITS} are needed`);
    }
    const leaf = new Certificate(certificateDer(x509));
    const names = leaf.dnsSans.length > 0 ? leaf.dnsSans : commonNames(leaf.subject);
    return {
      x509,
      chain,
      key,
      keyType: isRsa ? 'RSA' : type === EVP_PKEY_EC ? 'EC' : 'other',
      leaf,
      serverNames: names.map((name) => name.toLowerCase()),
      free,
    };
  } catch (error) {
    free();
    throw error;
  }
}

function commonNames(subject: string): string[] {
  const match = /(?:^|[,+])CN=((?:\\.|[^,+\\])+)/.exec(subject);
  return match === null ? [] : [match[1]];
}

function loadPem(source: CertificateSource): { certificates: bigint[]; key: bigint } {
  const chain = source.chain ?? new Uint8Array(0);
  if (chain.length > MAX_CHAIN_BYTES) {
    throw new TlsConfigError(`the certificate chain has ${chain.length} bytes: at most ${MAX_CHAIN_BYTES} can be used`);
  }
  const certificates = loadCertificates(chain, 'the certificate chain');
  if (source.key === null || source.key.length === 0) {
    for (const certificate of certificates) ssl.X509_free(certificate);
    throw new TlsConfigError('the certificate has no private key');
  }
  const readKey = (password: bigint): bigint => withBio(source.key!, (bio) => ssl.PEM_read_bio_PrivateKey(bio, 0n, 0n, password));
  // Without a password an empty one, so that OpenSSL does not ask on the terminal.
  const key = withText(source.password ?? '', readKey);
  if (key === 0n) {
    for (const certificate of certificates) ssl.X509_free(certificate);
    throw new TlsConfigError(`the private key cannot be read: ${errorText()}`);
  }
  return { certificates, key };
}

function loadPkcs12(bytes: Uint8Array, password: string | null): { certificates: bigint[]; key: bigint } {
  const p12 = withBio(bytes, (bio) => ssl.d2i_PKCS12_bio(bio, 0n));
  if (p12 === 0n) throw new TlsConfigError(`the PKCS #12 data cannot be read: ${errorText()}`);
  const at = pointerSlots();
  for (const slot of [0n, 8n, 16n]) writePointer(at + slot, 0n);
  const ok = withText(password ?? '', (text) => ssl.PKCS12_parse(p12, text, at, at + 8n, at + 16n));
  ssl.PKCS12_free(p12);
  if (ok !== 1) throw new TlsConfigError(`the PKCS #12 data cannot be opened: ${errorText()}`);
  const [key, leaf, others] = [readPointer(at), readPointer(at + 8n), readPointer(at + 16n)];
  const certificates = leaf === 0n ? [] : [leaf];
  if (others !== 0n) {
    for (let i = 0; i < ssl.OPENSSL_sk_num(others); i++) certificates.push(ssl.OPENSSL_sk_value(others, i));
    ssl.OPENSSL_sk_free(others);
  }
  if (leaf === 0n || key === 0n) throw new TlsConfigError('the PKCS #12 data holds no certificate with its key');
  return { certificates, key };
}
