/** What configuration can name as a transport socket: factories of factories, found by message type. */
import type { Scope } from '../../core/stats/stats.ts';
import { ConfigError } from '../config/error.ts';
import type { Logger, TypedConfig } from '../server/factory_context.ts';
import type { SecretStore } from './secrets.ts';
import type { TransportSocketFactory } from './transport_socket.ts';

export interface TransportSocketContext {
  /** Of the listener or cluster: `ssl.` is added to it. */
  readonly statsScope: Scope;
  readonly workerIndex: number;
  readonly logger: Logger;
  /** Absent: there are none to name. */
  readonly secrets?: SecretStore;
  /** Runs when the listener or cluster is gone. */
  onDestroy(callback: () => void): void;
}

export interface TransportSocketConfigFactory {
  readonly typeName: string;
  readonly name: string;
  /** Null: plain text, nothing stands in between. Throws ConfigError. */
  create(config: TypedConfig, context: TransportSocketContext): TransportSocketFactory | null;
}

export interface TransportSocketMessage {
  name: string;
  typedConfig?: { '@type': string };
}

const RAW_BUFFER_NAME = 'envoy.transport_sockets.raw_buffer';

/** The factory that a `transport_socket` field describes; null for plain text. Throws ConfigError. */
export function createTransportSocketFactory(
  message: TransportSocketMessage | undefined,
  find: (typeName: string) => TransportSocketConfigFactory | undefined,
  context: TransportSocketContext,
): TransportSocketFactory | null {
  if (message === undefined) return null;
  const type = message.typedConfig?.['@type'];
  if (type === undefined && message.name === RAW_BUFFER_NAME) return null;
  const factory = type === undefined ? undefined : find(type);
  if (factory === undefined || message.typedConfig === undefined) {
    throw new ConfigError(`the transport socket '${message.name}' with type URL '${type ?? ''}' is not supported`);
  }
  try {
    return factory.create(message.typedConfig as TypedConfig, context);
  } catch (error) {
    if (!(error instanceof ConfigError) || error.file !== undefined) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? 'typed_config' : `typed_config.${error.path}` });
  }
}
