import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { type ConnectionOptions, connect } from 'node:tls';
import fc from 'fast-check';
import { ClientHelloStatus, parseClientHello } from '../../../../src/core/tls/client_hello.ts';
import { factory } from '../../../../src/proxy/extensions/listener_filters/tls_inspector/config.ts';
import { ListenerFilterStatus } from '../../../../src/proxy/network/listener_filter.ts';
import { cut, FilterHarness } from './support.ts';

/** The first flight of a real client. */
async function captureHello(options: ConnectionOptions): Promise<Uint8Array> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    rejectUnauthorized: false,
    ...options,
  });
  client.on('error', () => {});
  const [socket] = await once(server, 'connection');
  const parts: Buffer[] = [];
  for (;;) {
    const [data] = (await once(socket, 'data')) as [Buffer];
    parts.push(data);
    const all = Buffer.concat(parts);
    if (all.length >= 5 && all.length >= 5 + all.readUInt16BE(3)) break;
  }
  client.destroy();
  socket.destroy();
  server.close();
  return Buffer.concat(parts);
}

const HELLO = await captureHello({ servername: 'WWW.Example.com', ALPNProtocols: ['h2', 'http/1.1'] });
const HELLO_12 = await captureHello({ servername: 'old.example.com', maxVersion: 'TLSv1.2' });
const BARE = await captureHello({});

/** The same handshake message in records of at most `size` bytes. */
function refragment(hello: Uint8Array, size: number): Uint8Array {
  const body = hello.subarray(5);
  return Buffer.concat(
    cut(body, size).map((part) => Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part])),
  );
}

/** A hello of our own making. */
function makeHello(extensions: [number, Uint8Array][], { version = 0x0303, suites = Buffer.from([0x13, 0x01]) } = {}): Buffer {
  const encoded = Buffer.concat(extensions.map(([type, body]) => Buffer.concat([u16(type), u16(body.length), body])));
  const body = Buffer.concat([
    u16(version),
    Buffer.alloc(32),
    Buffer.from([0]),
    u16(suites.length),
    suites,
    Buffer.from([1, 0]),
    u16(encoded.length),
    encoded,
  ]);
  const message = Buffer.concat([Buffer.from([1, body.length >> 16, (body.length >> 8) & 0xff, body.length & 0xff]), body]);
  return Buffer.concat(cut(message, 16_000).map((part) => Buffer.concat([Buffer.from([22, 3, 1]), u16(part.length), part])));
}

const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
const sni = (name: string): [number, Uint8Array] => {
  const bytes = Buffer.from(name, 'latin1');
  return [0, Buffer.concat([u16(bytes.length + 3), Buffer.from([0]), u16(bytes.length), bytes])];
};

test('client hello: server name and ALPN of a TLS 1.3 client', () => {
  const hello = parseClientHello(HELLO);
  assert.equal(hello.status, ClientHelloStatus.Ok);
  assert.equal(hello.serverName.toLowerCase(), 'www.example.com');
  assert.deepEqual(hello.applicationProtocols, ['h2', 'http/1.1']);
  assert.equal(hello.bytesProcessed, HELLO.length);
});

test('client hello: a TLS 1.2 client without ALPN, and one without a server name', () => {
  const old = parseClientHello(HELLO_12);
  assert.deepEqual([old.status, old.serverName, old.applicationProtocols], [ClientHelloStatus.Ok, 'old.example.com', null]);
  const bare = parseClientHello(BARE);
  assert.deepEqual([bare.status, bare.serverName, bare.applicationProtocols], [ClientHelloStatus.Ok, '', null]);
});

