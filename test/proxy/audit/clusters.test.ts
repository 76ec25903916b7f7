/** Fields of Cluster and what hangs on it: from the command line to connections, requests and stats. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, fileLog, http, listener, route, tcpProxy, upstreamHttp1 } from '../../interop/support/config.ts';
import { dial } from '../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../interop/support/upstreams.ts';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, startProxy, until } from '../../support/proxy_process.ts';

const TYPES = 'type.googleapis.com/envoy.extensions.';
const HTTP = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const TCP = 'envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions';

let upstream: HttpUpstream;
let other: HttpUpstream;
let proxy: ProxyProcess;

function endpoint(port: number, more: Json = {}): Json {
  return { endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } }, ...more };
}

const thresholds = (limits: Json): Json => ({ circuit_breakers: { thresholds: [{ priority: 'DEFAULT', ...limits }] } });

describe('clusters', () => {
  before(async () => {
    const handler =
      (name: string) =>
      (request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse): void => {
        const path = request.url ?? '';
        if (path.endsWith('/hang')) return;
        if (path.endsWith('/many')) for (let i = 0; i < 20; i++) response.setHeader(`x-${i}`, '1');
        if (path.endsWith('/large')) response.setHeader('x-large', 'x'.repeat(3000));
        if (path.endsWith('/fail')) response.statusCode = 503;
        response.setHeader('x-port', String(request.socket.remotePort));
        response.end(JSON.stringify({ name, path, raw: request.rawHeaders }));
      };
    upstream = await httpUpstream(handler('one'));
    other = await httpUpstream(handler('two'));
    const one = upstream.port;
    const two = other.port;
    const clusters: Record<string, Json> = {
      renamed: { alt_stat_name: 'alt:name' },
      keyed: upstreamHttp1({ header_key_format: { proper_case_words: {} }, send_fully_qualified_url: true }),
      downstream: {
        typed_extension_protocol_options: {
          [HTTP]: {
            '@type': `type.googleapis.com/${HTTP}`,
            use_downstream_protocol_config: { http_protocol_options: { header_key_format: { proper_case_words: {} } } },
          },
        },
      },
      once: upstreamHttp1({}, { max_requests_per_connection: 1 }),
      older: { max_requests_per_connection: 1 },
      oldest: { http_protocol_options: { header_key_format: { proper_case_words: {} } } },
      brief: upstreamHttp1({}, { idle_timeout: '0.02s' }),
      limited: upstreamHttp1({}, { max_headers_count: 10, max_response_headers_kb: 2 }),
      lasting: upstreamHttp1({}, { max_connection_duration: '0.03s' }),
      none: thresholds({ max_connections: 0, max_pending_requests: 0, track_remaining: true }),
      single: thresholds({ max_requests: 1 }),
      budget: thresholds({ retry_budget: { budget_percent: { value: 0 }, min_retry_concurrency: 0 } }),
      noretry: thresholds({ max_retries: 0 }),
      bound: { upstream_bind_config: { source_address: { address: '203.0.113.9', port_value: 0 } } },
      freebind: {
        upstream_bind_config: {
          source_address: { address: '127.0.0.9', port_value: 0 },
          freebind: true,
          socket_options: [{ level: 1, name: 12, int_value: 2, state: 'STATE_PREBIND' }],
        },
        upstream_connection_options: { tcp_keepalive: { keepalive_time: 100, keepalive_probes: 3, keepalive_interval: 10 } },
        per_connection_buffer_limit_bytes: 5000,
      },
      unhealthy: { common_lb_config: { healthy_panic_threshold: { value: 0 } } },
      panic: { common_lb_config: { healthy_panic_threshold: { value: 100 } } },
      logged: { metadata: { filter_metadata: { audit: { cluster: 'c' } } } },
      typed: {
        load_balancing_policy: {
          policies: [
            {
              typed_extension_config: {
                name: 'm',
                typed_config: { '@type': `${TYPES}load_balancing_policies.pick_first.v3.PickFirst` },
              },
            },
            {
              typed_extension_config: {
                name: 'l',
                typed_config: {
                  '@type': `${TYPES}load_balancing_policies.least_request.v3.LeastRequest`,
                  selection_method: 'FULL_SCAN',
                  choice_count: 3,
                  active_request_bias: { default_value: 2, runtime_key: 'bias' },
                },
              },
            },
          ],
        },
      },
      random: { lb_policy: 'RANDOM' },
      idle: {
        typed_extension_protocol_options: { [TCP]: { '@type': `type.googleapis.com/${TCP}`, idle_timeout: '1s' } },
      },
    };
    const assigned: Record<string, Json> = {
      unhealthy: { endpoints: [{ lb_endpoints: [endpoint(one, { health_status: 'UNHEALTHY' })] }] },
      panic: { endpoints: [{ lb_endpoints: [endpoint(one, { health_status: 'UNHEALTHY' })] }] },
      logged: {
        endpoints: [
          {
            locality: { region: 'r', zone: 'z', sub_zone: 's' },
            lb_endpoints: [endpoint(one, { metadata: { filter_metadata: { audit: { host: 'h' } } }, load_balancing_weight: 7 })],
          },
        ],
      },
      // Half of the first priority is well: times 1.4 is 70 %, and with weights 9 : 1 only 14 %.
      priorities: {
        policy: { overprovisioning_factor: 100, weighted_priority_health: true },
        endpoints: [
          {
            lb_endpoints: [
              endpoint(one, { health_status: 'UNHEALTHY', load_balancing_weight: 99 }),
              endpoint(one, { load_balancing_weight: 1 }),
            ],
          },
          { priority: 1, lb_endpoints: [endpoint(two)] },
        ],
      },
      weights: { endpoints: [{ lb_endpoints: [endpoint(one, { load_balancing_weight: 3 }), endpoint(two)] }] },
    };
    const names = [...new Set([...Object.keys(clusters), ...Object.keys(assigned)])];
    const all = names.map((name) => ({
      ...cluster(name, [one]),
      ...clusters[name],
      ...(assigned[name] === undefined ? {} : { load_assignment: { cluster_name: name, ...assigned[name] } }),
    }));
    const retry = { retry_policy: { retry_on: '5xx', num_retries: 1 } };
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http('main', [...names.map((name) => route(`/${name}/`, name, retry)), route('/original', 'original')], {
              access_log: [
                fileLog(
                  'main.log',
                  '%UPSTREAM_CLUSTER% %RESPONSE_FLAGS% %CLUSTER_METADATA(audit:cluster)% %UPSTREAM_METADATA(audit:host)% %RESPONSE_CODE_DETAILS%',
                ),
              ],
            }),
          ]),
          listener('tcp', [tcpProxy('tcp', 'idle')]),
        ],
        [
          ...all,
          {
            name: 'original',
            type: 'ORIGINAL_DST',
            lb_policy: 'CLUSTER_PROVIDED',
            original_dst_lb_config: { use_http_header: true, http_header_name: 'x-target', upstream_port_override: two },
          },
        ],
      ),
    });
  });
  after(async () => {
    await proxy?.stop();
    await upstream?.close();
    await other?.close();
  });

  interface Seen extends AdminAnswer {
    seen: { name: string; path: string; raw: string[] };
  }

  async function ask(path: string, headers: Record<string, string> = {}): Promise<Seen> {
    const answer = await httpRequest(proxy.port('main'), path, { headers });
    return { ...answer, seen: answer.body.startsWith('{') ? JSON.parse(answer.body) : undefined };
  }

  test('names of stats', async () => {
    await ask('/renamed/');
    assert.equal(await proxy.stat('cluster.alt_name.upstream_rq_total'), 1);
  });

  test('options of HTTP/1, wherever they stand', async () => {
    const keyed = await ask('/keyed/', { 'x-made-up': '1' });
    assert.ok(keyed.seen.raw.includes('X-Made-Up'));
    assert.match(keyed.seen.path, /^http:\/\/127\.0\.0\.1:\d+\/keyed\/$/);
    for (const name of ['downstream', 'oldest'])
      assert.ok((await ask(`/${name}/`, { 'x-made-up': '1' })).seen.raw.includes('X-Made-Up'), name);
  });

  test('life of pooled connections', async () => {
    for (const name of ['once', 'older']) {
      await ask(`/${name}/`);
      await ask(`/${name}/`);
      assert.equal(await proxy.stat(`cluster.${name}.upstream_cx_max_requests`), 2, name);
    }
    await ask('/brief/');
    await proxy.untilStat('cluster.brief.upstream_cx_idle_timeout', (count) => count === 1);
    await ask('/lasting/');
    await proxy.untilStat('cluster.lasting.upstream_cx_max_duration_reached', (count) => count === 1);
    await ask('/random/');
    await ask('/random/');
    assert.equal(await proxy.stat('cluster.random.upstream_cx_total'), 1);
  });

  test('limits of responses', async () => {
    assert.equal((await ask('/limited/')).status, 200);
    assert.equal((await ask('/limited/many')).status, 502);
    assert.equal((await ask('/limited/large')).status, 502);
  });

  test('circuit breakers', async () => {
    const refused = await ask('/none/');
    assert.deepEqual([refused.status, refused.headers['x-envoy-overloaded']], [503, 'true']);
    assert.equal(await proxy.stat('cluster.none.upstream_rq_pending_overflow'), 1);
    assert.equal(await proxy.stat('cluster.none.circuit_breakers.default.remaining_pending'), 0);
    const hanging = await dial(proxy.port('main'));
    hanging.send('GET /single/hang HTTP/1.1\r\nhost: a\r\n\r\n');
    await proxy.untilStat('cluster.single.upstream_rq_active', (count) => count === 1);
    assert.equal((await ask('/single/')).status, 503);
    hanging.destroy();
    for (const name of ['budget', 'noretry']) {
      assert.equal((await ask(`/${name}/fail`)).status, 503);
      assert.equal(await proxy.stat(`cluster.${name}.upstream_rq_retry_overflow`), 1, name);
    }
  });

  test('source addresses and socket options', async () => {
    const failed = await ask('/bound/');
    assert.equal(failed.status, 503);
    assert.match(failed.body, /^upstream connect error/);
    assert.equal((await ask('/freebind/')).status, 200);
  });

  test('panic, priorities and weights', async () => {
    assert.equal((await ask('/unhealthy/')).body, 'no healthy upstream');
    assert.equal((await ask('/panic/')).status, 200);
    const counts = { one: 0, two: 0 };
    for (let i = 0; i < 30; i++) counts[(await ask('/priorities/')).seen.name as 'one' | 'two']++;
    // One of a hundred is well: of 30 requests hardly any goes to the first priority.
    assert.ok(counts.one < 10, JSON.stringify(counts));
    const weighted = { one: 0, two: 0 };
    for (let i = 0; i < 40; i++) weighted[(await ask('/weights/')).seen.name as 'one' | 'two']++;
    assert.deepEqual(weighted, { one: 30, two: 10 });
    assert.equal((await ask('/typed/')).status, 200);
  });

  test('metadata, locality and weight are shown', async () => {
    await ask('/logged/');
    await until(
      async () => (await proxy.lines('main.log', 1)).includes('logged - c h via_upstream'),
      'the line of the cluster with metadata',
    );
    const { body } = await proxy.admin('/clusters');
    for (const [name, value] of Object.entries({ region: 'r', zone: 'z', sub_zone: 's', weight: 7 }))
      assert.match(body, new RegExp(`^logged::127\\.0\\.0\\.1:\\d+::${name}::${value}$`, 'm'));
  });

  test('original destination from a header, on another port', async () => {
    assert.equal((await ask('/original', { 'x-target': '127.0.0.1:1' })).seen.name, 'two');
  });
});
