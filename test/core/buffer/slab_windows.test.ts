import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_SIZE, Slab } from '../../../src/core/buffer/slab.ts';
import { SlabWindows } from '../../../src/core/buffer/slab_windows.ts';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import { createSealedMemfd, SharedMemory } from '../../../src/core/sys/memfd.ts';
import { closeDescriptor } from '../../../src/core/sys/unix_socket.ts';

const MB = 1 << 20;

function setUp(windowBlocks = 128) {
  const slab = new Slab(64, windowBlocks);
  const fd = createSealedMemfd('window', MB);
  const file = SharedMemory.map(fd, MB).memory.u8;
  const windows = SlabWindows.of(slab);
  return { slab, fd, file, windows };
}

function holder() {
  return {
    freed: 0,
    onBlockFree(): void {
      this.freed++;
    },
  };
}

test('a window shows a file under positions of the slab; its slices are like others', () => {
  const { slab, fd, file, windows } = setUp();
  const window = windows.open(fd, 0, MB)!;
  closeDescriptor(fd);
  assert.equal(SlabWindows.of(slab), windows);
  const one = holder();
  file.set([1, 2, 3, 4], 2 * BLOCK_SIZE);
  const at = 2 * BLOCK_SIZE;
  assert.equal(window.take(at, one), true);
  assert.equal(window.take(at + 2, one), true);
  const buffer = new SliceBuffer(slab);
  buffer.push(window.start + at, 2);
  buffer.push(window.start + at + 2, 2);
  assert.equal(buffer.slices, 1, 'neighbours are joined');
  assert.deepEqual([...buffer.toBytes()], [1, 2, 3, 4]);
  file[at] = 9;
  assert.equal(buffer.byteAt(0), 9, 'who writes the file changes what is seen');
  assert.equal(window.take(at, holder()), false, 'a block has one holder');
  assert.equal(slab.blocksInUse, 0, 'blocks of windows are not of the slab');
  const other = new SliceBuffer(slab);
  other.moveLength(buffer, 3);
  buffer.clear();
  assert.equal(one.freed, 0);
  other.clear();
  assert.equal(one.freed, 1);
  assert.equal(window.isFree(at), true);
});

test('makePrivate copies what lies in windows, and only that', () => {
  const { slab, fd, file, windows } = setUp();
  const window = windows.open(fd, 0, MB)!;
  closeDescriptor(fd);
  const one = holder();
  file.fill(7, 0, BLOCK_SIZE);
  window.take(0, one);
  const buffer = new SliceBuffer(slab);
  buffer.appendLatin1('head');
  const own = buffer.offsetAt(0);
  buffer.push(window.start, BLOCK_SIZE);
  buffer.makePrivate();
  assert.equal(one.freed, 1, 'given back');
  file.fill(8, 0, BLOCK_SIZE);
  assert.equal(buffer.offsetAt(0), own);
  assert.equal(buffer.length, 4 + BLOCK_SIZE);
  assert.ok(
    buffer
      .toBytes()
      .subarray(4)
      .every((byte) => byte === 7),
  );
  buffer.clear();
});

test('a block that is kept is a copy until it is released; then the window shows the file again', () => {
  const { slab, fd, file, windows } = setUp();
  const window = windows.open(fd, 0, MB)!;
  closeDescriptor(fd);
  const one = holder();
  file.fill(1, 0, 2 * BLOCK_SIZE);
  window.take(0, one);
  window.keep(0);
  window.keep(BLOCK_SIZE);
  file.fill(2, 0, 2 * BLOCK_SIZE);
  const seen = slab.u8.subarray(window.start, window.start + 2 * BLOCK_SIZE);
  assert.ok(seen.subarray(0, BLOCK_SIZE).every((byte) => byte === 1));
  assert.ok(
    seen.subarray(BLOCK_SIZE).every((byte) => byte === 2),
    'nobody held it',
  );
  assert.equal(window.take(0, one), false, 'it is not the file that would be seen');
  slab.release(window.start);
  assert.equal(one.freed, 0, 'its holder has nothing to do with it any more');
  assert.ok(seen.every((byte) => byte === 2));
  assert.equal(window.take(0, one), true);
  slab.release(window.start);
  assert.equal(one.freed, 1);
  assert.ok(
    file.subarray(0, BLOCK_SIZE).every((byte) => byte === 2),
    'the file was never written to',
  );
});

test('a closed window goes with its last block, and its room is used again', () => {
  const { slab, fd, file, windows } = setUp(64 + 63);
  assert.equal(windows.open(fd, 0, MB + 4096), null, 'not whole blocks');
  const window = windows.open(fd, 0, MB)!;
  assert.equal(windows.open(fd, 0, MB), null, 'no room');
  file.fill(5, 0, BLOCK_SIZE);
  window.take(0, holder());
  window.keep(0);
  window.close();
  file.fill(6, 0, BLOCK_SIZE);
  assert.equal(windows.open(fd, 0, MB), null, 'a block of it is held');
  assert.equal(slab.u8[window.start], 5);
  slab.release(window.start);
  assert.equal(slab.u8[window.start], 0);
  const next = windows.open(fd, 0, MB)!;
  closeDescriptor(fd);
  assert.equal(next.start, window.start);
  assert.equal(slab.u8[next.start], 6);
  next.close();
});

test('a slab without room for windows, and a descriptor that cannot be mapped', () => {
  const { fd, windows } = setUp(0);
  assert.equal(windows.open(fd, 0, MB), null);
  closeDescriptor(fd);
  assert.equal(setUp().windows.open(-1, 0, MB), null);
});
