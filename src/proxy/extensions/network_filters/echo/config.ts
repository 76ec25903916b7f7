/** `envoy.filters.network.echo`: sends back what it receives. */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { type Connection, FilterStatus, type ReadFilter, type ReadFilterCallbacks } from '../../../network/connection.ts';
import type { NetworkFilterConfigFactory } from '../../../server/factory_context.ts';

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.echo.v3.Echo',
  name: 'envoy.filters.network.echo',
  isTerminal: () => true,
  create: () => (connection: Connection) => connection.addReadFilter(new EchoFilter()),
};

class EchoFilter implements ReadFilter {
  private connection!: Connection;

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.connection = callbacks.connection;
  }

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer, endStream: boolean): FilterStatus {
    this.connection.write(data, endStream);
    return FilterStatus.StopIteration;
  }
}
