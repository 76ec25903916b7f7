/** What an operator does: validate, start, look, drain, end; and what the proxy says when something is wrong. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Json, type ProxyProcess, spawnProxy, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, tcpProxy } from './support/config.ts';
import { dial, rawUpstream, type Wire } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const DIRECT = { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'direct' } } };
const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';

/** How long a connection stays after it was told to close; Envoy's default is 5 s. */
/** There are neither certificates nor plugins. */
const NOTHING_HERE = new Set(['/certs', '/wasm']);
const SOON = { drain_timeout: '0.05s', delayed_close_timeout: '0.05s' };

const web = (): Json => bootstrap([listener('web', [http('web', [DIRECT], SOON)])]);

/** Whether nothing listens there any more. */
async function refuses(port: number): Promise<boolean> {
  try {
    (await dial(port)).destroy();
    return false;
  } catch {
    return true;
  }
}

/** Sends a request; whether the answer says that the connection ends. */
async function closes(client: Wire): Promise<boolean> {
  client.send(GET);
  return (await client.message()).headers['connection'] === 'close';
}

describe('draining', () => {
  test('SIGTERM: no new connections, the next response closes, then exit 0', async () => {
    const config = bootstrap([listener('web', [http('web', [DIRECT], { delayed_close_timeout: '0.05s' })])]);
    const proxy = await startProxy({ config, args: ['--drain-strategy', 'immediate'] });
    const client = await dial(proxy.port('web'));
    client.send(GET);
    assert.equal((await client.message()).headers['connection'], undefined);
    proxy.child.kill('SIGTERM');
    await until(async () => (await proxy.admin('/ready')).body === 'DRAINING\n', 'draining');
    await until(() => refuses(proxy.port('web')), 'the listener to close');
    client.send(GET);
    const answer = await client.message();
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['connection'], 'close');
    await client.untilClosed();
    assert.equal(await proxy.exited, 0);
    await proxy.stop();
  });

  test('SIGTERM waits for the request under way, a second one does not', async () => {
    const upstream = await rawUpstream();
    const config = bootstrap([listener('web', [http('web', [route('/', 'raw')], SOON)])], [cluster('raw', [upstream.port])]);
    const waits = await startProxy({ config, args: ['--drain-strategy', 'immediate'] });
    const client = await dial(waits.port('web'));
    client.send(GET);
    const server = await upstream.connection(0);
    await server.message();
    waits.child.kill('SIGTERM');
    await until(async () => (await waits.admin('/ready')).status === 503, 'draining');
    server.send('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate');
    assert.equal((await client.message()).body.toString(), 'late');
    assert.equal(await waits.exited, 0);
    await waits.stop();

    const ends = await startProxy({ config });
    const cut = await dial(ends.port('web'));
    cut.send(GET);
    await (await upstream.connection(1)).message();
    ends.child.kill('SIGTERM');
    await until(async () => (await ends.admin('/ready')).status === 503, 'draining');
    ends.child.kill('SIGTERM');
    assert.equal(await ends.exited, 0);
    await cut.untilClosed();
    await ends.stop();
    await upstream.close();
  });

  for (const [strategy, seconds] of [
    ['immediate', '600'],
    ['gradual', '60'],
  ]) {
    test(`SIGTERM closes idle connections before the drain time is over (${strategy})`, { timeout: 40_000 }, async () => {
      const proxy = await startProxy({ config: web(), args: ['--drain-time-s', seconds, '--drain-strategy', strategy] });
      const silent = await dial(proxy.port('web'));
      const client = await dial(proxy.port('web'));
      client.send(GET);
      await client.message();
      proxy.child.kill('SIGTERM');
      await client.untilClosed();
      await silent.untilClosed();
      assert.equal(await proxy.exited, 0);
      await proxy.stop();
    });
  }

  test('SIGTERM with a tunnel ends after the drain time', async () => {
    const upstream = await rawUpstream();
    const config = bootstrap([listener('tcp', [tcpProxy('tcp', 'raw')])], [cluster('raw', [upstream.port])]);
    const proxy = await startProxy({ config, args: ['--drain-time-s', '1', '--drain-strategy', 'immediate'] });
    const client = await dial(proxy.port('tcp'));
    await upstream.connection(0);
    proxy.child.kill('SIGTERM');
    assert.equal(await proxy.exited, 0);
    await client.untilClosed();
    await proxy.stop();
    await upstream.close();
  });

  test('healthcheck/fail and ok, drain_listeners, quitquitquit', async () => {
    const proxy = await startProxy({ config: web(), args: ['--drain-time-s', '1', '--drain-strategy', 'immediate'] });
    const client = await dial(proxy.port('web'));
    assert.equal((await proxy.admin('/healthcheck/fail', 'POST')).body, 'OK\n');
    assert.equal((await proxy.admin('/ready')).status, 503);
    await until(() => closes(client), 'connection: close');
    await client.untilClosed();
    assert.equal((await proxy.admin('/healthcheck/ok', 'POST')).body, 'OK\n');
    assert.deepEqual(await proxy.admin('/ready').then(({ status, body }) => [status, body]), [200, 'LIVE\n']);
    await until(async () => !(await closes(await dial(proxy.port('web')))), 'connections to be kept again');
    assert.equal((await proxy.admin('/drain_listeners?graceful', 'POST')).status, 200);
    await until(async () => closes(await dial(proxy.port('web'))), 'connection: close on what is still accepted');
    await until(() => refuses(proxy.port('web')), 'the listener to close');
    assert.equal((await proxy.admin('/quitquitquit', 'POST')).body, 'OK\n');
    assert.equal(await proxy.exited, 0);
    await proxy.stop();
  });

  test('drain_listeners without graceful closes listeners at once', async () => {
    const proxy = await startProxy({ config: web(), concurrency: 2 });
    assert.equal((await proxy.admin('/drain_listeners', 'POST')).status, 200);
    await until(() => refuses(proxy.port('web')), 'the listener to close');
    await proxy.stop();
  });
});

