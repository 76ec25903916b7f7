/** The bytes of a body, or of a piece of one, as filters see and change them: read where they lie, copied only when asked. */
import type { SliceBuffer } from '../../core/buffer/slice_buffer.ts';

/** Valid during the phase that got it (until its promise settles). */
export interface Body {
  /** In bytes. */
  readonly length: number;
  /** A copy. */
  bytes(): Uint8Array<ArrayBuffer>;
  /** A copy as UTF-8 text. A character may be cut in two by the end of a piece. */
  text(): string;
  /** Parsed JSON. Throws SyntaxError. */
  json(): unknown;
  /** Replaces everything. */
  set(content: string | Uint8Array): void;
  append(content: string | Uint8Array): void;
  prepend(content: string | Uint8Array): void;
  /** Drops the first `length` bytes. */
  drain(length: number): void;
  clear(): void;
  /** Without copying: `bytes` is only valid during the call and must not be written to. */
  forEachSlice(visit: (bytes: Uint8Array<ArrayBuffer>) => void): void;
}

export class BodyView implements Body {
  /** Null: not in a phase. */
  buffer: SliceBuffer | null = null;

  private get live(): SliceBuffer {
    if (this.buffer === null) throw new Error('a body can be used only in the phase that got it');
    return this.buffer;
  }

  get length(): number {
    return this.live.length;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.live.toBytes() as Uint8Array<ArrayBuffer>;
  }

  text(): string {
    return this.live.toText('utf8');
  }

  json(): unknown {
    return JSON.parse(this.text());
  }

  set(content: string | Uint8Array): void {
    const buffer = this.live;
    const bytes = toBytes(content);
    buffer.clear();
    buffer.append(bytes);
  }

  append(content: string | Uint8Array): void {
    this.live.append(toBytes(content));
  }

  prepend(content: string | Uint8Array): void {
    const buffer = this.live;
    const rest = buffer.toBytes();
    const bytes = toBytes(content);
    buffer.clear();
    buffer.append(bytes);
    buffer.append(rest);
  }

  drain(length: number): void {
    const buffer = this.live;
    buffer.drain(Math.min(length, buffer.length));
  }

  clear(): void {
    this.live.clear();
  }

  forEachSlice(visit: (bytes: Uint8Array<ArrayBuffer>) => void): void {
    const buffer = this.live;
    for (let i = 0; i < buffer.slices; i++) {
      const from = buffer.offsetAt(i);
      visit(buffer.slab.u8.subarray(from, from + buffer.lengthAt(i)));
    }
  }
}

/** Text as UTF-8. */
export function toBytes(content: string | Uint8Array): Uint8Array {
  if (typeof content === 'string') return Buffer.from(content, 'utf8');
  if (content instanceof Uint8Array) return content;
  throw new TypeError('a body is text or a Uint8Array');
}
