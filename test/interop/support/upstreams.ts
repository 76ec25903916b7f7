/** Upstreams as users have them: node:http, nginx. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeAtEnd, until } from '../../support/proxy_process.ts';
import { unusedPort } from './raw.ts';

/** Why a test that needs these programs is skipped, or false. */
export function needs(...programs: string[]): string | false {
  const missing = programs.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
  return missing.length === 0 ? false : `needs ${missing.join(', ')} (scripts/install-peers.sh installs it)`;
}

export interface HttpUpstream {
  readonly port: number;
  readonly server: Server;
  close(): Promise<void>;
}

export async function httpUpstream(handler: RequestListener = echo, port = 0, host = '127.0.0.1'): Promise<HttpUpstream> {
  const server = createServer({ keepAliveTimeout: 60_000, requestTimeout: 0 }, handler);
  server.listen(port, host);
  await once(server, 'listening');
  closeAtEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    server,
    close: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The bytes of `/bytes/N` and `/chunked/N`: no two places of a block look alike. */
export function testBytes(length: number): Buffer {
  const all = Buffer.alloc(length);
  for (let i = 0; i < length; i++) all[i] = (i * 31 + (i >> 11) * 7 + (i >> 19)) & 0xff;
  return all;
}

/** As `echo`, and `/bytes/N` with a length, `/chunked/N` in chunks. */
export const bytes: RequestListener = (request, response) => {
  const [, kind, length] = request.url!.split('/');
  if (kind !== 'bytes' && kind !== 'chunked') {
    echo(request, response);
    return;
  }
  request.resume();
  const all = testBytes(Number(length));
  if (kind === 'bytes') {
    response.writeHead(200, { 'content-length': all.length }).end(all);
    return;
  }
  response.writeHead(200);
  for (let at = 0, n = 1; at < all.length; at += n, n = (n * 3) % 100_003) response.write(all.subarray(at, at + n));
  response.end();
};

/** Answers with what it got: method, path, headers, trailers, length and hash of the body. */
export const echo: RequestListener = (request, response) => {
  const hash = createHash('sha256');
  let length = 0;
  request.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    length += chunk.length;
  });
  request.on('end', () => {
    const body = JSON.stringify({
      method: request.method,
      path: request.url,
      headers: request.headers,
      trailers: request.trailers,
      length,
      sha256: hash.digest('hex'),
    });
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    response.end(request.method === 'HEAD' ? undefined : body);
  });
};

export interface Nginx {
  readonly port: number;
  /** As an operator does it: old workers finish what they have. */
  reload(): void;
  /** Ends at once and starts again on the same port. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** nginx with one server block of the given lines, files under `$ROOT`. */
export async function startNginx(server: string, files: Record<string, Buffer | string> = {}): Promise<Nginx> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-nginx-'));
  const port = await unusedPort();
  mkdirSync(join(directory, 'html'));
  mkdirSync(join(directory, 'tmp'));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, 'html', name), content);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const config = join(directory, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${directory}/pid; error_log ${directory}/error.log; ${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000; client_max_body_size 0;
${temporary.map((name) => `${name}_temp_path ${directory}/tmp/${name};`).join(' ')}
server { listen 127.0.0.1:${port}; root ${directory}/html; ${server} } }
`,
  );
  const start = async (): Promise<{ child: ChildProcess; exited: Promise<unknown> }> => {
    const child = spawn('nginx', ['-c', config, '-p', directory, '-e', join(directory, 'error.log')], { stdio: 'ignore' });
    const exited = once(child, 'close');
    await until(() => accepts(port), 'nginx to listen');
    return { child, exited };
  };
  let { child, exited } = await start();
  closeAtEnd(() => child.kill('SIGTERM'));
  process.on('exit', () => child.kill('SIGTERM'));
  return {
    port,
    reload: () => child.kill('SIGHUP'),
    restart: async () => {
      child.kill('SIGTERM');
      await exited;
      ({ child, exited } = await start());
    },
    close: async () => {
      child.kill('SIGTERM');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
