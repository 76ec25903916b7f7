/**
 * Functions that modules call by name (Envoy: source/extensions/common/wasm/foreign.cc): those that need no stream. The stream's own
 * (`clear_route_cache`, filter state) are with its filter.
 *
 * Left out: `expr_create`, `expr_evaluate`, `expr_delete` (CEL): unknown names are NotFound.
 */
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
import { Status } from '../../../../wasm/abi/enums.ts';
import type { ForeignResult } from '../../../../wasm/host/environment.ts';
import { fields } from '../../../../wasm/host/grpc_service.ts';

/** What `uncompress` may make of a few bytes. */
const MAX_UNCOMPRESSED = 64 << 20;

/** Undefined: there is no such function. */
export function foreignFunction(name: string, args: Uint8Array): ForeignResult | undefined {
  return FUNCTIONS[name]?.(args);
}

const FUNCTIONS: Record<string, (args: Uint8Array) => ForeignResult> = {
  compress: (args) => ({ status: Status.Ok, result: deflateSync(args) }),
  uncompress: (args) => {
    try {
      return { status: Status.Ok, result: inflateSync(args, { maxOutputLength: MAX_UNCOMPRESSED }) };
    } catch {
      return { status: Status.SerializationFailure };
    }
  },
  verify_signature: verifySignature,
  sign: makeSignature,
};

const HASHES = new Set(['sha1', 'sha224', 'sha256', 'sha384', 'sha512']);

type Message = Map<number, Uint8Array>;

function message(args: Uint8Array): Message | null {
  const parsed = fields(args);
  if (parsed === null) return null;
  const found: Message = new Map();
  for (const { number, bytes } of parsed) if (bytes !== null) found.set(number, bytes);
  return found;
}

const text = (bytes: Uint8Array | undefined): string => (bytes === undefined ? '' : Buffer.from(bytes).toString('utf8'));
const orEmpty = (bytes: Uint8Array | undefined): Uint8Array => bytes ?? new Uint8Array(0);

/** hash_function = 1, public_key = 2 (DER), signature = 3, text = 4, public_key_pem = 5 -> result = 1, error = 2. */
function verifySignature(args: Uint8Array): ForeignResult {
  const given = message(args);
  if (given === null) return { status: Status.BadArgument };
  const hash = text(given.get(1)).toLowerCase();
  if (!HASHES.has(hash)) return { status: Status.Ok, result: field(2, `${hash} is not supported.`) };
  try {
    const pem = given.get(5);
    const key =
      pem !== undefined
        ? createPublicKey(text(pem))
        : createPublicKey({ key: Buffer.from(orEmpty(given.get(2))), format: 'der', type: 'spki' });
    const valid = verify(hash, orEmpty(given.get(4)), key, orEmpty(given.get(3)));
    return { status: Status.Ok, result: valid ? Uint8Array.of(8, 1) : field(2, 'Failed to verify digital signature.') };
  } catch {
    return { status: Status.Ok, result: field(2, 'Failed to initialize digest verify.') };
  }
}

/** hash_function = 1, private_key = 2 (DER), text = 3, private_key_pem = 4 -> result = 1, signature = 2, error = 3. */
function makeSignature(args: Uint8Array): ForeignResult {
  const given = message(args);
  if (given === null) return { status: Status.BadArgument };
  const hash = text(given.get(1)).toLowerCase();
  if (!HASHES.has(hash)) return { status: Status.Ok, result: field(3, `${hash} is not supported.`) };
  try {
    const pem = given.get(4);
    const key =
      pem !== undefined
        ? createPrivateKey(text(pem))
        : createPrivateKey({ key: Buffer.from(orEmpty(given.get(2))), format: 'der', type: 'pkcs8' });
    const signature = sign(hash, orEmpty(given.get(3)), key);
    return { status: Status.Ok, result: Buffer.concat([Uint8Array.of(8, 1), field(2, signature)]) };
  } catch {
    return { status: Status.Ok, result: field(3, 'Failed to sign.') };
  }
}

/** A length-delimited protobuf field. */
export function field(number: number, value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  const head = [number * 8 + 2];
  let length = bytes.length;
  while (length > 127) {
    head.push((length & 0x7f) | 0x80);
    length >>>= 7;
  }
  head.push(length);
  return Buffer.concat([Uint8Array.from(head), bytes]);
}
