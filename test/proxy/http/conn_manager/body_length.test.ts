/** Filters that change a body and leave its content-length: neither side is left with a message of another length than announced. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SliceBuffer } from '../../../../src/core/buffer/slice_buffer.ts';
import {
  FilterDataStatus,
  FilterHeadersStatus,
  FilterTrailersStatus,
  type HttpFilterFactory,
  type StreamDecoderFilter,
  type StreamEncoderFilter,
} from '../../../../src/proxy/http/filter.ts';
import { Flag } from '../../../../src/proxy/stream_info/stream_info.ts';
import { parse, TestProxy } from '../support/proxy.ts';

type Change = (data: SliceBuffer, end: boolean) => void;
const leave: Change = () => {};
const longer: Change = (data, end) => {
  if (end) data.appendLatin1('GET /smuggled HTTP/1.1\r\n\r\n');
};
const shorter: Change = (data) => data.drain(1);

function changing(request: Change, response: Change): HttpFilterFactory {
  return (callbacks) => {
    const filter: StreamDecoderFilter & StreamEncoderFilter = {
      setDecoderFilterCallbacks() {},
      setEncoderFilterCallbacks() {},
      decodeHeaders: () => FilterHeadersStatus.Continue,
      decodeData(data, end) {
        request(data, end);
        return FilterDataStatus.Continue;
      },
      decodeTrailers: () => FilterTrailersStatus.Continue,
      encode1xxHeaders: () => FilterHeadersStatus.Continue,
      encodeHeaders: () => FilterHeadersStatus.Continue,
      encodeData(data, end) {
        response(data, end);
        return FilterDataStatus.Continue;
      },
      encodeTrailers: () => FilterTrailersStatus.Continue,
      onDestroy() {},
    };
    callbacks.addStreamFilter(filter);
  };
}

const POST = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n';
/** In one piece with its head, and after it. */
const DELIVERIES = [['abcdef'], ['abc', 'def']];

for (const [name, change] of [
  ['longer', longer],
  ['shorter', shorter],
] as const)
  for (const pieces of DELIVERIES) {
    test(`a request body in ${pieces.length} made ${name}: 503, the upstream connection closes, the client's lives`, () => {
      const proxy = new TestProxy({ filters: [changing(change, leave)] });
      const client = proxy.connect();
      client.receive(`${POST}${pieces.join('')}`);
      const upstream = proxy.upstream();
      assert.doesNotMatch(upstream.sent, /smuggled/);
      assert.equal(upstream.state, 'closed');
      const response = parse(client.takeSent());
      assert.equal(response.start, 'HTTP/1.1 503 Service Unavailable');
      assert.match(response.body, /http1\.content_length_mismatch/);
      assert.equal(proxy.lastLog.flags, Flag.LocalReset);
      assert.equal(proxy.counter('cluster.c.http1.content_length_mismatch'), 1);
      assert.equal(client.state, 'open');
      proxy.finish();
    });

    test(`a response body in ${pieces.length} made ${name}: cut off, and the connection closes`, () => {
      const proxy = new TestProxy({ filters: [changing(leave, change)] });
      const client = proxy.connect();
      client.receive(`${POST}abcdef`);
      const upstream = proxy.upstream();
      upstream.receive(OK + pieces[0]);
      for (const piece of pieces.slice(1)) upstream.receive(piece);
      const response = parse(client.takeSent());
      assert.equal(response.start, 'HTTP/1.1 200 OK');
      assert.ok(response.body.length < 6, response.body);
      assert.equal(client.state, 'closed');
      assert.equal(proxy.lastLog.details, 'http1.content_length_mismatch');
      assert.equal(proxy.counter('http.in.http1.content_length_mismatch'), 1);
      assert.equal(proxy.counter('http.in.downstream_rq_tx_reset'), 1);
      proxy.finish();
    });
  }

test('a mismatch while the client waits for another request on the connection answers neither with the surplus', () => {
  const proxy = new TestProxy({ filters: [changing(leave, longer)] });
  const client = proxy.connect();
  client.receive(`${POST}abcdef${POST}ghijkl`);
  proxy.upstream().receive(`${OK}abcdef`);
  assert.equal(client.state, 'closed');
  assert.equal(proxy.upstreams.length, 1, 'the second request was not read');
  assert.doesNotMatch(client.sent, /smuggled/);
  proxy.finish();
});
