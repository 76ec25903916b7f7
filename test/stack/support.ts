/** Applications of one test thread, driven without the event loop. */
import assert from 'node:assert/strict';
import { TransportProto } from '../../src/stack/session/transport.ts';
import { type VclSession, VclState } from '../../src/stack/vcl/session.ts';
import type { VclWorker } from '../../src/stack/vcl/worker.ts';

const DEADLINE_MS = 30_000;

/** Serves the workers until `done`, or fails. */
export function until(done: () => boolean, ...workers: VclWorker[]): void {
  const deadline = performance.now() + DEADLINE_MS;
  while (!done()) {
    assert.ok(performance.now() < deadline, 'nothing happened in time');
    for (const worker of workers) if (worker.poll() === 0 && !done()) worker.wait(workers.length > 1 ? 1 : 50);
  }
}

export function listenOn(worker: VclWorker, ip: string, port: number, backlog = 100): VclSession {
  const session = worker.createSession(TransportProto.tcp);
  assert.ok(session.local.set(ip, port));
  worker.listen(session, backlog);
  until(() => session.state !== VclState.connecting, worker);
  return session;
}

/** A session whose connect is answered: look at its `error`. */
export function connectTo(worker: VclWorker, ip: string, port: number): VclSession {
  const session = worker.createSession(TransportProto.tcp);
  assert.ok(session.remote.set(ip, port));
  worker.connect(session);
  until(() => session.state !== VclState.connecting, worker);
  return session;
}

export function acceptOn(worker: VclWorker, listener: VclSession): VclSession {
  let session: VclSession | null = null;
  until(() => (session = worker.accept(listener)) !== null, worker);
  return session as unknown as VclSession;
}

/** Everything up to the end of the stream, or the errno that ended it. */
export function readAll(worker: VclWorker, session: VclSession): Buffer | number {
  const parts: Buffer[] = [];
  const buffer = Buffer.alloc(65536);
  for (;;) {
    let n = 0;
    until(() => (n = session.read(buffer)) !== -11, worker);
    if (n < 0) return n;
    if (n === 0) return Buffer.concat(parts);
    parts.push(Buffer.from(buffer.subarray(0, n)));
  }
}
