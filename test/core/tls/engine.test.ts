/** The TLS engine against itself, without sockets: records, handshakes, sessions, key updates, and that nothing leaks. */
import assert from 'node:assert/strict';
import ffi from 'node:ffi';
import { describe, test } from 'node:test';
import { Slab } from '../../../src/core/buffer/slab.ts';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import { ssl } from '../../../src/core/sys/openssl.ts';
import { ClientTls } from '../../../src/core/tls/client.ts';
import { CLOSED, FAILED, HANDSHAKE_DONE, MAX_WRITE, type TlsEngine, WANT_INPUT } from '../../../src/core/tls/engine.ts';
import { TlsConfigError } from '../../../src/core/tls/errors.ts';
import { ServerTls } from '../../../src/core/tls/server.ts';
import type { ClientTlsSettings, CommonTlsSettings, ServerTlsSettings } from '../../../src/core/tls/settings.ts';
import { dnsNameCovers } from '../../../src/core/tls/verify.ts';
import { CertificateFactory } from '../../support/certificates.ts';

const certificates = new CertificateFactory();
const own = certificates.make('localhost', { san: 'DNS:localhost' });
const slab = new Slab(4096);

const COMMON: CommonTlsSettings = {
  minVersion: 'TLSv1_2',
  maxVersion: 'TLSv1_3',
  cipherSuites: [],
  curves: [],
  signatureAlgorithms: [],
  alpn: [],
  certificates: [],
  validation: null,
  keyLog: null,
};

function serverTls(change: Partial<ServerTlsSettings> = {}): ServerTls {
  const certificate = {
    chain: Buffer.from(own.certificate),
    key: Buffer.from(own.key),
    password: null,
    pkcs12: null,
    ocspStaple: null,
  };
  return new ServerTls({
    ...COMMON,
    certificates: [certificate],
    requireClientCertificate: false,
    preferClientCiphers: false,
    statelessResumption: true,
    statefulResumption: true,
    ticketKeys: [],
    sessionTimeoutSeconds: 7200,
    fullScanOnSniMismatch: false,
    ocspStaplePolicy: 'LENIENT_STAPLING',
    ...change,
  });
}

function clientTls(change: Partial<ClientTlsSettings> = {}): ClientTls {
  return new ClientTls({ ...COMMON, sni: '', maxSessionKeys: 1, enforceRsaKeyUsage: false, ...change });
}

interface Pair {
  client: TlsEngine;
  server: TlsEngine;
}

/** Carries what `from` wants sent to `to`. */
function give(from: TlsEngine, to: TlsEngine, out = new SliceBuffer(slab)): SliceBuffer {
  from.takeOutput(out);
  if (out.length === 0) to.setInput(slab.address, 0);
  else {
    const length = out.length;
    to.setInput(slab.address + out.linearize(length), length);
  }
  return out;
}

function handshake(servers: ServerTls, clients: ClientTls, name = 'localhost'): Pair {
  const client = clients.connect({ serverName: name, alpn: [], verifyNames: [] });
  const server = servers.accept({ serverName: name, tickets: null, asksOcsp: false });
  client.setInput(slab.address, 0);
  let [a, b] = [WANT_INPUT as number, WANT_INPUT as number];
  const kept: SliceBuffer[] = [];
  for (let i = 0; i < 5 && !(a === HANDSHAKE_DONE && b === HANDSHAKE_DONE); i++) {
    if (a !== HANDSHAKE_DONE) a = client.handshake();
    kept.push(give(client, server));
    if (b !== HANDSHAKE_DONE) b = server.handshake();
    kept.push(give(server, client));
  }
  assert.deepEqual([a, b], [HANDSHAKE_DONE, HANDSHAKE_DONE], `${client.failureReason} ${server.failureReason}`);
  // Tickets.
  assert.equal(client.read(slab), WANT_INPUT);
  for (const buffer of kept) buffer.clear();
  return { client, server };
}

function send(from: TlsEngine, to: TlsEngine, bytes: Uint8Array): Uint8Array {
  const source = slab.allocate();
  slab.u8.set(bytes, source);
  const record = from.write(slab, BigInt(slab.address + source), bytes.length);
  assert.ok(record > bytes.length && record <= bytes.length + 256, `${record} for ${bytes.length}`);
  const at = from.offset;
  to.setInput(slab.address + at, record);
  const length = to.read(slab);
  assert.equal(length, bytes.length);
  assert.equal(to.inputLeft, 0);
  const got = slab.u8.slice(to.offset, to.offset + length);
  for (const offset of [source, at, to.offset]) slab.release(offset);
  return got;
}

