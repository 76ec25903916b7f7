/**
 * Header mutations of one level (`*_headers_to_add`, `*_headers_to_remove`; Envoy's HeaderParser): removals first, then all values
 * are computed from what is left, then overwrites, then additions. Values are format strings; those without an operator are kept as
 * constants. An empty result is skipped unless `keep_empty_value`.
 *
 * Adding a header that Envoy keeps once only (its inline headers) joins the values by a comma instead of adding a line.
 */

import type { FormatterContext } from '../../access_log/access_log.ts';
import { asciiLower, byteText } from '../../common/byte_text.ts';
import { ConfigError } from '../../config/error.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HeaderMap } from '../header_map.ts';
import type { HeaderAppendAction, HeaderValueOptionConfig } from './config_types.ts';

/** What `compileFormat` gives: a header value from a stream. Missing values are empty. */
export interface HeaderFormatter {
  format(context: FormatterContext, info: StreamInfo): string;
}

export type CompileFormat = (text: string) => HeaderFormatter;

/** Null when there is nothing to do. Throws ConfigError. `side` names the fields: `request` or `response`. */
export function compileHeaderParser(
  add: readonly HeaderValueOptionConfig[] | undefined,
  remove: readonly string[] | undefined,
  side: 'request' | 'response',
  path: string,
  compileFormat: CompileFormat,
): HeaderParser | null {
  if ((add?.length ?? 0) === 0 && (remove?.length ?? 0) === 0) return null;
  const entries = (add ?? []).map((option, i) => compileEntry(option, `${path}.${side}_headers_to_add[${i}]`, compileFormat));
  const removals = (remove ?? []).map((name, i) => {
    if (!isModifiable(name)) {
      throw new ConfigError(':-prefixed or host headers may not be removed', { path: `${path}.${side}_headers_to_remove[${i}]` });
    }
    return asciiLower(name);
  });
  return new HeaderParser(entries, removals);
}

/** No pseudo header and not `host`. */
export function isModifiable(name: string): boolean {
  return name[0] !== ':' && asciiLower(name) !== 'host';
}

interface Entry {
  readonly name: string;
  /** Joins values instead of adding a line. */
  readonly inline: boolean;
  readonly action: HeaderAppendAction;
  readonly keepEmpty: boolean;
  readonly constant: string;
  readonly formatter: HeaderFormatter | null;
}

const SKIP = 0;
const ADD = 1;
const OVERWRITE = 2;

export class HeaderParser {
  private readonly entries: readonly Entry[];
  private readonly removals: readonly string[];
  // Of the evaluation at hand, so that none allocates.
  private readonly values: string[];
  private readonly plans: Uint8Array;

  constructor(entries: readonly Entry[], removals: readonly string[]) {
    this.entries = entries;
    this.removals = removals;
    this.values = entries.map(() => '');
    this.plans = new Uint8Array(entries.length);
  }

  evaluate(headers: HeaderMap, context: FormatterContext, info: StreamInfo): void {
    for (let i = 0; i < this.removals.length; i++) headers.remove(this.removals[i]);
    const { entries, values, plans } = this;
    let overwrites = false;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i];
      values[i] = entry.formatter === null ? entry.constant : entry.formatter.format(context, info);
      plans[i] = values[i] === '' && !entry.keepEmpty ? SKIP : planOf(entry, headers);
      if (plans[i] === OVERWRITE) overwrites = true;
    }
    if (overwrites) {
      for (let i = 0; i < entries.length; i++) if (plans[i] === OVERWRITE) headers.set(entries[i].name, values[i]);
    }
    for (let i = 0; i < entries.length; i++) {
      if (plans[i] !== ADD) continue;
      if (entries[i].inline) headers.append(entries[i].name, values[i]);
      else headers.add(entries[i].name, values[i]);
    }
  }
}

function planOf(entry: Entry, headers: HeaderMap): number {
  switch (entry.action) {
    case 'APPEND_IF_EXISTS_OR_ADD':
      return ADD;
    case 'OVERWRITE_IF_EXISTS_OR_ADD':
      return OVERWRITE;
    case 'ADD_IF_ABSENT':
      return headers.has(entry.name) ? SKIP : ADD;
    case 'OVERWRITE_IF_EXISTS':
      return headers.has(entry.name) ? OVERWRITE : SKIP;
  }
}

function compileEntry(option: HeaderValueOptionConfig, path: string, compileFormat: CompileFormat): Entry {
  const name = asciiLower(option.header?.key ?? '');
  if (!isModifiable(name)) throw new ConfigError(':-prefixed or host headers may not be modified', { path });
  const set = option.appendAction ?? 'APPEND_IF_EXISTS_OR_ADD';
  if (option.append !== undefined && set !== 'APPEND_IF_EXISTS_OR_ADD') {
    throw new ConfigError("Both append and append_action are set and it's not allowed", { path });
  }
  const base = { name, inline: INLINE_HEADERS.has(name), keepEmpty: option.keepEmptyValue === true };
  const action: HeaderAppendAction = option.append === false ? 'OVERWRITE_IF_EXISTS_OR_ADD' : set;
  const raw = option.header?.rawValue;
  if (raw !== undefined && raw.length > 0) {
    return { ...base, action, constant: Buffer.from(raw).toString('latin1'), formatter: null };
  }
  const text = translateLegacyFormat(option.header?.value ?? '');
  if (!text.replaceAll('%%', '').includes('%')) {
    return { ...base, action, constant: byteText(text.replaceAll('%%', '%')), formatter: null };
  }
  return { ...base, action, constant: '', formatter: compileAt(text, `${path}.header.value`, compileFormat) };
}

/** Formats with the field's path in what they throw. */
export function compileAt(text: string, path: string, compileFormat: CompileFormat): HeaderFormatter {
  try {
    return compileFormat(text);
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError(error.reason, { path });
    throw error;
  }
}

/** `%X_METADATA(["a","b"])%` becomes `%X_METADATA(a:b)%`, `%PER_REQUEST_STATE(k)%` becomes `%FILTER_STATE(k:PLAIN)%`. */
function translateLegacyFormat(text: string): string {
  return text
    .replace(/%((?:UPSTREAM|DYNAMIC)_METADATA)\(\s*(\[[^%]*\])\s*\)%/g, (whole, command: string, list: string) => {
      try {
        const keys: unknown = JSON.parse(list);
        return Array.isArray(keys) ? `%${command}(${keys.join(':')})%` : whole;
      } catch {
        return whole;
      }
    })
    .replace(/%PER_REQUEST_STATE\(([^%)]*)\)%/g, '%FILTER_STATE($1:PLAIN)%');
}

/** Known headers that exist once in Envoy's maps: a second value is joined to the first. */
const INLINE_HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'cache-control',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'date',
  'expect',
  'grpc-message',
  'grpc-status',
  'grpc-timeout',
  'keep-alive',
  'location',
  'origin',
  'proxy-connection',
  'proxy-status',
  'server',
  'te',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'via',
  'x-client-trace-id',
  'x-forwarded-client-cert',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-request-id',
]);
