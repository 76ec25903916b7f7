/**
 * What the SDKs of modules rely on and do not forgive (statuses, ids, order, re-entrance, allocators, starts), by modules in C that check as
 * strictly as the SDKs of Rust, Go, TinyGo and C++ do, and end themselves when the host does otherwise.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HttpCallRequest } from '../../src/wasm/host/environment.ts';
import { PairMap } from '../../src/wasm/host/header_map.ts';
import { loadPlugin, type PluginOptions, TestPlugin } from '../../src/wasm/testing/module_test.ts';
import { TestEnvironment } from '../../src/wasm/testing/test_environment.ts';
import { compileCode } from '../../src/wasm/vm/compiled_code.ts';
import { V8Vm } from '../../src/wasm/vm/v8/v8_vm.ts';
import { buildC, needsClang } from './support/c_module.ts';
import { prelude, wat } from './support/wat.ts';

const skip = needsClang();
const SDKS = ['RUST', 'GO', 'TINYGO', 'CPP'] as const;

const linesOf = (plugin: TestPlugin): string[] =>
  plugin.environment.logs.map(({ message }) => message.replace(/^wasm log( p r)?: /, ''));

/** Answers calls before `proxy_http_call` has returned. */
class HastyEnvironment extends TestEnvironment {
  override readonly callouts = {
    hasCluster: () => true,
    httpCall: (_request: HttpCallRequest, callbacks: { onResponse(h: PairMap, b: Uint8Array, t: null): void }) => {
      callbacks.onResponse(new PairMap([[':status', '200']]), new Uint8Array(0), null);
      return { cancel: () => {} };
    },
    grpcStream: () => null,
  };
}