describe('starting', () => {
  const run = (config: Json | string, ...args: string[]): { status: number | null; out: string; log: string; path: string } => {
    const proxy = join(directory, `config-${count++}.yaml`);
    writeFileSync(proxy, typeof config === 'string' ? config : JSON.stringify(config, null, 1));
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', 'src/cli/main.ts', 'proxy', '-c', proxy, '--concurrency', '1', ...args],
      { encoding: 'utf8', timeout: 60_000 },
    );
    return { status, out: stdout, log: stderr, path: proxy };
  };
  let directory = '';
  let count = 0;
  let proxy: ProxyProcess;
  before(async () => {
    proxy = await startProxy({ config: web() });
    directory = proxy.directory;
  });
  after(() => proxy.stop());

  test('--mode validate and init_only', () => {
    const valid = run(web(), '--mode', 'validate');
    assert.deepEqual([valid.status, valid.out], [0, `configuration '${valid.path}' OK\n`]);
    const init = run(web(), '--mode', 'init_only');
    assert.equal(init.status, 0, init.log);
    const wrong = run({ static_resources: { listeners: [{ name: 'x' }] } }, '--mode', 'validate');
    assert.equal(wrong.status, 1);
    assert.equal(wrong.out, '');
    assert.match(wrong.log, /address/);
  });

  test('a wrong configuration is told with file, line, column and the nearest name', () => {
    const unknown = run('static_resources:\n  listeners:\n  - name: a\n    adress: {}\n');
    assert.equal(unknown.status, 1);
    assert.match(unknown.log, new RegExp(`${unknown.path}:4:5: `));
    assert.match(unknown.log, /adress.*address/s);
    const syntax = run('static_resources: [\n  a: b: c\n');
    assert.equal(syntax.status, 1);
    assert.match(syntax.log, new RegExp(`${syntax.path}:2:\\d+`));
    const semantic = run(bootstrap([listener('web', [http('web', [route('/', 'nobody')])])]));
    assert.equal(semantic.status, 1);
    assert.match(semantic.log, /route: unknown cluster 'nobody'/);
    assert.match(semantic.log, /:\d+:\d+/);
    assert.equal(run('{}', '--mode', 'sereve').status, 1);
  });

  test('two proxies on one port: a clear error, exit 1', () => {
    const port = proxy.port('web');
    const taken = listener('second', [http('second', [DIRECT])], {
      address: { socket_address: { address: '127.0.0.1', port_value: port } },
      enable_reuse_port: false,
    });
    const { status, log } = run(bootstrap([taken]));
    assert.equal(status, 1);
    assert.match(log, new RegExp(`cannot bind '127.0.0.1:${port}'.*(EADDRINUSE|[Aa]ddress.*in use)`));
    const admin = run({ ...web(), admin: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } });
    assert.equal(admin.status, 1);
    assert.match(admin.log, new RegExp(`127.0.0.1:${port}`));
  });

  test('no file, no permission to write the admin address', () => {
    const missing = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', 'src/cli/main.ts', 'proxy', '-c', '/nonexistent.yaml'],
      { encoding: 'utf8' },
    );
    assert.equal(missing.status, 1);
    assert.match(missing.stderr, /\/nonexistent\.yaml/);
    assert.doesNotMatch(missing.stderr, /\n\s+at /);
  });

  test('every listener that can be bound ends with the process', async () => {
    const own = spawnProxy({ config: web() });
    await own.ready();
    const port = own.port('web');
    await own.stop();
    await assert.rejects(dial(port), /ECONNREFUSED/);
  });
});

