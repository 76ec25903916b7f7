/**
 * Reads `envoy.extensions.transport_sockets.tls.v3` contexts into settings of the TLS engine, and says which files they came from.
 *
 * Refused with a clear error: SDS from a control plane, certificate providers, private key providers, custom handshakers and validators, signed
 * certificate timestamps, TLS below 1.2, renegotiation.
 */
import { TlsConfigError } from '../../../../core/tls/errors.ts';
import type { OcspStaplePolicy } from '../../../../core/tls/ocsp.ts';
import type {
  ClientTlsSettings,
  CommonTlsSettings,
  SanMatcher,
  SanType,
  ServerTlsSettings,
  TlsCertificateSettings,
  TlsVersion,
  ValidationSettings,
} from '../../../../core/tls/settings.ts';
import { TICKET_KEY_SIZE } from '../../../../core/tls/ticket_keys.ts';
import { type DataSourceConfig, readDataSource } from '../../../common/data_source.ts';
import { compileStringMatcher, type StringMatcherConfig } from '../../../common/matchers.ts';
import { ConfigError } from '../../../config/error.ts';
import { type KeyLogConfig, keyLogTo } from './key_log.ts';

export interface TlsCertificateConfig {
  certificateChain?: DataSourceConfig;
  privateKey?: DataSourceConfig;
  pkcs12?: DataSourceConfig;
  password?: DataSourceConfig;
  ocspStaple?: DataSourceConfig;
  watchedDirectory?: { path: string };
}

export interface CertificateValidationConfig {
  trustedCa?: DataSourceConfig;
  systemRootCerts?: object;
  watchedDirectory?: { path: string };
  verifyCertificateSpki?: readonly string[];
  verifyCertificateHash?: readonly string[];
  matchTypedSubjectAltNames?: readonly { sanType?: string; matcher?: StringMatcherConfig; oid?: string }[];
  matchSubjectAltNames?: readonly StringMatcherConfig[];
  crl?: DataSourceConfig;
  allowExpiredCertificate?: boolean;
  trustChainVerification?: 'VERIFY_TRUST_CHAIN' | 'ACCEPT_UNTRUSTED';
  onlyVerifyLeafCertCrl?: boolean;
  maxVerifyDepth?: number;
}

export interface CommonTlsContextConfig {
  tlsParams?: {
    tlsMinimumProtocolVersion?: string;
    tlsMaximumProtocolVersion?: string;
    cipherSuites?: readonly string[];
    ecdhCurves?: readonly string[];
    signatureAlgorithms?: readonly string[];
    compliancePolicies?: readonly string[];
  };
  tlsCertificates?: readonly TlsCertificateConfig[];
  validationContext?: CertificateValidationConfig;
  alpnProtocols?: readonly string[];
  keyLog?: KeyLogConfig;
}

export interface DownstreamTlsContextConfig {
  commonTlsContext?: CommonTlsContextConfig;
  requireClientCertificate?: boolean;
  sessionTicketKeys?: { keys?: readonly DataSourceConfig[] };
  disableStatelessSessionResumption?: boolean;
  disableStatefulSessionResumption?: boolean;
  sessionTimeout?: number;
  ocspStaplePolicy?: OcspStaplePolicy;
  fullScanCertsOnSniMismatch?: boolean;
  preferClientCiphers?: boolean;
}

export interface UpstreamTlsContextConfig {
  commonTlsContext?: CommonTlsContextConfig;
  sni?: string;
  autoHostSni?: boolean;
  autoSniSanValidation?: boolean;
  maxSessionKeys?: number;
  enforceRsaKeyUsage?: boolean;
}

const DEFAULT_SESSION_TIMEOUT_MS = 7_200_000;

/** Reads files and the environment. Throws ConfigError. */
export function serverSettings(config: DownstreamTlsContextConfig): ServerTlsSettings {
  const common = config.commonTlsContext ?? {};
  if ((common.tlsCertificates ?? []).length === 0) {
    throw new ConfigError('No TLS certificates found for server context', { path: 'common_tls_context.tls_certificates' });
  }
  return {
    ...commonSettings(common, 'TLSv1_3'),
    requireClientCertificate: config.requireClientCertificate ?? false,
    preferClientCiphers: config.preferClientCiphers ?? false,
    statelessResumption: config.disableStatelessSessionResumption !== true,
    statefulResumption: config.disableStatefulSessionResumption !== true,
    ticketKeys: (config.sessionTicketKeys?.keys ?? []).map((source, i) => {
      const path = `session_ticket_keys.keys[${i}]`;
      const key = readDataSource(source, path) ?? new Uint8Array(0);
      if (key.length !== TICKET_KEY_SIZE) {
        throw new ConfigError(
          `Incorrect TLS session ticket key length. Length ${key.length}, expected length ${TICKET_KEY_SIZE}.`,
          { path },
        );
      }
      return key;
    }),
    sessionTimeoutSeconds: Math.max(1, Math.floor((config.sessionTimeout ?? DEFAULT_SESSION_TIMEOUT_MS) / 1000)),
    fullScanOnSniMismatch: config.fullScanCertsOnSniMismatch ?? false,
    ocspStaplePolicy: config.ocspStaplePolicy ?? 'LENIENT_STAPLING',
  };
}