function free({ client, server }: Pair): void {
  client.free();
  server.free();
}

describe('TLS engine', () => {
  for (const version of ['TLSv1_2', 'TLSv1_3'] as const) {
    test(`${version}: records of all sizes, split anywhere`, () => {
      const pair = handshake(serverTls({ maxVersion: version }), clientTls({ minVersion: version, maxVersion: version }));
      const before = slab.blocksInUse;
      for (const length of [1, 2, 15, 16, 17, 255, 256, 1000, 4096, 16_000, MAX_WRITE]) {
        const bytes = new Uint8Array(length).map((_, i) => (i * 31 + length) & 0xff);
        assert.deepEqual(send(pair.server, pair.client, bytes), bytes);
        assert.deepEqual(send(pair.client, pair.server, bytes), bytes);
      }
      // A record that comes byte by byte.
      const source = slab.allocate();
      slab.u8.fill(7, source, source + 500);
      const record = pair.server.write(slab, BigInt(slab.address + source), 500);
      const at = pair.server.offset;
      for (let i = 0; i < record; i++) {
        pair.client.setInput(slab.address + at + i, 1);
        const length = pair.client.read(slab);
        assert.equal(pair.client.inputLeft, 0);
        assert.equal(length, i === record - 1 ? 500 : WANT_INPUT);
      }
      slab.release(pair.client.offset);
      slab.release(at);
      slab.release(source);
      // The tail block that small pieces are cut from may stay.
      assert.ok(slab.blocksInUse <= before + 1, `${slab.blocksInUse} blocks, ${before} before`);
      free(pair);
    });
  }

  test('several records in one slice are read one after the other', () => {
    const pair = handshake(serverTls(), clientTls());
    const out = new SliceBuffer(slab);
    const source = slab.allocate();
    for (let i = 0; i < 10; i++) {
      slab.u8[source] = i;
      const record = pair.server.write(slab, BigInt(slab.address + source), 1);
      out.push(pair.server.offset, record);
    }
    const length = out.length;
    pair.client.setInput(slab.address + out.linearize(length), length);
    for (let i = 0; i < 10; i++) {
      assert.equal(pair.client.read(slab), 1);
      assert.equal(slab.u8[pair.client.offset], i);
      slab.release(pair.client.offset);
    }
    assert.equal(pair.client.inputLeft, 0);
    out.clear();
    slab.release(source);
    free(pair);
  });

  test('close_notify is told apart from the mere end', () => {
    const pair = handshake(serverTls(), clientTls());
    pair.server.closeNotify();
    const out = give(pair.server, pair.client);
    assert.equal(pair.client.read(slab), CLOSED);
    out.clear();
    free(pair);
  });

  test('a changed record fails, and stays failed', () => {
    const pair = handshake(serverTls(), clientTls());
    const source = slab.allocate();
    const record = pair.server.write(slab, BigInt(slab.address + source), 100);
    const at = pair.server.offset;
    slab.u8[at + 20] ^= 1;
    pair.client.setInput(slab.address + at, record);
    assert.equal(pair.client.read(slab), FAILED);
    assert.match(pair.client.failureReason, /^TLS_error:\|\d+:SSL routines::decryption failed or bad record mac/);
    assert.equal(pair.client.protocolError, true);
    assert.equal(pair.client.write(slab, BigInt(slab.address + source), 10), FAILED);
    slab.release(at);
    slab.release(source);
    free(pair);
  });

  test('key updates are answered, a flood of them too, and data goes on', () => {
    const { functions } = ffi.dlopen(null, { SSL_key_update: { arguments: ['pointer', 'int32'], return: 'int32' } });
    const pair = handshake(serverTls({ minVersion: 'TLSv1_3' }), clientTls({ maxVersion: 'TLSv1_3' }));
    const { pointer } = pair.client as unknown as { pointer: bigint };
    const source = slab.allocate();
    const out = new SliceBuffer(slab);
    for (let i = 0; i < 300; i++) {
      const SSL_KEY_UPDATE_REQUESTED = 1;
      assert.equal(functions.SSL_key_update(pointer, SSL_KEY_UPDATE_REQUESTED), 1);
      const record = pair.client.write(slab, BigInt(slab.address + source), 1);
      out.push(pair.client.offset, record);
    }
    const { length } = out;
    assert.ok(length < 16_384 && length > 300 * 40, String(length));
    const at = out.linearize(length);
    const answers = new SliceBuffer(slab);
    let left = length;
    for (let i = 0; i < 300; i++) {
      pair.server.setInput(slab.address + at + length - left, left);
      assert.equal(pair.server.read(slab), 1);
      left = pair.server.inputLeft;
      slab.release(pair.server.offset);
      pair.server.takeOutput(answers);
    }
    assert.equal(left, 0);
    // The answer may wait for the next call: it is never more than what asked for it.
    assert.ok(answers.length > 0 && answers.length < length, String(answers.length));
    const size = answers.length;
    pair.client.setInput(slab.address + answers.linearize(size), size);
    assert.equal(pair.client.read(slab), WANT_INPUT);
    out.clear();
    answers.clear();
    slab.release(source);
    const bytes = new Uint8Array([1, 2, 3]);
    assert.deepEqual(send(pair.client, pair.server, bytes), bytes);
    assert.deepEqual(send(pair.server, pair.client, bytes), bytes);
    free(pair);
  });

  test('sessions: resumed once per ticket, tied to the name, not beyond their configuration', () => {
    const servers = serverTls({ minVersion: 'TLSv1_3' });
    const clients = clientTls({ maxSessionKeys: 4 });
    const reused = (server: ServerTls, name: string): boolean => {
      const pair = handshake(server, clients, name);
      const { sessionReused } = pair.server.info;
      assert.equal(pair.client.info.sessionReused, sessionReused);
      free(pair);
      return sessionReused;
    };
    assert.equal(reused(servers, 'a'), false);
    assert.equal(reused(servers, 'b'), false);
    assert.equal(reused(servers, 'a'), true);
    assert.equal(reused(servers, 'b'), true);
    // Each resumption brings a new ticket.
    for (let i = 0; i < 5; i++) assert.equal(reused(servers, 'a'), true);
    assert.equal(reused(serverTls({ minVersion: 'TLSv1_3', alpn: ['h2'] }), 'a'), false);
  });

  test('thousands of handshakes leave nothing behind', () => {
    const servers = serverTls({ statefulResumption: false });
    const clients = clientTls();
    const round = (n: number): void => {
      for (let i = 0; i < n; i++) {
        const pair = handshake(servers, clients, `n${i % 3}`);
        send(pair.client, pair.server, new Uint8Array(100));
        free(pair);
      }
    };
    round(300);
    globalThis.gc?.();
    const before = process.memoryUsage.rss();
    const blocks = slab.blocksInUse;
    round(1500);
    const grown = process.memoryUsage.rss() - before;
    // An SSL object alone is above 10 KB, and there were 3,000 more of them: a leak would be 30 MB and more.
    assert.ok(grown < 20e6, `grown by ${grown} bytes`);
    assert.ok(slab.blocksInUse <= blocks + 1);
    assert.equal(ssl.ERR_get_error(), 0n);
  });

  test('what cannot be configured is said', () => {
    const bad = (change: Partial<ServerTlsSettings>, expected: RegExp): void => {
      assert.throws(
        () => serverTls(change),
        (error) => error instanceof TlsConfigError && expected.test(error.message),
      );
    };
    bad({ certificates: [] }, /needs a certificate/);
    bad({ cipherSuites: ['X'] }, /cipher suites/);
    bad({ curves: ['X'] }, /curves/);
    bad({ signatureAlgorithms: ['X'] }, /signature algorithms/);
    bad({ minVersion: 'TLSv1_3', maxVersion: 'TLSv1_2' }, /above the maximum/);
  });

  test('names of certificates', () => {
    for (const [pattern, name, covers] of [
      ['a.example', 'A.example', true],
      ['*.example.com', 'a.example.com', true],
      ['*.example.com', 'a.b.example.com', false],
      ['*.example.com', 'example.com', false],
      ['*.com', 'example.com', false],
      ['*', 'a', false],
      ['', '', false],
      ['a*.example.com', 'ab.example.com', false],
    ] as const) {
      assert.equal(dnsNameCovers(pattern, name), covers, `${pattern} ${name}`);
    }
  });
});
