/** `sluice exec`: unmodified Node programs with their sockets on the host stack. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sendCommand } from '../../../src/stack/index.ts';
import { certificate } from '../../stack/vcl/certificate.ts';
import { closeAtEnd } from '../../support/proxy_process.ts';
import { StackProcess } from '../support/stack_process.ts';
import { needs } from '../support/upstreams.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const APPS = fileURLToPath(new URL('./apps/', import.meta.url));
const run = promisify(execFile);

function sluice(...args: string[]): string[] {
  return ['--disable-warning=ExperimentalWarning', MAIN, ...args];
}

describe('sluice exec', () => {
  let stack: StackProcess;
  let servers: ChildProcess;
  let kernel: Server;
  let env: NodeJS.ProcessEnv;
  let ports: Record<string, number>;

  const exec = (app: string, rules: string[] = []): string[] =>
    sluice('exec', '--runtime-dir', stack.runtimeDir, ...rules.flatMap((rule) => ['--rule', rule]), '--', 'node', app);

  /** A file of node:test in a program of its own; its output when it fails. */
  async function suite(app: string): Promise<void> {
    const { stdout } = await run(process.execPath, [...exec(`${APPS}${app}`)], { env, timeout: 120_000 }).catch((error) => {
      throw new Error(`${app}\n${error.stdout}\n${error.stderr}`);
    });
    assert.match(stdout, /# fail 0|ℹ fail 0/);
  }

  before(async () => {
    stack = await new StackProcess().start();
    kernel = createServer((socket) => socket.end('kernel')).listen(0, '127.0.0.1');
    await once(kernel, 'listening');
    const { key, cert } = certificate;
    env = { ...process.env, TEST_KEY: String(key), TEST_CERT: String(cert), NODE_TEST_CONTEXT: undefined };
    env['TEST_KERNEL_PORT'] = String((kernel.address() as AddressInfo).port);
    servers = spawn(process.execPath, exec(`${APPS}servers.mjs`), { env, stdio: ['ignore', 'pipe', 'inherit'] });
    closeAtEnd(() => servers.kill('SIGKILL'));
    const [line] = await once(servers.stdout!.setEncoding('utf8'), 'data');
    ports = JSON.parse(line);
    env['TEST_PORTS'] = line.trim();
  });

  after(async () => {
    servers.kill('SIGTERM');
    kernel.close();
    await stack.close();
  });

  test('servers are on the stack, not on the kernel', async () => {
    for (const port of Object.values(ports)) {
      const [error] = await once(connect(port, '127.0.0.1'), 'error').catch((reason) => [reason]);
      assert.equal(error.code, 'ECONNREFUSED');
    }
    const { text } = await sendCommand(stack.runtimeDir, 'show app', true);
    assert.deepEqual(
      JSON.parse(text).map((app: { name: string }) => app.name),
      ['servers.mjs'],
    );
  });

  test('clients: fetch, undici, http, https, http2, ws, gRPC', () => suite('clients.test.mjs'));

  test('pitfalls of sockets that are not the kernel', () => suite('pitfalls.test.mjs'));

  test('rules send sockets to the kernel', async () => {
    const program = `
      const net = require('node:net');
      const server = net.createServer((socket) => socket.end()).listen(0, '127.0.0.1', () => {
        const socket = net.connect(server.address().port, '127.0.0.1', () => {
          console.log(socket._handle !== null);
          process.exit(0);
        });
      });`;
    const rules = ['listen 127.0.0.0/8 kernel', 'connect *:1024-65535 kernel'];
    const args = [...exec('-e', rules), program];
    assert.equal((await run(process.execPath, args, { timeout: 60_000 })).stdout, 'true\n');
  });

  test('a rule for the stack alone does not fall back', async () => {
    const program = `
      require('node:net').connect(${env['TEST_KERNEL_PORT']}, '127.0.0.1').on('error', (error) => console.log(error.code))
        .on('connect', () => console.log('connected'));`;
    const args = [...exec('-e', ['connect 127.0.0.0/8 stack']), program];
    assert.equal((await run(process.execPath, args, { timeout: 60_000 })).stdout, 'ECONNREFUSED\n');
  });

  test('the status and the signals of the program are passed on', async () => {
    const failed = await run(process.execPath, [...exec('-e'), 'process.exit(7)']).catch((error) => error.code);
    assert.equal(failed, 7);
    const child = spawn(process.execPath, [...exec('-e'), 'console.log("up"); setInterval(() => {}, 1000)'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout!, 'data');
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
  });

  test('--explain tells the rules and the limits; mistakes are told', async () => {
    const { stdout } = await run(process.execPath, sluice('exec', '--rule', 'connect 10.0.0.0/8:80 kernel', '--explain'));
    assert.match(stdout, /connect 10\.0\.0\.0\/8:80 kernel\n {2}connect \* auto\n {2}listen \* stack/);
    assert.match(stdout, /UDP \(dgram\).*kernel/);
    for (const [args, message] of [
      [['--rule', 'connect nowhere'], /rule 'connect nowhere' must be/],
      [['--rule', 'listen * auto'], /'auto' is not one of stack, kernel/],
      [['--rule', 'connect 1.2.3.4/40 stack'], /not an address with prefix length/],
      [['--runtime-dir', '/nonexistent', '--', 'node', 'x.js'], /no stack at .*sluice stack/],
      [['--runtime-dir', stack.runtimeDir], /no program/],
      [['--runtime-dir', stack.runtimeDir, '--', 'no-such-program-here'], /there is no program 'no-such-program-here'/],
    ] as const) {
      const error = await run(process.execPath, sluice('exec', ...args)).catch((reason) => reason);
      assert.equal(error.code, 1);
      assert.match(error.stderr, message);
    }
  });

  test('a native program: curl to servers of the stack', { skip: needs('curl', process.env['CC'] ?? 'cc') }, async () => {
    const args = sluice('exec', '--runtime-dir', stack.runtimeDir, '--', 'curl', '-sS', '--max-time', '20');
    const { stdout } = await run(process.execPath, [...args, `http://127.0.0.1:${ports['express']}/hello/curl`]);
    assert.equal(JSON.parse(stdout).hello, 'curl');
  });

  test('rules for native programs', { skip: needs('python3', process.env['CC'] ?? 'cc') }, async () => {
    const program = `
import socket
def ask(address):
    try:
        with socket.create_connection(address, 10) as s: return s.recv(100).decode()
    except OSError as error: return type(error).__name__
kernel = ('127.0.0.1', ${(kernel.address() as AddressInfo).port})
print(ask(kernel))
server = socket.create_server(('127.0.0.1', 0))
port = ':%04X ' % server.getsockname()[1]
print(any(port in line and ' 0A ' in line for line in open('/proc/net/tcp')))`;
    const python = async (...rules: string[]): Promise<string> => {
      const flags = rules.flatMap((rule) => ['--rule', rule]);
      const args = sluice('exec', '--runtime-dir', stack.runtimeDir, ...flags, '--', 'python3', '-c', program);
      return (await run(process.execPath, args, { timeout: 60_000 })).stdout;
    };
    // By default: the stack, then the kernel where nobody is there; servers are on the stack.
    assert.equal(await python(), 'kernel\nFalse\n');
    assert.equal(await python('connect * stack'), 'ConnectionRefusedError\nFalse\n');
    assert.equal(await python('connect [::]/0 stack', 'connect 127.0.0.0/8:1-1023 stack'), 'kernel\nFalse\n');
    assert.equal(await python('connect 127.0.0.1 stack', 'connect * kernel'), 'ConnectionRefusedError\nFalse\n');
    assert.equal(await python('connect * kernel', 'listen 127.0.0.0/8 kernel'), 'kernel\nTrue\n');
    assert.equal(await python('listen *:1-65535 kernel'), 'kernel\nFalse\n');
  });

  test('a statically linked program is refused', async () => {
    const header = Buffer.alloc(64);
    header.write('\x7fELF\x02\x01\x01', 'latin1');
    const path = join(stack.runtimeDir, 'static');
    writeFileSync(path, header, { mode: 0o755 });
    const args = sluice('exec', '--runtime-dir', stack.runtimeDir, '--', path);
    const error = await run(process.execPath, args).catch((reason) => reason);
    assert.match(error.stderr, /is statically linked/);
  });

  test('servers come back with the stack', async () => {
    const program = `
      const server = require('node:http').createServer((_, response) => response.end('here')).listen(4999, '127.0.0.1');
      console.log('up');`;
    const child = spawn(process.execPath, [...exec('-e'), program], { stdio: ['ignore', 'pipe', 'inherit'] });
    closeAtEnd(() => child.kill('SIGKILL'));
    await once(child.stdout!, 'data');
    const ask = `
      (async () => { for (;;) try {
        console.log(await (await fetch('http://127.0.0.1:4999/')).text());
        return;
      } catch { await new Promise((resolve) => setTimeout(resolve, 20)); } })();`;
    assert.equal((await run(process.execPath, [...exec('-e'), ask], { timeout: 60_000 })).stdout, 'here\n');
    await stack.kill();
    await stack.start();
    assert.equal((await run(process.execPath, [...exec('-e'), ask], { timeout: 60_000 })).stdout, 'here\n');
    child.kill('SIGKILL');
  });
});
