/** Clusters with TLS towards node:https and node:tls servers. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpsServer, type Server } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { CertificateFactory, openssl } from '../support/certificates.ts';
import { closeAtEnd, httpRequest, type Json, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, tcpProxy } from './support/config.ts';
import { downstreamTls, files, tlsGet, upstreamTls } from './support/tls.ts';
import { echo } from './support/upstreams.ts';

const certificates = new CertificateFactory();
const ca = certificates.make('test ca', { isCa: true });
const otherCa = certificates.make('other ca', { isCa: true });
const server = certificates.make('upstream', { san: 'DNS:upstream.example,URI:spiffe://test/upstream', issuer: ca });
const expired = certificates.make('expired', { san: 'DNS:upstream.example', issuer: ca, days: -1 });
const client = certificates.make('client', { san: 'URI:spiffe://test/client', issuer: ca });
const trusted = { trusted_ca: { filename: ca.certificateFile } };

/** What the proxy did with each connection. */
interface Seen {
  sni: string | false;
  alpn: string | false | null;
  version: string | null;
  reused: boolean;
  client: string;
}

const seen: Seen[] = [];

async function httpsUpstream(certificate: { certificate: string; key: string }, extra: object = {}): Promise<number> {
  const upstream: Server = createHttpsServer(
    {
      cert: certificate.certificate,
      key: certificate.key,
      ca: ca.certificate,
      requestCert: true,
      rejectUnauthorized: false,
      ...extra,
    },
    echo,
  );
  upstream.on('secureConnection', (socket: TLSSocket & { servername?: string | false }) => {
    const peer = socket.getPeerCertificate();
    seen.push({
      sni: socket.servername ?? false,
      alpn: socket.alpnProtocol,
      version: socket.getProtocol(),
      reused: socket.isSessionReused(),
      client: peer?.subjectaltname ?? '',
    });
  });
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  closeAtEnd(() => {
    upstream.closeAllConnections();
    upstream.close();
  });
  return (upstream.address() as AddressInfo).port;
}

function spki(certificate: string): string {
  const pem = openssl(['x509', '-noout', '-pubkey'], certificate);
  return hash(Buffer.from(pem.replace(/-----.*-----|\n/g, ''), 'base64')).toString('base64');
}

