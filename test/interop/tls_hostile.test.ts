/** Peers that break TLS in every way they can: the connection ends, it is counted, nothing is left behind, others are served. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import ffi from 'node:ffi';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { connect as tlsConnectTo } from 'node:tls';
import { Slab } from '../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../src/core/buffer/slice_buffer.ts';
import { ClientTls } from '../../src/core/tls/client.ts';
import { HANDSHAKE_DONE } from '../../src/core/tls/engine.ts';
import { CertificateFactory } from '../support/certificates.ts';
import { closeAtEnd, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, listenerFilter, networkFilter, tcpProxy } from './support/config.ts';
import { downstreamTls, files, tlsConnect, tlsGet, upstreamTls } from './support/tls.ts';

const certificates = new CertificateFactory();
const certificate = certificates.make('localhost', { san: 'DNS:localhost' });

/** The first flight of a client, as it comes off the wire. */
async function clientHello(options: object = {}): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = tlsConnectTo({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    servername: 'localhost',
    ...options,
  });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [data] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return data;
}

/** Whatever error came before. */
async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await new Promise<void>((resolve) => socket.once('close', () => resolve()));
}

/** Sends bytes; resolves with what came back when the proxy has closed. */
async function send(port: number, bytes: Buffer, end = false): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  if (end) socket.end(bytes);
  else socket.write(bytes);
  await closed(socket);
  return Buffer.concat(chunks);
}

