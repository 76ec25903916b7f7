/** TypeScript filters in threads of their own, in the real proxy: what they can do, and that ending one harms nobody else. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from '../../../interop/support/config.ts';
import { dial } from '../../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../../interop/support/upstreams.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../../../support/proxy_process.ts';
import { ROUTER } from './wasm_support.ts';

const TYPE = 'type.googleapis.com/sluice.extensions.filters.http.typescript.v1.TypeScript';

const FILTER = `
import { Action, type Headers, type Body, HttpFilter, type Host, type Infer, type PhaseResult, schema } from 'sluice/filter';
import { suffix } from './helper.ts';
const config = schema.object({ greeting: schema.string().default('hello') });
export default class Everything extends HttpFilter<Infer<typeof config>, { streams: { inc(): void } }> {
  static readonly schema = config;
  static setup(host: Host<unknown>) { return { streams: host.counter('streams') }; }
  override onRequestHeaders(headers: Headers, end: boolean): PhaseResult {
    this.shared.streams.inc();
    headers.set('x-seen', this.config.greeting + suffix);
    headers.remove('x-gone');
    const path = headers.get(':path') as string;
    if (path === '/reply') { this.stream.reply({ status: 418, body: new Uint8Array([0xff, 0, 0x80]), headers: { 'x-own': '1' } }); return; }
    if (path === '/throw') throw new Error('on purpose');
    if (path === '/loop') for (;;);
    if (path === '/eat') { const kept: unknown[] = []; for (;;) kept.push(new Array(200_000).fill(Math.random())); }
    if (path === '/exit') process.exit(3);
    if (path === '/stop') { setTimeout(() => this.stream.continueRequest(), 1); return Action.Stop; }
    if (path === '/async') return this.later(headers);
    if (path === '/loop-later') return this.loopLater();
    if (path === '/reject') return Promise.reject(new Error('no'));
    if (path === '/never') return new Promise(() => {});
    if (path === '/timer-loop') { setTimeout(() => { for (;;); }, 0); return new Promise(() => {}); }
  }
  async later(headers: Headers): Promise<void> {
    const answer = await this.stream.call('node', { path: '/called', headers: { 'x-call': 'yes' } });
    headers.set('x-called', String(answer.status));
    headers.set('x-count', String(this.host.shared.add('calls', 1)));
    headers.set('x-route', this.stream.info.routeName + '|' + this.stream.info.remoteIp);
  }
  async loopLater(): Promise<void> {
    await this.host.sleep(1);
    for (;;);
  }
  override onRequestData(data: Body, end: boolean): PhaseResult {
    if (data.text() === 'upper') data.set('UPPER');
    if (data.text() === 'same size') data.set('SAME SIZE');
  }
  override onResponseHeaders(headers: Headers): PhaseResult {
    headers.set('x-filter', String(this.stream.requestHeaders?.get(':method')));
  }
}
`;

describe('TypeScript filters in threads of their own', () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let directory: string;

  before(async () => {
    upstream = await httpUpstream();
    directory = mkdtempSync(join(tmpdir(), 'sluice-isolated-'));
    const module = join(directory, 'everything.ts');
    writeFileSync(module, FILTER);
    writeFileSync(join(directory, 'helper.ts'), "export const suffix = '!';\n");
    const filter = (name: string, extra: Json = {}): Json => ({
      name: 'everything',
      typed_config: {
        '@type': TYPE,
        module,
        name,
        deadline: '0.3s',
        isolated: { call_budget: '0.25s', max_heap_mb: 48 },
        ...extra,
      },
    });
    const chain = (name: string, filters: Json[]): Json =>
      listener(name, [
        http(
          name,
          [
            {
              ...route('/routed', 'node'),
              typed_per_filter_config: { everything: { '@type': `${TYPE}PerRoute`, config: { greeting: 'welcome' } } },
            },
            { ...route('/', 'node'), name: 'all' },
          ],
          { http_filters: [...filters, ROUTER], access_log: [fileLog(`${name}.log`, WHY)] },
        ),
      ]);
    proxy = await startProxy({
      config: bootstrap(
        [
          chain('main', [filter('main')]),
          chain('open', [filter('open', { failure_policy: 'FAIL_OPEN' })]),
          chain('hurt', [filter('hurt')]),
          chain('memory', [filter('memory', { isolated: { call_budget: '30s', max_heap_mb: 24 } })]),
          chain('plain', []),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const send = (path: string, options: { name?: string; method?: string; body?: string } = {}) =>
    httpRequest(proxy.port(options.name ?? 'main'), path, { ...options, headers: { 'x-gone': '1' } });
  const seen = (body: string) => (JSON.parse(body) as { headers: Record<string, string> }).headers;

  test('headers of both directions; metrics of setup', async () => {
    const answer = await send('/a');
    assert.equal(answer.status, 200, proxy.log);
    assert.equal(seen(answer.body)['x-seen'], 'hello!');
    assert.equal(seen(answer.body)['x-gone'], undefined);
    assert.equal(answer.headers['x-filter'], 'GET');
    await proxy.untilStat('typescript.main.streams', (value) => value >= 1);
  });

  test('a body, whole; one whose length does not fit its headers fails', async () => {
    const same = await send('/', { method: 'POST', body: 'same size' });
    assert.equal((JSON.parse(same.body) as { length: number }).length, 9);
    assert.equal((await send('/', { method: 'POST', body: 'upper' })).status, 200);
    const long = await send('/', { method: 'POST', body: 'x'.repeat(300_000) });
    assert.equal((JSON.parse(long.body) as { length: number }).length, 300_000);
  });

  test('a reply of bytes', async () => {
    const answer = await fetch(`http://127.0.0.1:${proxy.port('main')}/reply`);
    assert.equal(answer.status, 418);
    assert.equal(answer.headers.get('x-own'), '1');
    assert.deepEqual([...new Uint8Array(await answer.arrayBuffer())], [0xff, 0, 0x80]);
  });

  test('stopping and resuming; promises, call-outs, shared data, properties', async () => {
    assert.equal((await send('/stop')).status, 200);
    const headers = seen((await send('/async')).body);
    assert.equal(headers['x-called'], '200');
    assert.equal(headers['x-count'], '1');
    assert.equal(headers['x-route'], 'all|127.0.0.1');
  });

  test("a route's own fields", async () => {
    assert.equal(seen((await send('/routed')).body)['x-seen'], 'welcome!');
    assert.equal(seen((await send('/a')).body)['x-seen'], 'hello!');
  });

  test('an error, a rejection and a promise that is late: this stream fails, the reason is logged', async () => {
    assert.equal((await send('/throw')).status, 500);
    await until(
      () => /main: onRequestHeaders: \S*everything\.ts:\d+:\d+: Error: on purpose/.test(proxy.log),
      () => proxy.log,
    );
    assert.equal((await send('/reject')).status, 500);
    assert.equal((await send('/never')).status, 504);
    await until(
      async () => (await proxy.lines('main.log', 1)).includes('/throw 500 - typescript_filter_failed{main}'),
      () => proxy.log,
    );
    assert.equal((await send('/throw', { name: 'open' })).status, 200);
    assert.ok((await proxy.stat('typescript.main.errors')) >= 3);
  });

  for (const path of ['/loop', '/loop-later', '/timer-loop', '/eat', '/exit']) {
    test(`${path}: the thread is ended, only its streams fail, the next ones have a new one`, async () => {
      await until(async () => (await send('/a', { name: 'hurt' })).status === 200, 'a thread that works');
      const failures = await proxy.stat('wasm.hurt.vm_failures');
      const waiting = await dial(proxy.port('hurt'));
      waiting.send('GET /never HTTP/1.1\r\nhost: a\r\n\r\n');
      await proxy.untilStat('http.hurt.downstream_rq_active', (value) => value === 1);
      const hurt = send(path, { name: 'hurt' });
      const others = await Promise.all(
        Array.from({ length: 20 }, (_, i) => send('/a', { name: i % 2 === 0 ? 'plain' : 'main' })),
      );
      assert.ok(others.every(({ status }) => status === 200));
      assert.equal((await hurt).status, 500);
      assert.ok([500, 504].includes((await waiting.message()).status));
      waiting.destroy();
      assert.equal(await proxy.stat('wasm.hurt.vm_failures'), failures + 1);
      const line = `${path} 500 EXF typescript_filter_failed{hurt}`;
      await until(async () => (await proxy.lines('hurt.log', 1)).includes(line), line);
    });
  }

  test('a loop is told with its budget, memory with its limit; failing open the stream goes on', async () => {
    assert.match((await proxy.admin('/wasm')).body, /^hurt::runtime::sluice\.typescript\.isolated$/m);
    assert.match(proxy.log, /hurt: a call took longer than its budget of 250 ms/);
    assert.equal((await send('/eat', { name: 'memory' })).status, 500);
    assert.match(proxy.log, /memory: the thread ended: .*memory limit/);
    assert.equal((await send('/loop', { name: 'open' })).status, 200);
    assert.equal((await send('/a', { name: 'open' })).status, 200);
  });

  test('a change of an imported file is taken up; a file that does not load changes nothing', async () => {
    writeFileSync(join(directory, 'helper.ts'), "export const suffix = '?';\n");
    await until(async () => seen((await send('/a')).body)['x-seen'] === 'hello?', 'the new code');
    writeFileSync(join(directory, 'helper.ts'), 'export const suffix = ;\n');
    await until(
      () => /everything\.ts has changed, and is not used: \S*helper\.ts:1/.test(proxy.log),
      () => proxy.log,
    );
    assert.equal(seen((await send('/a')).body)['x-seen'], 'hello?');
  });

  test('many requests at a time', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => send(`/many${i}`)));
    assert.ok(answers.every(({ status, headers }) => status === 200 && headers['x-filter'] === 'GET'));
  });
});

describe('isolated filters that are refused', () => {
  test('mistakes of the module, its configuration and the limits, with their place', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-isolated-'));
    const refused = async (source: string, extra: Json, reason: RegExp): Promise<void> => {
      const module = join(directory, 'filter.ts');
      writeFileSync(module, source);
      const typed = { '@type': TYPE, module, isolated: {}, ...extra };
      const config = bootstrap([
        listener('main', [http('main', [], { http_filters: [{ name: 'f', typed_config: typed }, ROUTER] })]),
      ]);
      await assert.rejects(startProxy({ config }), reason);
    };
    const fine = "import { HttpFilter } from 'sluice/filter';\nexport default class F extends HttpFilter {}\n";
    const typed = `import { HttpFilter, schema } from 'sluice/filter';
export default class F extends HttpFilter { static readonly schema = schema.object({ limit: schema.integer() }); }\n`;
    try {
      await refused('export const = 1;', {}, /typed_config\.module: cannot use the module: \S*filter\.ts:1/);
      await refused('export default class {}', {}, /its default export is not a class that extends HttpFilter/);
      await refused('for (;;);', {}, /did not start in time|longer than its budget/);
      await refused(typed, { config: { limit: 'x' } }, /typed_config\.config\.limit: /);
      await refused(fine, { isolated: { call_budget: '0s' } }, /isolated\.call_budget: must be more than 0/);
      await refused(fine, { isolated: { max_heap_mb: 1 } }, /isolated\.max_heap_mb: must be at least 8/);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
