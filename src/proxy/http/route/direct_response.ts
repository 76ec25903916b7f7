/**
 * Routes that the proxy answers itself: direct_response, redirect, and the redirect of require_tls. A direct response of 201 or 3xx
 * carries the request's own URL as location, as Envoy's.
 *
 * Bodies are text: inline_bytes and files must be UTF-8. Left out: body_format, watched_directory.
 */
import { readFileSync, statSync } from 'node:fs';
import type { FormatterContext } from '../../access_log/access_log.ts';
import { ConfigError } from '../../config/error.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HeaderMap } from '../header_map.ts';
import type { DataSourceConfig, DirectResponseActionConfig } from './config_types.ts';
import type { HeaderParser } from './header_parser.ts';
import { requestUri } from './redirect.ts';
import type { DirectResponseEntry } from './route.ts';
import { refuse } from './unsupported.ts';

export class DirectResponse implements DirectResponseEntry {
  readonly status: number;
  readonly body: string;
  readonly contentType: string | undefined = undefined;
  readonly newUri: (headers: HeaderMap) => string | undefined;
  private readonly parsers: readonly HeaderParser[];

  constructor(status: number, body: string, newUri: ((headers: HeaderMap) => string) | null, parsers: readonly HeaderParser[]) {
    this.status = status;
    this.body = body;
    this.newUri = newUri ?? noUri;
    this.parsers = parsers;
  }

  finalizeResponseHeaders(headers: HeaderMap, context: FormatterContext, info: StreamInfo): void {
    for (const parser of this.parsers) parser.evaluate(headers, context, info);
  }
}

/** Throws ConfigError. */
export function compileDirectResponse(
  config: DirectResponseActionConfig,
  parsers: readonly HeaderParser[],
  maxBodySizeBytes: number,
  path: string,
): DirectResponse {
  refuse(config, ['bodyFormat'], path);
  const status = config.status ?? 0;
  if (status < 200 || status >= 600) throw new ConfigError('value must be inside range [200, 600)', { path: `${path}.status` });
  const body = config.body === undefined ? '' : readDataSource(config.body, maxBodySizeBytes, `${path}.body`);
  const hasLocation = status === 201 || (status >= 300 && status < 400);
  return new DirectResponse(status, body, hasLocation ? requestUri : null, parsers);
}

function noUri(): undefined {
  return undefined;
}

function readDataSource(source: DataSourceConfig, maxSizeBytes: number, path: string): string {
  refuse(source, ['watchedDirectory'], path);
  if (source.filename !== undefined) return readFile(source.filename, maxSizeBytes, path);
  const bytes = inlineBytes(source, path);
  if (bytes.length > maxSizeBytes) {
    throw new ConfigError(`response body size is ${bytes.length} bytes; maximum is ${maxSizeBytes}`, { path });
  }
  return decode(bytes, path);
}

function inlineBytes(source: DataSourceConfig, path: string): Uint8Array {
  if (source.inlineString !== undefined) return Buffer.from(source.inlineString, 'utf8');
  if (source.inlineBytes !== undefined) return source.inlineBytes;
  const name = source.environmentVariable ?? '';
  const value = process.env[name];
  if (value === undefined) throw new ConfigError(`Environment variable doesn't exist: ${name}`, { path });
  return Buffer.from(value, 'utf8');
}

function readFile(filename: string, maxSizeBytes: number, path: string): string {
  let bytes: Uint8Array;
  try {
    const size = statSync(filename).size;
    if (size > maxSizeBytes)
      throw new ConfigError(`response body file ${filename} size is ${size} bytes; maximum is ${maxSizeBytes}`, { path });
    bytes = readFileSync(filename);
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`response body file ${filename} does not exist`, { path });
  }
  return decode(bytes, path);
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ConfigError('a body that is not UTF-8 is not supported', { path });
  }
}
