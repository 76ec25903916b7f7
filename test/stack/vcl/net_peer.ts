/** A thread that echoes on net-shaped sockets, for `net_threads.test.ts`. */
import { parentPort, workerData } from 'node:worker_threads';
import { attach } from '../../../src/stack/index.ts';

const net = await attach({ name: 'peer', runtimeDir: workerData.runtimeDir, rxFifoSize: 30_000, txFifoSize: 50_000 });
const server = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
server.listen(workerData.port, () => parentPort!.postMessage('listening'));
parentPort!.once('message', () => {
  server.close();
  net.close();
});
