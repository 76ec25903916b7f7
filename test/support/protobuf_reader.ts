/** Reads protobuf without a schema: for checking messages that the proxy writes by hand against the numbers of the .proto files. */
export class Fields {
  private readonly values = new Map<number, (Buffer | bigint)[]>();

  constructor(bytes: Uint8Array) {
    const data = Buffer.from(bytes);
    let at = 0;
    const varint = (): bigint => {
      let value = 0n;
      for (let shift = 0n; ; shift += 7n) {
        const byte = data.readUInt8(at++);
        value |= BigInt(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
    };
    while (at < data.length) {
      const tag = Number(varint());
      const field = tag >> 3;
      const wire = tag & 7;
      let value: Buffer | bigint;
      if (wire === 0) value = varint();
      else if (wire === 1 || wire === 5) value = data.subarray(at, (at += wire === 1 ? 8 : 4));
      else if (wire === 2) {
        const length = Number(varint());
        if (at + length > data.length) throw new Error(`field ${field} ends beyond the message`);
        value = data.subarray(at, (at += length));
      } else throw new Error(`wire type ${wire}`);
      const list = this.values.get(field);
      if (list === undefined) this.values.set(field, [value]);
      else list.push(value);
    }
  }

  has(field: number): boolean {
    return this.values.has(field);
  }

  bytes(field: number): Buffer {
    return (this.values.get(field)?.[0] as Buffer | undefined) ?? Buffer.alloc(0);
  }

  text(field: number): string {
    return this.bytes(field).toString('utf8');
  }

  texts(field: number): string[] {
    return (this.values.get(field) ?? []).map((value) => (value as Buffer).toString('utf8'));
  }

  hex(field: number): string {
    return this.bytes(field).toString('hex');
  }

  number(field: number): number {
    return Number((this.values.get(field)?.[0] as bigint | undefined) ?? 0n);
  }

  fixed64(field: number): bigint {
    return this.bytes(field).readBigUInt64LE();
  }

  double(field: number): number {
    return this.bytes(field).readDoubleLE();
  }

  message(field: number): Fields {
    return new Fields(this.bytes(field));
  }

  messages(field: number): Fields[] {
    return (this.values.get(field) ?? []).map((value) => new Fields(value as Buffer));
  }

  /** map<string, string>. */
  map(field: number): Record<string, string> {
    return Object.fromEntries(this.messages(field).map((entry) => [entry.text(1), entry.text(2)]));
  }

  /** OTLP's list of KeyValue with texts. */
  attributes(field: number): Record<string, string> {
    return Object.fromEntries(this.messages(field).map((entry) => [entry.text(1), entry.message(2).text(1)]));
  }
}
