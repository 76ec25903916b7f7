/** Fields of Bootstrap, Admin, Listener and Cluster that reach further than one object: from the command line to what can be seen. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, fileLog, http, listener, networkFilter, route } from '../../interop/support/config.ts';
import { dial } from '../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../interop/support/upstreams.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy } from '../../support/proxy_process.ts';
import { type DnsServer, startDnsServer } from '../upstream/dns_server.ts';

const TYPES = 'type.googleapis.com/envoy.extensions.';
const CARES = `${TYPES}network.dns_resolver.cares.v3.CaresDnsResolverConfig`;
const local = (port: number, address = '127.0.0.1'): Json => ({ socket_address: { address, port_value: port } });

let upstream: HttpUpstream;
let proxy: ProxyProcess;
let directory: string;
let dns: DnsServer;

describe('bootstrap and listeners', () => {
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-audit-'));
    mkdirSync(join(directory, 'v1/keys/front/audit'), { recursive: true });
    writeFileSync(join(directory, 'v1/keys/front/audit/disk'), '# a comment\n{numerator: 100, denominator: HUNDRED}\n');
    symlinkSync(join(directory, 'v1'), join(directory, 'current'));
    upstream = await httpUpstream((request, response) => {
      response.setHeader('x-from', request.socket.remoteAddress ?? '');
      response.end('up');
    });
    dns = await startDnsServer();
    dns.answers.set('audit.test A', { ips: ['127.0.0.1'], ttl: 60 });
    const ondisk = { match: { prefix: '/disk', runtime_fraction: { default_value: {}, runtime_key: 'audit.disk' } } };
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          listener(
            'main',
            [http('main', [{ ...ondisk, direct_response: { status: 201 } }, route('/dns', 'dns'), route('/', 'up')])],
            {
              additional_addresses: [{ address: { pipe: { path: '$DIR/main.sock', mode: 0o620 } } }],
              enable_reuse_port: false,
              tcp_backlog_size: 10,
              tcp_fast_open_queue_length: 5,
              tcp_keepalive: { keepalive_time: 77 },
              per_connection_buffer_limit_bytes: 40000,
              socket_options: [{ description: 'SO_PRIORITY', level: 1, name: 12, int_value: 3, state: 'STATE_PREBIND' }],
            },
          ),
          listener('unbound', [networkFilter('echo', {})], { bind_to_port: false }),
          listener('unbound too', [networkFilter('echo', {})], { deprecated_v1: { bind_to_port: false } }),
          listener('any', [networkFilter('echo', {})], {
            address: { socket_address: { address: '::', port_value: 0, ipv4_compat: true } },
          }),
          listener('modify', [http('modify', [{ match: { prefix: '/' }, direct_response: { status: 200 } }])], {
            drain_type: 'MODIFY_ONLY',
          }),
          listener('default', [http('default', [{ match: { prefix: '/' }, direct_response: { status: 200 } }])]),
          listener('inbound', [networkFilter('echo', {})], { traffic_direction: 'INBOUND' }),
          listener('chains', [], {
            filter_chains: [{ name: 'other', filter_chain_match: { destination_port: 1 }, filters: [networkFilter('echo', {})] }],
            default_filter_chain: { name: 'last', filters: [networkFilter('echo', {})] },
            access_log: [fileLog('chains.log', '%FILTER_CHAIN_NAME%')],
          }),
        ],
        [
          cluster('up', [upstream.port]),
          {
            name: 'dns',
            cluster_type: {
              name: 'envoy.cluster.dns',
              typed_config: { '@type': `${TYPES}clusters.dns.v3.DnsCluster`, dns_lookup_family: 'V4_ONLY' },
            },
            load_assignment: {
              cluster_name: 'dns',
              endpoints: [{ lb_endpoints: [{ endpoint: { address: local(upstream.port, 'audit.test') } }] }],
            },
          },
        ],
        {
          node: { id: 'node', cluster: 'front', metadata: { a: 1 } },
          admin: {
            address: local(0),
            access_log: [fileLog('admin.log', '%REQ(:PATH)%')],
            access_log_path: '$DIR/older.log',
            allow_paths: [
              { prefix: '/stats' },
              { safe_regex: { regex: '/(ready|listeners|server_info|runtime.*|healthcheck.*|drain.*)' } },
            ],
          },
          cluster_manager: { upstream_bind_config: { source_address: { address: '127.0.0.7', port_value: 0 } } },
          layered_runtime: {
            layers: [
              { name: 'static', static_layer: { 'audit.static': 1, 'audit.twice': 1 } },
              {
                name: 'disk',
                disk_layer: { symlink_root: join(directory, 'current'), subdirectory: 'keys', append_service_cluster: true },
              },
              { name: 'admin', admin_layer: {} },
            ],
          },
          stats_config: {
            use_all_default_tags: false,
            stats_tags: [
              { tag_name: 'audit_cluster', regex: '^cluster\\.((.+?)\\.)' },
              { tag_name: 'fixed', fixed_value: 'yes' },
            ],
            stats_matcher: { exclusion_list: { patterns: [{ suffix: 'upstream_cx_overflow' }] } },
            histogram_bucket_settings: [{ match: { prefix: 'cluster' }, buckets: [7, 70000] }],
          },
          stats_flush_on_admin: true,
          stats_server_version_override: 4711,
          application_log_config: { log_format: { text_format: 'AUDIT %l %n %v' } },
          typed_dns_resolver_config: {
            name: 'cares',
            typed_config: {
              '@type': CARES,
              resolvers: [local(Number(dns.address.split(':')[1]))],
              dns_resolver_options: { no_default_search_domain: true },
            },
          },
          default_socket_interface: 'envoy.extensions.network.socket_interface.default_socket_interface',
          bootstrap_extensions: [
            {
              name: 'envoy.extensions.network.socket_interface.default_socket_interface',
              typed_config: { '@type': `${TYPES}network.socket_interface.v3.DefaultSocketInterface`, io_uring_options: {} },
            },
          ],
          watchdogs: { main_thread_watchdog: { miss_timeout: '5s', megamiss_timeout: '20s' } },
        },
      ),
    });
  });
  after(async () => {
    await proxy?.stop();
    await upstream?.close();
    dns?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test('node, application log, version', async () => {
    const info = JSON.parse((await proxy.admin('/server_info')).body);
    assert.deepEqual(info.node, { id: 'node', cluster: 'front', metadata: { a: 1 } });
    assert.match(proxy.log, /^AUDIT info main /m);
    assert.equal(await proxy.stat('server.version'), 4711);
  });

  test('admin: allowed paths and logs', async () => {
    const answer = await proxy.admin('/clusters');
    assert.deepEqual([answer.status, answer.body], [403, 'request to path /clusters not allowed']);
    await proxy.lines('older.log', 1);
    const log = await proxy.lines('admin.log', 1);
    assert.ok(log.includes('/ready'), log.join());
  });

  test('runtime layers', async () => {
    const runtime = JSON.parse((await proxy.admin('/runtime')).body);
    assert.deepEqual(runtime.layers, ['static', 'disk', 'admin']);
    assert.equal(runtime.entries['audit.static'].final_value, '1');
    assert.equal((await httpRequest(proxy.port('main'), '/disk')).status, 201);
    assert.equal((await proxy.admin('/runtime_modify?audit.twice=2', 'POST')).status, 200);
    assert.deepEqual(JSON.parse((await proxy.admin('/runtime')).body).entries['audit.twice'].layer_values, ['1', '', '2']);
  });

  test('upstream_bind_config, and the resolver of the bootstrap', async () => {
    assert.equal((await httpRequest(proxy.port('main'), '/')).headers['x-from'], '127.0.0.7');
    assert.equal((await httpRequest(proxy.port('main'), '/dns')).headers['x-from'], '127.0.0.7');
  });

  test('stats: tags, matcher, buckets, flushed by looking', async () => {
    await httpRequest(proxy.port('main'), '/');
    const { body } = await proxy.admin('/stats/prometheus');
    assert.match(
      body,
      /^envoy_cluster_upstream_rq_total\{fixed="yes",audit_cluster="up"\} [1-9]|^envoy_cluster_upstream_rq_total\{audit_cluster="up",fixed="yes"\} [1-9]/m,
    );
    assert.match(body, /^envoy_cluster_upstream_rq_time_bucket\{.*le="70000"\} [1-9]/m);
    assert.doesNotMatch(body, /^envoy_cluster_upstream_rq_time_bucket\{.*le="(?!7"|70000"|\+Inf")/m);
    assert.doesNotMatch(body, /upstream_cx_overflow/);
    assert.match(body, /^envoy_http_main_downstream_rq_total/m);
  });

  test('listeners: which are bound, and to what', async () => {
    assert.throws(() => proxy.port('unbound'));
    assert.throws(() => proxy.port('unbound too'));
    assert.equal(statSync(proxy.file('main.sock')).mode & 0o777, 0o620);
    const socket = connect(proxy.file('main.sock'));
    socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    const [data] = await once(socket, 'data');
    assert.match(String(data), /^HTTP\/1\.1 200 /);
    socket.destroy();
    for (const host of ['127.0.0.1', '::1']) {
      const wire = await dial({ host, port: proxy.port('any') });
      wire.send('hello');
      await wire.untilText('hello');
      wire.destroy();
    }
    const chains = await dial(proxy.port('chains'));
    chains.send('x');
    await chains.untilText('x');
    chains.end();
    await chains.untilClosed();
    assert.deepEqual(await proxy.lines('chains.log', 1), ['last']);
  });

  test('drain_type: a failed health check closes connections of default listeners only', async () => {
    await proxy.admin('/healthcheck/fail', 'POST');
    const closes = async (name: string): Promise<boolean> => {
      const wire = await dial(proxy.port(name));
      wire.send('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
      const { headers } = await wire.message();
      wire.destroy();
      return headers['connection'] === 'close';
    };
    // The message to the workers may still be under way.
    for (let i = 0; i < 1000 && !(await closes('default')); i++);
    assert.equal(await closes('default'), true);
    assert.equal(await closes('modify'), false);
    await proxy.admin('/healthcheck/ok', 'POST');
  });

  test('traffic_direction: inboundonly', async () => {
    assert.equal((await proxy.admin('/drain_listeners?inboundonly', 'POST')).status, 200);
    const refused = async (name: string): Promise<boolean> =>
      dial(proxy.port(name)).then(
        (wire) => {
          wire.destroy();
          return false;
        },
        () => true,
      );
    for (let i = 0; i < 1000 && !(await refused('inbound')); i++);
    assert.equal(await refused('inbound'), true);
    assert.equal(await refused('default'), false);
  });
});
