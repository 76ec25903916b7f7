/** `envoy.type.tracing.v3.CustomTag`: a tag from the configuration, the environment, a request header or metadata. */
import type { HeaderMap } from '../http/header_map.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';

export interface CustomTagConfig {
  tag: string;
  literal?: { value: string };
  environment?: { name: string; defaultValue?: string };
  requestHeader?: { name: string; defaultValue?: string };
  metadata?: {
    kind?: { request?: object; route?: object; cluster?: object; host?: object };
    metadataKey?: { key: string; path?: readonly { key?: string }[] };
    defaultValue?: string;
  };
}

export interface CustomTag {
  readonly name: string;
  /** '': the span does not get it. */
  value(headers: HeaderMap | null, info: StreamInfo): string;
}

export function compileCustomTags(configs: readonly CustomTagConfig[] | undefined): CustomTag[] {
  return (configs ?? []).map((config) => ({ name: config.tag, value: tagValue(config) }));
}

function tagValue({ literal, environment, requestHeader, metadata }: CustomTagConfig): CustomTag['value'] {
  if (literal !== undefined) return () => literal.value;
  if (environment !== undefined) {
    const value = process.env[environment.name] ?? environment.defaultValue ?? '';
    return () => value;
  }
  if (requestHeader !== undefined) {
    const name = requestHeader.name.toLowerCase();
    return (headers) => headers?.get(name) ?? requestHeader.defaultValue ?? '';
  }
  const kind = metadata?.kind ?? {};
  const key = metadata?.metadataKey?.key ?? '';
  const path = (metadata?.metadataKey?.path ?? []).map((segment) => segment.key ?? '');
  return (_headers, info) => {
    let found: unknown = metadataOf(kind, info)?.[key];
    for (const segment of path) found = isRecord(found) ? found[segment] : undefined;
    if (found === undefined || found === null) return metadata?.defaultValue ?? '';
    return typeof found === 'object' ? JSON.stringify(found) : String(found);
  };
}

function metadataOf(
  kind: NonNullable<NonNullable<CustomTagConfig['metadata']>['kind']>,
  info: StreamInfo,
): Record<string, Record<string, unknown>> | null | undefined {
  if (kind.route !== undefined) return info.routeMetadata;
  if (kind.cluster !== undefined) return info.clusterMetadata;
  return kind.host !== undefined ? info.upstreamHost?.metadata : info.dynamicMetadata;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
