/** envoy.filters.http.health_check in the real proxy: answered here, by clusters' hosts, passed through with a cache, failed by admin. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { httpRequest, type Json, type ProxyProcess, spawnProxy, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from './support/config.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const TYPES = 'type.googleapis.com/envoy.extensions.filters.http';

function manager(name: string, fields: Json): Json {
  return listener(name, [
    http(name, [route('/', 'node')], {
      access_log: [fileLog(`${name}.log`, WHY)],
      http_filters: [
        {
          name: 'health',
          typed_config: {
            '@type': `${TYPES}.health_check.v3.HealthCheck`,
            headers: [{ name: ':path', string_match: { exact: '/healthz' } }],
            ...fields,
          },
        },
        { name: 'router', typed_config: { '@type': `${TYPES}.router.v3.Router` } },
      ],
    }),
  ]);
}

describe('the health_check filter', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let asked = 0;

  before(async () => {
    upstream = await httpUpstream((request, response) => {
      request.resume();
      asked++;
      response.writeHead(request.url === '/healthz' ? 418 : 200).end('up');
    });
    const clusters = (percent: number, name = 'node'): Json => ({
      cluster_min_healthy_percentages: { [name]: { value: percent } },
    });
    proxy = await startProxy({
      config: bootstrap(
        [
          manager('here', { pass_through_mode: false }),
          manager('hosts', { pass_through_mode: false, ...clusters(50) }),
          manager('empty', { pass_through_mode: false, ...clusters(1, 'empty') }),
          manager('empty_fine', { pass_through_mode: false, ...clusters(0, 'empty') }),
          manager('nowhere', { pass_through_mode: false, ...clusters(1, 'nowhere') }),
          manager('through', { pass_through_mode: true }),
          manager('cached', { pass_through_mode: true, cache_time: '3600s' }),
        ],
        [cluster('node', [upstream.port]), cluster('empty', [])],
      ),
      args: ['--service-cluster', 'front'],
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const check = async (name: string, options = {}): Promise<number> =>
    (await httpRequest(proxy.port(name), '/healthz', options)).status;
  const why = async (name: string, line: string): Promise<void> => {
    await until(async () => (await proxy.lines(`${name}.log`, 1)).includes(line), `'${line}' in ${name}.log`);
  };

  test('is answered here, with a body or without, and other requests are not', async () => {
    asked = 0;
    const answer = await httpRequest(proxy.port('here'), '/healthz');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['x-envoy-upstream-healthchecked-cluster'], 'front');
    assert.equal(await check('here', { method: 'POST', body: 'x'.repeat(10_000) }), 200);
    assert.equal(asked, 0);
    const other = await httpRequest(proxy.port('here'), '/other');
    assert.equal(other.body, 'up');
    assert.equal(other.headers['x-envoy-upstream-healthchecked-cluster'], undefined);
    await why('here', '/healthz 200 - health_check_ok');
  });

  test('by the hosts of clusters', async () => {
    assert.equal(await check('hosts'), 200);
    await why('hosts', '/healthz 200 - health_check_cluster_healthy');
    assert.equal(await check('empty'), 503);
    await why('empty', '/healthz 503 LH health_check_cluster_empty');
    assert.equal(await check('empty_fine'), 200);
    assert.equal(await check('nowhere'), 503);
    await why('nowhere', '/healthz 503 LH health_check_no_cluster_found');
  });

  test('passed through, and remembered for a while', async () => {
    asked = 0;
    assert.equal(await check('through'), 418);
    assert.equal(await check('through'), 418);
    assert.equal(asked, 2);
    assert.equal(await check('cached'), 418);
    assert.equal(await check('cached'), 418);
    assert.equal(asked, 3);
    await why('cached', '/healthz 418 LH health_check_cached');
  });

  test('failed by admin', async () => {
    await proxy.admin('/healthcheck/fail', 'POST');
    for (const name of ['here', 'hosts', 'through', 'cached']) {
      await until(async () => (await check(name)) === 503, name);
    }
    await why('through', '/healthz 503 LH health_check_failed');
    const other = await httpRequest(proxy.port('here'), '/other');
    assert.equal(other.status, 200);
    assert.equal(other.headers['x-envoy-immediate-health-check-fail'], 'true');
    await proxy.admin('/healthcheck/ok', 'POST');
    await until(async () => (await check('here')) === 200, 'health again');
  });
});

test('a cache without passing through is a mistake', async () => {
  const proxy = spawnProxy({
    config: bootstrap([manager('l', { pass_through_mode: false, cache_time: '1s' })], [cluster('node', [1])]),
    args: ['--mode', 'validate'],
  });
  assert.equal(await proxy.exited, 1);
  assert.match(proxy.log, /cache_time: cache_time_ms must not be set when path_through_mode is disabled/);
});
