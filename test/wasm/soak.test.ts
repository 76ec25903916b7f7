/** A million streams and a hundred new codes: nothing of them stays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { PairMap } from '../../src/wasm/host/header_map.ts';
import { HttpContext, type HttpStreamHost } from '../../src/wasm/host/http_context.ts';
import { PluginHandle } from '../../src/wasm/plugin/plugin_handle.ts';
import type { PluginSettings } from '../../src/wasm/plugin/plugin_settings.ts';
import { type VmSource, WasmHost } from '../../src/wasm/plugin/wasm_host.ts';
import { loadPlugin } from '../../src/wasm/testing/module_test.ts';
import { TestEnvironment } from '../../src/wasm/testing/test_environment.ts';
import { compileCode } from '../../src/wasm/vm/compiled_code.ts';
import { V8Vm } from '../../src/wasm/vm/v8/v8_vm.ts';
import { HEADER_MODULE, prelude, wat } from './support/wat.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

const NOBODY = {
  clearRouteCache: () => {},
} as unknown as HttpStreamHost;

test('a million streams through one instance', () => {
  const plugin = loadPlugin(wat(HEADER_MODULE), { logLevel: 'error' });
  const context = new HttpContext(plugin.root, NOBODY);
  const stream = (): void => {
    const request = new PairMap([
      [':path', '/'],
      ['x-in', 'value'],
    ]);
    const response = new PairMap([[':status', '200']]);
    context.create(plugin.root);
    context.onRequestHeaders(request, true);
    context.onResponseHeaders(response, true);
    context.end(request, response, null);
    assert.equal(request.pairs.length, 3);
  };
  for (let i = 0; i < 10_000; i++) stream();
  gc();
  const heap = process.memoryUsage().heapUsed;
  const memory = plugin.wasm.memory.sizeBytes;
  for (let i = 0; i < 1_000_000; i++) stream();
  gc();
  assert.equal(plugin.wasm.memory.sizeBytes, memory);
  // The VM's and the plugin's own.
  assert.equal(plugin.wasm.contexts.size, 2);
  const grown = process.memoryUsage().heapUsed - heap;
  assert.ok(grown < 4 << 20, `the heap grew by ${grown} bytes`);
});

test('a hundred reloads: one VM is left, and streams of old ones let go of them', () => {
  const environment = new TestEnvironment();
  const host = new WasmHost(environment);
  const settings: PluginSettings = {
    name: 'p',
    rootId: '',
    configuration: new Uint8Array(0),
    vmId: '',
    vmConfiguration: new Uint8Array(0),
    runtime: 'envoy.wasm.runtime.v8',
    environmentVariables: [],
    reloads: false,
    failurePolicy: 'FAIL_CLOSED',
    reloadIntervalMs: 1000,
    allowedCapabilities: null,
    allowOnHeadersStopIteration: false,
  };
  const source = (i: number): VmSource => {
    const code = compileCode(wat(`(module ${prelude()} (data (i32.const 16) "${i}"))`));
    return { codeKey: code.sha256, create: () => new V8Vm(code) };
  };
  const handle = new PluginHandle(host, settings);
  handle.load(source(0));
  let held = handle.acquire();
  for (let i = 1; i <= 100; i++) {
    handle.load(source(i));
    assert.equal(host.running.length, 2);
    held?.release();
    assert.equal(host.running.length, 1);
    held = handle.acquire();
    assert.equal(held?.wasm.roots.size, 1);
  }
  held?.release();
  assert.equal(environment.store.gaugeValue('wasm.envoy.wasm.runtime.v8.active'), 1);
  assert.equal(environment.store.counterValue('wasm.envoy.wasm.runtime.v8.created'), 101);
  handle.close();
  assert.equal(host.running.length, 0);
  assert.equal(environment.store.gaugeValue('wasm.envoy.wasm.runtime.v8.active'), 0);
});
