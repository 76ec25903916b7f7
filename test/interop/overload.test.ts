/** The overload manager in a running proxy: a file says how much pressure there is. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from './support/config.ts';
import { http2Request, http2Session } from './support/http2_client.ts';
import { dial } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const MONITORS = 'type.googleapis.com/envoy.extensions.resource_monitors.';
const DIRECT = { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'direct' } } };
const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';

const trigger = (name: string, value: number): Json => ({ triggers: [{ name, threshold: { value } }] });
const action = (name: string, value: number, extra: Json = {}): Json => ({
  name: `envoy.overload_actions.${name}`,
  ...trigger('injected', value),
  ...extra,
});
const point = (name: string, value: number): Json => ({
  name: `envoy.load_shed_points.${name}`,
  ...trigger('injected', value),
});

async function start(overload: Json, listeners: Json[], clusters: Json[] = [], concurrency = 1): Promise<ProxyProcess> {
  const injected = {
    name: 'injected',
    typed_config: { '@type': `${MONITORS}injected_resource.v3.InjectedResourceConfig`, filename: '$DIR/pressure' },
  };
  const { resource_monitors = [], ...rest } = overload as { resource_monitors?: Json[] };
  const overload_manager = { refresh_interval: '0.02s', resource_monitors: [injected, ...resource_monitors], ...rest };
  const proxy = await startProxy({ config: bootstrap(listeners, clusters, { overload_manager }), concurrency });
  press(proxy, 0);
  return proxy;
}

function press(proxy: ProxyProcess, value: number): void {
  writeFileSync(proxy.file('pressure.new'), String(value));
  renameSync(proxy.file('pressure.new'), proxy.file('pressure'));
}

/** Sets the pressure and waits until the proxy knows. */
async function pressed(proxy: ProxyProcess, value: number): Promise<void> {
  press(proxy, value);
  await proxy.untilStat('overload.injected.pressure', (now) => now === Math.round(value * 100));
}

