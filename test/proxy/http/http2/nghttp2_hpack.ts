/** nghttp2's HPACK, the one that Node itself links, by ffi: the other side for tests. */
import ffi from 'node:ffi';

type Field = readonly [name: string, value: string];

const { functions } = ffi.dlopen(null, {
  nghttp2_hd_deflate_new: { return: 'int32', arguments: ['pointer', 'uint64'] },
  nghttp2_hd_deflate_del: { return: 'void', arguments: ['pointer'] },
  nghttp2_hd_deflate_change_table_size: { return: 'int32', arguments: ['pointer', 'uint64'] },
  nghttp2_hd_deflate_hd: { return: 'int32', arguments: ['pointer', 'pointer', 'uint64', 'pointer', 'uint64'] },
  nghttp2_hd_inflate_new: { return: 'int32', arguments: ['pointer'] },
  nghttp2_hd_inflate_del: { return: 'void', arguments: ['pointer'] },
  nghttp2_hd_inflate_change_table_size: { return: 'int32', arguments: ['pointer', 'uint64'] },
  nghttp2_hd_inflate_hd2: { return: 'int32', arguments: ['pointer', 'pointer', 'pointer', 'pointer', 'uint64', 'int32'] },
  nghttp2_hd_inflate_end_headers: { return: 'int32', arguments: ['pointer'] },
});

const addressOf = (bytes: Uint8Array): bigint => ffi.getRawPointer(bytes);

function newHandle(create: (out: bigint) => number): bigint {
  const out = new BigUint64Array(1);
  const code = create(addressOf(new Uint8Array(out.buffer)));
  if (code !== 0) throw new Error(`nghttp2: ${code}`);
  return out[0];
}

export class Nghttp2Deflater {
  private readonly handle: bigint;

  constructor(tableSize: number) {
    this.handle = newHandle((out) => functions.nghttp2_hd_deflate_new(out, BigInt(tableSize)) as number);
  }

  changeTableSize(size: number): void {
    functions.nghttp2_hd_deflate_change_table_size(this.handle, BigInt(size));
  }

  encode(fields: readonly Field[]): Uint8Array {
    const names = fields.map(([name]) => Uint8Array.from(Buffer.from(name, 'latin1')));
    const values = fields.map(([, value]) => Uint8Array.from(Buffer.from(value === '' ? '\0' : value, 'latin1')));
    // struct nghttp2_nv { uint8_t *name, *value; size_t namelen, valuelen; uint8_t flags; } of 40 bytes.
    const nv = new Uint8Array(40 * fields.length);
    const view = new DataView(nv.buffer);
    fields.forEach(([, value], i) => {
      view.setBigUint64(40 * i, addressOf(names[i]), true);
      view.setBigUint64(40 * i + 8, addressOf(values[i]), true);
      view.setBigUint64(40 * i + 16, BigInt(names[i].length), true);
      view.setBigUint64(40 * i + 24, BigInt(value.length), true);
    });
    const out = new Uint8Array(64 * 1024 + nv.length);
    const length = functions.nghttp2_hd_deflate_hd(
      this.handle,
      addressOf(out),
      BigInt(out.length),
      addressOf(nv),
      BigInt(fields.length),
    ) as number;
    if (length < 0) throw new Error(`nghttp2: ${length}`);
    return out.slice(0, length);
  }

  close(): void {
    functions.nghttp2_hd_deflate_del(this.handle);
  }
}

const EMIT = 2;
const FINAL = 1;

export class Nghttp2Inflater {
  private readonly handle: bigint;

  constructor() {
    this.handle = newHandle((out) => functions.nghttp2_hd_inflate_new(out) as number);
  }

  changeTableSize(size: number): void {
    functions.nghttp2_hd_inflate_change_table_size(this.handle, BigInt(size));
  }

  /** The fields, or null when nghttp2 refuses the block. */
  decode(block: Uint8Array): Field[] | null {
    const input = new Uint8Array(Math.max(block.length, 1));
    input.set(block);
    const base = addressOf(input);
    const nv = new Uint8Array(40);
    const view = new DataView(nv.buffer);
    const flags = new Int32Array(1);
    const fields: Field[] = [];
    let at = 0;
    for (;;) {
      flags[0] = 0;
      const used = functions.nghttp2_hd_inflate_hd2(
        this.handle,
        addressOf(nv),
        addressOf(new Uint8Array(flags.buffer)),
        base + BigInt(at),
        BigInt(block.length - at),
        1,
      ) as number;
      if (used < 0) return null;
      at += used;
      if ((flags[0] & EMIT) !== 0) fields.push([text(view, 0, 16), text(view, 8, 24)]);
      if ((flags[0] & FINAL) !== 0) {
        functions.nghttp2_hd_inflate_end_headers(this.handle);
        return fields;
      }
      if ((flags[0] & EMIT) === 0 && at >= block.length) return fields;
    }
  }

  close(): void {
    functions.nghttp2_hd_inflate_del(this.handle);
  }
}

function text(view: DataView, pointerAt: number, lengthAt: number): string {
  const length = Number(view.getBigUint64(lengthAt, true));
  if (length === 0) return '';
  return Buffer.from(ffi.toArrayBuffer(view.getBigUint64(pointerAt, true), length, true)).toString('latin1');
}
