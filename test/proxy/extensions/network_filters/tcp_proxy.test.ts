import assert from 'node:assert/strict';
import { test } from 'node:test';
import { factory } from '../../../../src/proxy/extensions/network_filters/tcp_proxy/config.ts';
import { retryDelayMs, tcpProxySettings } from '../../../../src/proxy/extensions/network_filters/tcp_proxy/settings.ts';
import { ConnectionCloseType, ConnectionEvent } from '../../../../src/proxy/network/connection.ts';
import { RESPONSE_FLAGS } from '../../../../src/proxy/stream_info/stream_info.ts';
import { PoolFailureReason } from '../../../../src/proxy/upstream/upstream.ts';
import { FakeDispatcher, fileLog, testContext } from '../support.ts';
import { FakeCluster, FakeConnection, FakeUpstream } from './support.ts';

function setup(
  config: Record<string, unknown> = {},
  prepare: (cluster: FakeCluster, connection: FakeConnection) => void = () => {},
) {
  const dispatcher = new FakeDispatcher();
  const context = testContext(dispatcher);
  const cluster = new FakeCluster('c', context.scope);
  context.clusters.set('c', cluster);
  const create = factory.create({ '@type': factory.typeName, statPrefix: 'p', cluster: 'c', ...config }, context);
  const connection = new FakeConnection(dispatcher);
  prepare(cluster, connection);
  create(connection);
  connection.initializeReadFilters();
  const upstream = new FakeUpstream(dispatcher);
  return {
    dispatcher,
    context,
    cluster,
    connection,
    upstream,
    stat: (name: string) => context.scope.counter(`tcp.p.${name}`).value,
    gauge: (name: string) => context.scope.gauge(`tcp.p.${name}`).value,
    flags: () =>
      Object.values(RESPONSE_FLAGS)
        .filter(([bit]) => (connection.streamInfo.responseFlags & (1 << bit)) !== 0)
        .map(([, text]) => text)
        .join(','),
    details: () => connection.closedWith?.details,
  };
}

const END_LOG = {
  accessLog: [fileLog('%ACCESS_LOG_TYPE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_HOST% %UPSTREAM_CLUSTER%')],
};

test('tcp_proxy: reads nothing before the upstream is there, then moves bytes both ways', () => {
  const { connection, cluster, upstream, stat, gauge } = setup();
  assert.equal(connection.readEnabled, false);
  assert.equal(connection.halfClose, true);
  assert.equal(stat('downstream_cx_total'), 1);
  cluster.ready(upstream);
  assert.equal(connection.readEnabled, true);
  connection.feed('ping');
  assert.equal(upstream.connection.takeWritten(), 'ping');
  upstream.feed('pong!');
  assert.equal(connection.takeWritten(), 'pong!');
  assert.equal(stat('downstream_cx_rx_bytes_total'), 4);
  assert.equal(gauge('downstream_cx_tx_bytes_buffered'), 5);
  connection.bytesSent(5);
  assert.equal(stat('downstream_cx_tx_bytes_total'), 5);
  assert.equal(gauge('downstream_cx_tx_bytes_buffered'), 0);
  assert.deepEqual([connection.streamInfo.bytesReceived, connection.streamInfo.bytesSent], [4, 5]);
});

test('tcp_proxy: slices are moved, not copied', () => {
  const { dispatcher, connection, cluster, upstream } = setup();
  cluster.ready(upstream);
  const data = dispatcher.buffer('zero copy');
  const offset = data.offsetAt(0);
  connection.readFilters[0].onData(data, false);
  assert.equal(data.length, 0);
  assert.equal(upstream.connection.written.offsetAt(0), offset);
});

test('tcp_proxy: half-close goes through in both directions', () => {
  const { connection, cluster, upstream } = setup();
  cluster.ready(upstream);
  connection.feed('last words', true);
  assert.equal(upstream.connection.takeWritten(), 'last words');
  assert.equal(upstream.connection.ended, true);
  upstream.feed('answer');
  assert.equal(connection.ended, false);
  upstream.feed('', true);
  assert.equal(connection.takeWritten(), 'answer');
  assert.equal(connection.ended, true);
});

