/** Which of several real upstreams a request reaches, with two workers: hashing, priorities and retries. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { httpRequest, type Json, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, tcpProxy } from './support/config.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const COUNT = 6;

/** Upstreams that answer with their number, or 503 on /fail. */
async function numbered(): Promise<HttpUpstream[]> {
  const upstreams: HttpUpstream[] = [];
  for (let i = 0; i < COUNT; i++) {
    upstreams.push(
      await httpUpstream((request, response) => {
        response.statusCode = request.url?.startsWith('/fail') && i < 2 ? 503 : 200;
        response.end(String(i));
      }),
    );
  }
  return upstreams;
}

/** `cluster` whose endpoints differ: `more` per endpoint. */
export function endpointsOf(name: string, ports: number[], more: (i: number) => Json, extra: Json = {}): Json {
  return {
    ...cluster(name, []),
    load_assignment: {
      cluster_name: name,
      endpoints: ports.map((port, i) => {
        const { group = {}, ...endpoint } = more(i) as { group?: Json };
        return {
          ...group,
          lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } }, ...endpoint }],
        };
      }),
    },
    ...extra,
  };
}

const PREVIOUS = 'type.googleapis.com/envoy.extensions.retry';

describe('consistent hashing', () => {
  let upstreams: HttpUpstream[];
  let first: ProxyProcess;
  let second: ProxyProcess;

  before(async () => {
    upstreams = await numbered();
    const ports = upstreams.map(({ port }) => port);
    const hash = (prefix: string, name: string, ...policies: Json[]): Json => ({
      match: { prefix },
      route: { cluster: name, hash_policy: policies },
    });
    const header = { header: { header_name: 'x-user' } };
    const config = (list: number[]): Json =>
      bootstrap(
        [
          listener('web', [
            http('web', [
              hash('/ring', 'ring', header),
              hash('/maglev', 'maglev', header),
              hash('/murmur', 'murmur', header),
              hash('/cookie', 'ring', { cookie: { name: 'stick', ttl: '60s', path: '/cookie' } }),
              hash('/query', 'ring', { query_parameter: { name: 'user' } }),
              hash('/source', 'ring', { connection_properties: { source_ip: true } }),
            ]),
          ]),
          listener('tcp', [tcpProxy('tcp', 'maglev', { hash_policy: [{ source_ip: {} }] })]),
        ],
        [
          cluster('ring', list, { lb_policy: 'RING_HASH', ring_hash_lb_config: { minimum_ring_size: 6000 } }),
          cluster('maglev', list, { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: 1009 } }),
          cluster('murmur', list, { lb_policy: 'RING_HASH', ring_hash_lb_config: { hash_function: 'MURMUR_HASH_2' } }),
        ],
      );
    first = await startProxy({ concurrency: 2, config: config(ports) });
    // The same hosts in another order: rings and tables are the same.
    second = await startProxy({ concurrency: 2, config: config([...ports].reverse()) });
  });
  after(async () => {
    await first.stop();
    await second.stop();
    for (const upstream of upstreams) await upstream.close();
  });

  const ask = async (proxy: ProxyProcess, path: string, headers: Record<string, string> = {}): Promise<string> =>
    (await httpRequest(proxy.port('web'), path, { headers })).body;

  for (const path of ['/ring', '/maglev', '/murmur']) {
    test(`${path}: a user's requests reach one host, on all workers and proxies`, async () => {
      const seen = new Set<string>();
      for (let user = 0; user < 120; user++) {
        const answers = await Promise.all([first, first, second].map((proxy) => ask(proxy, path, { 'x-user': `user-${user}` })));
        assert.deepEqual(new Set(answers).size, 1, `user ${user}: ${answers}`);
        seen.add(answers[0]);
      }
      assert.equal(seen.size, COUNT);
    });
  }

  test('without a hash a host is taken by chance', async () => {
    const answers = await Promise.all(Array.from({ length: 60 }, () => ask(first, '/ring')));
    assert.ok(new Set(answers).size > 3);
  });

  test('a cookie is made, and sticks', async () => {
    const response = await httpRequest(first.port('web'), '/cookie');
    const setCookie = String(response.headers['set-cookie']);
    assert.match(setCookie, /^stick="[0-9a-f]{16}"; Max-Age=60; Path=\/cookie; HttpOnly$/);
    const cookie = setCookie.split(';')[0];
    for (const proxy of [first, first, first, second, second]) {
      const again = await httpRequest(proxy.port('web'), '/cookie', { headers: { cookie } });
      assert.equal(again.body, response.body);
      assert.equal(again.headers['set-cookie'], undefined);
    }
  });

  test('query parameters and the source address', async () => {
    for (let user = 0; user < 10; user++) {
      assert.equal(await ask(first, `/query?user=${user}`), await ask(second, `/query?a=b&user=${user}`));
    }
    const sources = await Promise.all(Array.from({ length: 12 }, (_, i) => ask(i % 2 ? first : second, '/source')));
    assert.equal(new Set(sources).size, 1);
  });

  test('tcp_proxy by source address', async () => {
    const over = async (proxy: ProxyProcess): Promise<string> => {
      const socket = connect(proxy.port('tcp'), '127.0.0.1');
      socket.end('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      let text = '';
      for await (const chunk of socket) text += chunk;
      return text.slice(text.lastIndexOf('\n') + 1);
    };
    const answers = [];
    for (let i = 0; i < 12; i++) answers.push(await over(i % 2 ? first : second));
    assert.equal(new Set(answers).size, 1, `${answers}`);
  });

  test('stats of rings and tables', async () => {
    assert.equal(await first.stat('cluster.ring.ring_hash_lb.size'), 6000);
    assert.equal(await first.stat('cluster.ring.ring_hash_lb.min_hashes_per_host'), 1000);
    assert.ok((await first.stat('cluster.maglev.maglev_lb.max_entries_per_host')) <= 170);
  });
});

