import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Slab } from '../../../src/core/buffer/slab.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { H, HEADER_NAMES, headerId, headerIdAt, headerIdOfBytes } from '../../../src/proxy/http/header_names.ts';
import { headerMask } from '../../../src/proxy/http/known_headers.ts';

const slab = new Slab(64);

/** Fills `map` with lines as a codec does; the raw lines lie one after the other in one block. */
function fill(map: HeaderMap, lines: [name: string, value: string][]): void {
  const block = slab.allocate();
  let at = block;
  for (const [name, value] of lines) {
    slab.u8.set(Buffer.from(`${name}: ${value}\r\n`, 'latin1'), at);
    map.addBytes(at, name.length, at + name.length + 2, value.length, true);
    at += name.length + value.length + 4;
  }
  map.holdBlock(block);
  slab.release(block);
}

function written(map: HeaderMap, format?: (name: string) => string): string {
  const at = slab.allocate();
  const size = map.linesByteSize();
  const end = map.writeLines(at, format);
  assert.ok(format !== undefined || end - at <= size, `${end - at} bytes written, ${size} announced`);
  const text = Buffer.from(slab.u8.subarray(at, end)).toString('latin1');
  slab.release(at);
  return text;
}

test('every known name is found by its text and by its bytes', () => {
  const at = slab.allocate();
  for (const name of HEADER_NAMES.slice(1)) {
    slab.u8.set(Buffer.from(name), at);
    assert.equal(headerIdOfBytes(slab.u8, at, name.length), H[name]);
    assert.equal(headerIdAt(slab.view, slab.u8, at, name.length), H[name]);
    assert.equal(headerId(name), name === 'host' ? H[':authority'] : H[name]);
    for (let i = 0; i < name.length; i++) {
      slab.u8[at + i] ^= 1;
      const changed = Buffer.from(slab.u8.subarray(at, at + name.length)).toString();
      const expected = Math.max((HEADER_NAMES as readonly string[]).indexOf(changed), 0);
      assert.equal(headerIdOfBytes(slab.u8, at, name.length), expected);
      assert.equal(headerIdAt(slab.view, slab.u8, at, name.length), expected);
      slab.u8[at + i] ^= 1;
    }
  }
  slab.release(at);
});

test('a released map keeps nothing: not names, not values, not the block', () => {
  const before = slab.blocksInUse;
  const map = new HeaderMap(slab);
  fill(map, [
    ['x-first', '1'],
    ['via', 'a'],
  ]);
  assert.equal(map.get('x-first'), '1');
  assert.ok(map.inUse);
  map.nameFormatter = (name) => name;
  map.release();
  assert.equal(slab.blocksInUse, before);
  assert.equal(map.inUse, false);
  assert.equal(map.has('via'), false);
  assert.equal(map.nameFormatter, null);
  // Names are cached when asked for; the same position must not answer with the old one.
  fill(map, [
    ['x-other', '2'],
    ['x-third', '3'],
  ]);
  assert.deepEqual(map.toObject(), { 'x-other': '2', 'x-third': '3' });
  map.release();
  assert.equal(slab.blocksInUse, before);
});

test('mayHaveAny tells absence surely', () => {
  const map = new HeaderMap(slab);
  const mask = headerMask([H.via, H['x-envoy-upstream-service-time']]);
  assert.equal(map.mayHaveAny(mask), false);
  map.add('x-envoy-upstream-service-time', '1');
  assert.equal(map.mayHaveAny(mask), true);
  map.release();
  assert.equal(map.mayHaveAny(mask), false);
});

test('untouched lines are written as they lie, changed ones in their place', () => {
  const map = new HeaderMap(slab);
  fill(map, [
    ['x-a', '1'],
    ['via', 'p'],
    ['x-b', '2'],
    ['date', 'now'],
  ]);
  map.set('via', 'q');
  map.add('x-c', '3');
  map.remove('date');
  assert.equal(written(map), 'x-a: 1\r\nvia: q\r\nx-b: 2\r\nx-c: 3\r\n');
  assert.equal(
    written(map, (name) => name.toUpperCase()),
    'X-A: 1\r\nVIA: q\r\nX-B: 2\r\nX-C: 3\r\n',
  );
  map.release();
});

