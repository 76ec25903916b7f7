/** Devices by command line: `sluice stack --device KIND:...` for every kind that reaches the kernel, with an application behind it. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { attach } from '../../../src/stack/index.ts';
import { cannotMakeNamespace, cannotUseXdp } from './namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const xdpSkip = skip || (cannotUseXdp() ?? false);
const program = new URL('../../../src/cli/main.ts', import.meta.url).pathname;
const FLAGS = ['--disable-warning=ExperimentalWarning', program, 'stack'];
const run = promisify(execFile);

const CLIENT = `
import socket, hashlib
s = socket.create_connection(('10.76.0.2', 80), timeout=15); h = hashlib.sha256(); n = 0
s.sendall(b'x' * 1000000); s.shutdown(socket.SHUT_WR)
while True:
    b = s.recv(1 << 16)
    if not b: break
    h.update(b); n += len(b)
print(n, h.hexdigest())`;

const cases: readonly [string, string][] = [
  ['tun', 'offload=checksum'],
  ['tun', 'offload=checksum,threaded=false'],
  ['tap', 'offload=false,mac=02:00:00:00:00:07'],
  ['packet', 'offload=true'],
  ['packet', 'offload=checksum,mac=02:00:00:00:00:08'],
  ['xdp', 'queue=0'],
];
for (const [i, [kind, fields]] of cases.entries())
  test(`--device ${kind}:NAME,${fields}`, { skip: kind === 'xdp' ? xdpSkip : skip }, async () => {
    const space = `slt-dev-${process.pid}-${i}`;
    const directory = mkdtempSync(join(tmpdir(), 'sluice-dev-'));
    const name = `sld${process.pid % 1_000_000}x${i}`;
    const ownLink = kind === 'tun' || kind === 'tap';
    execFileSync('ip', ['netns', 'add', space]);
    const host = ownLink ? `,host=10.76.0.1/24,netns=${space}` : '';
    if (!ownLink) {
      execFileSync('ip', ['link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space]);
      execFileSync('ip', ['link', 'set', name, 'up']);
      execFileSync('ip', ['-n', space, 'addr', 'add', '10.76.0.1/24', 'dev', 'eth0']);
      execFileSync('ip', ['-n', space, 'link', 'set', 'eth0', 'up']);
    }
    const device = `${kind}:${name},address=10.76.0.2/24,${fields}${host}`;
    const child = spawn(process.execPath, [...FLAGS, '--runtime-dir', directory, '--device', device], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const [text] = (await once(child.stdout, 'data')) as [Buffer];
      assert.match(text.toString(), new RegExp(`${name} 10\\.76\\.0\\.2/24`));
      const app = await attach({ name: 'devices', runtimeDir: directory });
      const answer = Buffer.from(Array.from({ length: 1_000_000 }, (_, k) => (k * 7) >> 3));
      const got = new Promise<number>((resolve) => {
        const server = app.createServer((socket) => {
          let bytes = 0;
          socket.on('data', (part: Buffer) => {
            bytes += part.length;
          });
          socket.on('end', () => resolve(bytes));
          socket.end(answer);
        });
        server.listen(80, '0.0.0.0');
      });
      const { stdout } = await run('ip', ['netns', 'exec', space, 'python3', '-c', CLIENT], { timeout: 30_000 });
      assert.equal(stdout.trim(), `1000000 ${createHash('sha256').update(answer).digest('hex')}`);
      assert.equal(await got, 1_000_000);
      app.close();
      child.kill('SIGTERM');
      assert.deepEqual(await once(child, 'exit'), [0, null]);
    } finally {
      child.kill('SIGKILL');
      execFileSync('ip', ['netns', 'del', space]);
      rmSync(directory, { recursive: true });
    }
  });

test('an interface that is not there is an error that names it', { skip: xdpSkip }, () => {
  for (const kind of ['packet', 'xdp']) {
    const args = [
      ...FLAGS,
      '--runtime-dir',
      join(tmpdir(), `sluice-none-${process.pid}`),
      '--device',
      `${kind}:nowhere0,address=10.1.0.2/24`,
    ];
    const { stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 });
    assert.notEqual(status, 0);
    assert.match(stderr, /No such device \(nowhere0\)/);
  }
});
