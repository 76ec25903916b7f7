/** What filters may know about a stream, read from its StreamInfo when asked. */
import { RESPONSE_FLAGS, type StreamInfo } from '../stream_info/stream_info.ts';
import type { StreamProperties } from './http_filter.ts';

export class PropertiesView implements StreamProperties {
  /** Null: no stream. */
  info: StreamInfo | null = null;
  private readonly clock: { readonly nowMs: number };

  constructor(clock: { readonly nowMs: number }) {
    this.clock = clock;
  }

  private get live(): StreamInfo {
    if (this.info === null) throw new Error('the stream is over');
    return this.info;
  }

  get protocol(): string {
    return this.live.protocol;
  }

  get remoteAddress(): string {
    return this.live.downstreamRemoteAddress?.asString ?? '';
  }

  get remoteIp(): string {
    const address = this.live.downstreamRemoteAddress;
    return address === null ? '' : address.kind === 'ip' ? address.ip : address.asString;
  }

  get localAddress(): string {
    return this.live.downstreamLocalAddress?.asString ?? '';
  }

  get routeName(): string {
    return this.live.routeName;
  }

  get virtualHostName(): string {
    return this.live.virtualHostName;
  }

  get clusterName(): string {
    return this.live.upstreamClusterName;
  }

  get upstreamAddress(): string {
    return this.live.upstreamHost?.address.asString ?? '';
  }

  get attemptCount(): number {
    return this.live.attemptCount;
  }

  get responseCode(): number {
    return this.live.responseCode;
  }

  get responseCodeDetails(): string {
    return this.live.responseCodeDetails;
  }

  get responseFlags(): string {
    const flags = this.live.responseFlags;
    const names: string[] = [];
    for (const [bit, name] of Object.values(RESPONSE_FLAGS)) if ((flags & (1 << bit)) !== 0) names.push(name);
    return names.join(',');
  }

  get bytesReceived(): number {
    return this.live.bytesReceived;
  }

  get bytesSent(): number {
    return this.live.bytesSent;
  }

  get startTimeMs(): number {
    return this.live.startTimeMs;
  }

  get durationMs(): number {
    const info = this.live;
    return (info.endMonotonicMs >= 0 ? info.endMonotonicMs : this.clock.nowMs) - info.startMonotonicMs;
  }

  get requestedServerName(): string {
    return this.live.requestedServerName;
  }

  metadata(namespace: string, key: string): unknown {
    return this.live.dynamicMetadata?.[namespace]?.[key];
  }

  setMetadata(namespace: string, key: string, value: unknown): void {
    const info = this.live;
    info.dynamicMetadata ??= {};
    const fields = Object.hasOwn(info.dynamicMetadata, namespace) ? info.dynamicMetadata[namespace] : {};
    info.dynamicMetadata[namespace] = { ...fields, [key]: value };
  }

  routeMetadata(namespace: string, key: string): unknown {
    return this.live.routeMetadata?.[namespace]?.[key];
  }
}
