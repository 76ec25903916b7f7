/**
 * Writes protobuf messages field by field into bytes that grow: for the few messages that the proxy sends by itself (traces, logs, metrics),
 * without a library on the data path. Fields with their default value are left out by the caller or by the methods that say so.
 */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const FIXED32 = 5;
/** Bytes kept free for the length of a message that has begun. */
const LENGTH_BYTES = 5;

export class ProtobufWriter {
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
    this.tag(field, VARINT);
    this.varint(value);
  }

  bool(field: number, value: boolean): void {
    if (value) this.number(field, 1);
  }

  /** Also when it is false: in a oneof. */
  anyBool(field: number, value: boolean): void {
    this.tag(field, VARINT);
    this.varint(value ? 1 : 0);
  }

  /** UTF-8; the empty string is left out. */
  string(field: number, value: string): void {
    if (value !== '') this.anyString(field, value);
  }

  /** Also when it is empty: in a oneof. */
  anyString(field: number, value: string): void {
    this.tag(field, LENGTH);
    const size = Buffer.byteLength(value, 'utf8');
    this.varint(size);
    this.room(size);
    this.length += this.u8.write(value, this.length, size, 'utf8');
  }

  bytesField(field: number, value: Uint8Array): void {
    if (value.length === 0) return;
    this.tag(field, LENGTH);
    this.varint(value.length);
    this.room(value.length);
    this.u8.set(value, this.length);
    this.length += value.length;
  }

  /** The bytes of hexadecimal text. */
  hex(field: number, value: string): void {
    if (value === '') return;
    this.tag(field, LENGTH);
    const size = value.length >> 1;
    this.varint(size);
    this.room(size);
    this.length += this.u8.write(value, this.length, size, 'hex');
  }

  double(field: number, value: number): void {
    this.tag(field, FIXED64);
    this.room(8);
    this.length = this.u8.writeDoubleLE(value, this.length);
  }

  fixed64(field: number, value: bigint): void {
    this.tag(field, FIXED64);
    this.room(8);
    this.length = this.u8.writeBigUInt64LE(value, this.length);
  }

  fixed32(field: number, value: number): void {
    this.tag(field, FIXED32);
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
    this.tag(field, LENGTH);
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

  /** A map's entry with text on both sides. */
  entry(field: number, key: string, value: string): void {
    const at = this.begin(field);
    this.string(1, key);
    this.string(2, value);
    this.end(at);
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
