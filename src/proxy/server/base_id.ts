/**
 * `--base-id`: two proxies with the same id do not run on one machine (Envoy's shared memory and domain socket would clash). Held by
 * an abstract unix socket, which the kernel frees whatever way the process ends. Id 0, the default, holds nothing.
 */
import { createServer, type Server } from 'node:net';
import { ConfigError } from '../config/error.ts';

export class BaseIdLock {
  private readonly id: number;
  private server: Server | null = null;

  constructor(id: number) {
    this.id = id;
  }

  /** Rejects with ConfigError when another process has the id. */
  async acquire(): Promise<void> {
    if (this.id === 0) return;
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve, reject) => {
      server.once('error', () =>
        reject(
          new ConfigError(
            `unable to bind domain socket with base_id=${this.id}: another sluice runs with it (see --base-id option)`,
          ),
        ),
      );
      server.listen(`\0sluice_domain_socket_${this.id}`, resolve);
    });
    server.unref();
    this.server = server;
  }

  release(): void {
    this.server?.close();
  }
}
