/** Each example filter, in the real proxy with the configuration that stands beside it; only ports and paths are the test's. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { parse } from 'yaml';
import { upstreamHttp1 } from '../interop/support/config.ts';
import { type HttpUpstream, httpUpstream } from '../interop/support/upstreams.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';

const directory = fileURLToPath(new URL('../../examples/filters/', import.meta.url));

const TRAILERS = upstreamHttp1({ enable_trailers: true })['typed_extension_protocol_options'];

/** Starts the example; `ports` stand for the upstreams on 8080 and 8081. */
async function example(name: string, ports: [site: number, auth?: number], concurrency = 1): Promise<ProxyProcess> {
  const text = readFileSync(join(directory, `${name}.yaml`), 'utf8')
    .replaceAll('/tmp/', '$DIR/')
    .replaceAll('module: ./', `module: ${directory}`)
    .replaceAll('port_value: 10000', 'port_value: 0')
    .replaceAll('port_value: 8080', `port_value: ${ports[0]}`)
    .replaceAll('port_value: 8081', `port_value: ${ports[1] ?? 1}`)
    // Trailers of the upstream are passed on only when it is asked for.
    .replaceAll('connect_timeout: 1s', `connect_timeout: 1s\n    typed_extension_protocol_options: ${JSON.stringify(TRAILERS)}`);
  const proxy = await startProxy({ config: parse(text) as Json, concurrency });
  after(() => proxy.stop());
  return proxy;
}

async function upstream(...given: Parameters<typeof httpUpstream>): Promise<HttpUpstream> {
  const server = await httpUpstream(...given);
  after(() => server.close());
  return server;
}

/** The response's bytes as they came. */
function fetchRaw(
  port: number,
  path: string,
  headers: Record<string, string>,
): Promise<{ headers: Json; body: Buffer; pieces: number }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks), pieces: chunks.length }));
    }).on('error', reject);
  });
}

