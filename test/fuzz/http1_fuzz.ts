/**
 * Fuzzes the HTTP/1 codec: `node test/fuzz/http1_fuzz.ts [seconds] [seed]`.
 *
 * For each input: the result does not depend on how it was cut; nothing throws; no block stays behind; and what was understood equals
 * what llhttp (strict) understood, except for the differences named in `explain`. A failure prints the seed of its input.
 */
import assert from 'node:assert/strict';
import { slab, TestClient, TestServer } from '../proxy/http/http1/harness.ts';
import { connectionBytes, cut, Random, randomBytes } from './http1_inputs.ts';
import { oracle, oracleVersion } from './llhttp.ts';

interface Seen {
  path: string;
  headers: string[];
  body: string;
  ended: boolean;
}

interface Outcome {
  messages: Seen[];
  error: string | null;
  written: string;
}

function serverOutcome(pieces: string[]): Outcome {
  const server = new TestServer({ enableTrailers: false });
  let error: string | null = null;
  for (const piece of pieces) {
    const result = server.receive(piece);
    if (result !== null) {
      error = result.details;
      break;
    }
  }
  const messages: Seen[] = [];
  for (const { message } of server.streams) {
    if (message.headers === null) continue;
    const path = message.headers.find((line) => line.startsWith(':path: ')) ?? '';
    messages.push({ path, headers: message.headers, body: message.body, ended: message.ended });
  }
  // Payload before malformed framing is delivered only when it came in an earlier read (Envoy does the same).
  const last = messages[messages.length - 1];
  if (error !== null && last !== undefined && !last.ended) last.body = '';
  const written = server.transport.take();
  server.close();
  return { messages, error, written };
}

function clientOutcome(pieces: string[]): string {
  const client = new TestClient();
  const { stream } = client.request();
  let error: string | null = null;
  for (const piece of pieces) {
    error = client.receive(piece)?.details ?? null;
    if (error !== null) break;
  }
  const { headers, ended } = stream.message;
  const body = error !== null && !ended ? '' : stream.message.body;
  stream.release();
  client.close();
  return JSON.stringify([headers, body, ended, error]);
}

/** Why llhttp may go on where the codec refuses. One line for each deliberate difference. */
export const STRICTER: Readonly<Record<string, string>> = {
  'http1.codec_error':
    'lengths of at most 15 digits, chunk sizes of 16 digits below 2^53; the methods of Envoy only; no bare LF before a request',
  'http1.invalid_characters': 'the same characters; a different moment when the line is incomplete',
  'http1.invalid_url': 'CONNECT needs host:port, `*` only with OPTIONS, authority must not be empty',
  'http1.invalid_scheme': 'http and https only',
  'http.invalid_authority': 'one Host line, of authority characters',
  'http1.invalid_transfer_encoding': 'chunked is the only coding (llhttp: any list that ends in chunked)',
  'http1.content_length_and_chunked_not_allowed': 'llhttp refuses this as well, at another byte',
  'http1.connection_header_rejected': 'llhttp does not look at nominated headers',
  'http1.body_disallowed': 'CONNECT has no body',
  'http1.headers_too_large': 'limit',
  'http1.too_many_headers': 'limit',
  low_version: 'HTTP/1.0 and 0.9 only when allowed',
};

/** Where the codec goes on although llhttp refuses: each is harmless, because both sides of the proxy see the same message. */
export const MORE_TOLERANT: readonly { name: string; applies(text: string, code: string): boolean }[] = [
  {
    name: 'after `connection: close` llhttp refuses further bytes; the codec leaves closing to the connection manager',
    applies: (text, code) => code === 'HPE_CLOSED_CONNECTION' && /connection:/i.test(text),
  },
  {
    name: 'llhttp refuses a chunk extension with other than token characters; Envoy and the codec skip what is no control character',
    applies: (text, code) => code === 'HPE_STRICT' || (code === 'HPE_INVALID_CHUNK_SIZE' && /;/.test(text)),
  },
  {
    name: 'llhttp reads framing fields in trailers and refuses bad ones; the codec drops them, so that nobody reads them',
    applies: (text, code) =>
      (code === 'HPE_INVALID_CONTENT_LENGTH' ||
        code === 'HPE_UNEXPECTED_CONTENT_LENGTH' ||
        code === 'HPE_INVALID_TRANSFER_ENCODING') &&
      /\r\n0+(;[^\r]*)?\r\n/.test(text),
  },
];