describe('retries go elsewhere', () => {
  let upstreams: HttpUpstream[];
  let proxy: ProxyProcess;

  before(async () => {
    upstreams = await numbered();
    const retry = (more: Json): Json => ({ retry_on: '5xx', num_retries: 1, ...more });
    const route = (prefix: string, name: string, policy: Json): Json => ({
      match: { prefix },
      route: { cluster: name, retry_policy: retry(policy) },
    });
    const predicate = (kind: string, type: string, config: Json = {}): Json => ({
      host_selection_retry_max_attempts: 50,
      retry_host_predicate: [{ name: kind, typed_config: { '@type': `${PREVIOUS}.host.${kind}.v3.${type}`, ...config } }],
    });
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          listener('web', [
            http('web', [
              route('/fail/priority', 'prioritised', {
                retry_priority: {
                  name: 'previous_priorities',
                  typed_config: {
                    '@type': `${PREVIOUS}.priority.previous_priorities.v3.PreviousPrioritiesConfig`,
                    update_frequency: 1,
                  },
                },
              }),
              route(
                '/fail/metadata',
                'labelled',
                predicate('omit_host_metadata', 'OmitHostMetadataConfig', {
                  metadata_match: { filter_metadata: { 'envoy.lb': { bad: true } } },
                }),
              ),
            ]),
          ]),
        ],
        [
          endpointsOf(
            'prioritised',
            upstreams.slice(0, 3).map(({ port }) => port),
            (i) => ({ group: { priority: i < 2 ? 0 : 1 } }),
          ),
          endpointsOf(
            'labelled',
            upstreams.slice(0, 3).map(({ port }) => port),
            (i) => ({ metadata: { filter_metadata: { 'envoy.lb': { bad: i < 2 } } } }),
          ),
        ],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    for (const upstream of upstreams) await upstream.close();
  });

  for (const kind of ['priority', 'metadata']) {
    test(kind, async () => {
      for (let i = 0; i < 20; i++) {
        const { status, body } = await httpRequest(proxy.port('web'), `/fail/${kind}`);
        assert.deepEqual([status, body], [200, '2']);
      }
    });
  }
});

