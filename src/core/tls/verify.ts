/**
 * Verification of the peer's certificate during the handshake (Envoy: DefaultCertValidator): chain against the trusted CAs, subject
 * alternative names (any matcher suffices), certificate hash or public key pin (any suffices).
 *
 * Names are compared with what the certificate says byte for byte; a DNS name of a certificate may begin with the label `*`, which
 * stands for one label of an exact matcher.
 */
import { cString, ssl } from '../sys/openssl.ts';
import { Certificate, certificateDer } from './certificate.ts';
import type { SanMatcher, ValidationSettings } from './settings.ts';

export type VerifyFailure = 'error' | 'san' | 'cert_hash';

export interface VerifyResult {
  readonly accepted: boolean;
  /** It passed a check, and not only was not rejected. */
  readonly validated: boolean;
  readonly failure: VerifyFailure | null;
  readonly details: string;
}

const X509_V_ERR_APPLICATION_VERIFICATION = 50;

const failed = (failure: VerifyFailure, details: string): VerifyResult => ({
  accepted: false,
  validated: false,
  failure,
  details,
});

/** `store` is the X509_STORE_CTX of the handshake; `verifyNames` replace the SAN matchers when not empty. */
export function verifyPeer(store: bigint, settings: ValidationSettings, verifyNames: readonly string[]): VerifyResult {
  const result = verify(store, settings, verifyNames);
  if (!result.accepted && result.failure !== 'error') ssl.X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return result;
}

function verify(store: bigint, settings: ValidationSettings, verifyNames: readonly string[]): VerifyResult {
  const x509 = ssl.X509_STORE_CTX_get0_cert(store);
  if (x509 === 0n) return failed('error', 'verify cert failed: no certificate');
  let validated = false;
  if (settings.trustedCa !== null || settings.systemRoots) {
    if (ssl.X509_verify_cert(store) === 1) validated = true;
    else if (!settings.acceptUntrusted) {
      const code = ssl.X509_STORE_CTX_get_error(store);
      return failed('error', `verify cert failed: X509_verify_cert: ${cString(ssl.X509_verify_cert_error_string(BigInt(code)))}`);
    }
  }
  const certificate = new Certificate(certificateDer(x509));
  if (verifyNames.length > 0) {
    if (!verifyNames.some((name) => hasName(certificate, name))) return failed('san', 'verify cert failed: verify SAN list');
  } else if (settings.sanMatchers.length > 0 && !settings.sanMatchers.some((matcher) => matchesSan(certificate, matcher))) {
    return failed('san', 'verify cert failed: SAN matcher');
  }
  if (settings.hashes.length > 0 || settings.spkis.length > 0) {
    const pinned = settings.hashes.includes(certificate.sha256) || settings.spkis.includes(certificate.spkiSha256);
    if (!pinned) return failed('cert_hash', 'verify cert failed: cert hash and spki');
    validated = true;
  }
  return { accepted: true, validated, failure: null, details: '' };
}

function matchesSan(certificate: Certificate, matcher: SanMatcher): boolean {
  const { sans } = certificate;
  switch (matcher.type) {
    case 'DNS':
      return sans.dns.some((name) => matcher.matches(name) || (matcher.exact !== null && dnsNameCovers(name, matcher.exact)));
    case 'URI':
      return sans.uri.some((value) => matcher.matches(value));
    case 'EMAIL':
      return sans.email.some((value) => matcher.matches(value));
    case 'IP_ADDRESS':
      return sans.ip.some((value) => matcher.matches(value));
    case 'OTHER_NAME':
      return sans.otherName.some((value, i) => sans.otherNameOids[i] === matcher.oid && matcher.matches(value));
  }
}

/** A DNS name or IP address the certificate must be for. */
function hasName(certificate: Certificate, name: string): boolean {
  const { sans } = certificate;
  const host = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  return sans.ip.includes(host) || sans.uri.includes(name) || sans.dns.some((pattern) => dnsNameCovers(pattern, host));
}

/** RFC 6125: `*.example.com` stands for exactly one label more; letters compare without case. */
export function dnsNameCovers(pattern: string, name: string): boolean {
  const p = pattern.toLowerCase();
  const n = name.toLowerCase();
  if (p === n) return p !== '';
  if (!p.startsWith('*.') || p.indexOf('.', 2) < 0) return false;
  const dot = n.indexOf('.');
  return dot > 0 && n.slice(dot) === p.slice(1);
}
