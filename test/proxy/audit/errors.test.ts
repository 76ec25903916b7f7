/** The mistakes that users make most: what `--mode validate` says, with Envoy's words where Envoy has them, and where. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DEFAULT_LOG_FORMAT } from '../../../src/core/log/logger.ts';
import type { ServerOptions } from '../../../src/proxy/server/server_options.ts';
import { validateConfiguration } from '../../../src/proxy/server/validate.ts';
import { bootstrap, cluster, http, listener, networkFilter, route, tcpProxy } from '../../interop/support/config.ts';
import type { Json } from '../../support/proxy_process.ts';

const directory = mkdtempSync(join(tmpdir(), 'sluice-errors-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let runs = 0;

/** What is logged as critical: one line a mistake, without the head. */
function mistakes(config: Json | string, options: Partial<ServerOptions> = {}, format = DEFAULT_LOG_FORMAT): string[] {
  const path = join(directory, `log-${runs++}`);
  const yaml = typeof config === 'string' ? config : JSON.stringify(config, null, 1);
  const status = validateConfiguration({
    configYaml: yaml,
    mode: 'validate',
    concurrency: 1,
    log: { level: 'error', components: {}, format, path },
    baseId: 0,
    drainTimeMs: 0,
    drainStrategy: 'gradual',
    parentShutdownTimeS: 0,
    fileFlushIntervalMs: 1000,
    allowUnknownStaticFields: false,
    allowUnsupported: false,
    substituteEnv: false,
    ...options,
  });
  const lines = readFileSync(path, 'utf8').split('\n');
  assert.equal(status, 1);
  return lines
    .filter((line) => line !== '')
    .map((line) => line.replace(/^.*error initializing configuration '--config-yaml': /, ''));
}

const up = cluster('up', [1]);
const DIRECT = { match: { prefix: '/' }, direct_response: { status: 200 } };
const server = (name: string): Json => ({ filter_chain_match: { server_names: [name] }, filters: [networkFilter('echo', {})] });
const manager = (extra: Json): Json => bootstrap([listener('l', [http('h', [DIRECT], extra)])]);
const hosts = (...virtual: Json[]): Json => manager({ route_config: { name: 'r', virtual_hosts: virtual } });

