/** Access logs to a gRPC service, stats to statsd: the real proxy with real receivers. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { Fields } from '../support/protobuf_reader.ts';
import { httpRequest, type Json, startProxy, until } from '../support/proxy_process.ts';
import { grpcCollector } from './support/collectors.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy, upstreamHttp2 } from './support/config.ts';
import { dial } from './support/raw.ts';
import { httpUpstream } from './support/upstreams.ts';

const TYPES = 'type.googleapis.com/envoy.';
const METHOD = '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs';

const grpcLog = (kind: 'Http' | 'Tcp', common: Json, extra: Json = {}): Json => ({
  name: 'grpc',
  typed_config: {
    '@type': `${TYPES}extensions.access_loggers.grpc.v3.${kind}GrpcAccessLogConfig`,
    common_config: {
      log_name: kind,
      transport_api_version: 'V3',
      grpc_service: { envoy_grpc: { cluster_name: 'als' } },
      buffer_size_bytes: 0,
      ...common,
    },
    ...extra,
  },
});

test('http_grpc and tcp_grpc: entries with what is known, one stream each, opened again after a failure', async (t) => {
  const collector = await grpcCollector(METHOD, true);
  const upstream = await httpUpstream();
  const tags = { custom_tags: [{ tag: 'site', literal: { value: 'north' } }] };
  const web = http('web', [{ ...route('/a', 'up'), name: 'the-route' }], {
    access_log: [
      grpcLog('Http', tags, {
        additional_request_headers_to_log: ['X-User', 'x-none'],
        additional_response_headers_to_log: ['content-type'],
      }),
    ],
  });
  const proxy = await startProxy({
    config: bootstrap(
      [listener('web', [web]), listener('tcp', [tcpProxy('tcp', 'up', { access_log: [grpcLog('Tcp', {})] })])],
      [cluster('up', [upstream.port]), cluster('als', [collector.port], upstreamHttp2())],
      { node: { id: 'node-1', cluster: 'front' } },
    ),
  });
  t.after(async () => {
    await proxy.stop();
    await upstream.close();
    collector.close();
  });
  const web1 = await httpRequest(proxy.port('web'), '/a?q', {
    method: 'POST',
    body: 'hello',
    headers: { 'x-user': 'ann', 'user-agent': 'test', 'x-request-id': 'id-1' },
  });
  assert.equal(web1.status, 200);
  await until(() => collector.messages.length === 1, 'an entry');
  const first = new Fields(collector.messages[0]);
  assert.deepEqual(
    [first.message(1).message(1).text(1), first.message(1).message(1).text(2), first.message(1).text(2)],
    ['node-1', 'front', 'Http'],
  );
  const entry = first.message(2).message(1);
  const common = entry.message(1);
  assert.equal(common.message(2).message(1).text(2), '127.0.0.1');
  assert.equal(common.message(13).message(1).number(3), upstream.port);
  assert.deepEqual([common.text(15), common.text(19), common.number(24), common.number(33)], ['up', 'the-route', 1, 6]);
  assert.deepEqual(common.map(22), { site: 'north' });
  assert.ok(Math.abs(common.message(5).number(1) - Date.now() / 1000) < 60);
  assert.ok(common.has(23) && common.has(12) && !common.has(16));
  assert.equal(entry.number(2), 2);
  const request = entry.message(3);
  assert.deepEqual(
    [request.number(1), request.text(2), request.text(5), request.text(6), request.text(9), request.number(12)],
    [3, 'http', '/a?q', 'test', 'id-1', 5],
  );
  assert.deepEqual(request.map(13), { 'x-user': 'ann' });
  const response = entry.message(4);
  assert.deepEqual([response.message(1).number(1), response.text(6)], [200, 'via_upstream']);
  assert.equal(response.number(3), web1.body.length);
  assert.ok('content-type' in response.map(4) || Object.keys(response.map(4)).length === 0);

  await httpRequest(proxy.port('web'), '/missing');
  await until(() => collector.messages.length === 2, 'a second entry');
  const second = new Fields(collector.messages[1]);
  assert.equal(second.has(1), false);
  assert.equal(second.message(2).message(1).message(1).message(16).number(9), 1);
  assert.equal(collector.streams, 1);

  const wire = await dial(proxy.port('tcp'));
  wire.send('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  await wire.untilClosed();
  await until(() => collector.messages.length === 3, 'a TCP entry');
  const tcp = new Fields(collector.messages[2]);
  assert.equal(tcp.message(1).text(2), 'Tcp');
  const connection = tcp.message(3).message(1);
  assert.deepEqual(
    [connection.message(2).number(1), connection.message(2).number(2), connection.message(1).number(33)],
    [46, wire.received.length, 3],
  );
  assert.equal(await proxy.stat('access_logs.grpc_access_log.logs_written'), 3);

  // The service is gone: requests are served, entries are lost, and counted once the stream is known to be.
  collector.close();
  await until(async () => {
    assert.equal((await httpRequest(proxy.port('web'), '/a')).status, 200);
    return (
      (await proxy.stat('access_logs.grpc_access_log.logs_written')) +
        (await proxy.stat('access_logs.grpc_access_log.logs_dropped')) >=
      6
    );
  }, 'entries to be accounted for');
});

test('entries wait for their buffer or their time', async (t) => {
  const collector = await grpcCollector(METHOD, true);
  const upstream = await httpUpstream();
  const log = grpcLog('Http', { buffer_size_bytes: 1_000_000, buffer_flush_interval: '0.3s' });
  const proxy = await startProxy({
    config: bootstrap(
      [listener('web', [http('web', [route('/', 'up')], { access_log: [log] })])],
      [cluster('up', [upstream.port]), cluster('als', [collector.port], upstreamHttp2())],
    ),
  });
  t.after(async () => {
    await proxy.stop();
    await upstream.close();
    collector.close();
  });
  await Promise.all(Array.from({ length: 20 }, (_, i) => httpRequest(proxy.port('web'), `/${i}`)));
  await until(
    () => collector.messages.flatMap((message) => new Fields(message).message(2).messages(1)).length === 20,
    'all entries',
  );
  assert.ok(collector.messages.length < 20, `${collector.messages.length} messages`);
});

for (const [style, type, line] of [
  ['statsd', 'config.metrics.v3.StatsdSink', /^edge\.cluster\.up\.upstream_rq_total:(\d+)\|c$/m],
  ['dog_statsd', 'config.metrics.v3.DogStatsdSink', /^edge\.cluster\.upstream_rq_total:(\d+)\|c\|#envoy\.cluster_name:up$/m],
  [
    'graphite_statsd',
    'extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink',
    /^edge\.cluster\.upstream_rq_total;envoy\.cluster_name=up:(\d+)\|c$/m,
  ],
] as const) {
  test(`${style}: counters as deltas, gauges, histograms`, async (t) => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const datagrams: string[] = [];
    socket.on('message', (message) => datagrams.push(message.toString()));
    const upstream = await httpUpstream();
    const address = { socket_address: { address: '127.0.0.1', port_value: socket.address().port } };
    const limit = style === 'statsd' ? {} : { max_bytes_per_datagram: 1400 };
    const proxy = await startProxy({
      config: bootstrap([listener('web', [http('web', [route('/', 'up')])])], [cluster('up', [upstream.port])], {
        stats_flush_interval: '0.1s',
        stats_sinks: [{ name: style, typed_config: { '@type': `${TYPES}${type}`, address, prefix: 'edge', ...limit } }],
      }),
    });
    t.after(async () => {
      await proxy.stop();
      await upstream.close();
      socket.close();
    });
    const total = () => datagrams.reduce((sum, text) => sum + Number(line.exec(text)?.[1] ?? 0), 0);
    for (let i = 0; i < 3; i++) assert.equal((await httpRequest(proxy.port('web'), '/')).status, 200);
    await until(
      () => total() === 3,
      () => `counted ${total()}`,
    );
    for (let i = 0; i < 2; i++) await httpRequest(proxy.port('web'), '/');
    await until(
      () => total() === 5,
      () => `counted ${total()}`,
    );
    const all = datagrams.join('\n');
    assert.match(all, /server\.live:1\|g/);
    assert.match(all, /downstream_rq_time\.P99[^\n]*\|ms/);
    if (style === 'statsd') assert.ok(datagrams.every((text) => !text.includes('\n')));
    else assert.ok(datagrams.some((text) => text.includes('\n')) && datagrams.every((text) => text.length <= 1400));
  });
}
