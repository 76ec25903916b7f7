/** Listeners, listener filters and L4 filters over real loopback sockets, on every socket interface. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { connect as tlsConnect, createServer as tlsServer } from 'node:tls';
import { BACKENDS, skipReason } from '../../support/dispatchers.ts';
import {
  chain,
  closedPort,
  ECHO,
  type ExtensionConfig,
  HTTP_INSPECTOR,
  LISTENER_LOG,
  limit,
  listener,
  pattern,
  proxyProtocolFilter,
  proxyTo,
  readAll,
  respond,
  SNI_CLUSTER,
  startHandler,
  startServer,
  TLS_INSPECTOR,
} from './listener_rig.ts';

const SLOWLY = { durationMs: 600_000, strategy: 'gradual' } as const;
const AT_ONCE = { durationMs: 0, strategy: 'immediate' } as const;

const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

for (const backend of BACKENDS) {
  describe(`listeners on ${backend}`, { skip: skipReason(backend) }, () => {
    test('echo: connections are counted, logged and leave nothing behind', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([ECHO], {}, 'only')], { accessLog: LISTENER_LOG })]);
      const socket = await rig.connect();
      const sent = pattern(300_000);
      socket.write(sent);
      const got: Buffer[] = [];
      let length = 0;
      for await (const part of socket) {
        got.push(part as Buffer);
        length += (part as Buffer).length;
        if (length === sent.length) break;
      }
      assert.equal(sha(Buffer.concat(got)), sha(sent));
      await rig.until(() => rig.counter('listener.l.downstream_cx_destroy') === 1, 'the connection to be gone');
      assert.equal(rig.counter('listener.l.downstream_cx_total'), 1);
      assert.equal(rig.gauge('listener.l.downstream_cx_active'), 0);
      assert.equal(rig.counter('listener.l.worker_0.downstream_cx_total'), 1);
      assert.equal(rig.gauge('listener.l.worker_0.downstream_cx_active'), 0);
      assert.equal(rig.handler.connectionCount, 0);
      assert.deepEqual(rig.context.logged, ['- - only 127.0.0.1 -\n']);
      await rig.until(() => rig.loop.dispatcher.blocksHeld === 0, 'buffers to be released');
    });

    test('direct_response answers and closes', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([respond('hello')])])]);
      const socket = await rig.connect();
      assert.equal((await readAll(socket)).toString(), 'hello');
      await rig.until(() => rig.gauge('listener.l.downstream_cx_active') === 0, 'the connection to be gone');
    });

    test('connection_limit in front of tcp_proxy', async (t) => {
      const upstream = await startServer(t, (socket) => socket.pipe(socket));
      const rig = startHandler(t, backend, [listener([chain([limit(1), proxyTo('c')])])], { c: upstream.port });
      const first = await rig.connect();
      first.write('x');
      await once(first, 'data');
      const second = await rig.connect();
      assert.equal((await readAll(second)).length, 0);
      assert.equal(rig.counter('connection_limit.l.limited_connections'), 1);
      first.destroy();
      await rig.until(() => rig.gauge('connection_limit.l.active_connections') === 0, 'the count to fall');
    });

    test('tcp_proxy: megabytes both ways with half-close, byte-exact', async (t) => {
      const answer = pattern(2_000_003);
      const received: Buffer[] = [];
      const upstream = await startServer(t, (socket) => {
        socket.on('data', (data: Buffer) => received.push(data));
        socket.on('end', () => socket.end(answer));
      });
      const rig = startHandler(t, backend, [listener([chain([proxyTo('c')])])], { c: upstream.port });
      const request = pattern(3_000_001);
      const got = await rig.exchange(request);
      assert.equal(sha(Buffer.concat(received)), sha(request));
      assert.equal(sha(got), sha(answer));
      await rig.until(() => rig.gauge('listener.l.downstream_cx_active') === 0, 'the connection to be gone');
      assert.equal(rig.counter('tcp.p.downstream_cx_rx_bytes_total'), request.length);
      assert.equal(rig.counter('tcp.p.downstream_cx_tx_bytes_total'), answer.length);
      assert.equal(rig.gauge('tcp.p.downstream_cx_tx_bytes_buffered'), 0);
      await rig.until(
        () => rig.gauge('cluster.c.upstream_cx_active') === 0 && rig.loop.dispatcher.blocksHeld === 0,
        'everything to be released',
      );
    });

    test('tcp_proxy: a client that does not read stops the upstream', async (t) => {
      let upstreamSocket: Socket | null = null;
      const upstream = await startServer(t, (socket) => {
        upstreamSocket = socket;
        socket.resume();
      });
      const proto = listener([chain([proxyTo('c')])], { perConnectionBufferLimitBytes: 32_768 });
      const rig = startHandler(t, backend, [proto], { c: upstream.port }, { perConnectionBufferLimitBytes: 32_768 });
      const client = await rig.connect();
      client.pause();
      client.write('go');
      await rig.until(() => upstreamSocket !== null, 'the upstream connection');
      const total = 64 * 1024 * 1024;
      const block = pattern(1024 * 1024);
      let written = 0;
      const pump = () => {
        while (written < total) {
          written += block.length;
          if (!upstreamSocket!.write(block)) return void upstreamSocket!.once('drain', pump);
        }
        upstreamSocket!.end();
      };
      pump();
      await rig.until(() => rig.counter('cluster.c.upstream_flow_control_paused_reading_total') > 0, 'back-pressure');
      assert.ok(rig.loop.dispatcher.blocksHeld < 200, `${rig.loop.dispatcher.blocksHeld} blocks held`);
      let got = 0;
      client.on('data', (data) => {
        got += data.length;
      });
      client.resume();
      await once(client, 'end');
      assert.equal(got, total);
      const paused = rig.counter('cluster.c.upstream_flow_control_paused_reading_total');
      assert.equal(rig.counter('cluster.c.upstream_flow_control_resumed_reading_total'), paused);
    });

    test('tcp_proxy: nobody listens upstream', async (t) => {
      const log = { accessLog: LISTENER_LOG };
      const rig = startHandler(t, backend, [listener([chain([proxyTo('c', { maxConnectAttempts: 3 })])], log)], {
        c: await closedPort(),
      });
      assert.equal((await rig.exchange('x')).length, 0);
      await rig.until(() => rig.context.logged.length === 1, 'the log entry');
      assert.match(rig.context.logged[0], /^UF,URX /);
      assert.equal(rig.counter('cluster.c.upstream_cx_connect_fail'), 3);
    });

    test('tcp_proxy: a killed upstream ends the client, bytes first', async (t) => {
      const upstream = await startServer(t, (socket) => {
        socket.write('part');
        socket.on('data', () => socket.resetAndDestroy());
      });
      const rig = startHandler(t, backend, [listener([chain([proxyTo('c')])])], { c: upstream.port });
      const client = await rig.connect();
      const [part] = (await once(client, 'data')) as [Buffer];
      assert.equal(part.toString(), 'part');
      client.write('kill');
      await readAll(client);
      await rig.until(() => rig.gauge('listener.l.downstream_cx_active') === 0, 'the connection to be gone');
    });

    test('proxy_protocol: the restored source chooses the chain and is logged', async (t) => {
      const inside = chain([respond('inside')], { sourcePrefixRanges: [{ addressPrefix: '10.0.0.0', prefixLen: 8 }] }, 'inside');
      const outside = chain([respond('outside')], {}, 'outside');
      const rig = startHandler(t, backend, [
        listener([inside, outside], { listenerFilters: [proxyProtocolFilter()], accessLog: LISTENER_LOG }),
      ]);
      assert.equal((await rig.exchange('PROXY TCP4 10.1.2.3 192.0.2.1 1000 80\r\n')).toString(), 'inside');
      assert.equal((await rig.exchange('PROXY TCP4 11.1.2.3 192.0.2.1 1000 80\r\n')).toString(), 'outside');
      assert.equal((await rig.exchange('GET / HTTP/1.1\r\nHost: none\r\n\r\n')).toString(), '');
      await rig.until(() => rig.context.logged.length === 3, 'three log entries');
      assert.deepEqual(rig.context.logged.slice(0, 2), [
        '- direct_response inside 10.1.2.3 -\n',
        '- direct_response outside 11.1.2.3 -\n',
      ]);
      assert.equal(rig.counter('proxy_proto.not_found_disallowed'), 1);
    });

    test('proxy_protocol: what follows the header reaches the filters, together or later, with its end', async (t) => {
      const upstream = await startServer(t, (socket) => socket.pipe(socket));
      const rig = startHandler(t, backend, [listener([chain([proxyTo('c')])], { listenerFilters: [proxyProtocolFilter()] })], {
        c: upstream.port,
      });
      const header = 'PROXY TCP4 10.1.2.3 192.0.2.1 1000 80\r\n';
      assert.equal((await rig.exchange(`${header}together`)).toString(), 'together');
      const socket = await rig.connect();
      for (const byte of header) {
        socket.write(byte);
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.end('later');
      assert.equal((await readAll(socket)).toString(), 'later');
    });

    test('tls_inspector: TLS is passed through to the cluster of its server name', async (t) => {
      const psk = { ciphers: 'PSK-AES128-CBC-SHA256', maxVersion: 'TLSv1.2' as const };
      const key = Buffer.alloc(16, 7);
      const server = tlsServer({ ...psk, pskCallback: () => key, pskIdentityHint: 'x' }, (socket) => {
        socket.on('error', () => {});
        socket.pipe(socket);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      const { port } = server.address() as { port: number };
      const byName = chain([SNI_CLUSTER, proxyTo('unused')], { serverNames: ['*.example.com'], transportProtocol: 'tls' }, 'tls');
      const plain = chain([respond('plain')], { transportProtocol: 'raw_buffer' }, 'plain');
      const proto = listener([byName, plain], { listenerFilters: [TLS_INSPECTOR], accessLog: LISTENER_LOG });
      const rig = startHandler(t, backend, [proto], { 'a.example.com': port });
      const client = tlsConnect({
        port: rig.port,
        host: '127.0.0.1',
        servername: 'A.example.com',
        ...psk,
        pskCallback: () => ({ psk: key, identity: 'me' }),
        checkServerIdentity: () => undefined,
      });
      client.on('error', () => {});
      await once(client, 'secureConnect');
      client.write('secret');
      const [echoed] = (await once(client, 'data')) as [Buffer];
      assert.equal(echoed.toString(), 'secret');
      client.destroy();
      assert.equal((await rig.exchange('GET /')).toString(), 'plain');
      await rig.until(() => rig.context.logged.length === 2, 'two log entries');
      assert.ok(rig.context.logged.includes('- - tls 127.0.0.1 a.example.com\n'));
      assert.equal(rig.counter('tls_inspector.sni_found'), 1);
      assert.equal(rig.counter('tls_inspector.tls_not_found'), 1);
    });

    test('http_inspector after tls_inspector: both see the connection from its start', async (t) => {
      const chains = [
        chain([respond('h2')], { applicationProtocols: ['h2c'] }),
        chain([respond('h1')], { applicationProtocols: ['http/1.1', 'http/1.0'] }),
        chain([respond('other')]),
      ];
      const rig = startHandler(t, backend, [listener(chains, { listenerFilters: [TLS_INSPECTOR, HTTP_INSPECTOR] })]);
      assert.equal((await rig.exchange('GET / HTTP/1.1\r\n\r\n')).toString(), 'h1');
      assert.equal((await rig.exchange('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')).toString(), 'h2');
      assert.equal((await rig.exchange('\x01\x02')).toString(), 'other');
    });

    test('no chain matches: closed, counted, logged with NR', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([ECHO], { serverNames: ['a.com'] })], { accessLog: LISTENER_LOG })]);
      assert.equal((await rig.exchange('x')).length, 0);
      await rig.until(() => rig.context.logged.length === 1, 'the log entry');
      assert.deepEqual(rig.context.logged, ['NR filter_chain_not_found - 127.0.0.1 -\n']);
      assert.equal(rig.counter('listener.l.no_filter_chain_match'), 1);
      assert.equal(rig.counter('listener.l.downstream_cx_total'), 0);
    });

    test('a chain without filters closes at once', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([])])]);
      assert.equal((await rig.exchange('x')).length, 0);
      await rig.until(() => rig.counter('listener.l.downstream_cx_destroy') === 1, 'the connection to be counted');
      assert.equal(rig.counter('listener.l.downstream_cx_total'), 1);
    });

    test('listener_filters_timeout: closes, or goes on', async (t) => {
      const extra = { listenerFilters: [TLS_INSPECTOR], listenerFiltersTimeout: 20 };
      const closing = startHandler(t, backend, [listener([chain([respond('x')])], extra)]);
      const socket = await closing.connect();
      assert.equal((await readAll(socket)).length, 0);
      assert.equal(closing.counter('listener.l.downstream_pre_cx_timeout'), 1);
      assert.equal(closing.gauge('listener.l.downstream_pre_cx_active'), 0);
      const goingOn = startHandler(t, backend, [
        listener([chain([respond('x')])], { ...extra, continueOnListenerFiltersTimeout: true }),
      ]);
      assert.equal((await readAll(await goingOn.connect())).toString(), 'x');
      assert.equal(goingOn.counter('listener.l.downstream_pre_cx_timeout'), 1);
    });

    test('a peer that leaves while listener filters wait', async (t) => {
      const rig = startHandler(t, backend, [
        listener([chain([ECHO])], { listenerFilters: [TLS_INSPECTOR], accessLog: LISTENER_LOG }),
      ]);
      assert.equal((await rig.exchange('\x16\x03')).length, 0);
      await rig.until(() => rig.counter('listener.l.downstream_listener_filter_remote_close') === 1, 'the close to be counted');
      assert.equal(rig.context.logged.length, 1);
      const second = await rig.connect();
      second.write('\x16\x03');
      await rig.until(() => rig.gauge('listener.l.downstream_pre_cx_active') === 1, 'the second to wait');
      second.resetAndDestroy();
      await rig.until(() => rig.counter('listener.l.downstream_listener_filter_error') === 1, 'the reset to be counted');
      assert.equal(rig.gauge('listener.l.downstream_pre_cx_active'), 0);
      await rig.until(() => rig.loop.dispatcher.blocksHeld === 0, 'buffers to be released');
    });

    test('filter_disabled leaves a filter out', async (t) => {
      const filter = { ...proxyProtocolFilter(), filterDisabled: { destinationPortRange: { start: 1, end: 65_536 } } };
      const rig = startHandler(t, backend, [listener([chain([ECHO])], { listenerFilters: [filter] })]);
      const socket = await rig.connect();
      socket.write('plain');
      const [data] = (await once(socket, 'data')) as [Buffer];
      assert.equal(data.toString(), 'plain');
    });

    test('connection limits by runtime: of the listener and global', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([ECHO])])]);
      rig.context.runtimeValues.set('envoy.resource_limits.listener.l.connection_limit', '1');
      const first = await rig.connect();
      first.write('x');
      await once(first, 'data');
      assert.equal((await readAll(await rig.connect())).length, 0);
      assert.equal(rig.counter('listener.l.downstream_cx_overflow'), 1);
      rig.context.runtimeValues.set('overload.global_downstream_max_connections', '1');
      assert.equal((await readAll(await rig.connect())).length, 0);
      assert.equal(rig.counter('listener.l.downstream_global_cx_overflow'), 1);
      rig.context.runtimeValues.clear();
      const open = await rig.connect();
      open.write('y');
      await once(open, 'data');
    });

    test('use_original_dst hands over to the listener of that address, which need not be bound', async (t) => {
      const address = (ip: string, portValue: number) => ({
        socketAddress: { protocol: 'TCP' as const, address: ip, portValue },
      });
      const front = listener([chain([respond('front')])], { useOriginalDst: true, listenerFilters: [proxyProtocolFilter()] });
      const exact = {
        ...listener([chain([proxyTo('c')])]),
        name: 'exact',
        statPrefix: 'exact',
        address: address('192.0.2.1', 80),
        bindToPort: false,
      };
      const anyPort = {
        ...listener([chain([respond('wildcard')])]),
        name: 'any',
        statPrefix: 'any',
        address: address('0.0.0.0', 81),
        bindToPort: false,
      };
      const upstream = await startServer(t, (socket) => socket.pipe(socket));
      const rig = startHandler(t, backend, [front, exact, anyPort], { c: upstream.port });
      assert.equal((await rig.exchange('PROXY TCP4 10.1.2.3 192.0.2.1 1 80\r\nforwarded')).toString(), 'forwarded');
      assert.equal((await rig.exchange('PROXY TCP4 10.1.2.3 192.0.2.9 1 81\r\n')).toString(), 'wildcard');
      assert.equal((await rig.exchange('PROXY TCP4 10.1.2.3 192.0.2.9 1 82\r\n')).toString(), 'front');
      assert.equal(rig.counter('listener.exact.downstream_cx_total'), 1);
      assert.equal(rig.counter('listener.l.downstream_cx_total'), 1);
    });

    test('stopping keeps connections, removing closes them', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([ECHO])], { accessLog: LISTENER_LOG })]);
      const socket = await rig.connect();
      socket.write('a');
      await once(socket, 'data');
      rig.handler.stopListeners();
      let turns = 0;
      await rig.until(() => turns++ > 2, 'the sockets to be closed');
      const refused = connect({ port: rig.port, host: '127.0.0.1' });
      const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNREFUSED');
      socket.write('b');
      await once(socket, 'data');
      let gone = false;
      rig.handler.removeListener('l', () => {
        gone = true;
        assert.equal(rig.context.logged.length, 1, 'logged before it is gone');
      });
      await readAll(socket);
      await rig.until(() => gone, 'the listener to be gone');
    });

    test('disabled listeners accept later', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([respond('late')])])]);
      rig.handler.disableListeners();
      let turns = 0;
      await rig.until(() => turns++ > 2, 'accepting to be stopped');
      const socket = await rig.connect();
      rig.handler.enableListeners();
      assert.equal((await readAll(socket)).toString(), 'late');
    });

    test('an update changes the chains of new connections only', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([ECHO])])]);
      const old = await rig.connect();
      old.write('a');
      await once(old, 'data');
      const previous = rig.handler.describe()[0].config;
      let drained = 0;
      const chains = rig.handler.updateFilterChains(listener([chain([respond('new')])]), SLOWLY, () => drained++);
      assert.equal(chains, 1);
      assert.equal(previous.ownChains[0].drain.draining, true);
      assert.equal((await readAll(await rig.connect())).toString(), 'new');
      old.write('b');
      const [data] = (await once(old, 'data')) as [Buffer];
      assert.equal(data.toString(), 'b');
      assert.equal(drained, 0);
      old.end();
      await rig.until(() => drained === 1, 'the chain to be gone');
    });

    test('an update keeps chains that stay, and closes the connections of others when the drain time is over', async (t) => {
      const from = (last: number, filters: ExtensionConfig[]) =>
        chain(filters, { sourcePrefixRanges: [{ addressPrefix: `127.0.0.${last}`, prefixLen: 32 }] }, `from ${last}`);
      const rig = startHandler(t, backend, [listener([from(1, [ECHO]), from(2, [ECHO])])]);
      const dial = (last: number): Socket => connect({ port: rig.port, host: '127.0.0.1', localAddress: `127.0.0.${last}` });
      const echoes = async (socket: Socket): Promise<void> => {
        socket.write('x');
        await once(socket, 'data');
      };
      const [stays, goes] = [dial(1), dial(2)];
      await Promise.all([echoes(stays), echoes(goes)]);
      const count = rig.handler.updateFilterChains(listener([from(1, [ECHO]), from(2, [respond('new')])]), AT_ONCE);
      assert.equal(count, 1);
      await once(goes, 'close');
      await echoes(stays);
      assert.equal((await readAll(dial(2))).toString(), 'new');
      await echoes(
        dial(1).on('data', function (this: Socket) {
          this.destroy();
        }),
      );
      stays.destroy();
    });

    test('another listener takes over the sockets; the old connections live on until the drain time is over', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([ECHO])])]);
      const old = await rig.connect();
      old.write('a');
      await once(old, 'data');
      const port = rig.handler.describe()[0].addresses[0];
      let drained = 0;
      rig.handler.replaceListener(
        listener([chain([respond('new')])], { perConnectionBufferLimitBytes: 4096 }),
        null,
        SLOWLY,
        () => drained++,
      );
      assert.deepEqual(rig.handler.describe()[0].addresses[0], port);
      assert.equal((await readAll(await rig.connect())).toString(), 'new');
      assert.equal(rig.handler.connectionCount >= 1, true);
      old.write('b');
      assert.equal(((await once(old, 'data')) as [Buffer])[0].toString(), 'b');
      // Once more, at once: everything that is left is closed.
      const held = await rig.connect();
      await readAll(held);
      rig.handler.replaceListener(listener([chain([respond('newer')])], { perConnectionBufferLimitBytes: 8192 }), null, AT_ONCE);
      assert.equal((await readAll(await rig.connect())).toString(), 'newer');
      rig.handler.drainListener('l', AT_ONCE, () => drained++);
      await rig.until(() => drained === 1, 'the listener to be gone');
      old.end();
      await rig.until(() => drained === 2, 'the first one to be gone');
      await assert.rejects(rig.connect());
    });

    test('additional addresses: IPv6 and a unix socket', async (t) => {
      const path = join(tmpdir(), `listeners-${process.pid}-${backend}.sock`);
      const additionalAddresses = [
        { address: { socketAddress: { protocol: 'TCP' as const, address: '::1', portValue: 0 } } },
        { address: { pipe: { path, mode: 0 } } },
      ];
      const rig = startHandler(t, backend, [listener([chain([respond('hi')])], { additionalAddresses })]);
      const [, v6] = rig.handler.describe()[0].addresses;
      assert.equal((await readAll(connect({ port: v6.kind === 'ip' ? v6.port : 0, host: '::1' }))).toString(), 'hi');
      assert.equal((await readAll(connect({ path }))).toString(), 'hi');
      assert.equal(rig.counter('listener.l.downstream_cx_total'), 2);
    });

    test('max_connections_to_accept_per_socket_event: all are served in the end', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([respond('x')])], { maxConnectionsToAcceptPerSocketEvent: 1 })]);
      const answers = await Promise.all(Array.from({ length: 40 }, () => rig.exchange('')));
      assert.deepEqual(new Set(answers.map(String)), new Set(['x']));
    });

    test('a listener that cannot bind leaves nothing open', async (t) => {
      const taken = await startServer(t, () => {});
      const rig = startHandler(t, backend, [listener([chain([ECHO])])]);
      const proto = listener([chain([ECHO])], {
        additionalAddresses: [{ address: { socketAddress: { protocol: 'TCP', address: '127.0.0.1', portValue: taken.port } } }],
      });
      assert.throws(() => rig.handler.addListener({ ...proto, name: 'second' }), /Address already in use/);
      assert.equal(rig.handler.describe().length, 1);
    });

    test('hostile bytes on every listener filter: nothing crashes, hangs or leaks', async (t) => {
      const extra = {
        listenerFilters: [proxyProtocolFilter({ allowRequestsWithoutProxyProtocol: true }), TLS_INSPECTOR, HTTP_INSPECTOR],
        listenerFiltersTimeout: 200,
      };
      const rig = startHandler(t, backend, [listener([chain([ECHO])], extra)]);
      const starts = [
        '',
        'PROXY ',
        'PROXY TCP4 1.2.3.4',
        '\r\n\r\n\0\r\nQUIT\n',
        '\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c',
        '\x16\x03\x01',
        '\x16\x03\x01\0\x05\x01',
        'GET ',
        'PRI * ',
      ];
      let seed = 12_345;
      const random = () => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff);
      const one = async () => {
        const socket = await rig.connect();
        const tail = Buffer.from(Array.from({ length: random() % 200 }, () => random() & 0xff));
        const bytes = Buffer.concat([Buffer.from(starts[random() % starts.length], 'latin1'), tail]);
        const at = random() % (bytes.length + 1);
        socket.write(bytes.subarray(0, at));
        socket.end(bytes.subarray(at));
        await readAll(socket);
        socket.destroy();
      };
      for (let round = 0; round < 10; round++) await Promise.all(Array.from({ length: 20 }, one));
      await rig.until(
        () => rig.gauge('listener.l.downstream_pre_cx_active') === 0 && rig.handler.connectionCount === 0,
        'all connections to be gone',
      );
      assert.equal(rig.gauge('listener.l.downstream_cx_active'), 0);
      await rig.until(() => rig.loop.dispatcher.blocksHeld <= 1, 'buffers to be released');
    });

    test('a hello that arrives byte by byte does not hold a block for each byte', async (t) => {
      const rig = startHandler(t, backend, [listener([chain([ECHO])], { listenerFilters: [TLS_INSPECTOR] })]);
      const socket = await rig.connect();
      const before = rig.loop.dispatcher.blocksHeld;
      const hello = Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252]), Buffer.alloc(300)]);
      for (const byte of hello) {
        socket.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await rig.until(() => rig.gauge('listener.l.downstream_pre_cx_active') === 1, 'the socket to wait');
      assert.ok(rig.loop.dispatcher.blocksHeld - before < 20, `${rig.loop.dispatcher.blocksHeld - before} blocks held`);
    });
  });
}
