/**
 * What a check sends, and what the answer must contain (Envoy: PayloadMatcher): text is hex, binary is as it is. Expected parts must
 * come in their order; anything may be between them.
 */
import { ConfigError } from '../../config/error.ts';

export interface PlainPayload {
  text?: string;
  binary?: Uint8Array;
}

/** Throws ConfigError. */
export function payloadBytes(payload: PlainPayload, path: string): Buffer {
  if (payload.binary !== undefined) return Buffer.from(payload.binary);
  const text = payload.text ?? '';
  if (!/^([0-9a-fA-F]{2})+$/.test(text)) throw new ConfigError(`invalid hex string '${text}'`, { path: `${path}.text` });
  return Buffer.from(text, 'hex');
}

export function payloadList(payloads: readonly PlainPayload[] | undefined, path: string): readonly Buffer[] {
  return (payloads ?? []).map((payload, i) => payloadBytes(payload, `${path}[${i}]`));
}

export function containsPayload(expected: readonly Buffer[], received: Buffer): boolean {
  let from = 0;
  for (const part of expected) {
    const at = received.indexOf(part, from);
    if (at < 0) return false;
    from = at + part.length;
  }
  return true;
}
