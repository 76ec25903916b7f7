/** The configuration file read again: SIGHUP and `POST /reload`, with clients that notice nothing. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { after, describe, test } from 'node:test';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy } from './support/config.ts';
import { dial, rawUpstream } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const DIRECT = (text: string): Json => ({
  match: { prefix: '/' },
  direct_response: { status: 200, body: { inline_string: text } },
});
const GET = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n';

function write(proxy: ProxyProcess, config: Json): void {
  const admin = { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } };
  writeFileSync(proxy.file('envoy.yaml'), JSON.stringify({ admin, ...config }, null, 1));
}

async function reload(proxy: ProxyProcess, config: Json): Promise<{ status: number; body: string }> {
  write(proxy, config);
  return proxy.admin('/reload', 'POST');
}

async function portOf(proxy: ProxyProcess, name: string): Promise<number> {
  const { body } = await proxy.admin('/listeners');
  return Number(new RegExp(`^${name}::.*:(\\d+)$`, 'm').exec(body)?.[1]);
}

async function body(port: number, path = '/'): Promise<string> {
  return (await httpRequest(port, path)).body;
}

/** Clients that keep their connections and send one request after another until told to stop. */
class Load {
  readonly errors: string[] = [];
  answers = 0;
  private stopped = false;
  private readonly done: Promise<unknown>;

  constructor(port: number, clients: number) {
    this.done = Promise.all(Array.from({ length: clients }, () => this.run(port)));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.done;
  }

  private async run(port: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    while (!this.stopped) {
      await new Promise<void>((resolve) => {
        const failed = (error: Error): void => {
          this.errors.push(error.message);
          resolve();
        };
        const call = request({ host: '127.0.0.1', port, path: '/', agent }, (response) => {
          if (response.statusCode !== 200) this.errors.push(`status ${response.statusCode}`);
          response.resume();
          response.on('error', failed);
          response.on('end', () => {
            this.answers++;
            resolve();
          });
        });
        call.on('error', failed);
        call.end();
      });
    }
    agent.destroy();
  }
}

