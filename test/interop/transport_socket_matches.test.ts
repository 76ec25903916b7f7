/** Clusters whose hosts get their transport socket by metadata: plain text beside TLS, one by one, from localities, for TCP and HTTP. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { CertificateFactory } from '../support/certificates.ts';
import { closeAtEnd, httpRequest, type Json, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, http, listener, route, tcpProxy } from './support/config.ts';
import { dial } from './support/raw.ts';
import { upstreamTls } from './support/tls.ts';
import { httpUpstream } from './support/upstreams.ts';

const certificates = new CertificateFactory();
const server = certificates.make('upstream', { san: 'DNS:a.example,DNS:b.example' });

/** An endpoint with `envoy.transport_socket_match` metadata. */
function endpoint(port: number, labels?: Json): Json {
  const metadata = labels === undefined ? {} : { metadata: { filter_metadata: { 'envoy.transport_socket_match': labels } } };
  return { endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } }, ...metadata };
}

function matching(name: string, groups: Json[], extra: Json = {}): Json {
  return { name, type: 'STATIC', connect_timeout: '2s', load_assignment: { cluster_name: name, endpoints: groups }, ...extra };
}

const tlsTo = (sni: string): Json => upstreamTls({}, { sni });
const MATCHES: Json[] = [
  { name: 'a', match: { tls: true, to: 'a' }, transport_socket: tlsTo('a.example') },
  { name: 'b', match: { tls: true }, transport_socket: tlsTo('b.example') },
  {
    name: 'plain',
    match: { plain: { deep: [1, 'x'] } },
    transport_socket: {
      name: 'envoy.transport_sockets.raw_buffer',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer' },
    },
  },
];

describe('transport_socket_matches', () => {
  let proxy: ProxyProcess;

  before(async () => {
    const plain = await httpUpstream((_, response) => response.end('plain'));
    const secure = createHttpsServer({ cert: server.certificate, key: server.key }, (request, response) => {
      response.end(`tls ${(request.socket as TLSSocket & { servername: string | false }).servername}`);
    });
    secure.listen(0, '127.0.0.1');
    await once(secure, 'listening');
    closeAtEnd(() => {
      secure.closeAllConnections();
      secure.close();
    });
    const tls = (secure.address() as AddressInfo).port;
    const one = (name: string, port: number, labels: Json | undefined, extra: Json = {}): Json =>
      matching(name, [{ lb_endpoints: [endpoint(port, labels)] }], { transport_socket_matches: MATCHES, ...extra });
    const clusters = [
      one('first', tls, { tls: true, to: 'a', more: 1 }),
      one('second', tls, { tls: true, to: 'else' }),
      one('deep', plain.port, { plain: { deep: [1, 'x'] } }, { transport_socket: tlsTo('wrong') }),
      one('default_tls', tls, { tls: 'true' }, { transport_socket: tlsTo('default.example') }),
      one('default_plain', plain.port, undefined),
      matching('any', [{ lb_endpoints: [endpoint(tls)] }], {
        transport_socket_matches: [{ name: 'any', transport_socket: tlsTo('any.example') }],
      }),
      matching('both', [{ lb_endpoints: [endpoint(tls, { tls: true }), endpoint(plain.port)] }], {
        transport_socket_matches: MATCHES,
      }),
      matching(
        'locality',
        [
          {
            metadata: { filter_metadata: { 'envoy.transport_socket_match': { tls: true } } },
            lb_endpoints: [endpoint(tls), endpoint(plain.port, { other: 1 })],
          },
        ],
        { transport_socket_matches: MATCHES },
      ),
    ];
    proxy = await startProxy({
      concurrency: 1,
      config: bootstrap(
        [
          listener('http', [
            http(
              'http',
              clusters.map((one) => route(`/${String(one.name)}/`, String(one.name))),
            ),
          ]),
          listener('tcp', [tcpProxy('tcp', 'first')]),
        ],
        clusters,
      ),
    });
  });
  after(() => proxy.stop());

  const get = async (name: string): Promise<string> => (await httpRequest(proxy.port('http'), `/${name}/`)).body;

  test('the first match whose labels the endpoint has, by value', async () => {
    assert.equal(await get('first'), 'tls a.example');
    assert.equal(await get('second'), 'tls b.example');
    assert.equal(await get('deep'), 'plain');
    assert.equal(await proxy.stat('cluster.first.a.total_match_count'), 1);
    assert.equal(await proxy.stat('cluster.first.b.total_match_count'), 0);
  });

  test("without a match the cluster's socket, or plain text; a match without labels takes all", async () => {
    assert.equal(await get('default_tls'), 'tls default.example');
    assert.equal(await get('default_plain'), 'plain');
    assert.equal(await get('any'), 'tls any.example');
    assert.equal(await proxy.stat('cluster.default_tls.default.total_match_count'), 1);
  });

  test('hosts of one cluster have different ones', async () => {
    const answers = new Set([await get('both'), await get('both'), await get('both'), await get('both')]);
    assert.deepEqual([...answers].sort(), ['plain', 'tls b.example']);
  });

  test("the locality's metadata where the endpoint has none of its own", async () => {
    const answers = new Set([await get('locality'), await get('locality'), await get('locality'), await get('locality')]);
    assert.deepEqual([...answers].sort(), ['plain', 'tls b.example']);
  });

  test('tcp_proxy', async () => {
    const wire = await dial(proxy.port('tcp'));
    wire.send('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    // Without a name: node:tls has none for a session that is resumed.
    await wire.untilText('tls ');
    wire.destroy();
  });

  const wrong: [what: string, matches: Json[], extra: Json, expected: RegExp][] = [
    [
      'two of one name',
      [MATCHES[0], MATCHES[0]],
      {},
      /transport_socket_matches\[1\].*Multiple transport socket matches with the same name: a/,
    ],
    [
      'a socket that is not supported',
      [{ name: 'x', transport_socket: { name: 'alts' } }],
      {},
      /transport_socket_matches\[0\]\.transport_socket/,
    ],
    [
      'plain text under auto_config',
      MATCHES,
      {
        transport_socket: tlsTo('a'),
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
            auto_config: {},
          },
        },
      },
      /non-ALPN transport socket/,
    ],
  ];
  for (const [what, transport_socket_matches, extra, expected] of wrong) {
    test(`refused: ${what}`, async () => {
      const broken = matching('x', [{ lb_endpoints: [endpoint(1)] }], { transport_socket_matches, ...extra });
      await assert.rejects(
        startProxy({ config: bootstrap([listener('x', [http('x', [route('/', 'x')])])], [broken]) }),
        expected,
      );
    });
  }
});
