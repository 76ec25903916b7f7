/**
 * Applications of a host stack and unmodified programs of Linux over a TUN: iperf3, curl, nginx, and thousands of connections, both
 * directions, IPv4 and IPv6.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { attach, createHostStack, type EmbeddedHostStack, type VclNet } from '../../src/stack/index.ts';
import { Iperf3Server, type StreamSocket } from './iperf3_server.ts';
import { cannotMakeNamespace } from './link/namespace.ts';

const namespaceReason = cannotMakeNamespace();
const space = `slt-iop-${process.pid}`;
const V4 = '10.73.0.2';
const V6 = 'fd73::2';
const MEGABYTES = 24 << 20;
const run = promisify(execFile);
let stack: EmbeddedHostStack;
let app: VclNet;
let directory = '';
const programs: ChildProcess[] = [];

/** Why a test with these programs cannot run; false when it can. */
function lacks(...names: string[]): string | false {
  if (namespaceReason !== null) return namespaceReason;
  for (const name of names)
    try {
      execFileSync('sh', ['-c', `command -v ${name}`], { stdio: 'pipe' });
    } catch {
      return `no ${name}`;
    }
  return false;
}

const inSpace = (program: string, ...args: string[]): Promise<{ stdout: string }> =>
  run('ip', ['netns', 'exec', space, program, ...args], { timeout: 60_000, maxBuffer: 1 << 26, encoding: 'utf8' });

before(async () => {
  if (namespaceReason !== null) return;
  directory = mkdtempSync(join(tmpdir(), 'sluice-iop-'));
  execFileSync('ip', ['netns', 'add', space]);
  execFileSync('ip', ['-n', space, 'link', 'set', 'lo', 'up']);
  stack = await createHostStack({
    network: {
      devices: [
        {
          kind: 'tun',
          name: 'sli%d',
          addresses: [`${V4}/24`, `${V6}/64`],
          hostAddresses: ['10.73.0.1/24', 'fd73::1/64'],
          netns: space,
        },
      ],
    },
  });
  app = await attach({ name: 'interop', runtimeDir: stack.runtimeDir, rxFifoSize: 1 << 19, txFifoSize: 1 << 19 });
});

after(async () => {
  if (namespaceReason !== null) return;
  app.close();
  await stack.close();
  for (const program of programs) program.kill();
  execFileSync('ip', ['netns', 'del', space]);
  rmSync(directory, { recursive: true });
});

async function listen(onConnection: (socket: ReturnType<VclNet['connect']>) => void, port: number): Promise<() => void> {
  const server = app.createServer({ allowHalfOpen: true }, onConnection);
  server.listen(port, '::');
  await once(server, 'listening');
  return () => server.close();
}

test('iperf3 sends to us and receives from us, one stream and four, both families', { skip: lacks('iperf3') }, async () => {
  const iperf = new Iperf3Server();
  const stop = await listen((socket) => iperf.accept(socket as unknown as StreamSocket), 5201);
  for (const [address, ...flags] of [[V4], [V4, '-R'], [V6, '-P', '4'], [V6, '-R', '-P', '4'], [V4, '-C', 'reno', '-M', '700']]) {
    const { stdout } = await inSpace('iperf3', '-c', address, '-n', '16M', '-J', ...flags);
    const report = JSON.parse(stdout) as {
      error?: string;
      end: { sum_sent: { bytes: number }; sum_received: { bytes: number } };
    };
    assert.equal(report.error, undefined, flags.join(' '));
    const moved = flags.includes('-R') ? report.end.sum_received.bytes : report.end.sum_sent.bytes;
    assert.ok(moved >= 16 << 20, `${flags.join(' ')}: ${moved}`);
  }
  // What it sent is known; of what it was sent, some may be on the way when the client ends the test.
  assert.ok(iperf.bytes >= 3 * (16 << 20), `${iperf.bytes}`);
  stop();
});

test('curl downloads and uploads megabytes, verified by hash', { skip: lacks('curl') }, async () => {
  const body = randomBytes(MEGABYTES);
  const digest = createHash('sha256').update(body).digest('hex');
  const server = http.createServer((request, response) => {
    if (request.method === 'GET') {
      response.end(body);
      return;
    }
    const hash = createHash('sha256');
    request.on('data', (part: Buffer) => hash.update(part));
    request.on('end', () => response.end(hash.digest('hex')));
  });
  const stop = await listen((socket) => server.emit('connection', socket), 80);
  const file = join(directory, 'body');
  writeFileSync(file, body);
  for (const host of [V4, `[${V6}]`]) {
    const url = `http://${host}/`;
    const down = await inSpace('sh', '-c', `curl -sf -g ${url} | sha256sum`);
    assert.equal(down.stdout.split(' ')[0], digest);
    const up = await inSpace('curl', '-sf', '-g', '-H', 'Expect:', '--data-binary', `@${file}`, url);
    assert.equal(up.stdout, digest);
    const parallel = await inSpace('sh', '-c', `curl -sf -g --parallel --parallel-max 20 $(seq -f '${url}?%.0f' 8) | wc -c`);
    assert.equal(Number(parallel.stdout), 8 * MEGABYTES);
  }
  stop();
});

