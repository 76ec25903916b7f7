/** The `date` header's value (RFC 9110 5.6.7), one string per second and thread. */
let second = -1;
let text = '';

/** `systemTimeMs`: wall clock in ms since the epoch. */
export function httpDate(systemTimeMs: number): string {
  const now = Math.floor(systemTimeMs / 1000);
  if (now !== second) {
    second = now;
    text = new Date(now * 1000).toUTCString();
  }
  return text;
}
