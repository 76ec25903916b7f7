/** TLS sessions over the stack's TCP with programs of the kernel's side of a TAP: openssl, curl, Python; and what peers do wrong. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { runCommand } from '../../../src/stack/ctl/commands.ts';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { attach, type Server, type Socket, type TlsOptions, type VclNet } from '../../../src/stack/index.ts';
import { CertificateFactory } from '../../support/certificates.ts';
import { cannotMakeNamespace } from '../link/namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const namespace = `slt-tls-${process.pid}`;
const run = promisify(execFile);
const ours = '10.78.0.2';
const theirs = '10.78.0.1';
const inNamespace = (program: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  run('ip', ['netns', 'exec', namespace, program, ...args], { timeout: 20_000, maxBuffer: 1 << 26, encoding: 'latin1' });
const python = (code: string): Promise<{ stdout: string }> => inNamespace('python3', '-c', code);

const factory = new CertificateFactory();
const ca = factory.make('authority', { isCa: true });
const certificate = factory.make('a.example', { issuer: ca, san: `DNS:a.example,IP:${ours},IP:${theirs}` });
const second = factory.make('b.example', { issuer: ca, san: 'DNS:b.example', type: 'rsa' });
const SERVER: TlsOptions = {
  cert: certificate.certificate,
  key: certificate.key,
  certificates: [{ cert: second.certificate, key: second.key }],
  alpn: ['http/1.1'],
};
const CLIENT: TlsOptions = { ca: ca.certificate };

const faults = { loss: 0, reorder: 0 };
let directory = '';
let stack: HostStack;
let app: VclNet;

before(async () => {
  if (reason !== null) return;
  directory = mkdtempSync(join(tmpdir(), 'sluice-tls-'));
  execFileSync('ip', ['netns', 'add', namespace]);
  execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
  stack = new HostStack({
    runtimeDir: directory,
    tls: { handshakeTimeoutMs: 500 },
    network: {
      devices: [
        {
          kind: 'tap',
          name: 'slt%d',
          addresses: [`${ours}/24`],
          hostAddresses: [`${theirs}/24`],
          netns: namespace,
          faults: { outbound: faults, inbound: faults, keepOffload: true },
        },
      ],
    },
  });
  app = await attach({ name: 'app', runtimeDir: directory, rxFifoSize: 32_768, txFifoSize: 32_768 });
});

after(() => {
  if (reason !== null) return;
  app.close();
  stack.close();
  execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(directory, { recursive: true });
});

async function listen(onSocket: (socket: Socket) => void, tls = SERVER): Promise<{ port: number; listener: Server }> {
  const listener = app.createServer({ tls, allowHalfOpen: true }, onSocket);
  listener.listen(0, ours);
  await once(listener, 'listening');
  return { port: listener.address()!.port, listener };
}

/** `openssl s_server` in the namespace, ready. */
async function opensslServer(...args: string[]): Promise<ChildProcess> {
  const files = ['-cert', certificate.certificateFile, '-key', certificate.keyFile];
  const command = ['netns', 'exec', namespace, 'openssl', 's_server', '-accept', `${theirs}:4433`, ...files, ...args];
  const child = spawn('ip', command, { stdio: ['pipe', 'pipe', 'inherit'] });
  for (let seen = ''; !seen.includes('ACCEPT'); ) seen += String((await once(child.stdout!, 'data'))[0]);
  return child;
}

async function failure(socket: Socket): Promise<string> {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code ?? error.message;
}

const stats = () => stack.tls!.stats;

test('curl fetches and posts over https from node:http on the stack', { skip }, async () => {
  const server = http.createServer(async (req, res) => res.end(req.method === 'GET' ? 'hello' : await buffer(req)));
  const { port, listener } = await listen((socket) => server.emit('connection', socket));
  const curl = (...args: string[]) => inNamespace('curl', '-sS', '--max-time', '15', '--cacert', ca.certificateFile, ...args);
  assert.equal((await curl(`https://${ours}:${port}/`)).stdout, 'hello');
  const named = await curl('-v', '--resolve', `b.example:${port}:${ours}`, `https://b.example:${port}/`);
  assert.equal(named.stdout, 'hello');
  assert.match(named.stderr, /subject: O=Sluice; CN=b\.example/);
  assert.match(named.stderr, /ALPN: server accepted http\/1\.1/);
  assert.equal((await curl('--tls-max', '1.2', `https://${ours}:${port}/`, `https://${ours}:${port}/`)).stdout, 'hellohello');
  const file = join(directory, 'body');
  writeFileSync(file, randomBytes(5_000_000));
  await curl('--data-binary', `@${file}`, '-o', `${file}.back`, `https://${ours}:${port}/`);
  assert.ok(readFileSync(file).equals(readFileSync(`${file}.back`)));
  listener.close();
});

