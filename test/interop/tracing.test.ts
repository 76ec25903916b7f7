/** Tracing through the real proxy, to real collectors: OTLP over HTTP and gRPC, Zipkin. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fields } from '../support/protobuf_reader.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { grpcCollector, httpCollector } from './support/collectors.ts';
import { bootstrap, cluster, fileLog, http, listener, route, upstreamHttp2 } from './support/config.ts';
import { httpUpstream } from './support/upstreams.ts';

const TYPES = 'type.googleapis.com/envoy.';
const RUNTIME = {
  layered_runtime: {
    layers: [
      {
        name: 'test',
        static_layer: {
          'tracing.opentelemetry.min_flush_spans': 1,
          'tracing.zipkin.min_flush_spans': 1,
          'tracing.opentelemetry.flush_interval_ms': 20,
        },
      },
    ],
  },
};
const otel = (config: Json): Json => ({
  name: 'envoy.tracers.opentelemetry',
  typed_config: { '@type': `${TYPES}config.trace.v3.OpenTelemetryConfig`, ...config },
});
const zipkin = (config: Json): Json => ({
  name: 'envoy.tracers.zipkin',
  typed_config: {
    '@type': `${TYPES}config.trace.v3.ZipkinConfig`,
    collector_cluster: 'collector',
    collector_endpoint: '/api/v2/spans',
    collector_endpoint_version: 'HTTP_JSON',
    ...config,
  },
});

interface Echo {
  headers: Record<string, string>;
}

async function get(proxy: ProxyProcess, path: string, headers: Record<string, string> = {}): Promise<Echo> {
  return JSON.parse((await httpRequest(proxy.port('web'), path, { headers })).body) as Echo;
}

function spansOf(body: Buffer): { resource: Record<string, string>; spans: Fields[] } {
  const resourceSpans = new Fields(body).message(1);
  return { resource: resourceSpans.message(1).attributes(1), spans: resourceSpans.message(2).messages(2) };
}

test('OTLP over HTTP: server and client spans with their tags, W3C propagation, custom tags, decorators', async (t) => {
  const collector = await httpCollector();
  const upstream = await httpUpstream();
  const tracing = {
    provider: otel({
      service_name: 'shop',
      resource_detectors: [
        {
          name: 'static',
          typed_config: {
            '@type': `${TYPES}extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig`,
            attributes: { region: 'north' },
          },
        },
      ],
      http_service: {
        http_uri: { uri: 'http://otel.test/v1/traces', cluster: 'collector', timeout: '2s' },
        request_headers_to_add: [{ header: { key: 'x-token', value: 'secret' } }],
      },
    }),
    spawn_upstream_span: true,
    verbose: true,
    max_path_tag_length: 12,
    custom_tags: [
      { tag: 'where', literal: { value: 'here' } },
      { tag: 'user', request_header: { name: 'X-User', default_value: 'nobody' } },
      { tag: 'home', environment: { name: 'NO_SUCH_VARIABLE', default_value: 'unset' } },
      { tag: 'team', metadata: { kind: { route: {} }, metadata_key: { key: 'owner', path: [{ key: 'team' }] } } },
    ],
  };
  const decorated = {
    ...route('/buy', 'up'),
    decorator: { operation: 'checkout' },
    metadata: { filter_metadata: { owner: { team: 'carts' } } },
  };
  const manager = http('web', [decorated, route('/', 'up')], {
    tracing,
    access_log: [fileLog('web.log', '%REQ(:PATH)% %TRACE_ID%')],
  });
  const proxy = await startProxy({
    config: bootstrap([listener('web', [manager])], [cluster('up', [upstream.port]), cluster('collector', [collector.port])], {
      node: { id: 'node-1', cluster: 'front', locality: { zone: 'z1' } },
      ...RUNTIME,
    }),
  });
  t.after(async () => {
    await proxy.stop();
    await upstream.close();
    collector.close();
  });
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const echo = await get(proxy, '/buy?a-long-query', {
    traceparent: `00-${traceId}-b7ad6b7169203331-01`,
    tracestate: 'vendor=1',
    'x-user': 'ann',
  });
  await until(() => collector.received.flatMap(({ body }) => spansOf(body).spans).length === 2, 'two spans');
  const [first] = collector.received;
  assert.deepEqual(
    [first.path, first.headers['host'], first.headers['content-type'], first.headers['x-token']],
    ['/v1/traces', 'otel.test', 'application/x-protobuf', 'secret'],
  );
  const { resource } = spansOf(first.body);
  assert.deepEqual([resource['service.name'], resource['region']], ['shop', 'north']);
  const spans = collector.received.flatMap(({ body }) => spansOf(body).spans);
  const client = spans.find((span) => span.number(6) === 3)!;
  const server = spans.find((span) => span.number(6) === 2)!;
  assert.deepEqual([server.hex(1), client.hex(1)], [traceId, traceId]);
  assert.deepEqual([server.hex(4), client.hex(4)], ['b7ad6b7169203331', server.hex(2)]);
  assert.deepEqual([server.text(5), client.text(5), server.text(3)], ['checkout', 'router up egress', 'vendor=1']);
  assert.equal(echo.headers['traceparent'], `00-${traceId}-${client.hex(2)}-01`);
  assert.equal(echo.headers['tracestate'], 'vendor=1');
  const tags = server.attributes(9);
  const expected = {
    'http.url': `http://127.0.0.1:${proxy.port('web')}/buy?a-long-`,
    'http.method': 'GET',
    'http.protocol': 'HTTP/1.1',
    'http.status_code': '200',
    response_flags: '-',
    component: 'proxy',
    upstream_cluster: 'up',
    'upstream_cluster.name': 'up',
    node_id: 'node-1',
    zone: 'z1',
    'peer.address': '127.0.0.1',
    downstream_cluster: '-',
    user_agent: '-',
    request_size: '0',
    where: 'here',
    user: 'ann',
    home: 'unset',
    team: 'carts',
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(tags[name], value, name);
  assert.equal(tags['error'], undefined);
  assert.equal(client.attributes(9)['upstream_address'], `127.0.0.1:${upstream.port}`);
  assert.ok(
    server.fixed64(8) >= client.fixed64(8) && client.fixed64(8) >= client.fixed64(7) && client.fixed64(7) >= server.fixed64(7),
  );
  assert.ok(server.messages(11).some((event) => event.text(2) === 'first_upstream_rx_byte_received'));
  await proxy.untilLine('web.log', `/buy?a-long-query ${traceId}`);

  // Not sampled by its caller: told to upstreams, not sent.
  const quiet = await get(proxy, '/', { traceparent: `00-${traceId}-b7ad6b7169203331-00` });
  assert.match(quiet.headers['traceparent'], new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  // Not well formed: no span, and what was sent is passed on.
  assert.equal((await get(proxy, '/', { traceparent: 'what' })).headers['traceparent'], 'what');
  await proxy.untilStat('tracing.opentelemetry.spans_sent', (count) => count === 2);
  assert.equal(await proxy.stat('http.web.tracing.random_sampling'), 3);
});

test('OTLP over gRPC, samplers; a collector that fails costs requests nothing, and its spans are counted', async (t) => {
  const collector = await grpcCollector('/opentelemetry.proto.collector.trace.v1.TraceService/Export', false);
  const upstream = await httpUpstream();
  const sampler = (type: string, extra: Json): Json => ({
    name: type,
    typed_config: { '@type': `${TYPES}extensions.tracers.opentelemetry.samplers.v3.${type}SamplerConfig`, ...extra },
  });
  const ratio = sampler('TraceIdRatioBased', { sampling_percentage: { numerator: 0 } });
  const provider = otel({
    grpc_service: { envoy_grpc: { cluster_name: 'collector' }, initial_metadata: [{ key: 'x-key', value: 'v' }], timeout: '1s' },
    service_name: 'g',
    sampler: sampler('ParentBased', { wrapped_sampler: ratio }),
  });
  const proxy = await startProxy({
    config: bootstrap(
      [listener('web', [http('web', [route('/', 'up')], { tracing: { provider } })])],
      [cluster('up', [upstream.port]), cluster('collector', [collector.port], upstreamHttp2())],
      RUNTIME,
    ),
  });
  t.after(async () => {
    await proxy.stop();
    await upstream.close();
    collector.close();
  });
  const echo = await get(proxy, '/root');
  assert.match(echo.headers['traceparent'], /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  const parent = `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`;
  await get(proxy, '/child', { traceparent: parent });
  await until(() => collector.messages.length === 1, 'a span');
  const { spans, resource } = spansOf(collector.messages[0]);
  assert.deepEqual([resource['service.name'], spans[0].text(5), spans[0].hex(1)], ['g', 'ingress', 'ab'.repeat(16)]);
  assert.equal(collector.metadata[0]['x-key'], 'v');
  collector.up = false;
  for (let i = 0; i < 5; i++)
    assert.ok((await get(proxy, '/more', { traceparent: parent })).headers['traceparent'].endsWith('-01'));
  await proxy.untilStat('tracing.opentelemetry.spans_failed', (count) => count === 5);
  collector.close();
  for (let i = 0; i < 5; i++) await get(proxy, '/gone', { traceparent: parent });
  await proxy.untilStat('tracing.opentelemetry.spans_failed', (count) => count === 10);
  assert.equal(await proxy.stat('tracing.opentelemetry.spans_sent'), 1);
});

test('Zipkin: JSON, B3 in one header or several, shared spans; an egress listener makes client spans', async (t) => {
  const collector = await httpCollector(202);
  const upstream = await httpUpstream();
  const proxy = await startProxy({
    config: bootstrap(
      [
        listener('web', [http('web', [route('/', 'up')], { tracing: { provider: zipkin({ trace_id_128bit: true }) } })]),
        listener('out', [http('out', [route('/', 'up')], { tracing: { provider: zipkin({ shared_span_context: false }) } })], {
          traffic_direction: 'OUTBOUND',
        }),
      ],
      [cluster('up', [upstream.port]), cluster('collector', [collector.port])],
      { node: { id: 'n', cluster: 'front' }, ...RUNTIME },
    ),
  });
  t.after(async () => {
    await proxy.stop();
    await upstream.close();
    collector.close();
  });
  interface ZipkinSpan {
    traceId: string;
    id: string;
    parentId?: string;
    kind: string;
    name: string;
    shared?: boolean;
    timestamp: number;
    duration: number;
    localEndpoint: Json;
    tags: Record<string, string>;
  }
  const next = async (): Promise<ZipkinSpan> => {
    await until(() => collector.received.length === 1, 'a report');
    const [report] = collector.received.splice(0);
    assert.deepEqual(
      [report.path, report.headers['content-type'], report.headers['host']],
      ['/api/v2/spans', 'application/json', 'collector'],
    );
    return (JSON.parse(report.body.toString()) as ZipkinSpan[])[0];
  };
  const root = await get(proxy, '/root');
  const span = await next();
  assert.deepEqual(
    [span.kind, span.name, span.localEndpoint['serviceName'], span.tags['http.status_code']],
    ['SERVER', 'ingress', 'front', '200'],
  );
  assert.match(span.traceId, /^[0-9a-f]{32}$/);
  assert.ok(Math.abs(span.timestamp / 1000 - Date.now()) < 60_000 && span.duration >= 1);
  assert.deepEqual(
    [root.headers['x-b3-traceid'], root.headers['x-b3-spanid'], root.headers['x-b3-sampled']],
    [span.traceId, span.id, '1'],
  );
  const [trace, id, parent] = ['463ac35c9f6413ad', 'a2fb4a1d1a96d312', '0020000000000001'];
  await get(proxy, '/single', { b3: `${trace}-${id}-1-${parent}` });
  const shared = await next();
  assert.deepEqual([shared.traceId, shared.id, shared.parentId, shared.shared], [trace, id, parent, true]);
  const out = JSON.parse(
    (
      await httpRequest(proxy.port('out'), '/multi', {
        headers: { 'x-b3-traceid': trace, 'x-b3-spanid': id, 'x-b3-sampled': '1' },
      })
    ).body,
  ) as Echo;
  const client = await next();
  assert.deepEqual([client.kind, client.parentId, client.shared], ['CLIENT', id, undefined]);
  assert.equal(client.name, `egress 127.0.0.1:${proxy.port('out')}`);
  assert.equal(out.headers['x-b3-spanid'], client.id);
  const unsampled = await get(proxy, '/', { 'x-b3-traceid': trace, 'x-b3-spanid': id, 'x-b3-sampled': '0' });
  assert.equal(unsampled.headers['x-b3-sampled'], '0');
  await proxy.untilStat('tracing.zipkin.reports_sent', (count) => count === 3);
  collector.status = 500;
  await get(proxy, '/');
  await proxy.untilStat('tracing.zipkin.reports_dropped', (count) => count === 1);
});

test('sampling: percentages, forced, by the client, of a route; the reason is in x-request-id', async (t) => {
  const collector = await httpCollector(202);
  const upstream = await httpUpstream();
  const always = { numerator: 100 };
  const routes = [{ ...route('/always', 'up'), tracing: { random_sampling: always } }, route('/', 'up')];
  const tracing = { provider: zipkin({}), random_sampling: { value: 0 }, client_sampling: { value: 100 } };
  const proxy = await startProxy({
    config: bootstrap(
      [
        listener('web', [http('web', routes, { tracing })]),
        listener('never', [http('never', routes, { tracing: { ...tracing, overall_sampling: { value: 0 } } })]),
      ],
      [cluster('up', [upstream.port]), cluster('collector', [collector.port])],
      RUNTIME,
    ),
  });
  t.after(async () => {
    await proxy.stop();
    await upstream.close();
    collector.close();
  });
  const reason = (echo: Echo): string => echo.headers['x-request-id'][14] + echo.headers['x-b3-sampled'];
  assert.equal(reason(await get(proxy, '/')), '40');
  assert.equal(reason(await get(proxy, '/always')), '91');
  // Without the trusted-address options the proxy takes requests for external ones, whose force header it drops.
  const given = '12345678-1234-a234-8234-123456789012';
  assert.equal(reason(await get(proxy, '/', { 'x-request-id': given })), 'a1');
  assert.equal(reason(await get(proxy, '/', { 'x-client-trace-id': 'c' })), 'b1');
  const never = JSON.parse((await httpRequest(proxy.port('never'), '/', { headers: { 'x-client-trace-id': 'c' } })).body) as Echo;
  assert.equal(reason(never), '40');
  assert.deepEqual(
    [await proxy.stat('http.web.tracing.not_traceable'), await proxy.stat('http.web.tracing.client_enabled')],
    [1, 1],
  );
  assert.equal(await proxy.stat('http.web.tracing.service_forced'), 1);
});
