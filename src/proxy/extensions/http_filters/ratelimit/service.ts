/** `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`: its messages as bytes, and what the answer means for `x-ratelimit-*`. */

import { byteText } from '../../../common/byte_text.ts';
import { ProtoReader, readStruct } from '../../../common/protobuf_reader.ts';
import { ProtoWriter } from '../../../common/protobuf_writer.ts';
import type { RateLimitDescriptor } from '../../../http/route/rate_limit_policy.ts';
import type { HeaderPair } from '../../../http/safe_header.ts';

export const SHOULD_RATE_LIMIT = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit';

/** `RateLimitUnit` by number, and its seconds. */
const UNITS: readonly (readonly [name: string, seconds: number])[] = [
  ['UNKNOWN', 0],
  ['SECOND', 1],
  ['MINUTE', 60],
  ['HOUR', 3600],
  ['DAY', 86_400],
  ['MONTH', 2_592_000],
  ['YEAR', 31_536_000],
];

export interface DescriptorStatus {
  requestsPerUnit: number;
  unitSeconds: number;
  name: string;
  /** There is a limit at all. */
  limited: boolean;
  remaining: number;
  resetSeconds: number;
}

export interface RateLimitAnswer {
  overLimit: boolean;
  /** The service could not say. */
  unknown: boolean;
  readonly statuses: DescriptorStatus[];
  readonly responseHeaders: HeaderPair[];
  readonly requestHeaders: HeaderPair[];
  body: Uint8Array;
  metadata: Record<string, unknown> | null;
}

export function writeRateLimitRequest(domain: string, descriptors: readonly RateLimitDescriptor[]): Uint8Array {
  const writer = new ProtoWriter();
  writer.string(1, byteText(domain));
  for (const { entries, limit } of descriptors) {
    writer.message(2, (descriptor) => {
      for (const { key, value } of entries) {
        descriptor.message(1, (entry) => {
          entry.string(1, byteText(key));
          entry.string(2, byteText(value));
        });
      }
      if (limit === null) return;
      descriptor.message(2, (override) => {
        override.number(1, limit.requestsPerUnit);
        override.number(
          2,
          UNITS.findIndex(([name]) => name === limit.unit),
        );
      });
    });
  }
  return writer.bytes;
}

/** Throws WireError. */
export function readRateLimitResponse(bytes: Uint8Array): RateLimitAnswer {
  const answer: RateLimitAnswer = {
    overLimit: false,
    unknown: true,
    statuses: [],
    responseHeaders: [],
    requestHeaders: [],
    body: new Uint8Array(),
    metadata: null,
  };
  const reader = new ProtoReader(bytes);
  while (reader.next()) {
    if (reader.field === 1) {
      const code = reader.int();
      answer.overLimit = code === 2;
      answer.unknown = code === 0;
    } else if (reader.field === 2) answer.statuses.push(readStatus(reader.message()));
    else if (reader.field === 3) answer.responseHeaders.push(readHeader(reader.message()));
    else if (reader.field === 4) answer.requestHeaders.push(readHeader(reader.message()));
    else if (reader.field === 5) answer.body = reader.blob().slice();
    else if (reader.field === 6) answer.metadata = readStruct(reader.message());
    else reader.skip();
  }
  return answer;
}

function readStatus(reader: ProtoReader): DescriptorStatus {
  const status: DescriptorStatus = {
    requestsPerUnit: 0,
    unitSeconds: 0,
    name: '',
    limited: false,
    remaining: 0,
    resetSeconds: 0,
  };
  while (reader.next()) {
    if (reader.field === 2) readLimit(reader.message(), status);
    else if (reader.field === 3) status.remaining = reader.int();
    else if (reader.field === 4) {
      const duration = reader.message();
      while (duration.next()) {
        if (duration.field === 1) status.resetSeconds = duration.int();
        else duration.skip();
      }
    } else reader.skip();
  }
  return status;
}

function readLimit(reader: ProtoReader, status: DescriptorStatus): void {
  status.limited = true;
  while (reader.next()) {
    if (reader.field === 1) status.requestsPerUnit = reader.int();
    else if (reader.field === 2) status.unitSeconds = UNITS[reader.int()]?.[1] ?? 0;
    else if (reader.field === 3) status.name = reader.string();
    else reader.skip();
  }
}

/** HeaderValue; 3 is its raw value. */
function readHeader(reader: ProtoReader): HeaderPair {
  let key = '';
  let value = '';
  while (reader.next()) {
    if (reader.field === 1) key = reader.string().toLowerCase();
    else if (reader.field === 2 || reader.field === 3) value = reader.string();
    else reader.skip();
  }
  return [key, value];
}

/** Draft 03 of the RateLimit header fields: of the limit that is nearest, with all limits as policies. Empty: there is none. */
export function rateLimitHeaders(statuses: readonly DescriptorStatus[]): HeaderPair[] {
  const limited = statuses.filter((status) => status.limited);
  if (limited.length === 0) return [];
  const nearest = limited.reduce((a, b) => (b.remaining < a.remaining ? b : a));
  const policies = limited
    .filter(({ unitSeconds }) => unitSeconds > 0)
    .map(
      ({ requestsPerUnit, unitSeconds, name }) => `, ${requestsPerUnit};w=${unitSeconds}${name === '' ? '' : `;name="${name}"`}`,
    );
  return [
    ['x-ratelimit-limit', `${nearest.requestsPerUnit}${policies.join('')}`],
    ['x-ratelimit-remaining', String(nearest.remaining)],
    ['x-ratelimit-reset', String(nearest.resetSeconds)],
  ];
}
