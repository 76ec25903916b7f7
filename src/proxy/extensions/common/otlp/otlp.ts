/**
 * What OTLP's traces and logs have in common (opentelemetry-proto 1.x: common.proto, resource.proto): attributes, the resource, and the two ways
 * to send a request: gRPC, or HTTP with protobuf.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { VERSION } from '../../../../core/version.ts';
import type { ProtoWriter } from '../../../common/protobuf_writer.ts';
import { ConfigError } from '../../../config/error.ts';
import type { GrpcService } from '../../../grpc/grpc_service.ts';
import { GrpcStream } from '../../../grpc/grpc_stream.ts';
import type { AsyncClient } from '../../../http/async_client.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';

/** `KeyValue` with a string. */
export function writeAttribute(out: ProtoWriter, field: number, key: string, value: string): void {
  const at = out.begin(field);
  out.text(1, key);
  writeAnyString(out, 2, value);
  out.end(at);
}

/** `AnyValue` with a string. */
export function writeAnyString(out: ProtoWriter, field: number, value: string): void {
  const at = out.begin(field);
  out.anyText(1, value);
  out.end(at);
}

export function nanos(ms: number): bigint {
  return BigInt(Math.round(ms * 1000)) * 1000n;
}

export interface HttpServiceConfig {
  httpUri?: { uri: string; cluster?: string; timeout?: number };
  requestHeadersToAdd?: readonly { header?: { key: string; value?: string } }[];
}

export interface HttpService {
  readonly cluster: string;
  readonly host: string;
  readonly path: string;
  readonly timeoutMs: number;
  readonly headers: readonly (readonly [string, string])[];
}

/** Throws ConfigError with paths below the message. */
export function parseHttpService(config: HttpServiceConfig, clusters: Pick<ClusterManager, 'get'>, path: string): HttpService {
  const uri = config.httpUri;
  const match = /^https?:\/\/([^/]+)(\/.*)?$/.exec(uri?.uri ?? '');
  if (uri === undefined || match === null)
    throw new ConfigError(`'${uri?.uri ?? ''}' is no http:// or https:// URI`, { path: `${path}.http_uri.uri` });
  const cluster = uri.cluster ?? '';
  if (clusters.get(cluster) === null) throw new ConfigError(`Unknown cluster '${cluster}'`, { path: `${path}.http_uri.cluster` });
  return {
    cluster,
    host: match[1],
    path: match[2] ?? '/',
    timeoutMs: uri.timeout ?? 0,
    headers: (config.requestHeadersToAdd ?? []).map(({ header }) => [header?.key.toLowerCase() ?? '', header?.value ?? '']),
  };
}

/** Sends a request; `done` runs once. It may be called at once. */
export type OtlpExporter = (request: Uint8Array, done: (ok: boolean) => void) => void;

export function grpcExporter(client: AsyncClient, service: GrpcService, method: string): OtlpExporter {
  return (request, done) => {
    const stream = new GrpcStream(
      client,
      service,
      method,
      (status) => done(status === 0),
      service.timeoutMs || DEFAULT_TIMEOUT_MS,
    );
    stream.send(request, true);
  };
}

export function httpExporter(client: AsyncClient, service: HttpService): OtlpExporter {
  return (request, done) => {
    const { slab } = client.dispatcher;
    const headers = HeaderMap.of(slab, [
      [':method', 'POST'],
      [':scheme', 'http'],
      [':authority', service.host],
      [':path', service.path],
      ['user-agent', `OTel-OTLP-Exporter-Sluice/${VERSION}`],
      ['content-type', 'application/x-protobuf'],
      ...service.headers,
    ]);
    const body = new SliceBuffer(slab);
    body.append(request);
    const options = { timeoutMs: service.timeoutMs || DEFAULT_TIMEOUT_MS, sendXff: false, sendInternal: false };
    const callbacks = {
      onSuccess: (response: { headers: HeaderMap }) => done(response.headers.get(':status')?.startsWith('2') === true),
      onFailure: () => done(false),
    };
    client.send(service.cluster, headers, body, callbacks, options);
  };
}

const DEFAULT_TIMEOUT_MS = 10_000;
