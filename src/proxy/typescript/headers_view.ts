/**
 * Headers as filters see them: names in any case, values read on demand from where they lie. One view per message and filter object,
 * pointed at another map for each stream; a view that outlives its stream says so instead of showing another's headers.
 */
import type { HeaderMap } from '../http/header_map.ts';

/** Headers or trailers of one message. Pseudo headers (`:method`, `:path`, `:authority`, `:scheme`, `:status`) are entries, too. */
export interface Headers {
  /** The value; several entries of the name are joined with `,`. */
  get(name: string): string | undefined;
  /** Each entry's value, in order. */
  getAll(name: string): string[];
  has(name: string): boolean;
  /** Replaces all entries of the name by one. */
  set(name: string, value: string): void;
  /** Adds an entry. */
  add(name: string, value: string): void;
  /** Adds to the value of the name after a comma; adds an entry when there is none. */
  append(name: string, value: string): void;
  /** Removes all entries of the name; how many there were. */
  remove(name: string): number;
  /** Number of entries. */
  readonly size: number;
  entries(): IterableIterator<[name: string, value: string]>;
  [Symbol.iterator](): IterableIterator<[name: string, value: string]>;
  toObject(): Record<string, string>;
}

const TOKEN = /^:?[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** What filters ask for, as they wrote it, in lower case. Bounded: a filter may make names up. */
const lowerNames = new Map<string, string>();
const MAX_NAMES = 4096;

/** The name as maps have it. Throws TypeError for what cannot be a name. */
export function headerName(name: string): string {
  return lowerNames.get(name) ?? rememberName(name);
}

function rememberName(name: string): string {
  if (typeof name !== 'string' || !TOKEN.test(name)) throw new TypeError(`${JSON.stringify(name)} is not a header name`);
  const lower = name.toLowerCase();
  if (lowerNames.size < MAX_NAMES) lowerNames.set(name, lower);
  return lower;
}

/** Line breaks and zeros in a value would end it on the wire. */
export function headerValue(value: string): string {
  const text = typeof value === 'string' ? value : String(value);
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 10 || c === 13 || c === 0 || c > 255) throw new TypeError(`${JSON.stringify(text)} is not a header value`);
  }
  return text;
}

export class HeadersView implements Headers {
  /** Null: the stream has none (yet, or any more). */
  map: HeaderMap | null = null;
  private readonly what: string;

  constructor(what: string) {
    this.what = what;
  }

  private get live(): HeaderMap {
    if (this.map === null) throw new Error(`the ${this.what} are not there (any more)`);
    return this.map;
  }

  get(name: string): string | undefined {
    return this.live.get(headerName(name));
  }

  getAll(name: string): string[] {
    return this.live.getAll(headerName(name));
  }

  has(name: string): boolean {
    return this.live.has(headerName(name));
  }

  set(name: string, value: string): void {
    this.live.set(headerName(name), headerValue(value));
  }

  add(name: string, value: string): void {
    this.live.add(headerName(name), headerValue(value));
  }

  append(name: string, value: string): void {
    this.live.append(headerName(name), headerValue(value));
  }

  remove(name: string): number {
    return this.live.remove(headerName(name));
  }

  get size(): number {
    return this.live.size;
  }

  entries(): IterableIterator<[string, string]> {
    return this.live.entries();
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.live.entries();
  }

  toObject(): Record<string, string> {
    return this.live.toObject();
  }
}
