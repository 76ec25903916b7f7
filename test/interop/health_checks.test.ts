/** Active health checks by the real proxy, two workers: HTTP, TCP and gRPC, over plain text and TLS, of upstreams that fail in many ways. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createSecureServer } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { startDnsServer } from '../proxy/upstream/dns_server.ts';
import { CertificateFactory } from '../support/certificates.ts';
import { closeAtEnd, httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy, upstreamHttp2 } from './support/config.ts';
import { dial, rawUpstream, unusedPort } from './support/raw.ts';
import { upstreamTls } from './support/tls.ts';
import { type HttpUpstream, httpUpstream, needs, startNginx } from './support/upstreams.ts';

/** Checks often, changes at the second result. */
const OFTEN: Json = {
  timeout: '0.3s',
  interval: '0.05s',
  no_traffic_interval: '0.05s',
  unhealthy_threshold: 2,
  healthy_threshold: 2,
};
const NO_PANIC: Json = { common_lb_config: { healthy_panic_threshold: { value: 0 } } };

function httpCheck(check: Json = {}, more: Json = {}): Json {
  return { ...NO_PANIC, health_checks: [{ ...OFTEN, http_health_check: { path: '/health', ...check }, ...more }] };
}

/** `health_flags` of the host at this port. */
async function flags(proxy: ProxyProcess, name: string, port: number): Promise<string> {
  const { body } = await proxy.admin('/clusters');
  return new RegExp(`^${name}::127\\.0\\.0\\.1:${port}::health_flags::(.*)$`, 'm').exec(body)?.[1] ?? 'not there';
}

async function untilFlags(proxy: ProxyProcess, name: string, port: number, wanted: string): Promise<void> {
  let found = '';
  await until(
    async () => (found = await flags(proxy, name, port)) === wanted,
    () => `${name}: '${wanted}' instead of '${found}'`,
  );
}

/** The bodies of many answers, over connections that reach both workers. */
async function answers(proxy: ProxyProcess, path: string): Promise<Set<string>> {
  const all = await Promise.all(Array.from({ length: 40 }, () => httpRequest(proxy.port('web'), path)));
  return new Set(all.map(({ status, body }) => (status === 200 ? body : String(status))));
}