/** Reads files and the environment. Throws ConfigError. */
export function clientSettings(config: UpstreamTlsContextConfig): ClientTlsSettings {
  const common = config.commonTlsContext ?? {};
  if ((common.tlsCertificates ?? []).length > 1) {
    throw new ConfigError('Multiple TLS certificates are not supported for client contexts', {
      path: 'common_tls_context.tls_certificates',
    });
  }
  return {
    ...commonSettings(common, 'TLSv1_2'),
    sni: config.sni ?? '',
    maxSessionKeys: config.maxSessionKeys ?? 1,
    enforceRsaKeyUsage: config.enforceRsaKeyUsage ?? false,
  };
}

/** Turns what OpenSSL says about settings into a configuration error. */
export function asConfigError<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof TlsConfigError)) throw error;
    throw new ConfigError(error.message, { path: error.part === '' ? 'common_tls_context' : `common_tls_context.${error.part}` });
  }
}

/** The files that a context reads, to be looked at for changes. */
export function filesOf(common: CommonTlsContextConfig): string[] {
  const sources: (DataSourceConfig | undefined)[] = [];
  for (const certificate of common.tlsCertificates ?? []) {
    sources.push(certificate.certificateChain, certificate.privateKey, certificate.pkcs12, certificate.ocspStaple);
    sources.push(certificate.password);
  }
  sources.push(common.validationContext?.trustedCa, common.validationContext?.crl);
  return [...new Set(sources.flatMap((source) => (source?.filename === undefined ? [] : [source.filename])))];
}

/** Where else a change may show. */
export function watchedDirectories(common: CommonTlsContextConfig): string[] {
  const directories = (common.tlsCertificates ?? []).map((certificate) => certificate.watchedDirectory?.path);
  directories.push(common.validationContext?.watchedDirectory?.path);
  return directories.filter((path) => path !== undefined);
}

function commonSettings(common: CommonTlsContextConfig, defaultMax: TlsVersion): CommonTlsSettings {
  const params = common.tlsParams;
  const version = (value: string | undefined, otherwise: TlsVersion, field: string): TlsVersion => {
    if (value === undefined || value === 'TLS_AUTO') return otherwise;
    if (value === 'TLSv1_2' || value === 'TLSv1_3') return value;
    throw new ConfigError(`${value} is not supported: TLS 1.2 and 1.3 are`, { path: `common_tls_context.tls_params.${field}` });
  };
  const fips = (params?.compliancePolicies ?? []).includes('FIPS_202205');
  return {
    minVersion: version(params?.tlsMinimumProtocolVersion, 'TLSv1_2', 'tls_minimum_protocol_version'),
    maxVersion: version(params?.tlsMaximumProtocolVersion, fips ? 'TLSv1_3' : defaultMax, 'tls_maximum_protocol_version'),
    cipherSuites: fips ? FIPS_CIPHERS : (params?.cipherSuites ?? []),
    curves: fips ? ['P-256', 'P-384'] : (params?.ecdhCurves ?? []),
    signatureAlgorithms: fips ? FIPS_SIGNATURES : (params?.signatureAlgorithms ?? []),
    alpn: alpnProtocols(common.alpnProtocols ?? []),
    certificates: (common.tlsCertificates ?? []).map(certificateSettings),
    validation: common.validationContext === undefined ? null : validationSettings(common.validationContext),
    keyLog: common.keyLog === undefined ? null : keyLogTo(common.keyLog.path),
  };
}

/** What SP 800-52r2 and FIPS 140-2 guidance allow of what is supported (Envoy: FIPS_202205). */
const FIPS_CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
];
const FIPS_SIGNATURES = [
  'rsa_pkcs1_sha256',
  'rsa_pkcs1_sha384',
  'rsa_pkcs1_sha512',
  'ecdsa_secp256r1_sha256',
  'ecdsa_secp384r1_sha384',
  'rsa_pss_rsae_sha256',
  'rsa_pss_rsae_sha384',
  'rsa_pss_rsae_sha512',
];

