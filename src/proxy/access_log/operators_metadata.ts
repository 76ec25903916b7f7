/** Operators on metadata and filter state. Metadata is plain JSON by namespace; filter state holds whatever filters put there. */
import { byteText } from '../common/byte_text.ts';
import { valueAt } from '../common/value_matcher.ts';
import { ConfigError } from '../config/error.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import { escapeJson, jsonBytes } from './json_text.ts';
import { type Operator, type OperatorDefinition, Syntax, truncate } from './operator.ts';

type Metadata = Record<string, Record<string, unknown>> | null | undefined;
type GetMetadata = (info: StreamInfo) => Metadata;

/** What a filter state object can offer to a log line. A plain string is its own text. */
export interface FilterStateObject {
  serializeAsString?(): string | undefined;
  /** The object as plain JSON. */
  serializeAsProto?(): unknown;
  getField?(name: string): string | number | undefined;
}

const SOURCES: Record<string, GetMetadata> = {
  DYNAMIC: (info) => info.dynamicMetadata,
  CLUSTER: (info) => info.clusterMetadata,
  ROUTE: (info) => info.routeMetadata,
  UPSTREAM_HOST: (info) => info.upstreamHost?.metadata,
  LISTENER: (info) => info.listenerMetadata,
  VIRTUAL_HOST: (info) => info.virtualHostMetadata,
};

export const METADATA_OPERATORS: Record<string, OperatorDefinition> = {
  DYNAMIC_METADATA: metadataDefinition(SOURCES.DYNAMIC),
  CLUSTER_METADATA: metadataDefinition(SOURCES.CLUSTER),
  UPSTREAM_METADATA: metadataDefinition(SOURCES.UPSTREAM_HOST),
  METADATA: { syntax: Syntax.ParamsRequired | Syntax.LengthAllowed, create: metadataOfType },
  FILTER_STATE: { syntax: Syntax.ParamsOptional | Syntax.LengthAllowed, create: filterState },
  // Upstream connections carry no filter state yet.
  UPSTREAM_FILTER_STATE: {
    syntax: Syntax.ParamsOptional | Syntax.LengthAllowed,
    create: (params) => {
      filterState(params, 0);
      return { text: () => undefined };
    },
  },
};

function metadataDefinition(get: GetMetadata): OperatorDefinition {
  return {
    syntax: Syntax.ParamsRequired | Syntax.LengthAllowed,
    create: (params, maxLength) => metadataOperator(get, params, maxLength),
  };
}

function metadataOfType(params: string, maxLength: number): Operator {
  const colon = params.indexOf(':');
  const type = colon < 0 ? params : params.slice(0, colon);
  if (!Object.hasOwn(SOURCES, type)) {
    throw new ConfigError(`${type} is not supported type of metadata (allowed: ${Object.keys(SOURCES).join(', ')})`);
  }
  return metadataOperator(SOURCES[type], colon < 0 ? '' : params.slice(colon + 1), maxLength);
}

function metadataOperator(get: GetMetadata, params: string, maxLength: number): Operator {
  const [namespace, ...path] = params.split(':');
  const find = (info: StreamInfo): unknown => {
    const metadata = get(info);
    if (metadata === null || metadata === undefined || !Object.hasOwn(metadata, namespace)) return undefined;
    const value = valueAt(metadata[namespace], path);
    return value === null ? undefined : value;
  };
  return {
    text(_, info) {
      const value = find(info);
      if (value === undefined) return undefined;
      return truncate(typeof value === 'string' ? byteText(value) : jsonBytes(value), maxLength);
    },
    json(_, info) {
      const value = find(info);
      return value === undefined ? undefined : jsonBytes(value);
    },
  };
}

function filterState(params: string, maxLength: number): Operator {
  const [key, serialize = '', field = ''] = params.split(':');
  if (key === '') throw new ConfigError('Invalid filter state configuration, key cannot be empty.');
  if (serialize !== '' && serialize !== 'PLAIN' && serialize !== 'TYPED' && serialize !== 'FIELD') {
    throw new ConfigError('Invalid filter state serialize type, only support PLAIN/TYPED/FIELD.');
  }
  if ((serialize === 'FIELD') !== (field !== '')) {
    throw new ConfigError('Invalid filter state serialize type, FIELD should be used with the field name.');
  }
  const text = (info: StreamInfo): string | undefined => {
    const object = info.filterState?.get(key);
    if (object === undefined || object === null) return undefined;
    if (serialize === 'PLAIN') return plainText(object);
    if (serialize === 'FIELD') return fieldText(object, field);
    const value = typedValue(object);
    return value === undefined ? undefined : jsonBytes(value);
  };
  const isJson = serialize === '' || serialize === 'TYPED';
  return {
    text(_, info) {
      const value = text(info);
      return value === undefined ? undefined : truncate(value, maxLength);
    },
    json(_, info) {
      const value = text(info);
      if (value === undefined || isJson) return value;
      return `"${escapeJson(truncate(value, maxLength))}"`;
    },
  };
}

function plainText(object: unknown): string | undefined {
  if (typeof object !== 'object') return byteText(String(object));
  const value = (object as FilterStateObject).serializeAsString?.();
  return value === undefined ? undefined : byteText(value);
}

function fieldText(object: unknown, field: string): string | undefined {
  const value = typeof object === 'object' ? (object as FilterStateObject).getField?.(field) : undefined;
  return value === undefined ? undefined : byteText(String(value));
}

function typedValue(object: unknown): unknown {
  if (typeof object !== 'object') return object;
  const state = object as FilterStateObject;
  return state.serializeAsProto === undefined ? state.serializeAsString?.() : state.serializeAsProto();
}
