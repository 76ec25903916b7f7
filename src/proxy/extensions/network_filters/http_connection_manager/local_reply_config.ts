/** `local_reply_config`: mappers and body formats, compiled. */
import { readFileSync } from 'node:fs';
import { compileAccessLogFilter } from '../../../access_log/filters.ts';
import { parseHeaderFormat, substitutionFormatString } from '../../../access_log/formatter.ts';
import { ConfigError } from '../../../config/error.ts';
import type { DataSource, LocalReplyConfig, SubstitutionFormatString } from '../../../config/types.gen.ts';
import { type BodyFormatter, LocalReply, type LocalReplyMapper } from '../../../http/conn_manager/local_reply.ts';
import type { HeaderValueOptionConfig } from '../../../http/route/config_types.ts';
import { compileHeaderParser } from '../../../http/route/header_parser.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';

/** Throws ConfigError. */
export function compileLocalReply(config: LocalReplyConfig | undefined, context: FactoryContext): LocalReply {
  if (config === undefined) return new LocalReply([], null);
  const root = 'local_reply_config';
  const mappers = (config.mappers ?? []).map((mapper, i): LocalReplyMapper => {
    const path = `${root}.mappers[${i}]`;
    if (mapper.filter === undefined) throw new ConfigError('value is required', { path: `${path}.filter` });
    const filter = compileAccessLogFilter(mapper.filter, context, `${path}.filter`);
    const headers = compileHeaderParser(
      mapper.headersToAdd as unknown as HeaderValueOptionConfig[],
      [],
      'response',
      path,
      parseHeaderFormat,
    );
    return {
      matches: (formatter, info) => filter.evaluate(formatter, info),
      statusCode: mapper.statusCode ?? 0,
      body: mapper.body === undefined ? undefined : readText(mapper.body, `${path}.body`),
      bodyFormat: bodyFormatter(mapper.bodyFormatOverride, `${path}.body_format_override`),
      addHeaders: headers === null ? null : (map, formatter, info) => headers.evaluate(map, formatter, info),
    };
  });
  return new LocalReply(mappers, bodyFormatter(config.bodyFormat, `${root}.body_format`));
}

function bodyFormatter(config: SubstitutionFormatString | undefined, path: string): BodyFormatter | null {
  if (config === undefined) return null;
  const formatter = substitutionFormatString(config, path);
  return {
    contentType: formatter.contentType,
    format: (context, info) => Buffer.from(formatter.format(context, info), 'latin1').toString('utf8'),
  };
}

function readText(source: DataSource, path: string): string {
  if (source.inlineString !== undefined) return source.inlineString;
  if (source.inlineBytes !== undefined) return Buffer.from(source.inlineBytes).toString('utf8');
  if (source.environmentVariable !== undefined) {
    const value = process.env[source.environmentVariable];
    if (value === undefined) throw new ConfigError(`Environment variable doesn't exist: ${source.environmentVariable}`, { path });
    return value;
  }
  try {
    return readFileSync(source.filename ?? '', 'utf8');
  } catch (error) {
    throw new ConfigError(`unable to read file: ${source.filename} (${error instanceof Error ? error.message : String(error)})`, {
      path,
    });
  }
}
