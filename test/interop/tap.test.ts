/** The tap transport socket: what connections said, in files, around plain text and TLS, on both sides; off unless it is configured. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fromJson } from '@bufbuild/protobuf';
import { api } from '../../src/proxy/config/api/registry.ts';
import { CertificateFactory } from '../support/certificates.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, networkFilter, route, upstreamHttp1 } from './support/config.ts';
import { dial } from './support/raw.ts';
import { downstreamTls, files, tlsGet } from './support/tls.ts';
import { httpUpstream } from './support/upstreams.ts';

const TYPES = 'type.googleapis.com/envoy.extensions.transport_sockets';
const RAW: Json = {
  name: 'envoy.transport_sockets.raw_buffer',
  typed_config: { '@type': `${TYPES}.raw_buffer.v3.RawBuffer` },
};

function tap(inner: Json, name: string, output: Json = {}, sink: Json = {}): Json {
  return {
    name: 'tap',
    typed_config: {
      '@type': `${TYPES}.tap.v3.Tap`,
      common_config: {
        static_config: {
          match: { any_match: true },
          output_config: { sinks: [{ file_per_tap: { path_prefix: `$DIR/${name}` }, ...sink }], ...output },
        },
      },
      transport_socket: inner,
    },
  };
}

interface Trace {
  trace_id: string;
  connection: Record<string, { socket_address: { address: string; port_value: number } }>;
  events: Record<string, { data?: { as_bytes?: string; as_string?: string; truncated?: boolean }; end_stream?: boolean }>[];
  read_truncated?: boolean;
  write_truncated?: boolean;
}

describe('tap', () => {
  let proxy: ProxyProcess;

  before(async () => {
    const certificate = new CertificateFactory().make('localhost', { san: 'DNS:localhost' });
    const upstream = await httpUpstream((_, response) => response.end('from upstream'));
    const chain = (name: string, socket: Json, filters: Json[]): Json =>
      listener(name, [], { filter_chains: [{ filters, transport_socket: socket }] });
    const direct = [{ match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'direct' } } }];
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          chain('echo', tap(RAW, 'echo'), [networkFilter('echo', {})]),
          chain('tls', tap(downstreamTls([files(certificate)]), 'tls', {}, { format: 'JSON_BODY_AS_STRING' }), [
            http('tls', direct),
          ]),
          chain('cut', tap(RAW, 'cut', { max_buffered_rx_bytes: 10, max_buffered_tx_bytes: 4 }), [networkFilter('echo', {})]),
          listener('plain', [http('plain', [route('/', 'up')])]),
        ],
        [
          cluster('up', [upstream.port], {
            transport_socket: tap(RAW, 'up', {}, { format: 'JSON_BODY_AS_STRING' }),
            ...upstreamHttp1({}, { max_requests_per_connection: 1 }),
          }),
        ],
      ),
    });
  });
  after(() => proxy.stop());

  /** The one trace of this name, when it is there. */
  async function traceOf(name: string): Promise<Trace> {
    const prefix = proxy.file(name);
    const found = (): string[] => readdirSync(dirname(prefix)).filter((file) => file.startsWith(`${basename(prefix)}_`));
    let trace: Trace | null = null;
    await until(() => {
      for (const file of found()) {
        const path = join(dirname(prefix), file);
        const text = readFileSync(path, 'utf8');
        if (!text.endsWith('}\n')) continue;
        assert.equal(statSync(path).mode & 0o777, 0o600);
        const json = JSON.parse(text) as { socket_buffered_trace: Trace };
        // It is what the API says a trace is.
        fromJson(api().message('envoy.data.tap.v3.TraceWrapper'), json as never);
        trace = json.socket_buffered_trace;
        assert.equal(file, `${basename(prefix)}_${trace.trace_id}.json`);
      }
      return trace !== null;
    }, `a trace of ${name}`);
    assert.equal(found().length, 1);
    return trace as unknown as Trace;
  }

  test('plain text on a listener: reads, writes and the end, as bytes', async () => {
    const wire = await dial(proxy.port('echo'));
    const from = wire.socket.localPort;
    wire.send('hello');
    await wire.untilText('hello');
    wire.end();
    await wire.untilClosed();
    const trace = await traceOf('echo');
    assert.equal(trace.connection['remote_address'].socket_address.port_value, from);
    assert.equal(trace.connection['local_address'].socket_address.port_value, proxy.port('echo'));
    const hello = Buffer.from('hello').toString('base64');
    assert.equal(trace.events[0]['read'].data?.as_bytes, hello);
    assert.equal(trace.events[1]['write'].data?.as_bytes, hello);
    assert.ok('closed' in trace.events[trace.events.length - 1]);
    assert.equal(trace.read_truncated ?? false, false);
  });

  test('around TLS it is plain text', async () => {
    assert.match((await tlsGet(proxy.port('tls'))).text, /direct$/);
    const trace = await traceOf('tls');
    assert.match(trace.events[0]['read'].data?.as_string ?? '', /^GET \/ HTTP\/1\.1\r\nhost: a\.example/);
    const written = trace.events.map((event) => event['write']?.data?.as_string ?? '').join('');
    assert.match(written, /^HTTP\/1\.1 200 OK\r\n[\s\S]*direct$/);
  });

  test('what is beyond the limits is marked, not kept', async () => {
    const wire = await dial(proxy.port('cut'));
    const long = 'x'.repeat(100_000);
    wire.send(long);
    await wire.until(() => wire.received.length === long.length, 'the echo');
    wire.end();
    await wire.untilClosed();
    const trace = await traceOf('cut');
    const bytes = (what: string): number =>
      trace.events.reduce((sum, event) => sum + Buffer.from(event[what]?.data?.as_bytes ?? '', 'base64').length, 0);
    assert.deepEqual([bytes('read'), bytes('write')], [10, 4]);
    assert.deepEqual([trace.read_truncated, trace.write_truncated], [true, true]);
    assert.equal(trace.events[0]['read'].data?.truncated, true);
  });

  test('on a cluster', async () => {
    assert.equal((await httpRequest(proxy.port('plain'), '/path')).body, 'from upstream');
    const trace = await traceOf('up');
    assert.match(trace.events[0]['write'].data?.as_string ?? '', /^GET \/path HTTP\/1\.1\r\n/);
    assert.match(trace.events[1]['read'].data?.as_string ?? '', /from upstream/);
  });

  const refused: [what: string, socket: Json, expected: RegExp][] = [
    ['streaming', tap(RAW, 'x', { streaming: true }), /OutputConfig\.streaming is not supported/],
    ['binary output', tap(RAW, 'x', {}, { format: 'PROTO_BINARY' }), /PROTO_BINARY is not supported/],
    [
      'two sinks',
      tap(RAW, 'x', { sinks: [{ file_per_tap: { path_prefix: 'a' } }, { file_per_tap: { path_prefix: 'b' } }] }),
      /no more than 1 item/,
    ],
    ['an inner socket that is not supported', tap({ name: 'alts' }, 'x'), /typed_config\.transport_socket.*alts/],
    [
      'the admin interface',
      {
        name: 'tap',
        typed_config: {
          '@type': `${TYPES}.tap.v3.Tap`,
          common_config: { admin_config: { config_id: 'x' } },
          transport_socket: RAW,
        },
      },
      /admin_config is not supported/,
    ],
  ];
  for (const [what, socket, expected] of refused) {
    test(`refused: ${what}`, async () => {
      const one = listener('x', [], { filter_chains: [{ filters: [networkFilter('echo', {})], transport_socket: socket }] });
      await assert.rejects(startProxy({ config: bootstrap([one]) }), expected);
    });
  }
});
