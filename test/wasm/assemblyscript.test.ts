/** Modules built with an SDK of a package registry (AssemblyScript): what such code does to a host. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadPlugin } from '../../src/wasm/testing/module_test.ts';
import { assemblyScriptModule, buildAssemblyScript } from './support/assemblyscript.ts';

describe('a module of the AssemblyScript SDK', () => {
  const code = buildAssemblyScript(
    assemblyScriptModule(
      'root',
      `onRequestHeaders(a: u32, end_of_stream: bool): FilterHeadersStatusValues {
         if (stream_context.headers.request.get(":path") == "/deny") {
           send_local_response(403, "denied", String.UTF8.encode("no"), [new HeaderPair(String.UTF8.encode("x-why"), String.UTF8.encode("because"))], GrpcStatusValues.PermissionDenied);
           return FilterHeadersStatusValues.StopIteration;
         }
         if (stream_context.headers.request.get(":path") == "/throw") throw new Error("on purpose");
         stream_context.headers.request.add("x-seen", stream_context.headers.request.get("x-in"));
         stream_context.headers.request.remove("x-in");
         return FilterHeadersStatusValues.Continue;
       }
       onResponseHeaders(a: u32, end_of_stream: bool): FilterHeadersStatusValues {
         stream_context.headers.response.replace("hello", this.root_context.getConfiguration());
         return FilterHeadersStatusValues.Continue;
       }`,
    ),
  );

  test('reads and changes headers, has its configuration', () => {
    const plugin = loadPlugin(code, { rootId: 'root', configuration: 'world' });
    const { upstream, client } = plugin.exchange({
      headers: [['x-in', 'value']],
      response: { headers: [['hello', 'old']], body: 'x' },
    });
    assert.equal(upstream.header('x-seen'), 'value');
    assert.equal(upstream.header('x-in'), undefined);
    assert.equal(client.header('hello'), 'world');
    assert.equal(client.text, 'x');
  });

  test('answers itself', () => {
    const stream = loadPlugin(code, { rootId: 'root', configuration: 'c' }).exchange({ path: '/deny' });
    assert.equal(stream.client.status, 403);
    assert.equal(stream.client.text, 'no');
    assert.equal(stream.client.header('x-why'), 'because');
    assert.equal(stream.upstream.headers, null);
    assert.equal(stream.localReply?.grpcStatus, 7);
  });

  test('an exception becomes a trap, with the message and the functions in the log', () => {
    const plugin = loadPlugin(code, { rootId: 'root', configuration: 'c' });
    const stream = plugin.exchange({ path: '/throw' });
    assert.equal(stream.client.status, 503);
    assert.match(plugin.environment.logText, /\[critical\].*on purpose/);
    assert.match(plugin.environment.logText, /backtrace:\n.*index\/Stream#onRequestHeaders/);
  });

  test('a root id that the module does not know', () => {
    assert.throws(() => loadPlugin(code, { rootId: 'other', configuration: 'c' }), {
      name: 'WasmError',
      failState: 'RuntimeError',
    });
  });

  test('a thousand streams need no more memory than ten', () => {
    const plugin = loadPlugin(code, { rootId: 'root', configuration: 'c', logLevel: 'error' });
    for (let i = 0; i < 10; i++) plugin.exchange();
    const before = plugin.wasm.memory.sizeBytes;
    for (let i = 0; i < 1000; i++) plugin.exchange();
    assert.ok(plugin.wasm.memory.sizeBytes <= before + 2 * 65536, `${before} -> ${plugin.wasm.memory.sizeBytes}`);
    assert.equal(plugin.wasm.contexts.size, 2);
  });
});