test('tcp_proxy: watermarks stop the other side, counted', () => {
  const { connection, cluster, upstream, stat } = setup();
  cluster.ready(upstream);
  upstream.connection.aboveHigh();
  assert.equal(connection.disableCount, 1);
  upstream.connection.belowLow();
  assert.equal(connection.disableCount, 0);
  assert.equal(stat('downstream_flow_control_paused_reading_total'), 1);
  assert.equal(stat('downstream_flow_control_resumed_reading_total'), 1);
  connection.aboveHigh();
  assert.equal(upstream.connection.disableCount, 1);
  connection.belowLow();
  assert.equal(upstream.connection.disableCount, 0);
  assert.equal(cluster.stats.upstreamFlowControlPausedReadingTotal.value, 1);
  assert.equal(cluster.stats.upstreamFlowControlResumedReadingTotal.value, 1);
});

test('tcp_proxy: an unknown cluster closes with NC', () => {
  const { connection, stat, flags, details, dispatcher, context } = setup({ cluster: 'other', ...END_LOG });
  assert.equal(connection.state, 'closed');
  assert.equal(stat('downstream_cx_no_route'), 1);
  assert.equal(flags(), 'NC');
  assert.equal(details(), 'tcp_proxy_initialization_failure');
  dispatcher.run();
  assert.deepEqual(context.logged, ['TcpConnectionEnd NC 0 0 - -\n']);
});

test('tcp_proxy: no healthy host closes with UH, a full circuit breaker with UO', () => {
  const unhealthy = setup({}, (cluster) => {
    cluster.hasHosts = false;
  });
  assert.equal(unhealthy.connection.state, 'closed');
  assert.equal(unhealthy.flags(), 'UH');
  const full = setup({}, (cluster) => {
    cluster.canConnect = false;
  });
  assert.equal(full.flags(), 'UO');
  assert.equal(full.cluster.stats.upstreamCxOverflow.value, 1);
  assert.equal(full.cluster.requests.length, 0);
});

test('tcp_proxy: a refused connect closes with UF,URX', () => {
  const { connection, cluster, flags, context, dispatcher } = setup(END_LOG);
  cluster.fail(PoolFailureReason.RemoteConnectionFailure, 'connection refused');
  assert.equal(connection.state, 'closed');
  assert.equal(flags(), 'UF,URX');
  assert.equal(connection.streamInfo.upstreamTransportFailureReason, 'connection refused');
  assert.equal(cluster.stats.upstreamCxConnectAttemptsExceeded.value, 1);
  dispatcher.run();
  assert.deepEqual(context.logged, ['TcpConnectionEnd UF,URX 0 0 127.0.0.1:9000 c\n']);
});

test('tcp_proxy: a connect timeout sets UF, an overflow in the pool does not', () => {
  const slow = setup();
  slow.cluster.fail(PoolFailureReason.Timeout);
  assert.equal(slow.flags(), 'UF,URX');
  const full = setup();
  full.cluster.fail(PoolFailureReason.Overflow);
  assert.equal(full.flags(), 'URX');
});

test('tcp_proxy: connects are repeated in a later turn, up to max_connect_attempts', () => {
  const { connection, cluster, upstream, dispatcher, flags } = setup({ maxConnectAttempts: 3 });
  cluster.fail(PoolFailureReason.RemoteConnectionFailure);
  assert.equal(cluster.requests.length, 0, 'not inside the callback');
  dispatcher.advance(0);
  assert.equal(cluster.requests.length, 1);
  cluster.fail(PoolFailureReason.Timeout);
  dispatcher.advance(0);
  assert.equal(connection.streamInfo.attemptCount, 3);
  cluster.ready(upstream);
  connection.feed('x');
  assert.equal(upstream.connection.takeWritten(), 'x');
  assert.equal(flags(), 'UF');
  assert.equal(cluster.stats.upstreamCxConnectAttemptsExceeded.value, 0);
});

test('tcp_proxy: a pool that answers at once', () => {
  const dispatchers: FakeUpstream[] = [];
  const { connection } = setup({}, (cluster, c) => {
    cluster.immediate = (callbacks) => {
      const upstream = new FakeUpstream(c.dispatcher);
      dispatchers.push(upstream);
      callbacks.onPoolReady(upstream, cluster.host);
    };
  });
  connection.feed('now');
  assert.equal(dispatchers[0].connection.takeWritten(), 'now');
  const failing = setup({ maxConnectAttempts: 2 }, (cluster) => {
    cluster.immediate = (callbacks) => callbacks.onPoolFailure(PoolFailureReason.RemoteConnectionFailure, '', null);
  });
  assert.equal(failing.connection.state, 'open');
  failing.dispatcher.advance(0);
  assert.equal(failing.connection.state, 'closed');
  assert.equal(failing.flags(), 'UF,URX');
});