describe('HTTP checks', () => {
  let proxy: ProxyProcess;
  let good: HttpUpstream;
  let other: HttpUpstream;
  /** What `other` does when it is asked for /health. */
  let health: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => response.end('fine');
  /** What it says to requests. */
  let extra: Record<string, string> = {};
  const seen: IncomingMessage[] = [];

  before(async () => {
    good = await httpUpstream((_request, response) => response.end('good'));
    other = await httpUpstream((request, response) => {
      if (request.url !== '/health') response.writeHead(200, extra).end('other');
      else {
        seen.push(request);
        health(request, response);
      }
    });
    const refused = await unusedPort();
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          listener('web', [
            http('web', [
              route('/pair', 'pair'),
              route('/named', 'named'),
              route('/immediate', 'immediate'),
              route('/first', 'first'),
            ]),
          ]),
        ],
        [
          cluster(
            'pair',
            [good.port, other.port],
            httpCheck(
              {
                request_headers_to_add: [{ header: { key: 'x-check', value: 'yes' } }],
                retriable_statuses: [{ start: 429, end: 430 }],
                expected_statuses: [
                  { start: 200, end: 201 },
                  { start: 204, end: 205 },
                ],
              },
              {
                event_logger: [
                  {
                    name: 'file',
                    typed_config: {
                      '@type': 'type.googleapis.com/envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink',
                      event_log_path: '$DIR/checks.log',
                    },
                  },
                ],
              },
            ),
          ),
          cluster('first', [good.port, refused], httpCheck()),
          cluster(
            'named',
            [other.port],
            httpCheck({ host: 'checks.test', service_name_matcher: { prefix: 'named' }, method: 'POST', send: { text: '6869' } }),
          ),
          cluster('immediate', [good.port, other.port], {
            ...httpCheck({}, { interval: '60s', no_traffic_interval: '60s' }),
          }),
          cluster('body', [other.port], httpCheck({ receive: [{ text: '66' }, { text: '6e65' }], response_buffer_size: 4 })),
        ],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await good.close();
    await other.close();
  });

  test('the server is ready when each host was checked once: nothing goes to one that fails', async () => {
    assert.deepEqual(await answers(proxy, '/first'), new Set(['good']));
    assert.equal(await proxy.stat('cluster.first.membership_healthy'), 1);
    assert.ok((await proxy.stat('cluster.first.health_check.network_failure')) >= 1);
    assert.equal(await proxy.stat('cluster.first.health_check.healthy'), 1);
  });

  test('what the checked host sees', async () => {
    const request = seen.find(({ headers }) => headers['x-check'] === 'yes')!;
    assert.deepEqual([request.method, request.headers.host, request.headers['user-agent']], ['GET', 'pair', 'Envoy/HC']);
    const posted = seen.find(({ method }) => method === 'POST')!;
    assert.deepEqual([posted.headers.host, posted.headers['content-length']], ['checks.test', '2']);
    const sockets = new Set(seen.filter(({ headers }) => headers['x-check'] === 'yes').map(({ socket }) => socket.remotePort));
    assert.equal(sockets.size, 1, 'the connection is kept');
  });

  test('503 takes it out at once on all workers, the second success brings it back', async () => {
    assert.deepEqual(await answers(proxy, '/pair'), new Set(['good', 'other']));
    health = (_request, response) => response.writeHead(503).end();
    await untilFlags(proxy, 'pair', other.port, '/failed_active_hc');
    assert.equal(await proxy.stat('cluster.pair.health_check.healthy'), 1);
    await until(
      async () => (await answers(proxy, '/pair')).size === 1,
      () => 'all workers to know',
    );
    const json = JSON.parse((await proxy.admin('/clusters?format=json')).body);
    const pair = json.cluster_statuses.find((status: Json) => status['name'] === 'pair');
    assert.deepEqual(pair.host_statuses[1].health_status, { failed_active_health_check: true, eds_health_status: 'HEALTHY' });
    health = (_request, response) => response.writeHead(204).end();
    await untilFlags(proxy, 'pair', other.port, 'healthy');
    await until(
      async () => (await answers(proxy, '/pair')).size === 2,
      () => 'the host to be back',
    );
    const events = (await proxy.lines('checks.log', 4)).map((line) => JSON.parse(line));
    const ofOther = events.filter((event) => event.host.socket_address.port_value === other.port);
    assert.deepEqual(
      ofOther.map((event) => event.add_healthy_event ?? event.eject_unhealthy_event),
      [{ first_check: true }, { failure_type: 'ACTIVE' }, { first_check: false }],
    );
    assert.deepEqual([ofOther[0].health_checker_type, ofOther[0].cluster_name], ['HTTP', 'pair']);
  });

  test('a retriable status and a timeout need the threshold; a timeout is flagged', async () => {
    let failures = 0;
    health = (_request, response) => response.writeHead(failures++ % 2 === 0 ? 429 : 200).end();
    await until(
      async () => failures > 8,
      () => 'checks',
    );
    assert.equal(await flags(proxy, 'pair', other.port), 'healthy');
    health = () => {};
    await untilFlags(proxy, 'pair', other.port, '/failed_active_hc/active_hc_timeout');
    health = (request) => request.socket.destroy();
    await untilFlags(proxy, 'pair', other.port, '/failed_active_hc');
    health = (_request, response) => response.end('fine');
    await untilFlags(proxy, 'pair', other.port, 'healthy');
  });

  test('x-envoy-degraded', async () => {
    health = (_request, response) => response.writeHead(200, { 'x-envoy-degraded': '' }).end();
    await untilFlags(proxy, 'pair', other.port, '/degraded_active_hc');
    assert.equal(await proxy.stat('cluster.pair.membership_degraded'), 1);
    assert.equal(await proxy.stat('cluster.pair.health_check.degraded'), 1);
    health = (_request, response) => response.end('fine');
    await untilFlags(proxy, 'pair', other.port, 'healthy');
  });

  test('the name of the service is verified', async () => {
    health = (_request, response) => response.writeHead(200, { 'x-envoy-upstream-healthchecked-cluster': 'named-1' }).end('fine');
    await untilFlags(proxy, 'named', other.port, 'healthy');
    health = (_request, response) => response.writeHead(200, { 'x-envoy-upstream-healthchecked-cluster': 'else' }).end('fine');
    await untilFlags(proxy, 'named', other.port, '/failed_active_hc');
    assert.ok((await proxy.stat('cluster.named.health_check.verify_cluster')) > 0);
  });

  test('the body is looked at as far as it is kept', async () => {
    health = (_request, response) => response.end('f ne');
    await untilFlags(proxy, 'body', other.port, 'healthy');
    health = (_request, response) => response.end('f not ne');
    await untilFlags(proxy, 'body', other.port, '/failed_active_hc');
    health = (_request, response) => response.end('fine');
    await untilFlags(proxy, 'body', other.port, 'healthy');
  });

  test('traffic with x-envoy-immediate-health-check-fail takes the host out, and out of account', async () => {
    assert.equal(await flags(proxy, 'immediate', other.port), 'healthy');
    extra = { 'x-envoy-immediate-health-check-fail': 'true' };
    await answers(proxy, '/immediate');
    await untilFlags(proxy, 'immediate', other.port, '/failed_active_hc/excluded_via_immediate_hc_fail');
    extra = {};
    assert.equal(await proxy.stat('cluster.immediate.membership_excluded'), 1);
    assert.ok((await proxy.stat('cluster.immediate.health_check.passive_failure')) >= 1);
    await until(
      async () => (await answers(proxy, '/immediate')).size === 1,
      () => 'all workers to know',
    );
  });
});

