/**
 * RFC 9113 by section, on the server's codec: what each section asks for that has no test of its own elsewhere. `server_connection.test.ts`
 * has the connection and stream errors of 6 and the floods, `hpack.test.ts` the compression of 4.3, `test/interop/h2spec.test.ts` runs
 * h2spec where it is installed.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { StreamResetReason } from '../../../../src/proxy/http/codec.ts';
import { ErrorCode, Flag, FrameType, PREFACE, Setting } from '../../../../src/proxy/http/http2/frame.ts';
import { block, END_BOTH, type Frame, frame, GET, POST, SETTINGS, slab, TestServer, uint32 } from './harness.ts';

let blocks = 0;
let servers: TestServer[] = [];

beforeEach(() => {
  blocks = slab.blocksInUse;
  servers = [];
});

afterEach(() => {
  for (const one of servers) one.close();
  assert.equal(slab.blocksInUse, blocks, 'blocks are left');
});

function started(...given: ConstructorParameters<typeof TestServer>): TestServer {
  const made = new TestServer(...given);
  servers.push(made);
  return made.started();
}

const headers = (id: number, flags: number, payload: number[]): Uint8Array => frame(FrameType.Headers, flags, id, payload);
const data = (id: number, flags: number, payload: number[] | string = 'x'): Uint8Array =>
  frame(FrameType.Data, flags, id, payload);
const reset = (id: number): Uint8Array => frame(FrameType.RstStream, 0, id, uint32(8));
const setting = (id: number, value: number): Uint8Array => frame(FrameType.Settings, 0, 0, [id >> 8, id & 255, ...uint32(value)]);
const fields = (...list: [string, string][]): number[] => block(...list);
const request = (...more: [string, string][]): number[] => [...GET, ...fields(...more)];

/** Bytes after which the connection has to end with GOAWAY of this code. */
function endsConnection(code: number, bytes: Uint8Array[], settings = {}): void {
  for (const cut of [0, 1]) {
    const s = started(settings);
    s.answer = () => {};
    s.receive(Buffer.concat(bytes), cut);
    assert.match(s.transport.log().at(-1) ?? 'nothing', new RegExp(`^GOAWAY \\d+ ${code}$`));
    assert.notEqual(s.error, null);
  }
}

/** Bytes after which stream 1 has to end with RST_STREAM of this code, and stream 3 is served. */
function endsStream(code: number, bytes: Uint8Array[], settings = {}): void {
  for (const cut of [0, 1]) {
    const s = started(settings);
    s.answer = () => {};
    s.receive(Buffer.concat(bytes), cut);
    assert.equal(s.error, null);
    assert.deepEqual(
      s.transport.log().filter((line) => line.startsWith('RST')),
      [`RST 1 ${code}`],
    );
    serves(s, 3);
  }
}

function serves(s: TestServer, id: number): void {
  s.answer = (one) => one.respond(204, true);
  s.receive(headers(id, END_BOTH, GET));
  assert.equal(s.error, null);
  assert.equal(s.transport.log().at(-1), `HEADERS ${id} ES`);
}

/** Bytes that change nothing: the next stream is served. */
function ignores(bytes: Uint8Array[], next = 1): void {
  for (const cut of [0, 1]) {
    const s = started();
    s.receive(Buffer.concat(bytes), cut);
    assert.equal(s.error, null);
    serves(s, next);
  }
}

describe('3.4 connection preface', () => {
  test('any byte that is wrong, at any place, ends the connection', () => {
    for (let at = 0; at < PREFACE.length; at++) {
      const s = new TestServer();
      servers.push(s);
      const wrong = Uint8Array.from(PREFACE);
      wrong[at] ^= 1;
      s.receive(wrong);
      assert.equal(s.error?.kind, 'protocol', `byte ${at}`);
      assert.match(s.transport.log().at(-1) ?? '', /^GOAWAY 0 1$/);
    }
  });
  test('SETTINGS are the first frame of both; an acknowledgement is none', () => {
    const s = new TestServer();
    servers.push(s);
    s.receive(PREFACE);
    assert.equal(s.transport.take()[0].type, FrameType.Settings);
    s.receive(frame(FrameType.Settings, Flag.Ack, 0));
    assert.equal(s.error?.kind, 'protocol');
  });
});

