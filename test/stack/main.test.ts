/** The stack as a process, and its command line. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readStackConfig } from '../../src/stack/config/stack_config.ts';
import { VclWorker } from '../../src/stack/vcl/worker.ts';

const program = new URL('../../src/stack/main.ts', import.meta.url).pathname;
const FLAGS = ['--disable-warning=ExperimentalWarning', program];
const directory = mkdtempSync(join(tmpdir(), 'sluice-main-'));

after(() => rmSync(directory, { recursive: true, force: true }));

function ctl(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...FLAGS, 'ctl', '--runtime-dir', directory, ...args], { encoding: 'utf8' });
}

test('runs with a configuration, answers commands as text and JSON, ends on SIGTERM', async () => {
  const file = join(directory, 'stack.json');
  writeFileSync(file, JSON.stringify({ namespaces: [{ id: 'inside', secret: 'x' }], segments: { slots: 64, arenaPages: 256 } }));
  const stack = spawn(process.execPath, [...FLAGS, '-c', file, '--runtime-dir', directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(stack.stdout!, 'data');
  const text = ctl('show', 'app', 'ns');
  assert.equal(text.status, 0);
  assert.match(text.stdout, /^id +secret +fib +applications +socket\ndefault +no +0 +0 +.*\ninside +yes +0 +0 /);
  assert.deepEqual(JSON.parse(ctl('--json', 'show session').stdout), { sessions: 0, listeners: 0, cutThrough: 0, connects: 0 });
  const wrong = ctl('show', 'nothing');
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /unknown command 'show nothing'/);
  const worker = VclWorker.attachBlocking('app', { runtimeDir: directory, namespaceId: 'inside', namespaceSecret: 'x' });
  assert.equal(worker.stackPid, stack.pid);
  worker.destroy();
  const second = spawnSync(process.execPath, [...FLAGS, '--runtime-dir', directory], { encoding: 'utf8' });
  assert.notEqual(second.status, 0);
  assert.match(second.stderr, /another stack is listening/);
  stack.kill('SIGTERM');
  const [code] = await once(stack, 'exit');
  assert.equal(code, 0);
  assert.equal(existsSync(join(directory, 'cli.sock')), false);
  const nobody = ctl('show', 'app');
  assert.equal(nobody.status, 2);
  assert.match(nobody.stderr, /no stack at/);
});

test('configuration errors name the field', () => {
  const fails = (config: unknown, message: RegExp): void => {
    assert.throws(() => readStackConfig(JSON.stringify(config)), message);
  };
  fails({ colour: 1 }, /unknown field colour; known: runtimeDir, spinUs, namespaces, segments, tls, network/);
  fails({ spinUs: -1 }, /spinUs has an invalid value: -1/);
  fails({ namespaces: [{ id: 'a' }, { id: 'b', key: 1 }] }, /unknown field namespaces\[1\]\.key/);
  fails({ segments: { slots: 'many' } }, /segments\.slots has an invalid value/);
  fails([], /is not an object/);
  const tun = { kind: 'tun', name: 'a', addresses: ['10.0.0.1/24'] };
  const device = (fields: object, message: RegExp): void => fails({ network: { devices: [{ ...tun, ...fields }] } }, message);
  device({ kind: 'wire' }, /network\.devices\[0\]\.kind has an invalid value: "wire" \(.*tun, tap.*\)/);
  device({ addresses: ['10.0.0.1'] }, /addresses\[0\] has an invalid value: "10\.0\.0\.1" \(an address with prefix length\)/);
  device({ mtu: 10 }, /mtu has an invalid value: 10 \(a whole number from 68 to 65535\)/);
  device({ mac: '02:00:00:00:00:01' }, /unknown field network\.devices\[0\]\.mac/);
  device({ offload: 'some' }, /offload has an invalid value: "some" \(true, false, checksum\)/);
  device({ kind: 'packet', netns: 'x' }, /unknown field network\.devices\[0\]\.netns/);
  device({ faults: { outbound: { loss: 2 } } }, /faults\.outbound\.loss has an invalid value: 2 \(a number from 0 to 1\)/);
  device({ capture: {} }, /capture\.file is missing/);
  fails({ network: { devices: [tun, tun] } }, /two devices 'a'/);
  fails({ network: { devices: [{ kind: 'pipe', name: 'p', peer: 'q', addresses: [] }] } }, /peer: 'q' is not the name of a pipe/);
  fails({ network: { devices: [tun], tcp: { congestionControl: 'vegas' } } }, /tcp\.congestionControl has .*cubic/);
  fails({ network: { devices: [tun], tcp: { minPort: 9, maxPort: 8 } } }, /minPort is above maxPort/);
  fails({ network: { devices: [tun], routes: [{ prefix: '0.0.0.0/0' }] } }, /routes\[0\]\.via is missing/);
  fails({ network: {} }, /network\.devices is missing/);
  assert.deepEqual(readStackConfig('{"runtimeDir":"/x"}'), { runtimeDir: '/x' });
});