test('openssl s_client: verified, resumed, and shown in the stack', { skip }, async () => {
  const { port, listener } = await listen((socket) => socket.pipe(socket));
  const session = join(directory, 'session');
  const client = async (...args: string[]): Promise<string> => {
    const command = `{ echo hello; sleep 0.3; } | openssl s_client -connect ${ours}:${port} -CAfile ${ca.certificateFile} -verify_return_error ${args.join(' ')}`;
    return (await inNamespace('sh', '-c', command)).stdout;
  };
  const first = await client('-alpn', 'http/1.1', '-servername', 'b.example', '-sess_out', session);
  assert.match(first, /Verify return code: 0 \(ok\)/);
  assert.match(first, /ALPN protocol: http\/1\.1/);
  assert.match(first, /\nhello\n/);
  assert.match(await client('-servername', 'b.example', '-sess_in', session), /Reused, TLSv1\.3/);
  assert.match(await client('-tls1_2'), /Protocol {2}: TLSv1\.2/);
  const socket = app.connect({ port, host: ours, tls: CLIENT });
  await once(socket, 'connect');
  socket.destroy();
  listener.close();
});

test('a client of the stack fetches from openssl s_server, which checks its certificate', { skip }, async () => {
  const child = await opensslServer(
    '-www',
    '-Verify',
    '1',
    '-verify_return_error',
    '-CAfile',
    ca.certificateFile,
    '-alpn',
    'h2,http/1.1',
  );
  const own = factory.make('client', { issuer: ca });
  const tls = { ...CLIENT, cert: own.certificate, key: own.key, alpn: ['http/1.1'] };
  const socket = app.connect({ port: 4433, host: theirs, tls });
  socket.write('GET / HTTP/1.0\r\n\r\n');
  await once(socket, 'connect');
  assert.equal(socket.alpnProtocol, 'http/1.1');
  const shown = runCommand(stack, 'show session verbose 2', false).text;
  assert.match(shown, /\[\d+\] tls 10\.78\.0\.2:\d+->10\.78\.0\.1:4433 .*TLSv1\.3 .*alpn http\/1\.1 .*\| tcp .*cwnd/);
  const answer = await text(socket);
  assert.match(answer, /HTTP\/1\.0 200/);
  assert.match(answer, /CN ?= ?client/);
  assert.equal(await failure(app.connect({ port: 4433, host: theirs, servername: 'other', tls })), 'EKEYREJECTED');
  child.kill();
  await once(child, 'exit');
  assert.equal(await failure(app.connect({ port: 4433, host: theirs, tls })), 'ECONNREFUSED');
});

test('bulk both ways at once with Python', { skip }, async () => {
  const size = 8_000_000;
  const sent = randomBytes(size);
  const { port, listener } = await listen((socket) => {
    socket.end(sent);
    let received = 0;
    socket.on('data', (part: Buffer) => (received += part.length));
    socket.on('end', () => received_.resolve(received));
  });
  const received_ = Promise.withResolvers<number>();
  const { stdout } = await python(`
import ssl, socket, hashlib, select
c = ssl.create_default_context(cafile='${ca.certificateFile}')
s = c.wrap_socket(socket.create_connection(('${ours}', ${port})), server_hostname='${ours}')
# Both ways at once in one thread: two threads at one SSL object of Python corrupt its memory.
s.setblocking(False)
d = b'x' * 100000; sent = 0; h = hashlib.sha256(); n = 0
while n < ${size}:
    moved = False
    try:
        if sent < ${size}: sent += s.send(d[sent % len(d):]); moved = True
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError): pass
    try: r = s.recv(65536); h.update(r); n += len(r); moved = True
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError): pass
    if not moved: select.select([s], [s] if sent < ${size} else [], [], 10)
while sent < ${size}:
    try: sent += s.send(d[sent % len(d):])
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError): select.select([], [s], [], 10)
s.setblocking(True)
s.unwrap()
print(n, h.hexdigest())
`);
  const { createHash } = await import('node:crypto');
  assert.equal(stdout.trim(), `${size} ${createHash('sha256').update(sent).digest('hex')}`);
  assert.equal(await received_.promise, size);
  listener.close();
});