test('host is :authority for whoever uses names', () => {
  const map = HeaderMap.of(slab, [['host', 'a']]);
  assert.equal(map.getId(H[':authority']), 'a');
  assert.equal(map.get('host'), 'a');
  assert.equal(written(map), '');
});

test('more entries than a byte can number', () => {
  const map = new HeaderMap(slab);
  for (let i = 0; i < 300; i++) map.add(`x-${i}`, String(i));
  map.add('via', 'a');
  map.add('via', 'b');
  map.add('date', 'd');
  assert.equal(map.get('via'), 'a,b');
  assert.equal(map.get('date'), 'd');
  assert.equal(map.remove('via'), 2);
  assert.equal(map.has('via'), false);
  assert.equal(map.get('date'), 'd');
  assert.equal(map.get('x-299'), '299');
});

// A plain list with the same operations.
type Entry = [name: string, value: string];
type Operation = { kind: 'add' | 'set' | 'append' | 'remove' | 'removePrefix' | 'get'; name: string; value: string };

class Model {
  entries: Entry[] = [];

  run({ kind, name, value }: Operation): void {
    const first = this.entries.find((e) => e[0] === name);
    if (kind === 'remove') this.entries = this.entries.filter((e) => e[0] !== name);
    else if (kind === 'removePrefix') this.entries = this.entries.filter((e) => !e[0].startsWith(name.slice(0, 3)));
    else if (kind === 'get') return;
    else if (kind === 'add' || first === undefined) this.entries.push([name, value]);
    else if (kind === 'append') first[1] = first[1] === '' ? value : `${first[1]},${value}`;
    else {
      first[1] = value;
      this.entries = this.entries.filter((e) => e === first || e[0] !== name);
    }
  }
}

test('any sequence of operations equals a plain list', () => {
  const name = fc.constantFrom('via', 'date', 'x-one', 'x-two', 'x-envoy-internal', 'cookie', 'x-request-id');
  const value = fc.stringMatching(/^[!-~]{0,12}$/);
  const operation: fc.Arbitrary<Operation> = fc.record({
    kind: fc.constantFrom('add', 'set', 'append', 'remove', 'removePrefix', 'get'),
    name,
    value,
  });
  const map = new HeaderMap(slab);
  const before = slab.blocksInUse;
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, value), { maxLength: 30 }),
      fc.array(operation, { maxLength: 30 }),
      (lines, operations) => {
        const model = new Model();
        model.entries = lines.map(([n, v]) => [n, v]);
        fill(map, lines);
        for (const each of operations) {
          model.run(each);
          if (each.kind === 'add') map.add(each.name, each.value);
          else if (each.kind === 'set') map.set(each.name, each.value);
          else if (each.kind === 'append') map.append(each.name, each.value);
          else if (each.kind === 'remove') map.remove(each.name);
          else if (each.kind === 'removePrefix') map.removePrefix(each.name.slice(0, 3));
          const all = model.entries.filter((e) => e[0] === each.name).map((e) => e[1]);
          assert.equal(map.get(each.name), all.length === 0 ? undefined : all.join(','));
          assert.deepEqual(map.getAll(each.name), all);
          assert.equal(map.has(each.name), all.length > 0);
        }
        assert.deepEqual([...map.entries()], model.entries);
        assert.equal(map.size, model.entries.length);
        assert.equal(written(map), model.entries.map(([n, v]) => `${n}: ${v}\r\n`).join(''));
        map.release();
        assert.equal(slab.blocksInUse, before);
      },
    ),
    { numRuns: 500 },
  );
});
