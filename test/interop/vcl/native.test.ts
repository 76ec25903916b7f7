/**
 * Native programs under `sluice exec` against the kernel's own TCP and UDP, through a TAP device in a network namespace; and servers that
 * come back when the stack is killed.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cannotMakeNamespace } from '../../stack/link/namespace.ts';
import { closeAtEnd, until } from '../../support/proxy_process.ts';
import { StackProcess } from '../support/stack_process.ts';
import { needs } from '../support/upstreams.ts';

const IN_NAMESPACE = process.env['SLUICE_TEST_IN_NAMESPACE'] !== undefined;
const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const STACK_IP = '10.66.2.2';
const HOST_IP = '10.66.2.1';
const PORT = 5203;
const run = promisify(execFile);

if (IN_NAMESPACE) inside();
else {
  const reason = cannotMakeNamespace() ?? needs('unshare', 'iperf3', 'python3', process.env['CC'] ?? 'cc');
  test('native programs and the kernel through TAP', { skip: reason, timeout: 250_000 }, async () => {
    const flags = ['--disable-warning=ExperimentalWarning', '--test-reporter=spec'];
    const script = 'ip link set lo up && exec "$0" "$@"';
    const child = spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, ...flags, import.meta.filename], {
      env: { ...process.env, SLUICE_TEST_IN_NAMESPACE: '1', NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    closeAtEnd(() => child.kill('SIGKILL'));
    const [said, [status]] = await Promise.all([text(child.stdout!), once(child, 'exit')]);
    assert.equal(status, 0, said);
    for (const line of said.split('\n').filter((one) => one.includes('﹣'))) process.stderr.write(`${line}\n`);
  });
}

function inside(): void {
  describe('native programs through TAP', () => {
    let stack: StackProcess;

    before(async () => {
      stack = await new StackProcess(['--device', `tap:sluntap,address=${STACK_IP}/24,host=${HOST_IP}/24`]).start();
    });

    after(() => stack.close());

    const exec = (program: string, ...args: string[]): string[] => [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      MAIN,
      ...['exec', '--runtime-dir', stack.runtimeDir, '--', program, ...args],
    ];

    function start(command: readonly string[]): ChildProcess {
      const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
      closeAtEnd(() => child.kill('SIGKILL'));
      return child;
    }

    /** iperf3 says when it listens. */
    async function iperfServer(command: readonly string[]): Promise<ChildProcess> {
      const server = start([...command, '--forceflush']);
      for await (const piece of server.stdout!.setEncoding('utf8')) if (/listening/.test(piece)) break;
      return server;
    }

    async function iperf(command: readonly string[], flags: readonly string[]): Promise<void> {
      const { stdout } = await run(command[0], [...command.slice(1), '-p', String(PORT), '-t', '1', '-J', ...flags], {
        maxBuffer: 1 << 24,
        timeout: 60_000,
      }).catch((error) => {
        throw new Error(`${command.join(' ')}: ${error.message} ${error.stdout}`);
      });
      const { end } = JSON.parse(stdout);
      if (!flags.includes('-u')) assert.ok(end.sum_received.bytes > 1_000_000, stdout);
      else {
        assert.ok(end.sum.packets > 100, stdout);
        assert.ok(end.sum.lost_percent < 50, stdout);
      }
    }

    for (const flags of [
      [],
      ['-R'],
      ['-P', '4'],
      ['-u', '-b', '20M'],
      ['-u', '-b', '20M', '-R'],
      ['-u', '-b', '10M', '-P', '3'],
    ]) {
      test(`iperf3 ${flags.join(' ')}: the kernel's client`, { timeout: 100_000 }, async () => {
        const server = await iperfServer(exec('iperf3', '-s', '-1', '-p', String(PORT)));
        await iperf(['iperf3', '-c', STACK_IP], flags);
        server.kill('SIGKILL');
      });
      test(`iperf3 ${flags.join(' ')}: the kernel's server`, { timeout: 100_000 }, async () => {
        const server = await iperfServer(['iperf3', '-s', '-1', '-B', HOST_IP, '-p', String(PORT)]);
        await iperf(exec('iperf3', '-c', HOST_IP), flags);
        server.kill('SIGKILL');
      });
    }

    test('keepalive of a native program is on the wire: a peer that vanished ends the connection', {
      timeout: 60_000,
    }, async () => {
      const program = `
import socket, subprocess
listener = socket.create_server(('0.0.0.0', 4801))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
print('up', flush=True)
connection, _ = listener.accept()
print(connection.recv(10), flush=True)
try: print(connection.recv(10), flush=True)
except OSError as error: print(type(error).__name__, flush=True)`;
      const server = start(exec('python3', '-c', program));
      let said = '';
      let lines: string[] = [];
      server.stdout!.setEncoding('utf8').on('data', (piece: string) => {
        said += piece;
        lines = said.split('\n').slice(0, -1);
      });
      await until(() => lines.includes('up'), 'the server');
      const client = connect(4801, STACK_IP);
      closeAtEnd(() => client.destroy());
      client.on('error', () => {});
      client.write('hello');
      await until(
        () => lines.includes("b'hello'"),
        () => lines.join(),
      );
      // Nothing that the kernel sends reaches the stack any more, nor back.
      await run('ip', ['link', 'set', 'sluntap', 'down']);
      await until(
        () => lines.length > 2,
        () => lines.join(),
      );
      assert.equal(lines[2], 'TimeoutError');
      client.destroy();
      await run('ip', ['link', 'set', 'sluntap', 'up']);
    });

    test('a server listens again when the stack was killed', { timeout: 60_000 }, async () => {
      const program = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'here')
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 4802), Handler).serve_forever()`;
      const server = start(exec('python3', '-c', program));
      const ask = `
import time, urllib.request
while True:
    try:
        print(urllib.request.urlopen('http://127.0.0.1:4802/', timeout=10).read().decode())
        break
    except OSError: time.sleep(0.05)`;
      const asking = exec('python3', '-c', ask);
      for (let i = 0; i < 3; i++) {
        assert.equal((await run(asking[0], asking.slice(1), { timeout: 30_000 })).stdout, 'here\n');
        await stack.kill();
        await stack.start();
      }
      assert.equal((await run(asking[0], asking.slice(1), { timeout: 30_000 })).stdout, 'here\n');
      server.kill('SIGKILL');
    });
  });
}
