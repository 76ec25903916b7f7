import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import { ConnectionCloseType, ConnectionEvent } from '../../../src/proxy/network/connection.ts';
import { ThreadLocalClusterManager } from '../../../src/proxy/upstream/cluster_manager.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { TcpConnPool } from '../../../src/proxy/upstream/tcp_conn_pool.ts';
import {
  type Cancellable,
  PoolFailureReason,
  type TcpConnectionData,
  type TcpPoolCallbacks,
  type TcpUpstreamCallbacks,
} from '../../../src/proxy/upstream/upstream.ts';
import { FakeWorker, hostAt, staticCluster } from './fakes.ts';

class Borrower implements TcpPoolCallbacks, TcpUpstreamCallbacks {
  data: TcpConnectionData | null = null;
  failure: PoolFailureReason | null = null;
  received = '';
  ended = false;
  events: ConnectionEvent[] = [];
  waiting: Cancellable | null = null;

  start(pool: TcpConnPool): this {
    this.waiting = pool.newConnection(this);
    return this;
  }

  onPoolFailure(reason: PoolFailureReason): void {
    this.failure = reason;
  }

  onPoolReady(data: TcpConnectionData): void {
    this.data = data;
    data.addUpstreamCallbacks(this);
  }

  onUpstreamData(data: SliceBuffer, endStream: boolean): void {
    this.received += data.toText();
    data.clear();
    this.ended ||= endStream;
  }

  onEvent(event: ConnectionEvent): void {
    this.events.push(event);
  }

  onAboveWriteBufferHighWatermark(): void {}
  onBelowWriteBufferLowWatermark(): void {}
}

function setup(more: Partial<PlainCluster> = {}) {
  const worker = new FakeWorker();
  const manager = new ThreadLocalClusterManager(worker.context, { clusters: [staticCluster('t', [], more)] });
  manager.applyHosts({ cluster: 't', hosts: [hostAt('10.0.0.2:5432')] });
  const pool = manager.get('t')?.tcpConnPool(0, null);
  assert.ok(pool instanceof TcpConnPool);
  return { worker, pool, stat: (name: string) => worker.counter(`cluster.t.${name}`) };
}

test('lends a connection, forwards its bytes and its end', () => {
  const { worker, pool, stat } = setup();
  const borrower = new Borrower().start(pool);
  worker.last.accept();
  assert.ok(borrower.data);
  assert.ok(worker.last.readEnabled);
  worker.last.receive('hello');
  worker.last.receiveEnd();
  assert.deepEqual([borrower.received, borrower.ended], ['hello', true]);
  assert.equal(stat('upstream_cx_rx_bytes_total'), 5);
  worker.last.remoteClose();
  assert.deepEqual(borrower.events, [ConnectionEvent.RemoteClose]);
  assert.equal(stat('upstream_cx_destroy_remote_with_active_rq'), 1);
  borrower.data.release();
  assert.ok(pool.idle);
  assert.equal(worker.gauge('cluster.t.upstream_rq_active'), 0);
});

test('the borrower closes: LocalClose, and the books are right', () => {
  const { worker, pool, stat } = setup();
  const borrower = new Borrower().start(pool);
  worker.last.accept();
  borrower.data?.connection.close(ConnectionCloseType.NoFlush);
  assert.deepEqual(borrower.events, [ConnectionEvent.LocalClose]);
  assert.equal(stat('upstream_cx_destroy_local_with_active_rq'), 1);
  assert.equal(worker.gauge('cluster.t.upstream_cx_active'), 0);
});

test('a connection given back open is lent again; stale loans do nothing', () => {
  const { worker, pool } = setup();
  const first = new Borrower().start(pool);
  worker.last.accept();
  first.data?.release();
  assert.equal(pool.readyConnections, 1);
  const second = new Borrower().start(pool);
  assert.ok(second.data);
  first.data?.release();
  worker.last.receive('for the second');
  assert.deepEqual([first.received, second.received], ['', 'for the second']);
  assert.equal(worker.connections.length, 1);
});

test('bytes on a connection that nobody has close it', () => {
  const { worker, pool } = setup();
  const borrower = new Borrower().start(pool);
  worker.last.accept();
  borrower.data?.release();
  worker.last.receive('?');
  assert.equal(worker.last.state, 'closed');
});

test('cancelling closes the attempt that is now in excess', () => {
  const { worker, pool } = setup();
  const gone = new Borrower().start(pool);
  const other = new Borrower().start(pool);
  worker.connections[0].accept();
  assert.ok(gone.data);
  other.waiting?.cancel();
  // Its own attempt was in excess and is closed with it.
  assert.equal(worker.connections[1].state, 'closed');
  assert.equal(worker.counter('cluster.t.upstream_rq_cancelled'), 1);
});

test('failure and timeout', () => {
  const { worker, pool } = setup({ connectTimeout: 100 });
  const refused = new Borrower().start(pool);
  worker.last.refuse();
  assert.equal(refused.failure, PoolFailureReason.RemoteConnectionFailure);
  const late = new Borrower().start(pool);
  worker.dispatcher.advance(100);
  assert.equal(late.failure, PoolFailureReason.Timeout);
});

test('idle timeout of TcpProtocolOptions, default 10 minutes', () => {
  const typed = { 'envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions': { idleTimeout: 50 } };
  for (const [more, timeoutMs] of [
    [{}, 600_000],
    [{ typedExtensionProtocolOptions: typed }, 50],
  ] as const) {
    const { worker, pool, stat } = setup(more);
    const borrower = new Borrower().start(pool);
    worker.last.accept();
    borrower.data?.release();
    worker.dispatcher.advance(timeoutMs - 1);
    assert.equal(worker.last.state, 'open');
    worker.dispatcher.advance(1);
    assert.equal(worker.last.state, 'closed');
    assert.equal(stat('upstream_cx_idle_timeout'), 1);
  }
});
