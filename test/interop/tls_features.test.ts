/** Revocation, stapling, ticket keys, PKCS #12, key logs, pins and HTTP/2 by ALPN, each with a peer that would notice. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as http2Connect } from 'node:http2';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { CertificateFactory, openssl, type TestCertificate } from '../support/certificates.ts';
import { type Json, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, listenerFilter } from './support/config.ts';
import { ocspResponse } from './support/ocsp.ts';
import { downstreamTls, files, readToEnd, tlsConnect, tlsGet } from './support/tls.ts';
import { httpUpstream } from './support/upstreams.ts';

const run = promisify(execFile);
const certificates = new CertificateFactory();
const { directory } = certificates;
const ca = certificates.make('test ca', { isCa: true });
const intermediate = certificates.make('intermediate ca', { isCa: true, issuer: ca });
const server = certificates.make('localhost', { san: 'DNS:localhost', issuer: ca });
const uriServer = certificates.make('localhost', { san: 'DNS:localhost,URI:spiffe://test/server', issuer: ca });
const named = certificates.make('named', { san: 'URI:spiffe://test/named,DNS:named.example', issuer: ca });
const good = certificates.make('good', { issuer: ca });
const revoked = certificates.make('revoked', { issuer: ca });
const deep = certificates.make('deep', { issuer: intermediate });
const deepRevoked = certificates.make('deep revoked', { issuer: intermediate });

/** What `issuer` revoked: `gone`. */
function makeCrl(issuer: TestCertificate, gone: TestCertificate): string {
  const base = gone.certificateFile;
  writeFileSync(`${base}.index`, '');
  writeFileSync(`${base}.number`, '01\n');
  writeFileSync(
    `${base}.conf`,
    `[ca]\ndefault_ca=x\n[x]\ndatabase=${base}.index\ncrlnumber=${base}.number\ndefault_md=sha256\ndefault_crl_days=30\n`,
  );
  const sign = ['-config', `${base}.conf`, '-cert', issuer.certificateFile, '-keyfile', issuer.keyFile];
  openssl(['ca', ...sign, '-revoke', gone.certificateFile]);
  openssl(['ca', ...sign, '-gencrl', '-out', `${base}.crl`]);
  return `${base}.crl`;
}

/** With colons, as openssl prints it: both forms are read. */
function hashOf(certificate: TestCertificate): string {
  return openssl(['x509', '-noout', '-fingerprint', '-sha256', '-in', certificate.certificateFile]).trim().split('=')[1];
}

function makePkcs12(): string {
  const out = `${directory}/server.p12`;
  openssl([
    ...['pkcs12', '-export', '-in', server.certificateFile, '-inkey', server.keyFile, '-certfile', ca.certificateFile],
    ...['-passout', 'pass:secret', '-out', out],
  ]);
  return out;
}

function direct(name: string, transport: Json, manager: Json = {}, body = name, extra: Json = {}): Json {
  const routes = [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: body } } }];
  const limits = {
    route_config: {
      name,
      max_direct_response_body_size_bytes: 1 << 20,
      virtual_hosts: [{ name: 'all', domains: ['*'], routes }],
    },
  };
  return listener(name, [], {
    filter_chains: [{ filters: [http(name, routes, { ...limits, ...manager })], transport_socket: transport }],
    ...extra,
  });
}

function keyLog(file: string, local: string[], remote: string[]): Json {
  const ranges = (texts: string[]): Json[] =>
    texts.map((text) => ({ address_prefix: text.split('/')[0], prefix_len: Number(text.split('/')[1]) }));
  return { key_log: { path: `$DIR/${file}`, local_address_range: ranges(local), remote_address_range: ranges(remote) } };
}

