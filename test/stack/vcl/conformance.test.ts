/** One suite, two kinds of socket: the kernel's (node:net) and VCL's. What passes on one must pass on the other. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import kernelNet from 'node:net';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { Client, request, Agent as UndiciAgent } from 'undici';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { attach, createHostStack, type EmbeddedHostStack, type VclNet } from '../../../src/stack/index.ts';
import { certificate } from './certificate.ts';

interface Sockets {
  createServer(options: { allowHalfOpen?: boolean }, listener?: (socket: kernelNet.Socket) => void): kernelNet.Server;
  connect(options: { port: number; host?: string; allowHalfOpen?: boolean }): kernelNet.Socket;
  /** Starts a server of some protocol; returns its port. */
  serve(server: http.Server | https.Server | http2.Http2Server, closers: (() => void)[]): Promise<number>;
  agent(): http.Agent;
  undiciConnect: object;
}

const kernel: Sockets = {
  createServer: (options, listener) => kernelNet.createServer(options, listener),
  connect: (options) => kernelNet.connect({ host: '127.0.0.1', ...options }),
  async serve(server, closers) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => server.close());
    return (server.address() as kernelNet.AddressInfo).port;
  },
  agent: () => new http.Agent({ keepAlive: true }),
  undiciConnect: { rejectUnauthorized: false },
};

function vcl(net: () => VclNet): Sockets {
  return {
    createServer: (options, listener) => net().createServer(options, listener as never) as unknown as kernelNet.Server,
    connect: (options) => net().connect({ host: '127.0.0.1', ...options }) as unknown as kernelNet.Socket,
    async serve(server, closers) {
      const listener = net().serve(server);
      listener.listen(0, '127.0.0.1');
      await once(listener, 'listening');
      closers.push(() => listener.close());
      return listener.address()!.port;
    },
    agent: () => net().createAgent({ keepAlive: true }),
    get undiciConnect() {
      return net().undiciConnector({ rejectUnauthorized: false }) as never;
    },
  };
}

let stack: EmbeddedHostStack;
let app: VclNet;

before(async () => {
  stack = await createHostStack();
  app = await attach({ name: 'conformance', runtimeDir: stack.runtimeDir, rxFifoSize: 100_000, txFifoSize: 100_000 });
});

after(async () => {
  app.close();
  await stack.close();
});

