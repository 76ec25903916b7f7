/** Secrets by name: in the bootstrap, and in files that change (SDS by path_config_source), on listeners and clusters. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { CertificateFactory, type TestCertificate } from '../support/certificates.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from './support/config.ts';
import { downstreamTls, files, readToEnd, tlsConnect, tlsGet, upstreamTls } from './support/tls.ts';

const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
const certificates = new CertificateFactory();
const ca = certificates.make('test ca', { isCa: true });
const otherCa = certificates.make('other ca', { isCa: true });
const first = certificates.make('first', { san: 'DNS:first.example', issuer: ca });
const second = certificates.make('second', { san: 'DNS:second.example', issuer: ca });
const third = certificates.make('third', { san: 'DNS:third.example', issuer: ca });
const client = certificates.make('client', { san: 'URI:spiffe://test/client', issuer: ca });
const otherClient = certificates.make('other client', { san: 'URI:spiffe://test/other', issuer: otherCa });
const file = (name: string): string => join(certificates.directory, name);

/** As a directory of mounted secrets, or a program that writes beside and renames, would do it. */
function write(name: string, secrets: Json[]): void {
  const text = JSON.stringify({ version_info: '1', resources: secrets.map((secret) => ({ '@type': SECRET, ...secret })) });
  writeFileSync(file(`${name}.new`), text);
  renameSync(file(`${name}.new`), file(name));
}

const inline = (certificate: TestCertificate): Json => ({
  certificate_chain: { inline_string: certificate.certificate },
  private_key: { inline_string: certificate.key },
});
const from = (name: string, path?: string): Json =>
  path === undefined ? { name } : { name, sds_config: { path_config_source: { path: file(path) }, resource_api_version: 'V3' } };
const trust = (issuer: TestCertificate): Json => ({ trusted_ca: { inline_string: issuer.certificate } });

const ONE_REQUEST = {
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
    explicit_http_config: { http_protocol_options: {} },
    common_http_protocol_options: { max_requests_per_connection: 1 },
  },
};

function tlsListener(name: string, common: Json, extra: Json = {}): Json {
  const routes = [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: name } } }];
  return listener(name, [], {
    filter_chains: [
      {
        filters: [http(name, routes)],
        transport_socket: downstreamTls((common.tls_certificates as Json[] | undefined) ?? [], common, extra),
      },
    ],
  });
}

const REQUIRED = { require_client_certificate: true };

