/**
 * Entries of access logs as protobuf (envoy.data.accesslog.v3; numbers are those of the fields). Left out: TLS cipher suites by number, filter state,
 * the port of the request.
 */
import type { AccessLogType, FormatterContext } from '../../../access_log/access_log.ts';
import { type ProtoWriter, writeStruct } from '../../../common/protobuf_writer.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import type { Address } from '../../../network/address.ts';
import { RESPONSE_FLAGS, type ResponseFlag, type StreamInfo } from '../../../stream_info/stream_info.ts';
import type { CustomTag } from '../../../tracing/custom_tags.ts';

export interface EntryOptions {
  readonly requestHeaders: readonly string[];
  readonly responseHeaders: readonly string[];
  readonly responseTrailers: readonly string[];
  readonly customTags: readonly CustomTag[];
}

const METHODS = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'];
const PROTOCOLS = ['', 'HTTP/1.0', 'HTTP/1.1', 'HTTP/2', 'HTTP/3'];
const TLS_VERSIONS = ['', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];
const TYPES: readonly AccessLogType[] = [
  'NotSet',
  'TcpUpstreamConnected',
  'TcpPeriodic',
  'TcpConnectionEnd',
  'DownstreamStart',
  'DownstreamPeriodic',
  'DownstreamEnd',
  'UpstreamPoolReady',
  'UpstreamPeriodic',
  'UpstreamEnd',
  'DownstreamTunnelSuccessfullyEstablished',
];
/** Bits of response flags whose field is not their bit plus one. */
const UNAUTHORIZED_BIT = RESPONSE_FLAGS.UnauthorizedExternalService[0];
const LAST_FLAG_BIT = 28;
const FLAG_FIELDS: readonly (readonly [bit: number, field: number])[] = (Object.keys(RESPONSE_FLAGS) as ResponseFlag[])
  .map((name) => RESPONSE_FLAGS[name][0])
  .filter((bit) => bit !== UNAUTHORIZED_BIT && bit <= LAST_FLAG_BIT && bit !== 27)
  .map((bit) => [bit, bit === 28 ? 28 : bit + 1]);

export function writeHttpEntry(out: ProtoWriter, context: FormatterContext, info: StreamInfo, options: EntryOptions): void {
  writeCommon(out, context, info, options);
  out.number(2, Math.max(0, PROTOCOLS.indexOf(info.protocol)));
  const request = out.begin(3);
  if (context.requestHeaders !== null) writeRequest(out, context.requestHeaders, info, options);
  out.end(request);
  const response = out.begin(4);
  writeUint32Value(out, 1, info.responseCode);
  if (context.responseHeaders !== null) {
    out.number(2, context.responseHeaders.byteSize());
    writeHeaders(out, 4, context.responseHeaders, options.responseHeaders);
  }
  out.number(3, info.bytesSent);
  if (context.responseTrailers !== null) writeHeaders(out, 5, context.responseTrailers, options.responseTrailers);
  out.text(6, info.responseCodeDetails);
  out.number(7, info.upstreamHeaderBytesReceived);
  out.number(8, info.downstreamHeaderBytesSent);
  out.end(response);
}

export function writeTcpEntry(out: ProtoWriter, context: FormatterContext, info: StreamInfo, options: EntryOptions): void {
  writeCommon(out, context, info, options);
  const connection = out.begin(2);
  out.number(1, info.bytesReceived);
  out.number(2, info.bytesSent);
  out.end(connection);
}

function writeRequest(out: ProtoWriter, headers: HeaderMap, info: StreamInfo, options: EntryOptions): void {
  const text = (field: number, id: number): void => out.text(field, utf8(headers.getId(id) ?? ''));
  out.number(1, Math.max(0, METHODS.indexOf(headers.getId(H[':method']) ?? '')));
  text(2, H[':scheme']);
  text(3, H[':authority']);
  text(5, H[':path']);
  text(6, H['user-agent']);
  text(7, H.referer);
  text(8, H['x-forwarded-for']);
  text(9, H['x-request-id']);
  text(10, H['x-envoy-original-path']);
  out.number(11, headers.byteSize());
  out.number(12, info.bytesReceived);
  writeHeaders(out, 13, headers, options.requestHeaders);
  out.number(14, info.upstreamHeaderBytesSent);
  out.number(15, info.downstreamHeaderBytesReceived);
}

