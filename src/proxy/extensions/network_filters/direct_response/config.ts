/** `envoy.filters.network.direct_response`: sends fixed bytes to whoever connects, and closes. */
import { readFileSync } from 'node:fs';
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { ConfigError } from '../../../config/error.ts';
import type { DataSource, DirectResponseConfig } from '../../../config/types.gen.ts';
import {
  type Connection,
  ConnectionCloseType,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/connection.ts';
import type { NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.direct_response.v3.Config',
  name: 'envoy.filters.network.direct_response',
  isTerminal: () => true,
  create(config: TypedConfig) {
    const { response } = config as unknown as DirectResponseConfig;
    const body = response === undefined ? new Uint8Array(0) : readDataSource(response);
    return (connection: Connection) => connection.addReadFilter(new DirectResponseFilter(body));
  },
};

/** Files and environment variables are read when the configuration is. */
function readDataSource(source: DataSource): Uint8Array {
  if (source.inlineString !== undefined) return Buffer.from(source.inlineString, 'utf8');
  if (source.inlineBytes !== undefined) return source.inlineBytes;
  if (source.environmentVariable !== undefined) {
    const value = process.env[source.environmentVariable];
    if (value === undefined) {
      throw new ConfigError(`Environment variable doesn't exist: ${source.environmentVariable}`, {
        path: 'response.environment_variable',
      });
    }
    return Buffer.from(value, 'utf8');
  }
  if (source.filename === undefined) return new Uint8Array(0);
  try {
    return readFileSync(source.filename);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`unable to read file: ${source.filename} (${reason})`, { path: 'response.filename' });
  }
}

class DirectResponseFilter implements ReadFilter {
  private readonly body: Uint8Array;
  private connection!: Connection;

  constructor(body: Uint8Array) {
    this.body = body;
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.connection = callbacks.connection;
  }

  onNewConnection(): FilterStatus {
    const { connection } = this;
    connection.streamInfo.responseCodeDetails = 'direct_response';
    if (this.body.length > 0) {
      const data = new SliceBuffer(connection.dispatcher.slab);
      data.append(this.body);
      connection.write(data, true);
    }
    connection.close(ConnectionCloseType.FlushWrite);
    return FilterStatus.StopIteration;
  }

  onData(data: SliceBuffer): FilterStatus {
    data.clear();
    return FilterStatus.StopIteration;
  }
}
