/** From `envoy.config.core.v3.Http2ProtocolOptions` to what codec and keepalive take. */
import { ConfigError } from '../../config/error.ts';
import { MAX_TABLE_BYTES } from './hpack_decoder.ts';
import type { KeepaliveSettings } from './keepalive.ts';
import { DEFAULT_HTTP2_SETTINGS, type Http2Settings, http2Settings } from './settings.ts';

/** Plain form of the message: durations in ms. */
export interface PlainHttp2ProtocolOptions {
  hpackTableSize?: number;
  maxConcurrentStreams?: number;
  initialStreamWindowSize?: number;
  initialConnectionWindowSize?: number;
  allowConnect?: boolean;
  maxOutboundFrames?: number;
  maxOutboundControlFrames?: number;
  maxConsecutiveInboundFramesWithEmptyPayload?: number;
  maxInboundPriorityFramesPerStream?: number;
  maxInboundWindowUpdateFramesPerDataFrameSent?: number;
  streamErrorOnInvalidHttpMessaging?: boolean;
  overrideStreamErrorOnInvalidHttpMessage?: boolean;
  customSettingsParameters?: { identifier?: number; value?: number }[];
  connectionKeepalive?: {
    interval?: number;
    timeout?: number;
    intervalJitter?: { value?: number };
    connectionIdleInterval?: number;
  };
}

/** `path` is where the message stands; `rest` comes from elsewhere in the configuration. */
export function http2SettingsOf(
  options: PlainHttp2ProtocolOptions | undefined,
  path: string,
  rest: Partial<Http2Settings>,
): Http2Settings {
  const defaults = DEFAULT_HTTP2_SETTINGS;
  const hpackTableSize = options?.hpackTableSize ?? defaults.hpackTableSize;
  if (hpackTableSize > MAX_TABLE_BYTES) {
    throw new ConfigError(`hpack_table_size above ${MAX_TABLE_BYTES} is not supported by Sluice yet`, {
      path: `${path}.hpack_table_size`,
    });
  }
  return http2Settings({
    hpackTableSize,
    maxConcurrentStreams: options?.maxConcurrentStreams ?? defaults.maxConcurrentStreams,
    initialStreamWindowSize: options?.initialStreamWindowSize ?? defaults.initialStreamWindowSize,
    initialConnectionWindowSize: options?.initialConnectionWindowSize ?? defaults.initialConnectionWindowSize,
    allowConnect: options?.allowConnect ?? false,
    maxOutboundFrames: options?.maxOutboundFrames ?? defaults.maxOutboundFrames,
    maxOutboundControlFrames: options?.maxOutboundControlFrames ?? defaults.maxOutboundControlFrames,
    maxConsecutiveInboundFramesWithEmptyPayload:
      options?.maxConsecutiveInboundFramesWithEmptyPayload ?? defaults.maxConsecutiveInboundFramesWithEmptyPayload,
    maxInboundPriorityFramesPerStream: options?.maxInboundPriorityFramesPerStream ?? defaults.maxInboundPriorityFramesPerStream,
    maxInboundWindowUpdateFramesPerDataFrameSent:
      options?.maxInboundWindowUpdateFramesPerDataFrameSent ?? defaults.maxInboundWindowUpdateFramesPerDataFrameSent,
    customSettings: customSettings(options, path),
    ...rest,
    streamErrorOnInvalidHttpMessage:
      options?.overrideStreamErrorOnInvalidHttpMessage ??
      options?.streamErrorOnInvalidHttpMessaging ??
      rest.streamErrorOnInvalidHttpMessage ??
      false,
  });
}

/** Settings that have a field of their own (RFC 9113 6.5.2, RFC 8441). */
const LAST_NAMED = 8;

function customSettings(options: PlainHttp2ProtocolOptions | undefined, path: string): [number, number][] {
  return (options?.customSettingsParameters ?? []).map(({ identifier, value }, i) => {
    if (identifier === undefined || identifier <= LAST_NAMED || identifier > 0xffff) {
      throw new ConfigError('a custom SETTINGS parameter needs an identifier from 9 to 65535: the others have their own fields', {
        path: `${path}.custom_settings_parameters[${i}].identifier`,
      });
    }
    return [identifier, value ?? 0];
  });
}

/** Null: no PINGs. */
export function keepaliveOf(options: PlainHttp2ProtocolOptions | undefined): KeepaliveSettings | null {
  const keepalive = options?.connectionKeepalive;
  if (keepalive === undefined) return null;
  const intervalMs = keepalive.interval ?? 0;
  const idleIntervalMs = keepalive.connectionIdleInterval ?? 0;
  if (intervalMs === 0 && idleIntervalMs === 0) return null;
  return {
    intervalMs,
    timeoutMs: keepalive.timeout ?? 0,
    jitter: (keepalive.intervalJitter?.value ?? 15) / 100,
    idleIntervalMs,
  };
}
