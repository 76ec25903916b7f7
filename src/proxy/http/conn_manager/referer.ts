/** Whether a `referer` value is one (RFC 9110 10.1.3): an absolute URL without fragment and user, or a partial reference. */

/** Characters of a path or query (RFC 3986 3.3, 3.4), `%` included. */
const PATH_OR_QUERY = /^[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*$/;
const ABSOLUTE = /^https?:\/\/([^/?#]*)([^#]*)$/i;

export function isValidReferer(value: string): boolean {
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(value)) {
    const match = ABSOLUTE.exec(value);
    return match !== null && match[1] !== '' && !match[1].includes('@');
  }
  if (!PATH_OR_QUERY.test(value)) return false;
  // In a relative reference the first segment has no colon.
  const colon = value.indexOf(':');
  if (colon < 0) return true;
  const slash = value.indexOf('/');
  return slash >= 0 && slash < colon;
}
