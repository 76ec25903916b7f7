/** The ranges of the receiver and the records of the sender against a model with one entry per byte, across the wrap of the sequence space. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Reassembly } from '../../../src/stack/tcp/reassembly.ts';
import { Scoreboard } from '../../../src/stack/tcp/scoreboard.ts';

const BASE = 0x7fff_ffb0;
const at = (offset: number): number => (BASE + offset) | 0;
const range = fc.tuple(fc.nat(150), fc.integer({ min: 1, max: 40 }));

test('reassembly ranges are what arrived, merged, the latest first', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 30 }), fc.nat(160), (ranges, next) => {
      const reassembly = new Reassembly();
      const model = new Set<number>();
      for (const [start, length] of ranges) {
        const end = start + length;
        const inside = Array.from({ length }, (_, i) => model.has(start + i));
        assert.equal(reassembly.contains(at(start), at(end)), inside.every(Boolean));
        const overlap = reassembly.overlap(at(start), at(end));
        assert.equal(overlap === null, !inside.some(Boolean));
        if (overlap !== null) assert.equal(overlap.start, at(start + inside.indexOf(true)));
        for (let i = start; i < end; i++) model.add(i);
        assert.equal(reassembly.add(at(start), at(end)), true);
        const first = reassembly.ranges[0];
        assert.ok(((first.start - at(start)) | 0) <= 0 && ((first.end - at(end)) | 0) >= 0);
      }
      const covered = reassembly.ranges.reduce((sum, r) => sum + ((r.end - r.start) | 0), 0);
      assert.equal(covered, model.size);
      let expected = next;
      while (model.has(expected)) expected++;
      assert.equal(reassembly.advance(at(next)), at(expected));
      for (const r of reassembly.ranges) assert.ok(((r.start - at(next)) | 0) > 0);
    }),
  );
});

test('the scoreboard counts bytes as the model does, whatever is acknowledged, reported and lost', () => {
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('send' as const), length: fc.integer({ min: 1, max: 30 }) }),
    fc.record({ kind: fc.constant('ack' as const), upTo: fc.nat(300) }),
    fc.record({ kind: fc.constant('sack' as const), start: fc.nat(300), length: fc.integer({ min: 1, max: 60 }) }),
    fc.record({ kind: fc.constant('lose' as const), index: fc.nat(20) }),
    fc.record({ kind: fc.constant('resend' as const) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const board = new Scoreboard();
      let una = 0;
      let next = 0;
      let now = 0;
      let delivered = 0;
      const observer = { onDelivered: (r: { length: number }): void => void (delivered += r.length) };
      for (const op of operations) {
        now++;
        if (op.kind === 'send') {
          board.push(at(next), at(next + op.length), now);
          next += op.length;
        } else if (op.kind === 'ack') {
          const to = Math.min(Math.max(op.upTo, una), next);
          board.acknowledge(at(to), observer);
          una = to;
        } else if (op.kind === 'sack') {
          const start = Math.max(op.start, una);
          const end = Math.min(start + op.length, next);
          if (start < end) board.sack(at(start), at(end), observer);
        } else if (op.kind === 'lose') {
          if (op.index < board.count) board.markLost(board.at(op.index));
        } else {
          const lost = board.nextLost();
          if (lost !== null) board.retransmitted(lost, now);
        }
        let [sacked, lost, resent, seq] = [0, 0, 0, una];
        let waiting = 0;
        for (let i = 0; i < board.count; i++) {
          const r = board.at(i);
          assert.equal(r.seq, at(seq));
          seq += r.length;
          if (r.sacked) sacked += r.length;
          if (r.lost) lost += r.length;
          if (r.retransmitInFlight) resent += r.length;
          assert.ok(!(r.sacked && r.lost));
          assert.equal(r.timeLinked, !r.sacked && (!r.lost || r.retransmitInFlight));
          if (r.timeLinked) waiting++;
        }
        assert.equal(seq, next);
        assert.deepEqual([board.sackedBytes, board.lostBytes, board.retransmitBytes], [sacked, lost, resent]);
        assert.equal(delivered, una + sacked);
        let linked = 0;
        let last = -1;
        for (let r = board.timeHead; r !== null; r = r.timeNext) {
          assert.ok(r.txUs >= last, 'order of transmissions');
          last = r.txUs;
          linked++;
        }
        assert.equal(linked, waiting);
        assert.equal(board.nextLost() !== null, lost > resent);
      }
    }),
    { numRuns: 500 },
  );
});
