/**
 * llhttp as an oracle: the parser that Node itself links, through the (undocumented, long-lived) `_http_common` module, in strict mode.
 */
import { createRequire } from 'node:module';

interface NodeParser {
  initialize(type: number, resource: object, maxHeaderSize: number, lenient: number): void;
  execute(bytes: Buffer): number | (Error & { code: string; bytesParsed: number });
  [callback: number]: (...args: unknown[]) => unknown;
}

interface NodeParserClass {
  new (): NodeParser;
  readonly REQUEST: number;
  readonly kOnHeaders: number;
  readonly kOnHeadersComplete: number;
  readonly kOnBody: number;
  readonly kOnMessageComplete: number;
  readonly kLenientNone: number;
}

interface OracleMessage {
  url: string;
  /** Lower-case names. */
  headers: [string, string][];
  body: string;
  ended: boolean;
}

interface OracleResult {
  messages: OracleMessage[];
  /** llhttp's error code, or null. */
  error: string | null;
}

function load(): NodeParserClass | null {
  try {
    const common = createRequire(import.meta.url)('_http_common') as { HTTPParser?: NodeParserClass };
    return common.HTTPParser ?? null;
  } catch {
    return null;
  }
}

const HTTPParser = load();
export const oracleVersion: string | null = HTTPParser === null ? null : (process.versions['llhttp'] ?? 'unknown');

function pairs(flat: unknown): [string, string][] {
  const list = (flat ?? []) as string[];
  const result: [string, string][] = [];
  for (let i = 0; i + 1 < list.length; i += 2) result.push([list[i].toLowerCase(), list[i + 1]]);
  return result;
}

/** Parses requests out of the bytes, as far as llhttp gets. It stops at an upgrade. */
export function oracle(text: string): OracleResult {
  if (HTTPParser === null) throw new Error('this Node has no _http_common parser');
  const parser = new HTTPParser();
  const messages: OracleMessage[] = [];
  let current: OracleMessage = { url: '', headers: [], body: '', ended: false };
  let early: [string, string][] = [];
  let earlyUrl = '';
  parser.initialize(HTTPParser.REQUEST, {}, 1 << 20, HTTPParser.kLenientNone);
  parser[HTTPParser.kOnHeaders] = (headers, url) => {
    // Node hands over 32 fields at a time; after the head these are trailers.
    if (messages.length > 0 && current === messages[messages.length - 1]) return;
    early.push(...pairs(headers));
    earlyUrl += url as string;
  };
  parser[HTTPParser.kOnHeadersComplete] = (_major, _minor, headers, _method, url) => {
    current = {
      url: early.length > 0 ? earlyUrl : (url as string),
      headers: [...early, ...pairs(headers)],
      body: '',
      ended: false,
    };
    early = [];
    earlyUrl = '';
    messages.push(current);
    return 0;
  };
  parser[HTTPParser.kOnBody] = (bytes) => {
    current.body += (bytes as Buffer).toString('latin1');
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    current.ended = true;
    current = { url: '', headers: [], body: '', ended: false };
  };
  const result = parser.execute(Buffer.from(text, 'latin1'));
  return { messages, error: typeof result === 'number' ? null : result.code };
}
