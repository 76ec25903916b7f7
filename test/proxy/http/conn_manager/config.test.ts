/** What the connection manager's message may not say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../../../src/proxy/config/error.ts';
import { ROUTER, TestProxy } from '../support/proxy.ts';

const BUFFER = { name: 'b', typedConfig: { '@type': 'envoy.extensions.filters.http.buffer.v3.Buffer', maxRequestBytes: 5 } };

const CASES: [name: string, hcm: Record<string, unknown>, path: string, text: RegExp][] = [
  ['http3', { codecType: 'HTTP3' }, 'codec_type', /HTTP3 is not supported/],
  ['rds beside routes', { rds: { routeConfigName: 'r' } }, 'rds', /only one of/],
  ['no filters', { httpFilters: [] }, 'http_filters', /must have a terminal filter/],
  [
    'terminal not last',
    { httpFilters: [ROUTER, BUFFER] },
    'http_filters[1]',
    /Error: terminal filter named router of type envoy.filters.http.router must be the last filter in a http filter chain\./,
  ],
  [
    'last not terminal',
    { httpFilters: [BUFFER] },
    'http_filters[0]',
    /Error: non-terminal filter named b of type envoy.filters.http.buffer is the last filter in a http filter chain\./,
  ],
  [
    'unknown filter',
    { httpFilters: [{ name: 'x', typedConfig: { '@type': 'a.B' } }, ROUTER] },
    'http_filters[0]',
    /Didn't find a registered implementation for 'x'/,
  ],
  ['disabled terminal', { httpFilters: [{ ...ROUTER, disabled: true }] }, 'http_filters[0]', /cannot be disabled/],
  [
    'internal redirects',
    {
      routeConfig: {
        name: 'l',
        virtualHosts: [
          {
            name: 'v',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster: 'c', internalRedirectPolicy: {} } }],
          },
        ],
      },
    },
    'route_config.virtual_hosts[0].routes[0].route.internal_redirect_policy',
    /not supported/,
  ],
  ['two ports', { stripAnyHostPort: true, stripMatchingHostPort: true }, 'strip_any_host_port', /only one of/],
  [
    'double upgrade',
    { upgradeConfigs: [{ upgradeType: 'a' }, { upgradeType: 'A' }] },
    'upgrade_configs[1]',
    /multiple upgrade configs/,
  ],
  [
    'filter message',
    { httpFilters: [{ ...BUFFER, typedConfig: { ...BUFFER.typedConfig, maxRequestBytes: 0 } }, ROUTER] },
    'http_filters[0].typed_config.max_request_bytes',
    /greater than 0/,
  ],
];

for (const [name, hcm, path, text] of CASES) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () => new TestProxy({ hcm }),
      (error) => error instanceof ConfigError && error.path === path && text.test(error.reason),
    );
  });
}

test('an unknown filter that is optional is left out', () => {
  const proxy = new TestProxy({
    hcm: { httpFilters: [{ name: 'x', isOptional: true, typedConfig: { '@type': 'a.B' } }, ROUTER] },
  });
  assert.deepEqual(proxy.config.filterChain.names, ['router']);
  proxy.finish();
});
