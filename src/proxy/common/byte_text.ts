/**
 * Text as the header map sees it: one character per byte. Configuration is Unicode; on the wire it is UTF-8, so what is compared
 * with or written into headers is first turned into its UTF-8 bytes, one character each.
 */

/** The UTF-8 bytes of `text`, one character each; ASCII text as it is. */
export function byteText(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1');
}

export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** Lower case of A to Z only, as header and host names are compared. */
export function asciiLower(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 65 && c <= 90) return text.replace(/[A-Z]+/g, (run) => run.toLowerCase());
  }
  return text;
}

/** A base-10 integer with nothing around it but blanks, as absl::SimpleAtoi reads one; undefined when it is none. */
export function parseInteger(text: string): number | undefined {
  return /^[ \t\n\v\f\r]*[+-]?[0-9]{1,19}[ \t\n\v\f\r]*$/.test(text) ? Number(text) : undefined;
}