test('client hello: every prefix asks for more, whatever the fragmentation', () => {
  for (const bytes of [HELLO, refragment(HELLO, 1), refragment(HELLO, 3), refragment(HELLO, 100)]) {
    for (let length = 0; length < bytes.length; length++) {
      const { status } = parseClientHello(bytes.subarray(0, length));
      assert.equal(status, ClientHelloStatus.NeedMore, `prefix of ${length}`);
    }
    const whole = parseClientHello(bytes);
    assert.equal(whole.status, ClientHelloStatus.Ok);
    assert.equal(whole.serverName.toLowerCase(), 'www.example.com');
  }
});

test('client hello: what follows the hello does not matter', () => {
  const hello = parseClientHello(Buffer.concat([HELLO, Buffer.from('more')]));
  assert.equal(hello.status, ClientHelloStatus.Ok);
  assert.equal(hello.bytesProcessed, HELLO.length);
});

const MALFORMED: [string, Uint8Array][] = [
  ['plain text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['another record type', Buffer.from([23, 3, 1, 0, 1, 0])],
  ['another major version', Buffer.from([22, 2, 1, 0, 1, 0])],
  ['a record that is too long', Buffer.from([22, 3, 1, 0x40, 1])],
  ['another handshake message', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
  ['a message that is too long', Buffer.from([22, 3, 1, 0, 4, 1, 1, 0, 0])],
  ['an empty hello', Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0])],
  ['nothing but empty records', Buffer.concat(Array.from({ length: 33 }, () => Buffer.from([22, 3, 1, 0, 0])))],
  ['SSL 3', makeHello([sni('a.com')], { version: 0x0300 })],
  ['no cipher suites', makeHello([sni('a.com')], { suites: Buffer.alloc(0) })],
  ['half a cipher suite', makeHello([sni('a.com')], { suites: Buffer.alloc(3) })],
  ['an extension twice', makeHello([sni('a.com'), sni('b.com')])],
  ['an empty server name', makeHello([sni('')])],
  ['a server name with NUL', makeHello([sni('a\0b')])],
  ['a server name of 256 bytes', makeHello([sni('a'.repeat(256))])],
  ['a server name of another type', makeHello([[0, Buffer.from([0, 4, 1, 0, 1, 0x61])]])],
  ['a server name list with a tail', makeHello([[0, Buffer.from([0, 4, 0, 0, 1, 0x61, 0])]])],
];
for (const [title, bytes] of MALFORMED) {
  test(`client hello: ${title} is not TLS`, () => assert.equal(parseClientHello(bytes).status, ClientHelloStatus.NotTls));
}

test('client hello: malformed ALPN counts as none', () => {
  for (const body of [[], [0, 0], [0, 3, 2, 0x68], [0, 2, 0, 0], [0, 3, 2, 0x68, 0x32, 0]]) {
    const hello = parseClientHello(makeHello([sni('a.com'), [16, Buffer.from(body)]]));
    assert.deepEqual([hello.status, hello.serverName, hello.applicationProtocols], [ClientHelloStatus.Ok, 'a.com', null]);
  }
});

test('client hello: random and mutated bytes neither throw nor read outside', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => void parseClientHello(bytes)),
    { numRuns: 2000 },
  );
  const mutation = fc.array(fc.tuple(fc.nat(HELLO.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(mutation, fc.nat(HELLO.length), (changes, length) => {
      const bytes = Uint8Array.from(HELLO.subarray(0, length));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      const hello = parseClientHello(bytes);
      assert.ok(hello.bytesProcessed <= bytes.length);
    }),
    { numRuns: 2000 },
  );
});

test('tls_inspector: finds TLS however the hello arrives, and consumes nothing', () => {
  for (const size of [1, 7, 100, 100_000]) {
    const run = new FilterHarness(factory).run(cut(HELLO, size));
    assert.equal(run.status, ListenerFilterStatus.Continue);
    assert.equal(run.socket.detectedTransportProtocol, 'tls');
    assert.equal(run.socket.requestedServerName, 'www.example.com');
    assert.deepEqual(run.socket.requestedApplicationProtocols, ['h2', 'http/1.1']);
    assert.deepEqual(Buffer.from(run.rest), Buffer.from(HELLO));
    for (const name of ['tls_found', 'sni_found', 'alpn_found']) assert.equal(run.counter(`tls_inspector.${name}`), 1, name);
    assert.equal(run.counter('tls_inspector.tls_not_found'), 0);
  }
});

