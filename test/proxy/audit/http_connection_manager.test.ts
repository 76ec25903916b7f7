/** Fields of HttpConnectionManager: from configuration through the command line to what clients and upstreams see. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, fileLog, http, listener, upstreamHttp1 } from '../../interop/support/config.ts';
import { dial } from '../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../interop/support/upstreams.ts';
import { type AdminAnswer, httpRequest, type Json, type ProxyProcess, startProxy } from '../../support/proxy_process.ts';

const XFF = 'type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig';
const ROUTES = [
  { match: { prefix: '/none' }, direct_response: { status: 418, body: { inline_string: 'tea' } } },
  { match: { prefix: '/' }, route: { cluster: 'up' } },
];

const MANAGERS: Record<string, Json> = {
  edge: {
    use_remote_address: true,
    add_user_agent: true,
    via: 'audit',
    append_x_forwarded_port: true,
    always_set_request_id_in_response: true,
    server_name: 'audit-server',
  },
  trusted: {
    use_remote_address: true,
    xff_num_trusted_hops: 1,
    skip_xff_append: true,
    preserve_external_request_id: true,
    internal_address_config: { cidr_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] },
    server_header_transformation: 'APPEND_IF_ABSENT',
  },
  inner: {
    original_ip_detection_extensions: [{ name: 'xff', typed_config: { '@type': XFF, xff_num_trusted_hops: 1 } }],
    generate_request_id: false,
    server_header_transformation: 'PASS_THROUGH',
    scheme_header_transformation: { scheme_to_overwrite: 'https' },
    internal_address_config: { unix_sockets: true },
    access_log: [fileLog('inner.log', '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %ACCESS_LOG_TYPE%')],
    access_log_options: { flush_access_log_on_new_request: true },
  },
  paths: {
    normalize_path: true,
    merge_slashes: true,
    path_with_escaped_slashes_action: 'REJECT_REQUEST',
    strip_any_host_port: true,
    strip_trailing_host_dot: true,
  },
  redirect: { path_with_escaped_slashes_action: 'UNESCAPE_AND_REDIRECT', strip_matching_host_port: true },
  limits: {
    max_request_headers_kb: 1,
    common_http_protocol_options: {
      max_headers_count: 10,
      headers_with_underscores_action: 'REJECT_REQUEST',
      max_requests_per_connection: 1,
    },
  },
  dropped: { common_http_protocol_options: { headers_with_underscores_action: 'DROP_HEADER' } },
  http1: {
    codec_type: 'HTTP1',
    http_protocol_options: {
      accept_http_10: true,
      default_host_for_http_10: 'old.test',
      allow_chunked_length: true,
      allow_custom_methods: true,
      allow_absolute_url: false,
      enable_trailers: true,
      header_key_format: { proper_case_words: {} },
      ignore_http_11_upgrade: [{ prefix: 'made-up' }],
    },
    proxy_100_continue: true,
  },
  preserve: {
    http_protocol_options: {
      header_key_format: {
        stateful_formatter: {
          name: 'preserve',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig',
          },
        },
      },
    },
    stream_error_on_invalid_http_message: true,
  },
  idle: { common_http_protocol_options: { idle_timeout: '0.05s' }, stream_idle_timeout: '0.05s' },
  headers: { request_headers_timeout: '0.05s' },
  request: { request_timeout: '0.05s' },
  stream: { common_http_protocol_options: { max_stream_duration: '0.05s' } },
  duration: { common_http_protocol_options: { max_connection_duration: '0.05s' }, drain_timeout: '0.01s' },
  replies: {
    local_reply_config: {
      mappers: [
        {
          filter: { status_code_filter: { comparison: { op: 'EQ', value: { default_value: 418, runtime_key: 'a' } } } },
          status_code: 419,
          body: { inline_string: 'coffee' },
          headers_to_add: [{ header: { key: 'x-mapped', value: '%RESPONSE_CODE%' } }],
          body_format_override: {
            json_format: { body: '%LOCAL_REPLY_BODY%', code: '%RESPONSE_CODE%' },
            content_type: 'application/audit',
          },
        },
      ],
      body_format: { text_format_source: { inline_string: 'all: %LOCAL_REPLY_BODY%' } },
    },
    upgrade_configs: [{ upgrade_type: 'websocket' }, { upgrade_type: 'other', enabled: false }],
  },
};

let upstream: HttpUpstream;
let proxy: ProxyProcess;

describe('HttpConnectionManager', () => {
  before(async () => {
    upstream = await httpUpstream((request, response) => {
      if (request.url === '/hang') return;
      const body: Buffer[] = [];
      request.on('data', (chunk: Buffer) => body.push(chunk));
      request.on('end', () => {
        response.setHeader('server', 'upstream');
        response.setHeader('X-Mixed-Case', '1');
        response.end(
          JSON.stringify({
            method: request.method,
            path: request.url,
            headers: request.headers,
            raw: request.rawHeaders,
            trailers: request.trailers,
            body: Buffer.concat(body).toString(),
          }),
        );
      });
    });
    const listeners = Object.entries(MANAGERS).map(([name, manager]) => listener(name, [http(name, ROUTES, manager)]));
    proxy = await startProxy({
      config: bootstrap(listeners, [cluster('up', [upstream.port], upstreamHttp1({ enable_trailers: true }))], {
        node: { id: 'id-1', cluster: 'front' },
      }),
    });
  });
  after(async () => {
    await upstream?.close();
    await proxy?.stop();
  });

  interface Seen extends AdminAnswer {
    seen: { method: string; path: string; headers: Record<string, string>; raw: string[]; trailers: Json; body: string };
  }

  async function ask(name: string, path = '/', headers: Record<string, string> = {}): Promise<Seen> {
    const answer = await httpRequest(proxy.port(name), path, { headers });
    return { ...answer, seen: answer.status === 200 ? JSON.parse(answer.body) : undefined };
  }

  /** What comes back for these bytes until the proxy closes. */
  async function raw(name: string, text: string): Promise<string> {
    const wire = await dial(proxy.port(name));
    wire.send(text);
    await wire.untilClosed();
    return wire.text;
  }

  test('an edge proxy tells who is there', async () => {
    const { headers, seen } = await ask('edge', '/', { 'x-forwarded-for': '9.9.9.9', 'x-request-id': 'mine', 'user-agent': '' });
    assert.match(seen.headers['x-forwarded-for'], /^9\.9\.9\.9,/);
    assert.equal(seen.headers['x-forwarded-port'], String(proxy.port('edge')));
    assert.equal(seen.headers['x-envoy-external-address'], '127.0.0.1');
    assert.equal(seen.headers['x-envoy-downstream-service-cluster'], 'front');
    assert.equal(seen.headers['x-envoy-downstream-service-node'], 'id-1');
    assert.equal(seen.headers['user-agent'], 'front');
    assert.equal(seen.headers['via'], 'audit');
    assert.notEqual(seen.headers['x-request-id'], 'mine');
    assert.equal(headers['x-request-id'], seen.headers['x-request-id']);
    assert.equal(headers['server'], 'audit-server');
    assert.equal(headers['via'], 'audit');
  });

  test('trusted hops, and what they leave alone', async () => {
    const { headers, seen } = await ask('trusted', '/', {
      'x-forwarded-for': '10.1.2.3',
      'x-request-id': 'mine',
      'x-forwarded-proto': 'https',
    });
    assert.equal(seen.headers['x-forwarded-for'], '10.1.2.3');
    assert.equal(seen.headers['x-request-id'], 'mine');
    assert.equal(seen.headers['x-forwarded-proto'], 'https');
    assert.equal(headers['server'], 'upstream');
    assert.equal(headers['x-request-id'], undefined);
  });

  test('an inner proxy believes x-forwarded-for', async () => {
    const { headers, seen } = await ask('inner', '/', { 'x-forwarded-for': '8.8.8.8, 10.0.0.1' });
    assert.equal(seen.headers['x-forwarded-for'], '8.8.8.8, 10.0.0.1');
    assert.equal(seen.headers['x-forwarded-proto'], 'https');
    assert.equal(seen.headers['x-request-id'], undefined);
    assert.equal(headers['server'], 'upstream');
    assert.deepEqual(await proxy.lines('inner.log', 2), ['8.8.8.8 DownstreamStart', '8.8.8.8 DownstreamEnd']);
  });

  test('paths and hosts', async () => {
    assert.equal((await ask('paths', '/a/../b//c')).seen.path, '/b/c');
    assert.equal((await ask('paths', '/a%2Fb')).status, 400);
    assert.equal((await ask('paths', '/', { host: 'a.test.:81' })).seen.headers['host'], 'a.test');
    const redirected = await ask('redirect', '/a%2Fb');
    assert.equal(redirected.status, 307);
    assert.equal(redirected.headers['location'], '/a/b');
    const port = proxy.port('redirect');
    assert.equal((await ask('redirect', '/', { host: `a.test:${port}` })).seen.headers['host'], 'a.test');
    assert.equal((await ask('redirect', '/', { host: 'a.test:1' })).seen.headers['host'], 'a.test:1');
  });

  test('limits of requests', async () => {
    assert.equal((await ask('limits', '/', { a: 'x'.repeat(2000) })).status, 431);
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`x-${i}`, '1']));
    assert.equal((await ask('limits', '/', many)).status, 431);
    assert.equal((await ask('limits', '/', { a_b: '1' })).status, 400);
    assert.match(await raw('limits', 'GET /none HTTP/1.1\r\nhost: a\r\n\r\n'), /^HTTP\/1\.1 418 .*\r\nconnection: close\r\n/s);
    assert.equal((await ask('dropped', '/', { a_b: '1' })).seen.headers['a_b'], undefined);
  });

  test('options of HTTP/1', async () => {
    const old = await raw('http1', 'GET / HTTP/1.0\r\n\r\n');
    assert.match(old, /^HTTP\/1\.0 200 OK\r\n/);
    assert.match(old, /\r\nX-Mixed-Case: 1\r\n/);
    assert.match(old, /"host":"old\.test"/);
    const both =
      'POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n';
    assert.match(await raw('http1', both), /"trailers":\{"x-t":"1"\},"body":"hi"/);
    assert.match(await raw('edge', both), /^HTTP\/1\.1 400 /);
    assert.match(await raw('http1', 'BREW / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'), /^HTTP\/1\.1 (200|400) /);
    assert.match(await raw('edge', 'BREW /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /);
    assert.match(await raw('http1', 'BREW /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'), /^HTTP\/1\.1 418 /);
    const absolute = 'GET http://b.test/none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n';
    assert.match(await raw('http1', absolute), /^HTTP\/1\.1 404 /);
    assert.match(await raw('edge', absolute), /^HTTP\/1\.1 418 /);
    const upgrade = 'GET /none HTTP/1.1\r\nhost: a\r\nconnection: upgrade, close\r\nupgrade: made-up/1\r\n\r\n';
    assert.match(await raw('http1', upgrade), /^HTTP\/1\.1 418 /);
    assert.match(await raw('edge', upgrade), /^HTTP\/1\.1 403 /);
    const expecting = 'POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi';
    assert.match(await raw('http1', expecting), /"expect":"100-continue"/);
    assert.doesNotMatch(await raw('edge', expecting), /"expect"/);
  });

  test('the case of header names is kept, and a bad request does not cost the connection', async () => {
    const answer = await raw('preserve', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-ODD-case: 1\r\n\r\n');
    assert.match(answer, /"X-ODD-case","1"/);
    const wire = await dial(proxy.port('preserve'));
    // No host: an error of the message, not of the framing.
    wire.send('GET /none HTTP/1.1\r\n\r\n');
    assert.equal((await wire.message()).status, 400);
    wire.send('GET /none HTTP/1.1\r\nhost: a\r\n\r\n');
    assert.equal((await wire.message()).status, 418);
    wire.destroy();
  });

  test('timeouts', async () => {
    const idle = await dial(proxy.port('idle'));
    await idle.untilClosed();
    assert.equal(idle.text, '');
    const hanging = await ask('idle', '/hang');
    assert.deepEqual([hanging.status, hanging.body], [504, 'stream timeout']);
    assert.match(await raw('headers', 'GET / HTTP/1.1\r\nhost: '), /^HTTP\/1\.1 408 .*request header timeout$/s);
    assert.match(
      await raw('request', 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhi'),
      /^HTTP\/1\.1 408 .*request timeout$/s,
    );
    assert.match((await ask('stream', '/hang')).body, /duration timeout/);
    const lasting = await dial(proxy.port('duration'));
    await lasting.untilClosed();
    assert.equal(await proxy.stat('http.duration.downstream_cx_max_duration_reached'), 1);
  });

  test('local replies and upgrades', async () => {
    const mapped = await ask('replies', '/none');
    assert.equal(mapped.status, 419);
    assert.equal(mapped.headers['content-type'], 'application/audit');
    // As in Envoy, headers are added before the status changes.
    assert.equal(mapped.headers['x-mapped'], '418');
    assert.deepEqual(JSON.parse(mapped.body), { body: 'coffee', code: 419 });
    const other = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n';
    assert.match(await raw('replies', other), /^HTTP\/1\.1 403 /);
    const missing = await raw('replies', 'GET / HTTP/1.1\r\n\r\n');
    assert.match(missing, /^HTTP\/1\.1 400 .*\r\nall: $/s);
  });
});
