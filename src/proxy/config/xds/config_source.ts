/** `envoy.config.core.v3.ConfigSource`, plain: where a kind of resource comes from. */
import { ConfigError } from '../error.ts';

export interface ConfigSource {
  readonly path?: string;
  readonly pathConfigSource?: { readonly path: string; readonly watchedDirectory?: { readonly path: string } };
  readonly apiConfigSource?: ApiConfigSource;
  readonly ads?: object;
  readonly self?: object;
  readonly initialFetchTimeout?: number;
  readonly resourceApiVersion?: string;
}

export interface ApiConfigSource {
  readonly apiType: string;
  readonly transportApiVersion?: string;
  readonly grpcServices: readonly {
    readonly timeout?: number;
    readonly envoyGrpc?: { readonly clusterName: string; readonly authority?: string };
    readonly initialMetadata?: readonly { readonly key: string; readonly value?: string; readonly rawValue?: Uint8Array }[];
  }[];
  readonly setNodeOnFirstMessageOnly?: boolean;
}

export const DEFAULT_FETCH_TIMEOUT_MS = 15_000;

/** The file that it names; undefined: none. */
export function filePathOf(source: ConfigSource): string | undefined {
  return source.pathConfigSource?.path ?? (source.path || undefined);
}

/** Equal for sources that are the same place. */
export function sourceKey(source: ConfigSource): string {
  const path = filePathOf(source);
  if (path !== undefined) return `file ${path}`;
  if (source.ads !== undefined || source.self !== undefined) return 'ads';
  return `api ${JSON.stringify(source.apiConfigSource)}`;
}

/** Throws ConfigError when it is none that can be used. `hasAds`: there is `dynamic_resources.ads_config`. */
export function checkConfigSource(source: ConfigSource | undefined, path: string, hasAds: boolean): void {
  const wrong = (reason: string): ConfigError => new ConfigError(reason, { path });
  if (source === undefined) throw wrong('a config source is necessary');
  if (filePathOf(source) !== undefined) return;
  if (source.apiConfigSource !== undefined) {
    checkApiConfigSource(source.apiConfigSource, `${path}.api_config_source`);
    return;
  }
  if (source.ads === undefined && source.self === undefined) {
    throw wrong('one of path_config_source, api_config_source, ads or self must be set');
  }
  if (!hasAds) throw wrong('there is no dynamic_resources.ads_config');
}

export function checkApiConfigSource(source: ApiConfigSource, path: string): void {
  const services = source.grpcServices ?? [];
  if (services.length !== 1) {
    throw new ConfigError('exactly one gRPC service is necessary', { path: `${path}.grpc_services` });
  }
  if (services[0].envoyGrpc === undefined) {
    throw new ConfigError('only envoy_grpc is supported', { path: `${path}.grpc_services[0]` });
  }
  if (services[0].timeout !== undefined) {
    throw new ConfigError('means nothing for a stream to a control plane', { path: `${path}.grpc_services[0].timeout` });
  }
}
