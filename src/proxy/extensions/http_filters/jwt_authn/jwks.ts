/**
 * Sets of keys (RFC 7517, 7518, 8037) and signatures by them, through node:crypto: HS, RS, PS and ES with 256, 384 and 512, EdDSA. A key serves
 * only the algorithms of its type, so that a public key is never taken for a secret.
 */
import {
  constants,
  createHmac,
  createPublicKey,
  type JsonWebKeyInput,
  type KeyObject,
  timingSafeEqual,
  verify,
} from 'node:crypto';
import type { Jwt } from './jwt.ts';
import type { JwtStatus } from './status.ts';

interface Key {
  /** '' for any. */
  readonly id: string;
  readonly algorithm: string;
  /** `RS`, `EC:P-256`, `Ed25519`, `HS` ... */
  readonly type: string;
  readonly publicKey: KeyObject | null;
  readonly secret: Buffer | null;
}

const CURVES: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };
const MAX_KEYS = 1000;

export class Jwks {
  private readonly keys: readonly Key[];

  private constructor(keys: readonly Key[]) {
    this.keys = keys;
  }

  static parse(text: string): Jwks | JwtStatus {
    let keys: unknown;
    try {
      keys = (JSON.parse(text) as { keys?: unknown } | null)?.keys;
    } catch {
      return 'JwksParseError';
    }
    if (!Array.isArray(keys)) return 'JwksNoKeys';
    const usable = keys.slice(0, MAX_KEYS).flatMap((key) => compileKey(key) ?? []);
    return usable.length === 0 ? 'JwksNoValidKeys' : new Jwks(usable);
  }

  verify(jwt: Jwt): JwtStatus {
    let matched = false;
    for (const key of this.keys) {
      if (jwt.keyId !== '' && key.id !== '' && key.id !== jwt.keyId) continue;
      if (key.algorithm !== '' && key.algorithm !== jwt.algorithm) continue;
      if (key.type !== keyTypeOf(jwt.algorithm)) continue;
      matched = true;
      if (isSigned(jwt, key)) return 'Ok';
    }
    return matched ? 'VerificationFails' : 'JwksKidAlgMismatch';
  }
}

function keyTypeOf(algorithm: string): string {
  if (algorithm === 'EdDSA') return 'Ed25519';
  const family = algorithm.slice(0, 2);
  if (family === 'ES') return `EC:${CURVES[algorithm]}`;
  return family === 'HS' ? 'HS' : 'RSA';
}

/** Null: not a key that can verify anything. */
function compileKey(given: unknown): Key | null {
  if (typeof given !== 'object' || given === null) return null;
  const jwk = given as Record<string, unknown>;
  const base = {
    id: typeof jwk['kid'] === 'string' ? jwk['kid'] : '',
    algorithm: typeof jwk['alg'] === 'string' ? jwk['alg'] : '',
  };
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') return null;
  if (jwk['kty'] === 'oct') {
    const secret = typeof jwk['k'] === 'string' ? Buffer.from(jwk['k'], 'base64url') : Buffer.alloc(0);
    return secret.length === 0 ? null : { ...base, type: 'HS', publicKey: null, secret };
  }
  const type = jwk['kty'] === 'EC' ? `EC:${jwk['crv']}` : jwk['kty'] === 'OKP' ? String(jwk['crv']) : String(jwk['kty']);
  try {
    const publicKey = createPublicKey({ key: jwk, format: 'jwk' } as JsonWebKeyInput);
    return { ...base, type, publicKey, secret: null };
  } catch {
    return null;
  }
}

function isSigned(jwt: Jwt, key: Key): boolean {
  const data = Buffer.from(jwt.signedText, 'latin1');
  const { algorithm, signature } = jwt;
  const hash = `sha${algorithm.slice(2)}`;
  if (key.secret !== null) {
    const expected = createHmac(hash, key.secret).update(data).digest();
    return expected.length === signature.length && timingSafeEqual(expected, signature);
  }
  const publicKey = key.publicKey as KeyObject;
  try {
    if (algorithm === 'EdDSA') return verify(null, data, publicKey, signature);
    if (algorithm.startsWith('ES')) return verify(hash, data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature);
    if (algorithm.startsWith('PS')) {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return verify(hash, data, { key: publicKey, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }, signature);
    }
    return verify(hash, data, publicKey, signature);
  } catch {
    return false;
  }
}
