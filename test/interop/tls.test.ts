/** The proxy's listeners over TLS with curl, openssl s_client and node:tls as clients. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { CertificateFactory } from '../support/certificates.ts';
import { type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, fileLog, http, listener, listenerFilter, networkFilter } from './support/config.ts';
import { downstreamTls, files, readToEnd, tlsConnect, tlsGet } from './support/tls.ts';

const run = promisify(execFile);
const certificates = new CertificateFactory();
const ca = certificates.make('test ca', { isCa: true });
const otherCa = certificates.make('other ca', { isCa: true });
const localhost = certificates.make('localhost', { san: 'DNS:localhost', issuer: ca });
const rsa = certificates.make('localhost', { san: 'DNS:localhost', issuer: ca, type: 'rsa' });
const exact = certificates.make('a', { san: 'DNS:a.example', issuer: ca });
const wildcard = certificates.make('w', { san: 'DNS:*.wild.example', issuer: ca });
const client = certificates.make('client', { san: 'URI:spiffe://test/client,DNS:client.example', issuer: ca });
const stranger = certificates.make('stranger', { san: 'URI:spiffe://test/stranger', issuer: otherCa });
const rotating = { certificate: `${certificates.directory}/rotating.pem`, key: `${certificates.directory}/rotating.key` };
writeFileSync(rotating.certificate, exact.certificate);
writeFileSync(rotating.key, exact.key);

const TLS_FACTS =
  '%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER% %REQUESTED_SERVER_NAME% %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_FINGERPRINT_256% %DOWNSTREAM_LOCAL_DNS_SAN%';

function direct(body: string): Json[] {
  return [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: body } } }];
}

function tlsListener(name: string, transport: Json, filters: Json[] = [http(name, direct(name))], extra: Json = {}): Json {
  return listener(name, [], { filter_chains: [{ filters, transport_socket: transport, ...extra }] });
}

describe('listeners with TLS', () => {
  let proxy: ProxyProcess;
  before(async () => {
    const validation = { trusted_ca: { filename: ca.certificateFile } };
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap([
        tlsListener('plain_http', downstreamTls([files(localhost)], { alpn_protocols: ['http/1.1'] }), [
          http('plain_http', direct('over tls'), { access_log: [fileLog('facts.log', TLS_FACTS)] }),
        ]),
        tlsListener('echo', downstreamTls([files(localhost)]), [networkFilter('echo', {})], {
          transport_socket_connect_timeout: '0.3s',
        }),
        listener('plain_echo', [networkFilter('echo', {})]),
        tlsListener('sni', downstreamTls([files(localhost), files(exact), files(wildcard)])),
        tlsListener('both', downstreamTls([files(rsa), files(localhost)])),
        tlsListener(
          'rotate',
          downstreamTls([{ certificate_chain: { filename: rotating.certificate }, private_key: { filename: rotating.key } }]),
        ),
        tlsListener(
          'mtls',
          downstreamTls([files(localhost)], { validation_context: validation }, { require_client_certificate: true }),
          [http('mtls', direct('mtls'), { access_log: [fileLog('mtls.log', TLS_FACTS)] })],
        ),
        tlsListener('optional', downstreamTls([files(localhost)], { validation_context: validation })),
        tlsListener(
          'san',
          downstreamTls(
            [files(localhost)],
            {
              validation_context: {
                ...validation,
                match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { prefix: 'spiffe://nobody/' } }],
              },
            },
            { require_client_certificate: true },
          ),
        ),
        tlsListener('tls12', downstreamTls([files(localhost)], { tls_params: { tls_maximum_protocol_version: 'TLSv1_2' } })),
        tlsListener(
          'no_tickets',
          downstreamTls(
            [files(localhost)],
            {},
            {
              disable_stateless_session_resumption: true,
              disable_stateful_session_resumption: true,
            },
          ),
        ),
        listener('chains', [], {
          listener_filters: [listenerFilter('tls_inspector')],
          filter_chains: [
            {
              filter_chain_match: { server_names: ['a.example'], transport_protocol: 'tls' },
              filters: [http('chain_a', direct('chain a'))],
              transport_socket: downstreamTls([files(exact)]),
            },
            {
              filter_chain_match: { transport_protocol: 'tls', application_protocols: ['acme'] },
              filters: [http('chain_alpn', direct('chain alpn'))],
              transport_socket: downstreamTls([files(localhost)], { alpn_protocols: ['acme'] }),
            },
            {
              filter_chain_match: { transport_protocol: 'raw_buffer' },
              filters: [http('chain_raw', direct('chain raw'))],
            },
          ],
        }),
      ]),
    });
  });
  after(() => proxy.stop());

  test('tickets of TLS 1.3, the response and close_notify are sent as one', async () => {
    const chunks: number[] = [];
    const relay = createServer((near) => {
      const far = connect(proxy.port('plain_http'), '127.0.0.1');
      far.on('data', (data) => {
        chunks.push(data.length);
        near.write(data);
      });
      far.on('end', () => near.end());
      near.pipe(far);
      // The client leaves when it has all; what the relay still writes to either side may be refused.
      for (const side of [near, far]) side.on('error', () => side.destroy());
    }).listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const socket = await tlsConnect((relay.address() as AddressInfo).port, { minVersion: 'TLSv1.3' });
    let tickets = 0;
    socket.on('session', () => tickets++);
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    assert.match((await readToEnd(socket)).toString(), /over tls$/);
    relay.close();
    assert.equal(tickets, 2);
    assert.equal(chunks.length, 2, `the handshake's flight and the rest came as ${chunks}`);
  });

  test('curl, TLS 1.3 and 1.2, verifies the certificate and negotiates http/1.1', async () => {
    const port = proxy.port('plain_http');
    for (const version of ['1.2', '1.3']) {
      const { stdout } = await run('curl', [
        ...['-sS', '-w', ' %{http_code} %{ssl_verify_result}', '--cacert', ca.certificateFile],
        ...[`--tlsv${version}`, '--tls-max', version, '--connect-to', `localhost:443:127.0.0.1:${port}`, 'https://localhost/'],
      ]);
      assert.equal(stdout, 'over tls 200 0');
    }
    assert.ok((await proxy.stat('listener.plain_http.ssl.handshake')) >= 2);
    assert.ok((await proxy.stat('listener.plain_http.ssl.versions.TLSv1.3')) >= 1);
    assert.ok((await proxy.stat('listener.plain_http.ssl.ciphers.TLS_AES_128_GCM_SHA256')) >= 1);
    assert.ok((await proxy.stat('listener.plain_http.ssl.curves.X25519')) >= 1);
    assert.ok((await proxy.stat('http.plain_http.downstream_cx_ssl_total')) >= 2);
    assert.ok((await proxy.stat('listener.plain_http.ssl.certificate.0.expiration_unix_time_seconds')) > Date.now() / 1000);
  });

  test('keep-alive, and what access logs say', async () => {
    const socket = await tlsConnect(proxy.port('plain_http'), { servername: 'localhost', ALPNProtocols: ['h3', 'http/1.1'] });
    assert.equal(socket.alpnProtocol, 'http/1.1');
    for (let i = 0; i < 3; i++) {
      socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      const [data] = await once(socket, 'data');
      assert.match(String(data), /^HTTP\/1\.1 200 [\s\S]*over tls$/);
    }
    socket.destroy();
    await proxy.untilLine('facts.log', 'TLSv1.3 TLS_AES_128_GCM_SHA256 localhost - - - localhost');
  });

  test('megabytes echo byte-exact, in small and big writes', async () => {
    const sent = Buffer.alloc(3_000_001);
    for (let i = 0; i < sent.length; i++) sent[i] = (i * 7 + (i >> 9)) & 0xff;
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await tlsConnect(proxy.port('echo'), { minVersion: version, maxVersion: version });
      const received: Buffer[] = [];
      let length = 0;
      const all = new Promise<void>((resolve) => {
        socket.on('data', (chunk: Buffer) => {
          received.push(chunk);
          length += chunk.length;
          if (length === sent.length) resolve();
        });
      });
      let at = 0;
      for (let size = 1; at < 200_000; size = (size * 3) % 4099) {
        socket.write(sent.subarray(at, at + size));
        at += size;
      }
      socket.write(sent.subarray(at));
      await all;
      const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
      assert.equal(digest(Buffer.concat(received)), digest(sent));
      socket.destroy();
    }
  });

  test('a client that is done sending gets all of its echo', async () => {
    for (let i = 0; i < 10; i++) {
      // Data and close_notify in one segment, as often as not.
      const text = 'x'.repeat(1 + i * 3000);
      const secure = await tlsConnect(proxy.port('echo'), { allowHalfOpen: true });
      secure.end(text);
      assert.equal((await readToEnd(secure)).toString(), text);
      const plain = connect({ port: proxy.port('plain_echo'), host: '127.0.0.1', allowHalfOpen: true });
      plain.end(text);
      assert.equal((await readToEnd(plain)).toString(), text);
    }
    await proxy.untilStat('listener.echo.downstream_cx_active', (n) => n === 0);
    await proxy.untilStat('listener.plain_echo.downstream_cx_active', (n) => n === 0);
  });

  test('the certificate follows the server name: exact, wildcard, first', async () => {
    const nameFor = async (servername: string): Promise<string> => {
      const { peer } = await tlsGet(proxy.port('sni'), servername === '' ? {} : { servername });
      return peer.subjectaltname ?? '';
    };
    assert.equal(await nameFor('a.example'), 'DNS:a.example');
    assert.equal(await nameFor('A.EXAMPLE'), 'DNS:a.example');
    assert.equal(await nameFor('x.wild.example'), 'DNS:*.wild.example');
    assert.equal(await nameFor('x.y.wild.example'), 'DNS:localhost');
    assert.equal(await nameFor('nobody.example'), 'DNS:localhost');
    assert.equal(await nameFor(''), 'DNS:localhost');
  });

  test('RSA and ECDSA certificates for one name: the client chooses', async () => {
    const keyOf = async (sigalgs: string): Promise<string | undefined> => {
      const { peer } = await tlsGet(proxy.port('both'), { servername: 'localhost', sigalgs });
      return peer.asn1Curve ?? (peer.modulus === undefined ? undefined : 'rsa');
    };
    assert.equal(await keyOf('rsa_pss_rsae_sha256'), 'rsa');
    assert.equal(await keyOf('ecdsa_secp256r1_sha256'), 'prime256v1');
  });

  test('sessions resume: tickets in TLS 1.3 and 1.2 on any worker; not when that is off', async () => {
    const sessionOf = async (port: number, options: object): Promise<{ session: Buffer; reused: boolean }> => {
      const socket = await tlsConnect(port, options);
      const reused = socket.isSessionReused();
      let session: Buffer | undefined = socket.getSession();
      socket.on('session', (s) => {
        session = s;
      });
      socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      await readToEnd(socket);
      return { session: session!, reused };
    };
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const limits = { minVersion: version, maxVersion: version };
      const first = await sessionOf(proxy.port('plain_http'), limits);
      assert.equal(first.reused, false);
      for (let i = 0; i < 8; i++) {
        const next = await sessionOf(proxy.port('plain_http'), { ...limits, session: first.session });
        assert.equal(next.reused, true, `${version}, attempt ${i}`);
      }
      const none = await sessionOf(proxy.port('no_tickets'), limits);
      const again = await sessionOf(proxy.port('no_tickets'), { ...limits, session: none.session });
      assert.equal(again.reused, false, version);
    }
    assert.ok((await proxy.stat('listener.plain_http.ssl.session_reused')) >= 16);
    assert.equal(await proxy.stat('listener.no_tickets.ssl.session_reused'), 0);
  });

  test('client certificates: required, optional, of another CA, with the wrong name', async () => {
    const own = { cert: client.certificate, key: client.key };
    const { text } = await tlsGet(proxy.port('mtls'), own);
    assert.match(text, /mtls$/);
    const [line] = await proxy.lines('mtls.log', 1);
    assert.match(line, /^TLSv1\.3 \S+ - spiffe:\/\/test\/client CN=client,O=Sluice [0-9a-f]{64} localhost$/);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const limits = { minVersion: version, maxVersion: version };
      await assert.rejects(tlsGet(proxy.port('mtls'), limits), /certificate required|handshake failure|reset|disconnected/);
      await assert.rejects(
        tlsGet(proxy.port('mtls'), { ...limits, cert: stranger.certificate, key: stranger.key }),
        /unknown ca|reset|disconnected/,
      );
      await assert.rejects(tlsGet(proxy.port('san'), { ...limits, ...own }), /handshake failure|reset|disconnected/);
    }
    await proxy.untilStat('listener.mtls.ssl.fail_verify_no_cert', (n) => n === 2);
    await proxy.untilStat('listener.mtls.ssl.fail_verify_error', (n) => n === 2);
    await proxy.untilStat('listener.san.ssl.fail_verify_san', (n) => n === 2);
    assert.match((await tlsGet(proxy.port('optional'))).text, /optional$/);
    assert.match((await tlsGet(proxy.port('optional'), own)).text, /optional$/);
    assert.equal(await proxy.stat('listener.optional.ssl.no_certificate'), 1);
  });

  test('the maximum version holds', async () => {
    assert.equal((await tlsGet(proxy.port('tls12'))).version, 'TLSv1.2');
    await assert.rejects(tlsGet(proxy.port('tls12'), { minVersion: 'TLSv1.3' }), /alert|version/);
    await proxy.untilStat('listener.tls12.ssl.connection_error', (n) => n === 1);
  });

  test('filter chains by server name, ALPN and transport protocol', async () => {
    const port = proxy.port('chains');
    assert.match((await tlsGet(port, { servername: 'a.example' })).text, /chain a$/);
    assert.match((await tlsGet(port, { ALPNProtocols: ['acme'] })).text, /chain alpn$/);
    const plain = connect(port, '127.0.0.1');
    plain.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    let text = '';
    for await (const chunk of plain) text += chunk;
    assert.match(text, /chain raw$/);
  });

  test('a handshake that takes too long is ended', async () => {
    const socket = connect(proxy.port('echo'), '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'close');
    await proxy.untilStat('listener.echo.downstream_cx_transport_socket_connect_timeout', (n) => n === 1);
    await proxy.untilStat('listener.echo.downstream_cx_active', (n) => n === 0);
  });

  test('certificates are taken from their files again when those change; bad ones are not', async () => {
    const port = proxy.port('rotate');
    const nameNow = async (): Promise<string> => (await tlsGet(port)).peer.subjectaltname ?? '';
    const old: TLSSocket = await tlsConnect(port);
    assert.equal(await nameNow(), 'DNS:a.example');
    const replace = (file: string, text: string): void => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    };
    replace(rotating.certificate, 'garbage');
    await proxy.untilStat('listener.rotate.ssl.context_reload_failed', (n) => n >= 2);
    assert.equal(await nameNow(), 'DNS:a.example');
    replace(rotating.key, wildcard.key);
    replace(rotating.certificate, wildcard.certificate);
    await proxy.untilStat('listener.rotate.ssl.context_reloaded', (n) => n === 2);
    await until(async () => (await nameNow()) === 'DNS:*.wild.example', 'the new certificate');
    // The old connection lives on.
    old.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    assert.match((await readToEnd(old)).toString(), /rotate$/);
    assert.match(proxy.log, /not reloaded/);
  });
});

describe('TLS configuration that cannot be', () => {
  const cases: [string, Json, RegExp][] = [
    ['no certificate', downstreamTls([]), /No TLS certificates found/],
    [
      'a key of another certificate',
      downstreamTls([{ certificate_chain: { filename: localhost.certificateFile }, private_key: { filename: exact.keyFile } }]),
      /private key does not fit/,
    ],
    ['no key', downstreamTls([{ certificate_chain: { inline_string: localhost.certificate } }]), /no private key/],
    [
      'no file',
      downstreamTls([{ certificate_chain: { filename: '/nonexistent' }, private_key: { filename: exact.keyFile } }]),
      /unable to read file/,
    ],
    ['an unknown cipher', downstreamTls([files(localhost)], { tls_params: { cipher_suites: ['NO-SUCH'] } }), /cipher suites/],
    ['an unknown curve', downstreamTls([files(localhost)], { tls_params: { ecdh_curves: ['X99'] } }), /ECDH curves/],
    ['TLS 1.0', downstreamTls([files(localhost)], { tls_params: { tls_minimum_protocol_version: 'TLSv1_0' } }), /TLSv1_0/],
    [
      'SDS from a control plane',
      downstreamTls([], {
        tls_certificate_sds_secret_configs: [{ name: 'x', sds_config: { ads: {} } }],
      }),
      /secrets from a control plane are not supported by Sluice yet/,
    ],
    [
      'names without a CA',
      downstreamTls([files(localhost)], {
        validation_context: { match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'a' } }] },
      }),
      /without trusted CA/,
    ],
    [
      'short ticket keys',
      downstreamTls([files(localhost)], {}, { session_ticket_keys: { keys: [{ inline_string: 'short' }] } }),
      /Incorrect TLS session ticket key length/,
    ],
    [
      'a key log for addresses that are none',
      downstreamTls([files(localhost)], {
        key_log: { path: '$DIR/keys', remote_address_range: [{ address_prefix: 'here', prefix_len: 8 }] },
      }),
      /key_log\.remote_address_range\[0\].*malformed IP address/,
    ],
    [
      'a server name that must be',
      downstreamTls([files(localhost)], {}, { require_sni: true }),
      /DownstreamTlsContext\.require_sni is not supported/,
    ],
    [
      'an upstream context on a listener',
      {
        name: 'tls',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext' },
      },
      /not supported/,
    ],
  ];
  for (const [what, transport, expected] of cases) {
    test(what, async () => {
      await assert.rejects(startProxy({ config: bootstrap([tlsListener('x', transport)]) }), expected);
    });
  }
});

test('certificate and key inline and from the environment, with a password', async (t) => {
  const encrypted = `${certificates.directory}/encrypted.key`;
  await run('openssl', ['pkey', '-in', exact.keyFile, '-aes256', '-passout', 'pass:secret', '-out', encrypted]);
  const proxy = await startProxy({
    config: bootstrap([
      tlsListener(
        'inline',
        downstreamTls([
          {
            certificate_chain: { inline_string: exact.certificate },
            private_key: { inline_bytes: Buffer.from(readFileSync(encrypted)).toString('base64') },
            password: { inline_string: 'secret' },
          },
        ]),
      ),
    ]),
  });
  t.after(() => proxy.stop());
  assert.match((await tlsGet(proxy.port('inline'))).text, /inline$/);
});