describe('admin', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  before(async () => {
    upstream = await httpUpstream();
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap([listener('web', [http('web', [route('/', 'node')])])], [cluster('node', [upstream.port])], {
        node: { id: 'me', cluster: 'us' },
      }),
    });
    for (let i = 0; i < 4; i++) {
      const client = await dial(proxy.port('web'));
      client.send('GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
      assert.equal((await client.message()).status, 200);
      await client.untilClosed();
    }
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  test('every endpoint answers; what changes something wants POST', async () => {
    const { body } = await proxy.admin('/help');
    const endpoints = [...body.matchAll(/^ {2}(\/\S*)( \(POST\))?: /gm)].map(([, path, post]) => ({
      path,
      post: post !== undefined,
    }));
    assert.ok(endpoints.length > 15);
    for (const { path, post } of endpoints) {
      const answer = await proxy.admin(path);
      assert.equal(answer.status, post ? 405 : 200, path);
      if (post) assert.match(answer.body, /Method GET not allowed, POST required\./);
      else assert.ok(answer.body.length > 0 || NOTHING_HERE.has(path), path);
    }
    for (const path of [
      '/logging',
      '/logging?level=info',
      '/reset_counters',
      '/reopen_logs',
      '/runtime_modify?a=1',
      '/healthcheck/ok',
    ])
      assert.equal((await proxy.admin(path, 'POST')).status, 200, path);
    assert.equal((await proxy.admin('/nowhere')).status, 404);
    assert.equal((await proxy.admin('/stats?format=nonsense')).status, 400);
    assert.equal((await proxy.admin('/stats?filter=(')).status, 400);
    assert.equal((await proxy.admin('/logging?level=loud', 'POST')).status, 400);
  });

  test('clusters, config_dump, listeners, server_info, runtime in JSON', async () => {
    const json = async (path: string): Promise<Json> => JSON.parse((await proxy.admin(path)).body) as Json;
    assert.match(
      (await proxy.admin('/clusters')).body,
      new RegExp(`^node::127\\.0\\.0\\.1:${upstream.port}::health_flags::healthy$`, 'm'),
    );
    assert.equal(((await json('/clusters?format=json'))['cluster_statuses'] as Json[])[0]['name'], 'node');
    const dump = (await json('/config_dump'))['configs'] as Json[];
    assert.deepEqual(
      dump.map((part) => String(part['@type']).split('.').at(-1)),
      ['BootstrapConfigDump', 'ClustersConfigDump', 'ListenersConfigDump', 'RoutesConfigDump'],
    );
    const status = (await json('/listeners?format=json'))['listener_statuses'] as Json[];
    assert.deepEqual(status[0], {
      name: 'web',
      local_address: { socket_address: { address: '127.0.0.1', port_value: proxy.port('web') } },
      additional_local_addresses: [],
    });
    assert.equal((await json('/server_info'))['state'], 'LIVE');
    await proxy.admin('/runtime_modify?some.key=7', 'POST');
    assert.match(JSON.stringify(await json('/runtime')), /"some\.key":\{[^}]*"final_value":"7"/);
    for (const format of ['json', 'prometheus', 'text']) {
      const answer = await proxy.admin(`/stats?format=${format}&usedonly`);
      assert.equal(answer.status, 200);
      assert.match(answer.body, format === 'prometheus' ? /^# TYPE envoy_\w+ (counter|gauge|histogram)$/m : /listener_manager/);
    }
  });

  test('stats after traffic have Envoy’s names and the right values', async () => {
    await proxy.admin('/reset_counters', 'POST');
    const client = await dial(proxy.port('web'));
    for (let i = 0; i < 3; i++) {
      client.send('GET /s HTTP/1.1\r\nhost: x\r\n\r\n');
      await client.message();
    }
    client.destroy();
    await proxy.untilStat('http.web.downstream_cx_destroy', (n) => n === 1);
    const stats = await proxy.stats();
    const expected: Record<string, number> = {
      'http.web.downstream_cx_total': 1,
      'http.web.downstream_cx_active': 0,
      'http.web.downstream_cx_http1_total': 1,
      'http.web.downstream_rq_total': 3,
      'http.web.downstream_rq_completed': 3,
      'http.web.downstream_rq_2xx': 3,
      'http.web.downstream_rq_active': 0,
      'http.web.no_route': 0,
      'cluster.node.upstream_rq_total': 3,
      'cluster.node.upstream_rq_completed': 3,
      'cluster.node.upstream_rq_2xx': 3,
      'cluster.node.upstream_rq_200': 3,
      'cluster.node.upstream_rq_active': 0,
      'cluster.node.upstream_rq_pending_active': 0,
      'cluster.node.membership_total': 1,
      'cluster.node.membership_healthy': 1,
      'listener.web.downstream_cx_total': 1,
      'listener.web.downstream_cx_active': 0,
      'listener.web.http.web.downstream_rq_2xx': 3,
      'vhost.all.vcluster.other.upstream_rq_total': -1,
      'server.concurrency': 2,
      'server.live': 1,
    };
    for (const [name, value] of Object.entries(expected)) {
      if (value < 0) assert.equal(stats.get(name), undefined, name);
      else assert.equal(stats.get(name), value, name);
    }
    const histograms = (await proxy.admin('/stats?type=Histograms')).body;
    for (const name of [
      'http.web.downstream_rq_time',
      'cluster.node.upstream_rq_time',
      'cluster.node.upstream_cx_connect_ms',
      'http.web.downstream_cx_length_ms',
    ])
      assert.match(histograms, new RegExp(`^${name.replaceAll('.', '\\.')}: P0\\(`, 'm'), name);
    assert.equal(stats.get('workers.watchdog_mega_miss') ?? 0, 0);
  });
});

describe('access logs', () => {
  test('default format, JSON, and a new file after rename and SIGUSR1', async () => {
    const upstream = await httpUpstream();
    const json = {
      method: '%REQ(:METHOD)%',
      code: '%RESPONSE_CODE%',
      host: '%UPSTREAM_HOST%',
      nothing: '%REQ(x-nothing)%',
      bytes: '%BYTES_SENT%',
    };
    const proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [listener('web', [http('web', [route('/', 'node')], { access_log: [fileLog('text.log'), fileLog('json.log', json)] })])],
        [cluster('node', [upstream.port])],
      ),
    });
    const call = async (path: string): Promise<number> => {
      const client = await dial(proxy.port('web'));
      client.send(
        `GET ${path} HTTP/1.1\r\nhost: log.example\r\nuser-agent: tester\r\nx-forwarded-for: 1.2.3.4\r\nconnection: close\r\n\r\n`,
      );
      const answer = await client.message();
      await client.untilClosed();
      return answer.body.length;
    };
    const length = await call('/one');
    const [line] = await proxy.lines('text.log', 1);
    const id = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
    assert.match(
      line,
      new RegExp(
        `^\\[\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z\\] "GET /one HTTP/1\\.1" 200 - 0 ${length} \\d+ \\d+ "1\\.2\\.3\\.4" "tester" "${id}" "log\\.example" "127\\.0\\.0\\.1:${upstream.port}"$`,
      ),
    );
    const [object] = await proxy.lines('json.log', 1);
    assert.deepEqual(JSON.parse(object), {
      method: 'GET',
      code: 200,
      host: `127.0.0.1:${upstream.port}`,
      nothing: null,
      bytes: length,
    });
    renameSync(proxy.file('text.log'), proxy.file('text.log.1'));
    proxy.child.kill('SIGUSR1');
    await until(() => {
      try {
        return readFileSync(proxy.file('text.log'), 'utf8') === '';
      } catch {
        return false;
      }
    }, 'the new file');
    for (let i = 0; i < 6; i++) await call(`/two-${i}`);
    await until(async () => {
      const both = [...(await proxy.lines('text.log', 0)), ...(await proxy.lines('text.log.1', 0))];
      return both.filter((l) => l.includes('/two-')).length === 6;
    }, 'six lines');
    rmSync(proxy.file('text.log.1'));
    await call('/three');
    assert.match((await proxy.lines('text.log', 1)).join('\n'), /\/t/);
    await proxy.stop();
    await upstream.close();
  });

  test('nothing is lost when the proxy ends at once', async () => {
    const proxy = await startProxy({
      config: bootstrap([listener('web', [http('web', [DIRECT], { access_log: [fileLog('last.log', '%REQ(:PATH)%')] })])]),
      args: ['--file-flush-interval-msec', '60000'],
    });
    const client = await dial(proxy.port('web'));
    for (let i = 0; i < 20; i++) {
      client.send(`GET /${i} HTTP/1.1\r\nhost: x\r\n\r\n`);
      await client.message();
    }
    proxy.child.kill('SIGINT');
    assert.equal(await proxy.exited, 0);
    assert.deepEqual(
      await proxy.lines('last.log', 20),
      Array.from({ length: 20 }, (_, i) => `/${i}`),
    );
    client.destroy();
    await proxy.stop();
  });
});
