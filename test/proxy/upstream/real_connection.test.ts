/** Pools over real sockets: a Node server as the host. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { test } from 'node:test';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import { Store } from '../../../src/core/stats/store.ts';
import type { RequestEncoder, ResponseDecoder } from '../../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { ConnectionCloseType } from '../../../src/proxy/network/connection.ts';
import { createClientConnection } from '../../../src/proxy/network/connection_impl.ts';
import { ThreadLocalClusterManager } from '../../../src/proxy/upstream/cluster_manager.ts';
import { type HttpPoolCallbacks, PoolFailureReason, type TcpConnectionData } from '../../../src/proxy/upstream/upstream.ts';
import { BACKENDS, type Loop, skipReason, startLoop, until } from '../../support/dispatchers.ts';
import { hostAt, staticCluster } from './fakes.ts';

function clusterOf(loop: Loop, port: number) {
  const stats = new Store();
  const manager = new ThreadLocalClusterManager(
    {
      dispatcher: loop.dispatcher,
      socketInterface: loop.sockets,
      createClientConnection,
      scope: stats,
      runtime: null,
      random: () => 1,
      workerIndex: 0,
    },
    { clusters: [staticCluster('a', [])] },
  );
  manager.applyHosts({ cluster: 'a', hosts: [hostAt(`127.0.0.1:${port}`)] });
  const cluster = manager.get('a');
  assert.ok(cluster);
  return { cluster, manager, stats };
}

for (const backend of BACKENDS) {
  const skip = skipReason(backend);

  test(`${backend}: requests reuse one connection`, { skip }, async (t) => {
    const server = createServer((request, response) => response.end(`you asked for ${request.url}`));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const loop = startLoop(t, backend);
    const { cluster, manager, stats } = clusterOf(loop, (server.address() as AddressInfo).port);
    const bodies: string[] = [];
    for (let i = 0; i < 3; i++) {
      let body = '';
      let done = false;
      const finish = (): void => {
        bodies.push(body);
        done = true;
      };
      const decoder: ResponseDecoder = {
        decode1xxHeaders: (headers) => headers.release(),
        decodeHeaders: (headers, endStream) => {
          headers.release();
          if (endStream) finish();
        },
        decodeData: (data, endStream) => {
          body += data.toText();
          if (endStream) finish();
        },
        decodeTrailers: (trailers) => trailers.release(),
      };
      const callbacks: HttpPoolCallbacks = {
        onPoolFailure: (reason) => assert.fail(`pool failure ${reason}`),
        onPoolReady: (encoder: RequestEncoder) => {
          const headers = HeaderMap.of(loop.dispatcher.slab, [
            [':method', 'GET'],
            [':path', `/${i}`],
            [':authority', 'a.test'],
          ]);
          encoder.encodeHeaders(headers, true);
          headers.release();
        },
      };
      loop.dispatcher.post(() => cluster.httpConnPool(0, null)?.newStream(decoder, callbacks));
      await until(loop.dispatcher, () => done, `response ${i}`);
    }
    assert.deepEqual(bodies, ['you asked for /0', 'you asked for /1', 'you asked for /2']);
    assert.equal(stats.counter('cluster.a.upstream_cx_total').value, 1);
    assert.ok(stats.counter('cluster.a.upstream_cx_tx_bytes_total').value > 0);
    assert.equal(cluster.connections, 1);
    // The server ends the idle connection: the pool notices.
    server.closeAllConnections();
    await until(loop.dispatcher, () => cluster.connections === 0, 'the connection to be gone');
    assert.equal(stats.counter('cluster.a.upstream_cx_destroy_remote').value, 1);
    manager.close();
    assert.deepEqual(loop.errors, []);
  });

  test(`${backend}: nobody listens`, { skip }, async (t) => {
    const server = createTcpServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const loop = startLoop(t, backend);
    const { cluster } = clusterOf(loop, port);
    let failure: PoolFailureReason | null = null;
    let text = '';
    const decoder: ResponseDecoder = { decode1xxHeaders() {}, decodeHeaders() {}, decodeData() {}, decodeTrailers() {} };
    loop.dispatcher.post(() =>
      cluster.httpConnPool(0, null)?.newStream(decoder, {
        onPoolFailure: (reason, why) => {
          failure = reason;
          text = why;
        },
        onPoolReady: () => assert.fail('connected to nothing'),
      }),
    );
    await until(loop.dispatcher, () => failure !== null, 'the failure');
    assert.equal(failure, PoolFailureReason.RemoteConnectionFailure);
    assert.match(text, /refused/i);
    assert.deepEqual(loop.errors, []);
  });

  test(`${backend}: a lent TCP connection carries bytes both ways`, { skip }, async (t) => {
    const server = createTcpServer((socket) => socket.pipe(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const loop = startLoop(t, backend);
    const { cluster } = clusterOf(loop, (server.address() as AddressInfo).port);
    let received = '';
    let loan: TcpConnectionData | null = null;
    loop.dispatcher.post(() =>
      cluster.tcpConnPool(0, null)?.newConnection({
        onPoolFailure: (reason) => assert.fail(`pool failure ${reason}`),
        onPoolReady: (data) => {
          loan = data;
          data.addUpstreamCallbacks({
            onUpstreamData: (bytes) => {
              received += bytes.toText();
              bytes.clear();
            },
            onEvent() {},
            onAboveWriteBufferHighWatermark() {},
            onBelowWriteBufferLowWatermark() {},
          });
          const hello = new SliceBuffer(loop.dispatcher.slab);
          hello.appendLatin1('hello');
          data.connection.write(hello, false);
        },
      }),
    );
    await until(loop.dispatcher, () => received === 'hello', 'the echo');
    loop.dispatcher.post(() => loan?.connection.close(ConnectionCloseType.NoFlush));
    await until(loop.dispatcher, () => cluster.connections === 0, 'the end');
    assert.deepEqual(loop.errors, []);
  });
}