describe('4.1 frame format', () => {
  test('unknown types are ignored, on any stream and of any size that is allowed', () => {
    ignores([frame(0x16, 0xff, 0, 'x'), frame(0xff, 0, 7, new Uint8Array(16384)), frame(0xa, 0, 2)]);
  });
  test('flags that a type does not define are ignored', () => {
    ignores([frame(FrameType.Ping, 0xfe, 0, '12345678'), frame(FrameType.Priority, 0xff, 1, [...uint32(0), 1])]);
    ignores([headers(1, END_BOTH | 0xd2, [0, ...GET])].slice(1));
  });
  test('the reserved bit of a stream number is ignored', () => {
    const bytes = frame(FrameType.Ping, 0, 0, '12345678');
    bytes[5] |= 0x80;
    ignores([bytes]);
    const s = started();
    const head = headers(1, END_BOTH, GET);
    head[5] |= 0x80;
    s.receive(head);
    assert.deepEqual(s.transport.log(), ['HEADERS 1 ES']);
  });
});

describe('4.2 frame size', () => {
  test('16384 bytes are taken', () => {
    const s = started();
    s.receive(Buffer.concat([headers(1, Flag.EndHeaders, POST), data(1, Flag.EndStream, new Array(16384).fill(1))]));
    assert.equal(s.requests[0].body.length, 16384);
  });
  for (const [name, type, id] of [
    ['HEADERS', FrameType.Headers, 1],
    ['SETTINGS', FrameType.Settings, 0],
    ['DATA', FrameType.Data, 1],
    ['unknown', 0x20, 0],
  ] as const) {
    test(`${name} of one byte more are not`, () =>
      endsConnection(ErrorCode.FrameSizeError, [
        headers(1, Flag.EndHeaders, POST).subarray(0, id === 1 && type === 0 ? 99 : 0),
        frame(type, 0, id, new Uint8Array(16385)),
      ]));
  }
});

describe('4.3 field sections', () => {
  test('a table size above what was announced', () =>
    endsConnection(ErrorCode.CompressionError, [headers(1, END_BOTH, [0x3f, 0xe2, 0x1f, ...GET])]));
  test('a block that is not decoded ends the connection even when its stream is refused', () => {
    endsConnection(ErrorCode.CompressionError, [headers(1, END_BOTH, GET), headers(3, END_BOTH, [0xff])], {
      maxConcurrentStreams: 1,
    });
  });
});

describe('5.1 stream states', () => {
  const open = headers(1, Flag.EndHeaders, POST);
  const halfClosed = headers(1, END_BOTH, GET);
  test('idle: DATA, RST_STREAM, WINDOW_UPDATE and CONTINUATION', () => {
    endsConnection(ErrorCode.ProtocolError, [data(1, 0)]);
    endsConnection(ErrorCode.ProtocolError, [reset(1)]);
    endsConnection(ErrorCode.ProtocolError, [frame(FrameType.WindowUpdate, 0, 1, uint32(1))]);
    endsConnection(ErrorCode.ProtocolError, [frame(FrameType.Continuation, 4, 1, GET)]);
  });
  test('idle: PRIORITY is allowed', () => ignores([frame(FrameType.Priority, 0, 9, [...uint32(0), 1])]));
  test('half-closed (remote): DATA and HEADERS', () => {
    endsStream(ErrorCode.StreamClosed, [halfClosed, data(1, 0)]);
    endsStream(ErrorCode.StreamClosed, [halfClosed, headers(1, END_BOTH, fields(['a', 'b']))]);
  });
  test('half-closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are allowed', () => {
    const s = started();
    s.answer = () => {};
    s.receive(halfClosed);
    s.receive(frame(FrameType.WindowUpdate, 0, 1, uint32(1)));
    s.receive(frame(FrameType.Priority, 0, 1, [...uint32(0), 1]));
    assert.equal(s.requests[0].reset, null);
    s.receive(reset(1));
    assert.equal(s.requests[0].reset, StreamResetReason.RemoteReset);
    serves(s, 3);
  });
  test('closed by the client: DATA is answered by a reset, HEADERS by the end', () => {
    endsStream(ErrorCode.StreamClosed, [open, reset(1), data(1, 0)]);
    endsConnection(ErrorCode.StreamClosed, [open, reset(1), headers(1, END_BOTH, fields(['a', 'b']))]);
  });
  test('closed by the client: WINDOW_UPDATE, PRIORITY and RST_STREAM are ignored', () =>
    ignores(
      [
        open,
        reset(1),
        frame(FrameType.WindowUpdate, 0, 1, uint32(1)),
        reset(1),
        frame(FrameType.Priority, 0, 1, [...uint32(0), 1]),
      ],
      3,
    ));
  test('closed by us: frames that were on their way are ignored, trailers keep the header table in step', () => {
    const s = started();
    s.answer = () => {};
    s.receive(open);
    s.requests[0].encoder?.stream.resetStream(StreamResetReason.LocalReset);
    assert.deepEqual(s.transport.log(), ['RST 1 2']);
    const indexed = [0x40, 1, 97, 1, 98];
    s.receive(Buffer.concat([data(1, 0), frame(FrameType.WindowUpdate, 0, 1, uint32(1)), headers(1, END_BOTH, indexed)]));
    assert.deepEqual(s.transport.log(), []);
    s.receive(headers(3, END_BOTH, [...GET, 0xbe]));
    assert.equal(s.requests[1].headers?.at(-1), 'a: b');
  });
});

