/** JSON Web Tokens (RFC 7519) in compact form (RFC 7515): parsed and checked, all but the signature. */
import type { JwtStatus } from './status.ts';

export interface Jwt {
  readonly algorithm: string;
  /** '' when the header has none. */
  readonly keyId: string;
  readonly header: Record<string, unknown>;
  readonly payload: Record<string, unknown>;
  /** As it was sent. */
  readonly payloadText: string;
  readonly signedText: string;
  readonly signature: Buffer;
  readonly issuer: string;
  readonly subject: string;
  readonly audiences: readonly string[];
  /** Seconds since the epoch; 0: not there. */
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly expires: number;
}

const ALGORITHM = /^(?:HS|RS|PS|ES)(?:256|384|512)$|^EdDSA$/;

export function parseJwt(token: string): Jwt | JwtStatus {
  const parts = token.split('.');
  if (parts.length !== 3) return 'BadFormat';
  const [headerText, payloadText, signatureText] = parts;
  const headerBytes = base64url(headerText);
  if (headerBytes === null) return 'HeaderBadBase64';
  const header = jsonObject(headerBytes);
  if (header === null) return 'HeaderBadJson';
  const { alg, kid } = header;
  if (typeof alg !== 'string') return 'HeaderBadAlg';
  if (!ALGORITHM.test(alg)) return 'HeaderAlgNotImplemented';
  if (kid !== undefined && typeof kid !== 'string') return 'HeaderBadKid';
  const payloadBytes = base64url(payloadText);
  if (payloadBytes === null) return 'PayloadBadBase64';
  const payload = jsonObject(payloadBytes);
  if (payload === null) return 'PayloadBadJson';
  const wrong = wrongClaim(payload);
  if (wrong !== null) return wrong;
  const signature = base64url(signatureText);
  if (signature === null) return 'SignatureBadBase64';
  const { aud } = payload;
  return {
    algorithm: alg,
    keyId: kid ?? '',
    header,
    payload,
    payloadText,
    signedText: `${headerText}.${payloadText}`,
    signature,
    issuer: (payload['iss'] as string | undefined) ?? '',
    subject: (payload['sub'] as string | undefined) ?? '',
    audiences: (Array.isArray(aud) ? (aud as string[]) : aud === undefined ? [] : [aud as string]).map(normalAudience),
    issuedAt: (payload['iat'] as number | undefined) ?? 0,
    notBefore: (payload['nbf'] as number | undefined) ?? 0,
    expires: (payload['exp'] as number | undefined) ?? 0,
  };
}

function wrongClaim(payload: Record<string, unknown>): JwtStatus | null {
  const { iss, sub, iat, nbf, exp, aud } = payload;
  if (iss !== undefined && typeof iss !== 'string') return 'IssuerNotString';
  if (sub !== undefined && typeof sub !== 'string') return 'SubjectNotString';
  if (!isTime(iat)) return 'IssuedAtNotInteger';
  if (!isTime(nbf)) return 'NotBeforeNotInteger';
  if (!isTime(exp)) return 'ExpiresNotInteger';
  const texts = Array.isArray(aud) ? aud : aud === undefined ? [] : [aud];
  return texts.every((text) => typeof text === 'string') ? null : 'AudienceNotString';
}

function isTime(value: unknown): boolean {
  return value === undefined || (typeof value === 'number' && value >= 0 && Number.isFinite(value));
}

export function checkTimes(jwt: Jwt, nowSeconds: number, skewSeconds: number): JwtStatus {
  if (jwt.notBefore > 0 && nowSeconds + skewSeconds < jwt.notBefore) return 'NotYetValid';
  if (jwt.expires > 0 && nowSeconds > jwt.expires + skewSeconds) return 'Expired';
  return 'Ok';
}

/** Without its scheme and without a slash at the end: as Envoy compares audiences. */
export function normalAudience(audience: string): string {
  return audience.replace(/^https?:\/\//, '').replace(/\/$/, '');
}

/** Null when it is none. Padding is none either. */
function base64url(text: string): Buffer | null {
  return /^[\w-]*$/.test(text) && text.length % 4 !== 1 ? Buffer.from(text, 'base64url') : null;
}

function jsonObject(bytes: Buffer): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
