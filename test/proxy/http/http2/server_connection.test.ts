import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { StreamResetReason } from '../../../../src/proxy/http/codec.ts';
import { HeaderMap } from '../../../../src/proxy/http/header_map.ts';
import { ErrorCode, Flag, FrameType, PREFACE, readUint32, Setting } from '../../../../src/proxy/http/http2/frame.ts';
import { block, END_BOTH, frame, GET, POST, SETTINGS, START, slab, TestServer, uint32 } from './harness.ts';

let blocks = 0;
let servers: TestServer[] = [];

function server(...given: ConstructorParameters<typeof TestServer>): TestServer {
  const made = new TestServer(...given);
  servers.push(made);
  return made;
}

beforeEach(() => {
  blocks = slab.blocksInUse;
  servers = [];
});

afterEach(() => {
  for (const one of servers) one.close();
  assert.equal(slab.blocksInUse, blocks, 'blocks are left');
});

const headers = (id: number, flags: number, payload: number[]): Uint8Array => frame(FrameType.Headers, flags, id, payload);
const data = (id: number, flags: number, payload: number[] | string): Uint8Array => frame(FrameType.Data, flags, id, payload);

test('a request and its response, however the bytes are cut', () => {
  for (const cut of [0, 1, 2, 7, 9, 10, 33]) {
    const s = server();
    s.answer = (request) => {
      request.respond(200, false, ['x-a', 'b']);
      request.send('answer', true);
    };
    s.receive(Buffer.concat([START, headers(1, Flag.EndHeaders, POST), data(1, 0, 'hel'), data(1, Flag.EndStream, 'lo')]), cut);
    assert.equal(s.error, null);
    assert.deepEqual(s.requests[0].headers, [':method: POST', ':scheme: http', ':path: /', ':authority: a.test']);
    assert.equal(s.requests[0].body, 'hello');
    const [head] = s.transport.frames.filter((f) => f.type === FrameType.Headers);
    assert.deepEqual(s.transport.fields(head), [
      [':status', '200'],
      ['x-a', 'b'],
    ]);
    assert.deepEqual(s.transport.log(), ['HEADERS 1', 'DATA 1 6 ES']);
    assert.equal(s.codec.activeStreams, 0);
  }
});

test('SETTINGS are sent first, and answered', () => {
  const s = server({ maxConcurrentStreams: 7, allowConnect: true, customSettings: [[99, 5]] });
  s.receive(START);
  const [first, window, ack] = s.transport.take();
  const sent = Array.from({ length: first.payload.length / 6 }, (_, i) => [first.payload[6 * i + 1], first.payload[6 * i + 5]]);
  assert.ok(sent.some(([id, value]) => id === Setting.MaxConcurrentStreams && value === 7));
  assert.ok(sent.some(([id, value]) => id === Setting.EnableConnectProtocol && value === 1));
  assert.ok(sent.some(([id, value]) => id === 99 && value === 5));
  assert.equal(window.type, FrameType.WindowUpdate);
  assert.deepEqual([ack.type, ack.flags], [FrameType.Settings, Flag.Ack]);
});

test('padding, priority, CONTINUATION, unknown frames, trailers', () => {
  const s = server();
  s.started();
  const priority = [...uint32(0), 15];
  s.receive(headers(1, END_BOTH | Flag.Padded | Flag.Priority, [3, ...priority, ...GET, 0, 0, 0]));
  s.receive(frame(0x4d, 0, 0, 'unknown'));
  s.receive(headers(3, 0, POST.slice(0, 10)));
  s.receive(frame(FrameType.Continuation, 0, 3, POST.slice(10, 20)));
  s.receive(frame(FrameType.Continuation, Flag.EndHeaders, 3, POST.slice(20)));
  s.receive(data(3, Flag.Padded, [2, 104, 105, 0, 0]));
  s.receive(headers(3, END_BOTH, block(['x-sum', '1'])));
  assert.equal(s.error, null);
  assert.equal(s.requests[0].headers?.length, 4);
  assert.equal(s.requests[1].body, 'hi');
  assert.deepEqual(s.requests[1].trailers, ['x-sum: 1']);
  assert.deepEqual(s.transport.log(), ['HEADERS 1 ES', 'HEADERS 3 ES']);
});

