/** Sizes of the segments that pairs of workers share. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { DEFAULT_SEGMENT_OPTIONS } from '../../../src/stack/session/segment_manager.ts';
import { VclState } from '../../../src/stack/vcl/session.ts';
import { VclWorker } from '../../../src/stack/vcl/worker.ts';

/** A stack and one application on it that connects to its own listener; all ends with the test. */
async function connectedToItself(t: TestContext, fifoSize: number) {
  const runtimeDir = mkdtempSync(join(tmpdir(), 'sluice-segments-'));
  const stack = new HostStack({ runtimeDir });
  const worker = await VclWorker.attach('both', { runtimeDir, rxFifoSize: fifoSize, txFifoSize: fifoSize });
  t.after(() => {
    worker.destroy();
    stack.close();
    rmSync(runtimeDir, { recursive: true });
  });
  const until = async (done: () => boolean): Promise<void> => {
    for (; !done(); worker.poll()) await new Promise((resolve) => setImmediate(resolve));
  };
  const connect = async (count: number) => {
    const listener = worker.createSession(0);
    listener.local.set('127.0.0.1', 80);
    worker.listen(listener, 10);
    await until(() => listener.state === VclState.listening);
    const sessions = Array.from({ length: count }, () => {
      const session = worker.createSession(0);
      session.remote.set('127.0.0.1', 80);
      worker.connect(session);
      return session;
    });
    await until(() => sessions.every(({ state }) => state === VclState.ready) && listener.acceptQueue.length === count);
    return { listener, sessions };
  };
  return { stack, worker, until, connect };
}

for (const [fifo, expected] of [
  [1 << 20, [1, 4096]],
  [8 << 20, [4096]],
] as const)
  test(`two connections with FIFOs of ${fifo >> 20} MB are in segments of ${expected.join(' and ')} slots`, {
    timeout: 30_000,
  }, async (t) => {
    const { stack, worker, until, connect } = await connectedToItself(t, fifo);
    const { listener, sessions } = await connect(2);
    const slots = (): number[] => [...stack.segments.all()].map(({ segment }) => segment.layout.slots);
    assert.deepEqual(slots(), expected);
    // All of its room can be filled, also in the small one.
    const block = new Uint8Array(fifo + 1);
    assert.equal(sessions[0].write(block), fifo);
    const accepted = [0, 1].map(() => worker.accept(listener)!);
    const close = async (i: number): Promise<void> => {
      worker.close(sessions[i], true);
      worker.close(accepted[i], true);
      const ends = stack.layer.pool.count;
      await until(() => stack.layer.pool.count === ends - 2);
    };
    // One that comes and goes beside one that stays has its segment kept.
    await close(1);
    assert.deepEqual(slots(), expected);
    await close(0);
    assert.deepEqual(slots(), [DEFAULT_SEGMENT_OPTIONS.slots]);
  });

test('memory that the stack takes back while a worker looks at its queues is no mistake of the peer', {
  timeout: 30_000,
}, async (t) => {
  const { stack, worker, connect } = await connectedToItself(t, 1 << 20);
  const {
    listener,
    sessions: [session],
  } = await connect(1);
  const accepted = worker.accept(listener)!;
  // The queue has moved on from where empty memory begins.
  accepted.write(Buffer.from('x'));
  session.write(Buffer.from('x'));
  worker.poll();
  const [shared] = stack.segments.all();
  const { control } = worker as unknown as { control: { settle(taken: boolean): void } };
  const settle = control.settle.bind(control);
  control.settle = (taken) => {
    control.settle = settle;
    settle(taken);
    // Between the notices and the events of one look.
    (stack.segments as unknown as { deleteSegment(segment: typeof shared): void }).deleteSegment(shared);
  };
  worker.poll();
  worker.poll();
  assert.deepEqual([session.error, accepted.error], [0, 0]);
});