describe('5.1.1 and 5.1.2 stream identifiers and their number', () => {
  test('a new stream has an odd number above all before', () => {
    endsConnection(ErrorCode.ProtocolError, [headers(2, END_BOTH, GET)]);
    endsConnection(ErrorCode.StreamClosed, [headers(5, END_BOTH, GET), headers(3, END_BOTH, GET)]);
  });
  test('numbers that were left out are closed', () =>
    endsConnection(ErrorCode.StreamClosed, [headers(7, END_BOTH, GET), headers(5, END_BOTH, GET)]));
  test('streams beyond the limit are refused; an end makes room', () => {
    const s = started({ maxConcurrentStreams: 1 });
    s.answer = () => {};
    s.receive(Buffer.concat([headers(1, END_BOTH, GET), headers(3, END_BOTH, GET)]));
    assert.deepEqual(s.transport.log(), [`RST 3 ${ErrorCode.RefusedStream}`]);
    s.receive(reset(1));
    serves(s, 5);
  });
});

test('5.3 priorities are read and change nothing', () => {
  const s = started();
  const priority = [...uint32(0x80000000 + 11), 255];
  s.receive(
    Buffer.concat([
      frame(FrameType.Priority, 0, 11, [...uint32(9), 3]),
      headers(1, END_BOTH | Flag.Priority, [...priority, ...GET]),
    ]),
  );
  assert.deepEqual(s.transport.log(), ['HEADERS 1 ES']);
});

describe('5.4 errors', () => {
  test('5.4.1 GOAWAY names the last stream, and nothing is read after it', () => {
    const s = started();
    s.answer = () => {};
    s.receive(Buffer.concat([headers(1, END_BOTH, GET), headers(3, END_BOTH, GET), data(0, 0), headers(5, END_BOTH, GET)]));
    assert.deepEqual(s.transport.log(), ['GOAWAY 3 1']);
    assert.equal(s.requests.length, 2);
  });
  test('5.4.2 a reset is not answered by a reset', () => {
    const s = started();
    s.answer = () => {};
    s.receive(Buffer.concat([headers(1, END_BOTH, GET), reset(1), reset(1)]));
    assert.deepEqual(s.transport.log(), []);
    assert.equal(s.counter('rx_reset'), 1);
  });
});

test('5.5 an unknown frame inside a header block ends the connection', () =>
  endsConnection(ErrorCode.ProtocolError, [headers(1, 0, GET), frame(0x33, 0, 1, 'x')]));

