/** Generators of HTTP/1 bytes for fuzzing: valid messages, valid ones with a mutation, and dictionary soup. Seeded. */

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0 || 1;
  }

  /** mulberry32. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  chance(p: number): boolean {
    return this.next() < p;
  }
}

const METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH'];
const TARGETS = ['/', '/a/b?c=d', '/%20x', '/index.html', '/a#b'];
const FIELDS = [
  'Accept: */*',
  'User-Agent: curl/8.14.1',
  'X-Empty:',
  'X-Blank:   ',
  'X-Tab:\ta\t',
  'Cookie: a=b; c=d',
  'x-obs: \xe4\xf6',
  'Connection: keep-alive',
  'X-Long: 0123456789012345678901234567890123456789012345678901234567890123456789',
  'VIA: 1.1 x',
  'Connection: close',
  'X_Under: 1',
  "!#$%&'*+-.^_`|~: odd",
];
const WORDS = [
  'GET ',
  'POST ',
  ' HTTP/1.1\r\n',
  'HTTP/1.1',
  '\r\n',
  '\r\n\r\n',
  '\r',
  '\n',
  ' ',
  '\t',
  ':',
  '\0',
  'Host: a\r\n',
  'Content-Length: ',
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'chunked',
  ', chunked',
  '5\r\nhello\r\n',
  '0\r\n\r\n',
  '0',
  'f',
  ';x=y',
  '-',
  '+',
  '0x',
  '\x0b',
  '\x7f',
  '\xff',
  '/',
  '*',
  'Connection: close\r\n',
  'Expect: 100-continue\r\n',
  'Upgrade: h2c\r\n',
  'http://a/',
  '99999999999999999999',
  'a'.repeat(300),
];

function body(random: Random): { field: string; bytes: string } {
  const text = random.of(['', 'x', 'hello', 'GET / HTTP/1.1\r\nHost: evil\r\n\r\n', 'y'.repeat(random.below(2000))]);
  if (random.chance(0.4)) return { field: '', bytes: '' };
  if (random.chance(0.5)) return { field: `Content-Length: ${text.length}\r\n`, bytes: text };
  let bytes = '';
  for (let at = 0; at < text.length; ) {
    const n = 1 + random.below(text.length - at);
    bytes += `${random.chance(0.5) ? n.toString(16) : n.toString(16).toUpperCase()}${random.chance(0.2) ? ';ext=1' : ''}\r\n${text.slice(at, at + n)}\r\n`;
    at += n;
  }
  return { field: 'Transfer-Encoding: chunked\r\n', bytes: `${bytes}0\r\n${random.chance(0.3) ? 'X-Trailer: t\r\n' : ''}\r\n` };
}

export function validRequest(random: Random): string {
  const { field, bytes } = body(random);
  const fields: string[] = [];
  for (let i = random.below(6); i > 0; i--) fields.push(`${random.of(FIELDS)}\r\n`);
  fields.splice(random.below(fields.length + 1), 0, field);
  return `${random.of(METHODS)} ${random.of(TARGETS)} HTTP/1.1\r\nHost: a.example\r\n${fields.join('')}\r\n${bytes}`;
}

function mutate(random: Random, text: string): string {
  const at = random.below(text.length);
  switch (random.below(4)) {
    case 0:
      return text.slice(0, at) + String.fromCharCode(random.below(256)) + text.slice(at + 1);
    case 1:
      return text.slice(0, at) + text.slice(at + 1 + random.below(3));
    case 2:
      return text.slice(0, at) + random.of(WORDS) + text.slice(at);
    default: {
      const end = Math.min(text.length, at + random.below(30));
      return text.slice(0, end) + text.slice(at, end) + text.slice(end);
    }
  }
}

/** Bytes of a connection: one to three requests, whole or damaged, or soup. */
export function connectionBytes(random: Random): string {
  if (random.chance(0.1)) return Array.from({ length: 1 + random.below(20) }, () => random.of(WORDS)).join('');
  let text = '';
  for (let i = 1 + random.below(3); i > 0; i--) text += validRequest(random);
  if (random.chance(0.3)) return text;
  for (let i = 1 + random.below(3); i > 0 && text.length > 0; i--) text = mutate(random, text);
  return text;
}

/** Bytes without any structure. */
export function randomBytes(random: Random): string {
  let text = '';
  for (let i = random.below(400); i > 0; i--) text += String.fromCharCode(random.below(256));
  return text;
}

/** The text in pieces: one, bytes, or random cuts. */
export function cut(random: Random, text: string): string[] {
  if (random.chance(0.2)) return [...text];
  const most = random.of([3, 20, 500]);
  const pieces: string[] = [];
  for (let at = 0; at < text.length; ) {
    const n = 1 + random.below(most);
    pieces.push(text.slice(at, at + n));
    at += n;
  }
  return pieces;
}