test('tcp_proxy: back-off doubles under full jitter', () => {
  const context = testContext(new FakeDispatcher());
  const settings = tcpProxySettings(
    {
      statPrefix: 'p',
      cluster: 'c',
      accessLog: [],
      flushAccessLogOnConnected: false,
      backoffOptions: { baseInterval: 100, maxInterval: 350 },
    },
    [],
    context,
  );
  context.randomValue = 0xffff_fffe;
  const bounds = [100, 200, 350, 350];
  for (const [i, bound] of bounds.entries()) assert.equal(retryDelayMs(settings, i + 1), 0xffff_fffe % bound);
  context.randomValue = 0;
  assert.equal(retryDelayMs(settings, 1), 0);
  const { cluster, dispatcher, context: own } = setup({ maxConnectAttempts: 2, backoffOptions: { baseInterval: 100 } });
  own.randomValue = 60;
  cluster.fail(PoolFailureReason.RemoteConnectionFailure);
  dispatcher.advance(59);
  assert.equal(cluster.requests.length, 0);
  dispatcher.advance(1);
  assert.equal(cluster.requests.length, 1);
});

test('tcp_proxy: the client leaves while the upstream is connecting', () => {
  const { connection, cluster, dispatcher } = setup({ maxConnectAttempts: 5, ...END_LOG });
  connection.raise(ConnectionEvent.RemoteClose);
  assert.equal(cluster.cancelled, 1);
  dispatcher.run();
  assert.equal(dispatcher.armedTimers, 0);
  const waiting = setup({ maxConnectAttempts: 5 });
  waiting.cluster.fail(PoolFailureReason.RemoteConnectionFailure);
  waiting.connection.raise(ConnectionEvent.RemoteClose);
  waiting.dispatcher.advance(10_000);
  assert.equal(waiting.cluster.requests.length, 0, 'no attempt for a client that is gone');
});

test('tcp_proxy: the upstream closes: what it sent is flushed downstream', () => {
  const { connection, cluster, upstream, dispatcher, context } = setup(END_LOG);
  cluster.ready(upstream);
  upstream.feed('bye');
  upstream.connection.raise(ConnectionEvent.RemoteClose);
  assert.equal(connection.closedWith?.type, ConnectionCloseType.FlushWrite);
  assert.equal(upstream.released, 1);
  dispatcher.run();
  assert.equal(dispatcher.armedTimers, 0);
  assert.deepEqual(context.logged, ['TcpConnectionEnd - 0 3 127.0.0.1:9000 c\n']);
});

test('tcp_proxy: the client closes: what it sent is flushed upstream', () => {
  const { connection, cluster, upstream, dispatcher, stat, gauge } = setup();
  cluster.ready(upstream);
  upstream.connection.holdFlush = true;
  connection.feed('data');
  connection.raise(ConnectionEvent.RemoteClose);
  assert.equal(upstream.connection.closedWith?.type, ConnectionCloseType.FlushWrite);
  assert.equal(stat('upstream_flush_total'), 1);
  assert.equal(gauge('upstream_flush_active'), 1);
  upstream.connection.finishClose();
  assert.equal(gauge('upstream_flush_active'), 0);
  assert.equal(upstream.released, 1);
  dispatcher.run();
  assert.equal(dispatcher.armedTimers, 0);
});

test('tcp_proxy: a flush upstream ends with the idle timeout, or with bytes that nobody wants', () => {
  const slow = setup({ idleTimeout: 1000 });
  slow.cluster.ready(slow.upstream);
  slow.upstream.connection.holdFlush = true;
  slow.connection.raise(ConnectionEvent.RemoteClose);
  slow.dispatcher.advance(900);
  slow.upstream.connection.bytesSent(1);
  slow.dispatcher.advance(900);
  assert.equal(slow.gauge('upstream_flush_active'), 1);
  slow.upstream.connection.state = 'open';
  slow.dispatcher.advance(200);
  assert.equal(slow.gauge('upstream_flush_active'), 0);
  assert.equal(slow.stat('idle_timeout'), 1);

  const chatty = setup();
  chatty.cluster.ready(chatty.upstream);
  chatty.upstream.connection.holdFlush = true;
  chatty.connection.raise(ConnectionEvent.RemoteClose);
  chatty.upstream.connection.state = 'open';
  chatty.upstream.feed('who is there');
  assert.equal(chatty.upstream.connection.state, 'closed');
  assert.equal(chatty.gauge('upstream_flush_active'), 0);
});