test('subsets: routes and weighted clusters name versions', async () => {
  const upstreams = await numbered();
  const match = (labels: Json): Json => ({ metadata_match: { filter_metadata: { 'envoy.lb': labels } } });
  const proxy = await startProxy({
    concurrency: 2,
    config: bootstrap(
      [
        listener('web', [
          http('web', [
            { match: { prefix: '/v1' }, route: { cluster: 'c', ...match({ version: '1' }) } },
            { match: { prefix: '/v2' }, route: { cluster: 'c', ...match({ version: '2' }) } },
            {
              match: { prefix: '/merged' },
              route: {
                ...match({ stage: 'prod' }),
                weighted_clusters: { clusters: [{ name: 'c', weight: 1, ...match({ version: '2' }) }] },
              },
            },
            { match: { prefix: '/' }, route: { cluster: 'c', ...match({ version: '9' }) } },
          ]),
        ]),
      ],
      [
        endpointsOf(
          'c',
          upstreams.map(({ port }) => port),
          (i) => ({
            metadata: { filter_metadata: { 'envoy.lb': { version: i < 3 ? '1' : '2', stage: i === 5 ? 'prod' : 'dev' } } },
          }),
          {
            lb_subset_config: {
              fallback_policy: 'DEFAULT_SUBSET',
              default_subset: { version: '1' },
              subset_selectors: [{ keys: ['version'] }, { keys: ['version', 'stage'], fallback_policy: 'NO_FALLBACK' }],
            },
          },
        ),
      ],
    ),
  });
  const seen = async (path: string): Promise<string> => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => httpRequest(proxy.port('web'), path)));
    return [...new Set(answers.map(({ body }) => body))].sort().join('');
  };
  assert.equal(await seen('/v1'), '012');
  assert.equal(await seen('/v2'), '345');
  assert.equal(await seen('/merged'), '5');
  assert.equal(await seen('/other'), '012');
  assert.equal(await proxy.stat('cluster.c.lb_subsets_active'), 5);
  assert.equal(await proxy.stat('cluster.c.lb_subsets_fallback'), 30);
  await proxy.stop();
  for (const upstream of upstreams) await upstream.close();
});

