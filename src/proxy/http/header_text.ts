/** Header names and values between bytes and text: one byte is one character. */

/** The bytes as text, one character each. */
export function latin1(u8: Uint8Array, start: number, length: number): string {
  if (length < 24) {
    let text = '';
    for (let i = start; i < start + length; i++) text += String.fromCharCode(u8[i]);
    return text;
  }
  return Buffer.from(u8.buffer as ArrayBuffer, u8.byteOffset + start, length).toString('latin1');
}

/**
 * Writes header text (one byte per character) at `at`; returns the end. Characters that could end a line or are no byte become `?`:
 * whatever a filter or a format put in a value, it stays one line.
 */
export function writeText(u8: Uint8Array, text: string, at: number): number {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    u8[at++] = c > 255 || c === 10 || c === 13 || c === 0 ? 63 : c;
  }
  return at;
}

const FIELD_NAME_BYTES = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") FIELD_NAME_BYTES[char.charCodeAt(0)] = 1;

/** Whether these lower-case bytes may be a header's name (RFC 9110 5.1). */
export function isFieldName(u8: Uint8Array, start: number, length: number): boolean {
  for (let i = start; i < start + length; i++) if (FIELD_NAME_BYTES[u8[i]] === 0) return false;
  return length > 0;
}

export function equalsText(u8: Uint8Array, start: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (u8[start + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Between two memories: a loop for what is short, where a call costs more than the copy. */
export function copyBytes(to: Uint8Array, at: number, from: Uint8Array, start: number, length: number): number {
  if (length < 64) for (let i = 0; i < length; i++) to[at + i] = from[start + i];
  else to.set(from.subarray(start, start + length), at);
  return at + length;
}

/** One byte a character, as it is; returns the end. */
export function copyText(u8: Uint8Array, text: string, at: number): number {
  for (let i = 0; i < text.length; i++) u8[at++] = text.charCodeAt(i);
  return at;
}
