/** Modules in threads of their own, and the null sandbox, in the real proxy. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from '../../../interop/support/config.ts';
import { type HttpUpstream, httpUpstream } from '../../../interop/support/upstreams.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../../../support/proxy_process.ts';
import { buildC, needsClang } from '../../../wasm/support/c_module.ts';
import { HEADER_MODULE, prelude, wat } from '../../../wasm/support/wat.ts';
import { plugin, ROUTER, text, wasmFilter } from './wasm_support.ts';

const skip = needsClang();

/** Runs for ever when the path is /loop; allocates without end when it is /eat. */
const LOOP = `(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  ${prelude()}
  (data (i32.const 16) ":path")
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $get (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 4)))
    (if (i32.eq (i32.load (i32.const 4)) (i32.const 5)) (then (loop $again (br $again))))
    i32.const 0))`;

describe('a module in a thread of its own', { skip }, () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;

  before(async () => {
    upstream = await httpUpstream();
    const isolated = { runtime: 'sluice.wasm.runtime.isolated' };
    const abi = skip === false ? buildC('abi') : new Uint8Array();
    const chain = (name: string, config: Json): Json =>
      listener(name, [
        http(name, [route('/', 'node')], {
          http_filters: [wasmFilter(config), ROUTER],
          access_log: [fileLog(`${name}.log`, WHY)],
        }),
      ]);
    const reload = { failure_policy: 'FAIL_RELOAD', reload_config: { backoff: { base_interval: '0.001s' } }, name: 'loop' };
    const file = fileURLToPath(new URL('../../../wasm/modules/null_plugin.ts', import.meta.url));
    proxy = await startProxy({
      config: bootstrap(
        [
          chain(
            'main',
            plugin(
              abi,
              {
                root_id: 'r',
                configuration: text('conf'),
                failure_policy: 'FAIL_RELOAD',
                reload_config: { backoff: { base_interval: '0.001s' } },
              },
              isolated,
            ),
          ),
          chain('loop', plugin(wat(LOOP), reload, isolated)),
          chain('open', plugin(wat(LOOP), { failure_policy: 'FAIL_OPEN', name: 'open' }, isolated)),
          listener('routes', [
            http(
              'routes',
              [
                {
                  ...route('/loop', 'node'),
                  typed_per_filter_config: {
                    wasm: {
                      '@type': 'type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm',
                      config: plugin(wat(LOOP), { name: 'route' }, isolated),
                    },
                  },
                },
                route('/', 'node'),
              ],
              { http_filters: [wasmFilter(plugin(wat(HEADER_MODULE), { name: 'routes' }, isolated)), ROUTER] },
            ),
          ]),
          chain('null', { name: 'null', vm_config: { runtime: 'envoy.wasm.runtime.null', code: { local: { filename: file } } } }),
        ],
        [cluster('node', [upstream.port]), cluster('known', [upstream.port])],
        { layered_runtime: { layers: [{ name: 'static', static_layer: { 'wasm.isolated.call_budget_ms': 250 } }] } },
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const send = (what: string, options: { method?: string; body?: string; path?: string } = {}, name = 'main') =>
    httpRequest(proxy.port(name), options.path ?? '/p', { ...options, headers: { 'x-do': what, 'x-two': '1', 'x-gone': '1' } });
  const echoed = (body: string) => JSON.parse(body) as { headers: Record<string, string>; length: number };

  test('headers in both directions', async () => {
    const answer = await send('headers');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['x-response'], 'seen');
    const { headers } = echoed(answer.body);
    assert.equal(headers['x-added'], 'a, b');
    assert.equal(headers['x-two'], 'only');
    assert.equal(headers['x-gone'], undefined);
  });

  test('a body, whole and changed; a response body replaced', async () => {
    const answer = await send('body', { method: 'POST', body: 'abcdef' });
    assert.equal(answer.status, 200, JSON.stringify(answer) + proxy.log);
    assert.equal(echoed(answer.body).length, 7);
    assert.equal((await send('response body')).body, 'new body');
  });

  test('a reply; a call while the request waits; properties; shared data; metrics', async () => {
    const reply = await send('reply');
    assert.equal(reply.status, 418);
    assert.equal(reply.body, 'I am a teapot');
    assert.equal(reply.headers['x-own'], '1');
    const called = await send('http_call');
    assert.equal(called.status, 200);
    assert.equal(echoed(called.body).headers['x-auth'], 'ok');
    await send('properties');
    await until(
      () => /request\.path=0:\/p/.test(proxy.log) && /own=0:kept/.test(proxy.log),
      () => proxy.log,
    );
    await send('shared');
    await until(
      () => /get again=0:two/.test(proxy.log) && /cas wrong=8/.test(proxy.log),
      () => proxy.log,
    );
    await send('metrics');
    await until(
      () => /same value=\d/.test(proxy.log),
      () => proxy.log,
    );
    assert.ok((await proxy.stat('wasmcustom.requests')) >= 8);
  });

  test('a trap: the stream fails by policy, the next one has a new VM', async () => {
    assert.equal((await send('trap')).status, 503);
    await until(async () => (await send('')).status === 200, 'a new VM');
  });

  test('an endless loop is ended within its budget; other streams of the worker do not notice', async () => {
    const looping = send('', { path: '/loop' }, 'loop');
    const others = await Promise.all(Array.from({ length: 20 }, () => send('', {}, 'null')));
    assert.ok(others.every(({ status }) => status === 200));
    assert.equal((await looping).status, 503);
    assert.match(proxy.log, /Wasm VM failed a call took longer than its budget of 250 ms/);
    await until(async () => (await proxy.lines('loop.log', 1)).includes('/loop 503 EXF wasm_fail_stream'), 'the log');
    await until(async () => (await send('', { path: '/a' }, 'loop')).status === 200, 'a new VM');
    assert.ok((await proxy.stat('wasm.loop.vm_reload_success')) >= 1);
  });

  test('FAIL_OPEN: the stream whose call was ended goes on', async () => {
    assert.equal((await send('', { path: '/loop' }, 'open')).status, 200);
    assert.equal((await send('', { path: '/a' }, 'open')).status, 200);
  });

  test('another plugin on a route: it fails by itself', async () => {
    assert.equal((await send('', { path: '/a' }, 'routes')).headers['x-wasm'], 'yes');
    assert.equal((await send('', { path: '/loop' }, 'routes')).status, 503);
    assert.equal((await send('', { path: '/loop2' }, 'routes')).status, 503);
    assert.equal((await send('', { path: '/a' }, 'routes')).headers['x-wasm'], 'yes');
    assert.equal(await proxy.stat('wasm.route.vm_failures'), 1);
    assert.equal(await proxy.stat('wasm.routes.vm_failures'), 0);
  });

  test('many requests at a time', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => send('', { path: `/many${i}` })));
    assert.ok(answers.every(({ status, headers }) => status === 200 && headers['x-response'] === 'seen'));
  });

  test('the null sandbox: a plugin in TypeScript', async () => {
    assert.equal((await send('', { path: '/null' }, 'null')).headers['x-null'], '/null');
  });
});
