import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { TimerWheel, WheelTimer } from '../../../src/core/event/timer_wheel.ts';

class Probe extends WheelTimer {
  firedAt: number[] = [];
  private readonly clock: { now: number };

  constructor(clock: { now: number }) {
    super();
    this.clock = clock;
  }

  onTimer(): void {
    this.firedAt.push(this.clock.now);
  }
}

test('a timer fires once, at its tick, at every level', () => {
  for (const delay of [0, 1, 5, 255, 256, 257, 511, 16_383, 16_384, 16_385, 1_048_575, 1_048_577, 70_000_000, 200_000_000]) {
    const clock = { now: 1_000_003 };
    const wheel = new TimerWheel(clock.now);
    const timer = new Probe(clock);
    wheel.arm(timer, clock.now + delay);
    const due = clock.now + Math.max(1, delay);
    while (clock.now < due + 5) {
      const next = wheel.nextTick();
      if (next < 0) break;
      assert.ok(next <= due, `nextTick ${next} is after the due time ${due}`);
      clock.now = Math.max(next, clock.now + 1);
      wheel.advance(clock.now, 100);
    }
    assert.deepEqual(timer.firedAt, [due], `delay ${delay}`);
    assert.equal(wheel.size, 0);
  }
});

test('against a sorted list: arm, re-arm, disarm, advance in any order', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('arm' as const),
      timer: fc.nat(9),
      delay: fc.oneof(fc.nat(600), fc.nat(40_000), fc.nat(3_000_000)),
    }),
    fc.record({ kind: fc.constant('disarm' as const), timer: fc.nat(9) }),
    fc.record({
      kind: fc.constant('advance' as const),
      by: fc.oneof(fc.nat(3), fc.nat(700), fc.nat(100_000), fc.nat(2_000_000)),
    }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(5_000_000), (steps, start) => {
      const clock = { now: start };
      const wheel = new TimerWheel(start);
      const timers = Array.from({ length: 10 }, () => new Probe(clock));
      const due = new Map<number, number>();
      const expected = timers.map(() => 0);
      for (const s of steps) {
        if (s.kind === 'arm') {
          wheel.arm(timers[s.timer], clock.now + s.delay);
          due.set(s.timer, Math.max(clock.now + s.delay, clock.now + 1));
        } else if (s.kind === 'disarm') {
          wheel.disarm(timers[s.timer]);
          due.delete(s.timer);
        } else {
          clock.now += s.by;
          wheel.advance(clock.now, 1000);
          for (const [timer, at] of [...due]) {
            if (at > clock.now) continue;
            due.delete(timer);
            expected[timer]++;
          }
        }
        assert.deepEqual(
          timers.map((timer) => timer.firedAt.length),
          expected,
        );
        const next = wheel.nextTick();
        const first = Math.min(...due.values());
        if (due.size > 0) assert.ok(next >= 0 && next <= first, `next ${next}, first due ${first}`);
      }
    }),
    { numRuns: 300 },
  );
});

test('re-arming further away leaves the timer where it is linked', () => {
  const clock = { now: 0 };
  const wheel = new TimerWheel(0);
  const timer = new Probe(clock);
  wheel.arm(timer, 10);
  const linkedAt = timer.linkedAt;
  for (let i = 11; i < 1000; i++) wheel.arm(timer, i);
  assert.equal(timer.linkedAt, linkedAt);
  for (clock.now = 1; clock.now <= 999; clock.now++) wheel.advance(clock.now, 10);
  assert.deepEqual(timer.firedAt, [999]);
});

test('the limit bounds one advance, and the rest comes with the next', () => {
  const clock = { now: 0 };
  const wheel = new TimerWheel(0);
  const timers = Array.from({ length: 100 }, () => new Probe(clock));
  for (const timer of timers) wheel.arm(timer, 5);
  assert.equal(wheel.advance(5, 30), 30);
  assert.equal(wheel.advance(5, 1000), 70);
  assert.ok(timers.every((timer) => timer.firedAt.length === 1));
});

test('a timer may re-arm itself and disarm others while firing', () => {
  const wheel = new TimerWheel(0);
  const fired: string[] = [];
  class Named extends WheelTimer {
    private readonly action: () => void;
    constructor(action: () => void) {
      super();
      this.action = action;
    }
    onTimer(): void {
      this.action();
    }
  }
  const victim = new Named(() => fired.push('victim'));
  const first: Named = new Named(() => {
    fired.push('first');
    wheel.disarm(victim);
    if (fired.length < 3) wheel.arm(first, 20);
  });
  wheel.arm(victim, 10);
  wheel.arm(first, 10);
  wheel.advance(15, 100);
  wheel.advance(25, 100);
  assert.deepEqual(fired.slice(0, 2), ['first', 'first']);
  assert.ok(!fired.includes('victim'));
});
