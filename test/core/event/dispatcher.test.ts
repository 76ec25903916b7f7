import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FileReadyType, FileTriggerType } from '../../../src/core/event/dispatcher.ts';
import { check, libc } from '../../../src/core/sys/libc.ts';
import { NativeMemory } from '../../../src/core/sys/memory.ts';
import { BACKENDS, skipReason, startLoop, until } from '../../support/dispatchers.ts';

/** A pipe made of a socket pair, with one-byte writes and reads. */
class BytePair {
  readonly memory = NativeMemory.map(4096);
  readonly reader: number;
  readonly writer: number;

  constructor() {
    check(libc.socketpair(1, 1 | 0x800, 0, this.memory.pointer), 'socketpair');
    [this.reader, this.writer] = this.memory.i32;
  }

  write(count = 1): void {
    check(libc.write(this.writer, this.memory.pointer + 64n, BigInt(count)), 'write');
  }

  read(count = 1): number {
    return libc.read(this.reader, this.memory.pointer + 64n, BigInt(count));
  }

  close(): void {
    libc.close(this.reader);
    libc.close(this.writer);
  }
}

for (const backend of BACKENDS) {
  describe(`dispatcher on ${backend}`, { skip: skipReason(backend) }, () => {
    test('Node timers, immediates and promises run beside ours', async (t) => {
      const { dispatcher } = startLoop(t, backend);
      const order: string[] = [];
      await new Promise<void>((resolve) => {
        const timer = dispatcher.createTimer(() => order.push('ours'));
        timer.enableTimer(5);
        setTimeout(() => {
          order.push('node');
          void Promise.resolve().then(() => {
            order.push('microtask');
            setImmediate(resolve);
          });
        }, 30);
      });
      assert.deepEqual(order, ['ours', 'node', 'microtask']);
    });

    test('posts run in order, and what they post runs later', async (t) => {
      const { dispatcher } = startLoop(t, backend);
      const order: number[] = [];
      dispatcher.post(() => {
        order.push(1);
        dispatcher.post(() => order.push(3));
      });
      dispatcher.post(() => order.push(2));
      await until(dispatcher, () => order.length === 3);
      assert.deepEqual(order, [1, 2, 3]);
    });

    test('current iteration before next iteration; cancel and double scheduling', async (t) => {
      const { dispatcher } = startLoop(t, backend);
      const order: string[] = [];
      const next = dispatcher.createSchedulableCallback(() => order.push('next'));
      const current = dispatcher.createSchedulableCallback(() => order.push('current'));
      const cancelled = dispatcher.createSchedulableCallback(() => order.push('cancelled'));
      dispatcher.post(() => {
        next.scheduleCallbackNextIteration();
        next.scheduleCallbackNextIteration();
        cancelled.scheduleCallbackCurrentIteration();
        cancelled.cancel();
        current.scheduleCallbackCurrentIteration();
        assert.ok(current.enabled && next.enabled && !cancelled.enabled);
      });
      await until(dispatcher, () => order.length >= 2);
      assert.deepEqual(order, ['current', 'next']);
    });

    test('deferred deletion waits for the stack to unwind, first in first out', async (t) => {
      const { dispatcher } = startLoop(t, backend);
      const order: string[] = [];
      dispatcher.post(() => {
        dispatcher.deferredDelete({ deleteNow: () => order.push('a') });
        dispatcher.deferredDelete({ deleteNow: () => order.push('b') });
        order.push('unwound');
      });
      await until(dispatcher, () => order.length === 3);
      assert.deepEqual(order, ['unwound', 'a', 'b']);
    });

    test('an error in a callback reaches onError and ends nothing', async (t) => {
      const { dispatcher, errors } = startLoop(t, backend);
      let after = false;
      const timer = dispatcher.createTimer(() => {
        throw new Error('timer');
      });
      timer.enableTimer(0);
      dispatcher.post(() => {
        throw new Error('post');
      });
      dispatcher.post(() => {
        after = true;
      });
      await until(dispatcher, () => after && errors.length === 2);
      assert.deepEqual(errors.map((error) => (error as Error).message).sort(), ['post', 'timer']);
    });

    test('level events repeat while there is data, edge events do not', async (t) => {
      const { dispatcher } = startLoop(t, backend);
      const level = new BytePair();
      const edge = new BytePair();
      let levelCount = 0;
      let edgeCount = 0;
      const levelEvent = dispatcher.createFileEvent(
        level.reader,
        () => {
          if (++levelCount <= 3) level.read();
        },
        FileTriggerType.Level,
        FileReadyType.Read,
      );
      const edgeEvent = dispatcher.createFileEvent(
        edge.reader,
        (events) => {
          assert.equal(events & FileReadyType.Read, FileReadyType.Read);
          edgeCount++;
        },
        FileTriggerType.Edge,
        FileReadyType.Read,
      );
      level.write(3);
      edge.write(3);
      await until(dispatcher, () => levelCount === 3 && edgeCount >= 1, 'events');
      assert.equal(levelCount, 3);
      const before = edgeCount;
      // Re-arming reports the readiness that is still there.
      edgeEvent.setEnabled(FileReadyType.Read);
      await until(dispatcher, () => edgeCount > before, 'the re-armed edge');
      edgeEvent.setEnabled(0);
      const quiet = edgeCount;
      edge.write();
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(edgeCount, quiet);
      levelEvent.close();
      edgeEvent.close();
      await new Promise((resolve) => setImmediate(resolve));
      level.close();
      edge.close();
    });

    test('activate injects events; setEnabled cancels them', async (t) => {
      const { dispatcher } = startLoop(t, backend);
      const pair = new BytePair();
      const seen: number[] = [];
      const event = dispatcher.createFileEvent(
        pair.reader,
        (events) => seen.push(events),
        FileTriggerType.Edge,
        FileReadyType.Read,
      );
      dispatcher.post(() => event.activate(FileReadyType.Write));
      await until(dispatcher, () => seen.length === 1);
      assert.deepEqual(seen, [FileReadyType.Write]);
      let checked = false;
      dispatcher.post(() => {
        event.activate(FileReadyType.Write);
        event.setEnabled(FileReadyType.Read);
        checked = true;
      });
      await until(dispatcher, () => checked);
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(seen.length, 1);
      event.close();
      await new Promise((resolve) => setImmediate(resolve));
      pair.close();
    });

    test('an idle loop uses no CPU', async (t) => {
      startLoop(t, backend);
      await new Promise((resolve) => setTimeout(resolve, 20));
      const before = process.cpuUsage();
      await new Promise((resolve) => setTimeout(resolve, 300));
      const use = process.cpuUsage(before);
      assert.ok(use.user + use.system < 100_000, `${use.user + use.system} us of CPU in 300 ms`);
    });
  });
}
