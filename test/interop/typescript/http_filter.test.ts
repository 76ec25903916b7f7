/** HTTP filters in TypeScript, in the real proxy: phases, promises, mistakes, per-route configuration, replacement while it runs. */
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BACKENDS, skipReason } from '../../support/dispatchers.ts';
import { httpRequest, type Json, type ProxyProcess, spawnProxy, startProxy, until } from '../../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from '../support/config.ts';
import { dial } from '../support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../support/upstreams.ts';

const directory = mkdtempSync(join(tmpdir(), 'sluice-filters-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(directory, name);
  // As editors do it: at once.
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
  return path;
}

const ROUTER = {
  name: 'router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
};
const TYPE = 'type.googleapis.com/sluice.extensions.filters.http.typescript.v1.TypeScript';

function filter(name: string, fields: Json): Json {
  return { name, typed_config: { '@type': TYPE, name, ...fields } };
}

function chain(...filters: Json[]): Json {
  return { http_filters: [...filters, ROUTER] };
}

const PHASES = write(
  'phases.ts',
  `import { Action, HttpFilter, type Body, type Headers, type Host } from 'sluice/filter';

export default class Phases extends HttpFilter<unknown, { seen: { inc(): void } }> {
  static setup(host: Host) {
    return { seen: host.counter('seen') };
  }
  private at: string[] = [];
  private path = '';
  override onRequestHeaders(headers: Headers, endStream: boolean) {
    this.shared.seen.inc();
    this.path = headers.get(':Path') ?? '';
    this.at.push('requestHeaders:' + endStream);
    headers.set('X-Added', 'yes');
    headers.remove('x-secret');
    headers.append('x-list', 'b');
    if (this.path === '/reply') {
      this.stream.reply({ status: 418, body: 'teapot', headers: { 'X-Why': 'asked' }, details: 'teapot' });
    }
    if (this.path === '/throw') (undefined as unknown as { x: number }).x;
    if (this.path === '/add-body' && endStream) this.stream.addRequestData('from the filter');
    if (this.path === '/stop-and-go') {
      this.host.after(20, () => this.stream.continueRequest());
      return Action.StopAndBuffer;
    }
  }
  override onRequestData(data: Body, endStream: boolean) {
    this.at.push('requestData:' + data.length + ':' + endStream);
    if (this.path === '/upper') data.set(data.text().toUpperCase());
    if (this.path === '/throw-data') throw new RangeError('no data');
  }
  override onRequestTrailers(trailers: Headers) {
    this.at.push('requestTrailers:' + trailers.get('x-t'));
  }
  override onResponseHeaders(headers: Headers, endStream: boolean) {
    headers.set('x-phases', this.at.join(' '));
    headers.set('x-info', [this.stream.info.remoteIp, this.stream.info.routeName, this.stream.info.clusterName].join('|'));
    if (this.path === '/throw-response') throw new Error('late');
    if (this.path === '/reply-late') this.stream.reply({ status: 503 });
  }
  override onResponseData(data: Body, endStream: boolean) {
    if (this.path === '/throw-response-data') throw new Error('too late');
  }
  override onLog() {
    this.host.log.info('logged ' + this.path + ' ' + this.stream.info.responseCode + ' ' + this.stream.responseHeaders?.get(':status'));
  }
}
`,
);

const ASYNC = write(
  'async.ts',
  `import { type Body, HttpFilter, type Headers } from 'sluice/filter';

export default class Async extends HttpFilter {
  private path = '';
  override async onRequestHeaders(headers: Headers, endStream: boolean) {
    this.path = headers.get(':path') ?? '';
    await this.host.sleep(5);
    if (this.path === '/whole') {
      const body = await this.stream.bufferRequestBody(1000);
      body.set('<' + body.text() + '>');
    }
    if (this.path === '/whole-up') (await this.stream.bufferRequestBody(1 << 24)).append('!');
    if (this.path === '/pieces') headers.remove('content-length');
    if (this.path === '/reject') throw new Error('rejected');
    if (this.path === '/never') await new Promise(() => {});
    if (this.path === '/stray') {
      void Promise.reject(new Error('nobody awaits this'));
      setImmediate(() => { throw new Error('nobody catches this'); });
    }
    if (this.path === '/reply') this.stream.reply({ status: 401, body: 'who' });
    headers.set('x-async', 'yes');
  }
  override async onRequestData(data: Body, endStream: boolean) {
    if (this.path !== '/pieces') return;
    const text = data.text();
    await this.host.sleep(1);
    data.set(text.toUpperCase() + (endStream ? '.' : ''));
  }
  override async onResponseHeaders(headers: Headers, endStream: boolean) {
    if (this.path !== '/response') return;
    const body = await this.stream.bufferResponseBody();
    body.prepend('before ');
  }
  override async onResponseData(data: Body, endStream: boolean) {
    if (this.path !== '/response-pieces') return;
    await this.host.sleep(1);
    if (endStream) data.append(' end');
  }
}
`,
);

write('helper.ts', `export const generation = () => 'one';\n`);
const SWAPPED = write(
  'swapped.ts',
  `import { HttpFilter, type Headers, schema } from 'sluice/filter';
import { generation } from './helper.ts';

export default class Swapped extends HttpFilter<{ value: string }> {
  static readonly schema = schema.object({ value: schema.string() });
  override async onResponseHeaders(headers: Headers) {
    headers.set('x-generation', generation() + this.config.value);
    if (this.stream.requestHeaders?.get(':path') === '/wait') await this.host.sleep(1500);
  }
  override onLog() {
    this.host.log.info('finished by ' + generation());
  }
}
`,
);

const SHOUTING = write(
  'shouting.ts',
  `import { HttpFilter, type Headers } from 'sluice/filter';
export default class extends HttpFilter {
  override onRequestHeaders(headers: Headers) { throw new Error('always'); }
}
`,
);

for (const backend of BACKENDS) {
  describe(`TypeScript filters on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let upstream: HttpUpstream;

    before(async () => {
      upstream = await httpUpstream((request, response) => {
        let body = '';
        request.setEncoding('latin1').on('data', (chunk: string) => {
          body += chunk;
        });
        request.on('end', () => {
          if (request.url === '/response-pieces') {
            response.write('one ');
            setTimeout(() => response.end('two'), 5);
            return;
          }
          response.end(JSON.stringify({ method: request.method, headers: request.headers, body }));
        });
      });
      const routed = {
        ...route('/routed', 'node'),
        typed_per_filter_config: {
          swapped: { '@type': `${TYPE}PerRoute`, config: { value: '-routed' } },
        },
      };
      const log = { access_log: [fileLog('main.log', WHY)] };
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener('phases', [
              http('phases', [route('/', 'node')], { ...chain(filter('phases', { module: PHASES })), ...log }),
            ]),
            listener('async', [http('async', [route('/', 'node')], chain(filter('async', { module: ASYNC, deadline: '0.4s' })))]),
            listener('swapped', [
              http(
                'swapped',
                [routed, route('/', 'node')],
                chain(filter('swapped', { module: SWAPPED, config: { value: '-default' } })),
              ),
            ]),
            listener('open', [
              http('open', [route('/', 'node')], chain(filter('open', { module: SHOUTING, failure_policy: 'FAIL_OPEN' }))),
            ]),
            listener('typed_struct', [
              http('typed_struct', [route('/', 'node')], {
                http_filters: [
                  {
                    name: 'x',
                    typed_config: {
                      '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
                      type_url: TYPE,
                      value: { module: SWAPPED, config: { value: '-struct' } },
                    },
                  },
                  ROUTER,
                ],
              }),
            ]),
          ],
          [cluster('node', [upstream.port])],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await upstream.close();
    });

    interface Echo {
      method: string;
      headers: Record<string, string>;
      body: string;
    }
    const call = (name: string, path: string, options: Parameters<typeof httpRequest>[2] = {}) =>
      httpRequest(proxy.port(name), path, options);
    const echo = (text: string): Echo => JSON.parse(text) as Echo;

    test('header phases read and change headers by name in any case', async () => {
      const answer = await call('phases', '/plain', { headers: { 'X-Secret': 's', 'x-list': 'a' } });
      const { headers } = echo(answer.body);
      assert.equal(headers['x-added'], 'yes');
      assert.equal(headers['x-secret'], undefined);
      assert.equal(headers['x-list'], 'a,b');
      assert.equal(answer.headers['x-phases'], 'requestHeaders:true');
      assert.match(String(answer.headers['x-info']), /^127\.0\.0\.1\|\|node$/);
    });

    test('a body goes through the data phase, changed or not', async () => {
      const changed = await call('phases', '/upper', { method: 'POST', body: 'quiet', headers: { 'content-length': '5' } });
      assert.equal(echo(changed.body).body, 'QUIET');
      assert.match(String(changed.headers['x-phases']), /^requestHeaders:false requestData:5:/);
      const chunked = await call('phases', '/plain', { method: 'POST', body: 'x'.repeat(100_000) });
      assert.equal(echo(chunked.body).body.length, 100_000);
    });

    test('a request without body gets one', async () => {
      const answer = await call('phases', '/add-body');
      assert.equal(echo(answer.body).body, 'from the filter');
    });

    test('a local reply goes out instead, with its headers, and is logged with its details', async () => {
      const answer = await call('phases', '/reply');
      assert.equal(answer.status, 418);
      assert.equal(answer.body, 'teapot');
      assert.equal(answer.headers['x-why'], 'asked');
      assert.equal((await call('phases', '/reply-late')).status, 503);
      await proxy.untilLine('main.log', '/reply 418 - teapot');
    });

    test('a stopped request goes on when told to', async () => {
      const answer = await call('phases', '/stop-and-go', { method: 'POST', body: 'held' });
      assert.equal(echo(answer.body).body, 'held');
    });

    test('an error answers 500, is logged with filter, file and line, and hurts nobody else', async () => {
      for (const path of ['/throw', '/throw-response']) {
        const [failed, fine] = await Promise.all([call('phases', path), call('phases', '/plain')]);
        assert.equal(failed.status, 500, path);
        assert.equal(fine.status, 200);
      }
      assert.equal((await call('phases', '/throw-data', { method: 'POST', body: 'x' })).status, 500);
      await assert.rejects(call('phases', '/throw-response-data'));
      assert.match(proxy.log, /\[error\]\[filter\] phases: onRequestHeaders: \S*\/phases\.ts:19:\d+: TypeError: .*undefined/);
      assert.match(proxy.log, /phases: onRequestData: \S*\/phases\.ts:29:\d+: RangeError: no data/);
      assert.ok((await proxy.stat('typescript.phases.errors')) >= 4);
      await proxy.untilLine('main.log', '/throw 500 - typescript_filter_failed{phases}');
    });

    test('counters of setup are in the stats, and onLog runs at the end', async () => {
      await call('phases', '/logged');
      assert.ok((await proxy.stat('typescript.phases.seen')) > 0);
      await until(() => proxy.log.includes('logged /logged 200 200'), 'the line of onLog');
    });

    test('async phases: headers, a whole body, and bodies piece by piece', async () => {
      assert.equal(echo((await call('async', '/plain')).body).headers['x-async'], 'yes');
      const whole = echo((await call('async', '/whole', { method: 'POST', body: 'abc' })).body);
      assert.equal(whole.body, '<abc>');
      assert.equal(whole.headers['content-length'] ?? '5', '5');
      assert.equal(echo((await call('async', '/whole')).body).body, '<>');
      assert.equal((await call('async', '/whole', { method: 'POST', body: 'x'.repeat(1001) })).status, 413);
      const long = 'x'.repeat(3 << 20);
      const up = await call('async', '/whole-up', { method: 'POST', body: long });
      assert.equal(echo(up.body).body.length, long.length + 1);
      const big = 'y'.repeat(300_000);
      const pieces = echo((await call('async', '/pieces', { method: 'POST', body: big })).body).body;
      assert.equal(pieces, `${big.toUpperCase()}.`);
      const chunked = await dial(proxy.port('async'));
      chunked.send('POST /pieces HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n');
      await proxy.untilStat('cluster.node.upstream_rq_active', (n) => n > 0);
      chunked.send('3\r\ndef\r\n');
      chunked.send('0\r\n\r\n');
      await chunked.untilText('"body":"ABCDEF."');
      chunked.destroy();
    });

    test('async response phases', async () => {
      const whole = await call('async', '/response');
      assert.match(whole.body, /^before \{/);
      assert.equal(Number(whole.headers['content-length'] ?? whole.body.length), whole.body.length);
      assert.equal((await call('async', '/response-pieces')).body, 'one two end');
      const head = await call('async', '/response', { method: 'HEAD' });
      assert.equal(head.status, 200);
    });

    test('a rejected promise is 500, one that is late 504, and stray ones only a line', async () => {
      assert.equal((await call('async', '/reject')).status, 500);
      assert.match(proxy.log, /async: onRequestHeaders: \S*\/async\.ts:14:\d+: Error: rejected/);
      const [never, fine] = await Promise.all([call('async', '/never'), call('async', '/plain')]);
      assert.equal(never.status, 504);
      assert.equal(fine.status, 200);
      assert.equal((await call('async', '/reply')).status, 401);
      assert.equal((await call('async', '/stray')).status, 200);
      await until(() => /nobody awaits this.*nobody handled it/.test(proxy.log), 'the unhandled rejection');
      await until(() => /async\.ts:18:\d+: Error: nobody catches this/.test(proxy.log), 'the uncaught exception');
      assert.equal((await call('async', '/plain')).status, 200);
    });

    test('a client that goes away in the middle of a promise leaves nothing', async () => {
      const client = await dial(proxy.port('async'));
      client.send('GET /never HTTP/1.1\r\nhost: a\r\n\r\n');
      await proxy.untilStat('http.async.downstream_rq_active', (n) => n === 1);
      client.destroy();
      await proxy.untilStat('http.async.downstream_rq_active', (n) => n === 0);
    });

    test('failing open, the stream goes on without the filter', async () => {
      assert.equal((await call('open', '/', { method: 'POST', body: 'through' })).status, 200);
      assert.ok((await proxy.stat('typescript.open.errors')) > 0);
    });

    test('per-route configuration goes over the own one; a TypedStruct does as well', async () => {
      assert.equal((await call('swapped', '/')).headers['x-generation'], 'one-default');
      assert.equal((await call('swapped', '/routed')).headers['x-generation'], 'one-routed');
      assert.equal((await call('typed_struct', '/')).headers['x-generation'], 'one-struct');
    });

    test('a change of an imported file is taken up by new streams; old ones finish on the old', async () => {
      const old = call('swapped', '/wait');
      await proxy.untilStat('http.swapped.downstream_rq_active', (n) => n === 1);
      write('helper.ts', `export const generation = () => 'two';\n`);
      await proxy.untilStat('typescript.module_reload', (n) => n === 1);
      await until(async () => (await call('swapped', '/routed')).headers['x-generation'] === 'two-routed', 'the new module');
      assert.equal((await old).headers['x-generation'], 'one-default');
      await until(() => proxy.log.includes('finished by one'), 'the end of the old stream');
    });

    test('a module that does not load leaves the one that runs, and is logged with file and line', async () => {
      write('helper.ts', `export const generation = () => 'three';\nconst = 3;\n`);
      await proxy.untilStat('typescript.module_reload_failure', (n) => n === 1);
      assert.equal((await call('swapped', '/')).headers['x-generation'], 'two-default');
      assert.match(proxy.log, /swapped\.ts has changed, and is not used: \S*\/helper\.ts:2:7: SyntaxError/);
      write('helper.ts', `export const generation = () => 'one';\n`);
      await proxy.untilStat('typescript.module_reload', (n) => n === 2);
      await until(async () => (await call('swapped', '/')).headers['x-generation'] === 'one-default', 'the mended module');
    });
  });
}

describe('mistakes in the configuration of a TypeScript filter', () => {
  const errorOf = async (config: Json, extra: Json = {}): Promise<string> => {
    const proxy = spawnProxy({
      config: bootstrap(
        [listener('main', [http('main', [{ ...route('/', 'c'), ...extra }], chain(filter('f', config)))])],
        [cluster('c', [1])],
      ),
      args: ['--mode', 'validate'],
    });
    assert.equal(await proxy.exited, 1, proxy.out);
    rmSync(proxy.directory, { recursive: true });
    return proxy.log;
  };

  test('no module, one that is not there, one that does not parse, one that is no filter', async () => {
    assert.match(await errorOf({}), /envoy\.yaml:\d+:\d+: .*typed_config\.module: is missing/);
    assert.match(
      await errorOf({ module: './nowhere.ts' }),
      /typed_config\.module: cannot load '\.\/nowhere\.ts': .*no such file/,
    );
    assert.match(await errorOf({ module: write('bad.ts', 'export default class {\n  x =;\n}') }), /bad\.ts:2:6: SyntaxError/);
    assert.match(await errorOf({ module: write('none.ts', 'export default 1;') }), /none\.ts: its default export is not a class/);
    assert.match(await errorOf({ module: '/etc/passwd' }), /is not one of \.ts, \.mts, \.js, \.mjs/);
  });

  test('configuration that the schema refuses, in the filter and in a route', async () => {
    assert.match(await errorOf({ module: SWAPPED }), /typed_config\.config\.value: is missing/);
    assert.match(
      await errorOf({ module: SWAPPED, config: { value: 1 } }),
      /typed_config\.config\.value: expected a string, got 1/,
    );
    assert.match(
      await errorOf({ module: SWAPPED, config: { valeu: 'x' } }),
      /config\.valeu: there is no such field; did you mean 'value'\?/,
    );
    const perRoute = { typed_per_filter_config: { f: { '@type': `${TYPE}PerRoute`, config: { value: 2 } } } };
    assert.match(
      await errorOf({ module: SWAPPED, config: { value: 'x' } }, perRoute),
      /routes\[0\]\.typed_per_filter_config\[f\]\.config\.value: expected a string, got 2/,
    );
  });
});
