/** gRPC through the proxy: @grpc/grpc-js as client and server. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type IncomingHttpHeaders, request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, upstreamHttp2 } from './support/config.ts';
import { type EchoClient, echoClient, echoServer } from './support/grpc_service.ts';
import { unusedPort } from './support/raw.ts';

interface Answer {
  value: Buffer;
  metadata: grpc.Metadata;
  status: grpc.StatusObject;
}

function unary(
  client: EchoClient,
  request: Buffer | string,
  metadata = new grpc.Metadata(),
  options: grpc.CallOptions = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let value: Buffer | undefined;
    let received = new grpc.Metadata();
    const call = client.unary(Buffer.from(request), metadata, options, (error, answer) => {
      if (error !== null) reject(error);
      value = answer;
    });
    call.on('metadata', (m: grpc.Metadata) => {
      received = m;
    });
    call.on('status', (status: grpc.StatusObject) => {
      if (status.code === grpc.status.OK) resolve({ value: value as Buffer, metadata: received, status });
    });
  });
}

const code = (expected: grpc.status) => (error: grpc.ServiceError) => {
  assert.equal(error.code, expected, error.message);
  return true;
};

const TYPES = 'type.googleapis.com/envoy.extensions.filters.http.';
const FILTERS = [
  { name: 'web', typed_config: { '@type': `${TYPES}grpc_web.v3.GrpcWeb` } },
  { name: 'bridge', typed_config: { '@type': `${TYPES}grpc_http1_bridge.v3.Config` } },
  {
    name: 'stats',
    typed_config: {
      '@type': `${TYPES}grpc_stats.v3.FilterConfig`,
      individual_method_stats_allowlist: { services: [{ name: 'test.Echo', method_names: ['Unary'] }] },
    },
  },
  { name: 'router', typed_config: { '@type': `${TYPES}router.v3.Router` } },
];

/** A message with its gRPC prefix. */
function message(text: string): Buffer {
  const frame = Buffer.alloc(5 + text.length);
  frame.writeUInt32BE(text.length, 1);
  frame.write(text, 5);
  return frame;
}

/** Flag and payload of each frame. */
function frames(body: Buffer): [flag: number, payload: string][] {
  const found: [number, string][] = [];
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32BE(at + 1);
    found.push([body[at], body.subarray(at + 5, at + 5 + length).toString('latin1')]);
    at += 5 + length;
  }
  return found;
}

