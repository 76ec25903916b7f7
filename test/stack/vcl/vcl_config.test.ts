/** VCL's configuration file and environment: what a program gets of them, and what is refused. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { createHostStack } from '../../../src/stack/index.ts';
import { parseVclConfig, withVclConfig } from '../../../src/stack/vcl/vcl_config.ts';

const run = promisify(execFile);

test('sizes, scopes, namespace, socket and timeout are read; comments and line breaks do not matter', () => {
  const text = `# for tests
vcl { rx-fifo-size 4M tx-fifo-size 0x10000  # hexadecimal
  app-scope-local
  namespace-id blue namespace-secret 1234
  app-socket-api /run/sluice/app_ns_sockets/default
  app-timeout 2.5 use-mq-eventfd multi-thread-workers }
`;
  assert.deepEqual(parseVclConfig(text, 'vcl.conf'), {
    rxFifoSize: 4 * 1024 * 1024,
    txFifoSize: 65_536,
    scopeLocal: true,
    namespaceId: 'blue',
    namespaceSecret: '1234',
    runtimeDir: '/run/sluice',
    timeoutMs: 2500,
  });
});

test('what is wrong, unknown or without counterpart is named with file and line', () => {
  for (const [text, message] of [
    ['vcl {\n rx-fifo-size lots\n}', "f:2: rx-fifo-size: 'lots' is not a size"],
    ['vcl {\n rx-fifo-size\n}', "f:2: 'rx-fifo-size' takes a value"],
    ['vcl {\n\n rx-fifo-sise 5\n}', "f:3: unknown setting 'rx-fifo-sise'"],
    ['vcl {\n heapsize 64M\n}', "f:2: 'heapsize' has no counterpart here: the stack sees to memory by itself"],
    ['vcl {\n app-socket-api /tmp/x\n}', "f:2: app-socket-api: '/tmp/x' is not a socket .../app_ns_sockets/NAMESPACE"],
    ['vcl {\n app-timeout 0\n}', "f:2: app-timeout: '0' is not a number of seconds"],
    ['vcl {\n', "f:2: '}' is missing"],
    ['session {\n}', "f:1: 'vcl' is missing"],
    ['vcl { } more', "f:1: unexpected 'more'"],
  ] as const)
    assert.throws(() => parseVclConfig(text, 'f'), { message }, text);
});

test('the program comes first, then the environment, then the file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-vclconf-'));
  const file = join(directory, 'vcl.conf');
  writeFileSync(file, 'vcl { rx-fifo-size 5000 tx-fifo-size 6000 namespace-id file app-scope-global }');
  const env = { VCL_CONFIG: file, VCL_APP_NAMESPACE_ID: 'environment', VCL_VPP_SAPI_SOCKET: '/run/a/app_ns_sockets/socket' };
  assert.deepEqual(withVclConfig({ txFifoSize: 7000 }, env), {
    rxFifoSize: 5000,
    txFifoSize: 7000,
    namespaceId: 'environment',
    runtimeDir: '/run/a',
    scopeGlobal: true,
    scopeLocal: false,
  });
  assert.deepEqual(withVclConfig({}, { VCL_APP_SCOPE_LOCAL: '' }), { scopeLocal: true, scopeGlobal: false });
  assert.deepEqual(withVclConfig({}, {}), {});
  assert.throws(() => withVclConfig({}, { VCL_CONFIG: join(directory, 'none') }), /VCL_CONFIG: ENOENT/);
  assert.throws(() => withVclConfig({}, { VCL_VPP_SAPI_SOCKET: 'x' }), /VCL_VPP_SAPI_SOCKET: 'x' is not a socket/);
  rmSync(directory, { recursive: true });
});

test('a program attaches as its file says', async () => {
  const stack = await createHostStack({ namespaces: [{ id: 'blue', secret: 'hush' }] });
  const file = join(stack.runtimeDir, 'vcl.conf');
  writeFileSync(
    file,
    `vcl { rx-fifo-size 8192 app-scope-local namespace-secret hush app-socket-api ${stack.runtimeDir}/app_ns_sockets/blue }`,
  );
  const index = new URL('../../../src/stack/index.ts', import.meta.url).pathname;
  const program = `
import { sendCommand, vcl } from '${index}';
vcl.appCreate('configured');
const { text } = await sendCommand('${stack.runtimeDir}', 'show app', true);
console.log(text);
vcl.appDestroy();`;
  const { stdout } = await run(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program],
    { env: { ...process.env, VCL_CONFIG: file }, timeout: 30_000 },
  );
  const [app] = JSON.parse(stdout) as Record<string, unknown>[];
  assert.deepEqual([app['namespace'], app['scope'], app['rxFifo']], ['blue', 'local', 8192]);
  await stack.close();
});
