/**
 * Protocol Buffers' wire format (protobuf.dev, "Encoding"), read by hand: for the few messages that services send to the proxy, without a library
 * on the data path.
 */
import { WireType } from './protobuf_writer.ts';

/** Bytes that are no message. */
export class WireError extends Error {}

const MAX_DEPTH = 64;

/** Reads one message field by field: `next`, then the reader of the field's type or `skip`. Throws WireError. */
export class ProtoReader {
  field = 0;
  private wireType = 0;
  private readonly bytes: Buffer;
  private readonly depth: number;
  private at = 0;

  constructor(bytes: Uint8Array, depth = 0) {
    if (depth > MAX_DEPTH) throw new WireError('messages are nested too deeply');
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.depth = depth;
  }

  /** False at the end. */
  next(): boolean {
    if (this.at === this.bytes.length) return false;
    const tag = this.varint();
    this.field = Math.floor(tag / 8);
    this.wireType = tag % 8;
    if (this.field === 0) throw new WireError('field 0');
    return true;
  }

  /** An integer, of 64 bits what a double holds of it; negative ones of 32 bits as such. */
  int(): number {
    this.expect(WireType.Varint);
    const value = this.varint();
    return value >= 2 ** 63 ? Number(BigInt.asIntN(64, BigInt(value))) : value;
  }

  bool(): boolean {
    return this.int() !== 0;
  }

  double(): number {
    this.expect(WireType.Fixed64);
    const start = this.take(8);
    return this.bytes.readDoubleLE(start);
  }

  /** As byte text. */
  string(): string {
    const data = this.blob();
    return data.toString('latin1');
  }

  /** As Unicode. */
  text(): string {
    const data = this.blob();
    return data.toString('utf8');
  }

  /** A view of it. */
  blob(): Buffer {
    this.expect(WireType.Bytes);
    const length = this.varint();
    const start = this.take(length);
    return this.bytes.subarray(start, start + length);
  }

  message(): ProtoReader {
    return new ProtoReader(this.blob(), this.depth + 1);
  }

  skip(): void {
    if (this.wireType === WireType.Varint) this.varint();
    else if (this.wireType === WireType.Fixed64) this.take(8);
    else if (this.wireType === WireType.Fixed32) this.take(4);
    else this.blob();
  }

  private expect(wireType: number): void {
    if (this.wireType !== wireType) throw new WireError(`field ${this.field} has wire type ${this.wireType}`);
  }

  private take(length: number): number {
    const start = this.at;
    if (length > this.bytes.length - start) throw new WireError('cut off');
    this.at += length;
    return start;
  }

  private varint(): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.bytes[this.take(1)];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    throw new WireError('a varint of more than 10 bytes');
  }
}

/** `google.protobuf.Struct` as JSON. */
export function readStruct(reader: ProtoReader): Record<string, unknown> {
  const struct: Record<string, unknown> = {};
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.skip();
      continue;
    }
    const entry = reader.message();
    let key = '';
    let value: unknown = null;
    while (entry.next()) {
      if (entry.field === 1) key = entry.text();
      else if (entry.field === 2) value = readValue(entry.message());
      else entry.skip();
    }
    Object.defineProperty(struct, key, { value, enumerable: true, writable: true, configurable: true });
  }
  return struct;
}

/** `google.protobuf.Value` as JSON. */
export function readValue(reader: ProtoReader): unknown {
  let value: unknown = null;
  while (reader.next()) {
    if (reader.field === 2) value = reader.double();
    else if (reader.field === 3) value = reader.text();
    else if (reader.field === 4) value = reader.bool();
    else if (reader.field === 5) value = readStruct(reader.message());
    else if (reader.field === 6) value = readList(reader.message());
    else reader.skip();
  }
  return value;
}

function readList(reader: ProtoReader): unknown[] {
  const list: unknown[] = [];
  while (reader.next()) {
    if (reader.field === 1) list.push(readValue(reader.message()));
    else reader.skip();
  }
  return list;
}