test('tcp_proxy: idle timeout: an hour, moved by traffic in either direction', () => {
  const { connection, cluster, upstream, dispatcher, stat, details } = setup();
  cluster.ready(upstream);
  dispatcher.advance(3_000_000);
  connection.feed('a');
  dispatcher.advance(3_000_000);
  upstream.feed('b');
  dispatcher.advance(3_000_000);
  connection.bytesSent(1);
  dispatcher.advance(3_000_000);
  upstream.connection.bytesSent(1);
  dispatcher.advance(3_599_999);
  assert.equal(connection.state, 'open');
  dispatcher.advance(1);
  assert.equal(connection.state, 'closed');
  assert.equal(upstream.connection.state, 'closed');
  assert.equal(stat('idle_timeout'), 1);
  assert.equal(details(), 'tcp_session_idle_timeout');
  const never = setup({ idleTimeout: 0 });
  never.cluster.ready(never.upstream);
  assert.equal(never.dispatcher.armedTimers, 0);
});

test('tcp_proxy: max_downstream_connection_duration closes with DT', () => {
  const { connection, cluster, upstream, dispatcher, stat, flags, details } = setup({ maxDownstreamConnectionDuration: 5000 });
  cluster.ready(upstream);
  dispatcher.advance(4999);
  assert.equal(connection.state, 'open');
  dispatcher.advance(1);
  assert.equal(connection.state, 'closed');
  assert.equal(stat('max_downstream_connection_duration'), 1);
  assert.equal(flags(), 'DT');
  assert.equal(details(), 'max_connection_duration_reached');
});

test('tcp_proxy: access log on connected, periodically, and at the end', () => {
  const { connection, cluster, upstream, dispatcher, context } = setup({
    ...END_LOG,
    accessLogOptions: { accessLogFlushInterval: 1000, flushAccessLogOnConnected: true },
  });
  cluster.ready(upstream);
  connection.feed('12345');
  dispatcher.advance(2000);
  connection.raise(ConnectionEvent.RemoteClose);
  dispatcher.run();
  assert.deepEqual(context.logged, [
    'TcpUpstreamConnected - 0 0 127.0.0.1:9000 c\n',
    'TcpPeriodic - 5 0 127.0.0.1:9000 c\n',
    'TcpPeriodic - 5 0 127.0.0.1:9000 c\n',
    'TcpConnectionEnd - 5 0 127.0.0.1:9000 c\n',
  ]);
});

test('tcp_proxy: weighted clusters and their metadata', () => {
  const dispatcher = new FakeDispatcher();
  const context = testContext(dispatcher);
  const clusters = ['a', 'b'].map((name) => new FakeCluster(name, context.scope));
  for (const cluster of clusters) context.clusters.set(cluster.info.name, cluster);
  const create = factory.create(
    {
      '@type': factory.typeName,
      statPrefix: 'p',
      metadataMatch: { filterMetadata: { 'envoy.lb': { zone: 'x', v: 1 } } },
      weightedClusters: {
        clusters: [
          { name: 'a', weight: 1 },
          { name: 'b', weight: 3, metadataMatch: { filterMetadata: { 'envoy.lb': { v: 2 } } } },
        ],
      },
    },
    context,
  );
  for (let i = 0; i < 8; i++) {
    context.randomValue = i;
    const connection = new FakeConnection(dispatcher);
    create(connection);
    connection.initializeReadFilters();
  }
  assert.deepEqual(
    clusters.map((cluster) => cluster.requests.length),
    [2, 6],
  );
  assert.deepEqual(clusters[0].contexts[0].metadataMatch(), { zone: 'x', v: 1 });
  assert.deepEqual(clusters[1].contexts[0].metadataMatch(), { zone: 'x', v: 2 });
});

test('tcp_proxy: another filter can name the cluster', () => {
  const { cluster } = setup({ cluster: 'ignored' }, (_, connection) => {
    connection.streamInfo.filterState = new Map([['envoy.tcp_proxy.cluster', 'c']]);
  });
  assert.equal(cluster.requests.length, 1);
});

for (const field of ['onDemand', 'tunnelingConfig', 'downstreamIdleTimeout', 'upstreamIdleTimeout', 'proxyProtocolTlvs']) {
  test(`tcp_proxy: refuses ${field}`, () => {
    assert.throws(() => setup({ [field]: field.endsWith('Timeout') ? 1000 : { x: 1 } }), /is not supported/);
  });
}

test('tcp_proxy: refuses a missing cluster and later connects', () => {
  assert.throws(() => setup({ cluster: undefined }), /cluster or weighted_clusters is required/);
  assert.throws(() => setup({ upstreamConnectMode: 'ON_DOWNSTREAM_DATA' }), /is not supported/);
});
