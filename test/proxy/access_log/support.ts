/** A stream with everything known about it, for formatter and filter tests. */
import { Slab } from '../../../src/core/buffer/slab.ts';
import type { FormatterContext } from '../../../src/proxy/access_log/access_log.ts';
import { HeaderMap } from '../../../src/proxy/http/header_map.ts';
import { ipAddress } from '../../../src/proxy/network/address.ts';
import { StreamInfo } from '../../../src/proxy/stream_info/stream_info.ts';

const slab = new Slab(8);

export function headers(entries: Record<string, string> | readonly (readonly [string, string])[]): HeaderMap {
  return HeaderMap.of(slab, Array.isArray(entries) ? entries : Object.entries(entries));
}

export function context(overrides: Partial<FormatterContext> = {}): FormatterContext {
  return {
    requestHeaders: headers({
      ':method': 'POST',
      ':path': '/api/v1/locations?id=1&name=a%20b',
      ':authority': 'locations',
      'x-forwarded-for': '10.0.35.28',
      'user-agent': 'nsq2http',
      'x-request-id': 'cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2',
      'x-custom': 'custom-value',
    }),
    responseHeaders: headers({ ':status': '204', 'x-envoy-upstream-service-time': '100', server: 'x' }),
    responseTrailers: headers({ 'grpc-status': '5', 'x-trailer': 't' }),
    localReplyBody: 'no healthy upstream',
    accessLogType: 'DownstreamEnd',
    ...overrides,
  };
}

export const EMPTY: FormatterContext = {
  requestHeaders: null,
  responseHeaders: null,
  responseTrailers: null,
  localReplyBody: '',
  accessLogType: 'NotSet',
};

/** The start of the stream is 2016-04-15T20:17:00.310Z and 1000 on the monotonic clock. */
export function streamInfo(overrides: Partial<StreamInfo> = {}): StreamInfo {
  const info = new StreamInfo();
  info.startTimeMs = Date.UTC(2016, 3, 15, 20, 17, 0, 310);
  info.startMonotonicMs = 1000;
  info.lastDownstreamRxByteMs = 1002;
  info.upstreamConnectStartMs = 1003;
  info.upstreamConnectCompleteMs = 1004.25;
  info.upstreamPoolReadyMs = 1005;
  info.firstUpstreamTxByteMs = 1006;
  info.lastUpstreamTxByteMs = 1010;
  info.firstUpstreamRxByteMs = 1100;
  info.lastUpstreamRxByteMs = 1150;
  info.firstDownstreamTxByteMs = 1110;
  info.lastDownstreamTxByteMs = 1160;
  info.endMonotonicMs = 1226.9;
  info.protocol = 'HTTP/2';
  info.upstreamProtocol = 'HTTP/1.1';
  info.responseCode = 204;
  info.responseCodeDetails = 'via upstream';
  info.bytesReceived = 154;
  info.bytesSent = 7;
  info.connectionId = 17;
  info.downstreamRemoteAddress = ipAddress('10.0.35.28', 0);
  info.downstreamDirectRemoteAddress = ipAddress('127.0.0.1', 5555);
  info.downstreamLocalAddress = ipAddress('::1', 443);
  info.downstreamDirectLocalAddress = ipAddress('::1', 444);
  info.requestedServerName = 'exa mple.com';
  info.upstreamHost = { address: ipAddress('10.0.2.1', 80), hostname: 'backend:80', metadata: { 'envoy.lb': { canary: true } } };
  info.upstreamLocalAddress = ipAddress('10.0.2.9', 40000);
  info.upstreamRemoteAddress = ipAddress('10.0.2.1', 80);
  info.upstreamClusterName = 'c1';
  info.upstreamClusterObservableName = 'c1-alt';
  info.upstreamConnectionId = 3;
  info.attemptCount = 2;
  info.routeName = 'r1';
  info.streamId = 'stream-1';
  info.filterChainName = 'fc';
  info.virtualClusterName = 'vc';
  info.dynamicMetadata = { ns: { key: 'value', n: { b: [1, 'x'], a: true }, num: 4 } };
  info.clusterMetadata = { ns: { c: 1.5 } };
  info.routeMetadata = { ns: { r: 'route' } };
  return Object.assign(info, overrides);
}
