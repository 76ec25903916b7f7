/** A thread that ends while its sockets are in use: by `process.exit`, by an exception, or by leaving the stack. */
import { parentPort, workerData } from 'node:worker_threads';
import { attach } from '../../../src/stack/index.ts';

const net = await attach({ name: 'exiting', runtimeDir: workerData.runtimeDir });
const server = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', () => {
    if (workerData.mode === 'exit') process.exit(1);
    if (workerData.mode === 'throw') throw new Error('thrown on purpose');
    net.close();
  });
});
server.listen(70, () => parentPort!.postMessage('listening'));
