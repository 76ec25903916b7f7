/** `sluice filter`: what `new` writes type-checks and passes its test, and `test` tells what holds. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Outcome, parseExpectation } from '../../src/cli/expect.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'sluice-new-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function run(args: string[], cwd = root): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  return spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd,
    encoding: 'utf8',
    timeout: 120_000,
    env,
  });
}
const sluice = (...args: string[]): ReturnType<typeof run> => run(['src/cli/main.ts', 'filter', ...args]);

describe('sluice filter new', () => {
  const project = join(directory, 'my_filter');

  test('writes a filter that type-checks, passes its test and is a valid configuration', () => {
    const made = sluice('new', 'my_filter', '--dir', project);
    assert.equal(made.status, 0, made.stderr);
    // Against the sources of this package, which want more of the platform's types than its declarations do.
    const checked = run(
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.', '--lib', 'es2024,esnext.disposable,dom'],
      project,
    );
    assert.equal(checked.status, 0, checked.stdout);
    // As the user is told to.
    const user = (program: string, ...args: string[]) =>
      spawnSync(program, args, { cwd: project, encoding: 'utf8', env: { ...process.env, NODE_TEST_CONTEXT: undefined } });
    const tested = user('npm', 'test');
    assert.equal(tested.status, 0, tested.stdout);
    assert.match(tested.stdout, /pass 2/);
    const valid = user('npx', 'sluice', 'proxy', '-c', 'my_filter.yaml', '--mode', 'validate');
    assert.equal(valid.status, 0, valid.stderr);
  });

  test('does not write over anything', () => {
    const before = readFileSync(join(project, 'my_filter.ts'), 'utf8');
    const again = sluice('new', 'my_filter', '--dir', project);
    assert.equal(again.status, 1);
    assert.match(again.stderr, /exists: nothing was written/);
    assert.equal(readFileSync(join(project, 'my_filter.ts'), 'utf8'), before);
    assert.match(sluice('new', '../x').stderr, /is not a name/);
  });
});

describe('sluice filter test', () => {
  const edit = 'examples/filters/header_edit.ts';

  test('tells what the upstream and the client get, and what does not hold', () => {
    const config = '{ request: { set: { x-a: "1" } } }';
    const good = sluice(
      'test',
      edit,
      '--config',
      config,
      '-r',
      'POST /x',
      '-d',
      'hi',
      '-e',
      'status=200',
      '-e',
      'upstream.header:X-A=1',
    );
    assert.equal(good.status, 0, good.stderr);
    assert.match(good.stdout, /^upstream: POST \/x\n.*\nok {6}status=200\nok {6}upstream\.header:X-A=1\n$/s);
    const bad = sluice('test', edit, '-e', 'header:x-nope', '-e', 'body~^o', '-e', 'status!=200');
    assert.equal(bad.status, 1);
    assert.match(bad.stdout, /FAILED {2}header:x-nope: found nothing\nok {6}body~\^o\nFAILED {2}status!=200: found 200\n$/);
  });

  test('call-outs, metrics and repeated requests', () => {
    const auth = sluice(
      'test',
      'examples/filters/authorize.ts',
      '--config',
      'cluster: auth',
      '--cluster',
      'auth=403 no',
      '-e',
      'status=403',
      '-e',
      'upstream=none',
      '-e',
      'metric:denied=1',
    );
    assert.equal(auth.status, 0, auth.stdout);
    const limit = sluice(
      'test',
      'examples/filters/rate_limit.ts',
      '--config',
      '{ requests_per_second: 0.01, burst: 2 }',
      '--repeat',
      '3',
      '-e',
      'status=429',
      '-e',
      'metric:limited=1',
    );
    assert.equal(limit.status, 0, limit.stdout);
  });

  test('mistakes of the filter and of the command line', () => {
    assert.match(
      sluice('test', 'examples/filters/rate_limit.ts').stderr,
      /sluice: rate_limit\.ts: config\.requests_per_second: is missing\n/,
    );
    assert.match(sluice('test', 'nowhere.ts').stderr, /cannot load .*nowhere\.ts.*no such file/);
    assert.match(sluice('test', edit, '-e', 'sttus=1').stderr, /--expect: cannot read 'sttus=1'; such are: status=200/);
    assert.match(sluice('test', edit, '-r', 'GET').stderr, /--request: 'GET' is not of the form/);
    assert.match(sluice('tset', edit).stderr, /did you mean 'test'\?/);
    assert.match(sluice('--help').stdout, /--expect <what>/);
  });
});

test('expectations', () => {
  const outcome: Outcome = {
    status: 200,
    headers: { 'x-a': '1', 'set-cookie': ['a', 'b'] },
    body: 'a=b',
    upstream: { method: 'GET', path: '/p', headers: { host: 'h' } },
    log: 'line',
    metric: (name) => name.length,
  };
  const found = (text: string): string | null => parseExpectation(text).check(outcome);
  for (const holds of [
    'status=200',
    'body=a=b',
    'header:set-cookie=a,b',
    'header:X-A',
    'upstream=GET /p',
    'upstream.path=/p',
    'metric:abc=3',
    'log~^l',
    'body!~x',
    'header:x-b!=1',
  ])
    assert.equal(found(holds), null, holds);
  assert.equal(found('status=201'), '200');
  assert.equal(found('header:x-b=1'), 'nothing');
  assert.equal(found('upstream=none'), 'GET /p');
  assert.throws(() => parseExpectation('body~('), /Invalid regular expression/);
  assert.throws(() => parseExpectation('header=1'), /cannot read/);
});
