/** Connections through modules in threads of their own, in the real proxy. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, listener, tcpProxy } from '../../../interop/support/config.ts';
import { dial, type RawUpstream, rawUpstream } from '../../../interop/support/raw.ts';
import { type Json, type ProxyProcess, startProxy, until } from '../../../support/proxy_process.ts';
import { buildC, needsClang } from '../../../wasm/support/c_module.ts';
import { prelude, wat } from '../../../wasm/support/wat.ts';
import { plugin } from '../http_filters/wasm_support.ts';
import { testChangedBytes } from '../tcp_module.ts';

const skip = needsClang();
const networkWasm = (config: Json): Json => ({
  name: 'wasm',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm', config },
});

/** Lets everything pass; runs for ever when a piece from the client has five bytes. */
const LOOP = `(module ${prelude()}
  (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32)
    (if (i32.eq (local.get 1) (i32.const 5)) (then (loop $again (br $again))))
    i32.const 0)
  (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) i32.const 0))`;

/** Begins connections when asked again: stops them first, and resumes. */
const PASS = `(module ${prelude()}
  (func (export "proxy_on_new_connection") (param i32) (result i32) i32.const 0)
  (func (export "proxy_on_downstream_data") (param i32 i32 i32) (result i32) i32.const 0)
  (func (export "proxy_on_upstream_data") (param i32 i32 i32) (result i32) i32.const 0))`;

const BLOB = randomBytes(3 << 20);
const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('connections through a module in a thread of its own', { skip }, () => {
  let proxy: ProxyProcess;
  let raw: RawUpstream;
  let blobs: Server;
  let echo: Server;

  before(async () => {
    raw = await rawUpstream(
      (wire) => {
        wire.socket.on('end', () => wire.socket.end());
        wire.socket.on('data', (data: Buffer) => wire.socket.write(data.toString().toUpperCase()));
      },
      0,
      false,
    );
    // Speaks first, and closes at once.
    blobs = createServer((socket) => {
      socket.on('error', () => {});
      socket.end(BLOB);
    });
    echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    const ports: number[] = [];
    for (const server of [blobs, echo]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      ports.push((server.address() as { port: number }).port);
    }
    const tcp = buildC('tcp');
    const isolated = { runtime: 'sluice.wasm.runtime.isolated' };
    const reload = { failure_policy: 'FAIL_RELOAD', reload_config: { backoff: { base_interval: '0.001s' } } };
    const chain = (name: string, to: string, ...configs: Json[]): Json =>
      listener(name, [...configs.map(networkWasm), tcpProxy(name, to)]);
    proxy = await startProxy({
      config: bootstrap(
        [
          chain('tcp', 'raw', plugin(tcp, reload, isolated)),
          chain('open', 'raw', plugin(tcp, { failure_policy: 'FAIL_OPEN', name: 'open' }, isolated)),
          chain('loop', 'raw', plugin(wat(LOOP), { ...reload, name: 'loop' }, isolated)),
          chain('loop_open', 'raw', plugin(wat(LOOP), { failure_policy: 'FAIL_OPEN', name: 'loop_open' }, isolated)),
          chain('two', 'raw', plugin(tcp, { name: 'a' }, isolated), plugin(tcp, { name: 'b' }, isolated)),
          chain('blob', 'blobs', plugin(wat(PASS), { name: 'blob' }, isolated)),
          chain('echo', 'echo', plugin(wat(PASS), { name: 'echo' }, isolated)),
        ],
        [cluster('raw', [raw.port]), cluster('blobs', [ports[0]]), cluster('echo', [ports[1]])],
        { layered_runtime: { layers: [{ name: 'static', static_layer: { 'wasm.isolated.call_budget_ms': 250 } }] } },
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await raw.close();
    blobs.close();
    echo.close();
  });

  testChangedBytes(() => proxy);

  test('two modules in a row, each in its thread: in order', async () => {
    const client = await dial(proxy.port('two'));
    client.send('a');
    await client.until(() => client.text === '>>A<<');
    client.send('b');
    await client.until(() => client.text === '>>A<<>>B<<');
    client.destroy();
  });

  test('the module closes the connection', async () => {
    const client = await dial(proxy.port('tcp'));
    client.send('close');
    await client.untilClosed();
  });

  test('a trap closes the connection, the next one has a new VM; with FAIL_OPEN bytes pass', async () => {
    const client = await dial(proxy.port('tcp'));
    client.send('trap');
    await client.untilClosed();
    assert.match(proxy.log, /Wasm VM failed Function: proxy_on_downstream_data failed: Uncaught RuntimeError: unreachable/);
    await until(async () => {
      const next = await dial(proxy.port('tcp'));
      next.send('again');
      await Promise.race([next.until(() => next.text === '>AGAIN<'), next.untilClosed()]);
      next.destroy();
      return next.text === '>AGAIN<';
    }, 'a new VM');
    const open = await dial(proxy.port('open'));
    open.send('trap');
    await open.until(() => open.text === 'TRAP');
    open.destroy();
  });

  test('an endless loop is ended within its budget: its connection closes, others do not notice', async () => {
    const other = await dial(proxy.port('two'));
    const client = await dial(proxy.port('loop'));
    client.send('loop!');
    other.send('a');
    await other.until(() => other.text === '>>A<<');
    await client.untilClosed();
    assert.match(proxy.log, /Wasm VM failed a call took longer than its budget of 250 ms/);
    other.destroy();
    const open = await dial(proxy.port('loop_open'));
    open.send('loop!');
    await open.until(() => open.text === 'LOOP!');
    open.destroy();
  });

  test('an upstream that speaks first and closes at once: every byte arrives before the close', async () => {
    const client = await dial(proxy.port('blob'));
    await client.untilClosed();
    assert.equal(client.received.length, BLOB.length);
    assert.equal(sha(client.received), sha(BLOB));
  });

  test('megabytes in both directions, ended by the client', async () => {
    const client = await dial(proxy.port('echo'));
    client.socket.end(BLOB);
    await client.untilClosed();
    assert.equal(client.received.length, BLOB.length);
    assert.equal(sha(client.received), sha(BLOB));
  });
});
