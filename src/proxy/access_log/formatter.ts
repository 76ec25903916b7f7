/**
 * Format strings: text with `%OPERATOR(params):length%` (Envoy's SubstitutionFormatter), compiled once.
 *
 * The same operators serve access logs (a missing value is `-`), local replies, and header values (a missing value is nothing).
 * Results are byte text.
 */
import { readFileSync } from 'node:fs';
import type { LineBuffer } from '../../core/buffer/line_buffer.ts';
import { ConfigError } from '../config/error.ts';
import type { StreamInfo } from '../stream_info/stream_info.ts';
import type { FormatterContext } from './access_log.ts';
import { type FormatPart, type Formatter, parseParts } from './format_parser.ts';
import { jsonFormatter } from './json_formatter.ts';
import type { TextValue } from './operator.ts';

export type { Formatter } from './format_parser.ts';
export { jsonFormatter } from './json_formatter.ts';

/** `envoy.config.core.v3.SubstitutionFormatString`, as far as it is read. */
export interface SubstitutionFormatStringConfig {
  textFormat?: string;
  textFormatSource?: { filename?: string; inlineBytes?: Uint8Array; inlineString?: string; environmentVariable?: string };
  jsonFormat?: Record<string, unknown>;
  omitEmptyValues?: boolean;
  contentType?: string;
  formatters?: readonly { name?: string; typedConfig?: { '@type': string } & Record<string, unknown> }[];
  /** Keys are always sorted, so `sortProperties` changes nothing. */
  jsonFormatOptions?: { sortProperties?: boolean };
}

export const DEFAULT_FORMAT =
  '[%START_TIME%] "%REQUEST_HEADER(:METHOD)% %REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ' +
  '%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ' +
  '%RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQUEST_HEADER(X-FORWARDED-FOR)%" "%REQUEST_HEADER(USER-AGENT)%" ' +
  '"%REQUEST_HEADER(X-REQUEST-ID)%" "%REQUEST_HEADER(:AUTHORITY)%" "%UPSTREAM_HOST%"\n';

/** A text format. A missing value is `-`, or nothing with `omitEmptyValues`. Throws ConfigError. */
export function parseFormat(format: string, omitEmptyValues = false): Formatter {
  return new TextFormatter(parseParts(format), omitEmptyValues ? '' : '-');
}

/** A header value's format: a missing value is nothing. Also reads the forms of old Envoy versions. Throws ConfigError. */
export function parseHeaderFormat(format: string): Formatter {
  return new TextFormatter(parseParts(translateOldForms(format)), '');
}

/** Throws ConfigError. */
export function substitutionFormatString(
  config: SubstitutionFormatStringConfig,
  path = '',
): Formatter & { readonly contentType: string; readonly isJson: boolean } {
  for (const [i, formatter] of (config.formatters ?? []).entries()) checkFormatter(formatter, join(path, `formatters[${i}]`));
  const omit = config.omitEmptyValues === true;
  const isJson = config.jsonFormat !== undefined;
  const formatter =
    config.jsonFormat !== undefined
      ? at(path, 'json_format', () => jsonFormatter(config.jsonFormat as Record<string, unknown>, omit))
      : at(path, config.textFormat === undefined ? 'text_format_source' : 'text_format', () => parseFormat(textOf(config), omit));
  const contentType = config.contentType || (isJson ? 'application/json' : 'text/plain');
  return {
    format: (context, info) => formatter.format(context, info),
    append: (out, context, info) => formatter.append(out, context, info),
    contentType,
    isJson,
  };
}

class TextFormatter implements Formatter {
  /** `literals[i]` stands before `values[i]`, the last one at the end. */
  private readonly literals: string[] = [];
  private readonly values: ((context: FormatterContext, info: StreamInfo) => TextValue)[] = [];
  private readonly literalBytes: DataView[] = [];
  private readonly appenders: Appender[] = [];
  private readonly end: string;
  private readonly missing: string;

