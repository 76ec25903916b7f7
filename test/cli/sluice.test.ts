/** The `sluice` command from outside: what it answers to mistakes, and under an older Node. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'sluice-cli-'));
after(() => rmSync(directory, { recursive: true }));

interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

function run(command: string, args: readonly string[]): Result {
  return spawnSync(command, args, { encoding: 'utf8', timeout: 60_000 });
}

function sluice(...args: string[]): Result {
  return run(process.execPath, [join(root, 'bin/sluice'), ...args]);
}

const MISTAKES: [args: string[], message: RegExp][] = [
  [['prxy'], /^sluice: there is no command 'prxy'; did you mean 'proxy'\? \(see sluice --help\)\n$/],
  [['proxy'], /^sluice: no configuration: give -c envoy\.yaml or --config-yaml TEXT/],
  [['proxy', 'envoy.yaml'], /^sluice: unexpected argument 'envoy\.yaml'; a configuration is given with -c/],
  [['proxy', '--concurency', '2'], /^sluice: unknown flag --concurency; did you mean --concurrency\?/],
  [['proxy', '--config', 'x'], /^sluice: unknown flag --config; did you mean --config-path\?/],
  [['proxy', '-c'], /^sluice: -c needs a value \(file\)\n$/],
  [['proxy', '-c', 'x', '--concurrency', 'two'], /^sluice: --concurrency needs a whole number, not 'two'\n$/],
  [['proxy', '-c', 'x', '--mode', 'check'], /^sluice: --mode: 'check' is not one of serve, validate, init_only\n$/],
  [['proxy', '-c', 'x', '-l', 'loud'], /^sluice: --log-level: 'loud' is not a level; levels are trace, debug, /],
  [
    ['proxy', '-c', 'x', '--component-log-level', 'htp:debug'],
    /^sluice: --component-log-level: there is no component 'htp'; did you mean 'http'\?\n$/,
  ],
  [['proxy', '-c', 'x', '--log-path', '/nowhere/log'], /^sluice: --log-path: cannot write '\/nowhere\/log': ENOENT/],
  [['proxy', '-c', '/nowhere/envoy.yaml'], /Invalid path: \/nowhere\/envoy\.yaml/],
];

describe('mistakes', () => {
  for (const [args, message] of MISTAKES) {
    test(args.join(' '), () => {
      const { status, stdout, stderr } = sluice(...args);
      assert.match(stderr, message);
      assert.equal(stdout, '');
      assert.equal(status, 1);
    });
  }

  test('an address in use names its place', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const { port } = taken.address() as { port: number };
    const address = `{ socket_address: { address: 127.0.0.1, port_value: ${port} } }`;
    const echo = '"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo';
    const files = {
      admin: `admin:\n  address: ${address}\n`,
      listener: `static_resources:\n  listeners:\n  - name: web\n    enable_reuse_port: false\n    address: ${address}\n    filter_chains: [{ filters: [{ name: echo, typed_config: { ${echo} } }] }]\n`,
    };
    const messages = {
      admin: new RegExp(
        `admin\\.yaml:2:12: admin\\.address: admin: cannot listen on '127\\.0\\.0\\.1:${port}': .*address already in use`,
      ),
      listener: /listener\.yaml:5:14: static_resources\.listeners\[0\]\.address: error adding listener 'web': cannot bind/,
    };
    for (const name of ['admin', 'listener'] as const) {
      const path = join(directory, `${name}.yaml`);
      writeFileSync(path, files[name]);
      const { status, stderr } = sluice('proxy', '-c', path, '--concurrency', '1');
      assert.match(stderr, messages[name]);
      assert.equal(status, 1);
    }
    taken.close();
  });
});

describe('bin/sluice under an older Node', () => {
  const old = ['/usr/bin/node', '/usr/local/bin/node'].find((node) => {
    const { stdout } = run(node, ['--version']);
    return stdout !== null && /^v(1[4-9]|2[0-5])\./.test(stdout);
  });
  const skip = old === undefined ? 'no older Node on this machine' : false;

  test('hands over to the Node that the package brings', { skip }, () => {
    const { status, stdout, stderr } = run(old!, [join(root, 'bin/sluice'), '--version']);
    assert.equal(stderr, '');
    assert.match(stdout, /^sluice {2}version: \S+\/node-v26\./);
    assert.equal(status, 0);
  });

  test('says what is missing when there is none', { skip }, () => {
    cpSync(join(root, 'bin'), join(directory, 'bin'), { recursive: true });
    const { status, stderr } = run(old!, [join(directory, 'bin/sluice'), '--version']);
    assert.match(stderr, /^sluice: this is Node \S+, and Sluice needs Node 26\.10 or newer\. Run `npm ci`/);
    assert.equal(status, 1);
  });
});

test('help and version end with 0', () => {
  for (const args of [['--help'], ['--version'], ['proxy', '--help'], ['proxy', '--version'], ['demo', '--help']]) {
    const { status, stdout, stderr } = sluice(...args);
    assert.equal(stderr, '', args.join(' '));
    assert.match(stdout, /sluice/);
    assert.equal(status, 0);
  }
});
