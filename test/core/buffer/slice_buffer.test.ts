import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BLOCK_SIZE, Slab } from '../../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';

const slab = new Slab(1024);
slab.release(slab.reserve(1));
const baseline = slab.blocksInUse;

function pushText(buffer: SliceBuffer, text: string): void {
  const offset = slab.allocate();
  slab.u8.set(Buffer.from(text, 'latin1'), offset + 3);
  buffer.push(offset + 3, text.length);
}

type Operation =
  | { kind: 'push' | 'unshift' | 'append'; which: number; text: string }
  | { kind: 'drain' | 'moveLength' | 'linearize'; which: number; count: number }
  | { kind: 'move' | 'clear'; which: number };

test('any sequence of operations on two buffers equals two strings, and nothing leaks', () => {
  const which = fc.nat(1);
  const text = fc.string({ maxLength: 40 }).map((t) => t.replace(/[^\0-\xff]/g, '.'));
  const count = fc.nat(120);
  const operation: fc.Arbitrary<Operation> = fc.oneof(
    fc.record({ kind: fc.constantFrom('push' as const, 'unshift' as const, 'append' as const), which, text }),
    fc.record({ kind: fc.constantFrom('drain' as const, 'moveLength' as const, 'linearize' as const), which, count }),
    fc.record({ kind: fc.constantFrom('move' as const, 'clear' as const), which }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const buffers = [new SliceBuffer(slab), new SliceBuffer(slab)];
      const texts = ['', ''];
      for (const each of operations) {
        const i = each.which;
        const buffer = buffers[i];
        const other = buffers[1 - i];
        switch (each.kind) {
          case 'push':
            pushText(buffer, each.text);
            texts[i] += each.text;
            break;
          case 'unshift': {
            const offset = slab.allocate();
            slab.u8.set(Buffer.from(each.text, 'latin1'), offset);
            buffer.unshift(offset, each.text.length);
            texts[i] = each.text + texts[i];
            break;
          }
          case 'append':
            buffer.appendLatin1(each.text);
            texts[i] += each.text;
            break;
          case 'drain': {
            const n = Math.min(each.count, buffer.length);
            buffer.drain(n);
            texts[i] = texts[i].slice(n);
            break;
          }
          case 'moveLength':
            buffer.moveLength(other, each.count);
            texts[i] += texts[1 - i].slice(0, each.count);
            texts[1 - i] = texts[1 - i].slice(each.count);
            break;
          case 'linearize': {
            const n = Math.min(each.count, buffer.length);
            if (n === 0) break;
            const offset = buffer.linearize(n);
            assert.equal(Buffer.from(slab.u8.subarray(offset, offset + n)).toString('latin1'), texts[i].slice(0, n));
            break;
          }
          case 'move':
            buffer.move(other);
            texts[i] += texts[1 - i];
            texts[1 - i] = '';
            break;
          default:
            buffer.clear();
            texts[i] = '';
        }
        for (const k of [0, 1]) {
          assert.equal(buffers[k].length, texts[k].length);
          assert.equal(buffers[k].toText(), texts[k]);
        }
      }
      if (texts[0].length > 0) {
        const at = texts[0].length >> 1;
        assert.equal(buffers[0].byteAt(at), texts[0].charCodeAt(at));
      }
      buffers[0].clear();
      buffers[1].clear();
      assert.equal(slab.blocksInUse, baseline);
    }),
    { numRuns: 300 },
  );
});

test('watermarks: above high once, below at half, with and without room between', () => {
  const buffer = new SliceBuffer(slab);
  const seen: string[] = [];
  buffer.setWatermarks(
    100,
    () => seen.push('above'),
    () => seen.push('below'),
  );
  pushText(buffer, 'x'.repeat(100));
  assert.deepEqual(seen, []);
  pushText(buffer, 'y');
  pushText(buffer, 'z'.repeat(100));
  assert.deepEqual(seen, ['above']);
  buffer.drain(150);
  assert.equal(buffer.aboveHighWatermark, true);
  buffer.drain(1);
  assert.deepEqual(seen, ['above', 'below']);
  const other = new SliceBuffer(slab);
  pushText(buffer, 'x'.repeat(100));
  other.move(buffer);
  assert.deepEqual(seen, ['above', 'below', 'above', 'below']);
  buffer.setWatermarks(
    0,
    () => {},
    () => {},
  );
  other.clear();
  assert.equal(slab.blocksInUse, baseline);
});

test('neighbours become one slice, and many slices are drained in order', () => {
  const buffer = new SliceBuffer(slab);
  buffer.appendLatin1('abc');
  buffer.appendLatin1('def');
  assert.equal(buffer.slices, 1);
  for (let i = 0; i < 300; i++) pushText(buffer, String.fromCharCode(48 + (i % 10)));
  buffer.drain(6);
  for (let i = 0; i < 300; i++) {
    assert.equal(buffer.byteAt(0), 48 + (i % 10));
    buffer.drain(1);
  }
  assert.equal(buffer.length, 0);
  assert.throws(() => buffer.drain(1), RangeError);
  assert.equal(slab.blocksInUse, baseline);
});

test('linearize across many blocks, up to a block', () => {
  const buffer = new SliceBuffer(slab);
  let text = '';
  for (let i = 0; i < 20; i++) {
    const piece = String(i).padStart(1000, '.');
    pushText(buffer, piece);
    text += piece;
  }
  const offset = buffer.linearize(BLOCK_SIZE);
  assert.equal(Buffer.from(slab.u8.subarray(offset, offset + BLOCK_SIZE)).toString(), text.slice(0, BLOCK_SIZE));
  assert.equal(buffer.toText(), text);
  assert.throws(() => buffer.linearize(BLOCK_SIZE + 1), RangeError);
  buffer.clear();
  assert.equal(slab.blocksInUse, baseline);
});

test('slices of a byte each do not hold a block each; pinned ones stay where they are', () => {
  const buffer = new SliceBuffer(slab);
  const before = slab.blocksInUse;
  for (let i = 0; i < 40_000; i++) pushText(buffer, String.fromCharCode(i & 255));
  assert.ok(slab.blocksInUse - before <= 2 + 8 + 40_000 / BLOCK_SIZE, `${slab.blocksInUse - before} blocks`);
  const bytes = buffer.toBytes();
  assert.ok(bytes.length === 40_000 && bytes.every((byte, i) => byte === (i & 255)));
  buffer.clear();

  pushText(buffer, 'ab');
  pushText(buffer, 'cd');
  buffer.pinned = 2;
  const places = [buffer.offsetAt(0), buffer.offsetAt(1)];
  const source = new SliceBuffer(slab);
  for (let i = 0; i < 30; i++) {
    pushText(source, 'x');
    pushText(source, 'y');
    buffer.move(source);
  }
  assert.deepEqual([buffer.offsetAt(0), buffer.offsetAt(1)], places);
  assert.ok(buffer.slices < 12);
  assert.equal(buffer.toText(), `abcd${'xy'.repeat(30)}`);
  buffer.pinned = 0;
  buffer.clear();
  assert.equal(slab.blocksInUse, before);
});
