/** envoy.filters.http.local_ratelimit and envoy.filters.network.local_ratelimit in the real proxy, with two workers. */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import {
  bootstrap,
  cluster,
  fileLog,
  http,
  httpFilters,
  listener,
  networkFilter,
  percent,
  perRoute,
  route,
  tcpProxy,
  WHY,
  withoutFilter,
} from './support/config.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const MESSAGE = 'local_ratelimit.v3.LocalRateLimit';

/** A bucket that does not fill again while a test runs. */
function limit(tokens: number, extra: Json = {}): Json {
  return {
    stat_prefix: 'limit',
    token_bucket: { max_tokens: tokens, fill_interval: '3600s' },
    filter_enabled: percent(100),
    filter_enforced: percent(100),
    ...extra,
  };
}

const DESCRIPTORS = {
  descriptors: [
    { entries: [{ key: 'client', value: 'greedy' }], token_bucket: { max_tokens: 2, fill_interval: '3600s' } },
    {
      entries: [
        { key: 'remote_address', value: '127.0.0.1' },
        { key: 'generic_key', value: 'slow' },
      ],
      token_bucket: { max_tokens: 1, fill_interval: '3600s' },
    },
    {
      entries: [{ key: 'masked_remote_address', value: '127.0.0.0/8' }],
      token_bucket: { max_tokens: 3, fill_interval: '3600s' },
    },
  ],
};

