/** The filter contract: a filter that stops, buffers, adds, replies, in both directions. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import {
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type HttpFilterFactory,
  type StreamDecoderFilter,
  type StreamDecoderFilterCallbacks,
  type StreamEncoderFilter,
  type StreamEncoderFilterCallbacks,
} from '../../../../src/proxy/http/filter.ts';
import type { HeaderMap } from '../../../../src/proxy/http/header_map.ts';
import { parse, request, TestProxy } from '../support/proxy.ts';

/** Records what it is called with; each step may be replaced. */
class Probe implements StreamDecoderFilter, StreamEncoderFilter {
  readonly calls: string[] = [];
  decoder!: StreamDecoderFilterCallbacks;
  encoder!: StreamEncoderFilterCallbacks;
  onDecodeHeaders: (headers: HeaderMap, end: boolean) => FilterHeadersStatus = () => FilterHeadersStatus.Continue;
  onDecodeData: (data: SliceBuffer, end: boolean) => FilterDataStatus = () => FilterDataStatus.Continue;
  onDecodeTrailers: (trailers: HeaderMap) => FilterTrailersStatus = () => FilterTrailersStatus.Continue;
  onEncodeHeaders: (headers: HeaderMap, end: boolean) => FilterHeadersStatus = () => FilterHeadersStatus.Continue;
  onEncodeData: (data: SliceBuffer, end: boolean) => FilterDataStatus = () => FilterDataStatus.Continue;
  destroyed = 0;
  completed = 0;

  setDecoderFilterCallbacks(callbacks: StreamDecoderFilterCallbacks): void {
    this.decoder = callbacks;
  }

  setEncoderFilterCallbacks(callbacks: StreamEncoderFilterCallbacks): void {
    this.encoder = callbacks;
  }

  decodeHeaders(headers: HeaderMap, end: boolean): FilterHeadersStatus {
    this.calls.push(`headers ${end}`);
    return this.onDecodeHeaders(headers, end);
  }

  decodeData(data: SliceBuffer, end: boolean): FilterDataStatus {
    this.calls.push(`data ${data.toText()} ${end}`);
    return this.onDecodeData(data, end);
  }

  decodeTrailers(trailers: HeaderMap): FilterTrailersStatus {
    this.calls.push('trailers');
    return this.onDecodeTrailers(trailers);
  }

  decodeComplete(): void {
    this.calls.push('complete');
  }

  encode1xxHeaders(): FilterHeadersStatus {
    return FilterHeadersStatus.Continue;
  }

  encodeHeaders(headers: HeaderMap, end: boolean): FilterHeadersStatus {
    this.calls.push(`response ${headers.get(':status')} ${end}`);
    return this.onEncodeHeaders(headers, end);
  }

  encodeData(data: SliceBuffer, end: boolean): FilterDataStatus {
    this.calls.push(`response data ${data.toText()} ${end}`);
    return this.onEncodeData(data, end);
  }

  encodeTrailers(): FilterTrailersStatus {
    this.calls.push('response trailers');
    return FilterTrailersStatus.Continue;
  }

  onStreamComplete(): void {
    this.completed++;
  }

  onDestroy(): void {
    this.destroyed++;
  }

  text(text: string): SliceBuffer {
    const buffer = new SliceBuffer(this.decoder.dispatcher.slab);
    buffer.appendLatin1(text);
    return buffer;
  }
}

/** A proxy whose streams go through one probe and then a second, silent one. */
function probed(
  setUp: (probe: Probe) => void,
  options: ConstructorParameters<typeof TestProxy>[0] = {},
): { proxy: TestProxy; probe: Probe; next: Probe } {
  const probe = new Probe();
  const next = new Probe();
  setUp(probe);
  const filters: HttpFilterFactory[] = [
    (callbacks) => callbacks.addStreamFilter(probe),
    (callbacks) => callbacks.addStreamFilter(next),
  ];
  return { proxy: new TestProxy({ ...options, filters }), probe, next };
}

const POST = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

function answer(proxy: TestProxy): void {
  proxy.upstream().receive(OK);
}