test('a server that is killed and comes back', { skip: needs('nginx') }, async () => {
  const nginx = await startNginx('location / { return 200 nginx; }');
  const proxy = await startProxy({
    concurrency: 2,
    config: bootstrap([listener('web', [http('web', [route('/', 'nginx')])])], [cluster('nginx', [nginx.port], httpCheck())]),
  });
  assert.deepEqual(await answers(proxy, '/'), new Set(['nginx']));
  await nginx.close();
  await untilFlags(proxy, 'nginx', nginx.port, '/failed_active_hc');
  assert.deepEqual(await answers(proxy, '/'), new Set(['503']));
  const back = await httpUpstream((_request, response) => response.end('back'), nginx.port);
  await untilFlags(proxy, 'nginx', nginx.port, 'healthy');
  assert.deepEqual(await answers(proxy, '/'), new Set(['back']));
  await proxy.stop();
  await back.close();
});

describe('over TLS, and to an endpoint of its own', () => {
  const certificates = new CertificateFactory();
  const ca = certificates.make('test ca', { isCa: true });
  const otherCa = certificates.make('other ca', { isCa: true });
  const server = certificates.make('upstream', { san: 'DNS:upstream.example', issuer: ca });
  const tls = upstreamTls({ validation_context: { trusted_ca: { filename: ca.certificateFile } } }, { sni: 'upstream.example' });

  test('the transport socket of the cluster is used, HTTP/1 and HTTP/2; a wrong certificate fails', async () => {
    const key = { cert: server.certificate, key: server.key };
    const seen: string[] = [];
    const https = createHttpsServer(key, (request, response) => {
      seen.push(`${request.httpVersion} ${(request.socket as unknown as { servername: string }).servername}`);
      response.end();
    }).listen(0, '127.0.0.1');
    const h2 = createSecureServer(key, (request, response) => {
      seen.push(`${request.httpVersion} ${request.scheme} ${request.authority}`);
      response.end();
    }).listen(0, '127.0.0.1');
    await Promise.all([https, h2].map((one) => once(one, 'listening')));
    for (const one of [https, h2]) closeAtEnd(() => one.close());
    const [port, h2Port] = [https, h2].map((one) => (one.address() as AddressInfo).port);
    const proxy = await startProxy({
      concurrency: 1,
      config: bootstrap(
        [listener('web', [http('web', [route('/', 'https')])])],
        [
          cluster('https', [port], { ...httpCheck(), transport_socket: tls }),
          cluster('h2', [h2Port], { ...httpCheck({ codec_client_type: 'HTTP2' }), transport_socket: tls }),
          cluster('distrusted', [port], {
            ...httpCheck(),
            transport_socket: upstreamTls({ validation_context: { trusted_ca: { filename: otherCa.certificateFile } } }),
          }),
        ],
      ),
    });
    assert.equal(await flags(proxy, 'https', port), 'healthy');
    assert.equal(await flags(proxy, 'h2', h2Port), 'healthy');
    assert.equal(await flags(proxy, 'distrusted', port), '/failed_active_hc');
    assert.ok(seen.includes('1.1 upstream.example') && seen.includes('2.0 https h2'), seen.join(', '));
    await proxy.stop();
  });

  test('health_check_config: port, hostname, address, disabled; alt_port', async () => {
    const traffic = await httpUpstream((_request, response) => response.writeHead(500).end());
    const hosts: string[] = [];
    const checks = await httpUpstream((request, response) => {
      hosts.push(request.headers.host!);
      response.end();
    });
    const endpoint = (config: Json): Json => ({
      endpoint: {
        address: { socket_address: { address: '127.0.0.1', port_value: traffic.port } },
        health_check_config: config,
      },
    });
    const named = (name: string, config: Json, more: Json = {}): Json => ({
      ...cluster(name, [], httpCheck({}, more)),
      load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [endpoint(config)] }] },
    });
    const proxy = await startProxy({
      concurrency: 1,
      config: bootstrap(
        [listener('web', [http('web', [route('/', 'port')])])],
        [
          named('port', { port_value: checks.port, hostname: 'own.test' }),
          named('address', { address: { socket_address: { address: '127.0.0.1', port_value: checks.port } } }),
          named('alt', {}, { alt_port: checks.port }),
          named('disabled', { disable_active_health_check: true }),
          named('plain', {}),
        ],
      ),
    });
    for (const name of ['port', 'address', 'alt', 'disabled'])
      assert.equal(await flags(proxy, name, traffic.port), 'healthy', name);
    assert.equal(await flags(proxy, 'plain', traffic.port), '/failed_active_hc');
    assert.equal(await proxy.stat('cluster.disabled.health_check.attempt'), 0);
    assert.ok(hosts.includes('own.test') && hosts.includes('address') && hosts.includes('alt'), hosts.join(', '));
    await proxy.stop();
    await traffic.close();
    await checks.close();
  });
});

