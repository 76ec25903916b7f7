/** Main's own clusters: real upstreams through a dispatcher that shares the thread with Node. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { LogSink } from '../../../src/core/log/logger.ts';
import { createStatsMemory, Store } from '../../../src/core/stats/store.ts';
import { loadBootstrap } from '../../../src/proxy/config/load.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { createRuntime } from '../../../src/proxy/runtime/runtime_impl.ts';
import { MainUpstream } from '../../../src/proxy/server/main_upstream.ts';
import type { PlainCluster } from '../../../src/proxy/upstream/cluster_types.ts';
import { ClusterDiscovery } from '../../../src/proxy/upstream/discovery/cluster_discovery.ts';
import { cluster, upstreamHttp2 } from '../../interop/support/config.ts';
import { upstreamTls } from '../../interop/support/tls.ts';
import { CertificateFactory } from '../../support/certificates.ts';
import { BACKENDS, skipReason } from '../../support/dispatchers.ts';
import { httpRequest, type Json } from '../../support/proxy_process.ts';

const certificates = new CertificateFactory();
const certificate = certificates.make('upstream', { san: 'DNS:upstream.test' });

interface Rig {
  upstream: MainUpstream;
  store: Store;
  get(cluster: string, path: string): Promise<{ status: string; body: string }>;
}

async function rig(t: TestContext, backend: 'io_uring' | 'epoll', clusters: Json[]): Promise<Rig> {
  const { bootstrap } = loadBootstrap({ yaml: JSON.stringify({ static_resources: { clusters } }) });
  const store = new Store({ memory: createStatsMemory(3), thread: 0 });
  const discovery = new ClusterDiscovery({
    clusters: bootstrap.staticResources!.clusters as unknown as PlainCluster[],
    workers: 2,
    scope: store,
  });
  const upstream = new MainUpstream({
    bootstrap,
    clusters: discovery.configs(),
    backend,
    store,
    runtime: createRuntime(undefined, { serviceCluster: '' }),
    sink: new LogSink({ level: 'warning', components: {}, format: '%v' }),
    localInfo: { nodeId: '', clusterName: '', zone: '', hostname: '', address: '127.0.0.1' },
    concurrency: 2,
    shared: discovery.shared,
    hosts: [],
    secrets: [],
    socketInterfaces: {},
  });
  await discovery.start({ onHosts: (update) => upstream.onMessage({ type: 'hosts', update }) });
  for (const update of discovery.current()) upstream.onMessage({ type: 'hosts', update });
  t.after(async () => {
    discovery.close();
    await upstream.close();
  });
  const get: Rig['get'] = (name, path) =>
    new Promise((resolve, reject) => {
      upstream.dispatcher.post(() => {
        const headers = new HeaderMap(upstream.dispatcher.slab);
        for (const [key, value] of [
          [':method', 'GET'],
          [':scheme', 'http'],
          [':authority', 'upstream.test'],
          [':path', path],
        ])
          headers.add(key, value);
        upstream.client.send(name, headers, null, {
          onSuccess: ({ headers, body }) => {
            resolve({ status: headers.get(':status')!, body: body.toText() });
            upstream.dispatcher.wakeNode();
          },
          onFailure: (reason) => {
            reject(new Error(`failed: ${reason}`));
            upstream.dispatcher.wakeNode();
          },
        });
      });
    });
  return { upstream, store, get };
}

for (const backend of BACKENDS) {
  test(`HTTP/1, and HTTP/2 over TLS, beside Node's own loop (${backend})`, { skip: skipReason(backend) }, async (t) => {
    const plain = createServer((request, response) => response.end(`plain ${request.url}`)).listen(0, '127.0.0.1');
    const secure = createSecureServer({ cert: certificate.certificate, key: certificate.key }, (request, response) => {
      response.end(`secure ${request.httpVersion} ${request.url}`);
    }).listen(0, '127.0.0.1');
    await Promise.all([once(plain, 'listening'), once(secure, 'listening')]);
    t.after(() => plain.close());
    t.after(() => secure.close());
    const port = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;
    const tls = upstreamTls(
      { alpn_protocols: ['h2'], validation_context: { trusted_ca: { filename: certificate.certificateFile } } },
      { sni: 'upstream.test' },
    );
    const { store, get, upstream } = await rig(t, backend, [
      cluster('plain', [port(plain)]),
      cluster('secure', [port(secure)], { ...upstreamHttp2(), transport_socket: tls }),
    ]);
    // Everything at once: calls through the dispatcher, and Node's own client, server, timer, promise, child process and signal.
    const signalled = once(process, 'SIGHUP');
    process.kill(process.pid, 'SIGHUP');
    const [answers, { body }, { stdout }] = await Promise.all([
      Promise.all(Array.from({ length: 20 }, (_, i) => get(i % 2 === 0 ? 'plain' : 'secure', `/${i}`))),
      httpRequest(port(plain), '/node'),
      promisify(execFile)('echo', ['child']),
      new Promise((resolve) => setTimeout(resolve, 20)),
      signalled,
    ]);
    answers.forEach((answer, i) => {
      assert.deepEqual(answer, { status: '200', body: i % 2 === 0 ? `plain /${i}` : `secure 2.0 /${i}` });
    });
    assert.equal(body, 'plain /node');
    assert.equal(stdout, 'child\n');
    assert.equal(store.counterValue('cluster.secure.upstream_rq_200'), 10);
    // One more thread than workers counts in the rows of hosts.
    const [host] = upstream.clusters.get('plain')!.hosts();
    assert.equal((host.stats.rqTotal as unknown as { value: number }).value, 10);
    assert.deepEqual(await get('missing', '/'), { status: '500', body: '' });
  });
}
