/** Http1ProtocolOptions of a cluster as the codec takes them. */
import { type HeaderKeyFormat, type Http1Settings, http1Settings } from '../http/http1/settings.ts';
import { typeNameOf } from './cluster_types.ts';
import { unsupported } from './unsupported.ts';

/** The options that matter upstream; the others are about requests that are received. */
export interface PlainHttp1ProtocolOptions {
  headerKeyFormat?: { properCaseWords?: unknown; statefulFormatter?: { name?: string; typedConfig?: object } };
  enableTrailers?: boolean;
  allowChunkedLength?: boolean;
  sendFullyQualifiedUrl?: boolean;
  allowCustomMethods?: boolean;
}

export interface ResponseLimits {
  maxHeadersCount?: number;
  maxResponseHeadersKb?: number;
}

/** `path` is where `options` stand. */
export function upstreamHttp1Settings(
  options: PlainHttp1ProtocolOptions | undefined,
  limits: ResponseLimits,
  path: string,
): Http1Settings {
  return http1Settings({
    headerKeyFormat: headerKeyFormat(options, path),
    enableTrailers: options?.enableTrailers ?? false,
    allowChunkedLength: options?.allowChunkedLength ?? false,
    sendFullyQualifiedUrl: options?.sendFullyQualifiedUrl ?? false,
    allowCustomMethods: options?.allowCustomMethods ?? false,
    ...(limits.maxHeadersCount === undefined ? {} : { maxHeadersCount: limits.maxHeadersCount }),
    ...(limits.maxResponseHeadersKb === undefined ? {} : { maxHeadersKb: limits.maxResponseHeadersKb }),
  });
}

const PRESERVE_CASE = 'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig';

function headerKeyFormat(options: PlainHttp1ProtocolOptions | undefined, path: string): HeaderKeyFormat {
  const format = options?.headerKeyFormat;
  if (format?.properCaseWords) return 'proper_case_words';
  if (format?.statefulFormatter === undefined) return 'lower_case';
  const type = typeNameOf(format.statefulFormatter.typedConfig);
  if (type !== PRESERVE_CASE)
    throw unsupported(`header formatter ${type || format.statefulFormatter.name}`, `${path}.header_key_format`);
  return 'preserve_case';
}
