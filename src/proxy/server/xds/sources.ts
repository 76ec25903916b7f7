/** From a ConfigSource to where its resources come from: one source for each place, made when first asked for. */
import type { Scope } from '../../../core/stats/stats.ts';
import { type ApiConfigSource, type ConfigSource, filePathOf, sourceKey } from '../../config/xds/config_source.ts';
import { DeltaSource } from '../../config/xds/delta_source.ts';
import { FileSource } from '../../config/xds/file_source.ts';
import type { GrpcTarget, GrpcTransport } from '../../config/xds/grpc_stream.ts';
import type { ResourceParser } from '../../config/xds/parser.ts';
import { ADS_DELTA, ADS_SOTW, type ResourceKind } from '../../config/xds/resource_types.ts';
import { SotwSource } from '../../config/xds/sotw_source.ts';
import type { ResourceSource } from '../../config/xds/subscription.ts';

export interface SourcesOptions {
  readonly ads: ApiConfigSource | undefined;
  readonly parser: ResourceParser;
  readonly scope: Scope;
  readonly node: () => Promise<Uint8Array>;
  readonly transport: () => GrpcTransport;
  readonly warn: (message: string) => void;
}

export class Sources {
  private readonly options: SourcesOptions;
  private readonly sources = new Map<string, ResourceSource>();

  constructor(options: SourcesOptions) {
    this.options = options;
  }

  /** The source has been checked. */
  get(config: ConfigSource, kind: ResourceKind): ResourceSource {
    const place = sourceKey(config);
    // Each type has a stream of its own, unless they are aggregated.
    const key = place === 'ads' ? place : `${place} ${kind}`;
    let source = this.sources.get(key);
    if (source === undefined) {
      source = this.create(config);
      this.sources.set(key, source);
    }
    return source;
  }

  close(): void {
    for (const source of this.sources.values()) source.close();
  }

  private create(config: ConfigSource): ResourceSource {
    const { parser, warn, ads } = this.options;
    const path = filePathOf(config);
    if (path !== undefined) return new FileSource(path, config.pathConfigSource?.watchedDirectory?.path, parser, warn);
    if (config.apiConfigSource !== undefined) return this.createGrpc(config.apiConfigSource, false);
    return this.createGrpc(ads as ApiConfigSource, true);
  }

  private createGrpc(api: ApiConfigSource, aggregated: boolean): ResourceSource {
    const { parser, scope, node, transport, warn } = this.options;
    const delta = api.apiType === 'DELTA_GRPC';
    const Source = delta ? DeltaSource : SotwSource;
    return new Source({
      target: targetOf(api),
      aggregatedPath: aggregated ? (delta ? ADS_DELTA : ADS_SOTW) : null,
      delta,
      nodeOnFirstMessageOnly: api.setNodeOnFirstMessageOnly === true,
      node,
      transport,
      parser,
      scope: scope.scope('control_plane.'),
      warn,
    });
  }
}

function targetOf(api: ApiConfigSource): GrpcTarget {
  const [{ envoyGrpc, initialMetadata }] = api.grpcServices;
  const cluster = envoyGrpc!.clusterName;
  const metadata = (initialMetadata ?? []).map(({ key, value, rawValue }) => ({
    key: key.toLowerCase(),
    value: rawValue !== undefined && rawValue.length > 0 ? Buffer.from(rawValue).toString('latin1') : (value ?? ''),
  }));
  return { cluster, authority: envoyGrpc!.authority || cluster, metadata };
}
