/** envoy.filters.http.fault in the real proxy: aborts, delays, slow responses, their percentages, headers and runtime keys. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import {
  bootstrap,
  cluster,
  fileLog,
  http,
  httpFilters,
  listener,
  perRoute,
  route,
  WHY,
  withoutFilter,
} from './support/config.ts';
import { echoClient } from './support/grpc_service.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const MESSAGE = 'fault.v3.HTTPFault';
const ALWAYS = { numerator: 100 };
const abort = (http_status: number, percentage: Json = ALWAYS): Json => ({ abort: { http_status, percentage } });

describe('fault', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  const big = 'x'.repeat(40_000);

  before(async () => {
    upstream = await httpUpstream((request, response) => {
      if (request.url === '/slow/trailers') {
        response.writeHead(200, { trailer: 'x-end' });
        response.write(big);
        response.addTrailers({ 'x-end': 'yes' });
        response.end();
      } else response.end(request.url?.startsWith('/slow') ? big : 'body');
    });
    const to = (prefix: string, config: Json): Json => ({ ...route(prefix, 'node'), ...perRoute('fault', MESSAGE, config) });
    const routes = [
      to('/abort', { ...abort(418), filter_metadata: { why: 'test' } }),
      to('/half', abort(418, { numerator: 50 })),
      to('/never', abort(418, { numerator: 0 })),
      to('/runtime', {
        ...abort(418, { numerator: 0 }),
        abort_percent_runtime: 'my.abort',
        abort_http_status_runtime: 'my.status',
      }),
      to('/delay', { delay: { fixed_delay: '0.2s', percentage: ALWAYS } }),
      to('/both', { delay: { fixed_delay: '0.05s', percentage: ALWAYS }, ...abort(503) }),
      to('/long', { delay: { fixed_delay: '3600s', percentage: ALWAYS }, max_active_faults: 1 }),
      to('/header', {
        abort: { header_abort: {}, percentage: ALWAYS },
        delay: { header_delay: {}, percentage: ALWAYS },
      }),
      to('/slow', { response_rate_limit: { fixed_limit: { limit_kbps: 100 }, percentage: ALWAYS } }),
      to('/match', { ...abort(418), headers: [{ name: 'x-hit', string_match: { exact: 'yes' } }], downstream_nodes: ['n1'] }),
      to('/cluster', { ...abort(418), upstream_cluster: 'other' }),
      to('/test.', { abort: { grpc_status: 7, percentage: ALWAYS } }),
      { ...route('/off', 'node'), ...withoutFilter('fault') },
      route('/', 'node'),
    ];
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http('main', routes, {
              ...httpFilters(['fault', MESSAGE, abort(500)]),
              access_log: [fileLog('main', `${WHY} %DYNAMIC_METADATA(envoy.filters.http.fault:why)%`)],
            }),
          ]),
        ],
        [cluster('node', [upstream.port])],
        {
          layered_runtime: {
            layers: [
              { name: 'static', static_layer: { my: { abort: 100, status: 451 } } },
              { name: 'admin', admin_layer: {} },
            ],
          },
        },
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const call = (path: string, headers: Record<string, string> = {}): Promise<AdminAnswer> =>
    httpRequest(proxy.port('main'), path, { headers });
  const timed = async (path: string, headers: Record<string, string> = {}): Promise<[AdminAnswer, number]> => {
    const start = performance.now();
    return [await call(path, headers), performance.now() - start];
  };

  test('aborts, and says so', async () => {
    const answer = await call('/abort');
    assert.equal(answer.status, 418);
    assert.equal(answer.body, 'fault filter abort');
    await proxy.untilLine('main', '/abort 418 FI fault_filter_abort test');
    assert.equal((await call('/')).status, 500);
    assert.equal((await call('/off')).body, 'body');
  });

  test('a share of requests', async () => {
    const statuses = await Promise.all(Array.from({ length: 200 }, async () => (await call('/half')).status));
    const hit = statuses.filter((status) => status === 418).length;
    assert.ok(hit > 50 && hit < 150, `${hit} of 200`);
    assert.equal((await call('/never')).status, 200);
  });

  test('runtime keys', async () => {
    assert.equal((await call('/runtime')).status, 451);
    await proxy.admin('/runtime_modify?my.abort=0', 'POST');
    await until(
      async () => (await call('/runtime')).status === 200,
      () => 'the key to be 0',
    );
  });

  test('delays, alone and before an abort', async () => {
    const [answer, ms] = await timed('/delay');
    assert.equal(answer.body, 'body');
    assert.ok(ms >= 195, `${ms} ms`);
    assert.equal((await call('/both')).status, 503);
    await proxy.untilLine('main', /^\/delay 200 DI via_upstream/);
    await proxy.untilLine('main', '/both 503 DI,FI fault_filter_abort -');
  });

  test('requests say how they are to be hurt', async () => {
    assert.equal((await call('/header')).status, 200);
    assert.equal((await call('/header', { 'x-envoy-fault-abort-request': '409' })).status, 409);
    assert.equal((await call('/header', { 'x-envoy-fault-abort-request': '99' })).status, 200);
    const never = { 'x-envoy-fault-abort-request': '409', 'x-envoy-fault-abort-request-percentage': '0' };
    assert.equal((await call('/header', never)).status, 200);
    const [, ms] = await timed('/header', { 'x-envoy-fault-delay-request': '100' });
    assert.ok(ms >= 95, `${ms} ms`);
  });

  test('slow responses', async () => {
    const [answer, ms] = await timed('/slow');
    assert.equal(answer.body.length, big.length);
    assert.ok(ms > 250, `${ms} ms for 40 KB at 100 KiB/s`);
    assert.equal((await call('/slow/trailers')).body.length, big.length);
    await proxy.untilStat('http.main.fault.active_faults', (value) => value === 0);
    assert.equal(await proxy.stat('http.main.fault.response_rl_injected'), 2);
  });

  test('only some requests', async () => {
    const node = { 'x-envoy-downstream-service-node': 'n1', 'x-envoy-downstream-service-cluster': 'shop' };
    assert.equal((await call('/match', { ...node, 'x-hit': 'yes' })).status, 418);
    assert.equal((await call('/match', node)).status, 200);
    assert.equal((await call('/match', { 'x-hit': 'yes' })).status, 200);
    assert.equal((await call('/cluster')).status, 200);
    assert.equal(await proxy.stat('http.main.fault.shop.aborts_injected'), 1);
  });

  test('gRPC statuses', async () => {
    const client = echoClient(proxy.port('main'));
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      client.unary(Buffer.from('a'), new grpc.Metadata(), {}, resolve);
    });
    assert.equal(error?.code, grpc.status.PERMISSION_DENIED);
    assert.equal(error?.details, 'fault filter abort');
  });

  test('not more than so many at once; a request that ends while it waits is one less', async () => {
    const overflow = await proxy.stat('http.main.fault.faults_overflow');
    const controller = new AbortController();
    const waiting = fetch(`http://127.0.0.1:${proxy.port('main')}/long`, { signal: controller.signal }).catch(() => 'aborted');
    await proxy.untilStat('http.main.fault.active_faults', (value) => value === 1);
    assert.equal((await call('/long')).body, 'body');
    assert.equal(await proxy.stat('http.main.fault.faults_overflow'), overflow + 1);
    controller.abort();
    assert.equal(await waiting, 'aborted');
    await proxy.untilStat('http.main.fault.active_faults', (value) => value === 0);
  });
});
