/**
 * No field of the table of supported fields is without code that reads it: each name is read somewhere outside of the reading of configuration, or
 * stands here with the reason why there is nothing to do for it.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { api } from '../../../src/proxy/config/api/registry.ts';
import { words } from '../../../src/proxy/config/plain.ts';
import { SUPPORTED_FIELDS } from '../../../src/proxy/config/supported.ts';

const NOTHING_TO_DO: Record<string, string> = {
  'envoy.config.bootstrap.v3.Admin.profile_path': 'there is no profiler endpoint that would write there',
  'envoy.config.bootstrap.v3.Bootstrap.bootstrap_extensions': 'only the default socket interface can be there',
  'envoy.config.bootstrap.v3.Bootstrap.deferred_stat_options': 'when stats are created makes no difference to what they count',
  'envoy.extensions.network.socket_interface.v3.DefaultSocketInterface.io_uring_options': 'io_uring is used wherever it works',
  'envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig.cleartext_socket_config': 'a raw buffer has no settings',
  'envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig.cleartext_socket_config': 'a raw buffer has no settings',
  'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector.initial_read_buffer_size': 'bytes come in blocks',
  'envoy.config.core.v3.SubstitutionFormatString.json_format_options': 'keys are always sorted',
  'envoy.config.core.v3.JsonFormatOptions.sort_properties': 'keys are always sorted',
  'envoy.config.trace.v3.ZipkinConfig.collector_endpoint_version': 'only JSON can be there',
  'envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig.transport_api_version': 'only version 3 can be there',
  'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz.transport_api_version': 'only version 3 can be there',
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz.transport_api_version': 'only version 3 can be there',
  'envoy.config.ratelimit.v3.RateLimitServiceConfig.transport_api_version': 'only version 3 can be there',
  'envoy.extensions.filters.http.jwt_authn.v3.JwksAsyncFetch.fast_listener':
    'no listener waits for keys: a request that is there before them does',
  'envoy.config.core.v3.ApiConfigSource.transport_api_version': 'only version 3 can be there',
  'envoy.config.core.v3.SelfConfigSource.transport_api_version': 'only version 3 can be there',
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload.category': 'goes into load reports only',
  'envoy.config.core.v3.SocketOption.description': 'a comment',
  'envoy.service.discovery.v3.DiscoveryResponse.version_info': 'means something to control planes only',
  'envoy.service.discovery.v3.DiscoveryResponse.type_url': 'only that of Secret can be there: `config/secrets.ts`',
  'envoy.service.discovery.v3.DiscoveryResponse.nonce': 'means something to control planes only',
  'envoy.config.core.v3.ConfigSource.resource_api_version': 'only version 3 can be there',
  'envoy.config.endpoint.v3.LocalityLbEndpoints.proximity': 'Envoy does not use it either',
};

/** Messages that are only shown: `/server_info`, `/config_dump`. */
const SHOWN_ONLY = [
  'envoy.config.core.v3.Node',
  'envoy.config.core.v3.BuildVersion',
  'envoy.config.core.v3.Extension',
  'envoy.type.v3.SemanticVersion',
  'xds.core.v3.ContextParams',
];

const root = fileURLToPath(new URL('../../../src/', import.meta.url));
const code = globSync('{proxy,core}/**/*.ts', { cwd: root })
  .filter((file) => !file.startsWith('proxy/config/') || file.startsWith('proxy/config/xds/'))
  .map((file) => readFileSync(root + file, 'utf8').replace(/\/\*[\s\S]*?\*\//g, ''))
  .join('\n');

/** Read as a property, taken apart, asked for by name, or a row of a table of settings; a declaration in an interface does not count. */
function isRead(name: string): boolean {
  return new RegExp(
    `\\??\\.${name}\\b|[{,]\\s*${name}\\s*(?:[,}=]|:\\s*\\w+\\s*[,}=])|\\bfind\\('${name}'\\)|^ *${name}: \\[`,
    'm',
  ).test(code);
}

test('every supported field is read somewhere', () => {
  const unread: string[] = [];
  for (const [message, cell] of Object.entries(SUPPORTED_FIELDS)) {
    if (SHOWN_ONLY.includes(message)) continue;
    for (const field of api().message(message).fields) {
      if (!words(cell).has(field.name) || `${message}.${field.name}` in NOTHING_TO_DO) continue;
      if (!isRead(field.localName)) unread.push(`${message}.${field.name}`);
    }
  }
  assert.deepEqual(unread, []);
});

test('what there is nothing to do for is supported, and still not read', () => {
  for (const field of Object.keys(NOTHING_TO_DO)) {
    const at = field.lastIndexOf('.');
    assert.ok(words(SUPPORTED_FIELDS[field.slice(0, at)]).has(field.slice(at + 1)), field);
  }
});