test('TCP checks: to connect is enough, or what comes back must match; connections end with the health of their host', async () => {
  let answer = '+PONG\r\n';
  const upstream = await rawUpstream(async (wire) => {
    await wire.untilText('PING');
    wire.send('hello ');
    wire.send(answer);
    for (let pings = 1; ; ) {
      await wire.until(() => wire.text.split('PING').length - 1 > pings);
      pings++;
      wire.send(answer);
    }
  });
  const other = await rawUpstream();
  const proxy = await startProxy({
    concurrency: 2,
    config: bootstrap(
      [listener('tcp', [tcpProxy('tcp', 'redis')])],
      [
        cluster('redis', [upstream.port], {
          ...NO_PANIC,
          close_connections_on_host_health_failure: true,
          health_checks: [
            {
              ...OFTEN,
              tcp_health_check: {
                send: { binary: Buffer.from('PING\r\n').toString('base64') },
                receive: [{ text: Buffer.from('+PO').toString('hex') }, { text: Buffer.from('NG').toString('hex') }],
              },
            },
          ],
        }),
        cluster('connects', [other.port], { ...NO_PANIC, health_checks: [{ ...OFTEN, tcp_health_check: {} }] }),
      ],
    ),
  });
  assert.equal(await flags(proxy, 'redis', upstream.port), 'healthy');
  assert.equal(await flags(proxy, 'connects', other.port), 'healthy');
  const client = await dial(proxy.port('tcp'));
  client.send('PING');
  await client.untilText('PONG');
  answer = '-NO\r\n';
  await untilFlags(proxy, 'redis', upstream.port, '/failed_active_hc/active_hc_timeout');
  await client.untilClosed();
  answer = '+PONG\r\n';
  await untilFlags(proxy, 'redis', upstream.port, 'healthy');
  await other.close();
  await untilFlags(proxy, 'connects', other.port, '/failed_active_hc');
  await proxy.stop();
  await upstream.close();
});