for (const sdk of SDKS) {
  describe(`what the SDK expects: ${sdk}`, { skip }, () => {
    const code = skip === false ? buildC('sdk', [sdk]) : new Uint8Array();
    const go = sdk === 'GO' || sdk === 'TINYGO';
    const options: PluginOptions = { name: 'p', rootId: 'r', clusters: ['known'] };
    const load = (more: PluginOptions = {}): TestPlugin => loadPlugin(code, { ...options, ...more });
    const works = (plugin: TestPlugin): void => assert.equal(plugin.wasm.failMessage, '');

    test('the start: its own entry, WASI functions, the root id where the SDK asks for it', () => {
      const plugin = load({ configuration: 'c', vmConfiguration: 'v', environmentVariables: { A: '1', B: '2' } });
      assert.deepEqual(linesOf(plugin), [
        'started',
        ...(sdk === 'CPP' ? ['factory=0:r'] : []),
        'vm configuration=0',
        'plugin configuration=0',
      ]);
    });

    test('empty configurations: Ok, a null pointer, size 0 (which Go takes for absent)', () => {
      const lines = linesOf(load());
      assert.ok(lines.includes(`vm configuration=${go ? 1 : 0}`), lines.join('\n'));
      assert.ok(lines.includes(`plugin configuration=${go ? 1 : 0}`));
    });

    test('an empty body is Ok with a null pointer', () => {
      const plugin = load();
      plugin.exchange({ headers: [['x-do', 'empty body']] });
      works(plugin);
      assert.deepEqual(linesOf(plugin).slice(-3), ['size=0', 'null=1', `body=${go ? 1 : 0}`]);
    });

    test('no host function answers with a status that the SDK does not list', () => {
      const plugin = load({ properties: {} });
      plugin.exchange({
        headers: [
          ['x-do', 'statuses'],
          ['x-bytes', '\xff\xfe'],
          ['x-none', ''],
        ],
      });
      works(plugin);
      const lines = linesOf(plugin);
      assert.ok(lines.includes('all statuses are known'), lines.join('\n'));
      // Four pseudo headers, three of the request's, three that the module added.
      assert.ok(lines.includes('pairs=10'), lines.join('\n'));
      assert.ok(lines.includes('property pairs=10'), lines.join('\n'));
    });

    test('a status that it does not list: its panic, and the stream fails', () => {
      const plugin = load();
      const { client } = plugin.exchange({ headers: [['x-do', 'early trailer']] });
      assert.equal(client.status, 503);
      const { logText } = plugin.environment;
      assert.match(logText, /\[error\] wasm log p r: panicked at \n?/);
      assert.match(logText, /\[error\] wasm log p r: add: unexpected status: 2/);
      assert.match(logText, /Wasm VM failed Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable/);
    });

    test('trailers can be added with the last data', () => {
      const plugin = load();
      const { upstream } = plugin.exchange({ method: 'POST', body: ['a', 'b'], headers: [['x-do', 'late trailer']] });
      works(plugin);
      assert.deepEqual(upstream.trailers, [['x-t', '1']]);
    });

    test('a local reply: the response side is called when the request side has returned', () => {
      const plugin = load();
      const { client } = plugin.exchange({ headers: [['x-do', 'reply']] });
      works(plugin);
      assert.equal(client.status, 403);
      assert.equal(client.header('x-sdk'), '1');
    });

    test('answers of call-outs come when the call has returned, with the id of the root; tokens are unique', () => {
      const plugin = load();
      const stream = plugin.exchange({ headers: [['x-do', 'call']] });
      assert.equal(stream.paused, true);
      const [first, second] = [...plugin.environment.httpCalls];
      first.respond(200, [['a', 'b']]);
      assert.equal(stream.paused, true);
      second.fail();
      works(plugin);
      assert.equal(stream.client.status, 200);
      const hasty = new TestPlugin(new V8Vm(compileCode(code)), options, new HastyEnvironment(options));
      assert.equal(hasty.exchange({ headers: [['x-do', 'call']] }).client.status, 200);
      works(hasty);
    });

    test('a queue that the module fills itself, resuming and closing in a callback: never re-entered', () => {
      const plugin = load({ configuration: 'queue' });
      plugin.exchange({ headers: [['x-do', 'enqueue']] });
      plugin.environment.runPosted();
      assert.equal(plugin.exchange({ headers: [['x-do', 'continue']] }).client.status, 200);
      plugin.exchange({ headers: [['x-do', 'close']] });
      works(plugin);
      assert.ok(linesOf(plugin).includes('queue=0:item'));
    });

    test('ids: each is created once, ended once (done, then delete), never 0, and may be used again', () => {
      const plugin = load();
      for (let i = 0; i < 3000; i++) plugin.exchange();
      const paused = Array.from({ length: 50 }, () => plugin.exchange({ headers: [['x-do', 'call']] }));
      for (const stream of paused) stream.end();
      // Answers for streams that are gone: the module knows their tokens and drops them.
      for (const call of [...plugin.environment.httpCalls]) call.respond(200);
      works(plugin);
      assert.equal(plugin.wasm.contexts.size, 2);
    });

    test('the end of the root: delete comes after done, and when held on to, after proxy_done has returned', () => {
      const plugin = load();
      plugin.root.shutdown();
      works(plugin);
      assert.equal(linesOf(plugin).at(-1), 'root deleted');
      const holding = load({ configuration: 'hold' });
      holding.root.shutdown();
      assert.notEqual(linesOf(holding).at(-1), 'root deleted');
      holding.environment.advance(20);
      works(holding);
      assert.equal(linesOf(holding).at(-1), 'root deleted');
      // Nothing comes any more.
      holding.environment.advance(1000);
      works(holding);
    });

    test('several plugins in one VM: each has its root, streams belong to theirs', () => {
      const plugin = load();
      const other = plugin.addPlugin({ name: 'q', rootId: 'other', configuration: 'x' });
      assert.notEqual(other.id, plugin.root.id);
      assert.equal(plugin.exchange().client.status, 200);
      other.shutdown();
      assert.equal(plugin.exchange().client.status, 200);
      works(plugin);
    });

    test('ways to write a body: append (a start beyond the end), replace (a size beyond the end), prepend', () => {
      const plugin = load();
      const body = (what: string): string =>
        plugin.exchange({ method: 'POST', body: 'body', headers: [['x-do', what]] }).upstream.text;
      assert.equal(body('append'), 'body+');
      assert.equal(body('replace all'), 'new');
      assert.equal(body('prepend'), '<body');
      works(plugin);
    });
  });
}

