/** Modules that fail, lie and overreach in the real proxy: what becomes of the stream by policy, and that the worker lives. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { sha256Hex } from '../../../../src/wasm/vm/compiled_code.ts';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from '../../../interop/support/config.ts';
import { dial } from '../../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../../interop/support/upstreams.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../../../support/proxy_process.ts';
import { buildC, needsClang } from '../../../wasm/support/c_module.ts';
import { HEADER_MODULE, prelude, wat } from '../../../wasm/support/wat.ts';
import { plugin, ROUTER, wasmFilter } from './wasm_support.ts';

const skip = needsClang();

/** A module that adds `x-version` to responses. */
const versioned = (version: string): Uint8Array =>
  wat(`(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  ${prelude()}
  (data (i32.const 16) "x-version")
  (data (i32.const 64) "${version}")
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 2) (i32.const 16) (i32.const 9) (i32.const 64) (i32.const ${version.length})))
    i32.const 0))`);

describe('modules that fail', { skip }, () => {
  const code = skip === false ? buildC('hostile') : new Uint8Array();
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;

  before(async () => {
    upstream = await httpUpstream();
    // A vm_id of its own for each: a failed VM takes all of its plugins with it.
    const chain = (name: string, extra: Json = {}): Json =>
      listener(name, [
        http(name, [route('/', 'node')], {
          http_filters: [wasmFilter(plugin(code, { name, ...extra }, { vm_id: name })), ROUTER],
          access_log: [fileLog(`${name}.log`, WHY)],
        }),
      ]);
    const reload = { failure_policy: 'FAIL_RELOAD', reload_config: { backoff: { base_interval: '0.001s' } } };
    const rarely = { failure_policy: 'FAIL_RELOAD', reload_config: { backoff: { base_interval: '3600s' } } };
    proxy = await startProxy({
      config: bootstrap(
        [chain('closed'), chain('open', { failure_policy: 'FAIL_OPEN' }), chain('reload', reload), chain('rarely', rarely)],
        [cluster('node', [upstream.port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
  });

  const send = (name: string, what: string, options: { method?: string; body?: string; path?: string } = {}) =>
    httpRequest(proxy.port(name), options.path ?? '/p', { ...options, headers: { 'x-do': what } });
  /** A fresh VM for each: FAIL_RELOAD with no pause to speak of. */
  const fresh = async (what: string, options: { method?: string; body?: string; path?: string } = {}) => {
    await until(async () => (await send('reload', '')).status === 200, 'a VM that works');
    return send('reload', what, options);
  };

  for (const what of ['trap', 'divide', 'out of bounds', 'recurse', 'indirect', 'grow', 'trap in malloc', 'call in malloc']) {
    test(`${what}: 503 with the reason in the log and in the flags, then the next VM works`, async () => {
      const answer = await fresh(what, { path: `/${what.replaceAll(' ', '-')}` });
      assert.equal(answer.status, 503);
      assert.equal(answer.body, '');
      await until(
        () => /Wasm VM failed Function: proxy_on_request_headers failed: Uncaught /.test(proxy.log),
        () => proxy.log,
      );
      const line = `/${what.replaceAll(' ', '-')} 503 EXF wasm_fail_stream`;
      await until(async () => (await proxy.lines('reload.log', 1)).includes(line), line);
      await fresh('');
    });
  }

  test('a trap while a body comes, in the response, in the response body', async () => {
    assert.equal((await fresh('trap in body', { method: 'POST', body: 'x' })).status, 503);
    assert.equal((await fresh('trap in response')).status, 503);
    // The response's head is on its way: the stream is cut off.
    await fresh('trap in response body').then(
      (answer) => assert.equal(answer.status, 503),
      (error: Error) => assert.match(error.message, /aborted|hang up|ECONNRESET/),
    );
  });

  test('a trap when the stream is over harms nobody', async () => {
    assert.equal((await fresh('trap in log')).status, 200);
    assert.equal((await fresh('trap in delete')).status, 200);
  });

  test('memory that cannot grow further, and a module that can live with it', async () => {
    assert.equal((await fresh('grow and live')).status, 200);
    assert.match(proxy.log, /alive=1/);
    assert.equal((await fresh('trap')).status, 503);
  });

  test('pointers to nowhere: every host function says so', async () => {
    const from = proxy.log.length;
    const answer = await fresh('wrong pointers');
    assert.equal(answer.status, 200);
    await until(() => proxy.log.slice(from).includes('negative type='), 'the module to finish');
    const lines = [...proxy.log.slice(from).matchAll(/ reload: ([a-z_ ]+)=(\d+)$/gm)].map(
      ([, name, status]) => `${name}=${status}`,
    );
    assert.equal(lines.length, 28);
    const expected: Record<string, string> = {
      'set pairs broken': '2',
      fd_write: '21',
      'fd_write iov': '21',
      'fd_write count': '21',
      random: '21',
      'negative type': '2',
      buffer: '6',
    };
    for (const line of lines) {
      const [name, status] = line.split('=');
      assert.equal(status, expected[name] ?? '6', name);
    }
  });

  test('an allocator that lies', async () => {
    const from = proxy.log.length;
    assert.equal((await fresh('lie')).status, 200);
    assert.equal((await fresh('nothing')).status, 200);
    assert.match(proxy.log.slice(from), /lie=6/);
    assert.match(proxy.log.slice(from), /nothing=6/);
  });

  test('a header that holds line breaks stays one line', async () => {
    const answer = await fresh('split');
    const { headers } = JSON.parse(answer.body) as { headers: Record<string, string> };
    assert.equal(headers['x-split'], 'a??x-evil: 1');
    assert.equal(headers['x-evil'], undefined);
  });

  for (const what of [
    'no path',
    'no method',
    'no authority',
    'no headers',
    'strange path',
    'many headers',
    'huge header',
    'no status',
    'odd status',
    'bad status',
    'lies',
    'oversize',
  ]) {
    test(`${what}: the stream may fail, the worker lives`, async () => {
      const answer = await fresh(what).catch(() => null);
      if (answer !== null) assert.ok(answer.status >= 200 && answer.status <= 599, String(answer.status));
      assert.equal((await fresh('')).status, 200);
      assert.doesNotMatch(proxy.log, /unexpected error/);
    });
  }

  test('a body without end: bounded', async () => {
    const answer = await fresh('huge body', { method: 'POST', body: 'x' }).catch(() => null);
    if (answer !== null) assert.ok(answer.status >= 200, String(answer.status));
    assert.match(proxy.log, /full at=6[0-9]/);
    const large = await fresh('buffer for ever', { method: 'POST', body: 'x'.repeat(4 << 20) }).catch(() => ({ status: 413 }));
    assert.equal(large.status, 413);
  });

  test('FAIL_CLOSED: this stream, those that wait, and all that come', async () => {
    const waiting = await dial(proxy.port('closed'));
    waiting.send('GET /waiting HTTP/1.1\r\nhost: a\r\nx-do: pause\r\n\r\n');
    await proxy.untilStat('http.closed.downstream_rq_active', (value) => value === 1);
    assert.equal((await send('closed', 'trap')).status, 503);
    assert.equal((await waiting.message()).status, 503);
    waiting.destroy();
    assert.equal((await send('closed', '')).status, 503);
    assert.equal(await proxy.stat('wasm.closed.vm_failures'), 1);
    const { body } = await proxy.admin('/wasm');
    assert.match(
      body,
      /^closed::state::RuntimeError\nclosed::error::Function: proxy_on_request_headers failed: Uncaught RuntimeError/m,
    );
    assert.match(body, /^closed::vm_failures::1$/m);
  });

  test('FAIL_OPEN: streams go on without the module', async () => {
    const waiting = await dial(proxy.port('open'));
    waiting.send('GET /waiting HTTP/1.1\r\nhost: a\r\nx-do: pause\r\n\r\n');
    await proxy.untilStat('http.open.downstream_rq_active', (value) => value === 1);
    assert.equal((await send('open', 'trap')).status, 200);
    assert.equal((await waiting.message()).status, 200);
    waiting.destroy();
    assert.equal((await send('open', 'trap', { method: 'POST', body: 'x' })).status, 200);
  });

  test('FAIL_RELOAD: at once when enough time has passed, else closed', async () => {
    assert.equal((await send('rarely', 'trap')).status, 503);
    assert.equal((await send('rarely', '')).status, 503);
    assert.ok((await proxy.stat('wasm.rarely.vm_reload_backoff')) >= 1);
    assert.ok((await proxy.stat('wasm.reload.vm_reload_success')) > 5);
    assert.equal(await proxy.stat('wasm.reload.vm_reload_failure'), 0);
  });
});

describe('where code comes from', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let codeServer: Server;
  let answers = 0;
  let release: (() => void) | null = null;

  before(async () => {
    upstream = await httpUpstream();
    const remote = versioned('remote');
    const held = versioned('held');
    codeServer = createServer((request, response) => {
      if (request.url === '/held') {
        release = () => response.end(held);
        return;
      }
      if (request.url === '/missing') {
        response.writeHead(404).end();
        return;
      }
      // The first answer is somebody else's code.
      answers++;
      response.end(answers === 1 ? versioned('wrong') : remote);
    });
    await new Promise<void>((resolve) => codeServer.listen(0, '127.0.0.1', resolve));
    const port = (codeServer.address() as AddressInfo).port;
    const withCode = (code: Json, extra: Json = {}): Json => ({
      name: 'test',
      vm_config: { runtime: 'envoy.wasm.runtime.v8', code },
      ...extra,
    });
    const file = withCode({ local: { filename: '$DIR/plugin.wasm' } });
    const fetched = withCode({
      remote: { http_uri: { uri: `http://127.0.0.1:${port}/code`, cluster: 'code', timeout: '5s' }, sha256: sha256Hex(remote) },
    });
    const nacked = (path: string, bytes: Uint8Array): Json => ({
      name: path,
      vm_config: {
        runtime: 'envoy.wasm.runtime.v8',
        nack_on_code_cache_miss: true,
        code: {
          remote: {
            http_uri: { uri: `http://127.0.0.1:${port}/${path}`, cluster: 'code', timeout: '30s' },
            sha256: sha256Hex(bytes),
          },
        },
      },
    });
    const chain = (name: string, config: Json, extra: Json = {}): Json =>
      listener(name, [
        http(name, [route('/', 'node')], {
          http_filters: [wasmFilter(config), ROUTER],
          access_log: [fileLog(`${name}.log`, WHY)],
          ...extra,
        }),
      ]);
    const b = plugin(versioned('b'));
    const types = 'type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm';
    const split = [
      { ...route('/b', 'node'), typed_per_filter_config: { wasm: { '@type': types, config: b } } },
      route('/', 'node'),
    ];
    const config = bootstrap(
      [
        chain('file', file),
        chain('remote', fetched),
        chain('nacked', nacked('held', held)),
        chain('nacked_too', nacked('held', held)),
        chain('missing', nacked('missing', versioned('missing'))),
        listener('split', [http('split', split, { http_filters: [wasmFilter(plugin(versioned('a'))), ROUTER] })]),
      ],
      [cluster('node', [upstream.port]), cluster('code', [port])],
    );
    const { mkdtempSync } = await import('node:fs');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    directory = mkdtempSync(join(tmpdir(), 'sluice-code-'));
    writeFileSync(join(directory, 'plugin.wasm'), versioned('one'));
    proxy = await startProxy({
      config: JSON.parse(JSON.stringify(config).replaceAll('$DIR/plugin.wasm', join(directory, 'plugin.wasm'))) as Json,
    });
  });
  let directory = '';
  after(async () => {
    await proxy.stop();
    await upstream.close();
    codeServer.close();
    const { rmSync } = await import('node:fs');
    rmSync(directory, { recursive: true, force: true });
  });

  const version = async (name: string, path = '/'): Promise<unknown> =>
    (await httpRequest(proxy.port(name), path)).headers['x-version'];

  test('a file that changes: new streams get the new code, old ones finish on the old, a bad module changes nothing', async () => {
    assert.equal(await version('file'), 'one');
    // A request that is under way when the file changes.
    const slow = await dial(proxy.port('file'));
    slow.send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nx');
    await proxy.untilStat('http.file.downstream_rq_active', (value) => value === 1);
    writeFileSync(`${directory}/plugin.wasm`, versioned('two'));
    await until(async () => (await version('file')) === 'two', 'the new code');
    slow.send('y');
    assert.equal((await slow.message()).headers['x-version'], 'one');
    slow.destroy();
    writeFileSync(`${directory}/plugin.wasm`, readFileSync(new URL(import.meta.url)));
    await proxy.untilStat('wasm.test.code_rejected', (value) => value === 1);
    assert.equal(await version('file'), 'two');
    assert.match(proxy.log, /plugin\.wasm is not used: not a WebAssembly module/);
    writeFileSync(
      `${directory}/plugin.wasm`,
      wat(`(module ${prelude()} (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 0))`),
    );
    await proxy.untilStat('wasm.test.code_rejected', (value) => value === 2);
    assert.equal(await version('file'), 'two');
    writeFileSync(`${directory}/plugin.wasm`, versioned('three'));
    await until(async () => (await version('file')) === 'three', 'the third code');
    // Old instances are gone: one of this listener, two of the split one, and those of remote code if it is here.
    await until(async () => (await proxy.stat('wasm.envoy.wasm.runtime.v8.active')) <= 4, 'old VMs to go');
  });

  test('remote code: checked against its hash, asked for again', async () => {
    await until(async () => (await version('remote')) === 'remote', 'the remote code');
    assert.match(proxy.log, /Wasm code from http:[^ ]+: its sha256 is [0-9a-f]{64}; asking again in 1000 ms/);
    // This one, and one that is not there.
    assert.equal(await proxy.stat('wasm.remote_load_fetch_failures'), 2);
    assert.equal(await proxy.stat('wasm.remote_load_fetch_successes'), 1);
  });

  test('nack_on_code_cache_miss: a load that misses fails, the fetch goes on, a later load finds the code', async () => {
    await until(() => release !== null, 'one fetch');
    assert.equal((await httpRequest(proxy.port('nacked'), '/early')).status, 503);
    assert.equal((await httpRequest(proxy.port('nacked_too'), '/early')).status, 503);
    await until(async () => (await proxy.lines('nacked.log', 1)).includes('/early 503 EXF wasm_fail_stream'), 'the log');
    assert.match(proxy.log, /Failed to load Wasm code \(fetching\) from http:[^ ]+\/held/);
    (release as unknown as () => void)();
    await until(async () => (await version('nacked')) === 'held', 'the code');
    assert.equal(await version('nacked_too'), 'held');
    assert.ok((await proxy.stat('wasm.remote_load_cache_hits')) >= 2);
    assert.equal(proxy.log.match(/Failed to load Wasm code \(fetching\) from http:[^ ]+\/held/g)!.length, 1);
  });

  test('nack_on_code_cache_miss: a fetch that failed is not repeated at once', async () => {
    await until(() => /Wasm code from http:[^ ]+\/missing: status 404$/m.test(proxy.log), 'the failure');
    for (let i = 0; i < 3; i++) assert.equal((await httpRequest(proxy.port('missing'), '/')).status, 503);
    assert.ok((await proxy.stat('wasm.remote_load_cache_negative_hits')) >= 3);
    assert.equal(proxy.log.match(/fetching\) from http:[^ ]+\/missing/g)!.length, 1);
  });

  test('another plugin on a route', async () => {
    assert.equal(await version('split', '/a'), 'a');
    assert.equal(await version('split', '/b'), 'b');
    assert.equal(await version('split', '/a'), 'a');
  });
});

describe('configurations that are refused', () => {
  const cases: [string, Json, RegExp][] = [
    ['no module', plugin(Buffer.from('nonsense')), /not a WebAssembly module/],
    ['no marker', plugin(wat('(module (memory (export "memory") 1))')), /Missing or unknown Proxy-Wasm ABI version/],
    [
      'no allocator',
      plugin(wat('(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_0")))')),
      /missing malloc function/,
    ],
    ['a missing import', plugin(wat(`(module (import "env" "nonsense" (func)) ${prelude()})`)), /missing import: env\.nonsense/],
    [
      'an import of another type',
      plugin(wat(`(module (import "env" "proxy_log" (func (param i32) (result i32))) ${prelude()})`)),
      /import type mismatch: env\.proxy_log, want: i32 -> i32, but host exports: i32 i32 i32 -> i32/,
    ],
    [
      'an export of another type',
      plugin(wat(`(module ${prelude()} (func (export "proxy_on_configure") (param i32)))`)),
      /Bad function signature for: proxy_on_configure, want: i32 i32 -> i32, but the module exports: i32 -> void/,
    ],
    [
      'vm_start says no',
      plugin(wat(`(module ${prelude()} (func (export "proxy_on_vm_start") (param i32 i32) (result i32) i32.const 0))`)),
      /StartFailed/,
    ],
    [
      'configure says no',
      plugin(wat(`(module ${prelude()} (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 0))`)),
      /ConfigureFailed/,
    ],
    [
      'configure traps',
      plugin(wat(`(module ${prelude()} (func (export "proxy_on_configure") (param i32 i32) (result i32) unreachable))`)),
      /RuntimeError.*unreachable/s,
    ],
    [
      'start traps',
      plugin(wat(`(module ${prelude()} (func (export "_start") unreachable))`)),
      /UnableToInitializeCode.*unreachable/s,
    ],
    [
      'too much memory from the start',
      plugin(wat('(module (memory (export "memory") 60000) (func (export "proxy_abi_version_0_2_0")))')),
      /starts with 60000 pages/,
    ],
    [
      'another runtime',
      plugin(wat(HEADER_MODULE), {}, { runtime: 'envoy.wasm.runtime.wamr' }),
      /envoy\.wasm\.runtime\.wamr' is not supported here/,
    ],
    [
      'both policies',
      plugin(wat(HEADER_MODULE), { fail_open: true, failure_policy: 'FAIL_CLOSED' }),
      /only one of fail_open or failure_policy/,
    ],
    ['no code', { name: 'x', vm_config: { runtime: 'envoy.wasm.runtime.v8' } }, /local or remote code is required/],
    [
      'a file that is not there',
      { name: 'x', vm_config: { code: { local: { filename: '/nonexistent/x.wasm' } } } },
      /unable to read file: \/nonexistent\/x\.wasm/,
    ],
    [
      'a variable twice',
      plugin(wat(HEADER_MODULE), {}, { environment_variables: { host_env_keys: ['PATH'], key_values: { PATH: 'x' } } }),
      /PATH is duplicated/,
    ],
    [
      'a longest interval between loads that do not get rarer',
      plugin(wat(HEADER_MODULE), { reload_config: { backoff: { base_interval: '1s', max_interval: '5s' } } }),
      /max_interval: is not supported/,
    ],
  ];
  test('each with its reason', async () => {
    const { ConfigError } = await import('../../../../src/proxy/config/error.ts');
    const { loadBootstrap } = await import('../../../../src/proxy/config/load.ts');
    const { factory } = await import('../../../../src/proxy/extensions/http_filters/wasm/config.ts');
    const { testContext } = await import('../support.ts');
    const { createDispatcher } = await import('../../../../src/core/event/create_dispatcher.ts');
    const dispatcher = createDispatcher('epoll', { name: 'test' });
    const context = testContext(dispatcher);
    for (const [name, config, reason] of cases) {
      const yaml = JSON.stringify(
        bootstrap([listener('main', [http('main', [], { http_filters: [wasmFilter(config), ROUTER] })])]),
      );
      const { bootstrap: loaded } = loadBootstrap({ yaml });
      const hcm = loaded.staticResources!.listeners[0].filterChains[0].filters[0].typedConfig as unknown as {
        httpFilters: { typedConfig: never }[];
      };
      assert.throws(
        () => factory.create(hcm.httpFilters[0].typedConfig, '', context),
        (error: Error) => error instanceof ConfigError && reason.test(error.message),
        name,
      );
    }
    const isolated = { config: { vmConfig: { runtime: 'sluice.wasm.runtime.isolated' } } };
    assert.throws(
      () => factory.createRouteSpecificConfig!({ config: {} } as never, context, isolated as never),
      /the filter's own plugin runs in a thread of its own: one of a route must, too/,
    );
    assert.throws(
      () => factory.createRouteSpecificConfig!(isolated as never, context, { config: {} } as never),
      /the filter's own plugin runs in the worker: one of a route must, too/,
    );
    dispatcher.stop();
  });
});
