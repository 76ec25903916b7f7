/** envoy.filters.http.compressor in the real proxy: what is compressed, with what, and what not. */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { type Json, type ProxyProcess, spawnProxy, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, upstreamHttp1 } from './support/config.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const TYPE = 'type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor';
const LIBRARY = 'type.googleapis.com/envoy.extensions.compression';
const ROUTER = {
  name: 'router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
};
const TEXT = 'the quick brown proxy jumps over the lazy upstream\n'.repeat(10_000);

function gzip(extra: Json = {}, library: Json = {}): Json {
  return {
    name: 'gzip',
    typed_config: {
      '@type': TYPE,
      compressor_library: { name: 'text', typed_config: { '@type': `${LIBRARY}.gzip.compressor.v3.Gzip`, ...library } },
      response_direction_config: {},
      ...extra,
    },
  };
}

function zstd(): Json {
  const library = {
    '@type': `${LIBRARY}.zstd.compressor.v3.Zstd`,
    compression_level: 7,
    enable_checksum: true,
    strategy: 'LAZY',
  };
  return {
    name: 'zstd',
    typed_config: { '@type': TYPE, compressor_library: { name: 'text', typed_config: library }, response_direction_config: {} },
  };
}

function brotli(extra: Json = {}): Json {
  return {
    name: 'brotli',
    typed_config: {
      '@type': TYPE,
      compressor_library: { name: 'text', typed_config: { '@type': `${LIBRARY}.brotli.compressor.v3.Brotli`, quality: 5 } },
      response_direction_config: {},
      ...extra,
    },
  };
}

interface Answer {
  headers: Record<string, string | undefined>;
  body: Buffer;
  trailers: Record<string, string | undefined>;
}

