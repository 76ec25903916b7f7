/** Operators on headers, trailers and local replies (Envoy's BuiltInHttpCommandParser). */
import { asciiLower, byteText } from '../common/byte_text.ts';
import { ConfigError } from '../config/error.ts';
import type { HeaderMap } from '../http/header_map.ts';
import { H, headerId } from '../http/header_names.ts';
import type { FormatterContext } from './access_log.ts';
import { GRPC_STATUS_NAMES, grpcStatusOf, isGrpcRequest } from './grpc_status.ts';
import { type Operator, type OperatorDefinition, Syntax, simple, type TextValue, truncate } from './operator.ts';

type Headers = (context: FormatterContext) => HeaderMap | null;

const requestHeaders: Headers = (context) => context.requestHeaders;
const responseHeaders: Headers = (context) => context.responseHeaders;
const responseTrailers: Headers = (context) => context.responseTrailers;

const request = headerDefinition(requestHeaders);
const response = headerDefinition(responseHeaders);
const trailer = headerDefinition(responseTrailers);

export const HTTP_OPERATORS: Record<string, OperatorDefinition> = {
  REQ: request,
  REQUEST_HEADER: request,
  STREAM_INFO_REQ: request,
  RESP: response,
  RESPONSE_HEADER: response,
  TRAILER: trailer,
  RESPONSE_TRAILER: trailer,
  REQ_WITHOUT_QUERY: headerDefinition(requestHeaders, (value) => value.split('?', 1)[0]),
  QUERY_PARAM: { syntax: Syntax.ParamsRequired | Syntax.LengthAllowed, create: queryParam },
  PATH: { syntax: Syntax.ParamsOptional | Syntax.LengthAllowed, create: path },
  LOCAL_REPLY_BODY: simple((context) => context.localReplyBody),
  ACCESS_LOG_TYPE: simple((context) => context.accessLogType),
  GRPC_STATUS: { syntax: Syntax.ParamsOptional, create: grpcStatus },
  GRPC_STATUS_NUMBER: { syntax: Syntax.CommandOnly, create: () => grpcStatus('NUMBER') },
  REQUEST_HEADERS_BYTES: simple((context) => context.requestHeaders?.byteSize() ?? 0),
  RESPONSE_HEADERS_BYTES: simple((context) => context.responseHeaders?.byteSize() ?? 0),
  RESPONSE_TRAILERS_BYTES: simple((context) => context.responseTrailers?.byteSize() ?? 0),
  XFCC_VALUE: { syntax: Syntax.ParamsRequired, create: xfccValue },
  // Without tracing there is no trace.
  TRACE_ID: simple((_context, info) => info.activeSpan?.traceId),
};