/** RFC 9113: what ends the connection, by class; the error code of GOAWAY. */
const CONNECTION_ERRORS: [name: string, code: number, bytes: (s: TestServer) => Uint8Array][] = [
  ['frame larger than allowed', ErrorCode.FrameSizeError, () => Uint8Array.from([0, 0x40, 1, 0, 0, 0, 0, 0, 1])],
  ['DATA on stream 0', ErrorCode.ProtocolError, () => data(0, 0, 'a')],
  ['DATA on an idle stream', ErrorCode.ProtocolError, () => data(1, 0, 'a')],
  [
    'DATA with more padding than frame',
    ErrorCode.ProtocolError,
    () => Buffer.concat([headers(1, Flag.EndHeaders, POST), data(1, Flag.Padded, [5, 1, 2])]),
  ],
  [
    'DATA padded and empty',
    ErrorCode.FrameSizeError,
    () => Buffer.concat([headers(1, Flag.EndHeaders, POST), data(1, Flag.Padded, [])]),
  ],
  ['HEADERS on stream 0', ErrorCode.ProtocolError, () => headers(0, END_BOTH, GET)],
  ['HEADERS on an even stream', ErrorCode.ProtocolError, () => headers(2, END_BOTH, GET)],
  [
    'HEADERS on a closed stream',
    ErrorCode.StreamClosed,
    () => Buffer.concat([headers(1, END_BOTH, GET), headers(1, END_BOTH, GET)]),
  ],
  [
    'HEADERS with a lower number',
    ErrorCode.StreamClosed,
    () => Buffer.concat([headers(5, END_BOTH, GET), headers(3, END_BOTH, GET)]),
  ],
  ['HEADERS with more padding than frame', ErrorCode.ProtocolError, () => headers(1, END_BOTH | Flag.Padded, [200, 0])],
  ['HEADERS too short for their priority', ErrorCode.ProtocolError, () => headers(1, END_BOTH | Flag.Priority, [0, 0])],
  [
    'HEADERS that depend on themselves',
    ErrorCode.ProtocolError,
    () => headers(1, END_BOTH | Flag.Priority, [...uint32(1), 0, ...GET]),
  ],
  ['broken HPACK', ErrorCode.CompressionError, () => headers(1, END_BOTH, [0x80])],
  ['malformed request', ErrorCode.ProtocolError, () => headers(1, END_BOTH, block(['a', 'b']))],
  ['upper-case name', ErrorCode.ProtocolError, () => headers(1, END_BOTH, [...GET, ...block(['Xa', 'b'])])],
  ['connection header', ErrorCode.ProtocolError, () => headers(1, END_BOTH, [...GET, ...block(['connection', 'close'])])],
  [
    'transfer-encoding',
    ErrorCode.ProtocolError,
    () => headers(1, END_BOTH, [...GET, ...block(['transfer-encoding', 'chunked'])]),
  ],
  ['request with :status', ErrorCode.ProtocolError, () => headers(1, END_BOTH, [...block([':status', '200']), ...GET])],
  [
    'content-length without a body',
    ErrorCode.ProtocolError,
    () => headers(1, END_BOTH, [...POST, ...block(['content-length', '5'])]),
  ],
  [
    'body longer than content-length',
    ErrorCode.ProtocolError,
    () => Buffer.concat([headers(1, Flag.EndHeaders, [...POST, ...block(['content-length', '1'])]), data(1, 0, 'abc')]),
  ],
  [
    'body shorter than content-length',
    ErrorCode.ProtocolError,
    () =>
      Buffer.concat([headers(1, Flag.EndHeaders, [...POST, ...block(['content-length', '9'])]), data(1, Flag.EndStream, 'abc')]),
  ],
  [
    'extended CONNECT that was not announced',
    ErrorCode.ProtocolError,
    () =>
      headers(1, Flag.EndHeaders, [
        ...block([':protocol', 'websocket'], [':method', 'CONNECT'], [':scheme', 'http'], [':path', '/'], [':authority', 'a']),
      ]),
  ],
  [
    'trailers without END_STREAM',
    ErrorCode.ProtocolError,
    () => Buffer.concat([headers(1, Flag.EndHeaders, POST), headers(1, Flag.EndHeaders, block(['a', 'b']))]),
  ],
  [
    'pseudo header in trailers',
    ErrorCode.ProtocolError,
    () => Buffer.concat([headers(1, Flag.EndHeaders, POST), headers(1, END_BOTH, block([':path', '/']))]),
  ],
  [
    'another frame inside a header block',
    ErrorCode.ProtocolError,
    () => Buffer.concat([headers(1, 0, GET), frame(FrameType.Ping, 0, 0, '12345678')]),
  ],
  [
    'CONTINUATION of another stream',
    ErrorCode.ProtocolError,
    () => Buffer.concat([headers(1, 0, GET), frame(FrameType.Continuation, 4, 3, GET)]),
  ],
  ['CONTINUATION without HEADERS', ErrorCode.ProtocolError, () => frame(FrameType.Continuation, Flag.EndHeaders, 1, GET)],
  ['PRIORITY on stream 0', ErrorCode.ProtocolError, () => frame(FrameType.Priority, 0, 0, [...uint32(1), 0])],
  ['PRIORITY of a wrong size', ErrorCode.FrameSizeError, () => frame(FrameType.Priority, 0, 1, [0])],
  ['PRIORITY on itself', ErrorCode.ProtocolError, () => frame(FrameType.Priority, 0, 1, [...uint32(1), 0])],
  ['RST_STREAM on stream 0', ErrorCode.ProtocolError, () => frame(FrameType.RstStream, 0, 0, uint32(8))],
  ['RST_STREAM on an idle stream', ErrorCode.ProtocolError, () => frame(FrameType.RstStream, 0, 1, uint32(8))],
  [
    'RST_STREAM of a wrong size',
    ErrorCode.FrameSizeError,
    () => Buffer.concat([headers(1, Flag.EndHeaders, POST), frame(FrameType.RstStream, 0, 1, [0])]),
  ],
  ['SETTINGS on a stream', ErrorCode.ProtocolError, () => frame(FrameType.Settings, 0, 1)],
  ['SETTINGS of a wrong size', ErrorCode.FrameSizeError, () => frame(FrameType.Settings, 0, 0, [0])],
  ['SETTINGS ACK with a payload', ErrorCode.FrameSizeError, () => frame(FrameType.Settings, Flag.Ack, 0, [0, 1, 0, 0, 0, 0])],
  ['ENABLE_PUSH of 2', ErrorCode.ProtocolError, () => frame(FrameType.Settings, 0, 0, [0, 2, ...uint32(2)])],
  [
    'INITIAL_WINDOW_SIZE above 2^31-1',
    ErrorCode.FlowControlError,
    () => frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(0x80000000)]),
  ],
  ['MAX_FRAME_SIZE below 16384', ErrorCode.ProtocolError, () => frame(FrameType.Settings, 0, 0, [0, 5, ...uint32(100)])],
  ['MAX_FRAME_SIZE above 2^24-1', ErrorCode.ProtocolError, () => frame(FrameType.Settings, 0, 0, [0, 5, ...uint32(1 << 24)])],
  ['PUSH_PROMISE from a client', ErrorCode.ProtocolError, () => frame(FrameType.PushPromise, Flag.EndHeaders, 1, [0, 0, 0, 2])],
  ['PING on a stream', ErrorCode.ProtocolError, () => frame(FrameType.Ping, 0, 1, '12345678')],
  ['PING of a wrong size', ErrorCode.FrameSizeError, () => frame(FrameType.Ping, 0, 0, '1234')],
  ['GOAWAY on a stream', ErrorCode.ProtocolError, () => frame(FrameType.GoAway, 0, 1, [...uint32(0), ...uint32(0)])],
  ['GOAWAY of a wrong size', ErrorCode.FrameSizeError, () => frame(FrameType.GoAway, 0, 0, [0])],
  ['WINDOW_UPDATE of a wrong size', ErrorCode.FrameSizeError, () => frame(FrameType.WindowUpdate, 0, 0, [1])],
  ['WINDOW_UPDATE of 0 for the connection', ErrorCode.ProtocolError, () => frame(FrameType.WindowUpdate, 0, 0, uint32(0))],
  ['WINDOW_UPDATE on an idle stream', ErrorCode.ProtocolError, () => frame(FrameType.WindowUpdate, 0, 9, uint32(1))],
  ['connection window that overflows', ErrorCode.FlowControlError, () => frame(FrameType.WindowUpdate, 0, 0, uint32(0x7fffffff))],
];

