import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OPERATORS } from '../../../src/proxy/access_log/format_parser.ts';
import {
  DEFAULT_FORMAT,
  parseFormat,
  parseHeaderFormat,
  substitutionFormatString,
} from '../../../src/proxy/access_log/formatter.ts';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import { RESPONSE_FLAGS } from '../../../src/proxy/stream_info/stream_info.ts';
import { context, EMPTY, headers, streamInfo } from './support.ts';

function text(format: string, info = streamInfo(), log = context()): string {
  return parseFormat(format).format(log, info);
}

test('the default format', () => {
  assert.equal(
    text(DEFAULT_FORMAT),
    '[2016-04-15T20:17:00.310Z] "POST /api/v1/locations?id=1&name=a%20b HTTP/2" 204 - 154 7 226 100 "10.0.35.28" "nsq2http" ' +
      '"cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "10.0.2.1:80"\n',
  );
  const tcp = streamInfo({ protocol: '', responseCode: 0, upstreamHost: null });
  assert.equal(text(DEFAULT_FORMAT, tcp, EMPTY), '[2016-04-15T20:17:00.310Z] "- - -" 0 - 154 7 226 - "-" "-" "-" "-" "-"\n');
});

const EXPECTED: Record<string, string> = {
  'REQ(:METHOD)': 'POST',
  'REQ(x-none?X-Custom)': 'custom-value',
  'REQ(X-Custom?:path)': 'custom-value',
  'REQ(x-none?x-nil)': '-',
  'REQ(x-custom):6': 'custom',
  'REQUEST_HEADER(:AUTHORITY):3': 'loc',
  'STREAM_INFO_REQ(x-custom)': 'custom-value',
  'RESP(server)': 'x',
  'RESPONSE_HEADER(x-none?:status):2': '20',
  'TRAILER(x-trailer)': 't',
  'RESPONSE_TRAILER(x-none)': '-',
  'REQ_WITHOUT_QUERY(:path)': '/api/v1/locations',
  'QUERY_PARAM(id)': '1',
  'QUERY_PARAM(name)': 'a b',
  'QUERY_PARAM(name):1': 'a',
  'QUERY_PARAM(none)': '-',
  PATH: '/api/v1/locations?id=1&name=a%20b',
  'PATH(NQ)': '/api/v1/locations',
  'PATH(WQ:PATH):4': '/api',
  'PATH(NQ:ORIG)': '-',
  LOCAL_REPLY_BODY: 'no healthy upstream',
  ACCESS_LOG_TYPE: 'DownstreamEnd',
  GRPC_STATUS: '-',
  REQUEST_HEADERS_BYTES: '179',
  RESPONSE_TRAILERS_BYTES: '22',
  TRACE_ID: '-',
  START_TIME: '2016-04-15T20:17:00.310Z',
  'START_TIME(%Y/%m/%dT%H:%M:%S%z %s)': '2016/04/15T20:17:00+0000 1460751420',
  'START_TIME(%s.%3f)': '1460751420.310',
  'START_TIME(%s.%6f)': '1460751420.310000',
  'START_TIME(%s.%9f)': '1460751420.310000000',
  DURATION: '226',
  REQUEST_DURATION: '2',
  REQUEST_TX_DURATION: '10',
  RESPONSE_DURATION: '100',
  RESPONSE_TX_DURATION: '60',
  UPSTREAM_CONNECTION_POOL_READY_DURATION: '5',
  ROUNDTRIP_DURATION: '-',
  DOWNSTREAM_HANDSHAKE_DURATION: '-',
  'COMMON_DURATION(US_CX_BEG:US_CX_END)': '1',
  'COMMON_DURATION(US_CX_BEG:US_CX_END:us)': '1250',
  'COMMON_DURATION(US_CX_BEG:US_CX_END:ns)': '1250000',
  'COMMON_DURATION(DS_RX_BEG:DS_TX_END)': '160',
  'COMMON_DURATION(US_CX_END:US_CX_BEG)': '-',
  'COMMON_DURATION(DS_RX_BEG:custom)': '-',
  BYTES_RECEIVED: '154',
  BYTES_SENT: '7',
  BYTES_RETRANSMITTED: '0',
  UPSTREAM_WIRE_BYTES_SENT: '0',
  PROTOCOL: 'HTTP/2',
  UPSTREAM_PROTOCOL: 'HTTP/1.1',
  RESPONSE_CODE: '204',
  RESPONSE_CODE_DETAILS: 'via_upstream',
  'RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)': 'via upstream',
  CONNECTION_TERMINATION_DETAILS: '-',
  RESPONSE_FLAGS: '-',
  UPSTREAM_HOST: '10.0.2.1:80',
  UPSTREAM_HOST_NAME: 'backend:80',
  UPSTREAM_HOST_NAME_WITHOUT_PORT: 'backend',
  UPSTREAM_CLUSTER: 'c1-alt',
  UPSTREAM_CLUSTER_RAW: 'c1',
  UPSTREAM_CONNECTION_ID: '3',
  UPSTREAM_REQUEST_ATTEMPT_COUNT: '2',
  UPSTREAM_LOCAL_ADDRESS: '10.0.2.9:40000',
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: '10.0.2.9',
  UPSTREAM_LOCAL_PORT: '40000',
  UPSTREAM_REMOTE_ADDRESS: '10.0.2.1:80',
  UPSTREAM_TRANSPORT_FAILURE_REASON: '-',
  DOWNSTREAM_REMOTE_ADDRESS: '10.0.35.28:0',
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: '10.0.35.28',
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: '127.0.0.1:5555',
  DOWNSTREAM_DIRECT_REMOTE_PORT: '5555',
  DOWNSTREAM_LOCAL_ADDRESS: '[::1]:443',
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: '::1',
  DOWNSTREAM_LOCAL_PORT: '443',
  DOWNSTREAM_DIRECT_LOCAL_PORT: '444',
  CONNECTION_ID: '17',
  REQUESTED_SERVER_NAME: 'exa_mple.com',
  DOWNSTREAM_TLS_VERSION: '-',
  DOWNSTREAM_PEER_FINGERPRINT_256: '-',
  'DOWNSTREAM_PEER_CERT_V_START(%Y)': '-',
  UPSTREAM_PEER_CERT: '-',
  TLS_JA3_FINGERPRINT: '-',
  ROUTE_NAME: 'r1',
  VIRTUAL_CLUSTER_NAME: 'vc',
  FILTER_CHAIN_NAME: 'fc',
  STREAM_ID: 'stream-1',
  HOSTNAME: hostname(),
  'ENVIRONMENT(SLUICE_NOT_SET)': '-',
  'DYNAMIC_METADATA(ns:key)': 'value',
  'DYNAMIC_METADATA(ns:key):3': 'val',
  'DYNAMIC_METADATA(ns:n)': '{"a":true,"b":[1,"x"]}',
  'DYNAMIC_METADATA(ns:n:b)': '[1,"x"]',
  'DYNAMIC_METADATA(ns:num)': '4',
  'DYNAMIC_METADATA(ns:none)': '-',
  'DYNAMIC_METADATA(none)': '-',
  'CLUSTER_METADATA(ns:c)': '1.5',
  'UPSTREAM_METADATA(envoy.lb:canary)': 'true',
  'METADATA(ROUTE:ns:r)': 'route',
  'FILTER_STATE(none)': '-',
};

