/** Headers and bodies of an isolated filter: copies in its thread, with the interfaces of those that lie in the proxy's buffers. */
import { PairMap } from '../../../../../wasm/host/header_map.ts';
import type { Pairs } from '../../../../../wasm/isolated/protocol.ts';
import { type Body, toBytes } from '../../../../typescript/body_view.ts';
import { type Headers, headerName, headerValue } from '../../../../typescript/headers_view.ts';

export class PairHeaders implements Headers {
  readonly map: PairMap;
  private changes = 0;

  constructor(pairs: Pairs) {
    this.map = new PairMap(pairs);
  }

  /** What it has become; null: what it was. Asking makes it the new beginning. */
  takeChanged(): Pairs | null {
    const changed = this.changes > 0;
    this.changes = 0;
    return changed ? this.map.pairs : null;
  }

  get(name: string): string | undefined {
    return this.map.get(headerName(name));
  }

  getAll(name: string): string[] {
    const lower = headerName(name);
    return this.map.pairs.filter(([key]) => key === lower).map(([, value]) => value);
  }

  has(name: string): boolean {
    const lower = headerName(name);
    return this.map.pairs.some(([key]) => key === lower);
  }

  set(name: string, value: string): void {
    this.map.set(headerName(name), headerValue(value));
    this.changes++;
  }

  add(name: string, value: string): void {
    this.map.add(headerName(name), headerValue(value));
    this.changes++;
  }

  append(name: string, value: string): void {
    const old = this.get(name);
    this.set(name, old === undefined ? value : `${old},${value}`);
  }

  remove(name: string): number {
    this.changes++;
    return this.map.remove(headerName(name));
  }

  get size(): number {
    return this.map.size;
  }

  entries(): IterableIterator<[string, string]> {
    return this.map.pairs.map(([name, value]): [string, string] => [name, value]).values();
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.entries();
  }

  toObject(): Record<string, string> {
    return Object.fromEntries(this.map.pairs.map(([name]) => [name, this.map.get(name) as string]));
  }
}

export class ByteBody implements Body {
  private content: Uint8Array<ArrayBuffer>;
  changed = false;

  constructor(content: Uint8Array) {
    this.content = content as Uint8Array<ArrayBuffer>;
  }

  get length(): number {
    return this.content.length;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.content.slice();
  }

  text(): string {
    return Buffer.from(this.content.buffer, this.content.byteOffset, this.content.length).toString('utf8');
  }

  json(): unknown {
    return JSON.parse(this.text());
  }

  set(content: string | Uint8Array): void {
    this.content = new Uint8Array(toBytes(content));
    this.changed = true;
  }

  append(content: string | Uint8Array): void {
    this.set(Buffer.concat([this.content, toBytes(content)]));
  }

  prepend(content: string | Uint8Array): void {
    this.set(Buffer.concat([toBytes(content), this.content]));
  }

  drain(length: number): void {
    this.set(this.content.subarray(Math.min(length, this.content.length)));
  }

  clear(): void {
    this.set(new Uint8Array(0));
  }

  forEachSlice(visit: (bytes: Uint8Array<ArrayBuffer>) => void): void {
    if (this.content.length > 0) visit(this.content);
  }

  /** Null: as it came. */
  takeChanged(): Uint8Array | null {
    return this.changed ? this.content : null;
  }
}