test('nginx serves our clients, many at once', { skip: lacks('nginx') }, async () => {
  const body = randomBytes(2 << 20);
  const digest = createHash('sha256').update(body).digest('hex');
  writeFileSync(join(directory, 'file'), body);
  const config = join(directory, 'nginx.conf');
  writeFileSync(
    config,
    `daemon off; worker_processes 1; pid ${directory}/nginx.pid; error_log ${directory}/error.log;
user root; events { worker_connections 1024; }
http { access_log off; client_body_temp_path ${directory}/t1; proxy_temp_path ${directory}/t2; fastcgi_temp_path ${directory}/t3;
uwsgi_temp_path ${directory}/t4; scgi_temp_path ${directory}/t5;
server { listen 80; listen [::]:80; root ${directory}; } }`,
  );
  programs.push(spawn('ip', ['netns', 'exec', space, 'nginx', '-c', config, '-p', directory], { stdio: 'ignore' }));
  const fetchOnce = (host: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = app.connect({ host, port: 80 });
      const parts: Buffer[] = [];
      socket.on('data', (part: Buffer) => parts.push(part));
      socket.on('error', reject);
      socket.on('end', () => {
        socket.end();
        const answer = Buffer.concat(parts);
        const hash = createHash('sha256').update(answer.subarray(answer.indexOf('\r\n\r\n') + 4));
        resolve(`${answer.subarray(9, 12).toString()} ${hash.digest('hex')}`);
      });
      // Not `end`: nginx takes a half-closed client for one that has left.
      socket.write(`GET /file HTTP/1.0\r\nHost: files\r\n\r\n`);
    });
  for (;;) {
    try {
      await fetchOnce('10.73.0.1');
      break;
    } catch (error) {
      // Until it listens.
      assert.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED');
    }
  }
  for (const host of ['10.73.0.1', 'fd73::1']) {
    const answers = await Promise.all(Array.from({ length: 32 }, () => fetchOnce(host)));
    assert.deepEqual(new Set(answers), new Set([`200 ${digest}`]));
  }
});

const CLIENTS = `
import asyncio, hashlib, os
async def one(i):
    host = '${V4}' if i % 2 else '${V6}'
    r, w = await asyncio.open_connection(host, 7)
    data = os.urandom(2000)
    for _ in range(3):
        w.write(data); back = await r.readexactly(len(data))
        if back != data: return 0
    w.write_eof()
    rest = await r.read()
    w.close()
    return int(rest == b'')
async def main():
    print(sum(await asyncio.gather(*[one(i) for i in range(1000)])))
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
asyncio.run(main())
`;

test('1,000 clients of the kernel at once, echoed', { skip: lacks('python3') }, async () => {
  let most = 0;
  let open = 0;
  const stop = await listen((socket) => {
    most = Math.max(most, ++open);
    socket.on('close', () => open--);
    socket.on('error', () => {});
    socket.pipe(socket);
  }, 7);
  const { stdout } = await inSpace('python3', '-c', CLIENTS);
  assert.equal(stdout.trim(), '1000');
  assert.ok(most > 300, `${most} at once`);
  stop();
});

const ECHO_SERVER = `
import asyncio, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
async def echo(r, w):
    while True:
        b = await r.read(65536)
        if not b: break
        w.write(b); await w.drain()
    w.close()
async def main():
    s = await asyncio.start_server(echo, ['10.73.0.1', 'fd73::1'], 9007, backlog=4096)
    print('ready', flush=True)
    await s.serve_forever()
asyncio.run(main())
`;

test('1,000 clients of ours at once to a server of the kernel', { skip: lacks('python3') }, async () => {
  const server = spawn('ip', ['netns', 'exec', space, 'python3', '-c', ECHO_SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
  programs.push(server);
  execFileSync('ip', ['netns', 'exec', space, 'sh', '-c', 'echo 4096 > /proc/sys/net/core/somaxconn']);
  await once(server.stdout!, 'data');
  const one = async (i: number): Promise<boolean> => {
    const data = randomBytes(3000);
    const socket = app.connect({ host: i % 2 === 0 ? '10.73.0.1' : 'fd73::1', port: 9007 });
    socket.end(data);
    const parts: Buffer[] = [];
    for await (const part of socket) parts.push(part as Buffer);
    return Buffer.concat(parts).equals(data);
  };
  const results = await Promise.all(Array.from({ length: 1000 }, (_, i) => one(i)));
  assert.equal(results.filter(Boolean).length, 1000);
});

test('nothing is left: no packets, no connection that is not in TIME-WAIT', { skip: namespaceReason ?? false }, async () => {
  const ask = async (command: string): Promise<Record<string, number>> =>
    JSON.parse((await stack.command(command, { json: true })).text) as Record<string, number>;
  const none = async (command: string, key: string, details: string): Promise<void> => {
    const deadline = performance.now() + 60_000;
    while ((await ask(command))[key] > 0) {
      if (performance.now() > deadline) assert.fail((await stack.command(details)).text);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await none('show session', 'sessions', 'show session verbose 2');
  await none('show buffers', 'inUse', 'show buffers');
  const stats = await ask('show tcp stats');
  assert.equal(stats.inChecksumErrors, 0);
});