test('handshakes and records on a lossy, reordering path', { skip }, async () => {
  faults.loss = 0.02;
  faults.reorder = 0.05;
  const { port, listener } = await listen((socket) => socket.pipe(socket), { ...SERVER, allowTruncation: true });
  const { stdout } = await python(`
import ssl, socket, os
c = ssl.create_default_context(cafile='${ca.certificateFile}')
for _ in range(5):
    s = c.wrap_socket(socket.create_connection(('${ours}', ${port}), timeout=15), server_hostname='${ours}')
    d = os.urandom(200000); got = b''
    # One thread: reading and writing an SSL object of Python from two at a time corrupts its memory.
    for at in range(0, len(d), 30000):
        s.sendall(d[at:at + 30000])
        while len(got) < min(at + 30000, len(d)): got += s.recv(65536)
    print(got == d); s.close()
`).finally(() => {
    faults.loss = faults.reorder = 0;
  });
  assert.equal(stdout.trim(), 'True\n'.repeat(5).trim());
  listener.close();
});

test('an application that does not read stops its peer; what waits is bounded', { skip }, async () => {
  const accepted = Promise.withResolvers<Socket>();
  const { port, listener } = await listen((socket) => {
    socket.pause();
    accepted.resolve(socket);
  });
  const child = python(`
import ssl, socket
c = ssl.create_default_context(cafile='${ca.certificateFile}')
s = c.wrap_socket(socket.create_connection(('${ours}', ${port})), server_hostname='${ours}')
n = 0
for _ in range(1000):
    s.sendall(b'x' * 16000)
    n += 16000
print(n)
s.unwrap()
`);
  const socket = await accepted.promise;
  const waiting = (): number => {
    const rows = JSON.parse(runCommand(stack, 'show session verbose 2', true).text) as { inputBytes?: number }[];
    return Math.max(...rows.map((row) => row.inputBytes ?? 0));
  };
  // The queue fills to its limit and no further.
  let most = 0;
  for (let i = 0; i < 1000 && most < 200_000; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    most = Math.max(most, waiting());
  }
  // TCP's window is rounded up, and never taken back.
  assert.ok(most >= 200_000 && most <= 288 * 1024, `${most}`);
  let received = 0;
  socket.on('data', (part: Buffer) => (received += part.length));
  socket.resume();
  await once(socket, 'end');
  socket.end();
  const { stdout } = await child;
  assert.equal(received, Number(stdout));
  listener.close();
});

const HELLO = `
import ssl, socket
def hello():
    i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
    c = ssl.create_default_context(cafile='${ca.certificateFile}')
    t = c.wrap_bio(i, o, server_hostname='${ours}')
    try: t.do_handshake()
    except ssl.SSLWantReadError: pass
    return t, i, o
`;

test('peers that do not finish a handshake: silence, garbage, half a hello, goodbye', { skip }, async () => {
  const { port, listener } = await listen(() => assert.fail('accepted'));
  const before_ = { ...stats() };
  const { stdout } = await python(`${HELLO}
def connect(): return socket.create_connection(('${ours}', ${port}), timeout=10)
def end(s):
    d = b''
    try:
        while True:
            p = s.recv(1000)
            if p == b'': return ('end', len(d))
            d += p
    except ConnectionResetError: return ('reset', len(d))
print(end(connect()))
s = connect(); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(end(s))
t, i, o = hello(); h = o.read()
s = connect(); s.sendall(h[:50]); print(end(s))
s = connect(); s.sendall(h[:50]); s.shutdown(1); print(end(s))
s = connect(); s.sendall(b'\\x16\\x03\\x01\\xff\\xff' + b'\\0' * 20000); print(end(s))
s = connect(); s.sendall(h + b'\\x17\\x03\\x03\\x00\\x02xx'); r = end(s); print(r[0], r[1] > 100)
`);
  const lines = stdout.trim().split('\n');
  // Silence and half a hello are reset in time; what is no TLS gets an alert, but for a plain HTTP request.
  assert.match(lines[0], /reset/);
  assert.match(lines[1], /'(end|reset)', 0/);
  assert.match(lines[2], /reset/);
  assert.match(lines[3], /end/);
  assert.match(lines[4], /'(end|reset)', 7/);
  assert.match(lines[5], /(end|reset) True/);
  assert.equal(stats().handshakeTimeouts - before_.handshakeTimeouts, 2);
  assert.equal(stats().handshakeFailures - before_.handshakeFailures, 4);
  listener.close();
});

