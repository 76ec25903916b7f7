/** The course of streams through a module in the real proxy: bodies, trailers, replies, pauses, call-outs, log. */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, fileLog, http, listener, route, upstreamHttp1, WHY } from '../../../interop/support/config.ts';
import { dial } from '../../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../../interop/support/upstreams.ts';
import { httpRequest, type ProxyProcess, startProxy, until } from '../../../support/proxy_process.ts';
import { buildC, needsClang } from '../../../wasm/support/c_module.ts';
import { plugin, ROUTER, text, wasmFilter } from './wasm_support.ts';

const skip = needsClang();

describe('streams through a module', { skip }, () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let auth: Server;
  const asked: string[] = [];

  before(async () => {
    upstream = await httpUpstream();
    auth = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        asked.push(`${request.method} ${request.url} ${request.headers.host} ${request.headers['x-call']} ${body}`);
        response.writeHead(200, { trailer: 't' });
        response.write('fine');
        response.addTrailers({ t: 'end' });
        response.end();
      });
    });
    await new Promise<void>((resolve) => auth.listen(0, '127.0.0.1', resolve));
    const module = plugin(buildC('abi'), { root_id: 'r', configuration: text('conf') });
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('main', [
            http('main', [route('/', 'node')], {
              http_filters: [wasmFilter(module), ROUTER],
              access_log: [fileLog('main.log', WHY)],
              http_protocol_options: { enable_trailers: true },
            }),
          ]),
        ],
        [
          cluster('node', [upstream.port], upstreamHttp1({ enable_trailers: true })),
          cluster('known', [(auth.address() as AddressInfo).port], upstreamHttp1({ enable_trailers: true })),
        ],
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
    auth.close();
  });

  const send = (what: string, options: { method?: string; body?: string; path?: string } = {}) =>
    httpRequest(proxy.port('main'), options.path ?? '/p', { ...options, headers: { 'x-do': what } });

  test('a body kept whole, changed, with a trailer added', async () => {
    const client = await dial(proxy.port('main'));
    client.send('POST /p HTTP/1.1\r\nhost: a\r\nx-do: body\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n');
    client.send('3\r\ndef\r\n0\r\n\r\n');
    const { body } = await client.message();
    const echoed = JSON.parse(body.toString()) as { length: number; trailers: Record<string, string>; sha256: string };
    assert.equal(echoed.length, 7);
    assert.equal(echoed.trailers['x-sum'], '42');
    const { createHash } = await import('node:crypto');
    assert.equal(echoed.sha256, createHash('sha256').update('[bcdef>').digest('hex'));
    client.destroy();
  });

  test('a local reply: status, headers, body, details in the log', async () => {
    const answer = await send('reply', { path: '/tea' });
    assert.equal(answer.status, 418);
    assert.equal(answer.body, 'I am a teapot');
    assert.equal(answer.headers['content-type'], 'text/x-own');
    assert.equal(answer.headers['x-own'], '1');
    assert.equal(answer.headers['x-response'], 'seen');
    const lines = await proxy.lines('main.log', 1);
    await until(
      async () => (await proxy.lines('main.log', 1)).includes('/tea 418 - my_details_'),
      () => lines.join('\n'),
    );
  });

  test('a local reply in place of a response', async () => {
    const answer = await send('response reply');
    assert.equal(answer.status, 502);
    assert.equal(answer.body, 'replaced ä');
    assert.equal(answer.headers['x-late'], '1');
  });

  test('a response body replaced', async () => {
    const answer = await send('response body');
    // The echoing upstream says its length, which the module left as it was: this client reads on as far as it says.
    assert.equal(answer.status, 200);
    assert.match(answer.body, /^new body/);
  });

  test('an HTTP call while the request waits', async () => {
    const answer = await send('http_call');
    assert.equal(answer.status, 200);
    assert.equal((JSON.parse(answer.body) as { headers: Record<string, string> }).headers['x-auth'], 'ok');
    assert.deepEqual(asked, ['POST /auth auth 1 question']);
    assert.match(proxy.log, /answer body=0:fine/);
    assert.match(proxy.log, /answer trailer=0:end/);
  });

  test('ten thousand bytes through a module that keeps nothing', async () => {
    const answer = await send('nobuffer', { method: 'POST', body: 'x'.repeat(10_000) });
    assert.equal(answer.status, 200);
  });

  test('metrics of the module', async () => {
    await send('metrics');
    assert.ok((await proxy.stat('wasmcustom.requests')) >= 8);
    const { body } = await proxy.admin('/stats/prometheus');
    assert.match(body, /^requests\{\} \d+$|wasmcustom_requests/m);
  });

  test('properties of the stream', async () => {
    await send('properties');
    assert.match(proxy.log, /request\.path=0:\/p/);
    assert.match(proxy.log, /whole root=3/);
    assert.match(proxy.log, /own=0:kept/);
    assert.match(proxy.log, /plugin_name=0:test/);
  });

  test('a body that is longer than its headers say never reaches the upstream', async () => {
    const answer = await send('wrong length', { method: 'POST', body: 'abc', path: '/long' });
    assert.equal(answer.status, 500);
    await until(async () => (await proxy.lines('main.log', 1)).includes('/long 500 EXF wasm_body_length_mismatch'), 'the log');
    assert.equal((await send('')).status, 200);
  });

  test('a change that ends the stream in the middle of the call that makes it: the module is not re-entered', async () => {
    const answer = await send('late edit', { method: 'POST', body: 'abc' });
    assert.equal(answer.status, 413);
    await until(() => proxy.log.includes('late edit=0'), 'the module to go on');
    assert.equal((await send('')).status, 200);
    assert.doesNotMatch(proxy.log, /Wasm VM failed|unexpected error/);
  });

  test('a request that the client gives up while it waits', async () => {
    const client = await dial(proxy.port('main'));
    client.send('GET /gone HTTP/1.1\r\nhost: a\r\nx-do: pause\r\n\r\n');
    await proxy.untilStat('http.main.downstream_rq_active', (value) => value === 1);
    client.destroy();
    await proxy.untilStat('http.main.downstream_rq_active', (value) => value === 0);
    assert.equal((await send('')).status, 200);
  });
});