for (const [name, code, bytes] of CONNECTION_ERRORS) {
  test(`connection error: ${name}`, () => {
    for (const cut of [0, 1]) {
      const s = server();
      s.answer = (request) => request.respond(200, true);
      s.started();
      s.receive(bytes(s), cut);
      assert.equal(s.error?.kind, 'protocol');
      const last = s.transport.log().at(-1);
      assert.match(last ?? '', new RegExp(`^GOAWAY \\d+ ${code}$`));
    }
  });
}

test('a preface that is wrong, or not followed by SETTINGS', () => {
  const wrong = server().receive(Buffer.from('PRI * HTTP/2.0\r\n\r\nXX'));
  assert.equal(wrong.error?.kind, 'protocol');
  const ping = server().receive(Buffer.concat([PREFACE, frame(FrameType.Ping, 0, 0, '12345678')]));
  assert.equal(ping.error?.kind, 'protocol');
});

/** What ends a stream only. */
const STREAM_ERRORS: [name: string, log: string, bytes: Uint8Array][] = [
  ['DATA after END_STREAM', 'RST 1 5', Buffer.concat([headers(1, END_BOTH, GET), data(1, 0, 'a')])],
  ['WINDOW_UPDATE of 0', 'RST 1 1', Buffer.concat([headers(1, END_BOTH, GET), frame(FrameType.WindowUpdate, 0, 1, uint32(0))])],
  [
    'stream window that overflows',
    'RST 1 3',
    Buffer.concat([headers(1, END_BOTH, GET), frame(FrameType.WindowUpdate, 0, 1, uint32(0x7fffffff))]),
  ],
];

