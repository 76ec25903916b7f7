/**
 * `envoy.config.core.v3.HealthCheck` with its defaults (Envoy: HealthCheckerImplBase and the checkers' constructors).
 *
 * Left out, and refused: custom checkers (Redis, Thrift), a PROXY protocol header in TCP checks, HTTP/3, event services.
 */

import { parseHeaderFormat } from '../../access_log/formatter.ts';
import {
  compileStringMatcher,
  type Int64RangeConfig,
  inRange,
  type StringMatcher,
  type StringMatcherConfig,
} from '../../common/matchers.ts';
import { ConfigError } from '../../config/error.ts';
import type { HeaderValueOptionConfig } from '../../http/route/config_types.ts';
import { compileHeaderParser, type HeaderParser } from '../../http/route/header_parser.ts';
import { unsupported } from '../unsupported.ts';
import { type PlainPayload, payloadBytes, payloadList } from './payload.ts';

export interface PlainHealthCheck {
  timeout?: number;
  interval?: number;
  initialJitter?: number;
  intervalJitter?: number;
  intervalJitterPercent?: number;
  unhealthyThreshold?: number;
  healthyThreshold?: number;
  altPort?: number;
  reuseConnection?: boolean;
  httpHealthCheck?: PlainHttpHealthCheck;
  tcpHealthCheck?: { send?: PlainPayload; receive?: PlainPayload[]; proxyProtocolConfig?: unknown };
  grpcHealthCheck?: { serviceName?: string; authority?: string; initialMetadata?: HeaderValueOptionConfig[] };
  customHealthCheck?: { name?: string };
  noTrafficInterval?: number;
  noTrafficHealthyInterval?: number;
  unhealthyInterval?: number;
  unhealthyEdgeInterval?: number;
  healthyEdgeInterval?: number;
  eventLogPath?: string;
  eventLogger?: { name?: string; typedConfig?: object }[];
  alwaysLogHealthCheckFailures?: boolean;
  alwaysLogHealthCheckSuccess?: boolean;
  tlsOptions?: { alpnProtocols?: string[] };
  transportSocketMatchCriteria?: Record<string, unknown>;
}

interface PlainHttpHealthCheck {
  host?: string;
  path?: string;
  send?: PlainPayload;
  receive?: PlainPayload[];
  responseBufferSize?: number;
  requestHeadersToAdd?: HeaderValueOptionConfig[];
  requestHeadersToRemove?: string[];
  expectedStatuses?: Int64RangeConfig[];
  retriableStatuses?: Int64RangeConfig[];
  codecClientType?: string;
  serviceNameMatcher?: StringMatcherConfig;
  method?: string;
}

export interface HttpCheckSettings {
  readonly kind: 'HTTP';
  readonly host: string;
  readonly path: string;
  readonly method: string;
  readonly send: Buffer | null;
  readonly receive: readonly Buffer[];
  /** How much of a body is kept to look for `receive`. */
  readonly responseBufferBytes: number;
  readonly headers: HeaderParser | null;
  readonly http2: boolean;
  readonly serviceName: StringMatcher | null;
  isExpected(status: number): boolean;
  isRetriable(status: number): boolean;
}

export interface TcpCheckSettings {
  readonly kind: 'TCP';
  readonly send: Buffer | null;
  readonly receive: readonly Buffer[];
}

export interface GrpcCheckSettings {
  readonly kind: 'GRPC';
  readonly serviceName: string;
  readonly authority: string;
  readonly headers: HeaderParser | null;
}

/** Times in ms. */
export interface IntervalSettings {
  readonly intervalMs: number;
  readonly noTrafficMs: number;
  readonly noTrafficHealthyMs: number;
  readonly unhealthyMs: number;
  readonly unhealthyEdgeMs: number;
  readonly healthyEdgeMs: number;
  readonly jitterMs: number;
  readonly jitterPercent: number;
}

export interface HealthCheckSettings {
  readonly check: HttpCheckSettings | TcpCheckSettings | GrpcCheckSettings;
  readonly timeoutMs: number;
  readonly intervals: IntervalSettings;
  readonly initialJitterMs: number;
  readonly healthyThreshold: number;
  readonly unhealthyThreshold: number;
  /** 0: the endpoint's. */
  readonly altPort: number;
  readonly reuseConnection: boolean;
  readonly alpnProtocols: readonly string[];
  /** Null: the endpoint's metadata choose the transport socket. */
  readonly transportSocketMatch: Readonly<Record<string, unknown>> | null;
  /** Files of the event log. */
  readonly eventLogPaths: readonly string[];
  readonly alwaysLogFailures: boolean;
  readonly alwaysLogSuccess: boolean;
}

/** A body that is kept whole, `response_buffer_size: 0`, is kept up to here. */
const MAX_BODY = 1 << 20;