describe('6.1 to 6.4', () => {
  test('6.1 padding counts for flow control, and is given back', () => {
    const s = started({ initialStreamWindowSize: 65535, initialConnectionWindowSize: 65535 });
    s.answer = () => {};
    s.receive(headers(1, Flag.EndHeaders, POST));
    for (let i = 0; i < 2000; i++) s.receive(data(1, Flag.Padded, [255, 1, ...new Array(255).fill(0)]));
    assert.equal(s.error, null);
    assert.equal(s.requests[0].body.length, 2000);
    const credited = s.transport.take().filter((f: Frame) => f.type === FrameType.WindowUpdate && f.id === 0);
    assert.ok(credited.length >= (2000 * 257) / 65535 - 1);
  });
  test('6.2 padding of HEADERS that leaves nothing', () =>
    endsConnection(ErrorCode.ProtocolError, [headers(1, END_BOTH | Flag.Padded, [1])]));
  test('6.3 PRIORITY of 4 and of 6 bytes', () => {
    endsConnection(ErrorCode.FrameSizeError, [frame(FrameType.Priority, 0, 1, [0, 0, 0, 0])]);
    endsConnection(ErrorCode.FrameSizeError, [frame(FrameType.Priority, 0, 1, [0, 0, 0, 0, 0, 0])]);
  });
  test('6.4 RST_STREAM of 3 and of 5 bytes', () => {
    for (const size of [3, 5])
      endsConnection(ErrorCode.FrameSizeError, [
        headers(1, Flag.EndHeaders, POST),
        frame(FrameType.RstStream, 0, 1, new Uint8Array(size)),
      ]);
  });
});

describe('6.5 SETTINGS', () => {
  test('6.5.2 unknown ones are ignored, the last of several values holds', () => {
    const s = started();
    s.answer = (one) => {
      one.respond(200, false);
      one.send('abcdef', true);
    };
    s.receive(
      Buffer.concat([
        setting(0x9999, 1),
        frame(FrameType.Settings, 0, 0, [0, 4, ...uint32(1), 0, 4, ...uint32(3)]),
        headers(1, END_BOTH, GET),
      ]),
    );
    assert.deepEqual(s.transport.log(), ['HEADERS 1', 'DATA 1 3']);
  });
  test('6.5.2 edges: what is just allowed', () =>
    ignores([
      setting(Setting.MaxFrameSize, 16384),
      setting(Setting.MaxFrameSize, 0xffffff),
      setting(Setting.InitialWindowSize, 0x7fffffff),
      setting(Setting.EnablePush, 0),
      setting(Setting.EnablePush, 1),
      setting(Setting.MaxConcurrentStreams, 0),
      setting(Setting.MaxHeaderListSize, 0),
    ]));
  test('6.5.2 ENABLE_CONNECT_PROTOCOL of 2', () =>
    endsConnection(ErrorCode.ProtocolError, [setting(Setting.EnableConnectProtocol, 2)]));
  test('6.5.2 a table size of 0: nothing is indexed any more', () => {
    const s = started();
    s.answer = (one) => one.respond(200, true, ['x-a', 'b']);
    s.receive(setting(Setting.HeaderTableSize, 0));
    s.transport.take();
    for (const id of [1, 3, 5]) s.receive(headers(id, END_BOTH, GET));
    const heads = s.transport.take().filter((f: Frame) => f.type === FrameType.Headers);
    assert.equal(heads.length, 3);
    // The table size update comes first, once.
    assert.equal(heads[0].payload[0], 0x20);
    for (const head of heads)
      assert.deepEqual(s.transport.fields(head), [
        [':status', '200'],
        ['x-a', 'b'],
      ]);
  });
  test('6.5.3 each is acknowledged once', () => {
    const s = started();
    s.receive(Buffer.concat([SETTINGS, setting(99, 1), frame(FrameType.Settings, Flag.Ack, 0)]));
    assert.deepEqual(
      s.transport.take().map((f: Frame) => [f.type, f.flags, f.payload.length]),
      [
        [FrameType.Settings, Flag.Ack, 0],
        [FrameType.Settings, Flag.Ack, 0],
      ],
    );
  });
});