test('every operator on a known stream', () => {
  for (const [operator, expected] of Object.entries(EXPECTED)) assert.equal(text(`%${operator}%`), expected, operator);
});

test('no operator breaks on a stream that knows nothing', () => {
  const bare = streamInfo({
    upstreamHost: null,
    dynamicMetadata: null,
    clusterMetadata: null,
    endMonotonicMs: -1,
    lastDownstreamRxByteMs: -1,
  });
  for (const [name, { syntax }] of Object.entries(OPERATORS)) {
    const params = name === 'COMMON_DURATION' ? '(DS_RX_BEG:DS_RX_END)' : name === 'METADATA' ? '(ROUTE:x)' : '(x)';
    const operator = (syntax & 1) !== 0 || name.endsWith('FILTER_STATE') ? `%${name}${params}%` : `%${name}%`;
    assert.equal(typeof text(operator, bare, EMPTY), 'string', operator);
  }
  assert.equal(text('%DURATION% %REQUEST_DURATION% %UPSTREAM_HOST_NAME% %REQUEST_HEADERS_BYTES%', bare, EMPTY), '- - - 0');
});

test('literals, escapes and lengths', () => {
  assert.equal(text('100%% of %PROTOCOL%%%'), '100% of HTTP/2%');
  assert.equal(text(''), '');
  assert.equal(text('plain'), 'plain');
  assert.equal(text('%REQ(x-custom):0%|'), '|');
  assert.equal(text('ü'), Buffer.from('ü').toString('latin1'), 'text is bytes, one character each');
});

test('missing values: - in text, nothing with omit_empty_values and in headers', () => {
  assert.equal(parseFormat('[%REQ(x)%]').format(EMPTY, streamInfo()), '[-]');
  assert.equal(parseFormat('[%REQ(x)%]', true).format(EMPTY, streamInfo()), '[]');
  assert.equal(parseHeaderFormat('[%REQ(x)%]').format(EMPTY, streamInfo()), '[]');
});

