/** L4 on real sockets: weights, limits, PROXY protocol, SNI passthrough, unix sockets, half-close. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, listener, listenerFilter, networkFilter, tcpProxy } from './support/config.ts';
import { dial, type RawUpstream, rawUpstream, unusedPort } from './support/raw.ts';
import { needs } from './support/upstreams.ts';

for (const backend of BACKENDS) {
  describe(`tcp_proxy on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    const upstreams: RawUpstream[] = [];
    let directory = '';

    before(async () => {
      directory = mkdtempSync(join(tmpdir(), 'sluice-tcp-'));
      // Each says who it is, then echoes; what ends is ended.
      const serve = (name: string) => (wire: { socket: NodeJS.ReadWriteStream }) => {
        wire.socket.write(`${name} `);
        wire.socket.pipe(wire.socket);
      };
      for (const name of ['a', 'b']) upstreams.push(await rawUpstream(serve(name), 0, false));
      upstreams.push(await rawUpstream(serve('u'), join(directory, 'up.sock'), false));
      const [a, b] = upstreams;
      const log = (name: string, format: string): Json => ({ access_log: [fileLog(name, format)] });
      const weighted = {
        weighted_clusters: {
          clusters: [
            { name: 'a', weight: 3 },
            { name: 'b', weight: 1 },
          ],
        },
      };
      const pp = [listenerFilter('proxy_protocol')];
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener('plain', [
              tcpProxy('plain', 'a', log('tcp.log', '%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST%')),
            ]),
            listener('weighted', [tcpProxy('weighted', weighted)]),
            listener('limited', [
              networkFilter('connection_limit', { stat_prefix: 'two', max_connections: 2 }),
              tcpProxy('limited', 'a'),
            ]),
            listener('pp', [tcpProxy('pp', 'a', log('pp.log', '%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%'))], {
              listener_filters: pp,
            }),
            listener('refused', [
              tcpProxy('refused', 'refused', { max_connect_attempts: 2, ...log('refused.log', '%RESPONSE_FLAGS%') }),
            ]),
            listener('idle', [tcpProxy('idle', 'a', { idle_timeout: '0.2s' })]),
            listener('unix', [tcpProxy('unix', 'unix')], {
              address: { pipe: { path: join(directory, 'down.sock'), mode: 0o600 } },
            }),
            listener('direct', [networkFilter('echo', {})], {
              filter_chains: [
                {
                  filters: [
                    {
                      name: 'd',
                      typed_config: {
                        '@type': 'type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config',
                        response: { inline_string: 'bye' },
                      },
                    },
                  ],
                },
              ],
            }),
          ],
          [
            cluster('a', [a.port]),
            cluster('b', [b.port]),
            cluster('unix', [join(directory, 'up.sock')]),
            cluster('refused', [await unusedPort()]),
          ],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      for (const upstream of upstreams) await upstream.close();
      rmSync(directory, { recursive: true, force: true });
    });

    test('bytes both ways, half-close both ways, and what the access log says', async () => {
      const client = await dial(proxy.port('plain'));
      client.send('hello');
      await client.untilText('a hello');
      client.end();
      await client.until(() => client.ended, 'the end from the other side');
      assert.equal(client.text, 'a hello');
      assert.deepEqual(await proxy.lines('tcp.log', 1), [`- 5 7 127.0.0.1:${upstreams[0].port}`]);
      assert.equal(await proxy.stat('tcp.plain.downstream_cx_total'), 1);
      assert.equal(await proxy.stat('tcp.plain.downstream_cx_rx_bytes_total'), 5);
      assert.equal(await proxy.stat('tcp.plain.downstream_cx_tx_bytes_total'), 7);
    });

    test('the upstream may end first, and the client go on', async () => {
      const own = await rawUpstream();
      const other = await startProxy({
        backend,
        config: bootstrap([listener('t', [tcpProxy('t', 'own')])], [cluster('own', [own.port])]),
      });
      const client = await dial(other.port('t'));
      const server = await own.connection(0);
      server.send('last').end();
      await client.until(() => client.ended, 'the end');
      assert.equal(client.text, 'last');
      client.send('but I go on');
      await server.untilText('but I go on');
      client.end();
      await server.until(() => server.ended, 'the end');
      await other.untilStat('listener.t.downstream_cx_active', (n) => n === 0);
      await other.stop();
      await own.close();
    });

    test('weighted clusters share connections by weight', async () => {
      const counts: Record<string, number> = { a: 0, b: 0 };
      for (let i = 0; i < 80; i++) {
        const client = await dial(proxy.port('weighted'));
        await client.until(() => client.text.length > 0);
        counts[client.text[0]]++;
        client.destroy();
      }
      // 60 expected, standard deviation 3.9.
      assert.ok(counts['a'] > 40 && counts['b'] > 2, JSON.stringify(counts));
    });

    test('connection_limit closes what is above it', async () => {
      const held = [await dial(proxy.port('limited')), await dial(proxy.port('limited'))];
      for (const wire of held) await wire.untilText('a ');
      const third = await dial(proxy.port('limited'));
      await third.untilClosed();
      assert.equal(third.text, '');
      assert.equal(await proxy.stat('connection_limit.two.limited_connections'), 1);
      held[0].destroy();
      await proxy.untilStat('connection_limit.two.active_connections', (n) => n === 1);
      const fourth = await dial(proxy.port('limited'));
      await fourth.untilText('a ');
      for (const wire of [...held, fourth]) wire.destroy();
    });

    test('PROXY protocol v1, v2 and LOCAL; none and damaged ones are closed', async () => {
      const v2 = Buffer.concat([
        Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'),
        Buffer.from([0x21, 0x11, 0, 12, 10, 1, 2, 3, 10, 9, 8, 7, 0x12, 0x34, 0, 80]),
      ]);
      const local = Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), Buffer.from([0x20, 0, 0, 0])]);
      const port = proxy.port('pp');
      const cases: [Buffer | string, RegExp][] = [
        ['PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n', /^1\.2\.3\.4:1111 5\.6\.7\.8:2222$/],
        ['PROXY TCP6 2001:db8::1 2001:db8::2 3333 4444\r\n', /^\[2001:db8::1\]:3333 \[2001:db8::2\]:4444$/],
        [v2, /^10\.1\.2\.3:4660 10\.9\.8\.7:80$/],
        [local, new RegExp(`^127\\.0\\.0\\.1:\\d+ 127\\.0\\.0\\.1:${port}$`)],
      ];
      for (const [i, [header, expected]] of cases.entries()) {
        const client = await dial(port);
        client.send(header).send('x');
        await client.untilText('a x');
        client.end();
        assert.match((await proxy.lines('pp.log', i + 1))[i], expected);
        client.destroy();
      }
      for (const header of [
        'GET / HTTP/1.1\r\n\r\n',
        'PROXY TCP4 1.2.3.4\r\n',
        `${v2.toString('latin1', 0, 12)}\x31\x11\0\x0c`,
      ]) {
        const client = await dial(port);
        client.send(header);
        await client.untilClosed();
        assert.equal(client.text, '');
      }
    });

    test('a refused upstream is tried again, then the client is closed with UF and URX', async () => {
      const client = await dial(proxy.port('refused'));
      await client.untilClosed();
      assert.deepEqual(await proxy.lines('refused.log', 1), ['UF,URX']);
      assert.equal(await proxy.stat('cluster.refused.upstream_cx_connect_fail'), 2);
      assert.equal(await proxy.stat('cluster.refused.upstream_cx_connect_attempts_exceeded'), 1);
    });

    test('idle_timeout, direct_response, unix sockets', async () => {
      const idle = await dial(proxy.port('idle'));
      await idle.untilClosed();
      assert.equal(await proxy.stat('tcp.idle.idle_timeout'), 1);
      const direct = await dial(proxy.port('direct'));
      await direct.untilClosed();
      assert.equal(direct.text, 'bye');
      const unix = await dial({ path: join(directory, 'down.sock'), allowHalfOpen: true });
      unix.send('over files');
      await unix.untilText('u over files');
      unix.end();
      await unix.until(() => unix.ended, 'the end');
    });

    test('every connection and buffer is given back', async () => {
      await until(async () => {
        const stats = await proxy.stats('(downstream|upstream)_cx_active$');
        return [...stats].every(([, value]) => value === 0);
      }, 'all connections to end');
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
    });
  });
}

describe('TLS passed through by SNI', { skip: needs('openssl') }, () => {
  test('the filter chain is chosen by server name, the bytes stay as they are', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-sni-'));
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=test',
        '-keyout',
        key,
        '-out',
        cert,
      ],
      { stdio: 'ignore' },
    );
    const node = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) =>
      socket.end(`node ${socket.servername}`),
    );
    node.on('tlsClientError', () => {});
    node.listen(0, '127.0.0.1');
    await once(node, 'listening');
    const opensslPort = await unusedPort();
    const openssl = spawn('openssl', ['s_server', '-accept', `127.0.0.1:${opensslPort}`, '-key', key, '-cert', cert, '-www'], {
      stdio: 'ignore',
    });
    const plain = await rawUpstream((wire) => void wire.send('plain').end());
    const chain = (match: Json, target: string): Json => ({ filter_chain_match: match, filters: [tcpProxy(target, target)] });
    const proxy = await startProxy({
      config: bootstrap(
        [
          {
            ...listener('sni', [], { listener_filters: [listenerFilter('tls_inspector')] }),
            filter_chains: [
              chain({ server_names: ['node.example'], transport_protocol: 'tls' }, 'node'),
              chain({ server_names: ['*.openssl.example'], transport_protocol: 'tls' }, 'openssl'),
              chain({ transport_protocol: 'raw_buffer' }, 'plain'),
            ],
          },
        ],
        [
          cluster('node', [(node.address() as AddressInfo).port]),
          cluster('openssl', [opensslPort]),
          cluster('plain', [plain.port]),
        ],
      ),
    });
    t.after(async () => {
      await proxy.stop();
      openssl.kill();
      node.close();
      await plain.close();
      rmSync(directory, { recursive: true, force: true });
    });
    const tls = async (servername: string, send = ''): Promise<string> => {
      const socket = tlsConnect({ port: proxy.port('sni'), host: '127.0.0.1', servername, rejectUnauthorized: false });
      let text = '';
      socket.setEncoding('latin1').on('data', (part: string) => {
        text += part;
      });
      if (send !== '') socket.write(send);
      await new Promise<void>((resolve, reject) => socket.once('end', resolve).once('error', reject));
      socket.destroy();
      return text;
    };
    assert.equal(await tls('node.example'), 'node node.example');
    assert.equal(await tls('NODE.example'), 'node NODE.example');
    await until(
      async () => (await tls('a.openssl.example', 'GET / HTTP/1.0\r\n\r\n')).startsWith('HTTP/1.0 200 ok'),
      'openssl s_server',
    );
    assert.equal(await tls('nobody.example').catch(() => ''), '');
    const raw = await dial(proxy.port('sni'));
    raw.send('not tls at all');
    await raw.untilText('plain');
    raw.destroy();
    const stats = await proxy.stats();
    assert.ok(stats.get('tls_inspector.sni_found')! >= 4);
    assert.equal(stats.get('tls_inspector.tls_not_found'), 1);
    assert.equal(stats.get('listener.sni.no_filter_chain_match'), 1);
  });
});