test('a plain request and response pass both filters once, the response in reverse order', () => {
  const { proxy, probe, next } = probed(() => {});
  const order: string[] = [];
  probe.onEncodeHeaders = () => {
    order.push('first');
    return FilterHeadersStatus.Continue;
  };
  next.onEncodeHeaders = () => {
    order.push('second');
    return FilterHeadersStatus.Continue;
  };
  const client = proxy.connect();
  client.receive(`${POST}abcdef`);
  answer(proxy);
  assert.equal(parse(client.takeSent()).body, 'ok');
  assert.deepEqual(order, ['second', 'first']);
  const all = ['headers false', 'data abcdef true', 'complete', 'response 200 false', 'response data ok true'];
  assert.deepEqual(probe.calls, all);
  assert.deepEqual(next.calls, all);
  assert.equal(probe.destroyed, 1);
  assert.equal(probe.completed, 1);
  proxy.finish();
});

test('StopIteration holds headers; data reaches only this filter until it continues', () => {
  const { proxy, probe, next } = probed((p) => {
    p.onDecodeHeaders = () => FilterHeadersStatus.StopIteration;
    p.onDecodeData = (_data, end) => (end ? FilterDataStatus.Continue : FilterDataStatus.StopIterationAndBuffer);
  });
  const client = proxy.connect();
  client.receive(`${POST}abc`);
  assert.deepEqual(next.calls, []);
  client.receive('def');
  assert.deepEqual(probe.calls, ['headers false', 'data abc false', 'data def true', 'complete']);
  assert.deepEqual(next.calls, ['headers false', 'data abcdef true', 'complete']);
  assert.equal(parse(proxy.upstream().takeSent()).body, 'abcdef');
  answer(proxy);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('StopAllIterationAndBuffer: nothing comes until continueDecoding, then all of it', () => {
  const { proxy, probe, next } = probed((p) => {
    p.onDecodeHeaders = () => FilterHeadersStatus.StopAllIterationAndBuffer;
  });
  const client = proxy.connect();
  client.receive(`${POST}abc`);
  client.receive('def');
  assert.deepEqual(probe.calls, ['headers false']);
  probe.decoder.continueDecoding();
  assert.deepEqual(probe.calls, ['headers false', 'data abcdef true', 'complete']);
  assert.deepEqual(next.calls, ['headers false', 'data abcdef true', 'complete']);
  assert.equal(parse(proxy.upstream().takeSent()).body, 'abcdef');
  answer(proxy);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('a stopped GET continues later with the end of the stream', () => {
  const { proxy, probe, next } = probed((p) => {
    p.onDecodeHeaders = () => FilterHeadersStatus.StopIteration;
  });
  const client = proxy.connect();
  client.receive(request());
  assert.equal(proxy.upstreams.length, 0);
  probe.decoder.continueDecoding();
  assert.deepEqual(next.calls, ['headers true', 'complete']);
  answer(proxy);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('buffering beyond the limit: 413', () => {
  const { proxy, probe } = probed(
    (p) => {
      p.onDecodeHeaders = () => FilterHeadersStatus.StopIteration;
      p.onDecodeData = () => FilterDataStatus.StopIterationAndBuffer;
    },
    { bufferLimit: 4 },
  );
  const client = proxy.connect();
  client.receive(`${POST}abcde`);
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 413 Payload Too Large');
  assert.equal(response.body, 'Payload Too Large');
  assert.equal(proxy.lastLog.details, 'request_payload_too_large');
  assert.equal(proxy.counter('http.in.downstream_rq_too_large'), 1);
  assert.equal(probe.destroyed, 1);
  proxy.finish();
});

test('StopIterationAndWatermark beyond the limit stops reading, and continue starts it again', () => {
  const { proxy, probe } = probed(
    (p) => {
      p.onDecodeHeaders = () => FilterHeadersStatus.StopIteration;
      p.onDecodeData = () => FilterDataStatus.StopIterationAndWatermark;
    },
    { bufferLimit: 4 },
  );
  const client = proxy.connect();
  client.receive(`${POST}abcde`);
  assert.equal(client.disabled, 1);
  probe.onDecodeData = () => FilterDataStatus.Continue;
  probe.decoder.continueDecoding();
  proxy.upstream();
  assert.equal(client.disabled, 0);
  client.receive('f');
  assert.equal(parse(proxy.upstream().takeSent()).body, 'abcdef');
  answer(proxy);
  proxy.finish();
});

test('buffering a response beyond the limit: 500 instead', () => {
  const { proxy } = probed(
    (p) => {
      p.onEncodeHeaders = () => FilterHeadersStatus.StopIteration;
      p.onEncodeData = () => FilterDataStatus.StopIterationAndBuffer;
    },
    { bufferLimit: 4 },
  );
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabcdefgh');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 500 Internal Server Error');
  assert.equal(response.body, 'Internal Server Error');
  assert.equal(proxy.counter('http.in.rs_too_large'), 1);
  proxy.finish();
});

test('a body is added to a request without one', () => {
  const { proxy, next } = probed((p) => {
    p.onDecodeHeaders = (headers) => {
      headers.set('content-length', '5');
      p.decoder.addDecodedData(p.text('added'), false);
      return FilterHeadersStatus.Continue;
    };
  });
  const client = proxy.connect();
  client.receive(request());
  assert.deepEqual(next.calls, ['headers false', 'data added true', 'complete']);
  assert.equal(parse(proxy.upstream().takeSent()).body, 'added');
  answer(proxy);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('a body is added to a response without one', () => {
  const { proxy } = probed((p) => {
    p.onEncodeHeaders = (headers) => {
      headers.set('content-length', '5');
      p.encoder.addEncodedData(p.text('added'), false);
      return FilterHeadersStatus.Continue;
    };
  });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(parse(client.takeSent()).body, 'added');
  proxy.finish();
});

test('trailers are added with the last data', () => {
  const { proxy, next } = probed((p) => {
    p.onDecodeData = (_data, end) => {
      if (end) p.decoder.addDecodedTrailers().add('x-t', '1');
      return FilterDataStatus.Continue;
    };
  });
  const client = proxy.connect();
  client.receive(`${POST}abcdef`);
  assert.deepEqual(next.calls, ['headers false', 'data abcdef false', 'trailers', 'complete']);
  answer(proxy);
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.finish();
});

test('ContinueAndDontEndStream lets headers pass and the body follow', () => {
  const { proxy, probe, next } = probed((p) => {
    p.onDecodeHeaders = (headers) => {
      headers.set('content-length', '4');
      return FilterHeadersStatus.ContinueAndDontEndStream;
    };
  });
  const client = proxy.connect();
  client.receive(request());
  assert.deepEqual(next.calls, ['headers false']);
  probe.decoder.addDecodedData(probe.text('late'), false);
  probe.decoder.continueDecoding();
  assert.deepEqual(next.calls, ['headers false', 'data late true', 'complete']);
  assert.equal(parse(proxy.upstream().takeSent()).body, 'late');
  answer(proxy);
  proxy.finish();
});

test('a local reply from decodeHeaders: later filters see nothing of the request, all see the response', () => {
  const { proxy, probe, next } = probed((p) => {
    p.onDecodeHeaders = () => {
      p.decoder.sendLocalReply(401, 'who?', (headers) => headers.add('x-m', '1'), null, 'auth');
      return FilterHeadersStatus.StopIteration;
    };
  });
  const client = proxy.connect();
  client.receive(request() + request());
  const text = client.takeSent();
  const response = parse(text);
  assert.equal(response.start, 'HTTP/1.1 401 Unauthorized');
  assert.equal(response.headers['x-m'], '1');
  assert.ok(response.body.startsWith('who?'));
  assert.deepEqual(next.calls.slice(0, 2), ['response 401 false', 'response data who? true']);
  assert.equal(probe.destroyed, 2);
  assert.equal(proxy.lastLog.details, 'auth');
  proxy.finish();
});

test('a local reply from decodeData, after the upstream request began', () => {
  const { proxy } = probed((p) => {
    p.onDecodeData = () => {
      p.decoder.sendLocalReply(400, 'no', null, null, 'bad_body');
      return FilterDataStatus.StopIterationNoBuffer;
    };
  });
  const client = proxy.connect();
  client.receive(POST);
  const upstream = proxy.upstream();
  client.receive('abc');
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 400 Bad Request');
  assert.equal(upstream.state, 'closed');
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test('a local reply while the response is held by an encoder filter replaces it', () => {
  const { proxy, probe } = probed((p) => {
    p.onEncodeHeaders = () => FilterHeadersStatus.StopIteration;
  });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  assert.equal(client.takeSent(), '');
  probe.encoder.sendLocalReply(503, 'changed my mind', null, null, 'test');
  const response = parse(client.takeSent());
  assert.equal(response.start, 'HTTP/1.1 503 Service Unavailable');
  assert.equal(response.body, 'changed my mind');
  proxy.dispatcher.run();
  proxy.finish();
});

test('a held response continues', () => {
  const { proxy, probe } = probed((p) => {
    p.onEncodeHeaders = () => FilterHeadersStatus.StopAllIterationAndWatermark;
  });
  const client = proxy.connect();
  client.receive(request());
  proxy.upstream().receive(OK);
  assert.equal(client.takeSent(), '');
  probe.encoder.continueEncoding();
  assert.equal(parse(client.takeSent()).body, 'ok');
  proxy.dispatcher.run();
  proxy.finish();
});

test('a filter resets the stream', () => {
  const { proxy } = probed((p) => {
    p.onDecodeHeaders = () => {
      p.decoder.resetStream(0);
      return FilterHeadersStatus.StopIteration;
    };
  });
  const client = proxy.connect();
  client.receive(request());
  assert.equal(client.takeSent(), '');
  assert.equal(client.state, 'closed');
  proxy.finish();
});

test('buffer filter: waits for the body, adds the length, refuses too much', () => {
  const buffered = {
    httpFilters: [
      { name: 'b', typedConfig: { '@type': 'envoy.extensions.filters.http.buffer.v3.Buffer', maxRequestBytes: 5 } },
      { name: 'router', typedConfig: { '@type': 'envoy.extensions.filters.http.router.v3.Router' } },
    ],
  };
  const proxy = new TestProxy({ hcm: buffered });
  const client = proxy.connect();
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n');
  assert.equal(proxy.upstreams.length, 0);
  client.receive('0\r\n\r\n');
  const sent = parse(proxy.upstream().takeSent());
  assert.equal(sent.headers['content-length'], '3');
  assert.equal(sent.body, 'abc');
  answer(proxy);
  assert.equal(parse(client.takeSent()).body, 'ok');
  client.receive('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabcdef');
  assert.equal(parse(client.takeSent()).start, 'HTTP/1.1 413 Payload Too Large');
  proxy.finish();
});

test('header_mutation filter, with a route of its own', () => {
  const append = (key: string, value: string): unknown => ({
    append: { header: { key, value, rawValue: new Uint8Array() }, keepEmptyValue: false },
  });
  const proxy = new TestProxy({
    hcm: {
      httpFilters: [
        {
          name: 'm',
          typedConfig: {
            '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutation',
            mutations: {
              requestMutations: [append('x-a', '1'), { remove: 'x-b' }],
              responseMutations: [append('x-r', '%RESPONSE_CODE%')],
            },
          },
        },
        { name: 'router', typedConfig: { '@type': 'envoy.extensions.filters.http.router.v3.Router' } },
      ],
    },
    routes: [
      {
        match: { prefix: '/' },
        route: { cluster: 'c' },
        typedPerFilterConfig: {
          m: {
            '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute',
            mutations: { requestMutations: [append('x-route', '2')], responseMutations: [] },
          },
        },
      },
    ],
  });
  for (let i = 0; i < 2; i++) {
    const client = proxy.connect();
    client.receive(request('/', { 'x-b': 'gone' }));
    const sent = parse(proxy.upstream().takeSent());
    assert.equal(sent.headers['x-a'], '1');
    assert.equal(sent.headers['x-b'], undefined);
    assert.equal(sent.headers['x-route'], '2');
    answer(proxy);
    assert.equal(parse(client.takeSent()).headers['x-r'] !== undefined, true);
  }
  proxy.finish();
});