test('header formats read the old forms', () => {
  const info = streamInfo({ filterState: new Map([['k', 'state']]) });
  assert.equal(parseHeaderFormat('%DYNAMIC_METADATA(["ns", "key"])%').format(EMPTY, info), 'value');
  assert.equal(parseHeaderFormat('%UPSTREAM_METADATA(["envoy.lb","canary"])%').format(EMPTY, info), 'true');
  assert.equal(parseHeaderFormat('a-%PER_REQUEST_STATE(k)%').format(EMPTY, info), 'a-state');
});

test('response flags, short and long, in order', () => {
  const info = streamInfo();
  info.setFlag('UpstreamRetryLimitExceeded');
  info.setFlag('UpstreamConnectionFailure');
  info.setFlag('UnconditionalDropOverload');
  assert.equal(text('%RESPONSE_FLAGS%', info), 'UF,URX,UDO');
  assert.equal(
    text('%RESPONSE_FLAGS_LONG%', info),
    'UpstreamConnectionFailure,UpstreamRetryLimitExceeded,UnconditionalDropOverload',
  );
  for (const [name, [bit, short]] of Object.entries(RESPONSE_FLAGS)) {
    assert.equal(text('%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%', streamInfo({ responseFlags: 1 << bit })), `${short} ${name}`);
  }
});

test('gRPC status: trailers, headers, then the HTTP status', () => {
  const requestHeaders = headers({ 'content-type': 'application/grpc+proto' });
  const grpc = context({ requestHeaders });
  assert.equal(
    text('%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%', streamInfo(), grpc),
    'NotFound NOT_FOUND 5',
  );
  const inHeaders = context({ requestHeaders, responseTrailers: null, responseHeaders: headers({ 'grpc-status': '1' }) });
  assert.equal(text('%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)%', streamInfo(), inHeaders), 'Canceled CANCELLED');
  const none = context({ requestHeaders, responseTrailers: null, responseHeaders: headers({}) });
  assert.equal(text('%GRPC_STATUS%', streamInfo({ responseCode: 503 }), none), 'Unavailable');
  const custom = context({ requestHeaders, responseTrailers: headers({ 'grpc-status': '99' }) });
  assert.equal(text('%GRPC_STATUS%', streamInfo(), custom), '99');
});

test('headers: several lines of one name', () => {
  const requestHeaders = headers([
    ['x-forwarded-for', '1.1.1.1'],
    ['x-forwarded-for', '2.2.2.2'],
    ['x-twice', 'a'],
    ['x-twice', 'b'],
  ]);
  assert.equal(text('%REQ(X-FORWARDED-FOR)% %REQ(x-twice)%', streamInfo(), context({ requestHeaders })), '1.1.1.1,2.2.2.2 a');
});

test('x-forwarded-client-cert fields', () => {
  const requestHeaders = headers({ 'x-forwarded-client-cert': 'By=a;Hash=1f;Subject="CN=\\"x\\",O=y;z",By=b;URI=spiffe://c' });
  const log = context({ requestHeaders });
  assert.equal(
    text('%XFCC_VALUE(Subject)% %XFCC_VALUE(uri)% %XFCC_VALUE(By)% %XFCC_VALUE(DNS)%', streamInfo(), log),
    'CN="x",O=y;z spiffe://c a -',
  );
});

test('filter state: plain, typed, field', () => {
  const object = {
    serializeAsString: () => 'plain text',
    serializeAsProto: () => ({ value: 1 }),
    getField: (name: string) => (name === 'f' ? 42 : undefined),
  };
  const info = streamInfo({
    filterState: new Map<string, unknown>([
      ['o', object],
      ['s', 'text'],
    ]),
  });
  assert.equal(
    text(
      '%FILTER_STATE(o:PLAIN)%|%FILTER_STATE(o)%|%FILTER_STATE(o:TYPED):4%|%FILTER_STATE(o:FIELD:f)%|%FILTER_STATE(o:FIELD:g)%',
      info,
    ),
    'plain text|{"value":1}|{"va|42|-',
  );
  assert.equal(text('%FILTER_STATE(s:PLAIN)%|%FILTER_STATE(s)%', info), 'text|"text"');
});

test('unique ids differ, environment is read', (t) => {
  const format = parseFormat('%UNIQUE_ID%');
  const id = format.format(EMPTY, streamInfo());
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(format.format(EMPTY, streamInfo()), id);
  process.env['SLUICE_TEST_ENV'] = 'vällue';
  t.after(() => delete process.env['SLUICE_TEST_ENV']);
  assert.equal(Buffer.from(text('%ENVIRONMENT(SLUICE_TEST_ENV)%'), 'latin1').toString(), 'vällue');
  assert.equal(text('%ENVIRONMENT(SLUICE_TEST_ENV):1%'), 'v');
});