/** Throws ConfigError; `path` is the message's. */
export function parseHealthCheck(config: PlainHealthCheck, path: string): HealthCheckSettings {
  if (config.customHealthCheck !== undefined)
    throw unsupported(`health checker ${config.customHealthCheck.name ?? ''}`, `${path}.custom_health_check`);
  const intervalMs = required(config.interval, `${path}.interval`);
  const noTrafficMs = config.noTrafficInterval ?? 60_000;
  const unhealthyMs = config.unhealthyInterval ?? intervalMs;
  return {
    check: parseCheck(config, path),
    timeoutMs: required(config.timeout, `${path}.timeout`),
    intervals: {
      intervalMs,
      noTrafficMs,
      noTrafficHealthyMs: config.noTrafficHealthyInterval ?? noTrafficMs,
      unhealthyMs,
      unhealthyEdgeMs: config.unhealthyEdgeInterval ?? unhealthyMs,
      healthyEdgeMs: config.healthyEdgeInterval ?? intervalMs,
      jitterMs: config.intervalJitter ?? 0,
      jitterPercent: config.intervalJitterPercent ?? 0,
    },
    initialJitterMs: config.initialJitter ?? 0,
    healthyThreshold: required(config.healthyThreshold, `${path}.healthy_threshold`),
    unhealthyThreshold: required(config.unhealthyThreshold, `${path}.unhealthy_threshold`),
    altPort: altPort(config, path),
    reuseConnection: config.reuseConnection ?? true,
    alpnProtocols: config.tlsOptions?.alpnProtocols ?? [],
    transportSocketMatch: config.transportSocketMatchCriteria ?? null,
    eventLogPaths: eventLogPaths(config, path),
    alwaysLogFailures: config.alwaysLogHealthCheckFailures ?? false,
    alwaysLogSuccess: config.alwaysLogHealthCheckSuccess ?? false,
  };
}

function required(value: number | undefined, path: string): number {
  if (value === undefined) throw new ConfigError('value is required', { path });
  return value;
}

function altPort(config: PlainHealthCheck, path: string): number {
  const port = config.altPort ?? 0;
  if (port > 65535) throw new ConfigError(`${port} is no port`, { path: `${path}.alt_port` });
  return port;
}

const FILE_SINK = 'envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink';

function eventLogPaths(config: PlainHealthCheck, path: string): string[] {
  const paths = config.eventLogPath ? [config.eventLogPath] : [];
  config.eventLogger?.forEach(({ name, typedConfig }, i) => {
    const sink = typedConfig as { '@type'?: string; eventLogPath?: string } | undefined;
    if (sink?.['@type'] !== FILE_SINK) throw unsupported(`event sink ${name ?? ''}`, `${path}.event_logger[${i}]`);
    paths.push(sink.eventLogPath ?? '');
  });
  return paths;
}

function parseCheck(config: PlainHealthCheck, path: string): HealthCheckSettings['check'] {
  if (config.httpHealthCheck) return parseHttpCheck(config.httpHealthCheck, `${path}.http_health_check`);
  if (config.tcpHealthCheck) {
    const { send, receive, proxyProtocolConfig } = config.tcpHealthCheck;
    const where = `${path}.tcp_health_check`;
    if (proxyProtocolConfig) throw unsupported('proxy_protocol_config', `${where}.proxy_protocol_config`);
    return {
      kind: 'TCP',
      send: send === undefined ? null : payloadBytes(send, `${where}.send`),
      receive: payloadList(receive, `${where}.receive`),
    };
  }
  if (config.grpcHealthCheck) {
    const { serviceName, authority, initialMetadata } = config.grpcHealthCheck;
    const where = `${path}.grpc_health_check.initial_metadata`;
    return {
      kind: 'GRPC',
      serviceName: serviceName ?? '',
      authority: authority ?? '',
      headers: compileHeaderParser(initialMetadata, [], 'request', where, parseHeaderFormat),
    };
  }
  throw new ConfigError('one of http_health_check, tcp_health_check, grpc_health_check is required', { path });
}

const METHODS_WITH_BODY = ['POST', 'PUT', 'PATCH', 'OPTIONS'];

function parseHttpCheck(config: PlainHttpHealthCheck, path: string): HttpCheckSettings {
  const method = config.method === undefined || config.method === 'METHOD_UNSPECIFIED' ? 'GET' : config.method;
  if (config.send !== undefined && !METHODS_WITH_BODY.includes(method)) {
    throw new ConfigError(`a ${method} request has no body: only ${METHODS_WITH_BODY.join(', ')} have`, { path: `${path}.send` });
  }
  const expected = statusRanges(config.expectedStatuses, `${path}.expected_statuses`, 'expected');
  const retriable = statusRanges(config.retriableStatuses, `${path}.retriable_statuses`, 'retriable');
  const bufferBytes = config.responseBufferSize ?? 1024;
  return {
    kind: 'HTTP',
    host: config.host ?? '',
    path: config.path ?? '/',
    method,
    send: config.send === undefined ? null : payloadBytes(config.send, `${path}.send`),
    receive: payloadList(config.receive, `${path}.receive`),
    responseBufferBytes: bufferBytes === 0 ? MAX_BODY : Math.min(bufferBytes, MAX_BODY),
    headers: compileHeaderParser(config.requestHeadersToAdd, config.requestHeadersToRemove, 'request', path, parseHeaderFormat),
    http2: config.codecClientType === 'HTTP2',
    serviceName:
      config.serviceNameMatcher === undefined
        ? null
        : compileStringMatcher(config.serviceNameMatcher, `${path}.service_name_matcher`),
    isExpected: (status) => (expected.length === 0 ? status === 200 : expected.some((range) => inRange(range, status))),
    isRetriable: (status) => retriable.some((range) => inRange(range, status)),
  };
}

function statusRanges(ranges: readonly Int64RangeConfig[] | undefined, path: string, what: string): readonly Int64RangeConfig[] {
  ranges?.forEach(({ start = 0, end = 0 }, i) => {
    const fail = (reason: string): ConfigError =>
      new ConfigError(`Invalid http ${what} status range: expecting ${reason}`, { path: `${path}[${i}]` });
    if (start >= end) throw fail(`start < end, but found start=${start} and end=${end}`);
    if (start < 100) throw fail(`start >= 100, but found start=${start}`);
    if (end > 600) throw fail(`end <= 600, but found end=${end}`);
  });
  return ranges ?? [];
}