for (const [name, log, bytes] of STREAM_ERRORS) {
  test(`stream error: ${name}`, () => {
    const s = server();
    s.answer = () => {};
    s.started().receive(bytes);
    assert.equal(s.error, null);
    assert.deepEqual(s.transport.log(), [log]);
    assert.equal(s.requests[0].reset, StreamResetReason.ProtocolError);
    s.answer = (request) => request.respond(204, true);
    s.receive(headers(3, END_BOTH, GET));
    assert.deepEqual(s.transport.log(), ['HEADERS 3 ES']);
  });
}

test('malformed messages end their stream only when configuration says so', () => {
  const s = server({ streamErrorOnInvalidHttpMessage: true });
  s.started().receive(Buffer.concat([headers(1, END_BOTH, block(['a', 'b'])), headers(3, END_BOTH, GET)]));
  assert.equal(s.error, null);
  assert.deepEqual(s.transport.log(), ['RST 1 1', 'HEADERS 3 ES']);
  assert.equal(s.counter('rx_messaging_error'), 1);
  assert.equal(s.requests.length, 1);
});

test('more streams than allowed are refused, and the header table stays in step', () => {
  const s = server({ maxConcurrentStreams: 2 });
  s.answer = () => {};
  s.started();
  const indexed = [0x40, 1, 97, 1, 98];
  for (const id of [1, 3, 5]) s.receive(headers(id, END_BOTH, [...GET, ...(id === 5 ? indexed : [])]));
  assert.deepEqual(s.transport.log(), ['RST 5 7']);
  assert.equal(s.counter('stream_refused_errors'), 1);
  s.requests[0].respond(200, true);
  s.receive(headers(7, END_BOTH, [...GET, 0xbe]));
  assert.equal(s.requests.at(-1)?.headers?.at(-1), 'a: b');
});

test('headers beyond the limits: 431, and the connection lives', () => {
  const s = server({ maxHeadersKb: 1, maxHeadersCount: 20 });
  s.started().receive(headers(1, END_BOTH, [...GET, ...block(['x', 'y'.repeat(2000)])]));
  assert.equal(s.requests[0].localReply, '431 http2.too_many_headers');
  s.receive(headers(3, END_BOTH, [...GET, ...block(...Array.from({ length: 30 }, (_, i) => [`x-${i}`, ''] as const))]));
  assert.equal(s.requests[1].localReply, '431 http2.too_many_headers');
  assert.equal(s.counter('header_overflow'), 2);
  assert.deepEqual(s.transport.log(), ['HEADERS 1 ES', 'HEADERS 3 ES']);
});

