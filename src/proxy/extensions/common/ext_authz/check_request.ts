/**
 * `envoy.service.auth.v3.CheckRequest` and `CheckResponse` as bytes (Envoy: check_request_utils.cc, ext_authz_grpc_impl.cc). Field numbers
 * are those of envoy/service/auth/v3.
 */
import { httpStatusNumber } from '../../../common/http_status.ts';
import type { StringMatcher } from '../../../common/matchers.ts';
import { ProtoReader, readStruct } from '../../../common/protobuf_reader.ts';
import { ProtoWriter, writeStruct } from '../../../common/protobuf_writer.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import type { Address } from '../../../network/address.ts';
import { type Connection, type SslCertificate, urlEncodedPem } from '../../../network/connection.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';
import { type Authorization, newAuthorization } from './authorization.ts';

export interface PeerSettings {
  readonly includePeerCertificate: boolean;
  readonly includeTlsSession: boolean;
}

export interface CheckSettings extends PeerSettings {
  readonly rawHeaders: boolean;
  readonly packAsBytes: boolean;
  readonly isSent: (name: string) => boolean;
}

export interface HttpCheck {
  readonly headers: HeaderMap;
  readonly info: StreamInfo;
  readonly connection: Connection | null;
  readonly streamId: number;
  readonly nowMs: number;
  readonly body: Uint8Array | null;
  /** The body is not all there is. Null: bodies are not sent. */
  readonly partial: boolean | null;
  readonly extensions: Readonly<Record<string, string>>;
  readonly metadata: Record<string, Record<string, unknown>>;
  readonly routeMetadata: Record<string, Record<string, unknown>>;
}

/** Which request headers are sent: none of the disallowed; of the others all, or those allowed. */
export function sentHeaders(allowed: StringMatcher | null, disallowed: StringMatcher | null): (name: string) => boolean {
  return (name) => disallowed?.match(name) !== true && (allowed === null || allowed.match(name));
}

export const PARTIAL_BODY = 'x-envoy-auth-partial-body';

export function writeHttpCheck(check: HttpCheck, settings: CheckSettings): Uint8Array {
  const writer = new ProtoWriter();
  writer.message(1, (attributes) => {
    const service = check.headers.get('x-envoy-downstream-service-cluster') ?? '';
    writePeers(attributes, check.connection, check.info, service, settings);
    attributes.message(4, (request) => {
      request.message(1, (time) => {
        time.number(1, Math.floor(check.nowMs / 1000));
        time.number(2, Math.floor(check.nowMs % 1000) * 1_000_000);
      });
      request.message(2, (http) => writeHttpRequest(http, check, settings));
    });
    attributes.stringMap(10, Object.entries(check.extensions));
    if (Object.keys(check.metadata).length > 0) attributes.message(11, (metadata) => writeMetadata(metadata, check.metadata));
    if (settings.includeTlsSession && check.connection?.ssl) {
      const { sni } = check.connection.ssl;
      attributes.message(12, (session) => session.string(1, sni));
    }
    if (Object.keys(check.routeMetadata).length > 0) {
      attributes.message(13, (metadata) => writeMetadata(metadata, check.routeMetadata));
    }
  });
  return writer.bytes;
}

export function writeTcpCheck(connection: Connection, settings: PeerSettings): Uint8Array {
  const writer = new ProtoWriter();
  writer.message(1, (attributes) => {
    writePeers(attributes, connection, connection.streamInfo, '', settings);
    if (settings.includeTlsSession && connection.ssl !== null) {
      const { sni } = connection.ssl;
      attributes.message(12, (session) => session.string(1, sni));
    }
  });
  return writer.bytes;
}

function writePeers(
  attributes: ProtoWriter,
  connection: Connection | null,
  info: StreamInfo,
  service: string,
  settings: PeerSettings,
): void {
  const ssl = connection?.ssl ?? null;
  attributes.message(1, (peer) => {
    writeAddress(peer, info.downstreamRemoteAddress ?? connection?.remoteAddress);
    peer.string(2, service);
    const certificate = ssl?.peerCertificate ?? null;
    peer.text(4, principalOf(certificate));
    if (settings.includePeerCertificate && certificate !== null) peer.string(5, urlEncodedPem(certificate));
  });
  attributes.message(2, (peer) => {
    writeAddress(peer, info.downstreamLocalAddress ?? connection?.localAddress);
    peer.text(4, principalOf(ssl?.localCertificate ?? null));
  });
}

/** The first URI SAN, else the first DNS SAN, else the subject. */
function principalOf(certificate: SslCertificate | null): string {
  if (certificate === null) return '';
  return certificate.uriSans[0] ?? certificate.dnsSans[0] ?? certificate.subject;
}

/** `envoy.config.core.v3.Address`. */
function writeAddress(peer: ProtoWriter, address: Address | null | undefined): void {
  if (address === null || address === undefined) return;
  peer.message(1, (writer) => {
    if (address.kind === 'pipe') writer.message(2, (pipe) => pipe.text(1, address.path));
    else {
      writer.message(1, (socket) => {
        socket.string(2, address.ip);
        socket.number(3, address.port);
      });
    }
  });
}

function writeHttpRequest(http: ProtoWriter, check: HttpCheck, settings: CheckSettings): void {
  const { headers, info, body } = check;
  http.string(1, String(check.streamId));
  http.string(2, headers.get(':method') ?? '');
  writeHeaders(http, check, settings);
  http.string(4, headers.get(':path') ?? '');
  http.string(5, headers.get(':authority') ?? '');
  http.string(6, headers.get(':scheme') ?? '');
  const length = headers.get('content-length');
  http.number(9, length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : (body?.length ?? info.bytesReceived));
  http.string(10, info.protocol);
  if (body === null || body.length === 0) return;
  if (settings.packAsBytes) http.blob(12, body);
  else http.string(11, Buffer.from(body.buffer, body.byteOffset, body.length).toString('latin1'));
}