describe('TLS features', () => {
  let proxy: ProxyProcess;
  const keyFile = `${directory}/tickets`;
  before(async () => {
    writeFileSync(keyFile, randomBytes(80));
    const validate = (extra: Json): Json => ({ validation_context: { trusted_ca: { filename: ca.certificateFile }, ...extra } });
    const required = { require_client_certificate: true };
    const deepCrl = makeCrl(intermediate, deepRevoked);
    const oldKey = randomBytes(80);
    const tickets = (...keys: Buffer[]): Json => ({
      session_ticket_keys: { keys: keys.map((key) => ({ inline_bytes: key.toString('base64') })) },
    });
    const newKey = randomBytes(80);
    const upstream = await httpUpstream();
    const forward = (mode: string, details: Json = {}): Json => ({
      forward_client_cert_details: mode,
      set_current_client_cert_details: details,
    });
    const forwarding = (name: string, manager: Json): Json =>
      listener(name, [], {
        filter_chains: [
          {
            filters: [http(name, [{ match: { prefix: '/' }, route: { cluster: 'echo' } }], manager)],
            transport_socket: downstreamTls([files(uriServer)], validate({})),
          },
        ],
      });
    proxy = await startProxy({
      config: bootstrap(
        [
          forwarding('sanitize', forward('SANITIZE')),
          forwarding('forward_only', forward('FORWARD_ONLY')),
          forwarding('append', forward('APPEND_FORWARD', { subject: true, uri: true, dns: true })),
          forwarding('set', forward('SANITIZE_SET', { cert: true, chain: true })),
          forwarding('always', forward('ALWAYS_FORWARD_ONLY')),
          direct('crl', downstreamTls([files(server)], validate({ crl: { filename: makeCrl(ca, revoked) } }), required)),
          direct('crl_all', downstreamTls([files(server)], validate({ crl: { filename: deepCrl } }), required)),
          direct(
            'crl_leaf',
            downstreamTls([files(server)], validate({ crl: { filename: deepCrl }, only_verify_leaf_cert_crl: true }), required),
          ),
          direct(
            'hash',
            downstreamTls([files(server)], { validation_context: { verify_certificate_hash: [hashOf(good)] } }, required),
          ),
          direct('depth0', downstreamTls([files(server)], validate({ max_verify_depth: 0 }), required)),
          direct('depth1', downstreamTls([files(server)], validate({ max_verify_depth: 1 }), required)),
          direct('ocsp', downstreamTls([{ ...files(server), ocsp_staple: { filename: ocspResponse(directory, ca, [server]) } }])),
          direct('p12', downstreamTls([{ pkcs12: { filename: makePkcs12() }, password: { inline_string: 'secret' } }])),
          direct('keylog', downstreamTls([files(server)], { key_log: { path: '$DIR/keys' } })),
          direct('keylog_here', downstreamTls([files(server)], keyLog('here', ['127.0.0.0/8'], ['::1/128', '127.0.0.1/32']))),
          direct('keylog_local', downstreamTls([files(server)], keyLog('local', ['10.0.0.0/8'], []))),
          direct('keylog_remote', downstreamTls([files(server)], keyLog('remote', ['127.0.0.0/8'], ['10.1.0.0/16'])), {}, '', {
            listener_filters: [listenerFilter('proxy_protocol')],
          }),
          direct(
            'fingerprints',
            downstreamTls([files(server)], { alpn_protocols: ['h2', 'http/1.1'] }),
            { access_log: [fileLog('fingerprints', '%TLS_JA3_FINGERPRINT% %TLS_JA4_FINGERPRINT%')] },
            '',
            {
              listener_filters: [
                listenerFilter('tls_inspector', { enable_ja3_fingerprinting: true, enable_ja4_fingerprinting: true }),
              ],
            },
          ),
          direct('old_tickets', downstreamTls([files(server)], {}, tickets(oldKey))),
          direct('new_tickets', downstreamTls([files(server)], {}, tickets(newKey, oldKey))),
          direct('other_tickets', downstreamTls([files(server)], {}, tickets(newKey))),
          direct('fips', downstreamTls([files(server)], { tls_params: { compliance_policies: ['FIPS_202205'] } })),
          direct('large', downstreamTls([files(server)]), {}, 'x'.repeat(100_000)),
          direct('h2', downstreamTls([files(server)], { alpn_protocols: ['h2', 'http/1.1'] })),
          direct(
            'ciphers',
            downstreamTls([files(server)], {
              tls_params: { cipher_suites: ['ECDHE-ECDSA-AES256-GCM-SHA384'], ecdh_curves: ['P-384'] },
            }),
          ),
        ],
        [cluster('echo', [upstream.port])],
      ),
    });
  });
  after(() => proxy.stop());

  const as = (certificate: { certificate: string; key: string }, chain = ''): object => ({
    cert: certificate.certificate + chain,
    key: certificate.key,
  });

  test('x-forwarded-client-cert', async () => {
    const given = 'Hash=abc;URI=spiffe://before';
    const ask = async (name: string, client: object | null): Promise<string | undefined> => {
      const request = `GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-forwarded-client-cert: ${given}\r\n\r\n`;
      const { text } = await tlsGet(proxy.port(name), client ?? {}, request);
      const body = JSON.parse(
        text
          .slice(text.indexOf('\r\n\r\n') + 4)
          .replace(/^[0-9a-f]+\r\n/, '')
          .replace(/\r\n0\r\n\r\n$/, ''),
      );
      return body.headers['x-forwarded-client-cert'];
    };
    const hash = hashOf(named).replaceAll(':', '').toLowerCase();
    const own = `By=spiffe://test/server;Hash=${hash}`;
    assert.equal(await ask('sanitize', as(named)), undefined);
    assert.equal(await ask('forward_only', as(named)), given);
    assert.equal(await ask('forward_only', null), undefined);
    assert.equal(
      await ask('append', as(named)),
      `${given},${own};Subject="CN=named,O=Sluice";URI=spiffe://test/named;DNS=named.example`,
    );
    const pem = encodeURIComponent(named.certificate);
    assert.equal(await ask('set', as(named)), `${own};Cert="${pem}";Chain="${pem}"`);
    assert.equal(await ask('set', null), undefined);
    assert.equal(await ask('always', null), given);
  });

  test('a revoked client certificate', async () => {
    assert.match((await tlsGet(proxy.port('crl'), as(good))).text, /crl$/);
    await assert.rejects(tlsGet(proxy.port('crl'), as(revoked)), /revoked|reset|disconnected/);
    assert.equal(await proxy.stat('listener.crl.ssl.fail_verify_error'), 1);
  });

  test('only_verify_leaf_cert_crl: the list of the issuer of the leaf is enough', async () => {
    const ask = (name: string, certificate: TestCertificate): ReturnType<typeof tlsGet> =>
      tlsGet(proxy.port(name), as(certificate, intermediate.certificate));
    assert.match((await ask('crl_leaf', deep)).text, /crl_leaf$/);
    await assert.rejects(ask('crl_leaf', deepRevoked), /revoked|reset|disconnected/);
    // Of the root there is no list.
    await assert.rejects(ask('crl_all', deep), /alert|reset|disconnected/);
    assert.equal(await proxy.stat('listener.crl_leaf.ssl.fail_verify_error'), 1);
    assert.equal(await proxy.stat('listener.crl_all.ssl.fail_verify_error'), 1);
  });

  test('the hash of a client certificate, without a CA', async () => {
    assert.match((await tlsGet(proxy.port('hash'), as(good))).text, /hash$/);
    await assert.rejects(tlsGet(proxy.port('hash'), as(named)), /alert|reset|disconnected/);
    assert.equal(await proxy.stat('listener.hash.ssl.fail_verify_cert_hash'), 1);
  });

  test('a chain deeper than allowed', async () => {
    await assert.rejects(tlsGet(proxy.port('depth0'), as(deep, intermediate.certificate)), /unknown ca|alert|reset|disconnected/);
    assert.match((await tlsGet(proxy.port('depth1'), as(deep, intermediate.certificate))).text, /depth1$/);
    assert.match((await tlsGet(proxy.port('depth0'), as(good))).text, /depth0$/);
  });

  test('the OCSP response is stapled when it is asked for', async () => {
    const { stdout } = await run('sh', [
      '-c',
      `openssl s_client -connect 127.0.0.1:${proxy.port('ocsp')} -status -CAfile ${ca.certificateFile} </dev/null`,
    ]);
    assert.match(stdout, /OCSP Response Status: successful/);
    assert.match(stdout, /Cert Status: good/);
    const none = await run('sh', ['-c', `openssl s_client -connect 127.0.0.1:${proxy.port('p12')} -status </dev/null`]);
    assert.match(none.stdout, /OCSP response: no response sent/);
  });

  test('PKCS #12', async () => {
    const { text, peer } = await tlsGet(proxy.port('p12'), {
      ca: ca.certificate,
      rejectUnauthorized: true,
      servername: 'localhost',
    });
    assert.match(text, /p12$/);
    assert.equal(peer.subject.CN, 'localhost');
  });

  test('the key log has what a sniffer needs', async () => {
    await tlsGet(proxy.port('keylog'));
    const lines = readFileSync(proxy.file('keys'), 'utf8').trim().split('\n');
    assert.ok(
      lines.some((line) => /^SERVER_TRAFFIC_SECRET_0 [0-9a-f]{64} [0-9a-f]+$/.test(line)),
      lines.join('\n'),
    );
  });

  test('a key log for the addresses of some connections', async () => {
    const written = (name: string): number =>
      existsSync(proxy.file(name)) ? readFileSync(proxy.file(name), 'utf8').trim().split('\n').length : 0;
    for (const name of ['keylog_here', 'keylog_local']) await tlsGet(proxy.port(name));
    assert.ok(written('here') > 0);
    assert.equal(written('local'), 0);
    // The addresses that listener filters found out are those of the connection.
    for (const [source, isWritten] of [
      ['10.2.0.1', false],
      ['10.1.0.1', true],
    ] as const) {
      const socket = connect({ host: '127.0.0.1', port: proxy.port('keylog_remote') });
      socket.write(`PROXY TCP4 ${source} 127.0.0.1 1000 443\r\n`);
      await tlsGet(0, { socket });
      assert.equal(written('remote') > 0, isWritten, source);
    }
  });

  test('fingerprints of clients in the access log', async () => {
    await tlsGet(proxy.port('fingerprints'), { ALPNProtocols: ['http/1.1'], servername: 'localhost' });
    await tlsGet(proxy.port('fingerprints'), { maxVersion: 'TLSv1.2' });
    const [first, second] = await proxy.lines('fingerprints', 2);
    assert.match(first, /^[0-9a-f]{32} t13d\d{4}h1_[0-9a-f]{12}_[0-9a-f]{12}$/);
    assert.match(second, /^[0-9a-f]{32} t12i\d{4}00_[0-9a-f]{12}_[0-9a-f]{12}$/);
    assert.notEqual(first.slice(0, 32), second.slice(0, 32));
  });

  test('configured ticket keys: the first seals, the others still open', async () => {
    const connect = async (name: string, session?: Buffer): Promise<{ session: Buffer; reused: boolean }> => {
      const limits = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ...(session === undefined ? {} : { session }) } as const;
      const socket = await tlsConnect(proxy.port(name), limits);
      const facts = { session: socket.getSession()!, reused: socket.isSessionReused() };
      socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      await readToEnd(socket);
      return facts;
    };
    const old = await connect('old_tickets');
    const renewed = await connect('new_tickets', old.session);
    assert.equal(renewed.reused, true);
    assert.equal((await connect('other_tickets', old.session)).reused, false);
    assert.equal((await connect('other_tickets', renewed.session)).reused, true);
    assert.equal((await connect('old_tickets', renewed.session)).reused, false);
  });

  test('the FIPS policy leaves out ChaCha20 and X25519', async () => {
    await tlsGet(proxy.port('fips'), { maxVersion: 'TLSv1.2', ecdhCurve: 'P-256' });
    await assert.rejects(tlsGet(proxy.port('fips'), { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-CHACHA20-POLY1305' }));
    await assert.rejects(tlsGet(proxy.port('fips'), { ecdhCurve: 'X25519' }));
  });

  test('cipher suites and curves as configured', async () => {
    const { version } = await tlsGet(proxy.port('ciphers'), { maxVersion: 'TLSv1.2' });
    assert.equal(version, 'TLSv1.2');
    await assert.rejects(tlsGet(proxy.port('ciphers'), { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }));
    await assert.rejects(tlsGet(proxy.port('ciphers'), { ecdhCurve: 'P-256' }));
    await tlsGet(proxy.port('ciphers'), { ecdhCurve: 'P-384' });
    assert.ok((await proxy.stat('listener.ciphers.ssl.curves.P-384')) >= 1);
  });

  test('clients that want short records get them', async () => {
    for (const size of [512, 4096]) {
      for (const version of ['-tls1_2', '-tls1_3']) {
        const { stdout } = await run(
          'sh',
          [
            '-c',
            `(printf 'GET / HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n'; sleep 0.5) | openssl s_client -connect 127.0.0.1:${proxy.port('large')} ${version} -maxfraglen ${size} -quiet -no_ign_eof`,
          ],
          { maxBuffer: 1 << 24 },
        );
        assert.ok(stdout.endsWith('x'.repeat(100_000)), `${stdout.length} bytes`);
      }
    }
  });

  test('HTTP/2 by ALPN', async () => {
    const session = http2Connect(`https://127.0.0.1:${proxy.port('h2')}`, { ca: ca.certificate, servername: 'localhost' });
    const body = await new Promise<string>((resolve, reject) => {
      session.on('error', reject);
      const stream = session.request({ ':path': '/' });
      let text = '';
      stream.on('data', (chunk) => {
        text += chunk;
      });
      stream.on('end', () => resolve(text));
      stream.on('error', reject);
    });
    session.destroy();
    assert.equal(body, 'h2');
    assert.equal(session.alpnProtocol, 'h2');
    const { stdout } = await run('curl', ['-sS', '-k', '-w', ' %{http_version}', `https://127.0.0.1:${proxy.port('h2')}/`]);
    assert.equal(stdout, 'h2 2');
    const one = await run('curl', ['-sS', '-k', '--http1.1', '-w', ' %{http_version}', `https://127.0.0.1:${proxy.port('h2')}/`]);
    assert.equal(one.stdout, 'h2 1.1');
  });
});
