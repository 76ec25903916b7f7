import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { Timer } from '../../../src/core/event/dispatcher.ts';
import { Store } from '../../../src/core/stats/store.ts';
import type { AccessLogFile } from '../../../src/proxy/access_log/access_log.ts';
import { createAccessLogs } from '../../../src/proxy/access_log/factory.ts';
import { AccessLogManagerImpl } from '../../../src/proxy/access_log/manager.ts';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import { context, streamInfo } from './support.ts';

const STORE = new URL('../../../src/core/stats/store.ts', import.meta.url).href;
const MANAGER = new URL('../../../src/proxy/access_log/manager.ts', import.meta.url).href;

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sluice-log-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

class ManualTimer implements Timer {
  enabled = false;
  delayMs = -1;
  readonly callback: () => void;

  constructor(callback: () => void) {
    this.callback = callback;
  }

  enableTimer(delayMs: number): void {
    this.enabled = true;
    this.delayMs = delayMs;
  }

  disableTimer(): void {
    this.enabled = false;
  }

  fire(): void {
    this.enabled = false;
    this.callback();
  }
}

/** Writes a line of byte text. */
const write = (file: AccessLogFile, text: string): void => {
  file.line.text(text);
  file.endLine();
};
const WRITE = 'const write = (file, text) => { file.line.text(text); file.endLine(); };';

test('lines wait for the timer, for a full buffer, or for flush', (t) => {
  const path = join(folder(t), 'log');
  const store = new Store();
  let timer: ManualTimer | undefined;
  const manager = new AccessLogManagerImpl({
    createTimer: (callback) => (timer = new ManualTimer(callback)),
    flushSizeBytes: 100,
    scope: store,
  });
  t.after(() => manager.close());
  const file = manager.createAccessLog(path);
  assert.equal(manager.createAccessLog(path), file, 'one file per path');
  assert.equal(timer?.enabled, false);
  write(file, 'one\n');
  assert.deepEqual([timer?.enabled, timer?.delayMs, readFileSync(path, 'utf8')], [true, 10_000, '']);
  assert.equal(store.gaugeValue('filesystem.write_total_buffered'), 4);
  timer?.fire();
  assert.equal(readFileSync(path, 'utf8'), 'one\n');
  write(file, `${'x'.repeat(98)}\n`);
  assert.equal(readFileSync(path, 'utf8').length, 4, 'one byte below the limit');
  write(file, 'y\n');
  assert.equal(readFileSync(path, 'utf8').length, 105);
  write(file, `${'z'.repeat(50_000)}\n`);
  assert.equal(readFileSync(path, 'utf8').length, 50_106, 'a line longer than the buffer');
  write(file, 'last\n');
  manager.flush();
  assert.ok(readFileSync(path, 'utf8').endsWith('z\nlast\n'));
  assert.deepEqual(
    ['write_buffered', 'write_completed', 'flushed_by_timer', 'write_failed'].map((name) =>
      store.counterValue(`filesystem.${name}`),
    ),
    [5, 4, 1, 0],
  );
  assert.equal(store.gaugeValue('filesystem.write_total_buffered'), 0);
});

test('reopen after a rotation; a path that went away keeps the old file', (t) => {
  const home = folder(t);
  const path = join(home, 'sub', 'log');
  mkdirSync(join(home, 'sub'));
  const store = new Store();
  const manager = new AccessLogManagerImpl({ scope: store });
  t.after(() => manager.close());
  const file = manager.createAccessLog(path);
  write(file, 'before\n');
  renameSync(path, `${path}.1`);
  write(file, 'between\n');
  manager.reopen();
  write(file, 'after\n');
  manager.flush();
  assert.equal(readFileSync(`${path}.1`, 'utf8'), 'before\nbetween\n');
  assert.equal(readFileSync(path, 'utf8'), 'after\n');
  renameSync(join(home, 'sub'), join(home, 'moved'));
  manager.reopen();
  write(file, 'still\n');
  manager.flush();
  assert.equal(store.counterValue('filesystem.reopen_failed'), 1);
  assert.equal(readFileSync(join(home, 'moved', 'log'), 'utf8'), 'after\nstill\n');
});

test('bytes are written as they are, and appended to what is there', (t) => {
  const path = join(folder(t), 'log');
  for (const line of ['\xff\xc3\xbc\n', 'second\n']) {
    const manager = new AccessLogManagerImpl();
    write(manager.createAccessLog(path), line);
    manager.close();
  }
  assert.deepEqual(readFileSync(path), Buffer.from('\xff\xc3\xbc\nsecond\n', 'latin1'));
});