describe('TLS secrets by name', () => {
  let proxy: ProxyProcess;
  const upstreams: ProxyProcess[] = [];

  before(async () => {
    write('server.json', [
      { name: 'server', tls_certificate: inline(first) },
      { name: 'unused', tls_certificate: inline(second) },
    ]);
    write('ca.json', [{ name: 'ca', validation_context: trust(ca) }]);
    write('upstream_ca.json', [{ name: 'ca', validation_context: trust(ca) }]);
    write('client.json', [{ name: 'client', tls_certificate: files(client) }]);
    write('tickets.json', [{ name: 'tickets', session_ticket_keys: { keys: [{ inline_string: 'k'.repeat(80) }] } }]);
    writeFileSync(
      file('server.yaml'),
      `resources:
- "@type": ${SECRET}
  name: server
  tls_certificate:
    certificate_chain: { filename: ${first.certificateFile} }
    private_key: { filename: ${first.keyFile} }
`,
    );
    const server = { tls_certificate_sds_secret_configs: [from('server', 'server.json')] };
    const upstream = await startProxy({
      config: bootstrap([
        tlsListener('upstream', { tls_certificates: [files(second)], validation_context: trust(ca) }, REQUIRED),
      ]),
    });
    upstreams.push(upstream);
    const config = bootstrap(
      [
        tlsListener('file', server),
        tlsListener('yaml', { tls_certificate_sds_secret_configs: [from('server', 'server.yaml')] }),
        tlsListener('fixed', { tls_certificate_sds_secret_configs: [from('fixed')] }),
        tlsListener('mutual', { ...server, validation_context_sds_secret_config: from('ca', 'ca.json') }, REQUIRED),
        tlsListener(
          'combined',
          {
            ...server,
            combined_validation_context: {
              default_validation_context: {
                match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'spiffe://test/client' } }],
              },
              validation_context_sds_secret_config: from('ca', 'ca.json'),
            },
          },
          REQUIRED,
        ),
        tlsListener('tickets', server, { session_ticket_keys_sds_secret_config: from('tickets', 'tickets.json') }),
        listener('plain', [http('plain', [route('/', 'upstream')])]),
      ],
      [
        cluster('upstream', [upstream.port('upstream')], {
          transport_socket: upstreamTls({
            tls_certificate_sds_secret_configs: [from('client', 'client.json')],
            validation_context_sds_secret_config: from('ca', 'upstream_ca.json'),
          }),
          typed_extension_protocol_options: ONE_REQUEST,
        }),
      ],
    );
    (config.static_resources as Json).secrets = [{ name: 'fixed', tls_certificate: inline(third) }];
    proxy = await startProxy({ concurrency: 2, config });
  });
  after(async () => {
    await proxy.stop();
    for (const one of upstreams) await one.stop();
  });

  const nameOf = async (name: string): Promise<string> => (await tlsGet(proxy.port(name))).peer.subjectaltname ?? '';
  const as = (certificate: TestCertificate): Json => ({ cert: certificate.certificate, key: certificate.key });

  test('from a file as JSON and YAML, and from the bootstrap', async () => {
    assert.equal(await nameOf('file'), 'DNS:first.example');
    assert.equal(await nameOf('yaml'), 'DNS:first.example');
    assert.equal(await nameOf('fixed'), 'DNS:third.example');
  });

  test('validation contexts, alone and over a default', async () => {
    assert.match((await tlsGet(proxy.port('mutual'), as(client))).text, /mutual$/);
    assert.match((await tlsGet(proxy.port('combined'), as(client))).text, /combined$/);
    for (const name of ['mutual', 'combined']) await assert.rejects(tlsGet(proxy.port(name), as(otherClient)));
    await assert.rejects(tlsGet(proxy.port('combined'), as(first)), 'the name is not allowed');
    assert.match((await tlsGet(proxy.port('mutual'), as(first))).text, /mutual$/);
  });

  test('ticket keys', async () => {
    const options = { maxVersion: 'TLSv1.2' } as const;
    const socket = await tlsConnect(proxy.port('tickets'), options);
    const session = socket.getSession();
    socket.destroy();
    assert.equal((await tlsGet(proxy.port('tickets'), { ...options, session })).reused, true);
  });

  test('a cluster: certificate and CA', async () => {
    const answer = await httpRequest(proxy.port('plain'), '/');
    assert.equal(answer.body, 'upstream');
  });

  test('a file that changes: new connections have the new certificate, old ones go on', async () => {
    const old: TLSSocket = await tlsConnect(proxy.port('file'));
    write('server.json', [{ name: 'server', tls_certificate: inline(second) }]);
    await proxy.untilStat('listener.file.server_ssl_socket_factory.ssl_context_update_by_sds', (n) => n === 2);
    assert.equal(await nameOf('file'), 'DNS:second.example');
    assert.equal(await nameOf('yaml'), 'DNS:first.example');
    old.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    assert.match((await readToEnd(old)).toString(), /file$/);
  });

  test('CAs change, on listeners and clusters', async () => {
    write('ca.json', [{ name: 'ca', validation_context: trust(otherCa) }]);
    await proxy.untilStat('listener.mutual.server_ssl_socket_factory.ssl_context_update_by_sds', (n) => n >= 4);
    assert.match((await tlsGet(proxy.port('mutual'), as(otherClient))).text, /mutual$/);
    await assert.rejects(tlsGet(proxy.port('mutual'), as(client)));
    write('upstream_ca.json', [{ name: 'ca', validation_context: trust(otherCa) }]);
    await proxy.untilStat('cluster.upstream.client_ssl_socket_factory.ssl_context_update_by_sds', (n) => n === 2);
    assert.equal((await httpRequest(proxy.port('plain'), '/')).status, 503);
    write('upstream_ca.json', [{ name: 'ca', validation_context: trust(ca) }]);
    await proxy.untilStat('cluster.upstream.client_ssl_socket_factory.ssl_context_update_by_sds', (n) => n === 4);
    assert.equal((await httpRequest(proxy.port('plain'), '/')).status, 200);
  });

  test('what cannot be used is told, the old stays; then the next is taken', async () => {
    const rejected = await proxy.stat('sds.update_rejected');
    writeFileSync(file('server.json'), '{ "resources": [ { "@type": ');
    await proxy.untilStat('sds.update_rejected', (n) => n > rejected);
    assert.equal(await nameOf('file'), 'DNS:second.example');
    const failed = await proxy.stat('listener.file.ssl.context_reload_failed');
    write('server.json', [{ name: 'server', tls_certificate: { ...inline(third), private_key: { inline_string: first.key } } }]);
    await proxy.untilStat('listener.file.ssl.context_reload_failed', (n) => n >= failed + 2);
    assert.equal(await nameOf('file'), 'DNS:second.example');
    write('server.json', [{ name: 'server', validation_context: trust(ca) }]);
    await proxy.untilStat('listener.file.ssl.context_reload_failed', (n) => n >= failed + 4);
    assert.equal(await nameOf('file'), 'DNS:second.example');
    write('server.json', []);
    write('server.json', [{ name: 'server', tls_certificate: inline(third) }]);
    await until(async () => (await nameOf('file')) === 'DNS:third.example', 'the third certificate');
  });

  test('the files that a secret names are followed, too', async () => {
    const [chain, key] = [file('c.pem'), file('k.pem')];
    writeFileSync(chain, first.certificate);
    writeFileSync(key, first.key);
    write('server.json', [
      { name: 'server', tls_certificate: { certificate_chain: { filename: chain }, private_key: { filename: key } } },
    ]);
    await until(async () => (await nameOf('file')) === 'DNS:first.example', 'the first certificate');
    writeFileSync(key, second.key);
    writeFileSync(chain, second.certificate);
    await until(async () => (await nameOf('file')) === 'DNS:second.example', 'the second certificate');
  });
});

