/**
 * `envoy.filters.http.set_metadata`: puts configured values into a request's dynamic metadata (Envoy:
 * source/extensions/filters/http/set_metadata). Merging joins lists and structs and replaces all else.
 *
 * Left out, refused: `typed_value`.
 */
import type { Counter } from '../../../../core/stats/stats.ts';
import { FilterHeadersStatus } from '../../../http/filter.ts';
import { PassThroughDecoderFilter } from '../../../http/pass_through_filter.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

type Struct = Record<string, unknown>;

interface Entry {
  readonly namespace: string;
  readonly overwrite: boolean;
  readonly value: Struct;
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.set_metadata.v3.Config',
  name: 'envoy.filters.http.set_metadata',
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const message = config as {
      metadataNamespace?: string;
      value?: Struct;
      metadata?: { metadataNamespace?: string; allowOverwrite?: boolean; value?: Struct }[];
    };
    const entries: Entry[] = (message.metadata ?? []).map((entry) => ({
      namespace: entry.metadataNamespace ?? '',
      overwrite: entry.allowOverwrite === true,
      value: entry.value ?? {},
    }));
    if (message.value !== undefined) {
      entries.unshift({ namespace: message.metadataNamespace ?? '', overwrite: true, value: message.value });
    }
    const denied = context.scope.scope(`${statPrefix}set_metadata.`).counter('overwrite_denied');
    return (callbacks) => callbacks.addStreamDecoderFilter(new SetMetadataFilter(entries, denied));
  },
};

class SetMetadataFilter extends PassThroughDecoderFilter {
  private readonly entries: readonly Entry[];
  private readonly denied: Counter;

  constructor(entries: readonly Entry[], denied: Counter) {
    super();
    this.entries = entries;
    this.denied = denied;
  }

  override decodeHeaders(): FilterHeadersStatus {
    const info = this.decoder.streamInfo;
    const metadata = (info.dynamicMetadata ??= {});
    for (const { namespace, overwrite, value } of this.entries) {
      const before = metadata[namespace];
      if (before === undefined) metadata[namespace] = value;
      else if (overwrite) metadata[namespace] = merge(before, value);
      else this.denied.inc();
    }
    return FilterHeadersStatus.Continue;
  }

  reset(): void {}
}

function merge(before: Struct, value: Struct): Struct {
  const result: Struct = { ...before };
  for (const [key, added] of Object.entries(value)) {
    const old = result[key];
    if (Array.isArray(old) && Array.isArray(added)) result[key] = [...old, ...added];
    else if (isStruct(old) && isStruct(added)) result[key] = merge(old, added);
    else result[key] = added;
  }
  return result;
}

function isStruct(value: unknown): value is Struct {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
