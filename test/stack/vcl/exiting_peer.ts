/**
 * A thread that ends while its sockets are in use: by `process.exit`, by an exception, by leaving the stack, or by being terminated, then
 * with the event loop running or asleep in a blocking call.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { attach, vcl } from '../../../src/stack/index.ts';

const { runtimeDir, mode } = workerData as { runtimeDir: string; mode: string };

if (mode === 'terminate blocked') {
  vcl.appCreate('exiting', { runtimeDir });
  const listener = vcl.sessionCreate();
  vcl.sessionBind(listener, { ip: '127.0.0.1', port: 70 });
  vcl.sessionListen(listener);
  parentPort!.postMessage('listening');
  const session = vcl.sessionAccept(listener);
  const buffer = new Uint8Array(100);
  vcl.sessionRead(session, buffer);
  parentPort!.postMessage('go');
  vcl.sessionRead(session, buffer);
} else {
  const net = await attach({ name: 'exiting', runtimeDir });
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      parentPort!.postMessage('go');
      if (mode === 'exit') process.exit(1);
      if (mode === 'throw') throw new Error('thrown on purpose');
      if (mode === 'leave') net.close();
    });
  });
  server.listen(70, () => parentPort!.postMessage('listening'));
}