test('a full disk drops lines and counts, without an exception', () => {
  const store = new Store();
  const manager = new AccessLogManagerImpl({ scope: store, flushSizeBytes: 64 });
  const file = manager.createAccessLog('/dev/full');
  for (let i = 0; i < 100; i++) write(file, '0123456789\n');
  manager.close();
  assert.equal(store.counterValue('filesystem.write_buffered'), 100);
  assert.ok(store.counterValue('filesystem.write_failed') > 0);
  assert.equal(store.gaugeValue('filesystem.write_total_buffered'), 0);
});

test('a file that cannot be opened is a configuration error', (t) => {
  const path = join(folder(t), 'none', 'log');
  assert.throws(() => new AccessLogManagerImpl().createAccessLog(path), {
    name: 'ConfigError',
    reason: `unable to open file '${path}': No such file or directory`,
  });
});

const THREADS = 4;
const LINES = 3000;

/** Several threads write numbered lines of many lengths to one path. */
async function writeFromThreads(path: string): Promise<void> {
  const source = `
    import { workerData } from 'node:worker_threads';
    import { AccessLogManagerImpl } from ${JSON.stringify(MANAGER)};
    const manager = new AccessLogManagerImpl({ flushSizeBytes: 10000 });
    ${WRITE}
    const file = manager.createAccessLog(workerData.path);
    for (let i = 0; i < ${LINES}; i++) write(file, 'thread ' + workerData.thread + ' line ' + i + ' ' + 'x'.repeat(i % 200) + '.\\n');
    manager.close();
  `;
  await Promise.all(
    Array.from({ length: THREADS }, (_, thread) => {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
        workerData: { path, thread },
        execArgv: ['--disable-warning=ExperimentalWarning'],
      });
      return new Promise<void>((resolve, reject) => {
        worker.once('error', reject);
        worker.once('exit', () => resolve());
      });
    }),
  );
}

/** Every line is whole, none is missing, and each thread's lines are in order. */
function checkThreadLines(text: string): void {
  const next = Array<number>(THREADS).fill(0);
  for (const line of text.trimEnd().split('\n')) {
    const match = /^thread (\d) line (\d+) (x*)\.$/.exec(line);
    assert.ok(match !== null, `broken line: ${line}`);
    const thread = Number(match[1]);
    assert.deepEqual([Number(match[2]), match[3].length], [next[thread], next[thread] % 200]);
    next[thread]++;
  }
  assert.deepEqual(next, Array(THREADS).fill(LINES));
}

test('several threads write whole lines to one file', async (t) => {
  const path = join(folder(t), 'log');
  await writeFromThreads(path);
  checkThreadLines(readFileSync(path, 'latin1'));
});