const CASES: [name: string, config: Json | string, expected: RegExp][] = [
  [
    'no filter chains',
    bootstrap([listener('l', [], { filter_chains: [] })]),
    /static_resources\.listeners\[0\]: error adding listener '127\.0\.0\.1:0': no filter chains specified$/,
  ],
  [
    'the same match twice',
    bootstrap([listener('l', [], { filter_chains: [server('a.test'), server('a.test')] })]),
    /filter_chains\[1\].*: error adding listener '127\.0\.0\.1:0': .*(same matching rules|overlapping matching rules)/,
  ],
  [
    'a partial wildcard',
    bootstrap([listener('l', [], { filter_chains: [server('f*.test')] })]),
    /partial wildcards are not supported in "server_names"/,
  ],
  [
    'a listener without address',
    bootstrap([{ name: 'x', filter_chains: [{ filters: [] }] }]),
    /error adding listener named 'x': address is necessary|address: .*required/,
  ],
  ['two clusters of one name', bootstrap([], [up, up]), /clusters\[1\].*: cluster manager: duplicate cluster 'up'$/],
  [
    'a route to no cluster',
    bootstrap([listener('l', [http('h', [route('/', 'nowhere')])])], [up]),
    /^--config-yaml:\d+:\d+: static_resources\.listeners\[0\]\.filter_chains\[0\]\.filters\[0\]\.typed_config\.route_config.*: route: unknown cluster 'nowhere'$/,
  ],
  [
    'a domain twice',
    hosts({ name: 'a', domains: ['d.test'], routes: [DIRECT] }, { name: 'b', domains: ['d.test'], routes: [DIRECT] }),
    /Only unique values for domains are permitted\. Duplicate entry of domain d\.test in route r$/,
  ],
  [
    'two wildcards',
    hosts({ name: 'a', domains: ['*'], routes: [DIRECT] }, { name: 'b', domains: ['*'], routes: [DIRECT] }),
    /Only a single wildcard domain is permitted in route r$/,
  ],
  [
    'removing host',
    hosts({ name: 'a', domains: ['*'], request_headers_to_remove: ['host'], routes: [DIRECT] }),
    /:-prefixed or host headers may not be removed$/,
  ],
  [
    'router not last',
    manager({
      http_filters: ['router', 'router'].map((name, i) => ({
        name: `${name}${i}`,
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      })),
    }),
    /Error: terminal filter named router0 of type envoy\.filters\.http\.router must be the last filter in a http filter chain\.$/,
  ],
  [
    'tcp_proxy not last',
    bootstrap([listener('l', [tcpProxy('t', 'up'), networkFilter('echo', {})])], [up]),
    /Error: terminal filter named tcp of type envoy\.filters\.network\.tcp_proxy must be the last filter in a network filter chain\.$/,
  ],
  [
    'both ways to flush stats',
    { stats_flush_on_admin: true, stats_flush_interval: '1s' },
    /^--config-yaml:\d+:\d+: stats_flush_on_admin: Only one of stats_flush_interval or stats_flush_on_admin should be set!$/,
  ],
  [
    'a misspelt field',
    'static_resources:\n  listenrs: []\n',
    /^--config-yaml:2:3: static_resources\.listenrs: .*listenrs.*listeners/,
  ],
  [
    'a misspelt enum value',
    'static_resources:\n  clusters:\n  - { name: a, type: STRICT_DSN }\n',
    /^--config-yaml:3:\d+: static_resources\.clusters\[0\]\.type: .*STRICT_DSN.*STRICT_DNS/,
  ],
  [
    'a name where an address is needed',
    bootstrap(
      [],
      [
        cluster('a', [], {
          load_assignment: {
            cluster_name: 'a',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 'b.test', port_value: 1 } } } }] }],
          },
        }),
      ],
    ),
    /malformed IP address: b\.test\. Consider setting .*cluster type to 'STRICT_DNS' or 'LOGICAL_DNS'$/,
  ],
  [
    'TLS',
    bootstrap(
      [],
      [
        {
          ...up,
          transport_socket: {
            name: 'envoy.transport_sockets.alts',
            typed_config: {
              '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.alts.v3.Alts',
              handshaker_service: 'a',
            },
          },
        },
      ],
    ),
    /transport_socket.*Alts.* is not supported by Sluice yet$/,
  ],
  [
    'an unregistered type',
    bootstrap([listener('l', [{ name: 'x', typed_config: { '@type': 'type.googleapis.com/a.b.C' } }])]),
    /Didn't find a registered implementation for 'x' with type URL: 'a\.b\.C'/,
  ],
  [
    'both log formats',
    { application_log_config: { log_format: { json_format: { m: '%v' } } } },
    /application_log_config\.log_format\.json_format: setJsonLogFormat error: usage of %v, %_ is unavailable/,
  ],
  [
    'a stats tag',
    { stats_config: { stats_tags: [{ tag_name: 'a', regex: '(' }] } },
    /stats_config\.stats_tags: .*(Invalid|missing|regex)/i,
  ],
  [
    'a stats matcher',
    { stats_config: { stats_matcher: { exclusion_list: { patterns: [{ safe_regex: { regex: '(' } }] } } } },
    /stats_config\.stats_matcher: /,
  ],
  [
    'an access log of admin',
    {
      admin: {
        access_log: [
          {
            name: 'f',
            typed_config: {
              '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
              path: '/no/such/directory/log',
            },
          },
        ],
      },
    },
    /admin\.access_log\[0\].*: .*\/no\/such\/directory\/log/,
  ],
  [
    'the route configuration of another filter',
    manager({
      http_filters: [
        {
          name: 'm',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation' },
        },
        { name: 'r', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' } },
      ],
      route_config: {
        typed_per_filter_config: {
          m: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute', disabled: true },
        },
      },
    }),
    /typed_per_filter_config.*: 'envoy\.extensions\.filters\.http\.buffer\.v3\.BufferPerRoute' is not for the filter 'm', which is a 'envoy\.extensions\.filters\.http\.header_mutation\.v3\.HeaderMutation'$/,
  ],
  ['both watchdogs', { watchdog: {}, watchdogs: {} }, /watchdog: Only one of watchdog or watchdogs should be set!$/],
  [
    'a regex',
    manager({
      route_config: {
        virtual_hosts: [
          { name: 'v', domains: ['*'], routes: [{ match: { safe_regex: { regex: '(' } }, direct_response: { status: 200 } }] },
        ],
      },
    }),
    /safe_regex.*: .*missing \)/,
  ],
  [
    'a regex that is too large',
    manager({
      route_config: {
        virtual_hosts: [
          {
            name: 'v',
            domains: ['*'],
            routes: [
              {
                match: { safe_regex: { google_re2: { max_program_size: 5 }, regex: 'a{100}' } },
                direct_response: { status: 200 },
              },
            ],
          },
        ],
      },
    }),
    /safe_regex: regex 'a\{100\}' RE2 program size of \d+ > max program size of 5\. Increase configured max program size if necessary\.$/,
  ],
  [
    'a format operator that does not exist',
    manager({
      access_log: [
        {
          name: 'f',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog',
            log_format: { text_format: '%NOPE%' },
          },
        },
      ],
    }),
    /Not supported field in StreamInfo: NOPE$/,
  ],
];

for (const [name, config, expected] of CASES) {
  test(name, () => {
    const found = mistakes(config);
    assert.equal(found.length, 1, found.join('\n'));
    assert.match(found[0], expected);
    assert.match(found[0], /^--config-yaml:\d+:\d+: /);
  });
}

test('no configuration', () => {
  assert.deepEqual(mistakes('', { configYaml: undefined }), [
    'At least one of --config-path or --config-yaml or Options::configProto() should be non-empty',
  ]);
});

test('a log format on the command line and in the file', () => {
  const text = { application_log_config: { log_format: { text_format: '%v' } } };
  assert.match(
    mistakes(text, {}, '> %v')[0],
    /: application_log_config\.log_format: Only one of ApplicationLogConfig\.log_format or CLI option --log-format can be specified\.$/,
  );
});
