/** A thread that sends and receives over the stack until it is terminated; `busy`: it never comes back to its event loop. */
import { parentPort, workerData } from 'node:worker_threads';
import { registerWorker, type WorkerTicket } from '../../../src/stack/index.ts';

const { ticket, port, busy } = workerData as { ticket: WorkerTicket; port: number; busy: boolean };
const net = await registerWorker(ticket);
for (let i = 0; i < 4; i++) {
  const socket = net.connect({ port, host: '127.0.0.1' });
  socket.on('data', (data) => {
    parentPort!.postMessage(data.length);
    if (busy) for (;;);
    socket.write(data);
  });
  socket.on('error', () => {});
  socket.write(Buffer.alloc(10_000));
}
