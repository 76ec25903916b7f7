/** pcapng: the file that a ping over a captured pipe makes, read back block by block. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import { CaptureDevice } from '../../../src/stack/link/capture.ts';
import { PipeDevice } from '../../../src/stack/link/pipe.ts';

test('a capture is a well-formed pcapng file with times and directions', () => {
  const blocks: Uint8Array[] = [];
  const [a, b] = PipeDevice.pair();
  const make = (): NetStack => new NetStack({ random32: () => 7, pool: { small: 64, large: 2 } });
  const one = make();
  const two = make();
  one.addInterface(new CaptureDevice(a, { write: (block) => blocks.push(block), epochUs: 1_700_000_000_000_000 }), [
    '10.0.0.1/24',
  ]);
  two.addInterface(b, ['10.0.0.2/24']);
  one.tcp.connect({ remote: IpAddress.parse('10.0.0.2')!, remotePort: 80 }, 5);
  one.poll(5);
  two.poll(6);
  one.poll(7);
  const file = Buffer.concat(blocks);
  const found: { type: number; length: number; flags?: number; time?: number }[] = [];
  for (let at = 0; at < file.length; ) {
    const type = file.readUInt32LE(at);
    const size = file.readUInt32LE(at + 4);
    assert.equal(size % 4, 0);
    assert.equal(file.readUInt32LE(at + size - 4), size, 'the length is repeated at the end');
    if (type === 6) {
      const length = file.readUInt32LE(at + 20);
      const time = file.readUInt32LE(at + 12) * 2 ** 32 + file.readUInt32LE(at + 16);
      found.push({ type, length, time, flags: file.readUInt32LE(at + 28 + ((length + 3) & ~3) + 4) });
      assert.equal(file[at + 28] >> 4, 4, 'an IPv4 packet');
    } else found.push({ type, length: size });
    at += size;
  }
  assert.deepEqual(
    found.map(({ type, flags }) => [type, flags]),
    [
      [0x0a0d0d0a, undefined],
      [1, undefined],
      [6, 2],
      [6, 1],
    ],
  );
  assert.equal(found[2].time, 1_700_000_000_000_005);
  assert.equal(found[3].length, 40, 'the reset');
});