test('underscores in names', () => {
  const withOne = [...GET, ...block(['a_b', 'c'])];
  const rejects = server({ headersWithUnderscoresAction: 'REJECT_REQUEST' });
  rejects.started().receive(headers(1, END_BOTH, withOne));
  assert.equal(rejects.requests[0].localReply, '400 http2.unexpected_underscore');
  assert.equal(rejects.counter('requests_rejected_with_underscores_in_headers'), 1);
  const drops = server({ headersWithUnderscoresAction: 'DROP_HEADER' });
  drops.started().receive(headers(1, END_BOTH, withOne));
  assert.equal(drops.requests[0].headers?.length, 4);
  assert.equal(drops.counter('dropped_headers_with_underscores'), 1);
});

test('host stands in for :authority, cookie crumbs are joined', () => {
  const s = server();
  s.started().receive(
    headers(
      1,
      END_BOTH,
      block([':method', 'GET'], [':scheme', 'http'], [':path', '/'], ['host', 'h.test'], ['cookie', 'a=1'], ['cookie', 'b=2']),
    ),
  );
  assert.ok(s.requests[0].headers?.includes(':authority: h.test'));
  assert.ok(s.requests[0].headers?.includes('cookie: a=1; b=2'));
});

// Floods (Envoy: ProtocolConstraints).

test('flood: PING and SETTINGS of a peer that does not read', () => {
  for (const one of [frame(FrameType.Ping, 0, 0, '12345678'), SETTINGS]) {
    const s = server({ maxOutboundControlFrames: 100 });
    s.started();
    s.transport.stuck = true;
    for (let i = 0; i < 200 && s.error === null; i++) s.receive(one);
    assert.equal(s.error?.kind, 'flood');
    assert.match(s.error?.details ?? '', /control frames/);
    assert.equal(s.counter('outbound_control_flood'), 1);
  }
});

test('no flood: PINGs of a peer that reads its answers', () => {
  const s = server({ maxOutboundControlFrames: 10 });
  s.started();
  for (let i = 0; i < 1000; i++) s.receive(frame(FrameType.Ping, 0, 0, '12345678'));
  assert.equal(s.error, null);
  assert.equal(s.transport.log().filter((line) => line === 'PING ACK').length, 1000);
});

test('flood: answers that nobody reads', () => {
  const s = server({ maxOutboundFrames: 50 });
  s.started();
  s.transport.stuck = true;
  for (let id = 1; id < 400 && s.error === null; id += 2) s.receive(headers(id, END_BOTH, GET));
  assert.equal(s.error?.kind, 'flood');
  assert.equal(s.counter('outbound_flood'), 1);
});

test('flood: resets of a peer that makes us send them', () => {
  const s = server({ maxOutboundControlFrames: 50, streamErrorOnInvalidHttpMessage: true });
  s.started();
  s.transport.stuck = true;
  for (let id = 1; id < 400 && s.error === null; id += 2) s.receive(headers(id, END_BOTH, block(['a', 'b'])));
  assert.equal(s.error?.kind, 'flood');
  assert.equal(s.counter('outbound_control_flood'), 1);
});

test('flood: empty DATA, HEADERS and CONTINUATION', () => {
  const cases: [string, Uint8Array, Uint8Array][] = [
    ['DATA', headers(1, Flag.EndHeaders, POST), data(1, 0, '')],
    ['padded DATA', headers(1, Flag.EndHeaders, POST), data(1, Flag.Padded, [1, 0])],
    ['CONTINUATION', headers(1, 0, POST), frame(FrameType.Continuation, 0, 1)],
  ];
  for (const [name, first, empty] of cases) {
    const s = server();
    s.started().receive(first);
    s.receive(empty);
    assert.equal(s.counter('inbound_empty_frames_flood'), 0, name);
    s.receive(empty);
    assert.equal(s.error?.kind, 'flood', name);
    assert.equal(s.counter('inbound_empty_frames_flood'), 1, name);
  }
});

