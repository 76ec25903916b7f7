import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OutboundQueue } from '../../../../src/proxy/http/http2/outbound_queue.ts';

const step = fc.record({
  frames: fc.nat(5),
  control: fc.nat(3),
  bytes: fc.integer({ min: 1, max: 5000 }),
  sent: fc.double({ min: 0, max: 1, noNaN: true }),
});

test('counts the frames whose last byte is not sent', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new OutboundQueue();
      let model: { end: number; frames: number; control: number }[] = [];
      let written = 0;
      let sent = 0;
      for (const { frames, control, bytes, sent: share } of steps) {
        for (let i = 0; i < frames; i++) queue.add(false);
        for (let i = 0; i < control; i++) queue.add(true);
        written += bytes;
        queue.onWritten(bytes);
        model.push({ end: written, frames: frames + control, control });
        sent += Math.floor((written - sent) * share);
        queue.onPending(written - sent);
        model = model.filter(({ end }) => end > sent);
        assert.equal(
          queue.frames,
          model.reduce((sum, mark) => sum + mark.frames, 0),
        );
        assert.equal(
          queue.controlFrames,
          model.reduce((sum, mark) => sum + mark.control, 0),
        );
      }
      queue.onPending(0);
      assert.equal(queue.frames, 0);
      assert.equal(queue.controlFrames, 0);
    }),
  );
});

test('more writes than there are marks: none is forgotten, none counts twice', () => {
  const queue = new OutboundQueue();
  for (let i = 0; i < 1000; i++) {
    queue.add(i % 2 === 0);
    queue.onWritten(10);
  }
  assert.equal(queue.frames, 1000);
  queue.onPending(10 * (1000 - 63));
  assert.equal(queue.frames, 1000 - 63);
  queue.onPending(1);
  assert.equal(queue.frames, 1000 - 63);
  queue.onPending(0);
  assert.equal(queue.frames, 0);
  assert.equal(queue.controlFrames, 0);
});
