/** `http_health_check` (Envoy: HttpHealthCheckerImpl). */
import { statusOf } from '../../http/conn_manager/header_bytes.ts';
import { HeaderMap } from '../../http/header_map.ts';
import { H } from '../../http/header_names.ts';
import { StreamInfo } from '../../stream_info/stream_info.ts';
import type { HostDescription } from '../host_update.ts';
import type { CheckConnector } from './check_connector.ts';
import type { HttpCheckSettings } from './health_check_settings.ts';
import { containsPayload } from './payload.ts';
import type { ProbeCallbacks } from './probe.ts';
import { requestContext } from './request_context.ts';
import { StreamProbe } from './stream_probe.ts';

const CHECKED_CLUSTER = 'x-envoy-upstream-healthchecked-cluster';

export class HttpProbe extends StreamProbe {
  private readonly settings: HttpCheckSettings;
  private status = 0;
  private immediateFailure = false;
  private degraded = false;
  private checkedCluster = '';
  private body = Buffer.alloc(0);

  constructor(settings: HttpCheckSettings, connector: CheckConnector, reuse: boolean, callbacks: ProbeCallbacks) {
    super(connector, settings.http2, reuse, callbacks);
    this.settings = settings;
  }

  protected requestHeaders(host: HostDescription, secure: boolean): HeaderMap {
    const { settings, connector } = this;
    const headers = HeaderMap.of(connector.context.dispatcher.slab, [
      [':method', settings.method],
      [':scheme', secure ? 'https' : 'http'],
      [':path', settings.path],
      [':authority', host.healthCheck?.hostname || settings.host || connector.cluster.name],
      ['user-agent', 'Envoy/HC'],
    ]);
    if (settings.send !== null) headers.setId(H['content-length'], String(settings.send.length));
    settings.headers?.evaluate(headers, requestContext(headers), new StreamInfo());
    return headers;
  }

  protected requestBody(): Uint8Array | null {
    return this.settings.send;
  }

  protected onResponseHeaders(headers: HeaderMap): void {
    this.status = statusOf(headers);
    this.immediateFailure = headers.hasId(H['x-envoy-immediate-health-check-fail']);
    this.degraded = headers.hasId(H['x-envoy-degraded']);
    this.checkedCluster = headers.get(CHECKED_CLUSTER) ?? '';
    this.body = Buffer.alloc(0);
  }

  protected onResponseData(data: Buffer): void {
    const { receive, responseBufferBytes } = this.settings;
    const room = responseBufferBytes - this.body.length;
    if (receive.length > 0 && room > 0) this.body = Buffer.concat([this.body, data.subarray(0, room)]);
  }

  protected onResponseEnd(): void {
    const { settings, callbacks, status } = this;
    this.conclude(true, () => {
      if (!settings.isExpected(status)) {
        if (settings.isRetriable(status)) callbacks.onFailure('ACTIVE', true);
        else callbacks.onFailure('ACTIVE', false, this.immediateFailure);
      } else if (!containsPayload(settings.receive, this.body)) callbacks.onFailure('ACTIVE', false, this.immediateFailure);
      else if (settings.serviceName !== null && callbacks.verifiesCluster() && !settings.serviceName.match(this.checkedCluster))
        callbacks.onFailure('ACTIVE', false, this.immediateFailure);
      else callbacks.onSuccess(this.degraded);
    });
  }
}