test('flood: PRIORITY', () => {
  const s = server({ maxInboundPriorityFramesPerStream: 10 });
  s.started();
  for (let i = 0; i < 30 && s.error === null; i++) s.receive(frame(FrameType.Priority, 0, 1, [...uint32(0), 0]));
  assert.equal(s.error?.kind, 'flood');
  assert.equal(s.counter('inbound_priority_frames_flood'), 1);
});

test('flood: WINDOW_UPDATE', () => {
  const s = server();
  s.answer = () => {};
  s.started().receive(headers(1, END_BOTH, GET));
  for (let i = 0; i < 30 && s.error === null; i++) s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(1)));
  assert.equal(s.error?.kind, 'flood');
  assert.equal(s.counter('inbound_window_update_frames_flood'), 1);
});

test('flood: CONTINUATION without end, of bytes and of number', () => {
  for (const size of [1, 10_000]) {
    const s = server({ maxHeadersKb: 60 });
    s.started().receive(headers(1, 0, GET));
    const one = frame(FrameType.Continuation, 0, 1, new Uint8Array(size));
    for (let i = 0; i < 1000 && s.error === null; i++) s.receive(one);
    assert.equal(s.error?.kind, 'flood');
    assert.equal(s.counter('header_overflow'), 1);
  }
});

// Flow control.

test('a response waits for the stream window and for the connection window', () => {
  const s = server();
  s.answer = () => {};
  s.receive(Buffer.concat([PREFACE, frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(10)]), headers(1, END_BOTH, GET)]));
  s.transport.take();
  const [request] = s.requests;
  request.respond(200, false);
  request.send('x'.repeat(25), false);
  assert.deepEqual(s.transport.log(), ['HEADERS 1', 'DATA 1 10']);
  s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(5)));
  assert.deepEqual(s.transport.log(), ['DATA 1 5']);
  // A smaller initial window may make it negative.
  s.receive(frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(0)]));
  s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(10)));
  assert.deepEqual(s.transport.log(), []);
  s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(3)));
  assert.deepEqual(s.transport.log(), ['DATA 1 3']);
  s.receive(frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(100)]));
  assert.deepEqual(s.transport.log(), ['DATA 1 7']);
  request.send('', true);
  assert.deepEqual(s.transport.log(), ['DATA 1 0 ES']);
  assert.equal(s.codec.activeStreams, 0);
});

test('streams that wait for the connection window take turns', () => {
  const s = server();
  s.answer = () => {};
  s.receive(Buffer.concat([PREFACE, frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(1 << 20)])]));
  for (const id of [1, 3]) s.receive(headers(id, END_BOTH, GET));
  for (const request of s.requests) request.respond(200, false);
  s.requests[0].send('a'.repeat(65535 + 40_000), true);
  s.requests[1].send('b'.repeat(40_000), true);
  s.transport.take();
  s.receive(frame(FrameType.WindowUpdate, 0, 0, uint32(1 << 20)));
  assert.deepEqual(s.transport.log(), [
    'DATA 1 16384',
    'DATA 3 16384',
    'DATA 1 16384',
    'DATA 3 16384',
    'DATA 1 7232 ES',
    'DATA 3 7232 ES',
  ]);
});

test('what a stream holds stops its producer, and lets it go on', () => {
  const s = server({ streamBufferLimit: 1000 });
  s.answer = () => {};
  s.receive(Buffer.concat([PREFACE, frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(0)]), headers(1, END_BOTH, GET)]));
  const [request] = s.requests;
  request.respond(200, false);
  request.send('x'.repeat(1000), false);
  assert.equal(request.above, false);
  request.send('x', false);
  assert.equal(request.above, true);
  s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(400)));
  assert.equal(request.above, true);
  s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(200)));
  assert.equal(request.above, false);
});

