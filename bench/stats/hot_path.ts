/**
 * What observability costs a request: one counter increment, one histogram value, one line of the default access log format to a
 * file. CPU time of this thread. `node --disable-warning=ExperimentalWarning bench/stats/hot_path.ts`
 *
 * The header values are text already, as they are after routing and the connection manager have read them.
 */
import { Slab } from '../../src/core/buffer/slab.ts';
import { Store } from '../../src/core/stats/store.ts';
import { DEFAULT_FORMAT, jsonFormatter, parseFormat } from '../../src/proxy/access_log/formatter.ts';
import { AccessLogManagerImpl } from '../../src/proxy/access_log/manager.ts';
import { HeaderMap } from '../../src/proxy/http/header_map.ts';
import { H } from '../../src/proxy/http/header_names.ts';
import { ipAddress } from '../../src/proxy/network/address.ts';
import { StreamInfo } from '../../src/proxy/stream_info/stream_info.ts';

const ROUNDS = 5;

/** The best of some rounds, in ns of CPU time per operation. */
function measure(name: string, operations: number, run: (operations: number) => void): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    run(operations);
    const used = process.cpuUsage(before);
    best = Math.min(best, ((used.user + used.system) * 1000) / operations);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(1).padStart(8)} ns`);
}

const store = new Store();
const counters = Array.from({ length: 30 }, (_, i) => store.counter(`cluster.c.counter_${i}`));
const gauge = store.gauge('cluster.c.upstream_rq_active');
const histogram = store.histogram('cluster.c.upstream_rq_time', 'milliseconds');

measure('counter.inc, 30 different ones', 30_000_000, (n) => {
  for (let i = 0; i < n; i += counters.length) for (let k = 0; k < counters.length; k++) counters[k].inc();
});
measure('gauge.inc and gauge.dec', 20_000_000, (n) => {
  for (let i = 0; i < n; i++) {
    gauge.inc();
    gauge.dec();
  }
});
measure('histogram.recordValue', 10_000_000, (n) => {
  for (let i = 0; i < n; i++) histogram.recordValue(i & 4095);
});

const slab = new Slab(8);
const requestHeaders = HeaderMap.of(slab, [
  [':method', 'GET'],
  [':path', '/api/v1/locations?x=1'],
  [':authority', 'example.com:10000'],
  ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'],
  ['accept', '*/*'],
  ['x-forwarded-for', '10.0.35.28'],
  ['x-request-id', 'cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2'],
]);
const responseHeaders = HeaderMap.of(slab, [
  [':status', '200'],
  ['x-envoy-upstream-service-time', '12'],
]);
const log = {
  requestHeaders,
  responseHeaders,
  responseTrailers: null,
  localReplyBody: '',
  accessLogType: 'DownstreamEnd' as const,
};
const info = new StreamInfo();
info.startTimeMs = Date.UTC(2026, 0, 2, 3, 4, 5);
info.protocol = 'HTTP/1.1';
info.responseCode = 200;
info.bytesSent = 1234;
info.upstreamHost = { address: ipAddress('10.0.2.1', 80), hostname: '', metadata: {} };

const file = new AccessLogManagerImpl().createAccessLog('/dev/null');
const json = jsonFormatter({
  time: '%START_TIME%',
  method: '%REQ(:METHOD)%',
  path: '%REQ(:PATH)%',
  code: '%RESPONSE_CODE%',
  duration: '%DURATION%',
  agent: '%REQ(USER-AGENT)%',
  upstream: { host: '%UPSTREAM_HOST%', cluster: '%UPSTREAM_CLUSTER%' },
});
for (const [name, formatter] of [
  ['default text line, formatted and written', parseFormat(DEFAULT_FORMAT)],
  ['JSON line of 8 members, formatted and written', json],
] as const) {
  measure(name, 400_000, (n) => {
    for (let i = 0; i < n; i++) {
      info.startTimeMs += 0.02;
      info.endMonotonicMs = i & 63;
      formatter.append(file.line, log, info);
      file.endLine();
    }
  });
}

// As in a proxy: every request has new headers, whose values are bytes until somebody asks.
const HEAD = Buffer.from(
  '/api/v1/locations?x=1GETexample.com:10000Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2',
  'latin1',
);
const head = slab.allocate();
slab.u8.set(HEAD, head);
function fillHeaders(): void {
  requestHeaders.release();
  requestHeaders.addKnownBytes(H[':path'], head, 21);
  requestHeaders.addKnownBytes(H[':method'], head + 21, 3);
  requestHeaders.addKnownBytes(H[':authority'], head + 24, 17);
  requestHeaders.addKnownBytes(H['user-agent'], head + 41, 50);
  requestHeaders.addId(H['x-forwarded-for'], '10.0.35.28');
  requestHeaders.addKnownBytes(H['x-request-id'], head + 91, 36);
}
measure('headers of a request, filled only', 2_000_000, (n) => {
  for (let i = 0; i < n; i++) fillHeaders();
});
const text = parseFormat(DEFAULT_FORMAT);
measure('default text line of fresh headers', 400_000, (n) => {
  for (let i = 0; i < n; i++) {
    fillHeaders();
    info.startTimeMs += 0.02;
    info.endMonotonicMs = i & 63;
    text.append(file.line, log, info);
    file.endLine();
  }
});
