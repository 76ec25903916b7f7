/** Operators on what is known about the stream (Envoy's BuiltInStreamInfoCommandParser). */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { byteText } from '../common/byte_text.ts';
import { ConfigError } from '../config/error.ts';
import { type Address, addressWithoutPort } from '../network/address.ts';
import { RESPONSE_FLAGS, type StreamInfo } from '../stream_info/stream_info.ts';
import { dateFormatter } from './date_formatter.ts';
import { type Operator, type OperatorDefinition, Syntax, simple, type TextValue, truncate } from './operator.ts';
import { METADATA_OPERATORS } from './operators_metadata.ts';
import { TLS_OPERATORS } from './operators_tls.ts';

type Get = (info: StreamInfo) => TextValue;
type GetAddress = (info: StreamInfo) => Address | null;

export const STREAM_INFO_OPERATORS: Record<string, OperatorDefinition> = {
  START_TIME: time((info) => info.startTimeMs, false),
  START_TIME_LOCAL: time((info) => info.startTimeMs, true),
  EMIT_TIME: time(() => Date.now(), false),
  EMIT_TIME_LOCAL: time(() => Date.now(), true),

  DURATION: duration((info) => info.endMonotonicMs),
  REQUEST_DURATION: duration((info) => info.lastDownstreamRxByteMs),
  REQUEST_TX_DURATION: duration((info) => info.lastUpstreamTxByteMs),
  RESPONSE_DURATION: duration((info) => info.firstUpstreamRxByteMs),
  RESPONSE_TX_DURATION: simple((_, info) => elapsed(info.firstUpstreamRxByteMs, info.lastDownstreamTxByteMs, 1e6)),
  UPSTREAM_CONNECTION_POOL_READY_DURATION: duration((info) => info.upstreamPoolReadyMs),
  COMMON_DURATION: { syntax: Syntax.ParamsRequired, create: commonDuration },
  DOWNSTREAM_HANDSHAKE_DURATION: duration((info) => info.downstreamHandshakeCompleteMs),
  ROUNDTRIP_DURATION: simple(() => undefined),

  BYTES_RECEIVED: of((info) => info.bytesReceived),
  BYTES_SENT: of((info) => info.bytesSent),
  BYTES_RETRANSMITTED: of(() => 0),
  PACKETS_RETRANSMITTED: of(() => 0),
  UPSTREAM_WIRE_BYTES_RECEIVED: of((info) => info.upstreamWireBytesReceived),
  UPSTREAM_WIRE_BYTES_SENT: of((info) => info.upstreamWireBytesSent),
  UPSTREAM_HEADER_BYTES_RECEIVED: of((info) => info.upstreamHeaderBytesReceived),
  UPSTREAM_HEADER_BYTES_SENT: of((info) => info.upstreamHeaderBytesSent),
  UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED: of((info) => info.upstreamHeaderBytesReceived),
  UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT: of((info) => info.upstreamHeaderBytesSent),
  DOWNSTREAM_WIRE_BYTES_RECEIVED: of((info) => info.downstreamWireBytesReceived),
  DOWNSTREAM_WIRE_BYTES_SENT: of((info) => info.downstreamWireBytesSent),
  DOWNSTREAM_HEADER_BYTES_RECEIVED: of((info) => info.downstreamHeaderBytesReceived),
  DOWNSTREAM_HEADER_BYTES_SENT: of((info) => info.downstreamHeaderBytesSent),
  DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED: of((info) => info.downstreamHeaderBytesReceived),
  DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT: of((info) => info.downstreamHeaderBytesSent),
  PROTOCOL: of((info) => some(info.protocol)),
  UPSTREAM_PROTOCOL: of((info) => some(info.upstreamProtocol)),

  RESPONSE_CODE: of((info) => info.responseCode),
  RESPONSE_CODE_DETAILS: { syntax: Syntax.ParamsOptional, create: responseCodeDetails },
  CONNECTION_TERMINATION_DETAILS: of((info) => some(info.connectionTerminationDetails)),
  RESPONSE_FLAGS: of((info) => flagsText(info.responseFlags, SHORT_FLAGS)),
  RESPONSE_FLAGS_LONG: of((info) => flagsText(info.responseFlags, LONG_FLAGS)),
  CUSTOM_FLAGS: of(() => ''),

  UPSTREAM_HOST: of((info) => info.upstreamHost?.address.asString),
  UPSTREAM_HOST_NAME: of((info) => hostName(info)),
  UPSTREAM_HOST_NAME_WITHOUT_PORT: of((info) => hostName(info)?.replace(/:[0-9]+$/, '')),
  UPSTREAM_CLUSTER: of((info) => some(info.upstreamClusterObservableName) ?? some(info.upstreamClusterName)),
  UPSTREAM_CLUSTER_RAW: of((info) => some(info.upstreamClusterName)),
  UPSTREAM_CONNECTION_ID: of((info) => info.upstreamConnectionId),
  UPSTREAM_REQUEST_ATTEMPT_COUNT: of((info) => info.attemptCount),
  UPSTREAM_TRANSPORT_FAILURE_REASON: of((info) => some(info.upstreamTransportFailureReason.replaceAll(' ', '_'))),
  ...addresses('UPSTREAM_LOCAL', (info) => info.upstreamLocalAddress),
  ...addresses('UPSTREAM_REMOTE', (info) => info.upstreamRemoteAddress),

  ...addresses('DOWNSTREAM_LOCAL', (info) => info.downstreamLocalAddress),
  ...addresses('DOWNSTREAM_DIRECT_LOCAL', (info) => info.downstreamDirectLocalAddress),
  ...addresses('DOWNSTREAM_REMOTE', (info) => info.downstreamRemoteAddress),
  ...addresses('DOWNSTREAM_DIRECT_REMOTE', (info) => info.downstreamDirectRemoteAddress),
  DOWNSTREAM_TRANSPORT_FAILURE_REASON: of((info) => some(info.downstreamTransportFailureReason.replaceAll(' ', '_'))),
  CONNECTION_ID: of((info) => info.connectionId),
  REQUESTED_SERVER_NAME: of((info) => some(info.requestedServerName.replace(/[^A-Za-z0-9.-]/g, '_'))),

  ROUTE_NAME: of((info) => some(info.routeName)),
  VIRTUAL_CLUSTER_NAME: of((info) => some(info.virtualClusterName)),
  FILTER_CHAIN_NAME: of((info) => some(info.filterChainName)),
  HOSTNAME: { syntax: Syntax.CommandOnly, create: () => constant(hostname()) },
  ENVIRONMENT: {
    syntax: Syntax.ParamsRequired | Syntax.LengthAllowed,
    create: (name, maxLength) => constant(truncate(byteText(process.env[name] ?? '-'), maxLength)),
  },
  UNIQUE_ID: simple(() => randomUUID()),
  STREAM_ID: of((info) => some(info.streamId)),
  ...METADATA_OPERATORS,
  ...TLS_OPERATORS,
};