function headerDefinition(headers: Headers, change?: (value: string) => string): OperatorDefinition {
  return {
    syntax: Syntax.ParamsRequired | Syntax.LengthAllowed,
    create(params, maxLength) {
      const names = params.split('?');
      if (names.length > 2) throw new ConfigError(`More than 1 alternative header specified in token: ${params}`);
      for (const name of names) {
        if (!/^:?[!#$%&'*+\-.^_`|~0-9A-Za-z]*$/.test(name)) {
          throw new ConfigError('Invalid header configuration. Format string contains invalid characters.');
        }
      }
      const first = headerReader(names[0]);
      const other = names.length === 2 && names[1] !== '' ? headerReader(names[1]) : null;
      const whole = maxLength === Number.POSITIVE_INFINITY && change === undefined;
      const append = whole ? headerAppender(headers, names) : undefined;
      if (other === null && whole) {
        return {
          text(context) {
            const map = headers(context);
            return map === null ? undefined : first(map);
          },
          append,
        };
      }
      return {
        append,
        text(context) {
          const map = headers(context);
          if (map === null) return undefined;
          const value = first(map) ?? other?.(map);
          if (value === undefined) return undefined;
          return truncate(change === undefined ? value : change(value), maxLength);
        },
      };
    },
  };
}

/** Headers that Envoy keeps once give their joined value, others the first one. */
function headerReader(name: string): (map: HeaderMap) => string | undefined {
  const lower = asciiLower(name);
  const id = headerId(lower);
  if (id !== 0 && id !== H['set-cookie']) return (map) => map.getId(id);
  return (map) => (map.has(lower) ? map.getAll(lower)[0] : undefined);
}

/** Copies bytes where both names are known headers; undefined otherwise. */
function headerAppender(headers: Headers, names: readonly string[]): Operator['append'] {
  const [id, other] = names.filter((name) => name !== '').map((name) => headerId(asciiLower(name)));
  if (id === undefined || id === 0 || id === H['set-cookie'] || other === H['set-cookie']) return undefined;
  if (other === 0) return undefined;
  return (out, context) => {
    const map = headers(context);
    if (map === null) return false;
    return map.appendValue(id, out) || (other !== undefined && map.appendValue(other, out));
  };
}

function queryParam(params: string, maxLength: number): Operator {
  const wanted = byteText(params);
  return {
    text(context) {
      const target = context.requestHeaders?.getId(H[':path']);
      const start = target === undefined ? -1 : target.indexOf('?');
      if (target === undefined || start < 0) return undefined;
      const hash = target.indexOf('#', start);
      for (const pair of target.slice(start + 1, hash < 0 ? undefined : hash).split('&')) {
        const equals = pair.indexOf('=');
        const name = equals < 0 ? pair : pair.slice(0, equals);
        if (percentDecode(name) === wanted) return truncate(equals < 0 ? '' : percentDecode(pair.slice(equals + 1)), maxLength);
      }
      return undefined;
    },
  };
}

/** `%XX` to bytes; what is malformed stays. */
function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function path(params: string, maxLength: number): Operator {
  const [query = '', source = ''] = params.split(':', 2);
  if (query !== '' && query !== 'WQ' && query !== 'NQ') {
    throw new ConfigError(`Invalid PATH option: '${query}', only 'WQ'/'NQ' are allowed`);
  }
  if (source !== '' && source !== 'ORIG' && source !== 'PATH' && source !== 'ORIG_OR_PATH') {
    throw new ConfigError(`Invalid PATH option: '${source}', only 'ORIG'/'PATH'/'ORIG_OR_PATH' are allowed`);
  }
  return {
    text(context) {
      const map = context.requestHeaders;
      if (map === null) return undefined;
      let value = source === 'PATH' ? undefined : map.getId(H['x-envoy-original-path']);
      if (value === undefined && source !== 'ORIG') value = map.getId(H[':path']);
      if (value === undefined) return undefined;
      return truncate(query === 'NQ' ? value.split('?', 1)[0] : value, maxLength);
    },
  };
}

function grpcStatus(params: string): Operator {
  if (params !== '' && params !== 'CAMEL_STRING' && params !== 'SNAKE_STRING' && params !== 'NUMBER') {
    throw new ConfigError('GrpcStatusFormatter only supports CAMEL_STRING, SNAKE_STRING or NUMBER.');
  }
  const column = params === 'SNAKE_STRING' ? 1 : 0;
  return {
    text(context, info): TextValue {
      if (!isGrpcRequest(context.requestHeaders)) return undefined;
      const status = grpcStatusOf(context, info);
      if (status === undefined || params === 'NUMBER') return status;
      return status < GRPC_STATUS_NAMES.length ? GRPC_STATUS_NAMES[status][column] : String(status);
    },
  };
}

/** One field of the first element of x-forwarded-client-cert that has it. */
function xfccValue(params: string): Operator {
  const key = asciiLower(params);
  return {
    text(context) {
      const value = context.requestHeaders?.getId(H['x-forwarded-client-cert']);
      if (value === undefined) return undefined;
      for (const field of splitOutsideQuotes(value)) {
        const equals = field.indexOf('=');
        if (equals < 0 || asciiLower(field.slice(0, equals).trim()) !== key) continue;
        const text = field.slice(equals + 1).trim();
        return text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text;
      }
      return undefined;
    },
  };
}

/** The parts between `,` and `;` that are not in double quotes. One pass: the text comes from a client. */
function splitOutsideQuotes(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted && c === '\\') i++;
    else if (c === '"') quoted = !quoted;
    else if (!quoted && (c === ',' || c === ';')) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}
