/**
 * Header names that the proxy itself reads or writes. Each has a small number (`H['x-request-id']`) by which a HeaderMap finds it
 * without touching bytes. 0 stands for every other name.
 */
export const HEADER_NAMES = [
  '',
  ':method',
  ':path',
  ':authority',
  ':scheme',
  ':status',
  ':protocol',
  'host',
  'content-length',
  'content-type',
  'content-encoding',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'proxy-connection',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'date',
  'server',
  'via',
  'location',
  'referer',
  'origin',
  'user-agent',
  'accept',
  'accept-encoding',
  'authorization',
  'cookie',
  'set-cookie',
  'cache-control',
  'etag',
  'vary',
  'sec-websocket-key',
  'http2-settings',
  'grpc-status',
  'grpc-message',
  'grpc-timeout',
  'grpc-accept-encoding',
  'early-data',
  'proxy-status',
  'traceparent',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'x-client-trace-id',
  'x-ot-span-context',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-client-cert',
  'x-request-id',
  'x-envoy-attempt-count',
  'x-envoy-decorator-operation',
  'x-envoy-degraded',
  'x-envoy-downstream-service-cluster',
  'x-envoy-downstream-service-node',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-external-address',
  'x-envoy-force-trace',
  'x-envoy-hedge-on-per-try-timeout',
  'x-envoy-immediate-health-check-fail',
  'x-envoy-internal',
  'x-envoy-ip-tags',
  'x-envoy-is-timeout-retry',
  'x-envoy-max-retries',
  'x-envoy-original-dst-host',
  'x-envoy-original-host',
  'x-envoy-original-path',
  'x-envoy-original-url',
  'x-envoy-local-overloaded',
  'x-envoy-overloaded',
  'x-envoy-ratelimited',
  'x-envoy-retriable-header-names',
  'x-envoy-retriable-status-codes',
  'x-envoy-retry-grpc-on',
  'x-envoy-retry-on',
  'x-envoy-upstream-alt-stat-name',
  'x-envoy-upstream-canary',
  'x-envoy-upstream-rq-per-try-timeout-ms',
  'x-envoy-upstream-rq-timeout-alt-response',
  'x-envoy-upstream-rq-timeout-ms',
  'x-envoy-upstream-service-time',
] as const;

export type KnownHeader = (typeof HEADER_NAMES)[number];

/** Number of a known header name. */
export const H = Object.fromEntries(HEADER_NAMES.map((name, id) => [name, id])) as Record<KnownHeader, number>;

const IDS = new Map<string, number>(HEADER_NAMES.map((name, id) => [name as string, id]));

// Configuration and filters may say `host`; a message has it as `:authority` (Envoy: HeaderMap's legacy host).
IDS.set('host', HEADER_NAMES.indexOf(':authority'));

/** The number of a lower-case name, or 0. `host` gives that of `:authority`. */
export function headerId(name: string): number {
  return IDS.get(name) ?? 0;
}

const TABLE_SIZE = 2048;
const table = new Uint8Array(TABLE_SIZE);
const chained = new Uint8Array(HEADER_NAMES.length);
const nameBytes = HEADER_NAMES.map((name) => Uint8Array.from(Buffer.from(name)));

function slotOf(length: number, first: number, middle: number, last: number): number {
  return (length * 57 + first * 3 + middle * 31 + last * 131) & (TABLE_SIZE - 1);
}

for (let id = 1; id < HEADER_NAMES.length; id++) {
  const bytes = nameBytes[id];
  const slot = slotOf(bytes.length, bytes[0], bytes[bytes.length >> 1], bytes[bytes.length - 1]);
  chained[id] = table[slot];
  table[slot] = id;
}

/** All names one after the other, and where each begins. */
const allBytes = Uint8Array.from(Buffer.from(HEADER_NAMES.join('')));
const starts = new Uint16Array(HEADER_NAMES.length);
const lengths = new Uint8Array(HEADER_NAMES.length);
for (let id = 1; id < HEADER_NAMES.length; id++) {
  lengths[id] = nameBytes[id].length;
  starts[id] = starts[id - 1] + lengths[id - 1];
}

/** The number of the lower-case name in `u8[start, start + length)`, or 0. `host` is itself here. */
export function headerIdOfBytes(u8: Uint8Array, start: number, length: number): number {
  if (length === 0) return 0;
  let id = table[slotOf(length, u8[start], u8[start + (length >> 1)], u8[start + length - 1])];
  while (id !== 0) {
    if (lengths[id] === length) {
      const name = starts[id];
      let i = 0;
      while (i < length && allBytes[name + i] === u8[start + i]) i++;
      if (i === length) return id;
    }
    id = chained[id];
  }
  return 0;
}

const allView = new DataView(allBytes.buffer, allBytes.byteOffset, allBytes.length);

/** As `headerIdOfBytes`; `view` is a view of the same bytes, for comparing four at a time. */
export function headerIdAt(view: DataView, u8: Uint8Array, start: number, length: number): number {
  let id = table[slotOf(length, u8[start], u8[start + (length >> 1)], u8[start + length - 1])];
  while (id !== 0) {
    if (lengths[id] === length) {
      const name = starts[id];
      let i = 0;
      while (i + 4 <= length && allView.getInt32(name + i, true) === view.getInt32(start + i, true)) i += 4;
      if (i + 4 > length) {
        while (i < length && allBytes[name + i] === u8[start + i]) i++;
        if (i === length) return id;
      }
    }
    id = chained[id];
  }
  return 0;
}