describe('local rate limits', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;

  before(async () => {
    upstream = await httpUpstream((incoming, response) => response.end(`limited: ${incoming.headers['x-limited'] ?? 'no'}`));
    const filter = (config: Json) => httpFilters(['limit', MESSAGE, config]);
    const actions = (...list: Json[]): Json => ({ rate_limits: [{ actions: list }] });
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          listener('shared', [http('shared', [route('/', 'node')], filter(limit(50)))]),
          listener('headers', [
            http('headers', [route('/', 'node')], {
              ...filter(
                limit(1, {
                  status: { code: 'ServiceUnavailable' },
                  response_headers_to_add: [{ header: { key: 'x-path', value: '%REQ(:PATH)%' } }],
                  enable_x_ratelimit_headers: 'DRAFT_VERSION_03',
                }),
              ),
              access_log: [fileLog('headers', WHY)],
            }),
          ]),
          listener('connection', [
            http('connection', [route('/', 'node')], filter(limit(2, { local_rate_limit_per_downstream_connection: true }))),
          ]),
          listener('watch', [
            http(
              'watch',
              [route('/', 'node')],
              filter(
                limit(1, {
                  stat_prefix: 'watch',
                  filter_enforced: percent(0),
                  request_headers_to_add_when_not_enforced: [{ header: { key: 'x-limited', value: 'yes' } }],
                }),
              ),
            ),
          ]),
          listener('routes', [
            http(
              'routes',
              [
                { ...route('/one', 'node'), ...perRoute('limit', MESSAGE, limit(1, { stat_prefix: 'one' })) },
                { ...route('/two', 'node'), ...perRoute('limit', MESSAGE, limit(1, { stat_prefix: 'one' })) },
                { ...route('/off', 'node'), ...withoutFilter('limit') },
                route('/', 'node'),
              ],
              filter({ stat_prefix: 'none' }),
            ),
          ]),
          listener('descriptors', [
            http(
              'descriptors',
              [
                route('/own', 'node', actions({ request_headers: { header_name: 'x-client', descriptor_key: 'client' } })),
                route('/slow', 'node', actions({ remote_address: {} }, { generic_key: { descriptor_value: 'slow' } })),
                route('/query', 'node', {
                  rate_limits: [
                    { actions: [{ query_parameters: { query_parameter_name: 'c', descriptor_key: 'client' } }] },
                    { stage: 3, actions: [{ remote_address: {} }, { generic_key: { descriptor_value: 'slow' } }] },
                  ],
                }),
                route('/', 'node'),
              ],
              {
                ...filter(limit(1000, DESCRIPTORS)),
                virtual_host: actions({ masked_remote_address: { v4_prefix_mask_len: 8 } }),
              },
            ),
          ]),
          listener('tcp', [
            networkFilter('local_ratelimit', {
              '@type': 'type.googleapis.com/envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit',
              stat_prefix: 'tcp',
              token_bucket: { max_tokens: 3, fill_interval: '3600s' },
            }),
            tcpProxy('tcp', 'node'),
          ]),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const call = (name: string, path = '/', headers: Record<string, string> = {}): Promise<AdminAnswer> =>
    httpRequest(proxy.port(name), path, { headers });
  const statuses = async (name: string, path: string, count: number, headers: Record<string, string> = {}) => {
    const seen: number[] = [];
    for (let i = 0; i < count; i++) seen.push((await call(name, path, headers)).status);
    return seen;
  };

  test('workers count together, and exactly', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, () => call('shared')));
    assert.equal(answers.filter(({ status }) => status === 200).length, 50);
    const refused = answers.filter(({ status }) => status === 429);
    assert.equal(refused.length, 150);
    assert.equal(refused[0].body, 'local_rate_limited');
    const workers = await proxy.stats('^listener\\.shared\\.worker_\\d\\.downstream_cx_total$');
    assert.equal([...workers.values()].filter((count) => count > 0).length, 2, 'both workers had a part in it');
    assert.equal((await proxy.stat('limit.http_local_rate_limit.enforced')) >= 150, true);
  });

  test('status, headers and what the log says', async () => {
    const first = await call('headers');
    assert.equal(first.status, 200);
    assert.equal(first.headers['x-ratelimit-limit'], '1');
    assert.equal(first.headers['x-ratelimit-remaining'], '0');
    assert.ok(Number(first.headers['x-ratelimit-reset']) > 3500);
    const second = await call('headers', '/again');
    assert.equal(second.status, 503);
    assert.equal(second.headers['x-path'], '/again');
    assert.equal(second.headers['x-ratelimit-remaining'], '0');
    await proxy.untilLine('headers', '/again 503 RL local_rate_limited');
  });

  test('a limit per connection', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = (): Promise<number> =>
      new Promise((resolve, reject) => {
        request({ host: '127.0.0.1', port: proxy.port('connection'), agent }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode ?? 0));
        })
          .on('error', reject)
          .end();
      });
    assert.deepEqual([await ask(), await ask(), await ask()], [200, 200, 429]);
    agent.destroy();
    assert.equal((await call('connection')).status, 200);
  });

  test('only watched: marked, counted and let through', async () => {
    assert.equal((await call('watch')).body, 'limited: no');
    assert.equal((await call('watch')).body, 'limited: yes');
    const stats = await proxy.stats('^watch\\.http_local_rate_limit');
    assert.deepEqual(Object.fromEntries([...stats].map(([name, value]) => [name.split('.').at(-1), value])), {
      enabled: 2,
      enforced: 0,
      ok: 1,
      rate_limited: 1,
    });
  });

  test('routes have buckets of their own', async () => {
    assert.deepEqual(await statuses('routes', '/one', 2), [200, 429]);
    assert.deepEqual(await statuses('routes', '/two', 2), [200, 429]);
    assert.deepEqual(await statuses('routes', '/off', 3), [200, 200, 200]);
    assert.deepEqual(await statuses('routes', '/', 3), [200, 200, 200]);
  });

  test('descriptors of the route, or of its virtual host when it has none', async () => {
    assert.deepEqual(await statuses('descriptors', '/own', 3, { 'x-client': 'modest' }), [200, 200, 200]);
    assert.deepEqual(await statuses('descriptors', '/own', 2), [200, 200]);
    assert.deepEqual(await statuses('descriptors', '/own', 1, { 'x-client': 'greedy' }), [200]);
    assert.deepEqual(await statuses('descriptors', '/query?c=greedy', 2), [200, 429]);
    assert.deepEqual(await statuses('descriptors', '/slow', 2), [200, 429]);
    assert.deepEqual(await statuses('descriptors', '/', 4), [200, 200, 200, 429]);
  });

  test('connections', async () => {
    const open = async (): Promise<string> => {
      const socket = connect(proxy.port('tcp'), '127.0.0.1').on('error', () => {});
      socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk;
      });
      await new Promise((resolve) => socket.once('close', resolve));
      return text;
    };
    const answers = await Promise.all(Array.from({ length: 8 }, open));
    assert.equal(answers.filter((text) => text.includes('200 OK')).length, 3);
    assert.equal(await proxy.stat('local_rate_limit.tcp.rate_limited'), 5);
  });
});
