/** `grpc_health_check`: grpc.health.v1.Health/Check over HTTP/2 (Envoy: GrpcHealthCheckerImpl). Serving is the only good answer. */
import { statusOf } from '../../http/conn_manager/header_bytes.ts';
import { HeaderMap } from '../../http/header_map.ts';
import { H } from '../../http/header_names.ts';
import { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HostDescription } from '../host_update.ts';
import type { CheckConnector } from './check_connector.ts';
import { checkRequest, readCheckResponse, SERVING } from './grpc_health.ts';
import type { GrpcCheckSettings } from './health_check_settings.ts';
import type { ProbeCallbacks } from './probe.ts';
import { requestContext } from './request_context.ts';
import { StreamProbe } from './stream_probe.ts';

/** A HealthCheckResponse takes a few bytes. */
const MAX_RESPONSE = 4096;

export class GrpcProbe extends StreamProbe {
  private readonly settings: GrpcCheckSettings;
  private readonly request: Buffer;
  private response = Buffer.alloc(0);
  /** Of headers that are the whole response. */
  private headerStatus: string | undefined;

  constructor(settings: GrpcCheckSettings, connector: CheckConnector, reuse: boolean, callbacks: ProbeCallbacks) {
    super(connector, true, reuse, callbacks);
    this.settings = settings;
    this.request = checkRequest(settings.serviceName);
  }

  protected requestHeaders(host: HostDescription, secure: boolean): HeaderMap {
    const { settings, connector } = this;
    const headers = HeaderMap.of(connector.context.dispatcher.slab, [
      [':method', 'POST'],
      [':scheme', secure ? 'https' : 'http'],
      [':path', '/grpc.health.v1.Health/Check'],
      [':authority', host.healthCheck?.hostname || settings.authority || connector.cluster.name],
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
      ['user-agent', 'Envoy/HC'],
    ]);
    settings.headers?.evaluate(headers, requestContext(headers), new StreamInfo());
    return headers;
  }

  protected requestBody(): Uint8Array {
    return this.request;
  }

  protected onResponseHeaders(headers: HeaderMap, endStream: boolean): void {
    this.response = Buffer.alloc(0);
    this.headerStatus = endStream ? headers.getId(H['grpc-status']) : undefined;
    const type = headers.getId(H['content-type']) ?? '';
    if (!endStream && (statusOf(headers) !== 200 || !/^application\/grpc($|\+)/.test(type))) this.refuse(false);
  }

  protected onResponseData(data: Buffer): void {
    this.response = Buffer.concat([this.response, data]);
    if (this.response.length > MAX_RESPONSE) this.refuse(false);
  }

  protected onResponseEnd(trailers: HeaderMap | null): void {
    const status = trailers === null ? this.headerStatus : trailers.getId(H['grpc-status']);
    if (status === '0' && readCheckResponse(this.response) === SERVING)
      this.conclude(true, () => this.callbacks.onSuccess(false));
    else this.refuse(true);
  }

  private refuse(complete: boolean): void {
    this.conclude(complete, () => this.callbacks.onFailure('ACTIVE', false));
  }
}
