/** h2spec (every case, strict ones too) against the running proxy, on h2c and over TLS, with an upstream that reads requests to their end. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { CertificateFactory } from '../support/certificates.ts';
import { type ProxyProcess, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from './support/config.ts';
import { downstreamTls, files } from './support/tls.ts';
import { type HttpUpstream, httpUpstream, needs } from './support/upstreams.ts';

/** AUTO takes a connection without the preface for HTTP/1.1, and answers 400 in that. */
const ONLY_OF_HTTP2 = 'Sends invalid connection preface';

describe('h2spec', { skip: needs('h2spec') && 'needs h2spec: go install github.com/summerwind/h2spec/cmd/h2spec@latest' }, () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;

  before(async () => {
    const certificates = new CertificateFactory();
    const tls = downstreamTls([files(certificates.make('localhost', { san: 'DNS:localhost' }))], {
      alpn_protocols: ['h2', 'http/1.1'],
    });
    upstream = await httpUpstream((request, response) => {
      request.resume();
      request.on('end', () => response.end('what h2spec cuts into pieces'));
    });
    const routes = [route('/', 'node')];
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('auto', [http('auto', routes)]),
          listener('h2', [http('h2', routes, { codec_type: 'HTTP2' })]),
          listener('streams', [
            http('streams', routes, {
              codec_type: 'HTTP2',
              http2_protocol_options: { override_stream_error_on_invalid_http_message: true },
            }),
          ]),
          listener('tls', [], { filter_chains: [{ filters: [http('tls', routes)], transport_socket: tls }] }),
        ],
        [cluster('node', [upstream.port])],
      ),
    });
  });

  after(async () => {
    await upstream.close();
    await proxy.stop();
  });

  for (const [name, args, allowed] of [
    ['auto', [], [ONLY_OF_HTTP2]],
    ['h2', [], []],
    ['streams', [], []],
    ['tls', ['-t', '-k'], []],
  ] as [string, string[], string[]][]) {
    test(`listener ${name}`, async () => {
      const text = await new Promise<string>((resolve) => {
        execFile('h2spec', ['--strict', '-o', '5', '-p', String(proxy.port(name)), ...args], (_, stdout) => resolve(stdout));
      });
      const failed = text
        .slice(text.indexOf('Failures:'))
        .split('\n')
        .filter((line) => /× \d+: /.test(line))
        .map((line) => line.replace(/.*× \d+: /, ''));
      const [, total, passed] = /(\d+) tests, (\d+) passed/.exec(text) ?? [];
      assert.ok(Number(total) > 140, text.slice(-500));
      assert.deepEqual(Number(passed) === Number(total) ? [] : failed, allowed);
    });
  }

  test('nothing is left over', async () => {
    for (const name of ['auto', 'h2', 'streams', 'tls']) {
      await proxy.untilStat(`http.${name}.downstream_cx_active`, (n) => n === 0);
      await proxy.untilStat(`http.${name}.downstream_rq_active`, (n) => n === 0);
    }
    await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
  });
});