for (const backend of BACKENDS) {
  describe(`compressor on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let upstream: HttpUpstream;
    let seen: string | undefined;

    before(async () => {
      upstream = await httpUpstream((request, response) => {
        seen = request.headers['accept-encoding'] as string | undefined;
        const url = new URL(request.url ?? '/', 'http://x');
        const headers: Record<string, string> = { 'content-type': 'text/plain' };
        for (const [name, value] of url.searchParams) headers[name] = value;
        response.writeHead(
          Number(headers[':status'] ?? 200),
          Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(':'))),
        );
        if (url.pathname === '/trailers') response.addTrailers({ 'x-t': 'end' });
        if (url.pathname === '/short') response.end('short');
        else if (url.pathname === '/pieces') {
          let i = 0;
          const next = (): void => {
            if (i >= TEXT.length) response.end();
            else response.write(TEXT.slice(i, (i += 50_000)), () => setImmediate(next));
          };
          next();
        } else response.end(TEXT);
      });
      const manager = (name: string, filters: Json[], routes = [route('/', 'node')]): Json =>
        listener(name, [
          http(name, routes, { http_filters: [...filters, ROUTER], http_protocol_options: { enable_trailers: true } }),
        ]);
      const common = (fields: Json): Json => ({ response_direction_config: fields });
      const perRoute = (name: string, config: Json): Json => ({
        ...route(`/${name}`, 'node'),
        typed_per_filter_config: { gzip: { '@type': `${TYPE}PerRoute`, ...config } },
      });
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            manager(
              'one',
              [gzip()],
              [
                perRoute('off', { disabled: true }),
                perRoute('strip', { overrides: { response_direction_config: { remove_accept_encoding_header: true } } }),
                route('/', 'node'),
              ],
            ),
            manager('two', [gzip(), brotli()]),
            manager('zstd', [zstd()]),
            manager('first', [brotli({ choose_first: true }), gzip()]),
            manager('strict', [
              gzip(
                common({
                  common_config: { min_content_length: 1000, content_type: ['text/special'] },
                  disable_on_etag_header: true,
                  remove_accept_encoding_header: true,
                }),
                {
                  memory_level: 9,
                  compression_level: 'BEST_COMPRESSION',
                  window_bits: 15,
                  compression_strategy: 'RLE',
                  chunk_size: 65536,
                },
              ),
            ]),
            manager('disabled', [gzip(common({ common_config: { enabled: { default_value: false, runtime_key: 'gzip.on' } } }))]),
          ],
          [cluster('node', [upstream.port], upstreamHttp1({ enable_trailers: true }))],
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await upstream.close();
    });

    const fetch = (name: string, path: string, accept?: string, method = 'GET'): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const headers = accept === undefined ? {} : { 'accept-encoding': accept };
        get({ host: '127.0.0.1', port: proxy.port(name), path, headers, method, agent: false }, (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({ headers: response.headers as Answer['headers'], body: Buffer.concat(chunks), trailers: response.trailers }),
          );
        }).on('error', reject);
      });

    test('gzip, whole and in pieces, with its headers', async () => {
      for (const path of ['/', '/pieces?etag=W/"weak"', '/?vary=Origin&etag="strong"']) {
        const { headers, body } = await fetch('one', path, 'deflate, gzip');
        assert.equal(headers['content-encoding'], 'gzip', path);
        assert.equal(headers['content-length'], undefined);
        assert.equal(headers['vary'], path.includes('vary') ? 'Origin, Accept-Encoding' : 'Accept-Encoding');
        assert.equal(headers['etag'], path.includes('weak') ? 'W/"weak"' : undefined);
        assert.equal(gunzipSync(body).toString(), TEXT);
      }
      assert.ok((await proxy.stat('http.one.compressor.text.gzip.response.total_uncompressed_bytes')) === 3 * TEXT.length);
      assert.ok((await proxy.stat('http.one.compressor.text.gzip.response.total_compressed_bytes')) < TEXT.length);
    });

    test('what is left as it is', async () => {
      const plain = async (path: string, accept: string | undefined, vary: boolean): Promise<void> => {
        const { headers, body } = await fetch('one', path, accept);
        assert.equal(headers['content-encoding'], path.includes('content-encoding') ? 'x' : undefined, `${path} ${accept}`);
        assert.equal(headers['vary'], vary ? 'Accept-Encoding' : undefined, `${path} ${accept}`);
        assert.equal(body.toString(), path.startsWith('/short') ? 'short' : TEXT);
      };
      await plain('/', undefined, true);
      await plain('/', 'br', true);
      await plain('/', 'gzip;q=0', true);
      await plain('/', 'identity, gzip;q=0.5', true);
      await plain('/?content-type=image/png', 'gzip', false);
      await plain('/?content-encoding=x', 'gzip', false);
      await plain('/?cache-control=no-transform', 'gzip', false);
      await plain('/?:status=206', 'gzip', false);
      await plain('/short?content-length=5', 'gzip', false);
      await plain('/off', 'gzip', false);
      const head = await fetch('one', '/', 'gzip', 'HEAD');
      assert.equal(head.headers['content-encoding'], undefined);
      assert.equal(await proxy.stat('http.one.compressor.text.gzip.response.no_accept_header'), 1);
      assert.equal(await proxy.stat('http.one.compressor.text.gzip.response.content_length_too_small'), 1);
      const off = await fetch('disabled', '/', 'gzip');
      assert.equal(off.headers['content-encoding'], undefined);
    });

    test('a body with trailers', async () => {
      const { body, trailers } = await fetch('one', '/trailers?trailer=x-t', 'gzip');
      assert.equal(gunzipSync(body).toString(), TEXT);
      assert.equal(trailers['x-t'], 'end');
    });

    test('zstd', async () => {
      const { headers, body } = await fetch('zstd', '/pieces', 'gzip, zstd');
      assert.equal(headers['content-encoding'], 'zstd');
      assert.equal(zstdDecompressSync(body).toString(), TEXT);
      assert.equal(await proxy.stat('http.zstd.compressor.text.zstd.response.compressed'), 1);
    });

    test('two compressors choose by quality, then by the header, or by their order', async () => {
      const encoding = async (name: string, accept: string): Promise<string | undefined> =>
        (await fetch(name, '/', accept)).headers['content-encoding'];
      assert.equal(await encoding('two', 'gzip, br'), 'gzip');
      assert.equal(await encoding('two', 'br, gzip'), 'br');
      assert.equal(await encoding('two', 'gzip;q=0.5, br;q=0.8'), 'br');
      assert.equal(await encoding('two', '*'), 'gzip');
      assert.equal(await encoding('first', 'gzip, br'), 'br');
      assert.equal(await encoding('first', 'gzip, br;q=0.5'), 'gzip');
      assert.equal(brotliDecompressSync((await fetch('two', '/pieces', 'br')).body).toString(), TEXT);
      assert.ok((await proxy.stat('http.two.compressor.text.brotli.response.header_compressor_overshadowed')) > 0);
      assert.equal(await proxy.stat('http.two.compressor.text.gzip.response.header_wildcard'), 1);
    });

    test('its limits, types, etag and accept-encoding settings', async () => {
      const answer = await fetch('strict', '/?content-type=Text/Special;charset=utf-8', 'gzip');
      assert.equal(answer.headers['content-encoding'], 'gzip');
      assert.equal(gunzipSync(answer.body).toString(), TEXT);
      assert.equal(seen, undefined);
      assert.equal((await fetch('strict', '/', 'gzip')).headers['content-encoding'], undefined);
      assert.equal(
        (await fetch('strict', '/?content-type=text/special&etag="e"', 'gzip')).headers['content-encoding'],
        undefined,
      );
      assert.equal(await proxy.stat('http.strict.compressor.text.gzip.response.not_compressed_etag'), 1);
      await fetch('one', '/strip', 'gzip');
      assert.equal(seen, undefined);
      await fetch('one', '/', 'gzip');
      assert.equal(seen, 'gzip');
    });

    test('many at once, and clients that go away in the middle', async () => {
      const all = await Promise.all(Array.from({ length: 30 }, (_, i) => fetch('two', '/pieces', i % 2 ? 'gzip' : 'br')));
      for (const [i, { body }] of all.entries()) {
        assert.equal((i % 2 ? gunzipSync(body) : brotliDecompressSync(body)).toString(), TEXT);
      }
      for (let i = 0; i < 10; i++) {
        await new Promise<void>((resolve) => {
          const call = get({
            host: '127.0.0.1',
            port: proxy.port('one'),
            path: '/pieces',
            headers: { 'accept-encoding': 'gzip' },
            agent: false,
          });
          call.on('response', (response) => {
            response.on('error', () => {});
            call.destroy();
            resolve();
          });
          call.on('error', () => resolve());
        });
      }
      await proxy.untilStat('http.one.downstream_rq_active', (n) => n === 0);
      assert.equal(gunzipSync((await fetch('one', '/', 'gzip')).body).toString(), TEXT);
    });
  });
}

test('what is not supported is refused', async () => {
  const errorOf = async (extra: Json): Promise<string> => {
    const filters = { http_filters: [gzip(extra), ROUTER] };
    const proxy = spawnProxy({
      config: bootstrap([listener('l', [http('l', [route('/', 'c')], filters)])], [cluster('c', [1])]),
      args: ['--mode', 'validate'],
    });
    assert.equal(await proxy.exited, 1, proxy.out);
    return proxy.log;
  };
  assert.match(
    await errorOf({ request_direction_config: {} }),
    /Compressor\.request_direction_config is not supported by Sluice yet/,
  );
  assert.match(await errorOf({ compressor_library: { name: 'x' } }), /compressor_library/);
});
