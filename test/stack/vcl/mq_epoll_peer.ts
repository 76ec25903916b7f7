/** A client of the test of the exposed descriptor: round trips of growing size, checked. */
import { parentPort, workerData } from 'node:worker_threads';
import { vcl } from '../../../src/stack/index.ts';

const { runtimeDir, port, trips } = workerData as { runtimeDir: string; port: number; trips: number };
vcl.appCreate('peer', { runtimeDir });
const session = vcl.sessionCreate();
if (vcl.sessionConnect(session, { ip: '127.0.0.1', port }) !== 0) throw new Error('connect failed');
const answer = new Uint8Array(5000);
for (let i = 0; i < trips; i++) {
  const message = new Uint8Array(1 + ((i * 7) % 4000)).fill(i);
  vcl.sessionWrite(session, message);
  for (let got = 0; got < message.length; ) {
    const n = vcl.sessionRead(session, answer);
    if (n <= 0 || answer[0] !== (i & 255) || answer[n - 1] !== (i & 255)) throw new Error(`trip ${i}: ${n}`);
    got += n;
  }
}
vcl.sessionClose(session);
vcl.appDestroy();
parentPort!.postMessage('done');