describe('overload actions', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;

  before(async () => {
    upstream = await httpUpstream();
    const web = http('web', [route('/', 'up')], { access_log: [fileLog('web.log', WHY)], append_local_overload: true });
    proxy = await start(
      {
        actions: [
          action('disable_http_keepalive', 0.5),
          action('reject_incoming_connections', 0.7),
          action('stop_accepting_requests', 0.8),
          action('stop_accepting_connections', 0.95),
          action('shrink_heap', 0.9),
        ],
      },
      [listener('web', [web]), listener('spared', [http('spared', [DIRECT])], { bypass_overload_manager: true })],
      [cluster('up', [upstream.port])],
    );
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  test('keep-alive ends, requests are refused with OM, connections are rejected, and all that ends with the pressure', async () => {
    const client = await dial(proxy.port('web'));
    client.send(GET);
    assert.equal((await client.message()).headers['connection'], undefined);
    await pressed(proxy, 0.6);
    const closing = await dial(proxy.port('web'));
    closing.send(GET);
    assert.equal((await closing.message()).headers['connection'], 'close');
    await closing.untilClosed();
    assert.equal(await proxy.stat('http.web.downstream_cx_overload_disable_keepalive'), 1);

    await pressed(proxy, 0.9);
    client.send(GET);
    const refused = await client.message();
    assert.deepEqual([refused.status, refused.body.toString()], [503, 'envoy overloaded']);
    assert.equal(refused.headers['x-envoy-local-overloaded'], 'true');
    await proxy.untilLine('web.log', '/ 503 OM overload');
    assert.equal(await proxy.stat('http.web.downstream_rq_overload_close'), 1);
    const rejected = await dial(proxy.port('web'));
    await rejected.untilClosed();
    assert.equal(rejected.received.length, 0);
    assert.equal(await proxy.stat('listener.web.downstream_cx_overload_reject'), 1);
    assert.equal((await httpRequest(proxy.port('spared'), '/')).status, 200);
    assert.equal(await proxy.stat('overload.envoy.overload_actions.stop_accepting_requests.active'), 1);
    await proxy.untilStat('overload.envoy.overload_actions.shrink_heap.shrink_count', (count) => count === 1);

    await pressed(proxy, 0.1);
    await until(async () => (await httpRequest(proxy.port('web'), '/')).status === 200, 'requests to be served');
  });

  test('accepting stops and goes on; what was not accepted is served then', async () => {
    await pressed(proxy, 1);
    await until(
      async () => (await proxy.stat('overload.envoy.overload_actions.stop_accepting_connections.active')) === 1,
      'stop',
    );
    // A worker hears of it a moment later: what it accepts until then is rejected.
    let waiting = await dial(proxy.port('web'));
    const rejects = await proxy.stat('listener.web.downstream_cx_overload_reject');
    for (let i = 0; i < 50 && (await proxy.stat('listener.web.downstream_cx_overload_reject')) > rejects; i++) {
      waiting = await dial(proxy.port('web'));
    }
    waiting.send(GET);
    assert.equal((await httpRequest(proxy.port('spared'), '/')).status, 200);
    await pressed(proxy, 0);
    const answer = await waiting.message().catch(() => null);
    if (answer !== null) assert.equal(answer.status, 200);
    assert.equal((await httpRequest(proxy.port('web'), '/')).status, 200);
  });
});

test('load shed points, each for itself', async (t) => {
  const upstream = await httpUpstream();
  const proxy = await start(
    {
      loadshed_points: [
        point('http_downstream_filter_check', 0.1),
        point('http_connection_manager_decode_headers', 0.3),
        point('http2_server_go_away_on_dispatch', 0.4),
        point('http1_server_abort_dispatch', 0.5),
        point('hcm_ondata_creating_codec', 0.7),
        point('tcp_listener_accept', 0.9),
      ],
    },
    [listener('web', [http('web', [route('/', 'up')], { access_log: [fileLog('web.log', WHY)] })])],
    [cluster('up', [upstream.port])],
  );
  t.after(async () => {
    await proxy.stop();
    await upstream.close();
  });
  const port = proxy.port('web');
  const shed = (name: string) => proxy.stat(`overload.envoy.load_shed_points.${name}.shed_load_count`);
  await pressed(proxy, 0.2);
  assert.equal((await httpRequest(port, '/router')).status, 503);
  assert.equal(await proxy.stat('http.web.rq_overload_local_reply'), 1);
  await proxy.untilLine('web.log', '/router 503 OM overload');
  await pressed(proxy, 0.35);
  assert.equal((await httpRequest(port, '/manager')).body, 'envoy overloaded');
  assert.deepEqual([await shed('http_connection_manager_decode_headers'), await shed('http_downstream_filter_check')], [1, 1]);

  await pressed(proxy, 0);
  const session = await http2Session(port);
  t.after(() => session.destroy());
  assert.equal((await http2Request(session, { ':path': '/' })).status, 200);
  const gone = new Promise((resolve) => session.once('goaway', resolve));
  await pressed(proxy, 0.45);
  await http2Request(session, { ':path': '/' });
  await gone;
  assert.ok((await shed('http2_server_go_away_on_dispatch')) >= 1);

  await pressed(proxy, 0);
  const kept = await dial(port);
  kept.send(GET);
  assert.equal((await kept.message()).status, 200);
  await pressed(proxy, 0.6);
  kept.send(GET);
  assert.equal((await kept.message()).status, 500);
  await kept.untilClosed();
  assert.equal(await shed('http1_server_abort_dispatch'), 1);
  await pressed(proxy, 0.8);
  const silent = await dial(port);
  silent.send(GET);
  await silent.untilClosed();
  assert.equal(silent.received.length, 0);
  assert.equal(await shed('hcm_ondata_creating_codec'), 1);
  await pressed(proxy, 1);
  await (await dial(port)).untilClosed();
  assert.equal(await shed('tcp_listener_accept'), 1);
});

test('an idle connection ends earlier under pressure', async (t) => {
  const proxy = await start(
    {
      actions: [
        action('reduce_timeouts', 0.5, {
          typed_config: {
            '@type': 'type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig',
            timer_scale_factors: [{ timer: 'HTTP_DOWNSTREAM_CONNECTION_IDLE', min_timeout: '0.1s' }],
          },
        }),
      ],
    },
    [listener('web', [http('web', [DIRECT], { drain_timeout: '0.05s' })])],
  );
  t.after(() => proxy.stop());
  const client = await dial(proxy.port('web'));
  client.send(GET);
  await client.message();
  await pressed(proxy, 0.6);
  await client.untilClosed();
  assert.equal(await proxy.stat('http.web.downstream_cx_idle_timeout'), 1);
});

test('the limit of connections is exact over workers', async (t) => {
  const limit = 7;
  const monitor = {
    name: 'envoy.resource_monitors.global_downstream_max_connections',
    typed_config: {
      '@type': `${MONITORS}downstream_connections.v3.DownstreamConnectionsConfig`,
      max_active_downstream_connections: limit,
    },
  };
  const proxy = await start(
    { resource_monitors: [monitor] },
    [listener('web', [http('web', [DIRECT])]), listener('free', [http('free', [DIRECT])], { ignore_global_conn_limit: true })],
    [],
    2,
  );
  t.after(() => proxy.stop());
  for (let round = 1; round <= 3; round++) {
    const clients = await Promise.all(Array.from({ length: 20 }, () => dial(proxy.port('web'))));
    await proxy.untilStat('listener.web.downstream_global_cx_overflow', (count) => count === round * (20 - limit));
    assert.equal(await proxy.stat('listener.web.downstream_cx_active'), limit);
    await proxy.untilStat(`overload.${monitor.name}.pressure`, (percent) => percent === 100);
    assert.equal((await httpRequest(proxy.port('free'), '/')).status, 200);
    for (const client of clients) client.end();
    await Promise.all(clients.map((client) => client.untilClosed()));
    await proxy.untilStat(`overload.${monitor.name}.pressure`, (percent) => percent === 0);
  }
});
