/** `sluice wasm inspect`, `test` and `new` as users run them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HEADER_MODULE, prelude, wat } from '../wasm/support/wat.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('sluice wasm', () => {
  let directory = '';
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sluice-wasm-cli-'));
    writeFileSync(join(directory, 'header.wasm'), wat(HEADER_MODULE));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  function sluice(...args: string[]): { status: number | null; out: string; err: string } {
    const main = join(ROOT, 'src/cli/main.ts');
    const result = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', main, 'wasm', ...args], {
      cwd: directory,
      encoding: 'utf8',
      timeout: 60_000,
    });
    return { status: result.status, out: result.stdout, err: result.stderr };
  }

  test('inspect: a module that loads', () => {
    const { status, out } = sluice('inspect', 'header.wasm');
    assert.equal(status, 0);
    assert.match(out, /^ABI: +0\.2\.1$/m);
    assert.match(out, /^ {2}proxy_on_request_headers$/m);
    assert.match(out, /^ {2}env\.proxy_add_header_map_value: i32 i32 i32 i32 i32 -> i32$/m);
    assert.match(out, /it should load/);
    const json = JSON.parse(sluice('inspect', 'header.wasm', '--json').out) as { callbacks: string[]; problems: string[] };
    assert.deepEqual(json.callbacks, ['proxy_on_request_headers', 'proxy_on_response_headers']);
    assert.deepEqual(json.problems, []);
  });

  test('inspect: what will not work', () => {
    writeFileSync(
      join(directory, 'bad.wasm'),
      wat(`(module (import "env" "nonsense" (func)) (import "env" "proxy_get_secret" (func (param i32) (result i32)))
        (memory (export "memory") 1) (func (export "proxy_on_tick")))`),
    );
    const { status, out } = sluice('inspect', 'bad.wasm');
    assert.equal(status, 1);
    assert.match(out, /IT WILL NOT LOAD/);
    assert.match(out, /it says no ABI version/);
    assert.match(out, /neither malloc nor proxy_on_memory_allocate/);
    assert.match(out, /there is no host function env\.nonsense/);
    assert.match(out, /proxy_on_tick is void -> void, and must be i32 -> void/);
    assert.match(out, /proxy_get_secret is of another host/);
    writeFileSync(join(directory, 'text.wasm'), 'hello');
    assert.match(sluice('inspect', 'text.wasm').err, /text\.wasm: not a WebAssembly module/);
    assert.match(sluice('inspect', 'absent.wasm').err, /cannot read absent\.wasm/);
  });

  test('test: expectations that hold and that do not', () => {
    const good = sluice(
      'test',
      'header.wasm',
      '--request',
      'GET /x',
      '-H',
      'x-in: 1',
      '-e',
      'status=200',
      '-e',
      'upstream.header:x-out=1',
      '-e',
      'header:x-wasm=yes',
    );
    assert.equal(good.status, 0, good.out + good.err);
    assert.match(good.out, /ok {6}upstream\.header:x-out=1/);
    const bad = sluice('test', 'header.wasm', '-e', 'header:x-wasm=no');
    assert.equal(bad.status, 1);
    assert.match(bad.out, /FAILED {2}header:x-wasm=no: found yes/);
  });

  test('test: a trap is told with its function, an endless loop is ended', () => {
    writeFileSync(
      join(directory, 'trap.wasm'),
      wat(
        `(module ${prelude()} (func $inner unreachable) (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) call $inner i32.const 0))`,
      ),
    );
    const trap = sluice('test', 'trap.wasm', '-e', 'status=503', '-e', 'log~inner');
    assert.equal(trap.status, 0, trap.out);
    writeFileSync(
      join(directory, 'loop.wasm'),
      wat(
        `(module ${prelude()} (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (loop $l (br $l)) i32.const 0))`,
      ),
    );
    const loop = sluice('test', 'loop.wasm', '--time-limit', '500');
    assert.notEqual(loop.status, 0);
    assert.match(loop.err, /loop\.wasm did not return within 500 ms/);
  });

  test('new: a project that builds, passes its test, and runs by its configuration', () => {
    const made = sluice('new', 'hello');
    assert.equal(made.status, 0, made.err);
    const project = join(directory, 'hello');
    // As the user is told to; the runner of the test is not a part of this one.
    const user = (program: string, ...args: string[]) =>
      spawnSync(program, args, {
        env: { ...process.env, NODE_TEST_CONTEXT: undefined },
        cwd: project,
        encoding: 'utf8',
        timeout: 60_000,
      });
    const built = user('npm', 'run', 'build');
    assert.equal(built.status, 0, built.stderr);
    const tested = user('npm', 'test');
    assert.equal(tested.status, 0, tested.stdout);
    assert.match(tested.stdout, /pass 2/);
    const checked = user('npx', 'sluice', 'proxy', '--mode', 'validate', '-c', 'hello.yaml');
    assert.equal(checked.status, 0, checked.stderr);
    assert.match(sluice('new', 'hello').err, /exists: nothing was written/);
  });
});
