/**
 * `envoy.filters.http.compressor`: compresses responses while they stream, with the library that the client and the configuration agree
 * on. Several compressors in a chain choose together, by `accept-encoding`.
 *
 * Left out, refused: compressing requests, the deprecated fields beside `response_direction_config`. Other than Envoy's, it leaves partial
 * responses (206) as they are.
 */
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import { ConfigError } from '../../../config/error.ts';
import type { RuntimeSnapshot } from '../../../runtime/runtime.ts';
import type { FactoryContext, HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { CompressorFilter } from './compressor_filter.ts';
import { type CompressorLibrary, compressorLibrary } from './library.ts';

interface DirectionConfig {
  commonConfig?: {
    enabled?: { defaultValue?: boolean; runtimeKey?: string };
    minContentLength?: number;
    contentType?: string[];
  };
  disableOnEtagHeader?: boolean;
  removeAcceptEncodingHeader?: boolean;
}

interface Message {
  compressorLibrary?: { name?: string; typedConfig?: { '@type': string } & Record<string, unknown> };
  responseDirectionConfig?: DirectionConfig;
  chooseFirst?: boolean;
}

export interface CompressorRouteConfig {
  readonly disabled: boolean;
  readonly removeAcceptEncoding: boolean | undefined;
}

const DEFAULT_TYPES = [
  'application/javascript',
  'application/json',
  'application/xhtml+xml',
  'image/svg+xml',
  'text/css',
  'text/html',
  'text/plain',
  'text/xml',
];

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.compressor.v3.Compressor',
  name: 'envoy.filters.http.compressor',
  routeTypeName: 'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const settings = new CompressorConfig(config as Message, statPrefix, context);
    return (callbacks) => callbacks.addStreamFilter(new CompressorFilter(settings));
  },
  createRouteSpecificConfig(config: TypedConfig): CompressorRouteConfig {
    const message = config as {
      disabled?: boolean;
      overrides?: { responseDirectionConfig?: { removeAcceptEncodingHeader?: boolean } };
    };
    if (message.disabled === undefined && message.overrides === undefined)
      throw new ConfigError('one of disabled, overrides must be set');
    if (message.disabled === false) throw new ConfigError('value must equal true', { path: 'disabled' });
    return {
      disabled: message.disabled === true,
      removeAcceptEncoding: message.overrides?.responseDirectionConfig?.removeAcceptEncodingHeader,
    };
  },
};

/** Counters by Envoy's names. */
export class CompressorStats {
  readonly compressed: Counter;
  readonly notCompressed: Counter;
  readonly totalUncompressedBytes: Counter;
  readonly totalCompressedBytes: Counter;
  readonly contentLengthTooSmall: Counter;
  readonly notCompressedEtag: Counter;
  readonly overshadowed: Counter;
  private readonly scope: Scope;

  constructor(scope: Scope) {
    this.scope = scope;
    this.compressed = scope.counter('compressed');
    this.notCompressed = scope.counter('not_compressed');
    this.totalUncompressedBytes = scope.counter('total_uncompressed_bytes');
    this.totalCompressedBytes = scope.counter('total_compressed_bytes');
    this.contentLengthTooSmall = scope.counter('content_length_too_small');
    this.notCompressedEtag = scope.counter('not_compressed_etag');
    this.overshadowed = scope.counter('header_compressor_overshadowed');
  }

  /** `no_accept_header`, `header_identity` ... */
  accept(name: string): Counter {
    return this.scope.counter(name);
  }
}

export class CompressorConfig {
  readonly library: CompressorLibrary;
  readonly stats: CompressorStats;
  readonly minLength: number;
  readonly types: ReadonlySet<string>;
  readonly disableOnEtag: boolean;
  readonly removeAcceptEncoding: boolean;
  readonly chooseFirst: boolean;
  private readonly runtime: { readonly snapshot: RuntimeSnapshot };
  private readonly enabledKey: string;
  private readonly enabledByDefault: boolean;

  constructor(message: Message, statPrefix: string, context: FactoryContext) {
    const library = message.compressorLibrary;
    if (library?.typedConfig === undefined) throw new ConfigError('is required', { path: 'compressor_library' });
    this.library = atLibrary(() => compressorLibrary(library.typedConfig as { '@type': string }));
    const direction = message.responseDirectionConfig;
    const common = direction?.commonConfig ?? {};
    const infix = direction === undefined ? '' : 'response.';
    this.stats = new CompressorStats(
      context.scope.scope(`${statPrefix}compressor.${library.name ?? ''}.${this.library.statPrefix}${infix}`),
    );
    this.minLength = common.minContentLength ?? 30;
    const types = common.contentType ?? [];
    this.types = new Set((types.length > 0 ? types : DEFAULT_TYPES).map((type) => type.toLowerCase()));
    this.disableOnEtag = direction?.disableOnEtagHeader === true;
    this.removeAcceptEncoding = direction?.removeAcceptEncodingHeader === true;
    this.chooseFirst = message.chooseFirst === true;
    this.runtime = context.runtime;
    this.enabledKey = common.enabled?.runtimeKey ?? '';
    this.enabledByDefault = common.enabled?.defaultValue ?? true;
  }

  get enabled(): boolean {
    return this.enabledKey === ''
      ? this.enabledByDefault
      : this.runtime.snapshot.getBoolean(this.enabledKey, this.enabledByDefault);
  }
}

function atLibrary<T>(build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: `compressor_library.${error.path}` });
  }
}
