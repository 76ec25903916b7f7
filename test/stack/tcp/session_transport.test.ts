/** Applications of the host stack over our TCP to the Linux kernel: node's http on VCL sockets as server and client, curl and Python as peers. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { attach, type Socket, type VclNet } from '../../../src/stack/index.ts';
import { cannotMakeNamespace } from '../link/namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const namespace = `slt-vcl-${process.pid}`;
const run = promisify(execFile);
const inNamespace = (program: string, ...args: string[]): Promise<{ stdout: string }> =>
  run('ip', ['netns', 'exec', namespace, program, ...args], { timeout: 60_000, maxBuffer: 1 << 26, encoding: 'latin1' });

let directory = '';
let stack: HostStack;
let app: VclNet;
const faults = { loss: 0 };

before(async () => {
  if (reason !== null) return;
  directory = mkdtempSync(join(tmpdir(), 'sluice-tcp-'));
  execFileSync('ip', ['netns', 'add', namespace]);
  execFileSync('ip', ['-n', namespace, 'link', 'set', 'lo', 'up']);
  stack = new HostStack({
    runtimeDir: directory,
    network: {
      devices: [
        {
          kind: 'tun',
          name: 'slv%d',
          addresses: ['10.76.0.2/24', 'fd76::2/64'],
          hostAddresses: ['10.76.0.1/24', 'fd76::1/64'],
          netns: namespace,
          faults: { outbound: faults, inbound: faults, keepOffload: true },
        },
      ],
    },
  });
  app = await attach({ name: 'app', runtimeDir: directory, rxFifoSize: 65_536, txFifoSize: 100_000 });
});

after(() => {
  if (reason !== null) return;
  app.close();
  stack.close();
  execFileSync('ip', ['netns', 'del', namespace]);
  rmSync(directory, { recursive: true });
});

test('curl posts to an http server on VCL and gets it back, IPv4 and IPv6, and on a lossy link', { skip }, async () => {
  const server = http.createServer(async (req, res) => res.end(await buffer(req)));
  const listener = app.serve(server);
  listener.listen(80, '::');
  await once(listener, 'listening');
  const body = randomBytes(3_000_000).toString('base64');
  for (const [host, loss] of [
    ['10.76.0.2', 0],
    ['[fd76::2]', 0],
    ['10.76.0.2', 0.005],
  ] as const) {
    faults.loss = loss;
    const size = loss === 0 ? body.length : 300_000;
    const program = `import urllib.request,sys; d=(b'abcdefghij'*${Math.ceil(size / 10)}); r=urllib.request.urlopen('http://${host}/', data=d, timeout=15).read(); print(len(r), r==d)`;
    assert.equal((await inNamespace('python3', '-c', program)).stdout.trim(), `${Math.ceil(size / 10) * 10} True`, host);
  }
  faults.loss = 0;
  const { stdout } = await inNamespace('curl', '-s', '-g', '--max-time', '10', '--data-binary', 'hello', 'http://[fd76::2]/');
  assert.equal(stdout, 'hello');
  listener.close();
});

test('an http client on VCL fetches from the kernel; a port without listener refuses', { skip }, async () => {
  const program = `
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        d = b'0123456789' * 200000
        self.send_response(200); self.send_header('content-length', str(len(d))); self.end_headers(); self.wfile.write(d)
    def log_message(self, *a): pass
s = http.server.HTTPServer(('10.76.0.1', 8000), H); s.timeout = 15
for _ in range(3): s.handle_request()
`;
  const server = inNamespace('python3', '-c', program);
  const agent = app.createAgent({});
  const get = async (): Promise<Buffer | string> => {
    const req = http.request({ host: '10.76.0.1', port: 8000, agent });
    req.end();
    try {
      const [res] = (await once(req, 'response')) as [http.IncomingMessage];
      return await buffer(res);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? '';
    }
  };
  let refused = 0;
  for (let good = 0; good < 3; ) {
    const got = await get();
    if (typeof got === 'string') {
      assert.equal(got, 'ECONNREFUSED');
      refused++;
      assert.ok(refused < 5000);
    } else {
      assert.equal(got.length, 2_000_000);
      good++;
    }
  }
  await server;
  agent.destroy();
  const req = http.request({ host: '10.76.0.1', port: 9999, agent });
  req.end();
  const [error] = (await once(req, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
});

test('a connect that is given up sends no more SYNs, whoever gives it up', { skip }, async () => {
  const { tcp } = stack.network!.stack;
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  // What is not the kernel's own it does not forward: nobody answers.
  const connecting = async (): Promise<Socket> => {
    const socket = app.connect(80, '10.76.0.99');
    socket.on('error', () => assert.fail('an error after the socket was destroyed'));
    while (tcp.connections.size === 0) await turn();
    return socket;
  };
  (await connecting()).destroy();
  while (tcp.connections.size > 0) await turn();
  assert.equal(stack.layer.pool.count, 0);
  assert.equal(tcp.wheel.size, 0);
  // Closed before the stack has looked at the connect.
  app.connect(80, '10.76.0.99').destroy();
  for (let i = 0; i < 10; i++) await turn();
  stack.settle();
  assert.equal(tcp.connections.size, 0);
  assert.equal(stack.layer.pool.count, 0);
  const short = await attach({ name: 'short', runtimeDir: directory });
  short.connect(80, '10.76.0.99').on('error', () => {});
  while (tcp.connections.size === 0) await turn();
  short.close();
  while (tcp.connections.size > 0) await turn();
  assert.equal(tcp.wheel.size, 0);
});

test('an end in either direction frees sessions, buffers and connections', { skip }, async () => {
  for (let i = 0; i < 100 && stack.layer.pool.count > 0; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(stack.layer.pool.count, 0);
  assert.equal(stack.network!.stack.pool.inUse, 0);
});
