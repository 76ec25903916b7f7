/**
 * Long bodies from the host stack are passed on by reference: from the memory of the sender's FIFO, which has room for more when the receiver
 * has taken them. Byte-exact, for receivers that are slow or look at the bytes, for senders that end, and with nothing left behind.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage, type RequestListener, request } from 'node:http';
import { get as getSecurely } from 'node:https';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CertificateFactory } from '../../support/certificates.ts';
import { BACKENDS, skipReason } from '../../support/dispatchers.ts';
import { closeAtEnd, httpRequest, type ProxyProcess, startProxy, until } from '../../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy } from '../support/config.ts';
import { unusedPort } from '../support/raw.ts';
import { downstreamTls, files } from '../support/tls.ts';
import { bytes, httpUpstream, testBytes } from '../support/upstreams.ts';
import { onVcl, type StackAndApp, startStack, vclExtension, vclRequest, vclUpstream } from '../support/vcl.ts';

const SIZE = 5_000_003;
const LONG = 40_000_000;
const SERVER = fileURLToPath(new URL('../support/vcl_server.ts', import.meta.url));
const ROUTER = { name: 'router', typed_config: { '@type': type('router.v3.Router') } };
const BUFFER = { name: 'buffer', typed_config: { '@type': type('buffer.v3.Buffer'), max_request_bytes: 16 << 20 } };
const body = testBytes(SIZE);
const hash = sha256(body);

function type(name: string): string {
  return `type.googleapis.com/envoy.extensions.filters.http.${name}`;
}

function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Length and hash of what comes, up to an end of any kind. */
async function digest(message: IncomingMessage): Promise<{ length: number; sha256: string; complete: boolean }> {
  const sum = createHash('sha256');
  let length = 0;
  message.on('data', (part: Buffer) => {
    sum.update(part);
    length += part.length;
  });
  message.on('error', () => {});
  if (!message.closed) await once(message, 'close');
  return { length, sha256: sum.digest('hex'), complete: message.complete };
}

async function responseOf(call: ReturnType<typeof get>): Promise<IncomingMessage> {
  const [message] = (await once(call, 'response')) as [IncomingMessage];
  return message;
}

