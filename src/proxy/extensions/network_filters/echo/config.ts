/** `envoy.filters.network.echo`: sends back what it receives, to the end: a client that is done sending still gets all of it. */
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
    this.connection.enableHalfClose(true);
  }

  onNewConnection(): FilterStatus {
    return FilterStatus.Continue;
  }

  onData(data: SliceBuffer, endStream: boolean): FilterStatus {
    this.connection.write(data, endStream);
    return FilterStatus.StopIteration;
  }
}