describe('gRPC', () => {
  let proxy: ProxyProcess;
  let client: EchoClient;
  let failures = 0;
  let attempts = 0;
  const cancelled: string[] = [];

  before(async () => {
    const { port } = await echoServer({
      unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => {
        const text = call.request.toString();
        attempts++;
        if (text === 'fail') callback({ code: grpc.status.FAILED_PRECONDITION, details: 'no: 100 % wrong, ü' });
        else if (text === 'flaky' && failures-- > 0) callback({ code: grpc.status.UNAVAILABLE, details: 'later' });
        else if (text === 'hang') call.on('cancelled', () => cancelled.push('unary'));
        else {
          const metadata = new grpc.Metadata();
          for (const [key, value] of Object.entries(call.metadata.getMap())) if (key.startsWith('x-')) metadata.set(key, value);
          call.sendMetadata(metadata);
          const trailers = new grpc.Metadata();
          trailers.set('x-trailer', 'end');
          trailers.set('x-bytes-bin', Buffer.from([0, 1, 255]));
          callback(null, call.request, trailers);
        }
      },
      serverStream: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        if (call.request.toString() === 'endless') {
          call.on('cancelled', () => cancelled.push('stream'));
          call.write(Buffer.from('one'));
          return;
        }
        for (let i = 0; i < 100; i++) call.write(Buffer.from(String(i)));
        call.end();
      },
      clientStream: (call: grpc.ServerReadableStream<Buffer, Buffer>, callback: grpc.sendUnaryData<Buffer>) => {
        let sum = 0;
        call.on('data', (chunk: Buffer) => {
          sum += chunk.length;
        });
        call.on('end', () => callback(null, Buffer.from(String(sum))));
      },
      both: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (chunk: Buffer) => call.write(chunk));
        call.on('end', () => call.end());
      },
    });
    const routes = [
      { match: { path: '/test.Echo/Missing' }, direct_response: { status: 503, body: { inline_string: 'closed' } } },
      { ...route('/', 'down'), match: { prefix: '/', grpc: {}, headers: [{ name: 'x-down', present_match: true }] } },
      {
        ...route('/', 'echo', {
          timeout: '0s',
          max_stream_duration: { grpc_timeout_header_max: '10s', grpc_timeout_header_offset: '4.8s' },
        }),
        match: { prefix: '/', headers: [{ name: 'x-deadline', present_match: true }] },
      },
      route('/test.Echo', 'echo', {
        timeout: '0s',
        retry_policy: { retry_on: 'unavailable,cancelled', num_retries: 3, retry_back_off: { base_interval: '0.001s' } },
      }),
    ];
    proxy = await startProxy({
      config: bootstrap(
        [
          listener('web', [http('web', [route('/', 'echo')], { http_filters: FILTERS })]),
          listener('grpc', [
            http('grpc', routes, {
              access_log: [fileLog('grpc.log', '%REQ(:PATH)% %RESPONSE_CODE% %GRPC_STATUS% %GRPC_STATUS_NUMBER%')],
            }),
          ]),
        ],
        [cluster('echo', [port], upstreamHttp2()), cluster('down', [await unusedPort()], upstreamHttp2())],
      ),
    });
    client = echoClient(proxy.port('grpc'));
  });

  after(async () => {
    client.close();
    await proxy.stop();
  });

  test('unary, with metadata and trailers', async () => {
    const metadata = new grpc.Metadata();
    metadata.set('x-one', '1');
    metadata.set('x-two-bin', Buffer.from([1, 2, 3]));
    const answer = await unary(client, 'hello', metadata);
    assert.equal(answer.value.toString(), 'hello');
    assert.deepEqual(answer.metadata.get('x-one'), ['1']);
    assert.deepEqual(answer.metadata.get('x-two-bin'), [Buffer.from([1, 2, 3])]);
    assert.deepEqual(answer.status.metadata.get('x-trailer'), ['end']);
    assert.deepEqual(answer.status.metadata.get('x-bytes-bin'), [Buffer.from([0, 1, 255])]);
  });

  test('messages from nothing to 8 MB', async () => {
    for (const size of [0, 1, 16_384, 1 << 20, 8 << 20]) {
      const message = randomBytes(size);
      assert.ok((await unary(client, message)).value.equals(message), String(size));
    }
  });

  test('a status that is no OK, with its text', async () => {
    await assert.rejects(unary(client, 'fail'), (error: grpc.ServiceError) => {
      assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
      assert.equal(error.details, 'no: 100 % wrong, ü');
      return true;
    });
  });

  test('streams: server, client, both', async () => {
    const down: string[] = [];
    for await (const chunk of client.serverStream(Buffer.from('go'))) down.push(String(chunk));
    assert.equal(down.length, 100);
    assert.equal(down[99], '99');

    const sum = await new Promise<string>((resolve, reject) => {
      const call = client.clientStream((error, value) => (error === null ? resolve(String(value)) : reject(error)));
      for (let i = 0; i < 50; i++) call.write(Buffer.alloc(1000));
      call.end();
    });
    assert.equal(sum, '50000');

    const both = client.both();
    for (const text of ['a', 'b', 'c']) {
      both.write(Buffer.from(text));
      assert.equal(String((await once(both, 'data'))[0]), text);
    }
    both.end();
    both.resume();
    const [status] = (await once(both, 'status')) as [grpc.StatusObject];
    assert.equal(status.code, grpc.status.OK);
  });

  test('many calls at once share connections', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => unary(client, `n${i}`)));
    for (const [i, answer] of answers.entries()) assert.equal(answer.value.toString(), `n${i}`);
    assert.ok((await proxy.stat('cluster.echo.upstream_cx_total')) <= 2);
  });

  test('cancellation reaches the server', async () => {
    const stream = client.serverStream(Buffer.from('endless'));
    await once(stream, 'data');
    stream.cancel();
    await assert.rejects(once(stream, 'end'), code(grpc.status.CANCELLED));
    await until(() => cancelled.includes('stream'), 'the server to see it');
  });

  test('deadlines: the server is told, and the proxy itself answers DEADLINE_EXCEEDED when the route respects them', async () => {
    const metadata = new grpc.Metadata();
    await assert.rejects(unary(client, 'hang', metadata, { deadline: Date.now() + 300 }), code(grpc.status.DEADLINE_EXCEEDED));
    await until(() => cancelled.includes('unary'), 'the server to see it');
    // The deadline of the client's library never fires here: the header is ours. The server, which knows it too, is given 4.8 s more.
    const stopped = new grpc.Metadata();
    stopped.set('x-deadline', '1');
    stopped.set('grpc-timeout', '5S');
    await assert.rejects(unary(client, 'hang', stopped), code(grpc.status.DEADLINE_EXCEEDED));
    assert.equal(await proxy.stat('http.grpc.downstream_rq_max_duration_reached'), 1);
  });

  test('replies of the proxy are gRPC statuses', async () => {
    const down = new grpc.Metadata();
    down.set('x-down', '1');
    await assert.rejects(unary(client, 'x', down), (error: grpc.ServiceError) => {
      assert.equal(error.code, grpc.status.UNAVAILABLE);
      assert.match(error.details, /upstream connect error or disconnect\/reset before headers/);
      return true;
    });
    const Client = grpc.makeGenericClientConstructor(
      {
        missing: {
          path: '/test.Echo/Missing',
          requestStream: false,
          responseStream: false,
          requestSerialize: (b: Buffer) => b,
          requestDeserialize: (b: Buffer) => b,
          responseSerialize: (b: Buffer) => b,
          responseDeserialize: (b: Buffer) => b,
        },
      },
      'Missing',
    );
    const other = new Client(`127.0.0.1:${proxy.port('grpc')}`, grpc.credentials.createInsecure()) as unknown as {
      missing(request: Buffer, callback: grpc.requestCallback<Buffer>): void;
      close(): void;
    };
    await assert.rejects(
      new Promise((resolve, reject) =>
        other.missing(Buffer.from(''), (error, value) => (error ? reject(error) : resolve(value))),
      ),
      code(grpc.status.UNAVAILABLE),
    );
    other.close();
  });

  test('retries on grpc-status', async () => {
    failures = 2;
    attempts = 0;
    assert.equal((await unary(client, 'flaky')).value.toString(), 'flaky');
    assert.equal(attempts, 3);
    assert.equal(await proxy.stat('cluster.echo.upstream_rq_retry_success'), 1);
    failures = 10;
    await assert.rejects(unary(client, 'flaky'), code(grpc.status.UNAVAILABLE));
    failures = 0;
  });

  test('the access log tells the status', async () => {
    await proxy.untilLine('grpc.log', '/test.Echo/Unary 200 OK 0');
    await proxy.untilLine('grpc.log', '/test.Echo/Unary 200 FailedPrecondition 9');
    await proxy.untilLine('grpc.log', / 200 DeadlineExceeded 4$/);
  });

  describe('over HTTP/1.1', () => {
    const post = (path: string, type: string, body: Buffer | string, accept = '*/*') =>
      new Promise<{ status: number; headers: IncomingHttpHeaders; body: Buffer }>((resolve, reject) => {
        const call = request(
          {
            host: '127.0.0.1',
            port: proxy.port('web'),
            path,
            method: 'POST',
            headers: { 'content-type': type, accept },
            agent: false,
          },
          (response) => {
            const chunks: Buffer[] = [];
            response.on('data', (chunk: Buffer) => chunks.push(chunk));
            response.on('end', () =>
              resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
            );
          },
        );
        call.on('error', reject);
        call.end(body);
      });

    test('grpc-web: trailers are the last frame of the body', async () => {
      const answer = await post('/test.Echo/Unary', 'application/grpc-web+proto', message('hello'));
      assert.equal(answer.headers['content-type'], 'application/grpc-web+proto');
      const [data, trailers] = frames(answer.body);
      assert.deepEqual(data, [0, 'hello']);
      assert.equal(trailers[0], 0x80);
      assert.match(trailers[1], /grpc-status:0\r\n/);
      assert.match(trailers[1], /x-trailer:end\r\n/);
    });

    test('grpc-web-text: base64 both ways, a stream of messages', async () => {
      const text = message('go').toString('base64');
      const answer = await post('/test.Echo/ServerStream', 'application/grpc-web-text', text, 'application/grpc-web-text');
      assert.equal(answer.headers['content-type'], 'application/grpc-web-text+proto');
      const all = frames(Buffer.from(answer.body.toString(), 'base64'));
      assert.equal(all.length, 101);
      assert.deepEqual(all[99], [0, '99']);
      assert.match(all[100][1], /grpc-status:0/);
      const bad = await post('/test.Echo/Unary', 'application/grpc-web-text', '!!!!');
      assert.equal(bad.status, 400);
    });

    test('grpc-web: a status without a body', async () => {
      const answer = await post('/test.Echo/Unary', 'application/grpc-web+proto', message('fail'));
      assert.equal(answer.headers['grpc-status'] ?? /grpc-status:(\d+)/.exec(answer.body.toString('latin1'))?.[1], '9');
    });

    test('the HTTP/1.1 bridge: status and message in the headers, a length', async () => {
      const answer = await post('/test.Echo/Unary', 'application/grpc', message('hello'));
      assert.equal(answer.status, 200);
      assert.equal(answer.headers['grpc-status'], '0');
      assert.equal(answer.headers['content-length'], '10');
      assert.deepEqual(frames(answer.body), [[0, 'hello']]);
    });

    test('stats by method, and of the others together', async () => {
      const stats = await proxy.stats('^cluster.echo.grpc');
      const unaryStats = (name: string): number => stats.get(`cluster.echo.grpc.test.Echo.Unary.${name}`) ?? 0;
      assert.equal(unaryStats('success'), 2);
      assert.equal(unaryStats('failure'), 1);
      assert.equal(unaryStats('9'), 1);
      assert.equal(unaryStats('total'), 3);
      assert.equal(unaryStats('request_message_count'), 3);
      assert.equal(unaryStats('response_message_count'), 2);
      assert.equal(stats.get('cluster.echo.grpc.response_message_count'), 100);
      assert.equal(stats.get('cluster.echo.grpc.total'), 1);
    });
  });
});