function writeHeaders(http: ProtoWriter, check: HttpCheck, settings: CheckSettings): void {
  const partial: [string, string][] = check.partial === null ? [] : [[PARTIAL_BODY, String(check.partial)]];
  if (settings.rawHeaders) {
    http.message(13, (map) => {
      for (const [name, value] of [...check.headers.entries(), ...partial]) {
        if (name !== PARTIAL_BODY && !settings.isSent(name)) continue;
        map.message(1, (header) => {
          header.string(1, name);
          header.blob(3, Buffer.from(value, 'latin1'));
        });
      }
    });
    return;
  }
  const joined = new Map<string, string>();
  check.headers.forEach((name, value) => {
    if (name === PARTIAL_BODY || !settings.isSent(name)) return;
    const before = joined.get(name);
    joined.set(name, before === undefined ? value : `${before},${value}`);
  });
  for (const [name, value] of partial) joined.set(name, value);
  http.stringMap(3, joined);
}

/** `envoy.config.core.v3.Metadata`. */
function writeMetadata(writer: ProtoWriter, metadata: Record<string, Record<string, unknown>>): void {
  for (const [namespace, struct] of Object.entries(metadata)) {
    writer.message(1, (entry) => {
      entry.text(1, namespace);
      entry.message(2, (inner) => writeStruct(inner, struct));
    });
  }
}

/** Throws WireError. */
export function readCheckResponse(bytes: Uint8Array): Authorization {
  const reader = new ProtoReader(bytes);
  let code = 0;
  let denied: ProtoReader | null = null;
  let ok: ProtoReader | null = null;
  let metadata: Record<string, unknown> | null = null;
  while (reader.next()) {
    if (reader.field === 1) code = readStatusCode(reader.message());
    else if (reader.field === 2) denied = reader.message();
    else if (reader.field === 3) ok = reader.message();
    else if (reader.field === 4) metadata = readStruct(reader.message());
    else reader.skip();
  }
  const authorization = newAuthorization(code === 0 ? 'ok' : 'denied');
  if (code === 0 && ok !== null) readOk(ok, authorization);
  else if (code !== 0 && denied !== null) readDenied(denied, authorization);
  authorization.metadata = metadata ?? authorization.metadata;
  return authorization;
}

/** `google.rpc.Status`. */
function readStatusCode(reader: ProtoReader): number {
  let code = 0;
  while (reader.next()) {
    if (reader.field === 1) code = reader.int();
    else reader.skip();
  }
  return code;
}

function readOk(reader: ProtoReader, into: Authorization): void {
  while (reader.next()) {
    if (reader.field === 2) addRequestHeader(readHeaderOption(reader.message()), into);
    else if (reader.field === 3) into.metadata = readStruct(reader.message());
    else if (reader.field === 5) into.remove.push(reader.string().toLowerCase());
    else if (reader.field === 6) {
      const { pair, append, action } = readHeaderOption(reader.message());
      (append === true || (append === undefined && action === 1) ? into.responseAdd : into.responseSet).push(pair);
    } else if (reader.field === 7) into.querySet.push(readPair(reader.message()));
    else if (reader.field === 8) into.queryRemove.push(reader.string());
    else reader.skip();
  }
}

function addRequestHeader({ pair, append, action }: HeaderOption, into: Authorization): void {
  if (append !== undefined) (append ? into.append : into.set).push(pair);
  else if (action === 1) into.addIfAbsent.push(pair);
  else if (action === 3) into.overwriteIfPresent.push(pair);
  else into.set.push(pair);
}

function readDenied(reader: ProtoReader, into: Authorization): void {
  while (reader.next()) {
    if (reader.field === 1) {
      const status = reader.message();
      while (status.next()) {
        if (status.field === 1) into.statusCode = httpStatusNumber(status.int());
        else status.skip();
      }
    } else if (reader.field === 2) into.set.push(readHeaderOption(reader.message()).pair);
    else if (reader.field === 3) into.body = reader.blob().slice();
    else reader.skip();
  }
}

interface HeaderOption {
  readonly pair: readonly [string, string];
  readonly append: boolean | undefined;
  /** Number of a HeaderAppendAction. */
  readonly action: number;
}

function readHeaderOption(reader: ProtoReader): HeaderOption {
  let pair: readonly [string, string] = ['', ''];
  let append: boolean | undefined;
  let action = 0;
  while (reader.next()) {
    if (reader.field === 1) pair = readPair(reader.message());
    else if (reader.field === 2) {
      append = false;
      const wrapper = reader.message();
      while (wrapper.next()) {
        if (wrapper.field === 1) append = wrapper.bool();
        else wrapper.skip();
      }
    } else if (reader.field === 3) action = reader.int();
    else reader.skip();
  }
  return { pair: [pair[0].toLowerCase(), pair[1]], append, action };
}

/** HeaderValue (3 is its raw value), QueryParameter. */
function readPair(reader: ProtoReader): readonly [string, string] {
  let key = '';
  let value = '';
  while (reader.next()) {
    if (reader.field === 1) key = reader.string();
    else if (reader.field === 2 || reader.field === 3) value = reader.string();
    else reader.skip();
  }
  return [key, value];
}