test('tls_inspector: plain text goes on at the first byte', () => {
  const run = new FilterHarness(factory).run([Buffer.from('G'), Buffer.from('ET /')]);
  assert.equal(run.status, ListenerFilterStatus.Continue);
  assert.equal(run.pieces, 1);
  assert.equal(run.socket.detectedTransportProtocol, '');
  assert.equal(run.counter('tls_inspector.tls_not_found'), 1);
  assert.deepEqual(run.info.dynamicMetadata, {
    'envoy.filters.listener.tls_inspector': { failure_reason: 'ClientHelloNotDetected' },
  });
});

test('tls_inspector: without names it counts their absence', () => {
  const run = new FilterHarness(factory).run([BARE]);
  assert.equal(run.counter('tls_inspector.sni_not_found'), 1);
  assert.equal(run.counter('tls_inspector.alpn_not_found'), 1);
});

test('tls_inspector: a hello above the limit closes', () => {
  const big = makeHello([sni('a.com'), [21, Buffer.alloc(2000)]]);
  const run = new FilterHarness(factory, { maxClientHelloSize: 1024 }).run(cut(big, 300));
  assert.equal(run.status, ListenerFilterStatus.Close);
  assert.equal(run.counter('tls_inspector.client_hello_too_large'), 1);
  const fits = new FilterHarness(factory, { maxClientHelloSize: 4096 }).run(cut(big, 300));
  assert.equal(fits.status, ListenerFilterStatus.Continue);
});

test('tls_inspector: closes on parsing errors when told to', () => {
  const run = new FilterHarness(factory, { closeConnectionOnClientHelloParsingErrors: true }).run([
    Buffer.from('GET / HTTP/1.1\r\n'),
  ]);
  assert.equal(run.status, ListenerFilterStatus.Close);
});

test('tls_inspector: fingerprints of the hello, those that are asked for', () => {
  const groups: [number, Uint8Array] = [10, Buffer.from([0, 4, 0x1a, 0x1a, 0, 29])];
  const hello = makeHello([sni('a.com'), groups, [11, Buffer.from([1, 0])]]);
  const found = (config: Record<string, unknown>, bytes = hello) =>
    new FilterHarness(factory, config).run(cut(bytes, 20)).socket.helloFingerprints;
  assert.equal(found({}), null);
  const md5 = createHash('md5').update('771,4865,0-10-11,29,0').digest('hex');
  assert.deepEqual(found({ enableJa3Fingerprinting: true }), { ja3: md5, ja4: '' });
  const both = found({ enableJa3Fingerprinting: true, enableJa4Fingerprinting: true });
  assert.equal(both?.ja3, md5);
  assert.match(both?.ja4 ?? '', /^t12d010300_[0-9a-f]{12}_[0-9a-f]{12}$/);
  assert.match(found({ enableJa4Fingerprinting: true }, Buffer.from(HELLO))?.ja4 ?? '', /^t13d\d{4}h2_/);
});

test('tls_inspector: refuses what it cannot do', () => {
  assert.throws(() => new FilterHarness(factory, { maxClientHelloSize: 20_000 }), /greater than maximum of 16384/);
});

test('tls_inspector: any bytes in any pieces end in a decision or in waiting for more', () => {
  const harness = new FilterHarness(factory);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.integer({ min: 1, max: 50 }), (bytes, size) => {
      const run = harness.run(cut(bytes, size));
      assert.deepEqual(Buffer.from(run.rest), Buffer.from(bytes));
    }),
  );
  assert.ok(harness.dispatcher.slab.blocksInUse <= 1, 'no buffer is left behind');
});