for (const backend of BACKENDS) {
  describe(`bodies by reference, kernel sockets by ${backend}`, { skip: skipReason(backend) }, () => {
    let app: StackAndApp;
    let proxy: ProxyProcess;
    let certificates: CertificateFactory;
    let refusals = 0;
    const mortalPort = unusedPort();

    before(async () => {
      certificates = new CertificateFactory();
      app = await startStack();
      const sometimes: RequestListener = (request, response) => {
        if (request.url !== '/retry' || refusals++ % 2 === 1) {
          bytes(request, response);
          return;
        }
        // All of it has gone by: what is sent again is what was kept.
        request.resume();
        request.on('end', () => response.writeHead(503).end());
      };
      const upstream = await vclUpstream(app.net, sometimes);
      const kernel = await httpUpstream(bytes);
      const retries = { retry_policy: { retry_on: '5xx', num_retries: 1 }, timeout: '0s' };
      const routes = [
        route('/retry', 'stack', retries),
        route('/mortal', 'mortal', { timeout: '0s', prefix_rewrite: '/bytes' }),
        route('/kernel', 'kernel', { prefix_rewrite: '/up' }),
        route('/', 'stack', { timeout: '0s' }),
      ];
      const secured = listener('tls', [http('tls', routes)]);
      const [chain] = secured['filter_chains'] as Record<string, unknown>[];
      chain['transport_socket'] = downstreamTls([files(certificates.make('localhost'))]);
      proxy = await startProxy({
        backend,
        config: bootstrap(
          [
            listener('in', [http('in', routes)]),
            secured,
            listener('vin', [http('vin', routes)], onVcl),
            listener('vbuffered', [http('vbuffered', routes, { http_filters: [BUFFER, ROUTER] })], onVcl),
            listener('tcp', [tcpProxy('tcp', 'stack')]),
            listener('vtcp', [tcpProxy('vtcp', 'stack')], onVcl),
          ],
          [
            cluster('stack', [upstream.port], onVcl),
            cluster('mortal', [await mortalPort], onVcl),
            cluster('kernel', [kernel.port]),
          ],
          // Less room than a body, also than what is kept of one for a retry.
          vclExtension({ runtime_dir: app.stack.runtimeDir, rx_fifo_size: 262_144 }),
        ),
      });
    });

    after(async () => {
      await proxy.stop();
      await app.close();
    });

    /** Runs `what`, of which at least `expected` bytes must have been read by reference. */
    async function byReference(expected: number, what: () => Promise<void>): Promise<void> {
      const stat = 'vcl.rx_bytes_by_reference';
      const earlier = await proxy.stat(stat);
      await what();
      await proxy.untilStat(stat, (value) => value - earlier >= expected);
    }

    async function nothingLeft(): Promise<void> {
      // One is what small pieces are cut from.
      await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 1);
      // A FIFO that is open keeps the chunk that it would write to next.
      await until(
        async () => {
          const { text } = await app.stack.command('show segment-manager', { json: true });
          return (JSON.parse(text) as { usedKb: number }[]).every(({ usedKb }) => usedKb <= 4096);
        },
        () => 'chunks are still in use',
      );
    }

    test('downloads: with a length, in chunks, many at once', async () => {
      await byReference(SIZE * 16, async () => {
        const ask = async (path: string): Promise<void> => {
          const answer = await digest(await responseOf(get({ host: '127.0.0.1', port: proxy.port('in'), path, agent: false })));
          assert.deepEqual(answer, { length: SIZE, sha256: hash, complete: true });
        };
        await ask(`/bytes/${SIZE}`);
        await ask(`/chunked/${SIZE}`);
        await Promise.all(Array.from({ length: 16 }, () => ask(`/bytes/${SIZE}`)));
      });
      await nothingLeft();
    });

    test('uploads from the stack, to the stack and to the kernel', async () => {
      await byReference(SIZE * 1.8, async () => {
        for (const path of ['/up', '/kernel']) {
          const answer = await vclRequest(app.net, proxy.port('vin'), path, { method: 'POST', body });
          assert.deepEqual([answer.status, JSON.parse(answer.body).sha256], [200, hash]);
        }
      });
      await nothingLeft();
    });

    test('from the stack to the stack', async () => {
      await byReference(SIZE * 0.9, async () => {
        const answer = await new Promise<IncomingMessage>((resolve, reject) => {
          const agent = app.net.createAgent();
          get({ host: '127.0.0.1', port: proxy.port('vin'), path: `/bytes/${SIZE}`, agent }, resolve).on('error', reject);
        });
        assert.deepEqual(await digest(answer), { length: SIZE, sha256: hash, complete: true });
      });
      await nothingLeft();
    });

    test('tcp proxy, both ways', async () => {
      await byReference(SIZE * 1.8, async () => {
        const answer = await digest(
          await responseOf(get({ host: '127.0.0.1', port: proxy.port('tcp'), path: `/bytes/${SIZE}`, agent: false })),
        );
        assert.equal(answer.sha256, hash);
        const sent = await vclRequest(app.net, proxy.port('vtcp'), '/up', { method: 'POST', body });
        assert.equal(JSON.parse(sent.body).sha256, hash);
      });
      await nothingLeft();
    });

    test('TLS on the other side', async () => {
      await byReference(SIZE * 0.9, async () => {
        const where = { host: '127.0.0.1', port: proxy.port('tls'), path: `/bytes/${SIZE}`, agent: false } as const;
        const answer = await digest(await responseOf(getSecurely({ ...where, rejectUnauthorized: false })));
        assert.deepEqual(answer, { length: SIZE, sha256: hash, complete: true });
      });
      await nothingLeft();
    });

    test('a filter that keeps all of a body that does not fit into the FIFO', async () => {
      const answer = await vclRequest(app.net, proxy.port('vbuffered'), '/up', { method: 'POST', body });
      assert.deepEqual([answer.status, JSON.parse(answer.body).sha256], [200, hash]);
      await nothingLeft();
    });

    test('a body that is kept for a retry and does not fit into the FIFO', async () => {
      const part = body.subarray(0, 900_000);
      const answer = await vclRequest(app.net, proxy.port('vin'), '/retry', { method: 'POST', body: part });
      assert.deepEqual([answer.status, JSON.parse(answer.body).sha256], [200, sha256(part)]);
      assert.equal(await proxy.stat('cluster.stack.upstream_rq_retry_success'), 1);
      await nothingLeft();
    });

    test('a client that stops reading keeps its own sender waiting, and nobody else', async () => {
      const where = { host: '127.0.0.1', port: proxy.port('in'), path: `/bytes/${LONG}`, agent: false } as const;
      const message = await responseOf(get(where));
      await proxy.untilStat('http.in.downstream_flow_control_paused_reading_total', () => true);
      const other = await httpRequest(proxy.port('in'), `/chunked/${SIZE}`);
      assert.equal(other.body.length > 0, true);
      assert.ok((await proxy.stat('workers.buffer_blocks_held')) < 400, 'what is held is bounded');
      assert.deepEqual(await digest(message), { length: LONG, sha256: sha256(testBytes(LONG)), complete: true });
      await nothingLeft();
    });

    test('a sender that is killed in the middle: what it has sent is what arrives', async () => {
      const args = ['--disable-warning=ExperimentalWarning', SERVER, app.stack.runtimeDir, String(await mortalPort)];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      closeAtEnd(() => child.kill('SIGKILL'));
      await once(child.stdout!, 'data');
      await byReference(100_000, async () => {
        const socket = connect(proxy.port('in'), '127.0.0.1').on('error', () => {});
        socket.write(`GET /mortal/${LONG} HTTP/1.1\r\nhost: x\r\n\r\n`);
        await proxy.untilStat('workers.buffer_blocks_held', (n) => n > 10);
        child.kill('SIGKILL');
        await once(child, 'exit');
        await proxy.untilStat('cluster.mortal.upstream_cx_active', (n) => n === 0);
        const parts: Buffer[] = [];
        socket.on('data', (part: Buffer) => parts.push(part));
        await once(socket, 'close');
        const all = Buffer.concat(parts);
        const got = all.subarray(all.indexOf('\r\n\r\n') + 4);
        assert.ok(got.length > 100_000 && got.length < LONG, `${got.length} bytes`);
        assert.equal(sha256(got), sha256(testBytes(LONG).subarray(0, got.length)));
      });
      await nothingLeft();
      assert.equal((await httpRequest(proxy.port('in'), '/up')).status, 200);
    });

    test('a sender that gives up in the middle', async () => {
      const agent = app.net.createAgent();
      const call = request({ host: '127.0.0.1', port: proxy.port('vin'), path: '/up', method: 'POST', agent });
      call.on('error', () => {});
      call.setHeader('content-length', SIZE);
      await byReference(500_000, async () => {
        call.write(body.subarray(0, SIZE - 1));
        await proxy.untilStat('vcl.rx_bytes_by_reference', (value) => value > 0);
      });
      call.destroy();
      await proxy.untilStat('http.vin.downstream_cx_active', (n) => n === 0);
      await nothingLeft();
      assert.equal(await proxy.stat('vcl.workers_attached'), 2);
    });
  });
}