function hash(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

describe('clusters with TLS', () => {
  let proxy: ProxyProcess;
  const close = {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http_protocol_options: {} },
        common_http_protocol_options: { max_requests_per_connection: 1 },
      },
    },
  };

  const httpOptions = (options: Json): Json => ({
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http_protocol_options: {} },
        upstream_http_protocol_options: options,
      },
    },
  });

  before(async () => {
    const good = await httpsUpstream(server);
    const old = await httpsUpstream(expired);
    const strict = await httpsUpstream(server, { rejectUnauthorized: true, minVersion: 'TLSv1.3' });
    const tls12 = await httpsUpstream(server, { maxVersion: 'TLSv1.2' });
    const raw = createTlsServer({ cert: server.certificate, key: server.key }, (socket) => socket.pipe(socket));
    raw.listen(0, '127.0.0.1');
    await once(raw, 'listening');
    closeAtEnd(() => raw.close());
    const rawPort = (raw.address() as AddressInfo).port;
    const san = (type: string, matcher: Json): Json => ({ match_typed_subject_alt_names: [{ san_type: type, matcher }] });
    const clusters: Record<string, Json> = {
      unverified: cluster('unverified', [good], { transport_socket: upstreamTls({}, { sni: 'upstream.example' }), ...close }),
      verified: cluster('verified', [good], {
        transport_socket: upstreamTls({ validation_context: { ...trusted, ...san('DNS', { exact: 'upstream.example' }) } }),
      }),
      uri: cluster('uri', [good], {
        transport_socket: upstreamTls({ validation_context: { ...trusted, ...san('URI', { prefix: 'spiffe://test/' }) } }),
      }),
      wrong_name: cluster('wrong_name', [good], {
        transport_socket: upstreamTls({ validation_context: { ...trusted, ...san('DNS', { exact: 'else.example' }) } }),
      }),
      wrong_ca: cluster('wrong_ca', [good], {
        transport_socket: upstreamTls({ validation_context: { trusted_ca: { filename: otherCa.certificateFile } } }),
      }),
      untrusted_ok: cluster('untrusted_ok', [good], {
        transport_socket: upstreamTls({
          validation_context: {
            trusted_ca: { filename: otherCa.certificateFile },
            trust_chain_verification: 'ACCEPT_UNTRUSTED',
          },
        }),
      }),
      expired: cluster('expired', [old], { transport_socket: upstreamTls({ validation_context: trusted }) }),
      expired_ok: cluster('expired_ok', [old], {
        transport_socket: upstreamTls({ validation_context: { ...trusted, allow_expired_certificate: true } }),
      }),
      pin: cluster('pin', [good], {
        transport_socket: upstreamTls({ validation_context: { verify_certificate_spki: [spki(server.certificate)] } }),
      }),
      wrong_pin: cluster('wrong_pin', [good], {
        transport_socket: upstreamTls({ validation_context: { verify_certificate_hash: ['00'.repeat(32)] } }),
      }),
      mtls: cluster('mtls', [strict], {
        transport_socket: upstreamTls({
          tls_certificates: [files(client)],
          validation_context: trusted,
          tls_params: { tls_maximum_protocol_version: 'TLSv1_3' },
        }),
      }),
      no_client_cert: cluster('no_client_cert', [strict], {
        transport_socket: upstreamTls({ tls_params: { tls_maximum_protocol_version: 'TLSv1_3' } }),
      }),
      resume12: cluster('resume12', [tls12], { transport_socket: upstreamTls(), ...close }),
      resume13: cluster('resume13', [good], {
        transport_socket: upstreamTls({ tls_params: { tls_maximum_protocol_version: 'TLSv1_3' } }),
        ...close,
      }),
      no_resume: cluster('no_resume', [good], { transport_socket: upstreamTls({}, { max_session_keys: 0 }), ...close }),
      auto_sni: cluster('auto_sni', [good], {
        transport_socket: upstreamTls({ validation_context: trusted }),
        ...httpOptions({ auto_sni: true, auto_san_validation: true }),
      }),
      header_sni: cluster('header_sni', [good], {
        transport_socket: upstreamTls(),
        ...httpOptions({ auto_sni: true, override_auto_sni_header: 'X-Sni' }),
      }),
      alpn: cluster('alpn', [good], { transport_socket: upstreamTls({ alpn_protocols: ['acme', 'http/1.1'] }) }),
      raw: cluster('raw', [rawPort], { transport_socket: upstreamTls() }),
    };
    const routes = Object.keys(clusters).map((name) => ({ match: { prefix: `/${name}/` }, route: { cluster: name } }));
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('http', [
            http('http', routes, {
              access_log: [
                fileLog(
                  'log',
                  '%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_TLS_VERSION% %UPSTREAM_PEER_URI_SAN% %UPSTREAM_TRANSPORT_FAILURE_REASON%',
                ),
              ],
            }),
          ]),
          listener('tcp', [tcpProxy('tcp', 'raw')]),
          listener('both', [], {
            filter_chains: [{ filters: [http('both', routes)], transport_socket: downstreamTls([files(server)]) }],
          }),
        ],
        Object.values(clusters),
      ),
    });
  });
  after(() => proxy.stop());

  const get = (name: string) => httpRequest(proxy.port('http'), `/${name}/`);
  const lineOf = async (name: string): Promise<string> => {
    const end = performance.now() + 45_000;
    for (;;) {
      const lines = await proxy.lines('log', 1);
      const line = lines.find((text) => text.startsWith(`/${name}/`));
      if (line !== undefined) return line;
      assert.ok(performance.now() < end, `no line of ${name}`);
    }
  };

  test('server name, ALPN of the pool, TLS 1.2 by default, peer facts', async () => {
    seen.length = 0;
    assert.equal((await get('unverified')).status, 200);
    assert.deepEqual(seen, [{ sni: 'upstream.example', alpn: 'http/1.1', version: 'TLSv1.2', reused: false, client: '' }]);
    assert.match(await lineOf('unverified'), /^\/unverified\/ 200 - TLSv1\.2 spiffe:\/\/test\/upstream -$/);
    assert.equal(await proxy.stat('cluster.unverified.ssl.handshake'), 1);
  });

  test('verification: name, URI, untrusted and expired where allowed, pin', async () => {
    for (const name of ['verified', 'uri', 'untrusted_ok', 'expired_ok', 'pin', 'alpn']) {
      assert.equal((await get(name)).status, 200, name);
    }
  });

  test('verification failures are connection failures with their reason, counted', async () => {
    const failures = {
      wrong_name: 'fail_verify_san',
      wrong_ca: 'fail_verify_error',
      expired: 'fail_verify_error',
      wrong_pin: 'fail_verify_cert_hash',
    };
    for (const [name, stat] of Object.entries(failures)) {
      const { status, body } = await get(name);
      assert.equal(status, 503, name);
      assert.match(body, /TLS_error:\|.*certificate verify failed/, name);
      assert.match(await lineOf(name), / 503 UF .*TLS_error:\|/);
      assert.ok((await proxy.stat(`cluster.${name}.ssl.${stat}`)) >= 1, stat);
      assert.equal(await proxy.stat(`cluster.${name}.ssl.connection_error`), 0);
    }
  });

  test('the server name follows the request, and the certificate has to have it', async () => {
    const ask = (name: string, headers: Record<string, string>) => httpRequest(proxy.port('http'), `/${name}/`, { headers });
    seen.length = 0;
    for (const host of ['upstream.example', 'UPSTREAM.example:8443', 'upstream.example']) {
      assert.equal((await ask('auto_sni', { host })).status, 200, host);
    }
    assert.deepEqual(
      seen.map(({ sni }) => sni),
      ['upstream.example'],
      'one connection for one name',
    );
    assert.equal((await ask('auto_sni', { host: 'else.example' })).status, 503);
    assert.equal((await ask('auto_sni', { host: '127.0.0.1' })).status, 503);
    assert.ok((await proxy.stat('cluster.auto_sni.ssl.fail_verify_san')) >= 2);
    seen.length = 0;
    for (const name of ['one.example', 'two.example', 'one.example']) {
      assert.equal((await ask('header_sni', { 'x-sni': name })).status, 200);
    }
    assert.equal((await ask('header_sni', {})).status, 200);
    assert.deepEqual(
      seen.map(({ sni }) => sni),
      ['one.example', 'two.example', false],
    );
  });

  test('more names than pools: old ones make room', async () => {
    for (let i = 0; i < 300; i++) {
      assert.equal(
        (await httpRequest(proxy.port('http'), '/header_sni/', { headers: { 'x-sni': `n${i}.example` } })).status,
        200,
      );
    }
    await proxy.untilStat('cluster.header_sni.upstream_cx_active', (n) => n <= 256);
  });

  test('client certificate', async () => {
    seen.length = 0;
    assert.equal((await get('mtls')).status, 200);
    assert.equal(seen[0].client, 'URI:spiffe://test/client');
    assert.equal(seen[0].version, 'TLSv1.3');
    assert.equal((await get('no_client_cert')).status, 503);
  });

  test('sessions are resumed, in TLS 1.2 and 1.3, unless that is off', async () => {
    for (const name of ['resume12', 'resume13', 'no_resume']) {
      seen.length = 0;
      for (let i = 0; i < 5; i++) assert.equal((await get(name)).status, 200);
      const reused = seen.map((connection) => connection.reused);
      if (name === 'resume12') assert.deepEqual(reused, [false, true, true, true, true]);
      // A ticket is used once, and this server sends new ones only with full handshakes.
      else if (name === 'resume13') assert.deepEqual(reused, [false, true, false, true, false]);
      else assert.deepEqual(reused, [false, false, false, false, false]);
    }
    assert.equal(await proxy.stat('cluster.resume13.ssl.session_reused'), 2);
  });

  test('TLS on both sides with a megabyte', async () => {
    const body = Buffer.alloc(1_000_000, 'x');
    const { text } = await tlsGet(
      proxy.port('both'),
      {},
      `POST /verified/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    assert.match(text, /"length":1000000/);
    assert.match(text, new RegExp(hash(body).toString('hex')));
  });

  test('tcp_proxy into TLS, with half-close', async () => {
    const socket = connect({ port: proxy.port('tcp'), host: '127.0.0.1', allowHalfOpen: true });
    socket.end('through');
    let text = '';
    for await (const chunk of socket) text += chunk;
    assert.equal(text, 'through');
  });
});

describe('what keys of certificates may be used for', () => {
  const usage = (keyUsage: string) =>
    certificates.make(keyUsage, { type: 'rsa', extensions: [`keyUsage=critical,${keyUsage}`], issuer: ca });
  const enciphers = usage('keyEncipherment');
  const signs = usage('digitalSignature');
  const enforce = { enforce_rsa_key_usage: true };
  const tls13 = { tls_params: { tls_maximum_protocol_version: 'TLSv1_3' } };
  const rsaExchange = { tls_params: { cipher_suites: ['AES128-GCM-SHA256'] } };
  // What the server shows, how it is asked, and whether it is accepted, overlooked or refused.
  const cases: [string, { certificate: string; key: string }, Json, Json, 'accepted' | 'overlooked' | 'refused'][] = [
    ['rsa_that_signs', signs, {}, enforce, 'accepted'],
    ['rsa_that_signs_13', signs, tls13, enforce, 'accepted'],
    ['rsa_that_enciphers', enciphers, {}, {}, 'overlooked'],
    ['rsa_that_enciphers_enforced', enciphers, {}, enforce, 'refused'],
    ['rsa_that_enciphers_verified', enciphers, { validation_context: trusted }, enforce, 'refused'],
    ['rsa_that_enciphers_13', enciphers, tls13, {}, 'refused'],
    ['rsa_exchange', enciphers, rsaExchange, enforce, 'accepted'],
    ['rsa_exchange_that_signs', signs, rsaExchange, {}, 'overlooked'],
    ['rsa_exchange_that_signs_enforced', signs, rsaExchange, enforce, 'refused'],
  ];
  let proxy: ProxyProcess;
  before(async () => {
    const ciphers = 'ECDHE-RSA-AES128-GCM-SHA256:AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256';
    const clusters: Json[] = [];
    for (const [name, certificate, common, extra] of cases) {
      const port = await httpsUpstream(certificate, { ciphers });
      clusters.push(cluster(name, [port], { transport_socket: upstreamTls(common, extra) }));
    }
    const routes = cases.map(([name]) => ({ match: { path: `/${name}/` }, route: { cluster: name } }));
    const asks = { tls_params: { tls_maximum_protocol_version: 'TLSv1_2' }, validation_context: trusted };
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('http', [http('http', routes)]),
          listener('server', [], {
            filter_chains: [{ filters: [http('server', routes)], transport_socket: downstreamTls([files(server)], asks) }],
          }),
        ],
        clusters,
      ),
    });
  });
  after(() => proxy.stop());

  for (const [name, , , , expected] of cases) {
    test(`${name.replaceAll('_', ' ')}: ${expected}`, async () => {
      const { status, body } = await httpRequest(proxy.port('http'), `/${name}/`);
      assert.equal(status, expected === 'refused' ? 503 : 200);
      if (expected === 'refused') assert.match(body, /KEY_USAGE_BIT_INCORRECT/);
      const stat = (which: string): Promise<number> => proxy.stat(`cluster.${name}.ssl.${which}`);
      assert.equal(await stat('was_key_usage_invalid'), expected === 'overlooked' ? 1 : 0);
      assert.equal((await stat('connection_error')) > 0, expected === 'refused');
      assert.equal(await stat('fail_verify_error'), 0);
    });
  }

  test('a client certificate that does not sign is refused', async () => {
    for (const [certificate, accepted] of [
      [signs, true],
      [enciphers, false],
    ] as const) {
      const asked = tlsGet(proxy.port('server'), { cert: certificate.certificate, key: certificate.key });
      if (accepted) assert.match((await asked).text, /^HTTP\/1\.1 404/);
      else await assert.rejects(asked);
    }
  });
});

describe('TLS of clusters that cannot be', () => {
  for (const field of ['allow_renegotiation']) {
    test(field, async () => {
      const refused = cluster('x', [1], { transport_socket: upstreamTls({}, { [field]: true }) });
      await assert.rejects(
        startProxy({ config: bootstrap([], [refused]) }),
        new RegExp(`UpstreamTlsContext\\.${field} is not supported`),
      );
    });
  }
});
