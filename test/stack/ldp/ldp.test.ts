/** Native programs on the host stack by LD_PRELOAD: curl, Python, nginx with its workers, and iperf3, with Node on the other side. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { attach, createHostStack, type EmbeddedHostStack, type VclNet } from '../../../src/stack/index.ts';
import { ldpLibrary } from '../../../src/stack/ldp/build.ts';

const missing = (program: string): string | false =>
  spawnSync('sh', ['-c', `command -v ${program}`]).status === 0 ? false : `${program} is not installed`;
const noCompiler = missing(process.env['CC'] ?? 'cc');

let directory: string;
let stack: EmbeddedHostStack;
let net: VclNet;
let env: NodeJS.ProcessEnv;
const running: ChildProcess[] = [];

before(async () => {
  if (noCompiler !== false) return;
  directory = mkdtempSync(join(tmpdir(), 'sluice-ldp-'));
  stack = await createHostStack();
  net = await attach({ name: 'test', runtimeDir: stack.runtimeDir });
  env = { ...process.env, LD_PRELOAD: ldpLibrary(directory), SLUICE_RUNTIME_DIR: stack.runtimeDir };
});

after(async () => {
  if (noCompiler !== false) return;
  for (const child of running) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'close');
  }
  net.close();
  await stack.close();
  rmSync(directory, { recursive: true, force: true });
});

function start(program: string, args: string[]): ChildProcess {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  return child;
}

async function output(program: string, ...args: string[]): Promise<{ status: number; out: Buffer }> {
  const child = start(program, args);
  const [out, [status]] = await Promise.all([buffer(child.stdout!), once(child, 'close')]);
  return { status: status as number, out };
}

/** Resolves when somebody of the stack listens at the port. */
async function listening(port: number): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    const sessions = JSON.parse((await stack.command('show session verbose 1', { json: true })).text) as {
      connection: string;
      state: string;
    }[];
    if (sessions.some(({ connection, state }) => state === 'listening' && connection.includes(`:${port}->`))) return;
  }
}

async function get(port: number, path: string, agent: http.Agent): Promise<{ status: number; body: Buffer }> {
  const [response] = (await once(http.get({ host: '127.0.0.1', port, path, agent }), 'response')) as [http.IncomingMessage];
  return { status: response.statusCode!, body: await buffer(response) };
}

test('curl: requests, big bodies both ways, many at once, a port where nobody listens', {
  skip: noCompiler || missing('curl'),
}, async () => {
  const big = randomBytes(5_000_000);
  const server = http.createServer(async (req, res) => {
    const body = await buffer(req);
    res.end(req.url === '/big' ? big : req.method === 'PUT' ? body : `${req.method} ${req.url} of ${req.socket.remoteAddress}`);
  });
  const listener = net.serve(server).listen(8080, '127.0.0.1');
  await once(listener, 'listening');
  const url = 'http://127.0.0.1:8080';
  const two = await output('curl', '-sS', `${url}/one`, `${url}/two`);
  assert.equal(String(two.out), 'GET /one of 127.0.0.1GET /two of 127.0.0.1');
  assert.ok((await output('curl', '-sS', `${url}/big`)).out.equals(big));
  const file = join(directory, 'upload');
  writeFileSync(file, big);
  assert.ok((await output('curl', '-sS', '-T', file, `${url}/up`)).out.equals(big));
  const many = await output('curl', '-sSZ', '--no-progress-meter', ...Array.from({ length: 30 }, (_, i) => `${url}/${i}`));
  assert.equal(many.status, 0);
  assert.equal(String(many.out).split('GET').length, 31);
  assert.equal((await output('curl', '-s', 'http://127.0.0.1:8081/')).status, 7, 'connection refused');
  // Everything went through the stack: one connection for the first two, one each for the rest.
  const { connects } = JSON.parse((await stack.command('show session', { json: true })).text) as { connects: number };
  assert.ok(connects >= 4, `${connects}`);
  server.closeAllConnections();
  listener.close();
});

