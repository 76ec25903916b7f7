// A cluster of two workers that listen on one port; prints how many of them answered.
import cluster from 'node:cluster';
import net from 'node:net';

const PORT = 7777;

if (cluster.isPrimary) {
  const workers = [cluster.fork(), cluster.fork()];
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
  const seen = new Set();
  for (let i = 0; i < 10; i++) {
    const socket = net.connect(PORT, '127.0.0.1');
    seen.add(String((await socket.toArray())[0]));
  }
  console.log(seen.size);
  process.exit(0);
} else {
  const server = net.createServer((socket) => socket.end(String(process.pid)));
  server.listen(PORT, '127.0.0.1', () => process.send('up'));
}
