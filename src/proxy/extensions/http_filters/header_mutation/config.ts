/**
 * `envoy.filters.http.header_mutation`: adds, overwrites and removes request and response headers, in the order given. Routes may add
 * their own mutations: the filter's first, then the least specific.
 *
 * Left out, refused: mutations of trailers and of query parameters, `remove_on_match`.
 */
import type { FormatterContext } from '../../../access_log/access_log.ts';
import { parseHeaderFormat } from '../../../access_log/formatter.ts';
import { ConfigError } from '../../../config/error.ts';
import {
  FilterHeadersStatus,
  type StreamDecoderFilterCallbacks,
  type StreamEncoderFilterCallbacks,
} from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { HeaderValueOptionConfig } from '../../../http/route/config_types.ts';
import { compileHeaderParser, type HeaderParser } from '../../../http/route/header_parser.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

interface MutationConfig {
  remove?: string;
  append?: HeaderValueOptionConfig;
  removeOnMatch?: unknown;
}

interface MutationsConfig {
  requestMutations?: MutationConfig[];
  responseMutations?: MutationConfig[];
  queryParameterMutations?: unknown[];
  requestTrailersMutations?: unknown[];
  responseTrailersMutations?: unknown[];
}

interface Mutations {
  readonly request: readonly HeaderParser[];
  readonly response: readonly HeaderParser[];
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutation',
  name: 'envoy.filters.http.header_mutation',
  routeTypeName: 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig) {
    const message = config as { mutations?: MutationsConfig; mostSpecificHeaderMutationsWins?: boolean };
    const own = compileMutations(message.mutations);
    const specificWins = message.mostSpecificHeaderMutationsWins === true;
    return (callbacks) => callbacks.addStreamFilter(new HeaderMutationFilter(own, specificWins));
  },
  createRouteSpecificConfig: (config: TypedConfig) => compileMutations((config as { mutations?: MutationsConfig }).mutations),
};

function compileMutations(config: MutationsConfig | undefined): Mutations {
  for (const [field, name] of UNSUPPORTED) {
    if ((config?.[field]?.length ?? 0) > 0)
      throw new ConfigError('is not supported by Sluice yet', { path: `mutations.${name}` });
  }
  return {
    request: (config?.requestMutations ?? []).map((mutation, i) =>
      compileOne(mutation, 'request', `mutations.request_mutations[${i}]`),
    ),
    response: (config?.responseMutations ?? []).map((mutation, i) =>
      compileOne(mutation, 'response', `mutations.response_mutations[${i}]`),
    ),
  };
}

const UNSUPPORTED = [
  ['queryParameterMutations', 'query_parameter_mutations'],
  ['requestTrailersMutations', 'request_trailers_mutations'],
  ['responseTrailersMutations', 'response_trailers_mutations'],
] as const;

function compileOne(config: MutationConfig, side: 'request' | 'response', path: string): HeaderParser {
  if (config.removeOnMatch !== undefined)
    throw new ConfigError('is not supported by Sluice yet', { path: `${path}.remove_on_match` });
  const parser =
    config.append !== undefined
      ? compileHeaderParser([config.append], [], side, path, parseHeaderFormat)
      : compileHeaderParser([], config.remove === undefined ? [] : [config.remove], side, path, parseHeaderFormat);
  if (parser === null) throw new ConfigError('one of remove, append must be set', { path });
  return parser;
}

class HeaderMutationFilter extends PassThroughFilter implements FormatterContext {
  private readonly own: Mutations;
  private readonly specificWins: boolean;
  requestHeaders: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  readonly responseTrailers = null;
  readonly localReplyBody = '';
  readonly accessLogType = 'NotSet';

  constructor(own: Mutations, specificWins: boolean) {
    super();
    this.own = own;
    this.specificWins = specificWins;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    this.requestHeaders = headers;
    this.apply(headers, 'request', this.decoder);
    return FilterHeadersStatus.Continue;
  }

  override encodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    this.responseHeaders = headers;
    this.apply(headers, 'response', this.encoder);
    return FilterHeadersStatus.Continue;
  }

  private apply(
    headers: HeaderMap,
    side: 'request' | 'response',
    callbacks: StreamDecoderFilterCallbacks | StreamEncoderFilterCallbacks,
  ): void {
    const info = callbacks.streamInfo;
    for (const parser of this.own[side]) parser.evaluate(headers, this, info);
    const levels = callbacks.perFilterConfigs<Mutations>();
    for (let i = 0; i < levels.length; i++) {
      const level = this.specificWins ? levels[levels.length - 1 - i] : levels[i];
      for (const parser of level[side]) parser.evaluate(headers, this, info);
    }
  }

  override onDestroy(): void {
    this.requestHeaders = null;
    this.responseHeaders = null;
  }

  reset(): void {}
}