function explain(text: string, ours: Outcome): void {
  const theirs = oracle(text);
  const both = Math.min(ours.messages.length, theirs.messages.length);
  for (let i = 0; i < both; i++) {
    const a = ours.messages[i];
    const b = theirs.messages[i];
    if (/upgrade:|CONNECT /i.test(text)) return;
    const fields = a.headers.filter((line) => !line.startsWith(':')).map((line) => line.toLowerCase());
    const theirFields = b.headers.filter(([name]) => name !== 'host').map(([name, value]) => `${name}: ${value}`.toLowerCase());
    // A nominated header is removed by us.
    if (!/connection/i.test(text)) assert.deepEqual(fields, theirFields, 'headers');
    if (a.ended && b.ended) assert.equal(a.body, b.body, 'body');
    else assert.ok(a.body.startsWith(b.body) || b.body.startsWith(a.body), 'bodies are prefixes of each other');
    if (a.ended && !b.ended) tolerated(text, theirs.error, 'llhttp did not see the end of a message');
    if (b.ended && !a.ended)
      assert.ok(ours.error !== null && ours.error in STRICTER, `llhttp saw the end of a message, we said ${ours.error}`);
  }
  if (ours.messages.length < theirs.messages.length) {
    assert.ok(ours.error !== null && ours.error in STRICTER, `llhttp saw more messages, we said ${ours.error}`);
  } else if (ours.messages.length > theirs.messages.length) {
    tolerated(text, theirs.error, 'we saw more messages than llhttp');
  }
}

function tolerated(text: string, code: string | null, what: string): void {
  const name = MORE_TOLERANT.find((each) => code !== null && each.applies(text, code))?.name;
  assert.ok(name !== undefined, `${what}, which said ${code}`);
}

function once(seed: number): void {
  const random = new Random(seed);
  const before = slab.blocksInUse;
  const text = random.chance(0.05) ? randomBytes(random) : connectionBytes(random);
  // A complete line at the end, so that how it was cut decides about nothing.
  const whole = `${text}\r\n\r\n`;
  const one = serverOutcome([whole]);
  const many = serverOutcome(cut(random, whole));
  assert.deepEqual(many, one, 'cutting the input changed the result');
  if (oracleVersion !== null) explain(whole, one);

  const response = whole.replace(/^[A-Z]+ \S+ HTTP\/1\.1/, `HTTP/1.1 ${random.of([200, 204, 304, 100, 101, 404])} OK`);
  assert.equal(clientOutcome(cut(random, response)), clientOutcome([response]), 'cutting the response changed the result');
  assert.equal(slab.blocksInUse, before, 'blocks leaked');
}

/** Runs for `milliseconds`; how many inputs. Throws with the seed of the input that failed. */
export function fuzz(milliseconds: number, seed: number): number {
  const until = performance.now() + milliseconds;
  let count = 0;
  for (; performance.now() < until; count++) {
    try {
      once((seed + count) >>> 0);
    } catch (error) {
      throw new Error(
        `http1 fuzz: input of seed ${(seed + count) >>> 0} failed; repeat with: node test/fuzz/http1_fuzz.ts 0.001 ${(seed + count) >>> 0}`,
        {
          cause: error,
        },
      );
    }
  }
  return count;
}

if (import.meta.main) {
  const seconds = Number(process.argv[2] ?? 10);
  const seed = Number(process.argv[3] ?? Date.now() >>> 0);
  process.stdout.write(`http1 fuzz: seed ${seed}, llhttp ${oracleVersion ?? 'not there'}\n`);
  process.stdout.write(`http1 fuzz: ${fuzz(seconds * 1000, seed)} inputs\n`);
}