function of(get: Get): OperatorDefinition {
  return simple((_, info) => get(info));
}

/** '' stands for "not known" in StreamInfo. */
function some(text: string): string | undefined {
  return text === '' ? undefined : text;
}

function constant(text: string): Operator {
  return { text: () => text };
}

function time(get: (info: StreamInfo) => number, local: boolean): OperatorDefinition {
  return {
    syntax: Syntax.ParamsOptional,
    create(params) {
      const date = dateFormatter(byteText(params), local);
      return {
        text: (_, info) => date.format(get(info)),
        append(out, _, info) {
          date.append(out, get(info));
          return true;
        },
      };
    },
  };
}

/** From the start of the stream, in whole ms. */
function duration(end: (info: StreamInfo) => number): OperatorDefinition {
  return simple((_, info) => elapsed(info.startMonotonicMs, end(info), 1e6));
}

/** Whole units of so many ns between two moments; undefined when one has not come. */
function elapsed(startMs: number, endMs: number, unitNs: number): number | undefined {
  if (startMs < 0 || endMs < 0 || endMs < startMs) return undefined;
  return Math.floor(Math.round((endMs - startMs) * 1e6) / unitNs);
}

const TIME_POINTS: Record<string, (info: StreamInfo) => number> = {
  DS_RX_BEG: (info) => info.startMonotonicMs,
  DS_RX_END: (info) => info.lastDownstreamRxByteMs,
  US_CX_BEG: (info) => info.upstreamConnectStartMs,
  US_CX_END: (info) => info.upstreamConnectCompleteMs,
  US_HS_END: (info) => info.upstreamHandshakeCompleteMs,
  US_TX_BEG: (info) => info.firstUpstreamTxByteMs,
  US_TX_END: (info) => info.lastUpstreamTxByteMs,
  US_RX_BEG: (info) => info.firstUpstreamRxByteMs,
  US_RX_END: (info) => info.lastUpstreamRxByteMs,
  DS_TX_BEG: (info) => info.firstDownstreamTxByteMs,
  DS_TX_END: (info) => info.lastDownstreamTxByteMs,
};
/** US_RX_BODY_BEG and names that filters would set: moments that never come here. */
const NEVER = (): number => -1;