  constructor(parts: readonly FormatPart[], missing: string) {
    this.missing = missing;
    let literal = '';
    for (const part of parts) {
      if (typeof part === 'string') literal += part;
      else {
        this.literals.push(literal);
        this.literalBytes.push(viewOf(literal));
        this.values.push(part.text);
        this.appenders.push(part.append ?? appenderOf(part.text));
        literal = '';
      }
    }
    this.end = literal;
  }

  format(context: FormatterContext, info: StreamInfo): string {
    const { literals, values, missing } = this;
    let text = '';
    for (let i = 0; i < values.length; i++) {
      const value = values[i](context, info);
      text += literals[i];
      text += value === undefined ? missing : value;
    }
    return text + this.end;
  }

  append(out: LineBuffer, context: FormatterContext, info: StreamInfo): void {
    const { literals, literalBytes, appenders } = this;
    for (let i = 0; i < appenders.length; i++) {
      out.bytes(literalBytes[i], 0, literals[i].length);
      if (!appenders[i](out, context, info)) out.text(this.missing);
    }
    out.text(this.end);
  }
}

function viewOf(text: string): DataView {
  return new DataView(Uint8Array.from(Buffer.from(text, 'latin1')).buffer);
}

type Appender = (out: LineBuffer, context: FormatterContext, info: StreamInfo) => boolean;

function appenderOf(text: (context: FormatterContext, info: StreamInfo) => TextValue): Appender {
  return (out, context, info) => {
    const value = text(context, info);
    if (value === undefined) return false;
    if (typeof value === 'number') out.number(value);
    else out.text(value);
    return true;
  };
}

/** `%DYNAMIC_METADATA(["ns", "key"])%` and `%PER_REQUEST_STATE(key)%` in today's words. */
function translateOldForms(format: string): string {
  return format
    .replace(/%((?:DYNAMIC|UPSTREAM)_METADATA)\(\[([^\]]*)\]\)%/g, (_, name: string, list: string) => {
      const keys = list.split(',').map((key) => key.trim().replace(/^"(.*)"$/, '$1'));
      return `%${name}(${keys.join(':')})%`;
    })
    .replace(/%PER_REQUEST_STATE\(([^)]*)\)%/g, '%FILTER_STATE($1:PLAIN)%');
}

/** Formatter extensions whose operators are always known here. */
const KNOWN_FORMATTERS = new Set([
  'envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery',
  'envoy.extensions.formatter.metadata.v3.Metadata',
]);

function checkFormatter(formatter: NonNullable<SubstitutionFormatStringConfig['formatters']>[number], path: string): void {
  const type = formatter.typedConfig?.['@type'] ?? '';
  if (!KNOWN_FORMATTERS.has(type)) throw new ConfigError(`formatter ${formatter.name || type} is not supported`, { path });
}

function textOf(config: SubstitutionFormatStringConfig): string {
  if (config.textFormat !== undefined) return config.textFormat;
  const source = config.textFormatSource;
  if (source?.inlineString !== undefined) return source.inlineString;
  if (source?.inlineBytes !== undefined) return Buffer.from(source.inlineBytes).toString('utf8');
  if (source?.filename !== undefined) {
    try {
      return readFileSync(source.filename, 'utf8');
    } catch (error) {
      throw new ConfigError(`Invalid path: ${source.filename}: ${(error as Error).message}`);
    }
  }
  if (source?.environmentVariable !== undefined) {
    const value = process.env[source.environmentVariable];
    if (value === undefined) throw new ConfigError(`Environment variable doesn't exist: ${source.environmentVariable}`);
    return value;
  }
  throw new ConfigError('one of text_format, json_format, text_format_source is required');
}

function at<T>(path: string, field: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (error instanceof ConfigError && error.path === '') throw new ConfigError(error.reason, { path: join(path, field) });
    throw error;
  }
}

function join(path: string, field: string): string {
  return path === '' ? field : `${path}.${field}`;
}
