/**
 * Protocol Buffers' wire format (protobuf.dev, "Encoding"), written by hand into bytes that grow: for the few messages that the proxy sends by
 * itself (checks, limits, traces, logs, discovery), without a library on the data path. Fields with their default value are left out by
 * the caller or by the methods that say so.
 */
export const WireType = { Varint: 0, Fixed64: 1, Bytes: 2, Fixed32: 5 } as const;

/** Bytes kept free for the length of a message that has begun. */
const LENGTH_BYTES = 5;

export class ProtoWriter {
  private u8 = Buffer.allocUnsafeSlow(1024);
  private length = 0;

  /** What was written: valid until the next write. */
  get bytes(): Uint8Array {
    return this.u8.subarray(0, this.length);
  }

  get size(): number {
    return this.length;
  }

  clear(): void {
    this.length = 0;
  }

  /** 0 is left out. Up to 2^53; negative numbers as int64. */
  number(field: number, value: number): void {
    if (value === 0) return;
    this.tag(field, WireType.Varint);
    this.varint(value);
  }

  bool(field: number, value: boolean): void {
    if (value) this.number(field, 1);
  }

  /** Also when it is false: in a oneof. */
  anyBool(field: number, value: boolean): void {
    this.tag(field, WireType.Varint);
    this.varint(value ? 1 : 0);
  }

  /** Unicode, as UTF-8; the empty text is left out. */
  text(field: number, value: string): void {
    if (value !== '') this.anyText(field, value);
  }

  /** Also when it is empty: in a oneof, or one of a list. */
  anyText(field: number, value: string): void {
    this.encoded(field, value, Buffer.byteLength(value, 'utf8'), 'utf8');
  }

  /** Byte text, one character per byte, as headers are; the empty one is left out. */
  string(field: number, value: string): void {
    if (value !== '') this.encoded(field, value, value.length, 'latin1');
  }

  /** Bytes; none are left out. */
  blob(field: number, value: Uint8Array): void {
    if (value.length > 0) this.anyBlob(field, value);
  }

  /** Also when there are none. */
  anyBlob(field: number, value: Uint8Array): void {
    this.tag(field, WireType.Bytes);
    this.varint(value.length);
    this.room(value.length);
    this.u8.set(value, this.length);
    this.length += value.length;
  }

  /** The bytes of hexadecimal text. */
  hex(field: number, value: string): void {
    if (value !== '') this.encoded(field, value, value.length >> 1, 'hex');
  }

  double(field: number, value: number): void {
    this.tag(field, WireType.Fixed64);
    this.room(8);
    this.length = this.u8.writeDoubleLE(value, this.length);
  }

  fixed64(field: number, value: bigint): void {
    this.tag(field, WireType.Fixed64);
    this.room(8);
    this.length = this.u8.writeBigUInt64LE(value, this.length);
  }

  fixed32(field: number, value: number): void {
    this.tag(field, WireType.Fixed32);
    this.room(4);
    this.length = this.u8.writeUInt32LE(value, this.length);
  }

  /** `google.protobuf.Timestamp` from milliseconds with a fraction. */
  timestamp(field: number, ms: number): void {
    this.seconds(field, ms);
  }

  /** `google.protobuf.Duration` from milliseconds with a fraction; not negative. */
  duration(field: number, ms: number): void {
    this.seconds(field, ms);
  }

  private seconds(field: number, ms: number): void {
    const seconds = Math.floor(ms / 1000);
    const at = this.begin(field);
    this.number(1, seconds);
    this.number(2, Math.round((ms - seconds * 1000) * 1000) * 1000);
    this.end(at);
  }

  /** A message begins; give the result to `end`. */
  begin(field: number): number {
    this.tag(field, WireType.Bytes);
    this.room(LENGTH_BYTES);
    this.length += LENGTH_BYTES;
    return this.length;
  }

  end(start: number): void {
    const size = this.length - start;
    const lengthSize = varintSize(size);
    const at = start - LENGTH_BYTES;
    this.u8.copyWithin(at + lengthSize, start, this.length);
    this.length = at;
    this.varint(size);
    this.length += size;
  }

  /** A message that `fill` writes. */
  message(field: number, fill: (writer: ProtoWriter) => void): void {
    const at = this.begin(field);
    fill(this);
    this.end(at);
  }

  /** A map's entry with text on both sides. */
  entry(field: number, key: string, value: string): void {
    const at = this.begin(field);
    this.text(1, key);
    this.text(2, value);
    this.end(at);
  }

  /** A `map<string, string>` of byte text. */
  stringMap(field: number, entries: Iterable<readonly [string, string]>): void {
    for (const [key, value] of entries) {
      const at = this.begin(field);
      this.string(1, key);
      this.string(2, value);
      this.end(at);
    }
  }

  private encoded(field: number, value: string, size: number, encoding: 'utf8' | 'latin1' | 'hex'): void {
    this.tag(field, WireType.Bytes);
    this.varint(size);
    this.room(size);
    this.length += this.u8.write(value, this.length, size, encoding);
  }

  private tag(field: number, type: number): void {
    this.varint(field * 8 + type);
  }

  private varint(value: number): void {
    this.room(10);
    const u8 = this.u8;
    let at = this.length;
    if (value < 0) {
      let left = BigInt.asUintN(64, BigInt(value));
      for (; left >= 0x80n; left >>= 7n) u8[at++] = Number(left & 0x7fn) | 0x80;
      u8[at++] = Number(left);
    } else {
      for (; value >= 0x80; value = Math.floor(value / 0x80)) u8[at++] = (value % 0x80) | 0x80;
      u8[at++] = value;
    }
    this.length = at;
  }

  private room(count: number): void {
    if (this.length + count <= this.u8.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.u8.length * 2, this.length + count));
    larger.set(this.u8.subarray(0, this.length));
    this.u8 = larger;
  }
}

function varintSize(value: number): number {
  let size = 1;
  for (; value >= 0x80; value = Math.floor(value / 0x80)) size++;
  return size;
}

/** `google.protobuf.Struct` from JSON. */
export function writeStruct(writer: ProtoWriter, struct: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(struct)) {
    if (value === undefined) continue;
    writer.message(1, (entry) => {
      entry.text(1, key);
      entry.message(2, (inner) => writeValue(inner, value));
    });
  }
}

function writeValue(writer: ProtoWriter, value: unknown): void {
  if (typeof value === 'number') writer.double(2, value);
  else if (typeof value === 'string') writer.anyText(3, value);
  else if (typeof value === 'boolean') writer.anyBool(4, value);
  else if (Array.isArray(value)) {
    writer.message(6, (list) => {
      for (const item of value) list.message(1, (inner) => writeValue(inner, item));
    });
  } else if (typeof value === 'object' && value !== null) {
    writer.message(5, (inner) => writeStruct(inner, value as Record<string, unknown>));
  } else writer.anyBool(1, false);
}
