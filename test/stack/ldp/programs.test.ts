/** Programs that people run, on the host stack by LD_PRELOAD, both ends: redis, nginx with workers behind haproxy with threads, iperf3. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LdpStack, missing, noCompiler } from './support.ts';

const NGINX_PORT = 8091;
const HAPROXY_PORT = 8092;
const REDIS_PORT = 6390;
const IPERF_PORT = 5202;

describe('programs on the host stack', { skip: noCompiler, timeout: 280_000 }, () => {
  let ldp: LdpStack;

  before(async () => {
    ldp = await LdpStack.create();
  });

  after(() => ldp.close());

  /** On the kernel nobody is there. */
  async function notOnKernel(port: number): Promise<void> {
    const [error] = await once(connect(port, '127.0.0.1'), 'error').catch((reason) => [reason]);
    assert.equal(error.code, 'ECONNREFUSED');
  }

  test('redis-server and redis-cli, a benchmark, a background save', { skip: missing('redis-server', 'redis-cli') }, async () => {
    const args = ['--port', String(REDIS_PORT), '--bind', '127.0.0.1', '--save', '', '--dir', ldp.directory];
    const server = ldp.start('redis-server', args);
    server.stdout!.resume();
    await ldp.listening(REDIS_PORT);
    await notOnKernel(REDIS_PORT);
    const cli = async (...words: string[]): Promise<string> =>
      (await ldp.output('redis-cli', ['-p', String(REDIS_PORT), ...words])).out.trim();
    const value = randomBytes(100_000).toString('base64');
    writeFileSync(join(ldp.directory, 'value'), value);
    assert.equal(await cli('set', 'answer', '42'), 'OK');
    assert.equal(await cli('incr', 'answer'), '43');
    const big = `redis-cli -p ${REDIS_PORT} -x set big < ${join(ldp.directory, 'value')}`;
    assert.equal((await ldp.output('sh', ['-c', big])).out.trim(), 'OK');
    assert.equal(await cli('get', 'big'), value);
    // A child of fork that has all descriptors and uses none of them.
    assert.match(await cli('bgsave'), /Background saving started/);
    for (;;) if (/rdb_bgsave_in_progress:0/.test(await cli('info', 'persistence'))) break;
    assert.match(await cli('info', 'persistence'), /rdb_last_bgsave_status:ok/);
    const load = await ldp.output('redis-benchmark', [
      '-p',
      String(REDIS_PORT),
      '-q',
      '-n',
      '20000',
      '-c',
      '50',
      '-t',
      'set,get',
    ]);
    assert.equal(load.status, 0);
    assert.match(load.out, /GET: [\d.]+ requests per second/);
    const ended = once(server, 'close');
    await cli('shutdown', 'nosave');
    assert.deepEqual(await ended, [0, null]);
  });

  describe('nginx', { skip: missing('nginx', 'curl') }, () => {
    let nginx: ChildProcess;
    let root: string;
    const file = randomBytes(3_000_000);

    before(async () => {
      root = join(ldp.directory, 'nginx');
      mkdirSync(root, { mode: 0o755 });
      writeFileSync(join(root, 'file'), file);
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
        .map((name) => `${name}_temp_path ${root};`)
        .join(' ');
      writeFileSync(
        join(root, 'nginx.conf'),
        `daemon off; pid ${root}/pid; error_log ${root}/errors; worker_processes 3; ${process.getuid!() === 0 ? 'user root;' : ''}
         events { worker_connections 1024; }
         http { access_log off; ${temporary} sendfile on; keepalive_requests 1000000;
           server { listen 127.0.0.1:${NGINX_PORT};
             location / { root ${root}; } location /who { return 200 "$pid\\n"; } } }`,
      );
      nginx = ldp.start('nginx', ['-p', root, '-c', join(root, 'nginx.conf')]);
      await ldp.listening(NGINX_PORT);
    });

    after(() => ldp.stop(nginx));

    test('several workers, each gets connections; files by sendfile, byte-exact', async () => {
      await notOnKernel(NGINX_PORT);
      const url = `http://127.0.0.1:${NGINX_PORT}`;
      const workers = new Set<string>();
      while (workers.size < 3) workers.add((await ldp.output('curl', ['-sS', `${url}/who`])).out);
      const digest = createHash('sha256').update(file).digest('hex');
      const hash = await ldp.output('sh', ['-c', `for i in 1 2 3; do curl -sS ${url}/file | sha256sum; done`]);
      assert.deepEqual(hash.out.match(/[0-9a-f]{64}/g), [digest, digest, digest]);
    });

    test('under load by wrk', { skip: missing('wrk') }, async () => {
      const url = `http://127.0.0.1:${NGINX_PORT}`;
      for (const path of ['/who', '/file']) {
        const { out, status } = await ldp.output('wrk', ['-t2', '-c32', '-d1s', url + path]);
        assert.equal(status, 0, out);
        assert.match(out, /Requests\/sec: +[1-9]/, out);
        assert.doesNotMatch(out, /Non-2xx|Socket errors/, out);
      }
    });

    test('behind haproxy with two threads', { skip: missing('haproxy') }, async () => {
      const configuration = join(root, 'haproxy.cfg');
      writeFileSync(
        configuration,
        `global
  nbthread 2
defaults
  mode http
  timeout connect 10s
  timeout client 20s
  timeout server 20s
frontend in
  bind 127.0.0.1:${HAPROXY_PORT}
  default_backend out
backend out
  server nginx 127.0.0.1:${NGINX_PORT}
`,
      );
      const haproxy = ldp.start('haproxy', ['-f', configuration]);
      await ldp.listening(HAPROXY_PORT);
      await notOnKernel(HAPROXY_PORT);
      const url = `http://127.0.0.1:${HAPROXY_PORT}/file`;
      const hash = await ldp.output('sh', [
        '-c',
        `curl -sSZ --no-progress-meter ${`${url} `.repeat(8)} | wc -c; curl -sS ${url} | sha256sum`,
      ]);
      const [bytes, digest] = hash.out.split('\n');
      assert.equal(Number(bytes), 8 * file.length);
      assert.equal(digest.split(' ')[0], createHash('sha256').update(file).digest('hex'));
      await ldp.stop(haproxy, 'SIGKILL');
    });

    test('a reload: new workers take over, the old ones end', async () => {
      const url = `http://127.0.0.1:${NGINX_PORT}/who`;
      const before = (await ldp.output('curl', ['-sS', url])).out;
      const workers = (): string[] =>
        spawnSync('pgrep', ['-P', readFileSync(`${root}/pid`, 'utf8').trim()], { encoding: 'utf8' }).stdout.split('\n');
      process.kill(Number(readFileSync(`${root}/pid`, 'utf8')), 'SIGHUP');
      // Every answer in between is one of nginx, too; connections that a worker had not accepted when it left are reset (docs/join.md).
      const CONNECTION_RESET = [7, 52, 56];
      for (let resets = 0; workers().includes(before.trim()); ) {
        const { status, out } = await ldp.output('curl', ['-sS', '--max-time', '20', url]);
        if (status === 0) assert.match(out, /^\d+\n$/);
        else assert.ok(CONNECTION_RESET.includes(status!) && ++resets < 5, `curl ended with ${status}, ${resets} resets`);
      }
      assert.doesNotMatch((await ldp.output('curl', ['-sS', url])).out, new RegExp(`^${before}`));
    });
  });

  describe('iperf3', { skip: missing('iperf3') }, () => {
    for (const [name, ...args] of [
      ['TCP'],
      ['TCP, reverse', '-R'],
      ['TCP, four streams', '-P', '4'],
      ['TCP, both directions', '--bidir'],
      ['UDP', '-u', '-b', '200M'],
      ['UDP, reverse, as fast as can be', '-u', '-b', '0', '-R'],
      ['UDP, three streams', '-u', '-b', '50M', '-P', '3'],
    ]) {
      test(name, async () => {
        const server = ldp.start('iperf3', ['-s', '-1', '-p', String(IPERF_PORT), '-B', '127.0.0.1']);
        server.stdout!.resume();
        const ended = once(server, 'close');
        await ldp.listening(IPERF_PORT);
        const { status, out } = await ldp.output('iperf3', [
          '-c',
          '127.0.0.1',
          '-p',
          String(IPERF_PORT),
          '-t',
          '1',
          '-J',
          ...args,
        ]);
        assert.equal(status, 0, out);
        const { end } = JSON.parse(out);
        if (args.includes('-u')) {
          assert.ok(end.sum.packets > 100, out);
          // A full receiver pushes back instead of losing datagrams.
          assert.equal(end.sum.lost_packets, 0, out);
        } else assert.ok(end.sum_received.bytes > 10_000_000, out);
        await ended;
      });
    }
  });
});
