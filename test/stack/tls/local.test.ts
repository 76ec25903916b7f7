/** TLS sessions between two applications of one stack: handshakes, names, protocols, verification, and how streams end. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import { runCommand } from '../../../src/stack/ctl/commands.ts';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { attach, type Server, type Socket, type TlsOptions, type VclNet } from '../../../src/stack/index.ts';
import { CertificateFactory } from '../../support/certificates.ts';

const factory = new CertificateFactory();
const ca = factory.make('authority', { isCa: true });
const certificate = factory.make('localhost', { issuer: ca, san: 'DNS:localhost,IP:127.0.0.1' });
const other = factory.make('b.example', { issuer: ca, san: 'DNS:*.b.example', type: 'rsa' });
const clientCertificate = factory.make('client', { issuer: ca });
const SERVER: TlsOptions = {
  cert: certificate.certificate,
  key: certificate.key,
  certificates: [{ cert: other.certificate, key: other.key }],
  alpn: ['h2', 'http/1.1'],
};
const CLIENT: TlsOptions = { ca: ca.certificate };

let directory = '';
let stack: HostStack;
let server: VclNet;
let client: VclNet;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-tls-'));
  stack = new HostStack({ runtimeDir: directory });
  server = await attach({ name: 'server', runtimeDir: directory, rxFifoSize: 8192, txFifoSize: 8192 });
  client = await attach({ name: 'client', runtimeDir: directory });
});

after(() => {
  server.close();
  client.close();
  stack.close();
  rmSync(directory, { recursive: true });
});

async function listen(tls: TlsOptions, onSocket: (socket: Socket) => void): Promise<{ port: number; listener: Server }> {
  const listener = server.createServer({ tls, allowHalfOpen: true }, onSocket);
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return { port: listener.address()!.port, listener };
}

async function failure(socket: Socket): Promise<string> {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code ?? error.message;
}

const sessions = (): Record<string, string>[] => JSON.parse(runCommand(stack, 'show session verbose 1', true).text);

test('bytes go both ways through small FIFOs, and half-close is heard', async () => {
  const { port, listener } = await listen(SERVER, (socket) => socket.pipe(socket));
  const socket = client.connect({ port, host: '127.0.0.1', tls: CLIENT });
  // The last message of a handshake is the client's.
  await Promise.all([once(socket, 'connect'), once(listener, 'connection')]);
  assert.equal(socket.encrypted, true);
  const shown = sessions().filter(({ connection, details }) => / tls /.test(connection) && /TLSv1\.3/.test(details ?? ''));
  assert.equal(shown.length, 2);
  assert.match(shown[0]['details'], /TLSv1\.3 TLS_AES_128_GCM_SHA256 .*cut-through/);
  const sent = randomBytes(3_000_000);
  socket.end(sent);
  assert.ok((await buffer(socket)).equals(sent));
  listener.close();
});

test('the certificate is chosen by server name, the protocol by the list of the server', async () => {
  const { port, listener } = await listen(SERVER, (socket) => socket.end(String(socket.alpnProtocol)));
  const ask = async (servername: string, alpn: string[]): Promise<string> => {
    const socket = client.connect({ port, host: '127.0.0.1', servername, tls: { ...CLIENT, alpn } });
    await once(socket, 'connect');
    const chosen = socket.alpnProtocol;
    assert.equal((await buffer(socket)).toString(), String(chosen));
    return String(chosen);
  };
  assert.equal(await ask('localhost', ['http/1.1', 'h2']), 'h2');
  assert.equal(await ask('x.b.example', ['http/1.1']), 'http/1.1');
  assert.equal(await ask('localhost', []), 'false');
  assert.equal(await failure(client.connect({ port, host: '127.0.0.1', servername: 'c.example', tls: CLIENT })), 'EKEYREJECTED');
  listener.close();
});

test('a client verifies, unless it says that it does not', async () => {
  const { port, listener } = await listen(SERVER, (socket) => socket.end('hello'));
  const connect = (tls: TlsOptions): Socket => client.connect({ port, host: '127.0.0.1', tls });
  assert.equal(await failure(connect({})), 'EKEYREJECTED');
  assert.equal(await failure(connect({ ca: other.certificate })), 'EKEYREJECTED');
  assert.equal((await buffer(connect({ verify: false }))).toString(), 'hello');
  listener.close();
});

test('a server verifies clients', async () => {
  const seen: unknown[] = [];
  const { port, listener } = await listen({ ...SERVER, ca: ca.certificate, maxVersion: 'TLSv1_2' }, (socket) => {
    const { serverName, version, resumed } = socket.tlsDetails!;
    seen.push({ serverName, version, resumed, subject: socket.getPeerX509Certificate()?.subject });
    socket.end('in');
  });
  const tls = { ...CLIENT, cert: clientCertificate.certificate, key: clientCertificate.key, details: true };
  for (const resumed of [false, true]) {
    const socket = client.connect({ port, host: '127.0.0.1', servername: 'localhost', tls });
    await once(socket, 'connect');
    assert.equal(socket.tlsDetails?.resumed, resumed);
    assert.equal(socket.getPeerX509Certificate()?.subjectAltName, 'DNS:localhost, IP Address:127.0.0.1');
    assert.equal((await buffer(socket)).toString(), 'in');
  }
  const subject = 'O=Sluice\nCN=client';
  const each = { serverName: 'localhost', version: 'TLSv1.2', subject };
  assert.deepEqual(seen, [
    { ...each, resumed: false },
    { ...each, resumed: true },
  ]);
  assert.equal(await failure(client.connect({ port, host: '127.0.0.1', tls: CLIENT })), 'EPROTO');
  listener.close();
});

test('TLS 1.3 tells a client without certificate after the handshake', async () => {
  const { port, listener } = await listen({ ...SERVER, ca: ca.certificate }, (socket) => socket.end('in'));
  assert.equal(await failure(client.connect({ port, host: '127.0.0.1', tls: CLIENT })), 'EPROTO');
  listener.close();
});

test('no version in common, no listener', async () => {
  const { port, listener } = await listen({ ...SERVER, minVersion: 'TLSv1_3' }, () => assert.fail('accepted'));
  assert.equal(await failure(client.connect({ port, host: '127.0.0.1', tls: { ...CLIENT, maxVersion: 'TLSv1_2' } })), 'EPROTO');
  listener.close();
  await once(listener, 'close');
  assert.equal(await failure(client.connect({ port, host: '127.0.0.1', tls: CLIENT })), 'ECONNREFUSED');
});

test('a reset is a reset at the other end', async () => {
  const accepted = Promise.withResolvers<Socket>();
  const { port, listener } = await listen(SERVER, accepted.resolve);
  const socket = client.connect({ port, host: '127.0.0.1', tls: CLIENT });
  const peer = await accepted.promise;
  const failed = failure(peer);
  socket.resetAndDestroy();
  assert.equal(await failed, 'ECONNRESET');
  listener.close();
});

test('a client that leaves during its handshake leaves nothing behind', async () => {
  const { port, listener } = await listen(SERVER, (socket) => socket.on('error', () => {}));
  for (let i = 0; i < 20; i++) {
    const socket = client.connect({ port, host: '127.0.0.1', tls: CLIENT });
    setImmediate(() => socket.destroy());
    await once(socket, 'close');
  }
  // Whatever was accepted meanwhile ends with its peer.
  const socket = client.connect({ port, host: '127.0.0.1', tls: CLIENT });
  await once(socket, 'connect');
  socket.destroy();
  await once(socket, 'close');
  listener.close();
  await once(listener, 'close');
  assert.deepEqual(sessions(), []);
});

test('an application that does TLS by itself meets one whose TLS is in the stack, either way round', async () => {
  const sent = randomBytes(1_000_000);
  const { port, listener } = await listen(SERVER, (socket) => socket.pipe(socket));
  const plain = client.connect({ port, host: '127.0.0.1' });
  const own = connectTls({ socket: plain, servername: 'localhost', ca: ca.certificate, ALPNProtocols: ['h2'] });
  await once(own, 'secureConnect');
  assert.equal(own.alpnProtocol, 'h2');
  own.end(sent);
  assert.ok((await buffer(own)).equals(sent));
  listener.close();
  await once(listener, 'close');

  const tlsServer = createServer({ cert: certificate.certificate, key: certificate.key }, (socket) => socket.pipe(socket));
  const carried = server.serve(tlsServer);
  carried.listen(0, '127.0.0.1');
  await once(carried, 'listening');
  const socket = client.connect({ port: carried.address()!.port, host: '127.0.0.1', tls: CLIENT });
  const wrong = client.connect({ port: carried.address()!.port, host: '127.0.0.1', servername: 'x', tls: CLIENT });
  assert.equal(await failure(wrong), 'EKEYREJECTED');
  socket.end(sent);
  assert.ok((await buffer(socket)).equals(sent));
  // One that is reset in the middle.
  const other_ = client.connect({ port: carried.address()!.port, host: '127.0.0.1', tls: CLIENT });
  const [accepted] = (await once(tlsServer, 'secureConnection')) as [TLSSocket];
  const failed = once(accepted, 'error');
  other_.resetAndDestroy();
  assert.equal(((await failed)[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
  carried.close();
  await once(carried, 'close');
  assert.deepEqual(sessions(), []);
});

test('hundreds of connects at once, to more names than are kept', async () => {
  let served = 0;
  const { port, listener } = await listen(SERVER, (socket) => {
    served++;
    socket.end('x');
  });
  const names = ['localhost', ...Array.from({ length: 1100 }, (_, i) => `n${i}.b.example`)];
  const connect = async (servername: string): Promise<string> =>
    (await buffer(client.connect({ port, host: '127.0.0.1', servername, tls: MANY }))).toString();
  const MANY = { ...CLIENT };
  assert.ok((await Promise.all(Array.from({ length: 300 }, () => connect('localhost')))).every((answer) => answer === 'x'));
  for (let i = 0; i < names.length; i += 50)
    assert.ok((await Promise.all(names.slice(i, i + 50).map(connect))).every((answer) => answer === 'x'));
  assert.equal(served, 300 + names.length);
  listener.close();
});

test('what cannot be used is said where it is given', () => {
  const connect = (tls: TlsOptions): Socket => client.connect({ port: 1, host: '127.0.0.1', tls });
  assert.throws(() => connect({ cert: 'x', key: 'y' }), /certificates\[0\]\.cert holds no certificate/);
  assert.throws(() => connect({ cert: certificate.certificate, key: other.key }), /does not fit its certificate/);
  assert.throws(() => connect({ cert: certificate.certificate }), /cert and key belong together/);
  assert.throws(() => connect({ ca: 'nothing' }), /ca holds no certificate/);
  assert.throws(() => connect({ alpn: [''] }), /alpn/);
  assert.throws(() => connect({ minVersion: 'SSLv3' as never }), /minVersion is not one of TLSv1_2, TLSv1_3/);
});

test('a listener without certificate, a cipher that does not exist', async () => {
  const listener = server.createServer({ tls: {} });
  listener.listen(0, '127.0.0.1');
  const [error] = (await once(listener, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'EINVAL');
  const { port, listener: good } = await listen(SERVER, () => {});
  assert.equal(await failure(client.connect({ port, host: '127.0.0.1', tls: { ...CLIENT, cipherSuites: ['NONE'] } })), 'EINVAL');
  good.close();
});
