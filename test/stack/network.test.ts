/**
 * `sluice stack` with a network: programs in network namespaces of the kernel talk to applications that are attached to the stack. Two
 * forwarding tables with the same addresses stay apart; a pipe joins two tables of one stack.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { stackConfig } from '../../src/cli/stack.ts';
import { attach, sendCommand, type VclNet } from '../../src/stack/index.ts';
import { cannotMakeNamespace } from './link/namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const program = new URL('../../src/cli/main.ts', import.meta.url).pathname;
const FLAGS = ['--disable-warning=ExperimentalWarning', program];
const run = promisify(execFile);
const spaces = [0, 1].map((i) => `slt-net${i}-${process.pid}`);
const colours = ['red', 'blue'] as const;
let directory = '';
let process_: ChildProcess;
const apps: VclNet[] = [];

before(async () => {
  if (reason !== null) return;
  directory = mkdtempSync(join(tmpdir(), 'sluice-net-'));
  for (const space of spaces) execFileSync('ip', ['netns', 'add', space]);
  const file = join(directory, 'stack.yaml');
  writeFileSync(
    file,
    `
runtimeDir: ${directory}
namespaces: [{ id: red, fib: 1 }, { id: blue, fib: 2 }]
network:
  devices:
  - { kind: tun, name: slr%d, fib: 1, addresses: [10.75.0.2/24, 'fd75::2/64'], hostAddresses: [10.75.0.1/24, 'fd75::1/64'], netns: ${spaces[0]},
      capture: { file: ${join(directory, 'red.pcapng')} } }
  - { kind: tap, name: slb%d, fib: 2, addresses: [10.75.0.2/24], hostAddresses: [10.75.0.1/24], netns: ${spaces[1]} }
  - { kind: pipe, name: p1, peer: p2, fib: 1, addresses: [10.99.0.1/30] }
  - { kind: pipe, name: p2, peer: p1, fib: 2, addresses: [10.99.0.2/30] }
  routes: [{ prefix: 0.0.0.0/0, via: 10.75.0.1, fib: 2 }]
  tcp: { congestionControl: newreno }
`,
  );
  process_ = spawn(process.execPath, [...FLAGS, 'stack', '-c', file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [text] = (await once(process_.stdout!, 'data')) as [Buffer];
  assert.match(text.toString(), /slr\d+ 10\.75\.0\.2\/24 fd75::2\/64/);
  for (const colour of colours) apps.push(await attach({ name: colour, runtimeDir: directory, namespaceId: colour }));
});

after(async () => {
  if (reason !== null) return;
  for (const app of apps) app.close();
  process_.kill('SIGTERM');
  assert.deepEqual(await once(process_, 'exit'), [0, null]);
  for (const space of spaces) execFileSync('ip', ['netns', 'del', space]);
  rmSync(directory, { recursive: true });
});

async function serve(app: VclNet, host: string, port: number, answer: string): Promise<() => void> {
  const server = app.createServer((socket) => socket.end(answer));
  server.listen(port, host);
  await once(server, 'listening');
  return () => server.close();
}

const read = async (space: string, address: string, port: number): Promise<string> => {
  const code = `import socket; s = socket.create_connection(('${address}', ${port}), timeout=10); print(s.recv(100).decode())`;
  return (await run('ip', ['netns', 'exec', space, 'python3', '-c', code], { timeout: 60_000 })).stdout.trim();
};

test('the same address in two forwarding tables is two hosts', { skip }, async () => {
  const stop = [await serve(apps[0], '0.0.0.0', 80, 'I am red'), await serve(apps[1], '0.0.0.0', 80, 'I am blue')];
  assert.equal(await read(spaces[0], '10.75.0.2', 80), 'I am red');
  assert.equal(await read(spaces[1], '10.75.0.2', 80), 'I am blue');
  for (const each of stop) each();
});

test('a denied source gets no answer, in its table only; what is established stays', { skip }, async () => {
  const sdl = async (words: string): Promise<void> => {
    assert.deepEqual(await sendCommand(directory, `session sdl ${words}`), { ok: true, text: '' }, words);
  };
  const server = apps[0].createServer((socket) => socket.pipe(socket));
  server.listen(83, '0.0.0.0');
  await once(server, 'listening');
  const stop = await serve(apps[1], '0.0.0.0', 83, 'I am blue');
  const code = `
import socket, sys
old = socket.create_connection(('10.75.0.2', 83), timeout=10)
print('connected', flush=True)
sys.stdin.readline()
new = socket.socket(); new.settimeout(0.5)
try: new.connect(('10.75.0.2', 83)); print('let in')
except TimeoutError: print('no answer')
old.sendall(b'still here'); print(old.recv(100).decode())`;
  const peer = spawn('ip', ['netns', 'exec', spaces[0], 'python3', '-c', code], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(peer.stdout!, 'data');
  await sdl('add appns red 10.75.0.0/24 action deny tag t');
  peer.stdin!.end('\n');
  let said = '';
  for await (const part of peer.stdout!) said += part;
  assert.equal(said, 'no answer\nstill here\n');
  assert.equal(await read(spaces[1], '10.75.0.2', 83), 'I am blue');
  await sdl('add appns red 10.75.0.1/32 action allow');
  const again = await run('ip', [
    'netns',
    'exec',
    spaces[0],
    'python3',
    '-c',
    "import socket; socket.create_connection(('10.75.0.2', 83), timeout=10); print('in')",
  ]);
  assert.equal(again.stdout, 'in\n');
  await sdl('del appns red tag t');
  await sdl('del appns red 10.75.0.1/32');
  server.close();
  stop();
});

test('a listener on :: serves both families', { skip }, async () => {
  const stop = await serve(apps[0], '::', 81, 'both');
  assert.equal(await read(spaces[0], '10.75.0.2', 81), 'both');
  assert.equal(await read(spaces[0], 'fd75::2', 81), 'both');
  await assert.rejects(read(spaces[1], '10.75.0.2', 81), /Connection refused/);
  stop();
});

test('applications of two tables meet through the pipe, by TCP', { skip }, async () => {
  const stop = await serve(apps[1], '10.99.0.2', 82, 'through the pipe');
  const socket = apps[0].connect({ host: '10.99.0.2', port: 82 });
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  assert.equal(Buffer.concat(parts).toString(), 'through the pipe');
  const { text } = await sendCommand(directory, 'show session verbose 1');
  assert.doesNotMatch(text, / ct /);
  stop();
});

test('no table, no route: the error says so', { skip }, async () => {
  const app = await attach({ name: 'nowhere', runtimeDir: directory });
  const socket = app.connect({ host: '10.75.0.1', port: 1 });
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ENETUNREACH');
  app.close();
});

test('the capture is a pcapng file with what passed', { skip }, () => {
  const bytes = readFileSync(join(directory, 'red.pcapng'));
  assert.equal(bytes.readUInt32LE(0), 0x0a0d0d0a);
  assert.ok(bytes.includes('I am red') && !bytes.includes('I am blue'));
});

test('flags say the same as a file', () => {
  const config = stackConfig({
    device: ['tun:slu0,address=10.1.0.2/24,address=fd00::2/64,host=10.1.0.1/24,mtu=1400,loss=0.01,offload=false'],
    route: ['0.0.0.0/0=10.1.0.1', '::/0=fd00::1@3'],
    namespace: ['inside@3'],
    'congestion-control': 'bbr',
  } as never);
  const faults = { loss: 0.01 };
  assert.deepEqual(config, {
    namespaces: [{ id: 'inside', fib: 3 }],
    network: {
      devices: [
        {
          kind: 'tun',
          name: 'slu0',
          addresses: ['10.1.0.2/24', 'fd00::2/64'],
          hostAddresses: ['10.1.0.1/24'],
          mtu: 1400,
          offload: false,
          faults: { outbound: faults, inbound: faults },
        },
      ],
      routes: [
        { prefix: '0.0.0.0/0', via: '10.1.0.1' },
        { prefix: '::/0', via: 'fd00::1', fib: 3 },
      ],
      tcp: { congestionControl: 'bbr' },
    },
  });
  const wrong = (flags: object, message: RegExp): void => assert.throws(() => stackConfig(flags as never), message);
  wrong({ device: ['tun'] }, /wanted KIND:NAME/);
  wrong({ device: ['tun:a,mtu'] }, /'mtu' is not key=value/);
  wrong({ device: ['tun:a,address=1.2.3.4/8,colour=red'] }, /unknown field network\.devices\[0\]\.colour/);
  wrong({ 'congestion-control': 'bbr' }, /need a --device/);
  wrong({ route: ['x'] }, /wanted PREFIX=GATEWAY/);
});

test('a device that cannot be made is a clear error, and nothing stays behind', { skip }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-net-'));
  const args = [...FLAGS, 'stack', '--runtime-dir', dir, '--device'];
  const start = (device: string): string =>
    spawnSync(process.execPath, [...args, device], { encoding: 'utf8', timeout: 60_000 }).stderr;
  assert.match(start('tun:sle0,address=10.1.0.2/24,netns=there-is-none'), /ip link set sle0 netns there-is-none: /);
  assert.match(start('tun:sle0,address=10.1.0.2/24,colour=1'), /unknown field/);
  rmSync(dir, { recursive: true });
});