describe('example filters', () => {
  test('header_edit', async () => {
    const site = await upstream();
    const proxy = await example('header_edit', [site.port]);
    const answer = await httpRequest(proxy.port('web'), '/', { headers: { 'x-internal': '1', 'x-other': '2' } });
    const { headers } = JSON.parse(answer.body) as { headers: Record<string, string> };
    assert.equal(headers['x-proxied-by'], 'sluice');
    assert.equal(headers['x-internal'], undefined);
    assert.equal(headers['x-other'], '2');
    assert.equal(answer.headers['x-frame-options'], 'DENY');
    const embedded = await httpRequest(proxy.port('web'), '/embed/map');
    assert.equal(embedded.headers['x-frame-options'], 'SAMEORIGIN');
  });

  test('compress', async () => {
    const text = 'all work and no play makes a dull proxy\n'.repeat(20_000);
    let finish = (): void => {};
    const site = await upstream((request, response) => {
      const type = request.url === '/picture' ? 'image/png' : 'text/plain';
      response.writeHead(200, {
        'content-type': type,
        ...(request.url === '/trailers' ? { trailer: 'x-t' } : {}),
        ...(request.url === '/text' ? { etag: '"one"' } : {}),
      });
      if (request.url === '/trailers') {
        response.addTrailers({ 'x-t': '1' });
        response.write(text.slice(0, 100));
        response.end(text.slice(100));
        return;
      }
      if (request.url === '/slow') {
        response.write('first');
        finish = () => response.end(' second');
        return;
      }
      response.end(request.url === '/short' ? '' : text);
    });
    const proxy = await example('compress', [site.port]);
    const port = proxy.port('web');
    const gzip = await fetchRaw(port, '/text', { 'accept-encoding': 'gzip, deflate' });
    assert.equal(gzip.headers['content-encoding'], 'gzip');
    assert.equal(gzip.headers['content-length'], undefined);
    assert.equal(gzip.headers['etag'], 'W/"one"');
    assert.equal(gzip.headers['vary'], 'Accept-Encoding');
    assert.equal(gunzipSync(gzip.body).toString(), text);
    const brotli = await fetchRaw(port, '/text', { 'accept-encoding': 'gzip, br' });
    assert.equal(brotli.headers['content-encoding'], 'br');
    assert.ok(brotli.body.length < text.length / 10);
    assert.equal(brotliDecompressSync(brotli.body).toString(), text);
    for (const [path, accept] of [
      ['/text', ''],
      ['/text', 'br;q=0, gzip;q=0'],
      ['/picture', 'gzip'],
    ]) {
      const plain = await fetchRaw(port, path, accept === '' ? {} : { 'accept-encoding': accept });
      assert.equal(plain.headers['content-encoding'], undefined, `${path} ${accept}`);
      assert.equal(plain.body.toString(), text);
    }
    const trailers = await fetchRaw(port, '/trailers', { 'accept-encoding': 'gzip' });
    assert.equal(gunzipSync(trailers.body).toString(), text);
    // What the upstream has sent reaches the client before the rest is there.
    const slow = await new Promise<Buffer>((resolve, reject) => {
      get({ host: '127.0.0.1', port, path: '/slow', headers: { 'accept-encoding': 'gzip' }, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          if (chunks.length === 1) finish();
        });
        response.on('end', () => resolve(Buffer.concat(chunks)));
      }).on('error', reject);
    });
    assert.equal(gunzipSync(slow).toString(), 'first second');
    assert.equal(await proxy.stat('typescript.compress.compressed_gzip'), 3);
    assert.equal(await proxy.stat('typescript.compress.errors'), 0);
  });

  test('authorize', async () => {
    const site = await upstream();
    const auth = await upstream((request, response) => {
      if (request.headers.authorization !== 'Bearer ann') response.writeHead(401).end('who are you\n');
      else response.writeHead(200, { 'x-user': `ann ${request.headers['x-original-path']}` }).end();
    });
    const proxy = await example('authorize', [site.port, auth.port]);
    const port = proxy.port('web');
    const denied = await httpRequest(port, '/', { headers: { 'x-user': 'root' } });
    assert.deepEqual([denied.status, denied.body], [401, 'who are you\n']);
    const allowed = await httpRequest(port, '/a', {
      headers: { authorization: 'Bearer ann', 'x-user': 'root' },
      body: 'x',
      method: 'POST',
    });
    const seen = JSON.parse(allowed.body) as { headers: Record<string, string>; length: number };
    assert.equal(seen.headers['x-user'], 'ann /a');
    assert.equal(seen.length, 1);
    const many = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        httpRequest(port, `/${i}`, { headers: { authorization: i % 2 ? 'Bearer ann' : 'no' } }),
      ),
    );
    assert.deepEqual(
      many.map((answer) => answer.status),
      many.map((_, i) => (i % 2 ? 200 : 401)),
    );
    await auth.close();
    assert.equal((await httpRequest(port, '/', { headers: { authorization: 'Bearer ann' } })).status, 503);
    assert.equal(await proxy.stat('typescript.authorize.denied'), 21);
    assert.equal(await proxy.stat('typescript.authorize.unavailable'), 1);
  });

  test('replace_text, also across the pieces a body comes in', async () => {
    const site = await upstream((request, response) => {
      response.writeHead(200, { 'content-type': request.url === '/other' ? 'text/plain' : 'text/html', trailer: 'x-t' });
      const text = 'a http://internal.example/x http://internal.exam b http://inter';
      if (request.url === '/trailers') response.addTrailers({ 'x-t': '1' });
      let i = 0;
      const next = (): void => {
        if (i === text.length) response.end();
        else response.write(text.slice(i, (i += 7)), () => setImmediate(next));
      };
      next();
    });
    const proxy = await example('replace_text', [site.port]);
    const expected = 'a https://www.example.com/x http://internal.exam b http://inter';
    assert.equal((await httpRequest(proxy.port('web'), '/')).body, expected);
    assert.equal((await httpRequest(proxy.port('web'), '/trailers')).body, expected);
    assert.match((await httpRequest(proxy.port('web'), '/other')).body, /internal\.example\/x/);
  });

  test('rate_limit counts over all workers', async () => {
    const site = await upstream();
    const proxy = await example('rate_limit', [site.port], 2);
    const answers = await Promise.all(Array.from({ length: 20 }, () => httpRequest(proxy.port('web'), '/')));
    const limited = answers.filter(({ status }) => status === 429);
    const passed = answers.filter(({ status }) => status === 200);
    assert.equal(passed.length + limited.length, 20);
    // Five at once, and what comes back while the twenty are under way.
    assert.ok(passed.length >= 5 && passed.length <= 10, `${passed.length} passed`);
    assert.equal(limited[0].headers['retry-after'], '1');
    assert.equal(await proxy.stat('typescript.rate_limit.limited'), limited.length);
  });

  test('slow_requests', async () => {
    const site = await upstream((request, response) => {
      if (request.url === '/slow') setTimeout(() => response.end('late'), 150);
      else response.writeHead(request.url === '/bad' ? 500 : 200).end();
    });
    const proxy = await example('slow_requests', [site.port]);
    for (const path of ['/fast', '/bad', '/slow']) await httpRequest(proxy.port('web'), path);
    const lines = (await proxy.lines('slow-requests.log', 2)).map((line) => JSON.parse(line) as Json);
    assert.deepEqual(
      lines.map(({ path, status }) => [path, status]),
      [
        ['/bad', 500],
        ['/slow', 200],
      ],
    );
    assert.ok((lines[1].ms as number) >= 140 && lines[1].client === '127.0.0.1');
    const prometheus = (await proxy.admin('/stats/prometheus')).body;
    await until(
      async () => /typescript_slow_requests_duration_count(\{[^}]*\})? 3/.test((await proxy.admin('/stats/prometheus')).body),
      () => prometheus,
    );
  });

  test('block_list: a service on the main thread and filters on two workers', async () => {
    const site = await upstream();
    const text = readFileSync(join(directory, 'block_list.yaml'), 'utf8');
    assert.match(text, /interval: 2s/);
    const list = join('/tmp', `sluice-block-list-${process.pid}`);
    writeFileSync(list, '# nobody\n');
    const config = parse(
      text
        .replaceAll('module: ./', `module: ${directory}`)
        .replace('/tmp/block-list.txt, interval: 2s', `${list}, interval: 20ms`)
        .replace('port_value: 10000', 'port_value: 0')
        .replace('port_value: 8080', `port_value: ${site.port}`),
    ) as Json;
    const proxy = await startProxy({ config, concurrency: 2 });
    after(() => proxy.stop());
    const port = proxy.port('web');
    assert.equal((await httpRequest(port, '/')).status, 200);
    writeFileSync(list, '127.0.0.1 # somebody\n');
    await until(async () => {
      const answers = await Promise.all(Array.from({ length: 8 }, () => httpRequest(port, '/')));
      return answers.every(({ status }) => status === 403);
    }, 'every worker to refuse');
    assert.equal(await proxy.stat('typescript.block_list_service.addresses'), 1);
    writeFileSync(list, '');
    await until(async () => (await httpRequest(port, '/')).status === 200, 'the list to be empty');
  });

  test('tcp_allow', async () => {
    const site = await upstream();
    let allow = true;
    const asked: string[] = [];
    const auth = await upstream((request, response) => {
      asked.push(request.url ?? '');
      setTimeout(() => response.writeHead(allow ? 200 : 403).end(), 5);
    });
    const proxy = await example('tcp_allow', [site.port, auth.port]);
    // The request is sent before the connection is allowed: it waits.
    const answer = await httpRequest(proxy.port('tcp'), '/through', { method: 'POST', body: 'x'.repeat(100_000) });
    assert.equal((JSON.parse(answer.body) as { length: number }).length, 100_000);
    assert.deepEqual(asked, ['/allow?client=127.0.0.1']);
    assert.ok((await proxy.stat('typescript.tcp_allow.bytes_received')) > 100_000);
    allow = false;
    await new Promise<void>((resolve, reject) => {
      const socket = connect(proxy.port('tcp'), '127.0.0.1');
      socket.on('data', () => reject(new Error('a refused connection got data')));
      socket.on('close', () => resolve());
      socket.on('error', () => resolve());
      socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    });
    assert.equal(await proxy.stat('typescript.tcp_allow.refused'), 1);
    assert.equal(await proxy.stat('typescript.tcp_allow.errors'), 0);
  });
});