test('a complete response that waits for window is sent though its stream is forgotten, then END_STREAM or a reset', () => {
  for (const complete of [true, false]) {
    const s = server();
    s.answer = () => {};
    s.receive(
      Buffer.concat([
        PREFACE,
        frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(0)]),
        headers(1, complete ? END_BOTH : Flag.EndHeaders, POST),
      ]),
    );
    s.transport.take();
    const [request] = s.requests;
    request.respond(200, false);
    request.send('held', true);
    if (!complete) request.encoder!.stream.resetStream(StreamResetReason.LocalReset);
    assert.deepEqual(s.transport.log(), ['HEADERS 1']);
    assert.equal(s.transport.flushWatched, 1);
    s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(100)));
    assert.deepEqual(s.transport.log(), complete ? ['DATA 1 4 ES'] : ['DATA 1 4 ES', 'RST 1 0']);
    assert.equal(s.codec.activeStreams, 0);
    assert.equal(request.reset, null);
  }
});

test('held responses of a peer that gives no window are dropped after two flush intervals', () => {
  const s = server();
  s.answer = (request) => {
    request.respond(200, false);
    request.send('held', true);
  };
  s.receive(Buffer.concat([PREFACE, frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(0)]), headers(1, END_BOTH, GET)]));
  assert.equal(s.codec.onFlushTimeout(), true);
  assert.equal(s.codec.onFlushTimeout(), false);
  assert.equal(s.codec.activeStreams, 0);
  assert.equal(s.counter('tx_flush_timeout'), 1);
});

test('trailers wait for the data before them', () => {
  const s = server();
  s.answer = () => {};
  s.receive(Buffer.concat([PREFACE, frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(2)]), headers(1, END_BOTH, GET)]));
  s.transport.take();
  const [request] = s.requests;
  request.respond(200, false);
  request.send('body', false);
  s.transport.take();
  sendTrailers(request, [['grpc-status', '0']]);
  assert.deepEqual(s.transport.log(), []);
  s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(2)));
  assert.deepEqual(s.transport.log(), ['DATA 1 2', 'HEADERS 1 ES']);
});

test('window is given back for what was taken, not for what a paused stream got', () => {
  const s = server({ initialStreamWindowSize: 65535, initialConnectionWindowSize: 65535 });
  s.answer = () => {};
  s.started().receive(headers(1, Flag.EndHeaders, POST));
  const [request] = s.requests;
  const stream = request.encoder!.stream;
  for (let i = 0; i < 4; i++) s.receive(data(1, 0, 'x'.repeat(10_000)));
  assert.deepEqual(s.transport.log(), ['WINDOW 1 40000']);
  stream.readDisable(true);
  for (let i = 0; i < 6; i++) s.receive(data(1, 0, 'x'.repeat(10_000)));
  assert.deepEqual(s.transport.log(), []);
  stream.readDisable(false);
  assert.deepEqual(s.transport.log(), ['WINDOW 1 60000']);
  assert.equal(request.body.length, 100_000);
});

test('a peer that ignores the windows', () => {
  const s = server({ initialStreamWindowSize: 65535, initialConnectionWindowSize: 1 << 20 });
  s.answer = () => {};
  s.started().receive(headers(1, Flag.EndHeaders, POST));
  s.requests[0].encoder!.stream.readDisable(true);
  for (let i = 0; i < 5; i++) s.receive(data(1, 0, 'x'.repeat(16_000)));
  assert.equal(s.error, null);
  assert.deepEqual(s.transport.log(), ['RST 1 3']);
  const c = server({ initialStreamWindowSize: 1 << 20, initialConnectionWindowSize: 65535 });
  c.answer = () => {};
  c.started().receive(headers(1, Flag.EndHeaders, POST));
  c.requests[0].encoder!.stream.readDisable(true);
  for (let i = 0; i < 5; i++) c.receive(data(1, 0, 'x'.repeat(16_000)));
  assert.equal(c.error?.details, 'connection window exceeded');
});

test('a connection that begins while memory is short gets a smaller window, which grows later', () => {
  const taken = Array.from({ length: 5200 }, () => slab.allocate());
  const s = server();
  s.answer = () => {};
  s.receive(START);
  const [, window] = s.transport.take();
  assert.equal(readUint32(window.payload, 0), ((24 << 20) >> 4) - 65535);
  for (const block of taken) slab.release(block);
  s.receive(headers(1, Flag.EndHeaders, POST));
  for (let i = 0; i < 60; i++) s.receive(data(1, 0, 'x'.repeat(16_000)));
  assert.equal(s.error, null);
  const [update] = s.transport.take().filter((f) => f.type === FrameType.WindowUpdate && f.id === 0);
  assert.ok(readUint32(update.payload, 0) > 22 << 20);
});

