/** Wasm modules in the real proxy, driven by curl. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { sha256Hex } from '../../../../src/wasm/vm/compiled_code.ts';
import { needs } from '../../../interop/support/upstreams.ts';
import { HEADER_MODULE, prelude, wat } from '../../../wasm/support/wat.ts';
import { plugin, type Rig, startRig, wasmFilter } from './wasm_support.ts';

const run = promisify(execFile);

describe('a header module, curl', { skip: needs('curl') }, () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig({ main: [wasmFilter(plugin(wat(HEADER_MODULE)))] });
  });
  after(() => rig.close());

  const curl = async (...args: string[]): Promise<string> =>
    (await run('curl', ['-sS', '-i', '--max-time', '20', ...args, `http://127.0.0.1:${rig.proxy.port('main')}/a`])).stdout;

  test('reads a request header and adds one, adds a response header', async () => {
    const answer = await curl('-H', 'X-In: some value');
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(answer, /\r\nx-wasm: yes\r\n/);
    const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as { headers: Record<string, string> };
    assert.equal(body.headers['x-in'], 'some value');
    assert.equal(body.headers['x-out'], 'some value');
  });

  test('without the header nothing is added', async () => {
    const answer = await curl();
    const body = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as { headers: Record<string, string> };
    assert.equal(body.headers['x-out'], undefined);
    assert.match(answer, /\r\nx-wasm: yes\r\n/);
  });

  test('a long value, and many requests on one connection', async () => {
    const long = 'v'.repeat(3000);
    const { stdout } = await run(
      'curl',
      ['-sS', '--max-time', '30', '-H', `x-in: ${long}`, `http://127.0.0.1:${rig.proxy.port('main')}/[1-200]`],
      { maxBuffer: 64 << 20 },
    );
    assert.equal(stdout.split(`"x-out":"${long}"`).length - 1, 200);
    const stats = await rig.proxy.stats('wasm');
    assert.equal(stats.get('wasm.envoy.wasm.runtime.v8.created'), 1);
    assert.equal(stats.get('wasm.envoy.wasm.runtime.v8.active'), 1);
    // Of every sixteen calls one is timed and counts for all.
    assert.ok((stats.get('wasm.test.calls') ?? 0) >= 384, String(stats.get('wasm.test.calls')));
    assert.ok((stats.get('wasm.test.cpu_us') ?? 0) > 0);
    assert.equal(stats.get('wasm.test.memory_bytes'), 131_072);
    const { body } = await rig.proxy.admin('/stats/prometheus');
    for (const name of ['cpu_us', 'calls', 'memory_bytes', 'vm_failures'])
      assert.match(body, new RegExp(`^envoy_wasm_test_${name}\\{[^}]*\\} \\d+$`, 'm'));
  });

  test('admin: /wasm tells of code, VM, CPU time, memory and failures', async () => {
    const { body } = await rig.proxy.admin('/wasm?format=json');
    const { plugins } = JSON.parse(body) as { plugins: Record<string, unknown>[] };
    assert.equal(plugins.length, 1);
    const [{ calls, cpu_us, ...rest }] = plugins;
    assert.ok((calls as number) >= 384 && (cpu_us as number) > 0);
    assert.deepEqual(rest, {
      name: 'test',
      root_id: '',
      vm_id: '',
      runtime: 'envoy.wasm.runtime.v8',
      failure_policy: 'FAIL_CLOSED',
      code_sha256: sha256Hex(wat(HEADER_MODULE)),
      abi_version: '0.2.1',
      state: 'running',
      error: '',
      workers: 1,
      memory_bytes: 131_072,
      vm_failures: 0,
      vm_reloads: 0,
      code_loaded: 0,
      code_rejected: 0,
    });
    const { body: text } = await rig.proxy.admin('/wasm');
    assert.match(text, /^test::state::running\n[\s\S]*^test::code_sha256::[0-9a-f]{64}\n[\s\S]*^test::cpu_us::\d+\n/m);
    assert.equal((await rig.proxy.admin('/wasm?format=x')).status, 400);
  });
});

/** Answers with bytes that are no UTF-8, in the phase that is put in for PHASE. */
const BINARY = `(module
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  ${prelude()}
  (data (i32.const 16) "\\ff\\00\\80\\c3\\28\\fe")
  (func $answer (result i32)
    (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1)))
    i32.const 1)
  (func (export "proxy_on_PHASE_headers") (param i32 i32 i32) (result i32) call $answer))`;

describe('a local reply of bytes that are no text', () => {
  let rig: Rig;
  before(async () => {
    const early = wat(BINARY.replace('PHASE', 'request'));
    rig = await startRig({
      request: [wasmFilter(plugin(early))],
      response: [wasmFilter(plugin(wat(BINARY.replace('PHASE', 'response'))))],
      isolated: [wasmFilter(plugin(early, {}, { runtime: 'sluice.wasm.runtime.isolated' }))],
    });
  });
  after(() => rig.close());

  for (const name of ['request', 'response', 'isolated']) {
    test(`as they are: ${name}`, async () => {
      const answer = await fetch(`http://127.0.0.1:${rig.proxy.port(name)}/`);
      assert.equal(answer.headers.get('content-length'), '6');
      assert.deepEqual([...new Uint8Array(await answer.arrayBuffer())], [0xff, 0, 0x80, 0xc3, 0x28, 0xfe]);
    });
  }
});