/** A middle man that may change what the client sends after `clean` bytes. */
async function middleMan(port: number, change: (chunk: Buffer, seen: number) => Buffer | null): Promise<number> {
  const server = createServer((inner) => {
    const outer = connect(port, '127.0.0.1');
    let seen = 0;
    inner.on('data', (chunk: Buffer) => {
      const changed = change(chunk, seen);
      seen += chunk.length;
      if (changed === null) outer.destroy();
      else outer.write(changed);
    });
    outer.pipe(inner);
    for (const socket of [inner, outer]) socket.on('error', () => {});
    inner.on('close', () => outer.destroy());
    outer.on('close', () => inner.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAtEnd(() => server.close());
  return (server.address() as AddressInfo).port;
}

describe('hostile TLS peers', () => {
  let proxy: ProxyProcess;
  let descriptors = 0;
  before(async () => {
    const deaf = createServer((socket) => socket.on('error', () => {}));
    deaf.listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const rude = createServer((socket) => {
      socket.on('error', () => {});
      socket.write('SSH-2.0-OpenSSH_9.2\r\n');
    });
    rude.listen(0, '127.0.0.1');
    await once(rude, 'listening');
    closeAtEnd(() => {
      deaf.close();
      rude.close();
    });
    const tls = downstreamTls([files(certificate)]);
    const routes = ['deaf', 'rude'].map((name) => ({ match: { prefix: `/${name}` }, route: { cluster: name } }));
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('http', [], {
            filter_chains: [
              {
                transport_socket: tls,
                transport_socket_connect_timeout: '1s',
                filters: [
                  http('http', [
                    ...routes,
                    { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'fine' } } },
                  ]),
                ],
              },
            ],
          }),
          listener('echo', [], { filter_chains: [{ transport_socket: tls, filters: [networkFilter('echo', {})] }] }),
          listener('inspected', [], {
            listener_filters: [listenerFilter('tls_inspector')],
            filter_chains: [{ transport_socket: tls, filters: [networkFilter('echo', {})] }],
          }),
          listener('to_deaf', [tcpProxy('to_deaf', 'deaf')]),
        ],
        ['deaf', 'rude'].map((name) =>
          cluster(name, [((name === 'deaf' ? deaf : rude).address() as AddressInfo).port], {
            connect_timeout: '0.3s',
            transport_socket: upstreamTls(),
          }),
        ),
      ),
    });
    await tlsGet(proxy.port('http'));
    descriptors = proxy.descriptors();
  });
  after(() => proxy.stop());

  const errors = (name = 'http') => proxy.stat(`listener.${name}.ssl.connection_error`);

  test('garbage instead of a hello', async () => {
    const before = await errors();
    const reply = await send(proxy.port('http'), Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n'));
    // An alert, or nothing, but no HTTP.
    assert.ok(reply.length === 0 || reply[0] === 0x15, reply.toString('latin1'));
    await send(proxy.port('http'), Buffer.alloc(20_000, 0xff));
    await send(proxy.port('http'), Buffer.from([22, 3, 1, 0, 0]), true);
    await proxy.untilStat('listener.http.ssl.connection_error', (n) => n >= before + 2);
  });

  test('a hello that never ends is not waited for beyond its limit', async () => {
    // A handshake record that announces 16 MB.
    const header = Buffer.from([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]);
    await send(proxy.port('http'), Buffer.concat([header, Buffer.alloc(16_380), header, Buffer.alloc(16_380)]));
    await send(proxy.port('inspected'), Buffer.concat([header, Buffer.alloc(16_380)]));
  });

  test('every prefix of a hello, then the end', async () => {
    const hello = await clientHello();
    for (let n = 0; n <= hello.length; n += 13) await send(proxy.port('http'), hello.subarray(0, n), true);
    assert.match((await tlsGet(proxy.port('http'))).text, /fine$/);
  });

  test('every byte of a hello changed: an alert, a handshake or the end, never a crash', async () => {
    const hello = await clientHello({ ALPNProtocols: ['h2', 'http/1.1'] });
    for (let at = 0; at < hello.length; at += 7) {
      const changed = Buffer.from(hello);
      changed[at] ^= 0x55;
      await send(proxy.port('echo'), changed, true);
      await send(proxy.port('inspected'), changed, true);
    }
    const socket = await tlsConnect(proxy.port('echo'));
    socket.write('still here');
    assert.equal(String((await once(socket, 'data'))[0]), 'still here');
    socket.destroy();
  });

  test('a hello one byte at a time is a hello', async () => {
    const port = await middleMan(proxy.port('http'), (chunk) => chunk);
    const slow = createServer((inner) => {
      const outer = connect(port, '127.0.0.1');
      outer.setNoDelay(true);
      outer.pipe(inner);
      for (const socket of [inner, outer]) socket.on('error', () => {});
      inner.on('data', (chunk: Buffer) => {
        for (const byte of chunk) outer.write(Buffer.from([byte]));
      });
      inner.on('close', () => outer.destroy());
      outer.on('close', () => inner.destroy());
    });
    slow.listen(0, '127.0.0.1');
    await once(slow, 'listening');
    closeAtEnd(() => slow.close());
    assert.match((await tlsGet((slow.address() as AddressInfo).port)).text, /fine$/);
  });

  test('a record changed on its way ends the connection', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const before = await errors('echo');
      let tamper = false;
      const port = await middleMan(proxy.port('echo'), (chunk) => {
        if (!tamper) return chunk;
        const changed = Buffer.from(chunk);
        changed[changed.length - 1] ^= 1;
        return changed;
      });
      const socket = await tlsConnect(port, { minVersion: version, maxVersion: version });
      socket.on('error', () => {});
      socket.write('first');
      await once(socket, 'data');
      tamper = true;
      socket.write('second');
      await closed(socket);
      await proxy.untilStat('listener.echo.ssl.connection_error', (n) => n === before + 1);
    }
  });

  test('a record cut short, then the end', async () => {
    let cut = false;
    const port = await middleMan(proxy.port('echo'), (chunk) => (cut ? null : chunk));
    const socket = await tlsConnect(port);
    socket.on('error', () => {});
    socket.write('first');
    await once(socket, 'data');
    cut = true;
    socket.write(Buffer.alloc(10_000));
    await closed(socket);
    await proxy.untilStat('listener.echo.downstream_cx_active', (n) => n === 0);
  });

  test('key updates between the records of one segment', async () => {
    const { functions } = ffi.dlopen(null, { SSL_key_update: { arguments: ['pointer', 'int32'], return: 'int32' } });
    const slab = new Slab(256);
    const settings = {
      minVersion: 'TLSv1_3',
      maxVersion: 'TLSv1_3',
      cipherSuites: [],
      curves: [],
      signatureAlgorithms: [],
    } as const;
    const clients = new ClientTls({
      ...settings,
      alpn: [],
      certificates: [],
      validation: null,
      keyLog: null,
      sni: '',
      maxSessionKeys: 0,
      enforceRsaKeyUsage: false,
    });
    const engine = clients.connect({ serverName: '', alpn: [], verifyNames: [] });
    const { pointer } = engine as unknown as { pointer: bigint };
    const socket = connect(proxy.port('echo'), '127.0.0.1');
    const out = new SliceBuffer(slab);
    const flush = (): void => {
      engine.takeOutput(out);
      if (out.length > 0) socket.write(out.toBytes());
      out.clear();
    };
    let echoed = '';
    let handshaken = false;
    const take = (bytes: Uint8Array): void => {
      const input = slab.allocate();
      slab.u8.set(bytes, input);
      engine.setInput(slab.address + input, bytes.length);
      if (!handshaken) {
        handshaken = engine.handshake() === HANDSHAKE_DONE;
        const left = engine.inputLeft;
        flush();
        engine.setInput(slab.address + input + bytes.length - left, left);
      }
      while (handshaken) {
        const length = engine.read(slab);
        if (engine.outputPending > 0) flush();
        if (length <= 0) break;
        echoed += Buffer.from(slab.u8.slice(engine.offset, engine.offset + length)).toString();
        slab.release(engine.offset);
        if (engine.inputLeft === 0) break;
      }
      assert.equal(engine.failureReason, '');
      slab.release(input);
    };
    socket.on('data', (data: Buffer) => {
      for (let at = 0; at < data.length; at += 16_384) take(data.subarray(at, at + 16_384));
    });
    engine.setInput(slab.address, 0);
    engine.handshake();
    flush();
    await until(() => handshaken, 'the handshake');
    const source = slab.allocate();
    let sent = '';
    for (let round = 0; round < 5; round++) {
      const parts: Uint8Array[] = [];
      for (let i = 0; i < 4; i++) {
        const SSL_KEY_UPDATE_REQUESTED = 1;
        if (i % 2 === 1) functions.SSL_key_update(pointer, SSL_KEY_UPDATE_REQUESTED);
        const text = `round ${round} part ${i};`;
        slab.u8.set(Buffer.from(text), source);
        const length = engine.write(slab, BigInt(slab.address + source), text.length);
        parts.push(slab.u8.slice(engine.offset, engine.offset + length));
        slab.release(engine.offset);
        sent += text;
      }
      socket.write(Buffer.concat(parts));
      await until(
        () => echoed === sent,
        () => `${sent} became ${echoed}`,
      );
    }
    socket.destroy();
    engine.free();
  });

  test('renegotiation is refused', async () => {
    const client = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${proxy.port('echo')}`, '-tls1_2']);
    let out = '';
    client.stdout.on('data', (chunk) => {
      out += chunk;
    });
    client.stderr.on('data', (chunk) => {
      out += chunk;
    });
    await until(() => out.includes('Verify return code'), 'the handshake');
    client.stdin.write('R\n');
    await until(
      () => /no renegotiation|NO_RENEGOTIATION/i.test(out),
      () => `a refusal in ${out.slice(-500)}`,
    );
    client.kill('SIGKILL');
    assert.match((await tlsGet(proxy.port('http'))).text, /fine$/);
  });

  test('handshakes that stall are ended by the timeout, all of them', async () => {
    const hello = await clientHello();
    const before = await proxy.stat('listener.http.downstream_cx_transport_socket_connect_timeout');
    const sockets: Socket[] = [];
    for (let i = 0; i < 300; i++) {
      const socket = connect(proxy.port('http'), '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      if (i % 3 === 1) socket.write(hello.subarray(0, 50));
      if (i % 3 === 2) socket.write(hello);
      sockets.push(socket);
    }
    await Promise.all(sockets.map(closed));
    await proxy.untilStat('listener.http.downstream_cx_transport_socket_connect_timeout', (n) => n === before + 300);
  });

  test('upstreams that do not answer the hello, or answer with something else', async () => {
    const deaf = await tlsGet(proxy.port('http'), {}, 'GET /deaf HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    assert.match(deaf.text, /^HTTP\/1\.1 503 /);
    const rude = await tlsGet(proxy.port('http'), {}, 'GET /rude HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    assert.match(rude.text, /^HTTP\/1\.1 503 [\s\S]*TLS_error/);
    assert.ok((await proxy.stat('cluster.rude.ssl.connection_error')) >= 1);
    assert.ok((await proxy.stat('cluster.deaf.upstream_cx_connect_timeout')) >= 1);
  });

  test('clients that reset in the middle of everything', async () => {
    for (let i = 0; i < 50; i++) {
      const below = connect(proxy.port('echo'), '127.0.0.1');
      below.on('error', () => {});
      const socket = await tlsConnect(0, { socket: below });
      socket.on('error', () => {});
      socket.write(Buffer.alloc(100_000));
      if (i % 2 === 0) await once(socket, 'data');
      below.resetAndDestroy();
      await closed(below);
    }
    await proxy.untilStat('listener.echo.downstream_cx_active', (n) => n === 0);
  });

  test('nothing is left: no connection, no descriptor, no buffer', async () => {
    for (const name of ['http', 'echo', 'inspected']) {
      await proxy.untilStat(`listener.${name}.downstream_cx_active`, (n) => n === 0);
      await proxy.untilStat(`listener.${name}.downstream_pre_cx_active`, (n) => n === 0);
    }
    await until(
      () => proxy.descriptors() <= descriptors + 2,
      () => `${proxy.descriptors()} descriptors, ${descriptors} before`,
    );
    await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
  });
});
