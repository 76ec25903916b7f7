/** Fields and values of the HttpConnectionManager message that are valid in Envoy and not honoured here: refused by name. */
import { ConfigError } from '../../../config/error.ts';
import type { HttpConnectionManager } from '../../../config/types.gen.ts';

/** Proto names of fields that must not be set. */
const FIELDS: readonly (readonly [field: string, name: string])[] = [
  ['scopedRoutes', 'scoped_routes'],
  ['http3ProtocolOptions', 'http3_protocol_options'],
  ['proxyStatusConfig', 'proxy_status_config'],
  ['typedHeaderValidationConfig', 'typed_header_validation_config'],
  ['addProxyProtocolConnectionState', 'add_proxy_protocol_connection_state'],
];

export function refuseUnsupported(config: HttpConnectionManager): void {
  const fields = config as unknown as Record<string, unknown>;
  for (const [field, name] of FIELDS) if (fields[field] !== undefined) throw unsupported(name);
  const early = fields.earlyHeaderMutationExtensions;
  if (Array.isArray(early) && early.length > 0) throw unsupported('early_header_mutation_extensions');
  const codec = config.codecType as string | undefined;
  if (codec === 'HTTP3') throw new ConfigError(`${codec} is not supported by Sluice yet`, { path: 'codec_type' });
  refuseRouteActions(config);
}

/** What routes may ask of the router and it does not do. */
function refuseRouteActions(config: HttpConnectionManager): void {
  const table = config.routeConfig as unknown as PlainRoutes | undefined;
  for (const [i, virtualHost] of (table?.virtualHosts ?? []).entries()) {
    for (const [k, { route }] of (virtualHost.routes ?? []).entries()) {
      const path = `route_config.virtual_hosts[${i}].routes[${k}].route`;
      if (route?.internalRedirectPolicy !== undefined) throw unsupported(`${path}.internal_redirect_policy`);
      for (const [u, upgrade] of (route?.upgradeConfigs ?? []).entries()) {
        if (upgrade.connectConfig?.proxyProtocolConfig !== undefined) {
          throw unsupported(`${path}.upgrade_configs[${u}].connect_config.proxy_protocol_config`);
        }
      }
    }
  }
}

interface PlainRoutes {
  virtualHosts?: {
    routes?: {
      route?: { internalRedirectPolicy?: unknown; upgradeConfigs?: { connectConfig?: { proxyProtocolConfig?: unknown } }[] };
    }[];
  }[];
}

function unsupported(path: string): ConfigError {
  return new ConfigError('is not supported by Sluice yet', { path });
}
