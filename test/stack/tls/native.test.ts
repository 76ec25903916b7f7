/** TLS through the native API: blocking sessions of one thread, the stack in another. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { E } from '../../../src/core/sys/libc.ts';
import { createHostStack, type EmbeddedHostStack, vcl } from '../../../src/stack/index.ts';
import { CertificateFactory } from '../../support/certificates.ts';

const factory = new CertificateFactory();
const ca = factory.make('authority', { isCa: true });
const certificate = factory.make('localhost', { issuer: ca, san: 'DNS:localhost' });
const { tls } = vcl.TransportProto;
const at = (port: number) => ({ ip: '127.0.0.1', port });
let stack: EmbeddedHostStack;

before(async () => {
  stack = await createHostStack();
  vcl.appCreate('native', { runtimeDir: stack.runtimeDir });
});

after(async () => {
  vcl.appDestroy();
  await stack.close();
});

function listen(prepare: (sh: number) => number): { sh: number; port: number } {
  const sh = vcl.sessionCreate(tls);
  assert.equal(prepare(sh), 0);
  assert.equal(vcl.sessionBind(sh, at(0)), 0);
  assert.equal(vcl.sessionListen(sh), 0);
  return { sh, port: vcl.sessionLocalAddress(sh)!.port };
}

test('a registered certificate, a client that verifies it, and the end of the stream', async () => {
  const pair = vcl.addCertKeyPair(certificate.certificate, certificate.key);
  const { sh: listener, port } = listen((sh) => vcl.sessionAttr(sh, 'ckpair', pair));
  const client = vcl.sessionCreate(tls);
  assert.equal(vcl.sessionTls(client, vcl.tlsConfig({ ca: ca.certificate, alpn: ['x'] }, false), 'localhost'), 0);
  assert.equal(vcl.sessionConnect(client, at(port)), 0);
  const server = vcl.sessionAccept(listener);
  assert.ok(server >= 0);
  assert.equal(vcl.sessionAlpn(client), '');
  assert.equal(vcl.sessionAttr(client, 'protocol'), tls);
  const [sent, got] = [Buffer.alloc(3_000_000, 'plain bytes '), Buffer.alloc(3_000_000)];
  for (let out = 0, back = 0; back < got.length; ) {
    if (out < sent.length) out += Math.max(0, vcl.sessionWrite(client, sent, out, Math.min(100_000, sent.length - out)));
    back += vcl.sessionRead(server, got, back);
  }
  assert.ok(sent.equals(got));
  assert.equal(vcl.sessionShutdown(client, vcl.SHUT.WR), 0);
  assert.equal(vcl.sessionRead(server, got), 0);
  assert.equal(vcl.sessionWrite(server, sent, 0, 5), 5);
  vcl.sessionClose(server);
  assert.equal(vcl.sessionRead(client, got), 5);
  assert.equal(vcl.sessionRead(client, got), 0);
  vcl.sessionClose(client);
  vcl.sessionClose(listener);
  assert.equal(vcl.delCertKeyPair(pair), 0);
  const { text } = await stack.command('show tls stats', { json: true });
  const stats = JSON.parse(text) as Record<string, number>;
  assert.equal(stats['handshakesAccepted'], 1);
  assert.equal(stats['handshakesConnected'], 1);
});

test('a connection whose handshake ends when the backlog is full waits until there is room', async () => {
  const config = vcl.tlsConfig({ cert: certificate.certificate, key: certificate.key }, true);
  const listener = vcl.sessionCreate(tls);
  assert.equal(vcl.sessionTls(listener, config), 0);
  assert.equal(vcl.sessionBind(listener, at(0)), 0);
  assert.equal(vcl.sessionListen(listener, 2), 0);
  const { port } = vcl.sessionLocalAddress(listener)!;
  const stats = async (): Promise<Record<string, number>> =>
    JSON.parse((await stack.command('show tls stats', { json: true })).text) as Record<string, number>;
  const connect = (wait: boolean): number => {
    const client = vcl.sessionCreate(tls, !wait);
    assert.equal(vcl.sessionTls(client, vcl.tlsConfig({ ca: ca.certificate }, false), 'localhost'), 0);
    assert.equal(vcl.sessionConnect(client, at(port)), wait ? 0 : -E.INPROGRESS);
    return client;
  };
  const before = await stats();
  let delayed = 0;
  // The third waits from the start when the stack sees it after the second one's handshake.
  for (let round = 0; round < 100 && delayed === 0; round++) {
    // One is there, and there is room for one more when the others begin.
    const clients = [connect(true), connect(false), connect(false)];
    const wanted = before['handshakesAccepted'] + 3 * round + 2;
    while ((await stats())['handshakesAccepted'] < wanted) await new Promise((resolve) => setImmediate(resolve));
    delayed = (await stats())['acceptsDelayed'] - before['acceptsDelayed'];
    for (let i = 0; i < clients.length; i++) {
      const server = vcl.sessionAccept(listener);
      assert.ok(server >= 0);
      assert.equal(vcl.sessionWrite(server, Buffer.from([i])), 1);
      vcl.sessionClose(server);
    }
    const got = Buffer.alloc(10);
    const answered = clients.map((client) => {
      let n = vcl.sessionRead(client, got);
      while (n === -E.AGAIN || n === -E.NOTCONN) n = vcl.sessionRead(client, got);
      assert.equal(n, 1);
      vcl.sessionClose(client);
      return got[0];
    });
    assert.deepEqual(answered.sort(), [0, 1, 2]);
  }
  assert.ok(delayed > 0);
  vcl.sessionClose(listener);
});

test('the wrong name, no configuration, a configuration that comes too late', () => {
  const config = vcl.tlsConfig({ cert: certificate.certificate, key: certificate.key }, true);
  const { sh: listener, port } = listen((sh) => vcl.sessionTls(sh, config));
  const client = vcl.sessionCreate(tls);
  assert.equal(vcl.sessionConnect(client, at(port)), -E.INVAL);
  const own = vcl.tlsConfig({ ca: ca.certificate }, false);
  assert.equal(vcl.sessionTls(client, own, 'other.example'), 0);
  assert.equal(vcl.sessionConnect(client, at(port)), -E.KEYREJECTED);
  // It may be tried again, with another name.
  assert.equal(vcl.sessionTls(client, own, 'localhost'), 0);
  assert.equal(vcl.sessionConnect(client, at(port)), 0);
  assert.equal(vcl.sessionTls(client, own), -E.INVAL);
  assert.equal(vcl.sessionTls(vcl.sessionCreate(), own), -E.OPNOTSUPP);
  assert.equal(vcl.sessionAttr(vcl.sessionCreate(tls), 'ckpair', 99), -E.INVAL);
  assert.equal(vcl.sessionAttr(vcl.sessionCreate(), 'ckpair', 0), -E.OPNOTSUPP);
  vcl.sessionClose(client);
  vcl.sessionClose(listener);
});