function writeHeaders(out: ProtoWriter, field: number, headers: HeaderMap, names: readonly string[]): void {
  for (const name of names) {
    const value = headers.get(name);
    if (value !== undefined) out.entry(field, name, utf8(value));
  }
}

function writeCommon(out: ProtoWriter, context: FormatterContext, info: StreamInfo, options: EntryOptions): void {
  const common = out.begin(1);
  const since = (field: number, ms: number): void => {
    if (ms >= 0) out.duration(field, Math.max(0, ms - info.startMonotonicMs));
  };
  writeAddress(out, 2, info.downstreamRemoteAddress);
  writeAddress(out, 3, info.downstreamLocalAddress);
  if (info.downstreamSsl !== null) writeTls(out, info);
  out.timestamp(5, info.startTimeMs);
  since(6, info.lastDownstreamRxByteMs);
  since(7, info.firstUpstreamTxByteMs);
  since(8, info.lastUpstreamTxByteMs);
  since(9, info.firstUpstreamRxByteMs);
  since(10, info.lastUpstreamRxByteMs);
  since(11, info.firstDownstreamTxByteMs);
  since(12, info.lastDownstreamTxByteMs);
  writeAddress(out, 13, info.upstreamRemoteAddress ?? info.upstreamHost?.address ?? null);
  writeAddress(out, 14, info.upstreamLocalAddress);
  out.text(15, info.upstreamClusterName);
  writeFlags(out, info.responseFlags);
  if (info.dynamicMetadata !== null) writeMetadata(out, info.dynamicMetadata);
  out.text(18, utf8(info.upstreamTransportFailureReason));
  out.text(19, info.routeName);
  writeAddress(out, 20, info.downstreamDirectRemoteAddress);
  for (const tag of options.customTags) {
    const value = tag.value(context.requestHeaders, info);
    if (value !== '') out.entry(22, tag.name, value);
  }
  since(23, info.endMonotonicMs);
  out.number(24, info.attemptCount);
  out.text(25, utf8(info.connectionTerminationDetails));
  out.text(28, utf8(info.downstreamTransportFailureReason));
  out.number(29, info.downstreamWireBytesSent);
  out.number(30, info.downstreamWireBytesReceived);
  out.number(31, info.upstreamWireBytesSent);
  out.number(32, info.upstreamWireBytesReceived);
  out.number(33, TYPES.indexOf(context.accessLogType));
  out.end(common);
}

function writeFlags(out: ProtoWriter, flags: number): void {
  if (flags === 0) return;
  const at = out.begin(16);
  for (const [bit, field] of FLAG_FIELDS) out.bool(field, (flags & (1 << bit)) !== 0);
  if ((flags & (1 << UNAUTHORIZED_BIT)) !== 0) {
    const details = out.begin(13);
    out.number(1, 1);
    out.end(details);
  }
  out.end(at);
}

function writeTls(out: ProtoWriter, info: StreamInfo): void {
  const ssl = info.downstreamSsl!;
  const at = out.begin(4);
  out.number(1, Math.max(0, TLS_VERSIONS.indexOf(ssl.version)));
  out.text(3, info.requestedServerName);
  for (const [field, certificate] of [
    [4, ssl.localCertificate],
    [5, ssl.peerCertificate],
  ] as const) {
    if (certificate === null) continue;
    const properties = out.begin(field);
    out.text(2, certificate.subject);
    out.end(properties);
  }
  out.text(6, ssl.sessionId);
  out.end(at);
}

function writeAddress(out: ProtoWriter, field: number, address: Address | null): void {
  if (address === null) return;
  const at = out.begin(field);
  const inner = out.begin(address.kind === 'ip' ? 1 : 2);
  if (address.kind === 'ip') {
    out.text(2, address.ip);
    out.number(3, address.port);
  } else out.text(1, address.asString);
  out.end(inner);
  out.end(at);
}

function writeMetadata(out: ProtoWriter, metadata: Record<string, Record<string, unknown>>): void {
  const at = out.begin(17);
  for (const [name, values] of Object.entries(metadata)) {
    const entry = out.begin(1);
    out.text(1, name);
    out.message(2, () => writeStruct(out, values));
    out.end(entry);
  }
  out.end(at);
}

function writeUint32Value(out: ProtoWriter, field: number, value: number): void {
  const at = out.begin(field);
  out.number(1, value);
  out.end(at);
}

/** Headers are byte text; protobuf wants UTF-8. */
function utf8(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return Buffer.from(text, 'latin1').toString('utf8');
  return text;
}