describe('reload', () => {
  const upstreams: HttpUpstream[] = [];
  const upstream = async (text: string): Promise<HttpUpstream> => {
    const made = await httpUpstream((_request, response) => void response.end(text));
    upstreams.push(made);
    return made;
  };
  after(() => Promise.all(upstreams.map((each) => each.close())));

  test('clusters and listeners come, change and go; the rest is as it was', async () => {
    const [a, b] = [await upstream('a'), await upstream('b')];
    const web = (target: string, extra: Json = {}): Json => listener('web', [http('web', [route('/', target)])], extra);
    const keep = listener('keep', [http('keep', [DIRECT('keep')])]);
    const proxy = await startProxy({
      config: bootstrap([web('one'), keep], [cluster('one', [a.port])]),
      concurrency: 2,
      args: ['--drain-time-s', '2', '--drain-strategy', 'immediate'],
    });
    const port = proxy.port('web');
    assert.equal(await body(port), 'a');

    const same = await reload(proxy, bootstrap([web('one'), keep], [cluster('one', [a.port])]));
    assert.deepEqual([same.status, same.body], [200, 'nothing has changed\n']);

    // Another upstream behind the same name.
    const first = await reload(proxy, bootstrap([web('one'), keep], [cluster('one', [b.port])]));
    assert.equal(first.body, 'clusters added or changed: one\n');
    assert.equal(await body(port), 'b');

    // A route is a filter chain: the listener stays, connections of the old chain end.
    const next = bootstrap([web('two'), keep], [cluster('one', [b.port]), cluster('two', [a.port])]);
    assert.equal((await reload(proxy, next)).body, 'clusters added or changed: two; listeners added or changed: web\n');
    assert.equal(await body(port), 'a');
    assert.equal(await proxy.stat('listener_manager.listener_in_place_updated'), 1);
    assert.equal(await proxy.stat('listener_manager.listener_modified'), 0);

    // A field of the listener: another one takes over its sockets.
    const limited = web('two', { per_connection_buffer_limit_bytes: 32768 });
    const third = await reload(proxy, bootstrap([limited, keep], [cluster('two', [a.port])]));
    assert.equal(third.body, 'clusters removed: one; listeners added or changed: web\n');
    assert.equal(await portOf(proxy, 'web'), port);
    assert.equal(await body(port), 'a');
    assert.equal(await proxy.stat('listener_manager.listener_modified'), 1);
    assert.equal(await proxy.stat('cluster_manager.cluster_removed'), 1);
    assert.equal(await proxy.stat('cluster_manager.active_clusters'), 1);
    assert.doesNotMatch((await proxy.admin('/clusters')).body, /^one::/m);

    // One listener goes, one comes.
    const more = listener('more', [http('more', [DIRECT('more')])]);
    const fourth = await reload(proxy, bootstrap([more, keep], [cluster('two', [a.port])]));
    assert.equal(fourth.body, 'listeners added or changed: more; listeners removed: web\n');
    await assert.rejects(httpRequest(port, '/'));
    assert.equal(await body(await portOf(proxy, 'more')), 'more');
    assert.equal(await body(proxy.port('keep')), 'keep');
    assert.equal(await proxy.stat('listener_manager.listener_removed'), 1);
    assert.equal(await proxy.stat('listener_manager.total_listeners_active'), 2);
    await proxy.untilStat('listener_manager.total_listeners_draining', (value) => value === 0);
    await proxy.untilStat('listener_manager.total_filter_chains_draining', (value) => value === 0);
    // 2 at start, then an update, another listener and a new one, on two workers.
    assert.equal(await proxy.stat('listener_manager.listener_create_success'), 2 * 5);
    assert.match((await proxy.admin('/config_dump')).body, /"name": "more"/);
    await proxy.stop();
  });

  test('what is wrong changes nothing, and is said with its place', async () => {
    const a = await upstream('a');
    const good = bootstrap([listener('web', [http('web', [route('/', 'one')])])], [cluster('one', [a.port])]);
    const proxy = await startProxy({ config: good });
    const port = proxy.port('web');
    const refused = async (config: Json, expected: RegExp): Promise<void> => {
      const { status, body } = await reload(proxy, config);
      assert.equal(status, 400);
      assert.match(body, expected);
      assert.equal((await httpRequest(port, '/')).body, 'a');
    };
    writeFileSync(proxy.file('envoy.yaml'), '{ this is: not');
    assert.equal((await proxy.admin('/reload', 'POST')).status, 400);
    await refused(bootstrap([], [cluster('one', [a.port], { lb_policy: 'NO_SUCH' })]), /envoy\.yaml:\d+:\d+.*NO_SUCH/);
    // What only building finds, too.
    await refused(
      bootstrap([listener('web', [http('web', [route('/', 'missing')])])], [cluster('one', [a.port])]),
      /envoy\.yaml:\d+:\d+.*missing/,
    );
    await refused({ ...good, stats_flush_interval: '7s' }, /stats_flush_interval differs from what the server was started with/);
    // What only binding finds: the cluster that would have come with it does not.
    const taken = await rawUpstream();
    const address = { socket_address: { address: '127.0.0.1', port_value: taken.port } };
    await refused(
      bootstrap(
        [listener('web', [http('web', [route('/', 'two')])]), listener('taken', [tcpProxy('taken', 'two')], { address })],
        [cluster('two', [a.port])],
      ),
      /error adding listener 'taken': cannot bind/,
    );
    assert.equal(await proxy.stat('cluster_manager.active_clusters'), 1);
    assert.doesNotMatch((await proxy.admin('/clusters')).body, /^two::/m);
    assert.equal(await proxy.stat('server.reload_rejected'), 5);
    assert.match(proxy.log, /configuration not reloaded, the old one stays in use/);
    await taken.close();
    await proxy.stop();
  });

  test('SIGHUP does it; a listener that is replaced lets requests and tunnels end', async () => {
    const slow = await rawUpstream();
    const config = (limit: number): Json =>
      bootstrap(
        [
          listener('web', [http('web', [route('/', 'raw')])], { per_connection_buffer_limit_bytes: limit }),
          listener('tcp', [tcpProxy('tcp', 'raw')], { per_connection_buffer_limit_bytes: limit }),
        ],
        [cluster('raw', [slow.port], { per_connection_buffer_limit_bytes: limit })],
      );
    const proxy = await startProxy({ config: config(65536), args: ['--drain-time-s', '600'] });
    const client = await dial(proxy.port('web'));
    client.send(GET);
    const server = await slow.connection(0);
    await server.message();
    const tunnel = await dial(proxy.port('tcp'));
    const far = await slow.connection(1);
    write(proxy, config(32768));
    proxy.child.kill('SIGHUP');
    await proxy.untilStat('server.reload_success', (value) => value === 1);
    server.send('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate');
    assert.equal((await client.message()).body.toString(), 'late');
    far.send('through');
    await until(() => tunnel.text.includes('through'), 'the tunnel');
    assert.equal(await proxy.stat('listener_manager.total_listeners_draining'), 2);
    tunnel.destroy();
    far.destroy();
    client.destroy();
    await proxy.untilStat('listener_manager.total_listeners_draining', (value) => value === 0);
    await slow.close();
    await proxy.stop();
  });

  test('clients under load see no error through changes of clusters, chains and listeners', { timeout: 90_000 }, async () => {
    const [a, b] = [await upstream('a'), await upstream('b')];
    const config = (i: number): Json =>
      bootstrap(
        [
          listener('web', [http('web', [route('/', i % 3 === 0 ? 'one' : 'two')])], {
            per_connection_buffer_limit_bytes: 32768 + Math.floor(i / 2),
          }),
        ],
        [cluster('one', [i % 2 === 0 ? a.port : b.port]), cluster('two', [i % 2 === 0 ? b.port : a.port])],
      );
    const proxy = await startProxy({ config: config(0), concurrency: 2, args: ['--drain-time-s', '5'] });
    const load = new Load(proxy.port('web'), 16);
    for (let i = 1; i <= 10; i++) {
      const seen = load.answers;
      const { status, body } = await reload(proxy, config(i));
      assert.equal(status, 200, body);
      await until(() => load.answers > seen + 100, 'requests after a reload');
    }
    await load.stop();
    assert.deepEqual(load.errors, []);
    assert.ok(load.answers > 1000);
    await proxy.untilStat('listener_manager.total_listeners_draining', (value) => value === 0);
    // Every connection of the clusters that were replaced has gone.
    const connections = (await proxy.admin('/connections')).body;
    assert.doesNotMatch(connections, /^downstream/m);
    await proxy.stop();
  });
});
