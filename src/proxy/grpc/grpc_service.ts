/** `envoy.config.core.v3.GrpcService`: which cluster is called and what goes with each call. `google_grpc` is refused. */
import { ConfigError } from '../config/error.ts';
import type { ClusterManager } from '../upstream/upstream.ts';

export interface GrpcServiceConfig {
  envoyGrpc?: { clusterName: string; authority?: string };
  timeout?: number;
  initialMetadata?: readonly { key: string; value?: string }[];
}

export interface GrpcService {
  readonly cluster: string;
  readonly authority: string;
  /** 0: none. */
  readonly timeoutMs: number;
  /** Names in lower case. */
  readonly metadata: readonly (readonly [name: string, value: string])[];
}

/** Throws ConfigError with paths below the message. */
export function parseGrpcService(
  config: GrpcServiceConfig | undefined,
  clusters: Pick<ClusterManager, 'get'>,
  path: string,
): GrpcService {
  const target = config?.envoyGrpc;
  if (config === undefined || target === undefined) throw new ConfigError('envoy_grpc must be set', { path });
  if (clusters.get(target.clusterName) === null) {
    throw new ConfigError(`Unknown gRPC client cluster '${target.clusterName}'`, { path: `${path}.envoy_grpc.cluster_name` });
  }
  return {
    cluster: target.clusterName,
    authority: target.authority === undefined || target.authority === '' ? target.clusterName : target.authority,
    timeoutMs: config.timeout ?? 0,
    metadata: (config.initialMetadata ?? []).map(({ key, value }) => [key.toLowerCase(), value ?? '']),
  };
}