test('gRPC checks of a @grpc/grpc-js server', async () => {
  const SERVING = 1;
  let status = SERVING;
  let failing: grpc.status | null = null;
  const services: string[] = [];
  const health = {
    check: {
      path: '/grpc.health.v1.Health/Check',
      requestStream: false,
      responseStream: false,
      requestSerialize: (value: Buffer) => value,
      requestDeserialize: (value: Buffer) => value,
      responseSerialize: (value: Buffer) => value,
      responseDeserialize: (value: Buffer) => value,
    },
  } satisfies grpc.ServiceDefinition;
  const server = new grpc.Server();
  server.addService(health, {
    check: (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => {
      services.push(`${call.request.subarray(2).toString()} ${call.getHost()} ${call.metadata.get('x-more')[0]}`);
      if (failing === null) callback(null, Buffer.from([0x08, status]));
      else callback({ code: failing });
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  closeAtEnd(() => server.forceShutdown());
  const notGrpc = await httpUpstream();
  const check: Json = {
    service_name: 'payments',
    authority: 'health.test',
    initial_metadata: [{ header: { key: 'x-more', value: 'yes' } }],
  };
  const proxy = await startProxy({
    concurrency: 2,
    config: bootstrap(
      [listener('web', [http('web', [route('/', 'grpc')])])],
      [
        cluster('grpc', [port], { ...NO_PANIC, ...upstreamHttp2(), health_checks: [{ ...OFTEN, grpc_health_check: check }] }),
        cluster('not', [notGrpc.port], { ...NO_PANIC, ...upstreamHttp2(), health_checks: [{ ...OFTEN, grpc_health_check: {} }] }),
      ],
    ),
  });
  assert.equal(await flags(proxy, 'grpc', port), 'healthy');
  assert.match(await flags(proxy, 'not', notGrpc.port), /failed_active_hc/);
  assert.equal(services[0], 'payments health.test yes');
  for (const wrong of [2, 0, 3]) {
    status = wrong;
    await untilFlags(proxy, 'grpc', port, '/failed_active_hc');
    status = SERVING;
    await untilFlags(proxy, 'grpc', port, 'healthy');
  }
  failing = grpc.status.UNIMPLEMENTED;
  await untilFlags(proxy, 'grpc', port, '/failed_active_hc');
  failing = null;
  await untilFlags(proxy, 'grpc', port, 'healthy');
  server.forceShutdown();
  await untilFlags(proxy, 'grpc', port, '/failed_active_hc');
  await proxy.stop();
  await notGrpc.close();
});

test('a host that discovery drops stays while its checks succeed; a new one gets nothing before its first check', async () => {
  const dns = await startDnsServer();
  let ill = false;
  const servers: HttpUpstream[] = [];
  for (const last of [1, 2, 3]) {
    const ip = `127.0.0.${last}`;
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      // The third never answers checks.
      if (request.url !== '/health') response.end(ip);
      else if (last !== 3) response.writeHead(ill && last === 2 ? 503 : 200).end();
    };
    servers.push(await httpUpstream(answer, servers[0]?.port ?? 0, ip));
  }
  const { port } = servers[0];
  dns.answers.set('kept.test A', { ips: ['127.0.0.1', '127.0.0.2'], ttl: 1 });
  const named = (name: string, extra: Json): Json => ({
    ...extra,
    name,
    type: 'STRICT_DNS',
    dns_refresh_rate: '0.1s',
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
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 'kept.test', port_value: port } } } }] }],
    },
  });
  const panic = { healthy_panic_threshold: { value: 0 } };
  const proxy = await startProxy({
    concurrency: 2,
    config: bootstrap(
      [listener('web', [http('web', [route('/kept', 'kept')])])],
      [
        named('kept', { ...httpCheck(), common_lb_config: { ...panic, ignore_new_hosts_until_first_hc: true } }),
        named('dropped', { ...httpCheck(), ignore_health_on_host_removal: true }),
      ],
    ),
  });
  const host = async (name: string, ip: string): Promise<string> => {
    const { body } = await proxy.admin('/clusters');
    return new RegExp(`^${name}::${ip}:${port}::health_flags::(.*)$`, 'm').exec(body)?.[1] ?? 'gone';
  };
  const untilHost = async (name: string, ip: string, wanted: string): Promise<void> => {
    let found = '';
    await until(
      async () => (found = await host(name, ip)) === wanted,
      () => `${ip} of ${name}: '${wanted}' instead of '${found}'`,
    );
  };
  assert.deepEqual(await answers(proxy, '/kept'), new Set(['127.0.0.1', '127.0.0.2']));
  dns.answers.set('kept.test A', { ips: ['127.0.0.1', '127.0.0.3'], ttl: 1 });
  await untilHost('kept', '127.0.0.2', '/pending_dynamic_removal');
  await untilHost('dropped', '127.0.0.2', 'gone');
  await untilHost('kept', '127.0.0.3', '/failed_active_hc/active_hc_timeout');
  assert.deepEqual(await answers(proxy, '/kept'), new Set(['127.0.0.1', '127.0.0.2']));
  ill = true;
  await untilHost('kept', '127.0.0.2', 'gone');
  await until(
    async () => (await answers(proxy, '/kept')).size === 1,
    () => 'all workers to know',
  );
  dns.answers.set('kept.test A', { ips: ['127.0.0.1'], ttl: 1 });
  await untilHost('kept', '127.0.0.3', 'gone');
  assert.equal(await proxy.stat('cluster.kept.health_check.healthy'), 1);
  await proxy.stop();
  for (const server of servers) await server.close();
  dns.close();
});