function alpnProtocols(configured: readonly string[]): string[] {
  // One element may hold several, comma-separated, as Envoy reads them.
  const names = configured.flatMap((element) => element.split(','));
  for (const name of names) {
    if (name.length === 0 || name.length > 255) {
      throw new ConfigError('Invalid ALPN protocol string', { path: 'common_tls_context.alpn_protocols' });
    }
  }
  return names;
}

function certificateSettings(config: TlsCertificateConfig, i: number): TlsCertificateSettings {
  const path = `common_tls_context.tls_certificates[${i}]`;
  const password = readDataSource(config.password, `${path}.password`);
  const pkcs12 = readDataSource(config.pkcs12, `${path}.pkcs12`);
  const chain = readDataSource(config.certificateChain, `${path}.certificate_chain`);
  const key = readDataSource(config.privateKey, `${path}.private_key`);
  if (config.ocspStaple?.inlineString !== undefined) {
    throw new ConfigError('OCSP staple cannot be provided via inline_string', { path: `${path}.ocsp_staple` });
  }
  if (pkcs12 !== null && (chain !== null || key !== null)) {
    throw new ConfigError("Certificate configuration can't have both certificate_chain and pkcs12 fields", { path });
  }
  return {
    chain,
    key,
    password: password === null ? null : Buffer.from(password).toString('utf8').replace(/\n$/, ''),
    pkcs12,
    ocspStaple: readDataSource(config.ocspStaple, `${path}.ocsp_staple`),
  };
}

function validationSettings(config: CertificateValidationConfig): ValidationSettings | null {
  const path = 'common_tls_context.validation_context';
  const trustedCa = readDataSource(config.trustedCa, `${path}.trusted_ca`);
  const crl = readDataSource(config.crl, `${path}.crl`);
  const systemRoots = config.systemRootCerts !== undefined;
  const hasCa = trustedCa !== null || systemRoots;
  const sanMatchers = [
    ...(config.matchTypedSubjectAltNames ?? []).map((entry, i) =>
      sanMatcher(entry.sanType as SanType, entry.matcher ?? {}, entry.oid ?? '', `${path}.match_typed_subject_alt_names[${i}]`),
    ),
    ...(config.matchSubjectAltNames ?? []).flatMap((matcher, i) =>
      (['DNS', 'URI', 'EMAIL', 'IP_ADDRESS'] as const).map((type) =>
        sanMatcher(type, matcher, '', `${path}.match_subject_alt_names[${i}]`),
      ),
    ),
  ];
  if (trustedCa !== null && systemRoots) {
    throw new ConfigError('Only one of trusted_ca and system_root_certs can be set', { path: `${path}.system_root_certs` });
  }
  if (sanMatchers.length > 0 && !hasCa) {
    throw new ConfigError('SAN-based verification of peer certificates without trusted CA is insecure and not allowed', { path });
  }
  if (crl !== null && !hasCa) {
    throw new ConfigError('Failed to load CRL without trusted CA', { path: `${path}.crl` });
  }
  const hashes = (config.verifyCertificateHash ?? []).map((hash) => hash.replaceAll(':', '').toLowerCase());
  hashes.forEach((hash, i) => {
    if (!/^[0-9a-f]{64}$/.test(hash)) {
      throw new ConfigError(`Invalid hex-encoded SHA-256 ${config.verifyCertificateHash![i]}`, {
        path: `${path}.verify_certificate_hash[${i}]`,
      });
    }
  });
  const spkis = config.verifyCertificateSpki ?? [];
  spkis.forEach((spki, i) => {
    if (!/^[0-9A-Za-z+/]{43}=$/.test(spki)) {
      throw new ConfigError(`Invalid base64-encoded SHA-256 ${spki}`, { path: `${path}.verify_certificate_spki[${i}]` });
    }
  });
  return {
    trustedCa,
    systemRoots,
    crl,
    onlyVerifyLeafCrl: config.onlyVerifyLeafCertCrl ?? false,
    maxVerifyDepth: config.maxVerifyDepth ?? -1,
    allowExpired: config.allowExpiredCertificate ?? false,
    acceptUntrusted: config.trustChainVerification === 'ACCEPT_UNTRUSTED',
    sanMatchers,
    hashes,
    spkis,
  };
}

function sanMatcher(type: SanType, config: StringMatcherConfig, oid: string, path: string): SanMatcher {
  if (type === 'OTHER_NAME' && !/^[0-2](\.\d+)+$/.test(oid)) {
    throw new ConfigError('OTHER_NAME needs the oid of the name', { path: `${path}.oid` });
  }
  const matcher = compileStringMatcher(config, `${path}.matcher`);
  return {
    type,
    oid,
    exact: config.exact ?? null,
    matches: (value) => matcher.match(value),
  };
}
