/** How header names are spelled on the wire (Envoy: `header_key_format`). Lower case needs no formatter. */
import type { Http1Settings } from './settings.ts';

const ALPHA = /[a-z]/i;

/** `x-request-id` -> `X-Request-Id`: the first letter, and each one after a character that is no letter and no digit. */
export function properCaseWords(name: string): string {
  let formatted = '';
  let upper = true;
  for (const c of name) {
    formatted += upper && ALPHA.test(c) ? c.toUpperCase() : c;
    upper = !/[a-z0-9]/i.test(c);
  }
  return formatted;
}

/** The formatter for messages that carry none of their own, or undefined. */
export function formatterOf(settings: Http1Settings): ((name: string) => string) | undefined {
  return settings.headerKeyFormat === 'proper_case_words' ? properCaseWords : undefined;
}
