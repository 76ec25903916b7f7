/**
 * Frames without sense, and with some: the HTTP/2 codecs never throw, never loop, leave no block behind, and say an error at most once.
 * `SLUICE_FUZZ_RUNS` says how many.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StreamResetReason } from '../../src/proxy/http/codec.ts';
import { FrameType } from '../../src/proxy/http/http2/frame.ts';
import { block, frame, GET, POST, SETTINGS, START, slab, TestClient, TestServer, uint32 } from '../proxy/http/http2/harness.ts';

const RUNS = Number(process.env['SLUICE_FUZZ_RUNS'] ?? 1500);

const id = fc.oneof(fc.constantFrom(0, 1, 3, 5, 7, 9), fc.nat(20), fc.nat(0x7fffffff));
const payload = fc.oneof(
  fc.constantFrom(
    GET,
    POST,
    [0x88],
    [0x88, 0x82],
    block(['a', 'b']),
    block([':status', '204']),
    uint32(1),
    uint32(0),
    uint32(8),
    [...uint32(1 << 20)],
  ),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => [...bytes]),
  fc.nat(20_000).map((length) => new Array<number>(length % 17_000).fill(97)),
);
const anyFrame = fc
  .tuple(fc.oneof(fc.nat(10), fc.constantFrom(0, 0, 1, 1, 1, 8)), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 4, 5)), id, payload)
  .map(([type, flags, stream, bytes]) => frame(type, flags, stream, Uint8Array.from(bytes)));
const noise = fc.uint8Array({ maxLength: 30 });
/** A session that begins well. */
const session = fc.array(fc.oneof({ weight: 20, arbitrary: anyFrame }, { weight: 1, arbitrary: noise }), { maxLength: 25 });
const cut = fc.constantFrom(0, 0, 1, 3, 9, 10, 100);

test('server: any frames', () => {
  const before = slab.blocksInUse;
  fc.assert(
    fc.property(session, cut, fc.boolean(), fc.boolean(), fc.nat(3), (frames, size, streamErrors, stuck, how) => {
      const s = new TestServer({
        streamErrorOnInvalidHttpMessage: streamErrors,
        maxHeadersKb: 2,
        streamBufferLimit: 4096,
        allowConnect: true,
        maxConsecutiveInboundFramesWithEmptyPayload: 1000,
      });
      s.answer = (request) => {
        if (how === 0) return;
        if (how === 3) return request.encoder!.stream.resetStream(StreamResetReason.LocalReset);
        request.respond(200, how === 1);
        if (how === 2) request.send('x'.repeat(70_000), true);
      };
      s.receive(START);
      s.transport.stuck = stuck;
      for (const bytes of frames) s.receive(bytes, size);
      if (s.error === null) {
        s.codec.shutdownNotice();
        s.codec.goAway();
        s.codec.onFlushTimeout();
        s.codec.onFlushTimeout();
      }
      s.close();
      assert.equal(slab.blocksInUse, before);
    }),
    { numRuns: RUNS },
  );
});

test('client: any frames', () => {
  const before = slab.blocksInUse;
  fc.assert(
    fc.property(session, cut, fc.boolean(), fc.boolean(), (frames, size, streamErrors, bodies) => {
      const c = new TestClient({ streamErrorOnInvalidHttpMessage: streamErrors, maxHeadersKb: 2, streamBufferLimit: 4096 });
      c.codec.start();
      c.receive(SETTINGS);
      const responses = [0, 1, 2, 3].map((i) => c.request(!bodies || i % 2 === 0));
      for (const bytes of frames) {
        c.receive(bytes, size);
        if (bodies && c.error === null) responses[1].send('y'.repeat(20_000), false);
      }
      c.close(StreamResetReason.ConnectionTermination);
      assert.equal(c.closedStreams, 4);
      for (const response of responses) assert.ok(response.ended || response.reset !== null);
      assert.equal(slab.blocksInUse, before);
    }),
    { numRuns: RUNS },
  );
});

test('server: any bytes after the preface', () => {
  const before = slab.blocksInUse;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), cut, (bytes, size) => {
      const s = new TestServer();
      s.receive(START);
      s.receive(bytes, size);
      s.close();
      assert.equal(slab.blocksInUse, before);
    }),
    { numRuns: RUNS },
  );
});

test('header blocks cut anywhere into CONTINUATION frames', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(POST.length), { maxLength: 6 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), POST.length];
      const s = new TestServer({ maxConsecutiveInboundFramesWithEmptyPayload: 100 });
      s.receive(START);
      for (let i = 0; i + 1 < at.length; i++) {
        const last = i + 2 === at.length ? 4 : 0;
        s.receive(
          frame(i === 0 ? FrameType.Headers : FrameType.Continuation, last | (i === 0 ? 1 : 0), 1, POST.slice(at[i], at[i + 1])),
        );
      }
      assert.equal(s.error, null);
      assert.equal(s.requests[0].ended, true);
      s.close();
    }),
    { numRuns: 200 },
  );
});
