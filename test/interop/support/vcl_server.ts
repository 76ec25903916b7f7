/** An HTTP server on the host stack as a process (runtime directory and port as arguments): `bytes`, which attaches again by itself. */
import { createServer } from 'node:http';
import { attach } from '../../../src/stack/index.ts';
import { bytes } from './upstreams.ts';

const [runtimeDir, port] = process.argv.slice(2);

for (;;) {
  try {
    const net = await attach({ name: 'upstream', runtimeDir });
    const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, bytes);
    const listener = net.serve(server);
    listener.listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'));
    await new Promise<void>((resolve) => {
      listener.on('error', () => resolve());
      net.worker.onDetached = () => resolve();
    });
    server.closeAllConnections();
    net.close();
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