describe('6.7 to 6.10', () => {
  test('6.7 PING is answered with what it carried, an answer is not', () => {
    const s = started();
    s.receive(Buffer.concat([frame(FrameType.Ping, 0, 0, '12345678'), frame(FrameType.Ping, Flag.Ack, 0, 'abcdefgh')]));
    const [pong, ...rest] = s.transport.take();
    assert.deepEqual([pong.type, pong.flags, Buffer.from(pong.payload).toString()], [FrameType.Ping, Flag.Ack, '12345678']);
    assert.equal(rest.length, 0);
    assert.equal(s.transport.pingAcks, 1);
  });
  test('6.8 GOAWAY of a client: its streams are still answered, new ones too', () => {
    const s = started();
    s.answer = () => {};
    s.receive(Buffer.concat([headers(1, END_BOTH, GET), frame(FrameType.GoAway, 0, 0, [...uint32(0), ...uint32(0), 1, 2, 3])]));
    s.requests[0].respond(200, true);
    assert.deepEqual(s.transport.log(), ['HEADERS 1 ES']);
    serves(s, 3);
  });
  test('6.9 WINDOW_UPDATE of 3 and of 5 bytes, on a stream', () => {
    for (const size of [3, 5])
      endsConnection(ErrorCode.FrameSizeError, [
        headers(1, END_BOTH, GET),
        frame(FrameType.WindowUpdate, 0, 1, new Uint8Array(size)),
      ]);
  });
  test('6.9 an increment of 0, and windows that overflow', () => {
    endsStream(ErrorCode.ProtocolError, [headers(1, END_BOTH, GET), frame(FrameType.WindowUpdate, 0, 1, uint32(0))]);
    endsStream(ErrorCode.FlowControlError, [headers(1, END_BOTH, GET), frame(FrameType.WindowUpdate, 0, 1, uint32(0x7fffffff))]);
    endsConnection(ErrorCode.ProtocolError, [frame(FrameType.WindowUpdate, 0, 0, uint32(0))]);
    endsConnection(ErrorCode.FlowControlError, [frame(FrameType.WindowUpdate, 0, 0, uint32(0x7fffffff))]);
  });
  test('6.9.2 a change of the initial window moves those of open streams, beyond the limit it ends the connection', () =>
    endsConnection(ErrorCode.FlowControlError, [
      headers(1, END_BOTH, GET),
      frame(FrameType.WindowUpdate, 0, 1, uint32(0x7fffffff - 65535)),
      setting(Setting.InitialWindowSize, 65536),
    ]));
  test('6.10 a block in many CONTINUATION frames, also when the last has nothing', () => {
    const s = started();
    s.receive(
      Buffer.concat([
        headers(1, Flag.EndStream, GET.slice(0, 3)),
        frame(FrameType.Continuation, 0, 1, GET.slice(3)),
        frame(FrameType.Continuation, Flag.EndHeaders, 1),
      ]),
    );
    assert.deepEqual(s.transport.log(), ['HEADERS 1 ES']);
  });
  test('6.10 CONTINUATION on stream 0, and after a block that is complete', () => {
    endsConnection(ErrorCode.ProtocolError, [frame(FrameType.Continuation, 4, 0, GET)]);
    endsConnection(ErrorCode.ProtocolError, [headers(1, END_BOTH, GET), frame(FrameType.Continuation, 4, 1, GET)]);
  });
});

test('7 unknown error codes are resets and ends like others', () => {
  const s = started();
  s.answer = () => {};
  s.receive(
    Buffer.concat([
      headers(1, END_BOTH, GET),
      frame(FrameType.RstStream, 0, 1, uint32(0xffff)),
      frame(FrameType.GoAway, 0, 0, [...uint32(0), ...uint32(0xffff)]),
    ]),
  );
  assert.equal(s.requests[0].reset, StreamResetReason.RemoteReset);
  serves(s, 3);
});