for (const [name, sockets] of [
  ['kernel', kernel],
  ['vcl', vcl(() => app)],
] as const) {
  describe(`sockets: ${name}`, () => {
    const closers: (() => void)[] = [];
    after(() => {
      for (const close of closers) close();
    });

    async function listen(options: object, listener: (socket: kernelNet.Socket) => void): Promise<number> {
      const server = sockets.createServer(options, listener);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      closers.push(() => server.close());
      return (server.address() as kernelNet.AddressInfo).port;
    }

    test('addresses, events and end', async () => {
      let accepted: kernelNet.Socket | undefined;
      const port = await listen({}, (socket) => {
        accepted = socket;
        socket.on('data', (data) => socket.write(data));
      });
      const socket = sockets.connect({ port });
      assert.equal(socket.connecting, true);
      assert.equal(socket.readyState, 'opening');
      await once(socket, 'connect');
      assert.equal(socket.readyState, 'open');
      assert.equal(socket.remotePort, port);
      assert.equal(socket.remoteAddress, '127.0.0.1');
      assert.equal(socket.remoteFamily, 'IPv4');
      socket.write('echo');
      const [data] = await once(socket, 'data');
      assert.equal(String(data), 'echo');
      assert.equal(accepted!.remotePort, socket.localPort);
      assert.equal(socket.bytesRead, 4);
      assert.equal(socket.bytesWritten, 4);
      socket.end();
      const [hadError] = await once(socket, 'close');
      assert.equal(hadError, false);
      assert.equal(socket.destroyed, true);
    });

    test('refused connections give the same error', async () => {
      const socket = sockets.connect({ port: 1 });
      const [error] = await once(socket, 'error');
      assert.equal(error.code, 'ECONNREFUSED');
      assert.equal(error.syscall, 'connect');
      assert.equal(error.message, 'connect ECONNREFUSED 127.0.0.1:1');
    });

    test('a port that is taken gives EADDRINUSE', async () => {
      const port = await listen({}, () => {});
      const second = sockets.createServer({});
      second.listen(port, '127.0.0.1');
      const [error] = await once(second, 'error');
      assert.equal(error.code, 'EADDRINUSE');
    });

    test('half-open: the server answers after the client has ended', async () => {
      const port = await listen({ allowHalfOpen: true }, (socket) => {
        let all = '';
        socket.on('data', (data) => {
          all += String(data);
        });
        socket.on('end', () => socket.end(all.toUpperCase()));
      });
      const socket = sockets.connect({ port, allowHalfOpen: true });
      socket.end('question');
      assert.equal(await text(socket), 'QUESTION');
    });

    test('a socket that nobody reads closes when both sides have ended', async () => {
      let closed: Promise<unknown> | undefined;
      const port = await listen({}, (socket) => {
        closed = once(socket, 'close');
        socket.end('only written');
      });
      assert.equal(await text(sockets.connect({ port })), 'only written');
      await closed;
    });

    test('megabytes arrive whole under backpressure', async () => {
      const total = 20_000_000;
      const digests: Promise<string>[] = [];
      const port = await listen({}, (socket) => {
        const hash = createHash('sha1');
        socket.on('data', (data) => hash.update(data));
        digests.push(once(socket, 'end').then(() => hash.digest('hex')));
      });
      const hash = createHash('sha1');
      let left = total;
      const source = new Readable({
        read() {
          if (left === 0) return void this.push(null);
          const chunk = Buffer.alloc(Math.min(left, 1 + ((left * 7919) % 150_000)), left % 251);
          left -= chunk.length;
          hash.update(chunk);
          this.push(chunk);
        },
      });
      const socket = sockets.connect({ port });
      await pipeline(source, socket);
      while (digests.length < 1) await new Promise(setImmediate);
      assert.equal(await digests[0], hash.digest('hex'));
      assert.equal(socket.bytesWritten, total);
    });

    test('destroying a socket with unread data resets the peer', async () => {
      const port = await listen({}, (socket) => {
        socket.write('unread');
        socket.on('error', () => {});
        setImmediate(() => socket.pause());
      });
      const socket = sockets.connect({ port });
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.resetAndDestroy();
      await once(socket, 'close');
      assert.equal(socket.destroyed, true);
    });

    test('idle sockets time out', async () => {
      const port = await listen({}, () => {});
      const socket = sockets.connect({ port });
      socket.setTimeout(20);
      await once(socket, 'timeout');
      socket.destroy();
      await once(socket, 'close');
    });

    test('server.close waits for its connections', async () => {
      const server = sockets.createServer({}, (socket) => socket.resume());
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const socket = sockets.connect({ port: (server.address() as kernelNet.AddressInfo).port });
      await once(server, 'connection');
      let closed = false;
      server.close(() => {
        closed = true;
      });
      await new Promise(setImmediate);
      assert.equal(closed, false);
      assert.equal(server.listening, false);
      socket.end();
      await once(server, 'close');
    });

    test('http: keep-alive, bodies both ways, many at once', async () => {
      const server = http.createServer(async (req, res) => {
        const body = await buffer(req);
        res.setHeader('x-url', req.url!);
        res.end(Buffer.concat([body, Buffer.from(`:${req.method}`)]));
      });
      const port = await sockets.serve(server, closers);
      const agent = sockets.agent();
      const ask = (i: number): Promise<void> =>
        new Promise((resolve, reject) => {
          const body = Buffer.alloc(i * 3001, `${i}`);
          const req = http.request({ host: '127.0.0.1', port, agent, method: 'POST', path: `/${i}` }, async (res) => {
            assert.equal(res.headers['x-url'], `/${i}`);
            assert.ok((await buffer(res)).equals(Buffer.concat([body, Buffer.from(':POST')])));
            resolve();
          });
          req.on('error', reject);
          req.end(body);
        });
      for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 30 }, (_, i) => ask(i)));
      agent.destroy();
      server.closeAllConnections?.();
    });

    test('http2: concurrent streams over one connection', async () => {
      const server = http2.createServer();
      server.on('stream', async (stream: http2.ServerHttp2Stream, headers) => {
        stream.respond({ ':status': 200, 'x-path': headers[':path'] });
        stream.end(await buffer(stream));
      });
      const port = await sockets.serve(server, closers);
      const session = http2.connect(`http://127.0.0.1:${port}`, { createConnection: () => sockets.connect({ port }) });
      await Promise.all(
        Array.from({ length: 40 }, async (_, i) => {
          const body = Buffer.alloc(i * 5000, i);
          const stream = session.request({ ':method': 'POST', ':path': `/${i}` });
          stream.end(body);
          assert.ok((await buffer(stream)).equals(body));
        }),
      );
      session.close();
      await once(session, 'close');
    });

    test('tls runs on top', async () => {
      const { key, cert } = certificate;
      const context = tls.createSecureContext({ key, cert });
      const port = await listen({}, (raw) => {
        const secure = new tls.TLSSocket(raw, { isServer: true, secureContext: context });
        secure.on('data', (data) => secure.write(data));
        secure.on('error', () => {});
      });
      const socket = tls.connect({ socket: sockets.connect({ port }), rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      socket.write(Buffer.alloc(100_000, 'z'));
      let received = 0;
      for await (const data of socket) {
        received += data.length;
        if (received === 100_000) break;
      }
      socket.destroy();
      assert.equal(received, 100_000);
    });

    test('undici: client with pipelining, and an agent', async () => {
      const server = http.createServer((req, res) => req.pipe(res));
      const port = await sockets.serve(server, closers);
      const connect = sockets.undiciConnect as never;
      const client = new Client(`http://127.0.0.1:${port}`, { pipelining: 8, connect });
      const answers = await Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          const answer = await client.request({ path: `/${i}`, method: 'PUT', body: `body ${i}` });
          return answer.body.text();
        }),
      );
      assert.deepEqual(
        answers,
        Array.from({ length: 50 }, (_, i) => `body ${i}`),
      );
      await client.close();
      const dispatcher = new UndiciAgent({ connect });
      const { statusCode, body } = await request(`http://127.0.0.1:${port}/x`, {
        dispatcher,
        method: 'POST',
        body: Buffer.alloc(300_000, 1),
      });
      assert.equal(statusCode, 200);
      assert.equal((await body.arrayBuffer()).byteLength, 300_000);
      await dispatcher.close();
    });

    test('undici over https', async () => {
      const server = https.createServer(certificate, (req, res) => req.pipe(res));
      const port = await sockets.serve(server, closers);
      const dispatcher = new UndiciAgent({ connect: sockets.undiciConnect as never });
      const { body } = await request(`https://127.0.0.1:${port}/`, {
        dispatcher,
        method: 'POST',
        body: Buffer.alloc(100_000, 5),
      });
      assert.equal((await body.arrayBuffer()).byteLength, 100_000);
      await dispatcher.close();
    });

    test('ws: messages of all sizes, ping, close codes', async () => {
      const server = http.createServer();
      const wss = new WebSocketServer({ server });
      wss.on('connection', (ws) => {
        ws.on('message', (data, binary) => ws.send(data, { binary }));
        ws.on('close', () => wss.emit('peer-closed'));
      });
      const port = await sockets.serve(server, closers);
      const ws = new WebSocket(`ws://127.0.0.1:${port}/`, { createConnection: () => sockets.connect({ port }) as never });
      await once(ws, 'open');
      for (const size of [0, 1, 125, 126, 65535, 65536, 500_000]) {
        const message = Buffer.alloc(size, size % 256);
        ws.send(message);
        const [data] = (await once(ws, 'message')) as [RawData];
        assert.ok((data as Buffer).equals(message), `${size} bytes`);
      }
      ws.ping();
      await once(ws, 'pong');
      ws.close(4001, 'bye');
      const [code, reason] = await once(ws, 'close');
      assert.equal(code, 4001);
      assert.equal(String(reason), 'bye');
      wss.close();
    });
  });
}