test('aggregate clusters: priorities one after the other; drop_overloads', async () => {
  const upstreams = await numbered();
  const ports = upstreams.map(({ port }) => port);
  const sick = (): Json => ({ health_status: 'UNHEALTHY' });
  const aggregate = (name: string, clusters: string[]): Json => ({
    name,
    connect_timeout: '1s',
    lb_policy: 'CLUSTER_PROVIDED',
    cluster_type: {
      name: 'envoy.clusters.aggregate',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig', clusters },
    },
  });
  const dropping = (name: string, numerator: number): Json => {
    const made = cluster(name, ports.slice(0, 1)) as { load_assignment: Json };
    const policy = { drop_overloads: [{ category: 'x', drop_percentage: { numerator } }] };
    return { ...made, load_assignment: { ...made.load_assignment, policy } };
  };
  const to = (name: string): Json => ({
    match: { prefix: `/${name}` },
    route: { cluster: name, hash_policy: [{ header: { header_name: 'x-user' } }] },
  });
  const names = ['first', 'broken', 'half', 'ringed', 'nobody', 'dropped', 'unconditional'];
  const proxy = await startProxy({
    concurrency: 2,
    config: bootstrap(
      [listener('web', [http('web', names.map(to))]), listener('tcp', [tcpProxy('tcp', 'broken')])],
      [
        endpointsOf('well', ports.slice(0, 2), () => ({})),
        endpointsOf('sick', ports.slice(2, 4), sick),
        endpointsOf('partly', ports.slice(2, 4), (i) => (i === 0 ? sick() : {})),
        endpointsOf('ring', ports.slice(4), () => ({}), { lb_policy: 'RING_HASH' }),
        aggregate('first', ['well', 'ring']),
        aggregate('broken', ['sick', 'absent', 'well']),
        aggregate('half', ['partly', 'well']),
        aggregate('ringed', ['sick', 'ring']),
        aggregate('nobody', ['absent']),
        dropping('dropped', 50),
        dropping('unconditional', 100),
      ],
    ),
  });
  const count = async (path: string, n: number, headers: Record<string, string> = {}): Promise<Record<string, number>> => {
    const counts: Record<string, number> = {};
    const answers = await Promise.all(Array.from({ length: n }, () => httpRequest(proxy.port('web'), path, { headers })));
    for (const { status, body } of answers) {
      const key = status === 200 ? body : `${status} ${body}`;
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return counts;
  };
  assert.deepEqual(Object.keys(await count('/first', 30)).sort(), ['0', '1']);
  assert.deepEqual(Object.keys(await count('/broken', 30)).sort(), ['0', '1']);
  assert.deepEqual(await count('/nobody', 3), { '503 no healthy upstream': 3 });
  // 140 % of one in two: 70 % stay.
  const half = await count('/half', 300);
  assert.ok(half[3] > 160 && half[3] < 250, JSON.stringify(half));
  // The chosen cluster's own policy.
  for (const user of ['a', 'b', 'c']) assert.equal(Object.keys(await count('/ringed', 10, { 'x-user': user })).length, 1);
  assert.equal(await proxy.stat('cluster.first.upstream_rq_completed'), 30);
  assert.ok((await proxy.stat('cluster.well.upstream_cx_total')) > 0);
  const dropped = await count('/dropped', 200);
  assert.ok(dropped['503 drop_overload'] > 60 && dropped[0] > 60, JSON.stringify(dropped));
  const all = await httpRequest(proxy.port('web'), '/unconditional');
  assert.deepEqual([all.status, all.headers['x-envoy-unconditional-drop-overload']], [503, 'true']);
  const socket = connect(proxy.port('tcp'), '127.0.0.1');
  socket.end('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  let text = '';
  for await (const chunk of socket) text += chunk;
  assert.match(text, /^HTTP\/1.1 200/);
  await proxy.stop();
  for (const upstream of upstreams) await upstream.close();
});

test('request mirroring: copies with their bodies, whose answers nobody sees', async () => {
  const seen: string[] = [];
  const shadow = await httpUpstream((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      seen.push(`${request.method} ${request.url} ${request.headers.host} ${body.length}`);
      response.writeHead(500).end('nobody sees this');
    });
  });
  const main = await httpUpstream();
  const mirrored = (prefix: string, policy: Json): Json => ({
    match: { prefix },
    route: { cluster: 'main', request_mirror_policies: [policy] },
  });
  const proxy = await startProxy({
    concurrency: 1,
    config: bootstrap(
      [
        listener('web', [
          http('web', [
            mirrored('/all', { cluster: 'shadow' }),
            mirrored('/never', { cluster: 'shadow', runtime_fraction: { default_value: { numerator: 0 } } }),
            mirrored('/named', { cluster_header: 'x-to', disable_shadow_host_suffix_append: true }),
            mirrored('/down', { cluster: 'down' }),
          ]),
        ]),
      ],
      [cluster('main', [main.port]), cluster('shadow', [shadow.port]), cluster('down', [1])],
    ),
  });
  const ask = async (path: string, more: Parameters<typeof httpRequest>[2] = {}): Promise<number> =>
    (await httpRequest(proxy.port('web'), path, more)).status;
  const host = 'a.test:80';
  assert.equal(await ask('/all/get', { headers: { host } }), 200);
  assert.equal(await ask('/all/post', { method: 'POST', body: 'x'.repeat(100_000), headers: { host } }), 200);
  assert.equal(await ask('/never', { headers: { host } }), 200);
  assert.equal(await ask('/named', { headers: { host, 'x-to': 'shadow' } }), 200);
  assert.equal(await ask('/named', { headers: { host, 'x-to': 'unknown' } }), 200);
  assert.equal(await ask('/down', { headers: { host } }), 200);
  await proxy.untilStat('cluster.shadow.upstream_rq_500', (n) => n === 3);
  await proxy.untilStat('cluster.down.upstream_rq_503', (n) => n === 1);
  assert.deepEqual(seen.sort(), [
    'GET /all/get a.test-shadow:80 0',
    'GET /named a.test:80 0',
    'POST /all/post a.test-shadow:80 100000',
  ]);
  assert.equal(await proxy.stat('cluster.main.upstream_rq_200'), 6);
  await proxy.stop();
  await shadow.close();
  await main.close();
});
