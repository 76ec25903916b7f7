/** Names that change while the proxy runs, from a name server on loopback; destinations named by a header. */
import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { type DnsServer, startDnsServer } from '../proxy/upstream/dns_server.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from './support/config.ts';
import { dial } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

describe('names that change', () => {
  let dns: DnsServer;
  let proxy: ProxyProcess;
  const upstreams: HttpUpstream[] = [];
  const held: (() => void)[] = [];

  before(async () => {
    dns = await startDnsServer();
    // The same port on three addresses: which one answered is the body.
    for (const last of [1, 2, 3]) {
      const port = upstreams[0]?.port ?? 0;
      const ip = `127.0.0.${last}`;
      upstreams.push(
        await httpUpstream(
          (request, response) => {
            if (request.url === '/hold') held.push(() => response.end(ip));
            else response.end(ip);
          },
          port,
          ip,
        ),
      );
    }
    const named = (name: string, type: string, host: string, extra: Json = {}): Json => ({
      name,
      type,
      connect_timeout: '1s',
      dns_refresh_rate: '0.1s',
      dns_failure_refresh_rate: { base_interval: '0.1s', max_interval: '0.1s' },
      dns_lookup_family: 'V4_ONLY',
      typed_dns_resolver_config: {
        name: 'envoy.network.dns_resolver.cares',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig',
          resolvers: [{ socket_address: { address: '127.0.0.1', port_value: Number(dns.address.split(':')[1]) } }],
          dns_resolver_options: { no_default_search_domain: true },
        },
      },
      load_assignment: {
        cluster_name: name,
        endpoints: [
          { lb_endpoints: [{ endpoint: { address: { socket_address: { address: host, port_value: upstreams[0].port } } } }] },
        ],
      },
      ...extra,
    });
    dns.answers.set('strict.test A', { ips: ['127.0.0.1'], ttl: 1 });
    dns.answers.set('logical.test A', { ips: ['127.0.0.1'], ttl: 1 });
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          listener('web', [
            http('web', [
              route('/strict', 'strict'),
              route('/od', 'od'),
              { match: { path: '/hold' }, route: { cluster: 'logical' } },
              route('/logical', 'logical'),
            ]),
          ]),
        ],
        [
          named('strict', 'STRICT_DNS', 'strict.test'),
          named('logical', 'LOGICAL_DNS', 'logical.test'),
          { name: 'od', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED', original_dst_lb_config: { use_http_header: true } },
          cluster('other', [upstreams[0].port]),
        ],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    for (const upstream of upstreams) await upstream.close();
    dns.close();
  });

  const ask = async (path: string): Promise<string> => {
    const { status, body } = await httpRequest(proxy.port('web'), path);
    return status === 200 ? body : `${status} ${body}`;
  };
  /** The answers of eight requests, each once, sorted. */
  const asked = async (path: string): Promise<string> =>
    [...new Set(await Promise.all(Array.from({ length: 8 }, () => ask(path))))].sort().join(' ');

  test('STRICT_DNS: hosts come and go with the answers, a failure keeps them, none empties them', async () => {
    const logical = await connectionsOf(upstreams[0].server);
    assert.equal(await asked('/strict'), '127.0.0.1');
    dns.answers.set('strict.test A', { ips: ['127.0.0.1', '127.0.0.2'], ttl: 1 });
    await until(async () => (await asked('/strict')) === '127.0.0.1 127.0.0.2', 'both hosts');
    assert.equal(await proxy.stat('cluster.strict.membership_total'), 2);
    dns.answers.set('strict.test A', { ips: ['127.0.0.3'], ttl: 1 });
    await until(async () => (await asked('/strict')) === '127.0.0.3', 'the third host');
    // Connections to hosts that are gone are closed.
    for (const { server } of upstreams.slice(0, 2)) {
      await until(
        async () => (await connectionsOf(server)) === (server === upstreams[0].server ? logical : 0),
        'old connections to close',
      );
    }
    assert.match((await proxy.admin('/clusters')).body, new RegExp(`^strict::127\\.0\\.0\\.3:${upstreams[0].port}::`, 'm'));
    dns.answers.set('strict.test A', { ips: [], ttl: 0, rcode: 2 });
    const failures = await proxy.stat('cluster.strict.update_failure');
    await proxy.untilStat('cluster.strict.update_failure', (n) => n > failures + 1);
    assert.equal(await asked('/strict'), '127.0.0.3');
    dns.answers.set('strict.test A', { ips: [], ttl: 0, rcode: 0 });
    await until(async () => (await asked('/strict')) === '503 no healthy upstream', 'no hosts');
    dns.answers.set('strict.test A', { ips: ['127.0.0.2'], ttl: 1 });
    await until(async () => (await asked('/strict')) === '127.0.0.2', 'a host again');
  });

  test('LOGICAL_DNS: new connections go to the new address, old ones stay', async () => {
    assert.equal(await asked('/logical'), '127.0.0.1');
    const client = await dial(proxy.port('web'));
    client.send('GET /hold HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(() => held.length === 1, 'the held request');
    dns.answers.set('logical.test A', { ips: ['127.0.0.2', '127.0.0.1'], ttl: 1 });
    // Idle connections to the old address may still be used; those that upstream closes are not.
    await until(async () => {
      upstreams[0].server.closeIdleConnections();
      return (await asked('/logical')) === '127.0.0.2';
    }, 'the new address');
    held[0]();
    assert.equal((await client.message()).body.toString(), '127.0.0.1');
    client.destroy();
    assert.equal(await proxy.stat('cluster.logical.membership_total'), 1);
  });

  test('ORIGINAL_DST by header', async () => {
    const to = async (value: string): Promise<[number, string]> => {
      const { status, body } = await httpRequest(proxy.port('web'), '/od', { headers: { 'x-envoy-original-dst-host': value } });
      return [status, body];
    };
    for (const last of [1, 2, 3]) assert.deepEqual(await to(`127.0.0.${last}:${upstreams[0].port}`), [200, `127.0.0.${last}`]);
    assert.equal((await to('not an address'))[0], 503);
    assert.equal((await httpRequest(proxy.port('web'), '/od')).status, 503);
    assert.equal(await proxy.stat('cluster.od.original_dst_host_invalid'), 1);
  });
});

function connectionsOf(server: Server): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  );
}