test('a stream that is cut off is no end: without close_notify, and inside a record', { skip }, async () => {
  for (const cut of [
    's.sendall(o.read())',
    's.sendall(o.read()[:-5])',
    "s.sendall(o.read() + b'\\x17\\x03\\x03\\x00\\x20' + b'x' * 32)",
  ]) {
    const got = Promise.withResolvers<string>();
    const { port, listener } = await listen((socket) => {
      let data = '';
      socket.on('data', (part: Buffer) => (data += part));
      socket.on('error', (error: NodeJS.ErrnoException) => got.resolve(`${data} ${error.code}`));
      socket.on('end', () => got.resolve(`${data} end`));
    });
    await python(`${HELLO}
s = socket.create_connection(('${ours}', ${port}), timeout=10)
t, i, o = hello()
while True:
    s.sendall(o.read())
    try: t.do_handshake(); break
    except ssl.SSLWantReadError: i.write(s.recv(65536))
s.sendall(o.read())
t.write(b'hello')
${cut}
s.shutdown(1)
try: s.recv(65536); s.recv(65536)
except ConnectionResetError: pass
`);
    const wanted = cut.includes('[:-5]') ? ' ECONNRESET' : cut.includes('x17') ? 'hello EPROTO' : 'hello ECONNRESET';
    assert.equal(await got.promise, wanted, cut);
    listener.close();
  }
});

test('close_notify both ways: each side may still write after the other has ended', { skip }, async () => {
  const { port, listener } = await listen((socket) => {
    socket.on('data', () => {});
    socket.on('end', () => socket.end('said after the end'));
  });
  const { stdout } = await python(`${HELLO}
s = socket.create_connection(('${ours}', ${port}), timeout=10)
t, i, o = hello()
while True:
    s.sendall(o.read())
    try: t.do_handshake(); break
    except ssl.SSLWantReadError: i.write(s.recv(65536))
t.write(b'hello')
try: t.unwrap()
except ssl.SSLWantReadError: pass
s.sendall(o.read())
d = b''
while True:
    p = s.recv(65536)
    if p == b'': break
    d += p
i.write(d)
print(t.read(100).decode())
`);
  assert.equal(stdout.trim(), 'said after the end');
  listener.close();
  await once(listener, 'close');
});

test('a server of the kernel that is silent: the connect ends in time; one that speaks no TLS', { skip }, async () => {
  const server = spawn(
    'ip',
    [
      'netns',
      'exec',
      namespace,
      'python3',
      '-uc',
      `
import socket
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('${theirs}', 4434)); s.listen()
print('ready')
a, _ = s.accept()
b, _ = s.accept(); b.recv(10000); b.sendall(b'HTTP/1.0 400 Bad Request\\r\\n\\r\\n')
b.recv(1000); a.recv(1)
`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(server.stdout!, 'data');
  const silent = failure(app.connect({ port: 4434, host: theirs, tls: CLIENT }));
  assert.equal(await silent, 'ETIMEDOUT');
  assert.equal(await failure(app.connect({ port: 4434, host: theirs, tls: CLIENT })), 'EPROTO');
  server.kill();
  await once(server, 'exit');
});

test('more handshakes than the backlog wait until others are over', { skip }, async () => {
  const listener = app.createServer({ tls: SERVER }, (socket) => {
    // The client leaves without having read close_notify.
    socket.on('error', () => {});
    socket.end('in');
  });
  listener.listen({ port: 0, host: ours, backlog: 3 });
  await once(listener, 'listening');
  const { port } = listener.address()!;
  const { stdout } = await python(`
import socket, ssl
context = ssl._create_unverified_context()
silent = [socket.create_connection(('${ours}', ${port}), timeout=10) for i in range(3)]
for i in range(2):
    with context.wrap_socket(socket.create_connection(('${ours}', ${port}), timeout=10)) as s: print(s.recv(10).decode())
`);
  assert.equal(stdout.trim(), 'in\nin');
  assert.ok(stats().handshakesHeld >= 1);
  listener.close();
});

test('nothing is left', { skip }, async () => {
  const left = (): unknown[] => [...stack.layer.pool.all()].filter((session) => session.accept === null);
  for (let i = 0; i < 400 && left().length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(left(), []);
  assert.equal(stack.tls!.slab.blocksInUse, 1);
});