const ECHO = `
import select, socket, sys, random
server = socket.create_server(('127.0.0.1', 7000)); server.setblocking(False)
poll = select.epoll() if sys.argv[1] == 'epoll' else None
EDGE = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
waiting = {}
if poll: poll.register(server, select.EPOLLIN)
done = 0
def pump(c):
    while True:
        while waiting[c]:
            try: n = c.send(waiting[c])
            except BlockingIOError: return True
            waiting[c] = waiting[c][n:]
        try: data = c.recv(random.randint(1, 80000))
        except BlockingIOError: return True
        if not data: return False
        waiting[c] = data
while done < 4:
    if poll: ready = [fd for fd, _ in poll.poll()]
    else:
        r, w, _ = select.select([server] + [c for c in waiting if not waiting[c]], [c for c in waiting if waiting[c]], [])
        ready = [s.fileno() for s in r + w]
    for fd in ready:
        if fd == server.fileno():
            c, _ = server.accept(); c.setblocking(False); waiting[c] = b''
            if poll: poll.register(c, EDGE)
            continue
        c = [c for c in waiting if c.fileno() == fd][0]
        if not pump(c):
            if poll: poll.unregister(c)
            del waiting[c]; c.close(); done += 1
`;

for (const mode of ['select', 'epoll']) {
  test(`Python echoes random pieces byte by byte, by ${mode}`, {
    skip: noCompiler || missing('python3'),
    timeout: 60_000,
  }, async () => {
    const server = start('python3', ['-c', ECHO, mode]);
    const ended = once(server, 'close');
    await listening(7000);
    const program = new URL('../app.ts', import.meta.url).pathname;
    const args = { role: 'client', runtimeDir: stack.runtimeDir, port: 7000, connections: 2, total: 2_000_000, edge: false };
    const clients = [1, 2].map(async (seed) => {
      const child = spawn(process.execPath, [
        '--disable-warning=ExperimentalWarning',
        program,
        JSON.stringify({ ...args, seed }),
      ]);
      return text(child.stdout);
    });
    assert.deepEqual(await Promise.all(clients), ['done\n', 'done\n']);
    assert.deepEqual(await ended, [0, null]);
  });
}

for (const [workers, sendfile] of [
  [0, 'on'],
  [2, 'on'],
  [2, 'off'],
] as const) {
  test(`nginx with ${workers || 'no'} workers, sendfile ${sendfile}`, {
    skip: noCompiler || missing('nginx'),
    timeout: 60_000,
  }, async () => {
    const root = join(directory, `nginx-${workers}-${sendfile}`);
    mkdirSync(root, { mode: 0o755 });
    const file = randomBytes(3_000_000);
    writeFileSync(join(root, 'file'), file);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${root};`).join(' ');
    writeFileSync(
      join(root, 'nginx.conf'),
      `daemon off; pid ${root}/pid; error_log /dev/null; master_process ${workers > 0 ? 'on' : 'off'}; worker_processes ${workers || 1};
       ${process.getuid!() === 0 ? 'user root;' : ''} events { worker_connections 256; }
       http { access_log off; ${temporary} sendfile ${sendfile}; server { listen 127.0.0.1:8090; location / { root ${root}; } } }`,
    );
    const nginx = start('nginx', ['-p', root, '-c', join(root, 'nginx.conf')]);
    const ended = once(nginx, 'close');
    await listening(8090);
    const agent = net.createAgent({ keepAlive: true, maxSockets: 8 });
    const answers = await Promise.all(Array.from({ length: 24 }, (_, i) => get(8090, i % 2 === 0 ? '/file' : '/none', agent)));
    for (const [i, { status, body }] of answers.entries()) {
      assert.equal(status, i % 2 === 0 ? 200 : 404);
      if (i % 2 === 0) assert.ok(body.equals(file));
    }
    agent.destroy();
    process.kill(Number(readFileSync(`${root}/pid`, 'utf8')), 'SIGTERM');
    await ended;
  });
}

test('iperf3, both ends', { skip: noCompiler || missing('iperf3'), timeout: 60_000 }, async () => {
  const server = start('iperf3', ['-s', '-1', '-p', '5201', '-B', '127.0.0.1']);
  server.stdout!.resume();
  const ended = once(server, 'close');
  await listening(5201);
  const { status, out } = await output('iperf3', '-c', '127.0.0.1', '-p', '5201', '-n', '200M', '-J');
  assert.equal(status, 0, String(out));
  // What is on its way when the sender is done is not counted by the receiver.
  assert.ok(JSON.parse(String(out)).end.sum_received.bytes >= 150 * 1024 * 1024, String(out));
  await ended;
});
