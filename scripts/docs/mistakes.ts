/**
 * The mistakes that docs/configuration.md shows, each made once in a small configuration, and the errors that loading it gives: the
 * same code as `sluice proxy --mode validate`, without the process.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { validateConfiguration } from '../../src/proxy/server/validate.ts';

const GOOD = `static_resources:
  listeners:
  - name: web
    address: { socket_address: { address: 127.0.0.1, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: / }
                route: { cluster: payments }
  clusters:
  - name: payments
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: payments
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 8080 } } }
`;

/** What is wrong, and the text that replaces the right one. */
const MISTAKES: readonly [title: string, right: string, wrong: string][] = [
  ['A field that does not exist', 'connect_timeout: 1s', 'conect_timeout: 1s'],
  ['A value that the enum does not have', 'type: STATIC', 'type: STATICC'],
  ['A value out of range', 'port_value: 10000', 'port_value: 100000'],
  ['A duration without its unit', 'connect_timeout: 1s', 'connect_timeout: 1'],
  ['A cluster that is not there', 'cluster: payments }', 'cluster: payment }'],
  ['A name where an address is needed', 'address: 127.0.0.1, port_value: 8080', 'address: localhost, port_value: 8080'],
  ['A list that must not be empty', 'domains: ["*"]', 'domains: []'],
  ['YAML that is none', 'stat_prefix: web', 'stat_prefix: "web'],
  ['A field that Sluice does not implement', 'connect_timeout: 1s', 'preconnect_policy: {}'],
  ['An extension that Sluice does not implement', 'filters.http.router.v3.Router', 'filters.http.fault.v3.HTTPFault'],
];

export function mistakes(): string {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-docs-'));
  try {
    return MISTAKES.map(([title, right, wrong], i) => {
      if (!GOOD.includes(right)) throw new Error(`the configuration has no '${right}'`);
      const text = GOOD.replace(right, wrong);
      const line = text.split('\n').find((candidate) => candidate.includes(wrong)) ?? wrong;
      const errors = errorsOf(text, directory, `${i}.log`);
      return `${title}, \`${line.trim()}\`:\n\n\`\`\`text\n${errors}\n\`\`\``;
    }).join('\n\n');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What validation writes to its log, without time and level. */
function errorsOf(text: string, directory: string, logName: string): string {
  const configPath = join(directory, 'envoy.yaml');
  const logPath = join(directory, logName);
  writeFileSync(configPath, text);
  const status = validateConfiguration({
    configPath,
    mode: 'validate',
    concurrency: 1,
    log: { level: 'critical', components: {}, format: '%v', path: logPath },
    baseId: 0,
    drainTimeMs: 0,
    drainStrategy: 'immediate',
    parentShutdownTimeS: 0,
    fileFlushIntervalMs: 1000,
    allowUnknownStaticFields: false,
    allowUnsupported: false,
    substituteEnv: false,
  });
  if (status === 0) throw new Error('a mistake of the documentation is none');
  return readFileSync(logPath, 'utf8').replaceAll(`${directory}/`, '').trim();
}