const ERRORS: Record<string, string> = {
  '%PROTOCOL': "Incorrect configuration: %PROTOCOL. Couldn't find valid command at position 0",
  'ab %': "Incorrect configuration: ab %. Couldn't find valid command at position 3",
  '%REQ(a': "Incorrect configuration: %REQ(a. Couldn't find valid command at position 0",
  '%protocol%': "Incorrect configuration: %protocol%. Couldn't find valid command at position 0",
  '%REQ(x):y%': "Incorrect configuration: %REQ(x):y%. Couldn't find valid command at position 0",
  '%NOPE%': 'Not supported field in StreamInfo: NOPE',
  '%PROTOCOL(x)%': 'PROTOCOL does not take any parameters or length',
  '%PROTOCOL:5%': 'PROTOCOL does not take any parameters or length',
  '%REQ%': 'REQ requires parameters',
  '%REQ()%': 'REQ requires parameters',
  '%COMMON_DURATION%': 'COMMON_DURATION requires parameters',
  '%START_TIME(%Y):5%': 'START_TIME does not allow length to be specified.',
  '%REQ(a?b?c)%': 'More than 1 alternative header specified in token: a?b?c',
  '%REQ(a b)%': 'Invalid header configuration. Format string contains invalid characters.',
  '%START_TIME(%n)%': 'Invalid header configuration. Format string contains newline.',
  '%START_TIME(%En)%': 'Invalid header configuration. Format string contains newline.',
  '%GRPC_STATUS(X)%': 'GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER.',
  '%COMMON_DURATION(a)%': 'Invalid common duration configuration: a.',
  '%COMMON_DURATION(a:b:s)%': 'Invalid common duration precision: s.',
  '%PATH(X)%': "Invalid PATH option: 'X', only 'WQ'/'NQ' are allowed",
  '%PATH(WQ:X)%': "Invalid PATH option: 'X', only 'ORIG'/'PATH'/'ORIG_OR_PATH' are allowed",
  '%FILTER_STATE%': 'Invalid filter state configuration, key cannot be empty.',
  '%FILTER_STATE(k:X)%': 'Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.',
  '%FILTER_STATE(k:FIELD)%': 'Invalid filter state serialize type, FIELD should be used with the field name.',
  '%CEL(request.path)%': 'the operator CEL is not supported',
};

test('mistakes in formats, in Envoy’s words', () => {
  for (const [format, message] of Object.entries(ERRORS)) {
    assert.throws(
      () => parseFormat(format),
      (error) => error instanceof ConfigError && error.reason === message,
      `${format}: ${message}`,
    );
  }
});

test('SubstitutionFormatString', (t) => {
  const of = (config: Parameters<typeof substitutionFormatString>[0]) => {
    const formatter = substitutionFormatString(config);
    return [formatter.format(context(), streamInfo()), formatter.contentType];
  };
  assert.deepEqual(of({ textFormat: '%PROTOCOL% %REQ(x)%' }), ['HTTP/2 -', 'text/plain']);
  assert.deepEqual(of({ textFormat: '%REQ(x)%', omitEmptyValues: true, contentType: 'text/html' }), ['', 'text/html']);
  assert.deepEqual(of({ textFormatSource: { inlineString: 'a%PROTOCOL%' } }), ['aHTTP/2', 'text/plain']);
  assert.deepEqual(of({ textFormatSource: { inlineBytes: Buffer.from('b') } }), ['b', 'text/plain']);
  assert.deepEqual(of({ jsonFormat: { p: '%PROTOCOL%' } }), ['{"p":"HTTP/2"}\n', 'application/json']);
  const folder = mkdtempSync(join(tmpdir(), 'sluice-format-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'format'), 'from file %RESPONSE_CODE%');
  assert.deepEqual(of({ textFormatSource: { filename: join(folder, 'format') } }), ['from file 204', 'text/plain']);
  assert.throws(() => of({ textFormatSource: { filename: join(folder, 'none') } }), ConfigError);
  assert.throws(() => of({ textFormatSource: { environmentVariable: 'SLUICE_NOT_SET' } }), ConfigError);
  assert.throws(() => of({}), ConfigError);
  assert.throws(
    () => of({ textFormat: '', formatters: [{ name: 'x', typedConfig: { '@type': 'envoy.extensions.formatter.cel.v3.Cel' } }] }),
    {
      path: 'formatters[0]',
    },
  );
  assert.throws(() => substitutionFormatString({ textFormat: '%X%' }, 'log_format'), { path: 'log_format.text_format' });
});