test('DATA for a stream we reset is dropped, and its window given back', () => {
  const s = server({ initialStreamWindowSize: 65535, initialConnectionWindowSize: 65535 });
  s.answer = () => {};
  s.started().receive(headers(1, Flag.EndHeaders, POST));
  s.requests[0].encoder!.stream.resetStream(StreamResetReason.LocalReset);
  assert.deepEqual(s.transport.log(), ['RST 1 2']);
  for (let i = 0; i < 4; i++) s.receive(data(1, 0, 'x'.repeat(16_000)));
  assert.equal(s.error, null);
  const updates = s.transport.take().filter((f) => f.type === FrameType.WindowUpdate);
  assert.deepEqual(
    updates.map((f) => f.id),
    [0],
  );
});

// Ends.

test('GOAWAY in two steps: all streams, then the last one taken', () => {
  const s = server();
  s.answer = () => {};
  s.started().receive(headers(1, END_BOTH, GET));
  s.codec.shutdownNotice();
  assert.deepEqual(s.transport.log(), ['GOAWAY 2147483647 0']);
  s.receive(headers(3, END_BOTH, GET));
  s.codec.goAway();
  assert.deepEqual(s.transport.log(), ['GOAWAY 3 0']);
  s.receive(headers(5, END_BOTH, GET));
  assert.deepEqual(s.transport.log(), ['RST 5 7']);
  for (const request of s.requests) request.respond(200, true);
  assert.deepEqual(s.transport.log(), ['HEADERS 1 ES', 'HEADERS 3 ES']);
  assert.equal(s.codec.activeStreams, 0);
});

test('a reset by the client', () => {
  const s = server();
  s.answer = () => {};
  s.started().receive(Buffer.concat([headers(1, END_BOTH, GET), headers(3, END_BOTH, GET)]));
  s.receive(Buffer.concat([frame(FrameType.RstStream, 0, 1, uint32(8)), frame(FrameType.RstStream, 0, 3, uint32(7))]));
  assert.equal(s.requests[0].reset, StreamResetReason.RemoteReset);
  assert.equal(s.requests[1].reset, StreamResetReason.RemoteRefusedStreamReset);
  assert.equal(s.counter('rx_reset'), 2);
  s.requests[0].respond(200, true);
  assert.deepEqual(s.transport.log(), []);
});

test('extended CONNECT is an upgrade to filters', () => {
  const s = server({ allowConnect: true });
  s.answer = () => {};
  s.started().receive(
    headers(
      1,
      Flag.EndHeaders,
      block([':method', 'CONNECT'], [':protocol', 'websocket'], [':scheme', 'http'], [':path', '/chat'], [':authority', 'a']),
    ),
  );
  const seen = s.requests[0].headers ?? [];
  assert.ok(seen.includes(':method: GET'));
  assert.ok(seen.includes('upgrade: websocket'));
  assert.ok(seen.includes('connection: upgrade'));
  assert.ok(seen.some((line) => line.startsWith('sec-websocket-key: ')));
  s.requests[0].respond(101, false, ['upgrade', 'websocket'], ['connection', 'upgrade'], ['sec-websocket-accept', 'x']);
  const [head] = s.transport.take();
  assert.deepEqual(s.transport.fields(head), [[':status', '200']]);
});

test('large header sets go out in CONTINUATION frames', () => {
  const s = server();
  s.answer = (request) =>
    request.respond(200, true, ...Array.from({ length: 40 }, (_, i) => [`x-${i}`, 'v'.repeat(1000)] as [string, string]));
  s.started().receive(headers(1, END_BOTH, GET));
  const frames = s.transport.take();
  assert.deepEqual(
    frames.map((f) => [f.type, f.flags, f.payload.length <= 16384]),
    [
      [FrameType.Headers, Flag.EndStream, true],
      [FrameType.Continuation, 0, true],
      [FrameType.Continuation, Flag.EndHeaders, true],
    ],
  );
});

function sendTrailers(request: TestServer['requests'][number], fields: [string, string][]): void {
  const map = HeaderMap.of(slab, fields);
  request.encoder!.encodeTrailers(map);
  map.release();
}