const PRECISIONS: Record<string, number> = { ms: 1e6, us: 1e3, ns: 1 };

function commonDuration(params: string): Operator {
  const parts = params.split(':');
  if (parts.length < 2 || parts.length > 3) throw new ConfigError(`Invalid common duration configuration: ${params}.`);
  const unitNs = Object.hasOwn(PRECISIONS, parts[2] ?? 'ms') ? PRECISIONS[parts[2] ?? 'ms'] : 0;
  if (unitNs === 0) throw new ConfigError(`Invalid common duration precision: ${parts[2]}.`);
  const start = Object.hasOwn(TIME_POINTS, parts[0]) ? TIME_POINTS[parts[0]] : NEVER;
  const end = Object.hasOwn(TIME_POINTS, parts[1]) ? TIME_POINTS[parts[1]] : NEVER;
  return { text: (_, info) => elapsed(start(info), end(info), unitNs) };
}

function responseCodeDetails(params: string): Operator {
  const keep = params === 'ALLOW_WHITESPACES';
  return {
    text: (_, info) => {
      const details = info.responseCodeDetails;
      if (details === '') return undefined;
      return keep ? details : details.replace(/[ \t\n\v\f\r]/g, '_');
    },
  };
}

const SHORT_FLAGS = Object.values(RESPONSE_FLAGS).map(([, short]) => short as string);
const LONG_FLAGS = Object.keys(RESPONSE_FLAGS);

function flagsText(flags: number, names: readonly string[]): string {
  if (flags === 0) return '-';
  let text = '';
  for (let bit = 0; bit < names.length; bit++)
    if ((flags & (1 << bit)) !== 0) text += text === '' ? names[bit] : `,${names[bit]}`;
  return text;
}

function hostName(info: StreamInfo): string | undefined {
  const host = info.upstreamHost;
  if (host === null) return undefined;
  return host.hostname === '' ? host.address.asString : host.hostname;
}

function addresses(name: string, get: GetAddress): Record<string, OperatorDefinition> {
  return {
    [`${name}_ADDRESS`]: of((info) => get(info)?.asString),
    [`${name}_ADDRESS_WITHOUT_PORT`]: of((info) => {
      const address = get(info);
      return address === null ? undefined : addressWithoutPort(address);
    }),
    [`${name}_PORT`]: of((info) => {
      const address = get(info);
      return address?.kind === 'ip' ? address.port : undefined;
    }),
  };
}