describe('secrets that cannot be', () => {
  const one = (common: Json): Json => bootstrap([tlsListener('x', common)]);
  const cases: [string, Json, RegExp][] = [
    ['no file', { tls_certificate_sds_secret_configs: [from('x', 'nonexistent.json')] }, /Invalid path: .*nonexistent\.json/],
    [
      'no secret of the name',
      { tls_certificate_sds_secret_configs: [from('x', 'good.json')] },
      /Unknown secret 'x': .*good\.json has none/,
    ],
    [
      'no static secret',
      { tls_certificate_sds_secret_configs: [from('x')] },
      /Unknown secret 'x': static_resources\.secrets has none/,
    ],
    ['another kind', { tls_certificate_sds_secret_configs: [from('ca', 'good.json')] }, /the secret 'ca' is no tls_certificate/],
    ['the same name twice', { tls_certificate_sds_secret_configs: [from('a', 'twice.json')] }, /duplicate secret 'a'/],
    ['another type of resource', { tls_certificate_sds_secret_configs: [from('a', 'type.json')] }, /type\.json:1:\d+.*Cluster/],
    ['a mistake in it', { tls_certificate_sds_secret_configs: [from('a', 'typo.json')] }, /typo\.json:1:\d+.*tls_certifcate/],
    [
      'a private key provider',
      { tls_certificate_sds_secret_configs: [from('a', 'provider.json')] },
      /private_key_provider is not supported/,
    ],
    [
      'both',
      { tls_certificates: [files(first)], tls_certificate_sds_secret_configs: [from('a', 'twice.json')] },
      /duplicate secret|only one of/,
    ],
  ];
  before(() => {
    write('good.json', [{ name: 'ca', validation_context: trust(ca) }]);
    write('twice.json', [
      { name: 'a', tls_certificate: inline(first) },
      { name: 'a', tls_certificate: inline(first) },
    ]);
    write('type.json', [{ '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', name: 'a' }]);
    write('typo.json', [{ name: 'a', tls_certifcate: inline(first) }]);
    write('provider.json', [{ name: 'a', tls_certificate: { private_key_provider: { provider_name: 'x' } } }]);
  });
  for (const [what, common, expected] of cases) {
    test(what, async () => {
      await assert.rejects(startProxy({ config: one(common) }), expected);
    });
  }
});
