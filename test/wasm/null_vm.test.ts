/** A plugin in TypeScript behind the interface of modules. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BufferType, MapType } from '../../src/wasm/abi/enums.ts';
import { TestPlugin } from '../../src/wasm/testing/module_test.ts';
import { NullRoot, NullStream } from '../../src/wasm/vm/null/null_plugin.ts';
import { NullVm } from '../../src/wasm/vm/null/null_vm.ts';

class Root extends NullRoot {
  metric = 0;
  greeting = '';
  ticks = 0;

  override onConfigure(configuration: string): boolean {
    this.greeting = configuration;
    this.metric = this.host.defineMetric(0, 'null_requests');
    this.host.setTickPeriod(10);
    return configuration !== 'refuse';
  }

  override onTick(): void {
    this.ticks++;
    this.host.setSharedData('ticks', String(this.ticks));
  }

  override createStream(id: number): Stream {
    return new Stream(this, id);
  }
}

class Stream extends NullStream {
  override onRequestHeaders(): number {
    const root = this.root as Root;
    this.host.incrementMetric(root.metric, 1);
    if (this.host.requestHeader(':path') === '/deny') {
      this.host.reply(403, 'denied', 'no');
      return 1;
    }
    if (this.host.requestHeader(':path') === '/throw') throw new Error('on purpose');
    this.host.addHeader(MapType.HttpRequestHeaders, 'x-count', String(this.host.headers(MapType.HttpRequestHeaders).length));
    return 0;
  }

  override onRequestBody(_size: number, end: boolean): number {
    if (!end) return 1;
    this.host.setBody(BufferType.HttpRequestBody, (this.host.body(BufferType.HttpRequestBody) ?? '').toUpperCase());
    return 0;
  }

  override onResponseHeaders(): number {
    this.host.addHeader(MapType.HttpResponseHeaders, 'x-greeting', (this.root as Root).greeting);
    return 0;
  }
}

const load = (configuration = 'hello'): TestPlugin =>
  new TestPlugin(new NullVm((host, id) => new Root(host, id)), { name: 'null', configuration });

test('headers, body, configuration, metrics, shared data, ticks', () => {
  const plugin = load();
  const { upstream, client } = plugin.exchange({ method: 'POST', body: ['ab', 'c'.repeat(100_000)] });
  assert.equal(upstream.header('x-count'), '4');
  assert.equal(upstream.text, `AB${'C'.repeat(100_000)}`);
  assert.equal(client.header('x-greeting'), 'hello');
  assert.equal(plugin.environment.store.counterValue('wasmcustom.null_requests'), 1);
  plugin.environment.advance(35);
  assert.equal(Buffer.from(plugin.environment.shared.getData('', Buffer.from('ticks'))!.value).toString(), '3');
  assert.equal(plugin.wasm.contexts.size, 2);
});

test('a reply; a refused configuration; an exception is a failure of the VM, with file and line', () => {
  assert.equal(load().exchange({ path: '/deny' }).client.status, 403);
  assert.throws(() => load('refuse'), { failState: 'ConfigureFailed' });
  const plugin = load();
  assert.equal(plugin.exchange({ path: '/throw' }).client.status, 503);
  assert.match(plugin.environment.logText, /on purpose[\s\S]*null_vm\.test\.ts:\d+/);
});
