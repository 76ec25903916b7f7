import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import type { Listener } from '../../../src/proxy/config/types.gen.ts';
import { ipAddress } from '../../../src/proxy/network/address.ts';
import { ListenerConfig, type ListenerProto } from '../../../src/proxy/network/listener_config.ts';
import { FakeDispatcher, testContext } from '../extensions/support.ts';
import { chain, ECHO, EXTENSIONS, limit, listener, proxyTo, respond } from './listener_rig.ts';

const build = (proto: ListenerProto) => new ListenerConfig(proto, testContext(new FakeDispatcher()), EXTENSIONS);
const ADDRESS = { socketAddress: { protocol: 'TCP' as const, address: '127.0.0.1', portValue: 1234 } };
const at1234 = (extra: Partial<ListenerProto>) => listener([chain([ECHO])], { address: ADDRESS, statPrefix: '', ...extra });

// What the loader delivers is what is read here: checked by the compiler.
const fromLoader = (proto: Listener): ListenerProto => proto;

test('listener config: defaults', () => {
  const config = build(fromLoader(at1234({}) as Listener));
  assert.equal(config.statsScope.prefix, 'listener.127.0.0.1_1234.');
  assert.equal(config.listenerFiltersTimeoutMs, 15_000);
  assert.equal(config.continueOnListenerFiltersTimeout, false);
  assert.equal(config.perConnectionBufferLimitBytes, 1_048_576);
  assert.equal(config.bindToPort, true);
  assert.equal(config.reusePort, true);
});

test('listener config: addresses', () => {
  const v6 = (ipv4Compat: boolean) =>
    build(at1234({ address: { socketAddress: { protocol: 'TCP', address: '::', portValue: 1, ipv4Compat } } })).addresses[0]
      .address;
  assert.deepEqual(v6(false), { ...ipAddress('::', 1), v6only: true });
  assert.deepEqual(v6(true), { ...ipAddress('::', 1), v6only: false });
  const pipe = build(at1234({ address: { pipe: { path: '@x', mode: 0o600 } } }));
  assert.equal(pipe.addresses[0].address.asString, '@x');
  assert.equal(build(at1234({ statPrefix: 'edge' })).statsScope.prefix, 'listener.edge.');
});

test('listener config: socket options, those of an additional address replace those of the listener', () => {
  const socketOptions = [{ level: 1, name: 2, intValue: 3, state: 'STATE_LISTENING' as const }];
  const config = build(
    at1234({
      socketOptions,
      tcpFastOpenQueueLength: 5,
      additionalAddresses: [{ address: ADDRESS }, { address: ADDRESS, socketOptions: { socketOptions: [] } }],
    }),
  );
  assert.deepEqual(config.addresses[0].socketOptions, [
    { level: 1, name: 2, value: 3, state: 'listening' },
    { level: 6, name: 23, value: 5, state: 'listening' },
  ]);
  assert.deepEqual(
    config.addresses.map((address) => address.socketOptions.length),
    [2, 2, 1],
  );
});

const REFUSED: [string, () => ListenerProto, string][] = [
  ['no address', () => at1234({ name: 'n', address: undefined }), "error adding listener named 'n': address is necessary"],
  ['no chains', () => at1234({ filterChains: [] }), "error adding listener '127.0.0.1:1234': no filter chains specified"],
  [
    'overlapping chains',
    () =>
      at1234({ filterChains: [chain([ECHO], { serverNames: ['a.com', 'b.com'] }), chain([ECHO], { serverNames: ['b.com'] })] }),
    "filter_chains[1]: error adding listener '127.0.0.1:1234': multiple filter chains with overlapping matching rules are defined",
  ],
  [
    'an unknown network filter',
    () => at1234({ filterChains: [chain([{ name: 'x', typedConfig: { '@type': 'a.B' } }])] }),
    "filter_chains[0].filters[0]: Didn't find a registered implementation for 'x' with type URL: 'a.B'",
  ],
  [
    'an unknown listener filter',
    () => at1234({ listenerFilters: [{ name: 'x', typedConfig: { '@type': 'a.B' } }] }),
    "listener_filters[0]: Didn't find a registered implementation for 'x' with type URL: 'a.B'",
  ],
  [
    'a terminal filter in the middle',
    () => at1234({ filterChains: [chain([ECHO, proxyTo('c')])] }),
    'filter_chains[0].filters[0]: Error: terminal filter named echo of type envoy.filters.network.echo must be the last filter in a network filter chain.',
  ],
  [
    'a non-terminal filter at the end',
    () => at1234({ filterChains: [chain([limit(1)])] }),
    'filter_chains[0].filters[0]: Error: non-terminal filter named limit of type envoy.filters.network.connection_limit is the last filter in a network filter chain.',
  ],
  [
    'a mistake inside a filter, in the default chain',
    () => at1234({ defaultFilterChain: chain([proxyTo('c', { tunnelingConfig: {} })]) }),
    "default_filter_chain.filters[0].typed_config.tunneling_config: the field 'tunneling_config' is not supported",
  ],
  [
    'TLS',
    () => at1234({ filterChains: [{ ...chain([ECHO]), transportSocket: { name: 't', typedConfig: { '@type': 'x.Tls' } } }] }),
    "filter_chains[0].transport_socket: the transport socket 't' with type URL 'x.Tls' is not supported",
  ],
  [
    'UDP',
    () => at1234({ address: { socketAddress: { ...ADDRESS.socketAddress, protocol: 'UDP' } } }),
    'address.socket_address.protocol: UDP listeners are not supported',
  ],
  [
    'exact balance',
    () => ({ ...at1234({}), connectionBalanceConfig: { exactBalance: {} } }) as ListenerProto,
    "connection_balance_config: the field 'connection_balance_config' is not supported",
  ],
  [
    'a broken access log',
    () => at1234({ accessLog: [{ name: 'x', typedConfig: { '@type': 'a.Log' } }] }),
    'access_log[0].typed_config: ',
  ],
  [
    'use_proxy_proto in some chains',
    () => at1234({ filterChains: [chain([ECHO]), { ...chain([ECHO], { serverNames: ['a.com'] }), useProxyProto: true }] }),
    "filter_chains[1].use_proxy_proto: 'use_proxy_proto' must be the same in all filter chains",
  ],
];

for (const [title, make, message] of REFUSED) {
  test(`listener config: refuses ${title}`, () => {
    assert.throws(
      () => build(make()),
      (error: unknown) => {
        assert.ok(error instanceof ConfigError);
        assert.ok(error.message.startsWith(message), error.message);
        return true;
      },
    );
  });
}

test('listener config: use_proxy_proto adds the listener filter', () => {
  const config = build(at1234({ filterChains: [{ ...chain([respond('x')]), useProxyProto: true }] }));
  assert.equal(config.listenerFilters.length, 1);
});
