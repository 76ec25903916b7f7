/**
 * Takes the body of a message out of the read buffer (RFC 9112 6 and 7): by content-length, chunked, until close, or raw after an
 * upgrade. Payload moves as slices; nothing is copied.
 *
 * Chunk sizes are 1 to 16 hexadecimal digits and nothing else before `;` or CRLF; extensions are skipped and bounded; a bare CR or LF
 * is an error. Trailers are read by the HeadReader.
 */
import type { SliceBuffer } from '../../../core/buffer/slice_buffer.ts';
import type { HeaderMap } from '../header_map.ts';
import { CR, HEX, LF, SEMICOLON, VALUE } from './bytes.ts';
import { COMPLETE, FAILED, INCOMPLETE, MessageKind } from './head_parser.ts';
import type { HeadReader } from './head_reader.ts';
import { MAX_CHUNK_EXTENSION_BYTES } from './settings.ts';

export const BodyKind = { None: 0, Length: 1, Chunked: 2, UntilClose: 3 } as const;
export type BodyKind = (typeof BodyKind)[keyof typeof BodyKind];

const Chunk = { Size: 0, Extension: 1, SizeLf: 2, Data: 3, DataCr: 4, DataLf: 5, Trailers: 6 } as const;
type Chunk = (typeof Chunk)[keyof typeof Chunk];

/** With so much payload to come, the transport is told that it is opaque. */
export const LONG_BODY_BYTES = 32 * 1024;

const MAX_SIZE_DIGITS = 16;
/** Above 2^53 - 1 a size is no exact number. */
const MAX_SIZE_BEFORE_DIGIT = 2 ** 49 - 1;

export class BodyDecoder {
  private readonly reader: HeadReader;
  kind: BodyKind = BodyKind.None;
  /** Payload bytes of the body (Length) or of the chunk that are still to come. */
  private remaining = 0;
  private chunk: Chunk = Chunk.Size;
  private digits = 0;
  private extensionBytes = 0;
  /** Where trailers go; set by the connection before a chunked body. */
  trailers: HeaderMap | null = null;
  /** Trailer bytes on the wire were refused by the parser (its status and details), not the chunk framing. */
  failedInTrailers = false;

  constructor(reader: HeadReader) {
    this.reader = reader;
  }

  begin(kind: BodyKind, length: number): void {
    this.kind = kind;
    this.remaining = length;
    this.chunk = Chunk.Size;
    this.digits = 0;
    this.extensionBytes = 0;
    this.failedInTrailers = false;
  }

  /** Payload that follows without anything between. */
  get payloadAhead(): number {
    if (this.kind === BodyKind.Chunked) return this.chunk === Chunk.Data ? this.remaining : 0;
    return this.kind === BodyKind.UntilClose ? LONG_BODY_BYTES * 64 : this.remaining;
  }

  /** Moves payload from `data` to the end of `out`. COMPLETE: `data` begins with what follows the message. */
  decode(data: SliceBuffer, out: SliceBuffer): number {
    switch (this.kind) {
      case BodyKind.Length: {
        const count = Math.min(this.remaining, data.length);
        this.remaining -= count;
        out.moveLength(data, count);
        return this.remaining === 0 ? COMPLETE : INCOMPLETE;
      }
      case BodyKind.Chunked:
        return this.decodeChunks(data, out);
      case BodyKind.UntilClose:
        out.move(data);
        return INCOMPLETE;
      default:
        return COMPLETE;
    }
  }

  private decodeChunks(data: SliceBuffer, out: SliceBuffer): number {
    while (data.length > 0) {
      if (this.chunk === Chunk.Data) {
        const count = Math.min(this.remaining, data.length);
        out.moveLength(data, count);
        this.remaining -= count;
        if (this.remaining > 0) return INCOMPLETE;
        this.chunk = Chunk.DataCr;
      } else if (this.chunk === Chunk.Trailers) {
        const result = this.reader.read(data, MessageKind.Trailers, this.trailers as HeaderMap);
        this.failedInTrailers = result === FAILED;
        return result;
      } else if (!this.chunkLine(data)) return FAILED;
    }
    return INCOMPLETE;
  }

  /** Consumes framing bytes of the first slice up to payload, trailers or its end. False: they are malformed. */
  private chunkLine(data: SliceBuffer): boolean {
    const u8 = data.slab.u8;
    const start = data.offsetAt(0);
    const end = start + data.lengthAt(0);
    let p = start;
    while (p < end && this.chunk !== Chunk.Data && this.chunk !== Chunk.Trailers) {
      const c = u8[p++];
      switch (this.chunk) {
        case Chunk.Size: {
          const digit = HEX[c];
          if (digit !== 255) {
            if (++this.digits > MAX_SIZE_DIGITS || this.remaining > MAX_SIZE_BEFORE_DIGIT) return false;
            this.remaining = this.remaining * 16 + digit;
          } else if (this.digits === 0) return false;
          else if (c === CR) this.chunk = Chunk.SizeLf;
          else if (c === SEMICOLON) this.chunk = Chunk.Extension;
          else return false;
          break;
        }
        case Chunk.Extension:
          if (c === CR) this.chunk = Chunk.SizeLf;
          else if (VALUE[c] === 0 || ++this.extensionBytes > MAX_CHUNK_EXTENSION_BYTES) return false;
          break;
        case Chunk.SizeLf:
          if (c !== LF) return false;
          this.chunk = this.remaining === 0 ? Chunk.Trailers : Chunk.Data;
          this.digits = 0;
          break;
        case Chunk.DataCr:
          if (c !== CR) return false;
          this.chunk = Chunk.DataLf;
          break;
        default:
          if (c !== LF) return false;
          this.chunk = Chunk.Size;
      }
    }
    data.drain(p - start);
    return true;
  }
}
