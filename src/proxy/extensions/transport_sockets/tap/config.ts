/**
 * `envoy.transport_sockets.tap`, for debugging: what each connection said goes to a file of its own when it ends,
 * `<path_prefix>_<trace id>.json`. Static configuration only, matching everything, one file sink with JSON bodies, buffered; all else is refused.
 */
import { writeFile } from 'node:fs';
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import { ConfigError } from '../../../config/error.ts';
import type { IoHandle } from '../../../network/io_handle.ts';
import type { ConnectionAddresses, TransportSocketFactory, TransportSocketOptions } from '../../../network/transport_socket.ts';
import {
  createTransportSocketFactory,
  type TransportSocketConfigFactory,
  type TransportSocketContext,
  type TransportSocketMessage,
} from '../../../network/transport_socket_config.ts';
import type { TypedConfig } from '../../../server/factory_context.ts';
import { StartTlsSocket } from '../starttls/starttls_socket.ts';
import { SocketTrace, type TraceSettings } from './socket_trace.ts';
import { TapSocket, type TraceSink } from './tap_socket.ts';

interface TapConfig {
  commonConfig?: {
    staticConfig?: {
      match?: { anyMatch?: boolean };
      matchConfig?: { anyMatch?: boolean };
      outputConfig?: {
        sinks?: readonly { format?: string; filePerTap?: { pathPrefix: string } }[];
        maxBufferedRxBytes?: number;
        maxBufferedTxBytes?: number;
      };
    };
  };
  transportSocket?: TransportSocketMessage;
}

type Find = (typeName: string) => TransportSocketConfigFactory | undefined;

const DEFAULT_BYTES = 1024;
/** Trace ids of workers do not meet. */
const IDS_PER_WORKER = 1e12;
let made = 0;

/** `find`: what may be tapped. */
export function createTapFactory(isServer: boolean, find: Find): TransportSocketConfigFactory {
  return {
    typeName: 'envoy.extensions.transport_sockets.tap.v3.Tap',
    name: 'envoy.transport_sockets.tap',
    create: (config: TypedConfig, context: TransportSocketContext) =>
      new TapSocketFactory(config as TapConfig, context, isServer, find),
  };
}

class TapSocketFactory implements TransportSocketFactory {
  readonly secure: boolean;
  readonly verifiesPeer: boolean;
  private readonly inner: TransportSocketFactory | null;
  private readonly isServer: boolean;
  private readonly settings: TraceSettings;
  private readonly sink: TraceSink;

  /** Throws ConfigError. */
  constructor(config: TapConfig, context: TransportSocketContext, isServer: boolean, find: Find) {
    const output = config.commonConfig?.staticConfig?.outputConfig;
    const sinks = output?.sinks ?? [];
    const at = 'common_config.static_config';
    const match = config.commonConfig?.staticConfig?.match ?? config.commonConfig?.staticConfig?.matchConfig;
    if (match?.anyMatch !== true) throw new ConfigError('only any_match: true can be matched', { path: `${at}.match` });
    const prefix = sinks[0]?.filePerTap?.pathPrefix;
    if (sinks.length !== 1 || prefix === undefined)
      throw new ConfigError('one sink, file_per_tap, is needed', { path: `${at}.output_config.sinks` });
    this.settings = {
      maxRxBytes: output?.maxBufferedRxBytes ?? DEFAULT_BYTES,
      maxTxBytes: output?.maxBufferedTxBytes ?? DEFAULT_BYTES,
      asString: sinks[0].format === 'JSON_BODY_AS_STRING',
    };
    this.isServer = isServer;
    try {
      this.inner = createTransportSocketFactory(config.transportSocket, find, context);
    } catch (error) {
      if (!(error instanceof ConfigError) || error.file !== undefined) throw error;
      throw new ConfigError(error.reason, { path: error.path === '' ? 'transport_socket' : `transport_socket.${error.path}` });
    }
    this.secure = this.inner?.secure ?? false;
    this.verifiesPeer = this.inner?.verifiesPeer ?? false;
    this.sink = (trace, local, remote) => {
      const id = context.workerIndex * IDS_PER_WORKER + made++;
      writeFile(`${prefix}_${id}.json`, trace.toJson(id, local, remote), { mode: 0o600 }, (error) => {
        if (error !== null) context.logger.warn(`tap: ${error.message}`);
      });
    };
  }

  create(
    dispatcher: Dispatcher,
    handle: IoHandle,
    options: TransportSocketOptions | null,
    addresses: ConnectionAddresses | null,
  ): TapSocket {
    // Plain text is TLS that is never started.
    const inner =
      this.inner === null
        ? new StartTlsSocket(dispatcher, handle, this.isServer, null)
        : this.inner.create(dispatcher, handle, options, addresses);
    return new TapSocket(dispatcher, inner, new SocketTrace(this.settings), this.sink);
  }
}
