/** Wasm where no HTTP filter is: network filter, access logger, service at bootstrap. */
import { after, before, describe, test } from 'node:test';
import { bootstrap, cluster, http, listener, route, tcpProxy } from '../../interop/support/config.ts';
import { dial, type RawUpstream, rawUpstream } from '../../interop/support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../../interop/support/upstreams.ts';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../../support/proxy_process.ts';
import { buildC, needsClang } from '../../wasm/support/c_module.ts';
import { plugin, ROUTER, wasmFilter } from './http_filters/wasm_support.ts';
import { testChangedBytes } from './tcp_module.ts';

const skip = needsClang();
const TYPES = 'type.googleapis.com/envoy.extensions.';
const networkWasm = (config: Json): Json => ({
  name: 'wasm',
  typed_config: { '@type': `${TYPES}filters.network.wasm.v3.Wasm`, config },
});

describe('Wasm beside HTTP filters', { skip }, () => {
  let proxy: ProxyProcess;
  let upstream: HttpUpstream;
  let raw: RawUpstream;

  before(async () => {
    upstream = await httpUpstream();
    raw = await rawUpstream(
      (wire) => {
        wire.socket.on('end', () => wire.socket.end());
        wire.socket.on('data', (data: Buffer) => wire.socket.write(data.toString().toUpperCase()));
      },
      0,
      false,
    );
    const tcp = buildC('tcp');
    const service = { vm_id: 'jobs' };
    const log = {
      name: 'wasm',
      typed_config: { '@type': `${TYPES}access_loggers.wasm.v3.WasmAccessLog`, config: plugin(tcp, { name: 'logger' }) },
    };
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          listener('tcp', [networkWasm(plugin(tcp)), tcpProxy('tcp', 'raw')]),
          listener('open', [
            networkWasm(plugin(tcp, { failure_policy: 'FAIL_OPEN', name: 'open' }, { vm_id: 'open' })),
            tcpProxy('open', 'raw'),
          ]),
          listener('http', [
            http('http', [route('/', 'node')], {
              http_filters: [wasmFilter(plugin(buildC('jobs'), {}, service)), ROUTER],
              access_log: [log],
            }),
          ]),
        ],
        [cluster('raw', [raw.port]), cluster('node', [upstream.port])],
        {
          bootstrap_extensions: [
            {
              name: 'envoy.bootstrap.wasm',
              typed_config: {
                '@type': `${TYPES}wasm.v3.WasmService`,
                singleton: true,
                config: plugin(buildC('service'), { name: 'service' }, service),
              },
            },
          ],
        },
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await upstream.close();
    await raw.close();
  });

  testChangedBytes(() => proxy);

  test('the module closes the connection', async () => {
    const client = await dial(proxy.port('tcp'));
    client.send('close');
    await client.untilClosed();
  });

  test('a trap closes the connection, and those of a failed module; with FAIL_OPEN bytes pass', async () => {
    const open = await dial(proxy.port('open'));
    open.send('trap');
    await open.until(() => open.text === 'TRAP');
    open.destroy();
  });

  test('an access logger: headers and properties of the stream', async () => {
    await httpRequest(proxy.port('http'), '/logged');
    await until(
      () => /root log path=0:\/logged\n[\s\S]*code=200\n[\s\S]*absent=1/.test(proxy.log),
      () => proxy.log,
    );
  });

  test('a singleton service: ticks, a call, a queue filled by the filters of all workers', async () => {
    await proxy.untilStat('wasmcustom.service_ticks', (value) => value >= 3);
    await until(
      () => proxy.log.includes('service answer=0:200'),
      () => proxy.log,
    );
    for (let i = 0; i < 8; i++) await httpRequest(proxy.port('http'), `/job${i}`);
    await until(
      () => [0, 1, 2, 3, 4, 5, 6, 7].every((i) => proxy.log.includes(`job=0:/job${i}`)),
      () => proxy.log,
    );
    await until(
      async () => (await httpRequest(proxy.port('http'), '/last')).headers['x-jobs'] === '9',
      'shared data to be seen by a filter',
    );
  });
});
