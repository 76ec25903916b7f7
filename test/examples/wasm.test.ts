/** The examples in AssemblyScript, built with the SDK and run: by themselves and in the proxy. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { loadPlugin } from '../../src/wasm/index.ts';
import { bootstrap, cluster, http, listener, route } from '../interop/support/config.ts';
import { type HttpUpstream, httpUpstream } from '../interop/support/upstreams.ts';
import { plugin, ROUTER, text, wasmFilter } from '../proxy/extensions/http_filters/wasm_support.ts';
import { httpRequest, type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { buildAssemblyScript } from '../wasm/support/assemblyscript.ts';

const build = (name: string): Uint8Array =>
  buildAssemblyScript(readFileSync(new URL(`../../examples/filters/wasm/${name}.ts`, import.meta.url), 'utf8'));

describe('examples in AssemblyScript', () => {
  const headerEdit = build('header_edit');
  const authorize = build('authorize');
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let authz: Server;
  const asked: string[] = [];

  before(async () => {
    upstream = await httpUpstream();
    authz = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers['x-user']}`);
      response.writeHead(request.headers['x-user'] === 'ann' ? 200 : 401).end();
    });
    await new Promise<void>((resolve) => authz.listen(0, '127.0.0.1', resolve));
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http('main', [route('/', 'node')], {
              http_filters: [
                wasmFilter(plugin(headerEdit, { name: 'header_edit', root_id: 'header_edit' }), 'header_edit'),
                wasmFilter(
                  plugin(authorize, { name: 'authorize', root_id: 'authorize', configuration: text('/may') }),
                  'authorize',
                ),
                ROUTER,
              ],
            }),
          ]),
        ],
        [cluster('node', [upstream.port]), cluster('authz', [(authz.address() as AddressInfo).port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
    authz.close();
  });

  test('header_edit by itself', () => {
    const stream = loadPlugin(headerEdit, { rootId: 'header_edit' }).exchange({
      headers: [['user-agent', 'curl']],
      response: { headers: [['x-powered-by', 'x']] },
    });
    assert.equal(stream.upstream.header('x-client'), 'curl');
    assert.equal(stream.client.header('x-powered-by'), undefined);
  });

  test('authorize by itself: asked, denied, not reachable', () => {
    const module = loadPlugin(authorize, { rootId: 'authorize' });
    const stream = module.exchange({ headers: [['x-user', 'ann']] });
    const [call] = module.environment.httpCalls;
    assert.ok(call.request.headers.some(([name, value]) => name === ':path' && value === '/check'));
    call.respond(200);
    assert.equal(stream.client.status, 200);
    const denied = module.exchange();
    [...module.environment.httpCalls][0].respond(401);
    assert.equal(denied.client.status, 403);
    const failed = module.exchange();
    [...module.environment.httpCalls][0].fail();
    assert.equal(failed.client.status, 403);
    assert.equal(loadPlugin(authorize, { rootId: 'authorize', clusters: [] }).exchange().details, 'no_authorization_service');
  });

  test('both in the proxy', async () => {
    const send = (user: string) => httpRequest(proxy.port('main'), '/x', { headers: { 'x-user': user, 'user-agent': 'test' } });
    const passed = await send('ann');
    assert.equal(passed.status, 200);
    assert.equal((JSON.parse(passed.body) as { headers: Record<string, string> }).headers['x-client'], 'test');
    const denied = await send('bob');
    assert.equal(denied.status, 403);
    assert.equal(denied.body, 'forbidden\n');
    assert.deepEqual(asked, ['/may ann', '/may bob']);
  });
});