const malformed: [section: string, what: string, block: number[]][] = [
  ['8.2.1', 'an upper-case letter in a name', request(['x-A', 'b'])],
  ['8.2.1', 'a space in a name', request(['x a', 'b'])],
  ['8.2.1', 'a colon in a name', request(['x:a', 'b'])],
  ['8.2.1', 'an empty name', request(['', 'b'])],
  ['8.2.1', 'a byte above 127 in a name', request(['x\xe4', 'b'])],
  ['8.2.1', 'NUL in a value', request(['x', 'a\0b'])],
  ['8.2.1', 'CR in a value', request(['x', 'a\rb'])],
  ['8.2.1', 'LF in a value', request(['x', 'a\nb'])],
  ['8.2.2', 'connection', request(['connection', 'keep-alive'])],
  ['8.2.2', 'keep-alive', request(['keep-alive', '5'])],
  ['8.2.2', 'proxy-connection', request(['proxy-connection', 'close'])],
  ['8.2.2', 'transfer-encoding', request(['transfer-encoding', 'chunked'])],
  ['8.2.2', 'upgrade', request(['upgrade', 'h2c'])],
  ['8.2.2', 'te that is not trailers', request(['te', 'gzip'])],
  ['8.3', 'an unknown pseudo header', [...GET, ...fields([':extra', 'a'])]],
  ['8.3', 'a pseudo header of responses', [...GET, ...fields([':status', '200'])]],
  [
    '8.3',
    'a pseudo header after another field',
    [...fields([':method', 'GET'], ['a', 'b'], [':path', '/'], [':scheme', 'http'])],
  ],
  ['8.3.1', 'no :method', fields([':scheme', 'http'], [':path', '/'])],
  ['8.3.1', 'no :scheme', fields([':method', 'GET'], [':path', '/'])],
  ['8.3.1', 'no :path', fields([':method', 'GET'], [':scheme', 'http'])],
  ['8.3.1', 'an empty :path', fields([':method', 'GET'], [':scheme', 'http'], [':path', ''])],
  ['8.3.1', ':method twice', [...GET, ...fields([':method', 'GET'])]],
  ['8.3.1', ':scheme twice', [...GET, ...fields([':scheme', 'http'])]],
  ['8.3.1', ':path twice', [...GET, ...fields([':path', '/'])]],
  ['8.1.1', 'content-length that is no number', request(['content-length', 'five'])],
  ['8.1.1', 'two content-lengths that differ', [...POST, ...fields(['content-length', '1'], ['content-length', '2'])]],
  ['8.5', 'CONNECT with a path', fields([':method', 'CONNECT'], [':authority', 'a:1'], [':path', '/'])],
  ['8.5', 'CONNECT without an authority', fields([':method', 'CONNECT'])],
];

for (const [section, what, bytes] of malformed) {
  test(`${section} malformed: ${what}`, () => {
    endsConnection(ErrorCode.ProtocolError, [headers(1, END_BOTH, bytes)]);
    endsStream(ErrorCode.ProtocolError, [headers(1, END_BOTH, bytes)], { streamErrorOnInvalidHttpMessage: true });
    const s = started();
    s.receive(headers(1, END_BOTH, bytes));
    assert.equal(s.requests.length, 0, 'nobody saw it');
    assert.equal(s.counter('rx_messaging_error'), 1);
  });
}

describe('8.1 message framing', () => {
  const post = (...more: [string, string][]): Uint8Array => headers(1, Flag.EndHeaders, [...POST, ...fields(...more)]);
  test('a second HEADERS without END_STREAM, a pseudo header in trailers, a length that is not kept', () => {
    const bad = [
      [post(), headers(1, Flag.EndHeaders, fields(['a', 'b']))],
      [post(), headers(1, END_BOTH, fields([':method', 'POST']))],
      [post(['content-length', '1']), data(1, Flag.EndStream, 'ab')],
      [post(['content-length', '3']), data(1, 0, 'a'), data(1, Flag.EndStream, 'b')],
      [post(['content-length', '3']), data(1, 0, 'a'), headers(1, END_BOTH, fields(['a', 'b']))],
    ];
    for (const bytes of bad) {
      endsConnection(ErrorCode.ProtocolError, bytes);
      endsStream(ErrorCode.ProtocolError, bytes, { streamErrorOnInvalidHttpMessage: true });
    }
  });
  test('te: trailers, a length that is kept, an empty trailer block', () => {
    const s = started();
    s.receive(
      Buffer.concat([
        post(['te', 'trailers'], ['content-length', '2']),
        data(1, 0, 'a'),
        data(1, 0, 'b'),
        headers(1, END_BOTH, []),
      ]),
    );
    assert.equal(s.error, null);
    assert.equal(s.requests[0].body, 'ab');
    assert.equal(s.requests[0].ended, true);
  });
});