describe('modules as toolchains make them', () => {
  test('command exports: constructors and destructors around every export', () => {
    const code = wat(`(module
      (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (global $constructed (mut i32) (i32.const 0))
      (global $runs (mut i32) (i32.const 0))
      (data (i32.const 16) "x-runs")
      (func $ctors (if (global.get $constructed) (then unreachable)) (global.set $constructed (i32.const 1)))
      (func $dtors (if (i32.eqz (global.get $constructed)) (then unreachable)) (global.set $constructed (i32.const 0)))
      (func (export "proxy_abi_version_0_2_1") call $ctors call $dtors)
      (func (export "proxy_on_memory_allocate") (param i32) (result i32) call $ctors call $dtors i32.const 1024)
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        call $ctors
        (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
        (i32.store8 (i32.const 64) (i32.add (i32.const 48) (global.get $runs)))
        (drop (call $add (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 64) (i32.const 1)))
        call $dtors
        i32.const 0))`);
    const plugin = loadPlugin(code);
    assert.equal(plugin.exchange().upstream.header('x-runs'), '1');
    assert.equal(plugin.exchange().upstream.header('x-runs'), '2');
  });

  test('pointers above 2 GiB come as negative numbers', () => {
    const pages = 32_770;
    const code = wat(`(module
      (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
      (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") ${pages})
      (func (export "proxy_abi_version_0_2_1"))
      (func (export "malloc") (param i32) (result i32) i32.const 0x80000100)
      (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i64.store (i32.const 0x80000000) (i64.const 0x687461703a))
        (i32.store (i32.const 0x80000010) (i32.const 0x70612d78))
        (if (call $get (i32.const 0) (i32.const 0x80000000) (i32.const 5) (i32.const 0x80000020) (i32.const 0x80000024)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 0x80000020)) (i32.const 0x80000100)) (then unreachable))
        (call $add (i32.const 0) (i32.const 0x80000010) (i32.const 4) (i32.load (i32.const 0x80000020)) (i32.load (i32.const 0x80000024)))))`);
    const plugin = new TestPlugin(new V8Vm(compileCode(code, 40_000)));
    assert.equal(plugin.exchange({ path: '/high' }).upstream.header('x-ap'), '/high', plugin.environment.logText);
  });

  test('a start section that runs before the host has the memory: a host function says so and nothing breaks', () => {
    const code = wat(`(module
      (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
      (global $early (mut i32) (i32.const -1))
      ${prelude()}
      (data (i32.const 16) "early")
      (func $start (global.set $early (call $log (i32.const 2) (i32.const 16) (i32.const 5))))
      (start $start)
      (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
        (i32.eq (global.get $early) (i32.const 6))))`);
    assert.equal(loadPlugin(code).wasm.failMessage, '');
  });

  test('both allocators: malloc is asked', () => {
    const code = wat(`(module
      (import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
      ${prelude()}
      (func (export "proxy_on_memory_allocate") (param i32) (result i32) unreachable)
      (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (i32.eqz (call $bytes (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 4)))))`);
    assert.equal(loadPlugin(code, { configuration: 'x' }).wasm.failMessage, '');
  });

  test('what must not be called while the module starts is a failure of the start, what may is not', () => {
    const starting = (call: string, type: string, args: string): Uint8Array =>
      wat(
        `(module (import "env" "${call}" (func $f ${type})) ${prelude()} (func (export "_initialize") (drop (call $f ${args}))))`,
      );
    const log = starting('proxy_log', '(param i32 i32 i32) (result i32)', '(i32.const 2) (i32.const 0) (i32.const 0)');
    assert.equal(loadPlugin(log).wasm.failMessage, '');
    const tick = starting('proxy_set_tick_period_milliseconds', '(param i32) (result i32)', '(i32.const 1)');
    assert.throws(() => loadPlugin(tick), { failState: 'UnableToInitializeCode', message: /restricted_callback/ });
  });
});
