/** Every host function and callback of ABI 0.1.0, 0.2.0 and 0.2.1, by a module in C that logs what the host answers. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type ExchangeOptions, loadPlugin, type PluginOptions, type TestPlugin } from '../../src/wasm/testing/module_test.ts';
import type { TestStream } from '../../src/wasm/testing/test_stream.ts';
import { buildC, needsClang } from './support/c_module.ts';

const skip = needsClang();
const VERSIONS = ['0_1_0', '0_2_0', '0_2_1'] as const;

for (const version of VERSIONS) {
  describe(`ABI ${version.replaceAll('_', '.')}`, { skip }, () => {
    const code = skip === false ? buildC('abi', [`ABI_${version}`]) : new Uint8Array();
    const old = version === '0_1_0';

    function load(options: PluginOptions = {}): TestPlugin {
      return loadPlugin(code, {
        name: 'p',
        rootId: 'r',
        configuration: 'conf',
        vmConfiguration: 'vmconf',
        environmentVariables: { A: '1' },
        clusters: ['known'],
        foreignFunctions: { double: (args) => ({ status: 0, result: Buffer.concat([args, args]) }) },
        ...options,
      });
    }

    /** The lines that the module logged in an exchange, without prefixes and the frame that each one has. */
    function run(
      what: string,
      options: ExchangeOptions = {},
      plugin = load(),
    ): { stream: TestStream; lines: string[]; plugin: TestPlugin } {
      plugin.environment.logs.length = 0;
      const stream = plugin.exchange({
        path: '/p',
        ...options,
        headers: [['x-do', what], ['x-two', '1'], ['x-two', '2'], ['x-gone', '1'], ...(options.headers ?? [])],
      });
      return { stream, lines: linesOf(plugin), plugin };
    }

    const linesOf = (plugin: TestPlugin): string[] =>
      plugin.environment.logs.map(({ message }) => message.replace('wasm log p r: ', ''));

    test('starts with its configurations', () => {
      assert.deepEqual(linesOf(load()), [
        'wasm log: initialized',
        'root_id=0:r',
        'vm_configuration=0:vmconf',
        'plugin_configuration=0:conf',
      ]);
    });

    test('a refused configuration', () => {
      assert.throws(() => load({ configuration: 'refuse' }), { name: 'WasmError', failState: 'ConfigureFailed' });
    });

    test('the order of a stream', () => {
      const { lines, stream } = run('');
      assert.deepEqual(lines, ['status=0:200', 'log path=0:/p', 'log status=0:200', 'done', 'delete']);
      assert.equal(stream.client.header('x-response'), 'seen');
      assert.equal(stream.context.wasm.contexts.size, 2);
    });

    test('header maps', () => {
      const { lines, stream } = run('headers');
      assert.deepEqual(lines.slice(0, 22), [
        'size=0',
        'bad type=2',
        'first of two=0:1',
        old ? 'absent=0:' : 'absent=1:',
        'path=0:/p',
        'not available=2:',
        'pairs not available=0:',
        'pairs=0',
        'pairs count=8',
        'set pairs back=0',
        'add=0',
        'add again=0',
        'replace=0',
        'replace absent=0',
        'remove=0',
        'remove absent=0',
        'add to response=2',
        'bad name=2',
        'trailers too early=2',
        'bad pointer=6',
        'bad result pointer=6',
        'status=0:200',
      ]);
      assert.deepEqual(stream.upstream.headers?.slice(4), [
        ['x-do', 'headers'],
        ['x-two', 'only'],
        ['x-added', 'a'],
        ['x-added', 'b'],
        ['x-new', 'made'],
      ]);
      assert.ok(stream.routeCacheCleared > 0);
    });

    test('a request body that is kept whole and changed', () => {
      const { lines, stream } = run('body', { method: 'POST', body: ['ab', 'cd', 'ef'] });
      assert.deepEqual(lines.slice(0, 15), [
        'body 2 2 0',
        'body 4 4 0',
        'body 6 6 1',
        'whole=0:abcdef',
        'part=0:cde',
        'past the end=0:',
        'bad type=2',
        'prepend=0',
        'append=0',
        'inside=2',
        'replace start=0',
        'response body=2',
        'read only=1',
        'add trailer=0',
        'status=0:200',
      ]);
      assert.equal(stream.upstream.text, '[bcdef>');
      assert.deepEqual(stream.upstream.trailers, [['x-sum', '42']]);
    });

    test('a request body that is changed chunk by chunk', () => {
      const { stream } = run('each', { method: 'POST', body: ['ab', 'cd', 'ef'] });
      assert.equal(stream.upstream.text, '###');
    });

    test('the module keeps nothing, or watermark buffering: everything arrives', () => {
      assert.equal(run('nobuffer', { method: 'POST', body: ['ab', 'cd'] }).stream.upstream.ended, true);
      assert.equal(run('watermark', { method: 'POST', body: ['ab', 'cd'] }).stream.upstream.text, 'abcd');
    });

    test('request trailers', () => {
      const { lines, stream } = run('', { body: ['x'], trailers: [['t', '1']] });
      assert.ok(lines.includes('request trailers=1'));
      assert.deepEqual(stream.upstream.trailers, [
        ['t', '1'],
        ['x-trailer-added', '1'],
      ]);
    });

    test('a response body replaced, trailers added', () => {
      const { stream } = run('response body', { response: { body: ['old ', 'body'] } });
      assert.equal(stream.client.text, 'new body');
      assert.deepEqual(stream.client.trailers, [['x-end', 'yes']]);
    });

    test('response trailers', () => {
      assert.ok(
        run('', {
          response: {
            body: 'x',
            trailers: [
              ['a', 'b'],
              ['c', 'd'],
            ],
          },
        }).lines.includes('response trailers=2'),
      );
    });

    test('a local reply: headers, body, details; the second one is ignored; the response side sees it', () => {
      const { stream, lines } = run('reply');
      assert.deepEqual(lines.slice(0, 3), ['reply=0', 'second reply=0', 'status=0:418']);
      assert.equal(stream.client.status, 418);
      assert.equal(stream.client.text, 'I am a teapot');
      assert.equal(stream.client.header('x-own'), '1');
      assert.equal(stream.client.header('content-type'), 'text/x-own');
      assert.equal(stream.client.header('content-length'), '13');
      assert.equal(stream.details, 'my_details_');
      assert.equal(stream.upstream.headers, null);
    });

    test('a local reply in place of the response', () => {
      const { stream } = run('response reply', { response: { body: 'never seen' } });
      assert.equal(stream.client.status, 502);
      assert.equal(stream.client.text, 'replaced ä');
      assert.equal(stream.details, 'late');
    });

    test('shared data with compare-and-swap', () => {
      assert.deepEqual(run('shared').lines.slice(0, 8), [
        'get absent=1',
        'set=0',
        'get=0:one',
        'cas right=0',
        'cas wrong=8',
        'get again=0:two',
        'set empty=0',
        'get empty=0:',
      ]);
    });

    test('shared queues', () => {
      assert.deepEqual(run('queues').lines.slice(0, 8), [
        'resolve absent=1',
        'register=0',
        'resolve=0',
        'same token=1',
        'empty=7',
        'enqueue=0',
        'enqueue unknown=1',
        'dequeue unknown=1',
      ]);
    });

    test('a queue that was filled is told to who registered it, later', () => {
      const plugin = load({ configuration: 'queue' });
      const { environment } = plugin;
      assert.equal(environment.shared.enqueue(1, Buffer.from('work')), 'ok');
      assert.ok(!linesOf(plugin).includes('dequeued=0:work'));
      environment.runPosted();
      assert.ok(linesOf(plugin).includes('dequeued=0:work'));
      assert.equal(environment.shared.dequeue(1), 'empty');
    });

    test('metrics', () => {
      const { lines, plugin } = run('metrics');
      assert.deepEqual(lines.slice(0, 18), [
        'bad type=2',
        'increment=0',
        'increment by 0=2',
        'record counter=0',
        'get=0',
        'counter=8',
        'gauge up=0',
        'gauge down=0',
        'gauge=7',
        'gauge set=0',
        'gauge now=4',
        'histogram=0',
        'histogram increment=2',
        'histogram get=2',
        'unknown=1',
        'same metric=0',
        'new id=1',
        'same value=8',
      ]);
      assert.equal(plugin.environment.store.counterValue('wasmcustom.requests'), 8);
    });

    test('properties', () => {
      assert.deepEqual(run('properties').lines.slice(0, 9), [
        'request.path=0:/p',
        'request.headers.x-two=0:1,2',
        'trailing nul=0:GET',
        'whole root=3',
        'nothing=1',
        'empty path=3',
        'set=0',
        'own=0:kept',
        'plugin_name=0:p',
      ]);
    });

    test('WASI, time, log', () => {
      const { lines, plugin } = run('wasi');
      assert.deepEqual(lines.slice(0, 16), [
        'standard output',
        'fd_write=0',
        'written=16',
        'standard ',
        'fd_write error=0',
        'fd_write other=8',
        'environ_sizes=0',
        'environ=0',
        'env A=1',
        'clock=0',
        'after 2020=1',
        'bad clock=58',
        'random=0',
        'too much random=28',
        'time=0',
        version === '0_2_1' ? 'log level=0' : 'log bad level=2',
      ]);
      assert.equal(plugin.environment.logs.find(({ message }) => message.endsWith('standard '))?.level, 'error');
    });

    test('foreign functions', () => {
      assert.deepEqual(run('foreign').lines.slice(0, 3), ['unknown=1', 'double=0:abab', 'without results=0']);
    });

    test('memory that grows in the middle of a host call', () => {
      assert.deepEqual(run('memory').lines.slice(0, 2), ['path after growth=0:/p', 'grown=1']);
    });

    test('an HTTP call while the request waits', () => {
      const { lines, stream, plugin } = run('http_call');
      assert.deepEqual(lines, ['unknown cluster=2', 'negative timeout=2', 'incomplete=2', 'call=0']);
      assert.equal(stream.paused, true);
      assert.equal(stream.upstream.headers, null);
      const [call] = plugin.environment.httpCalls;
      assert.deepEqual(call.request.headers, [
        [':method', 'POST'],
        [':path', '/auth'],
        [':authority', 'auth'],
        ['x-call', '1'],
        ['content-length', '8'],
      ]);
      assert.equal(Buffer.from(call.request.body).toString(), 'question');
      assert.equal(call.request.timeoutMs, 1000);
      call.respond(200, [['a', 'b']], 'answer', [['t', 'end']]);
      assert.deepEqual(linesOf(plugin).slice(4, 11), [
        'answer in root=1',
        'token=1',
        'answer 2 6 1',
        'answer status=0:200',
        'answer body=0:answer',
        'answer trailer=0:end',
        'answers are read only=2',
      ]);
      assert.equal(stream.paused, false);
      assert.equal(stream.upstream.header('x-auth'), 'ok');
    });

    test('an HTTP call that fails', () => {
      const { stream, plugin } = run('http_call');
      [...plugin.environment.httpCalls][0].fail();
      assert.ok(linesOf(plugin).includes('answer 0 0 0'));
      assert.ok(linesOf(plugin).includes('code=11'));
      assert.ok(linesOf(plugin).includes('why=0:reset'));
      assert.equal(stream.client.status, 200);
    });

    test('an HTTP call whose stream is gone is answered, and the module drops it', () => {
      const { stream, plugin } = run('http_call');
      stream.end();
      [...plugin.environment.httpCalls][0].respond(200);
      assert.ok(linesOf(plugin).includes('token=1'));
      assert.equal(plugin.wasm.failed, false);
    });

    test('a response that waits for a call', () => {
      const { stream, plugin } = run('response pause', { response: { body: 'x' } });
      assert.equal(stream.client.headers, null);
      [...plugin.environment.httpCalls][0].respond(204);
      assert.equal(stream.client.text, 'x');
    });

    test('resuming in the same callback that pauses', () => {
      const { stream } = run('continue at once');
      assert.equal(stream.client.status, 200);
    });

    test('the effective context', () => {
      assert.deepEqual(run('effective').lines.slice(0, 5), [
        'unknown context=2',
        'root=0',
        old ? 'path in root=2:' : 'path in root=2:',
        'back=0',
        'path in stream=0:/p',
      ]);
    });

    test('proc_exit is noted and the module goes on', () => {
      const { lines } = run('exit');
      assert.deepEqual(lines.slice(0, 2), ['wasi proc_exit(3) called by the module', 'still here=0']);
    });

    test('an unknown answer of a headers callback pauses', () => {
      assert.equal(run('odd').stream.paused, true);
    });

    test('ticks: one after the other, until the period is 0', () => {
      const plugin = load({ configuration: 'tick' });
      plugin.environment.advance(99);
      assert.ok(!linesOf(plugin).includes('tick 1'));
      plugin.environment.advance(1000);
      assert.deepEqual(
        linesOf(plugin).filter((line) => line.startsWith('tick')),
        ['tick 1', 'tick 2', 'tick 3'],
      );
    });

    test('the end of a plugin, at once and held on to', () => {
      const plugin = load();
      plugin.root.shutdown();
      assert.deepEqual(linesOf(plugin).slice(-2), ['done root', 'delete root']);
      assert.equal(plugin.wasm.roots.size, 0);
      const holding = load({ configuration: 'hold' });
      holding.root.setTickPeriod(50);
      holding.root.shutdown();
      assert.deepEqual(linesOf(holding).slice(-1), ['done root']);
      holding.environment.advance(60);
      assert.deepEqual(linesOf(holding).slice(-3), ['tick 1', 'done=0', 'delete root']);
    });

    test('shared data goes with the last plugin of its vm_id', () => {
      const plugin = load({ vmId: 'v' });
      run('shared', {}, plugin);
      const other = plugin.addPlugin({ name: 'other', rootId: 'r', configuration: 'conf', vmId: 'v' });
      plugin.root.shutdown();
      assert.notEqual(plugin.environment.shared.getData('v', Buffer.from('key')), null);
      other.shutdown();
      assert.equal(plugin.environment.shared.getData('v', Buffer.from('key')), null);
    });

    test('a trap: the stream fails, nothing more is called, the reason names the function', () => {
      const { stream, lines, plugin } = run('trap');
      assert.equal(stream.client.status, 503);
      assert.equal(stream.details, 'wasm_fail_stream');
      assert.equal(plugin.wasm.failState, 'RuntimeError');
      assert.match(
        lines.join('\n'),
        /^Wasm VM failed Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\n/,
      );
      assert.match(lines.join('\n'), /backtrace:\n {2}0: {2}0x[0-9a-f]+ - /);
      assert.equal(lines.length, 1);
    });

    test('capabilities that are not allowed', () => {
      const plugin = load({
        allowedCapabilities: ['proxy_log', 'proxy_on_request_headers', 'proxy_get_header_map_value', 'fd_write'],
      });
      plugin.environment.logs.length = 0;
      const { lines } = run('shared', {}, plugin);
      assert.ok(lines.includes('Attempted call to restricted proxy-wasm capability: proxy_get_shared_data'));
      assert.ok(lines.includes('set=10'));
      assert.ok(!lines.includes('done'));
    });

    // Streams of 0.1.0 are resumed by other functions than the module's gRPC part uses.
    if (old) return;

    test('gRPC: a call', () => {
      const { lines, stream, plugin } = run('grpc_call');
      assert.deepEqual(lines, ['unknown=4', 'call=0']);
      const [call] = plugin.environment.grpcStreams;
      assert.equal(call.request.service, 'test.Echo');
      assert.equal(Buffer.from(call.sent[0]).toString(), '\n\u0003msg');
      assert.equal(call.localClosed, true);
      call.callbacks.onMessage(Buffer.from('reply'));
      call.callbacks.onClose(0, '');
      assert.deepEqual(linesOf(plugin).slice(2, 3), ['grpc message=0:reply']);
      assert.equal(stream.client.status, 200);
    });

    test('gRPC: a call that fails', () => {
      const { stream, plugin } = run('grpc_call');
      plugin.environment.grpcStreams[0].callbacks.onClose(14, 'not there');
      assert.deepEqual(linesOf(plugin).slice(2, 4), ['grpc closed=14', 'why=0:not there']);
      assert.equal(stream.client.status, 200);
    });

    test('gRPC: a stream', () => {
      const { lines, plugin } = run('grpc_stream');
      assert.deepEqual(lines, ['stream=0', 'send=0', 'send unknown=1', 'send bad kind=2', 'cancel bad kind=2', 'close=0']);
      const [{ callbacks, localClosed }] = plugin.environment.grpcStreams;
      assert.equal(localClosed, true);
      callbacks.onMessage(Buffer.from('one'));
      callbacks.onMessage(Buffer.from('two'));
      callbacks.onClose(0, 'fine');
      assert.deepEqual(linesOf(plugin).slice(6, 10), ['grpc message=0:one', 'grpc message=0:two', 'grpc closed=0', 'why=0:fine']);
    });
  });
}
