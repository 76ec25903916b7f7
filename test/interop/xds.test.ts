/** Configuration from control planes and files: a real proxy, a gRPC control plane that checks the protocol, and traffic. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import type { ResourceKind } from '../../src/proxy/config/xds/resource_types.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, upstreamHttp2 } from './support/config.ts';
import { ControlPlane } from './support/control_plane.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const upstreams: HttpUpstream[] = [];
async function upstream(text: string): Promise<HttpUpstream> {
  const made = await httpUpstream((_request, response) => void response.end(text));
  upstreams.push(made);
  return made;
}
after(() => Promise.all(upstreams.map((each) => each.close())));

const ADS = { ads: {}, resource_api_version: 'V3' };

function assignment(name: string, ports: number[]): Json {
  const { load_assignment } = cluster(name, ports);
  return load_assignment as Json;
}

function edsCluster(name: string, source: Json = ADS, extra: Json = {}): Json {
  return { name, type: 'EDS', connect_timeout: '2s', eds_cluster_config: { eds_config: source }, ...extra };
}

function rdsListener(name: string, routes: string, source: Json = ADS): Json {
  return listener(name, [http(name, [], { route_config: undefined, rds: { config_source: source, route_config_name: routes } })]);
}

function routes(name: string, target: string): Json {
  return { name, virtual_hosts: [{ name: 'all', domains: ['*'], routes: [route('/', target)] }] };
}

function grpcConfig(plane: ControlPlane, delta: boolean, extra: Json = {}): Json {
  const api = {
    api_type: delta ? 'DELTA_GRPC' : 'GRPC',
    transport_api_version: 'V3',
    grpc_services: [{ envoy_grpc: { cluster_name: 'plane' }, initial_metadata: [{ key: 'x-token', value: 'secret' }] }],
    ...extra,
  };
  return {
    ...bootstrap([], [cluster('plane', [plane.port], upstreamHttp2())]),
    node: { id: 'node-1', cluster: 'cluster-1', metadata: { role: 'test' } },
    dynamic_resources: { ads_config: api, cds_config: ADS, lds_config: ADS },
  };
}

async function portOf(proxy: ProxyProcess, name: string): Promise<number> {
  let port = 0;
  await until(async () => {
    const { body } = await proxy.admin('/listeners');
    port = Number(new RegExp(`^${name}::.*:(\\d+)$`, 'm').exec(body)?.[1] ?? 0);
    return port > 0;
  }, `listener ${name}`);
  return port;
}

async function untilBody(port: number, wanted: string): Promise<void> {
  let got = '';
  await until(
    async () => (got = (await httpRequest(port, '/')).body) === wanted,
    () => `the answer is ${got}, not ${wanted}`,
  );
}

for (const delta of [false, true]) {
  describe(`ADS, ${delta ? 'incremental' : 'state of the world'}`, () => {
    test('clusters, endpoints, listeners and routes come, change and go; what is wrong is refused', async () => {
      const [a, b] = [await upstream('a'), await upstream('b')];
      const plane = await ControlPlane.start();
      plane.set('cluster', { one: edsCluster('one'), two: cluster('two', [b.port]) });
      plane.set('endpoint', { one: assignment('one', [a.port]) });
      plane.set('listener', { web: rdsListener('web', 'routes') });
      plane.set('route', { routes: routes('routes', 'one') });
      const proxy = await startProxy({ config: grpcConfig(plane, delta), concurrency: 2, args: ['--drain-time-s', '1'] });
      // LIVE means that all of it is there.
      const port = proxy.port('web');
      assert.equal((await httpRequest(port, '/')).body, 'a');
      assert.equal(plane.metadata[0].get('x-token')[0], 'secret');
      const node = plane.requests[0].json['node'] as Json;
      assert.deepEqual([node['id'], node['cluster'], node['metadata']], ['node-1', 'cluster-1', { role: 'test' }]);

      plane.set('endpoint', { one: assignment('one', [b.port]) });
      await untilBody(port, 'b');
      plane.set('endpoint', { one: assignment('one', [a.port]) });
      await untilBody(port, 'a');
      plane.set('route', { routes: routes('routes', 'two') });
      await untilBody(port, 'b');
      // A cluster of the same name changes to EDS and warms with its endpoints.
      plane.set('cluster', { one: edsCluster('one'), two: edsCluster('two', ADS, { connect_timeout: '3s' }) });
      plane.set('endpoint', { one: assignment('one', [a.port]), two: assignment('two', [a.port]) });
      await untilBody(port, 'a');
      assert.equal(plane.nacks.length, 0);

      // One cluster that cannot be used: refused, and the other one is used.
      const bad = { ...cluster('bad', [a.port]), lb_policy: 'CLUSTER_PROVIDED' };
      plane.set('cluster', { one: edsCluster('one'), two: edsCluster('two'), bad, three: cluster('three', [b.port]) });
      await until(() => plane.nacks.length === 1, 'the cluster to be refused');
      assert.equal(plane.nacks[0].kind, 'cluster');
      assert.match(plane.nacks[0].message, /bad: lb_policy: LB policy CLUSTER_PROVIDED is not valid/);
      await proxy.untilStat('cluster_manager.cds.update_rejected', (value) => value === 1);
      await until(async () => /^three::/m.test((await proxy.admin('/clusters')).body), 'the good cluster');
      assert.match((await proxy.admin('/clusters')).body, /^three::added_via_api::true$/m);
      plane.set('route', { routes: routes('routes', 'three') });
      await untilBody(port, 'b');
      // Bytes that are no route configuration, then a route that cannot be: the old one stays.
      plane.set('route', { routes: null });
      await until(() => plane.nacks.length === 2, 'the bytes to be refused');
      plane.set('route', {
        routes: {
          ...routes('routes', 'three'),
          virtual_hosts: [
            { name: 'x', domains: ['*'] },
            { name: 'y', domains: ['*'] },
          ],
        },
      });
      await until(() => plane.nacks.length === 3, 'the route to be refused');
      assert.match(plane.nacks[2].message, /Only a single wildcard domain/);
      assert.equal((await httpRequest(port, '/')).body, 'b');
      plane.set('listener', { web: rdsListener('web', 'routes'), broken: { ...listener('broken', []), filter_chains: [] } });
      await until(() => plane.nacks.length === 4, 'the listener to be refused');

      // The control plane restarts: the proxy goes on, comes back and goes on from where it was.
      const planePort = plane.port;
      plane.stop();
      await proxy.untilStat('control_plane.connected_state', (value) => value === 0);
      assert.equal((await httpRequest(port, '/')).body, 'b');
      plane.set('cluster', { one: edsCluster('one'), four: cluster('four', [a.port]) });
      plane.set('listener', { web: rdsListener('web', 'others') });
      plane.set('route', { others: routes('others', 'four') });
      await plane.listen(planePort);
      await untilBody(await portOf(proxy, 'web'), 'a');
      await proxy.untilStat('control_plane.connected_state', (value) => value === 1);
      await until(async () => !/^three::/m.test((await proxy.admin('/clusters')).body), 'the cluster to be gone');
      assert.equal(await portOf(proxy, 'web'), port);

      const dump = (await proxy.admin('/config_dump?include_eds')).body;
      for (const expected of [
        'dynamic_active_clusters',
        'dynamic_listeners',
        'dynamic_route_configs',
        'dynamic_endpoint_configs',
      ])
        assert.match(dump, new RegExp(expected));
      assert.match(dump, /"name": "others"/);
      // A listener that goes stops listening.
      plane.set('listener', {});
      await until(async () => (await proxy.admin('/listeners')).body === '', 'the listener to be gone');
      assert.deepEqual(plane.mistakes, []);
      await proxy.stop();
      plane.stop();
    });

    test('what does not come in time is not waited for', async () => {
      const a = await upstream('a');
      const plane = await ControlPlane.start();
      plane.silent.add('endpoint').add('route');
      const soon = { ...ADS, initial_fetch_timeout: '0.3s' };
      plane.set('cluster', { one: edsCluster('one', soon) });
      plane.set('listener', { web: rdsListener('web', 'routes', soon) });
      plane.set('endpoint', { one: assignment('one', [a.port]) });
      const proxy = await startProxy({ config: grpcConfig(plane, delta) });
      const port = proxy.port('web');
      assert.equal((await httpRequest(port, '/')).status, 404);
      assert.equal(await proxy.stat('cluster.one.init_fetch_timeout'), 1);
      assert.equal(await proxy.stat('http.web.rds.routes.init_fetch_timeout'), 1);
      plane.silent.clear();
      plane.set('route', { routes: routes('routes', 'one') });
      await until(async () => (await httpRequest(port, '/')).status === 503, 'the route');
      plane.set('endpoint', { one: { ...assignment('one', [a.port]), policy: { overprovisioning_factor: 140 } } });
      await untilBody(port, 'a');
      assert.deepEqual(plane.mistakes, []);
      await proxy.stop();
      plane.stop();
    });

    test('1,000 clusters with their endpoints', { timeout: 120_000 }, async () => {
      const a = await upstream('a');
      const plane = await ControlPlane.start();
      const names = Array.from({ length: 1000 }, (_, i) => `cluster-${i}`);
      const all = (make: (name: string) => Json): Record<string, Json> =>
        Object.fromEntries(names.map((name) => [name, make(name)]));
      plane.set(
        'cluster',
        all((name) => edsCluster(name)),
      );
      plane.set(
        'endpoint',
        all((name) => assignment(name, [a.port])),
      );
      plane.set('listener', { web: listener('web', [http('web', [route('/', 'cluster-999')])]) });
      const proxy = await startProxy({ config: grpcConfig(plane, delta) });
      assert.equal(await proxy.stat('cluster_manager.active_clusters'), 1001);
      assert.equal(await proxy.stat('cluster_manager.warming_clusters'), 0);
      assert.equal((await httpRequest(proxy.port('web'), '/')).body, 'a');
      plane.set('cluster', { 'cluster-999': edsCluster('cluster-999') });
      await proxy.untilStat('cluster_manager.active_clusters', (value) => value === 2);
      assert.equal((await httpRequest(proxy.port('web'), '/')).body, 'a');
      assert.deepEqual([plane.mistakes, plane.nacks], [[], []]);
      await proxy.stop();
      plane.stop();
    });
  });
}

test('a stream for each type, without ADS', async () => {
  const a = await upstream('a');
  const plane = await ControlPlane.start();
  const source = {
    api_config_source: {
      api_type: 'GRPC',
      transport_api_version: 'V3',
      set_node_on_first_message_only: true,
      grpc_services: [{ envoy_grpc: { cluster_name: 'plane' } }],
    },
    resource_api_version: 'V3',
  };
  plane.set('cluster', { one: edsCluster('one', source) });
  plane.set('endpoint', { one: assignment('one', [a.port]) });
  plane.set('listener', { web: rdsListener('web', 'routes', source) });
  plane.set('route', { routes: routes('routes', 'one') });
  const config = { ...grpcConfig(plane, false), dynamic_resources: { cds_config: source, lds_config: source } };
  const proxy = await startProxy({ config });
  assert.equal((await httpRequest(proxy.port('web'), '/')).body, 'a');
  assert.equal(plane.connections, 4);
  // With each stream's first request only.
  assert.equal(plane.requests.filter(({ json }) => json['node'] !== undefined).length, 4);
  assert.ok(plane.requests.length > 4);
  assert.deepEqual(plane.mistakes, []);
  await proxy.stop();
  plane.stop();
});

test('RTDS: a layer of the runtime over ADS', async () => {
  const plane = await ControlPlane.start();
  plane.set('cluster', {});
  plane.set('listener', {});
  plane.set('runtime', { switches: { name: 'switches', layer: { upstream: { maintenance_mode: { plane: 5 } }, other: 'x' } } });
  const layers = [
    { name: 'base', static_layer: { other: 'base', mine: 1 } },
    { name: 'remote', rtds_layer: { name: 'switches', rtds_config: ADS } },
    { name: 'admin', admin_layer: {} },
  ];
  const proxy = await startProxy({ config: { ...grpcConfig(plane, false), layered_runtime: { layers } } });
  const values = async (): Promise<Record<string, string>> => {
    const { entries } = JSON.parse((await proxy.admin('/runtime')).body) as { entries: Record<string, { final_value: string }> };
    return Object.fromEntries(Object.entries(entries).map(([key, { final_value }]) => [key, final_value]));
  };
  assert.deepEqual(await values(), { mine: '1', other: 'x', 'upstream.maintenance_mode.plane': '5' });
  plane.set('runtime', { switches: { name: 'switches', layer: { mine: 2 } } });
  await until(async () => (await values())['mine'] === '2', 'the new layer');
  assert.deepEqual(await values(), { mine: '2', other: 'base' });
  assert.equal(await proxy.stat('runtime.update_rejected'), 0);
  assert.deepEqual([plane.mistakes, plane.nacks], [[], []]);
  await proxy.stop();
  plane.stop();
});

test('files: CDS, EDS, LDS and RDS, followed when another file takes their place', async () => {
  const [a, b] = [await upstream('a'), await upstream('b')];
  const file = (name: string): Json => ({ path_config_source: { path: `$DIR/${name}` }, resource_api_version: 'V3' });
  const types: Record<string, string> = {
    cluster: 'envoy.config.cluster.v3.Cluster',
    endpoint: 'envoy.config.endpoint.v3.ClusterLoadAssignment',
    listener: 'envoy.config.listener.v3.Listener',
    route: 'envoy.config.route.v3.RouteConfiguration',
    runtime: 'envoy.service.runtime.v3.Runtime',
  };
  let version = 0;
  let directory = '';
  const write = (kind: ResourceKind, resources: Json[] | string): void => {
    const typed = (resource: Json): Json => ({ '@type': `type.googleapis.com/${types[kind]}`, ...resource });
    const text =
      typeof resources === 'string'
        ? resources
        : JSON.stringify({ version_info: String(++version), resources: resources.map(typed) }).replaceAll('$DIR', directory);
    writeFileSync(`${directory}/next`, text);
    renameSync(`${directory}/next`, `${directory}/${kind}.json`);
  };
  const proxy = await startProxy({
    config: {
      ...bootstrap([
        listener('static', [
          http('static', [route('/', 'one')], { route_config: { ...routes('s', 'one'), validate_clusters: false } }),
        ]),
      ]),
      dynamic_resources: {
        cds_config: { ...file('cluster.json'), initial_fetch_timeout: '0.2s' },
        lds_config: { path: '$DIR/listener.json', initial_fetch_timeout: '0.2s' },
      },
    },
  });
  directory = proxy.directory;
  assert.equal((await httpRequest(proxy.port('static'), '/')).status, 503);
  write('endpoint', [assignment('one', [a.port])]);
  write('route', [routes('routes', 'one')]);
  write('cluster', [edsCluster('one', file('endpoint.json'))]);
  write('listener', [rdsListener('web', 'routes', file('route.json'))]);
  const port = await portOf(proxy, 'web');
  await untilBody(port, 'a');
  await untilBody(proxy.port('static'), 'a');
  write('endpoint', [assignment('one', [b.port])]);
  await untilBody(port, 'b');
  // What cannot be read is counted, and changes nothing.
  write('cluster', 'no: [response');
  await proxy.untilStat('cluster_manager.cds.update_failure', (value) => value > 0);
  write('route', [{ name: 'routes', virtual_hosts: [{ name: 'x' }] }]);
  await proxy.untilStat('http.web.rds.routes.update_rejected', (value) => value > 0);
  assert.equal((await httpRequest(port, '/')).body, 'b');
  write('listener', []);
  await assert.doesNotReject(until(async () => !/^web::/m.test((await proxy.admin('/listeners')).body), 'the listener to go'));
  assert.ok((await proxy.stat('listener_manager.lds.update_success')) >= 2);
  await proxy.stop();
});
