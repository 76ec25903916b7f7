/** Bytes that are put together piece by piece, such as the lines of an access log. Grows as needed. */

/** Longer text goes through a native call. */
const NATIVE_COPY = 64;

export class LineBuffer {
  u8 = Buffer.allocUnsafeSlow(4096);
  private view = new DataView(this.u8.buffer);
  length = 0;

  /** Drops the first `count` bytes. */
  drain(count: number): void {
    if (count < this.length) this.u8.copyWithin(0, count, this.length);
    this.length -= count;
  }

  /** Byte text: one character per byte. */
  text(text: string): void {
    const length = text.length;
    const u8 = this.room(length);
    let at = this.length;
    if (length > NATIVE_COPY) at += u8.write(text, at, length, 'latin1');
    else for (let i = 0; i < length; i++) u8[at++] = text.charCodeAt(i);
    this.length = at;
  }

  /** `length` bytes of `from`, starting at `start`: eight at a time, which for what stands in a line beats any call. */
  bytes(from: DataView, start: number, length: number): void {
    this.room(length);
    const view = this.view;
    let at = this.length;
    const end = start + length;
    for (; start + 8 <= end; start += 8, at += 8) view.setBigUint64(at, from.getBigUint64(start, true), true);
    while (start < end) view.setUint8(at++, from.getUint8(start++));
    this.length = at;
  }

  byte(value: number): void {
    this.room(1)[this.length++] = value;
  }

  number(value: number): void {
    // Written from the right; what is no small natural number is rare and goes through its text.
    if (value > 0x3fff_ffff || value < 0 || (value | 0) !== value) {
      this.text(String(value));
      return;
    }
    let digits = 1;
    for (let rest = value; rest >= 10; rest = (rest / 10) | 0) digits++;
    const u8 = this.room(digits);
    let at = this.length + digits;
    this.length = at;
    do {
      const rest = (value / 10) | 0;
      u8[--at] = 48 + (value - rest * 10);
      value = rest;
    } while (value > 0);
  }

  /** The array, with room for `count` more bytes. */
  private room(count: number): Buffer {
    const needed = this.length + count;
    if (needed > this.u8.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.u8.length * 2));
      this.u8.copy(grown);
      this.u8 = grown;
      this.view = new DataView(grown.buffer);
    }
    return this.u8;
  }
}