test('several threads write whole lines to one pipe', async (t) => {
  const path = join(folder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  const reader = spawn('cat', [path]);
  let text = '';
  reader.stdout.on('data', (data) => (text += data));
  const closed = new Promise((resolve) => reader.once('close', resolve));
  // Keeps the pipe open until every thread is done.
  const hold = openSync(path, 'a');
  await writeFromThreads(path);
  closeSync(hold);
  await closed;
  checkThreadLines(text);
});

/** Runs code with a manager and `ready` (the end of standard input) in a process of its own. */
function start(code: string): ChildProcessWithoutNullStreams {
  const source = `
    import { Store } from ${JSON.stringify(STORE)};
    import { AccessLogManagerImpl } from ${JSON.stringify(MANAGER)};
    ${WRITE}
    const ready = async () => { for await (const _ of process.stdin); };
    ${code}`;
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', source]);
}

/** Standard output, error output and exit status. */
function finished(child: ChildProcessWithoutNullStreams): Promise<[string, string, number | null]> {
  let out = '';
  let err = '';
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  return new Promise((resolve) => child.once('close', (status) => resolve([out, err, status])));
}

test('standard output and error', async () => {
  const child = start(`
    const manager = new AccessLogManagerImpl();
    const stdout = manager.createAccessLog('/dev/stdout');
    for (let i = 0; i < 2000; i++) write(stdout, 'line ' + i + ' ' + 'x'.repeat(100) + '\\n');
    write(manager.createAccessLog('/dev/stderr'), 'error line\\n');
    manager.reopen();
    write(stdout, 'end\\n');
    manager.close();
  `);
  const [out, err, status] = await finished(child);
  assert.deepEqual([status, err], [0, 'error line\n']);
  const lines = out.split('\n');
  assert.deepEqual([lines.length, lines[1999], lines[2000]], [2002, `line 1999 ${'x'.repeat(100)}`, 'end']);
});

test('a closed pipe does not end the process', async () => {
  const child = start(`
    const manager = new AccessLogManagerImpl({ flushSizeBytes: 64 });
    const file = manager.createAccessLog('/dev/stdout');
    await ready();
    for (let i = 0; i < 5000; i++) write(file, 'line ' + i + '\\n');
    manager.close();
    process.stderr.write('alive');
  `);
  child.stdout.destroy();
  child.stdout.once('close', () => child.stdin.end());
  const [, err, status] = await finished(child);
  assert.deepEqual([status, err], [0, 'alive']);
});

test('a reader that does not read costs lines, never time, and lines stay whole', async () => {
  const child = start(`
    // Standard output becomes non-blocking, as when the application log writes to it.
    process.stdout.write('');
    const store = new Store();
    const manager = new AccessLogManagerImpl({ scope: store });
    const file = manager.createAccessLog('/dev/stdout');
    for (let i = 0; i < 50000; i++) write(file, 'line ' + i + ' ' + 'x'.repeat(100) + '\\n');
    process.stderr.write(String(store.counterValue('filesystem.write_failed')));
    await ready();
    while (store.gaugeValue('filesystem.write_total_buffered') > 0) {
      manager.flush();
      await new Promise((resolve) => setImmediate(resolve));
    }
  `);
  const dropped = Number(await new Promise((resolve) => child.stderr.once('data', resolve)));
  assert.ok(dropped > 0 && dropped < 50_000);
  child.stdin.end();
  const [out, , status] = await finished(child);
  const lines = out.trimEnd().split('\n');
  assert.deepEqual([status, lines.length], [0, 50_000 - dropped]);
  assert.ok(lines.every((line) => /^line \d+ x{100}$/.test(line)));
});

test('loggers from configuration', (t) => {
  const home = folder(t);
  const manager = new AccessLogManagerImpl();
  t.after(() => manager.close());
  const owner = {
    accessLogManager: manager,
    random: () => 0,
    runtime: {
      snapshot: {
        get: () => undefined,
        getInteger: (_: string, value: number) => value,
        getDouble: (_: string, value: number) => value,
        getBoolean: (_: string, value: boolean) => value,
        featureEnabled: () => true,
      },
    },
  };
  const FILE = 'envoy.extensions.access_loggers.file.v3.FileAccessLog';
  const logs = createAccessLogs(
    [
      { name: 'envoy.access_loggers.file', typedConfig: { '@type': FILE, path: join(home, 'default') } },
      { name: 'a', typedConfig: { '@type': FILE, path: join(home, 'text'), logFormat: { textFormat: '%RESPONSE_CODE%\n' } } },
      { name: 'b', typedConfig: { '@type': FILE, path: join(home, 'json'), jsonFormat: { code: '%RESPONSE_CODE%' } } },
      { name: 'c', typedConfig: { '@type': FILE, path: join(home, 'json'), typedJsonFormat: { typed: '%RESPONSE_CODE%' } } },
      { name: 'd', typedConfig: { '@type': FILE, path: join(home, 'text'), format: 'old %PROTOCOL%\n' } },
      {
        name: 'e',
        filter: { statusCodeFilter: { comparison: { op: 'GE', value: { defaultValue: 500, runtimeKey: '' } } } },
        typedConfig: { '@type': FILE, path: join(home, 'text'), logFormat: { textFormat: 'error %RESPONSE_CODE%\n' } },
      },
    ],
    owner,
  );
  for (const log of logs) log.log(context(), streamInfo());
  for (const log of logs.slice(5)) log.log(context(), streamInfo({ responseCode: 503 }));
  manager.flush();
  assert.match(readFileSync(join(home, 'default'), 'utf8'), /^\[2016-04-15T20:17:00\.310Z\] "POST .* "10\.0\.2\.1:80"\n$/);
  assert.equal(readFileSync(join(home, 'text'), 'utf8'), '204\nold HTTP/2\nerror 503\n');
  assert.equal(readFileSync(join(home, 'json'), 'utf8'), '{"code":204}\n{"typed":204}\n');
  assert.deepEqual(createAccessLogs(undefined, owner), []);

  const fails = (config: Record<string, unknown>, path: string): void =>
    assert.throws(
      () => createAccessLogs([{ name: 'x', ...config }], owner),
      (error) => error instanceof ConfigError && error.path === path,
      path,
    );
  fails(
    { typedConfig: { '@type': 'envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig' } },
    'access_log[0].typed_config',
  );
  fails({ typedConfig: { '@type': FILE, path: '' } }, 'access_log[0].typed_config.path');
  fails({ typedConfig: { '@type': FILE, path: join(home, 'no', 'such') } }, 'access_log[0].typed_config.path');
  fails(
    { typedConfig: { '@type': FILE, path: join(home, 'x'), logFormat: { textFormat: '%X%' } } },
    'access_log[0].typed_config.log_format.text_format',
  );
  fails(
    { typedConfig: { '@type': FILE, path: join(home, 'x') }, filter: { andFilter: { filters: [{}] } } },
    'access_log[0].filter.and_filter.filters[0]',
  );
  const STREAM = 'envoy.extensions.access_loggers.stream.v3';
  for (const name of ['StdoutAccessLog', 'StderrAccessLog']) {
    assert.equal(createAccessLogs([{ name, typedConfig: { '@type': `${STREAM}.${name}` } }], owner).length, 1);
  }
});
