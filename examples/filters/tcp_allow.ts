/** A network filter before tcp_proxy: asks a service whether a client may connect, and counts the bytes of those that may. */
import { type Body, type Host, type Infer, NetworkFilter, schema } from 'sluice/filter';

const config = schema.object({ cluster: schema.string(), path: schema.string().default('/allow') });
type Config = Infer<typeof config>;

interface Metrics {
  readonly received: { add(amount: number): void };
  readonly refused: { inc(): void };
}

export default class TcpAllow extends NetworkFilter<Config, Metrics> {
  static readonly schema = config;

  static setup(host: Host<Config>): Metrics {
    return { received: host.counter('bytes_received'), refused: host.counter('refused') };
  }

  override async onNewConnection(): Promise<void> {
    const { cluster, path } = this.config;
    const answer = await this.connection.call(cluster, { path: `${path}?client=${this.connection.remoteIp}` });
    if (answer.status === 200) return;
    this.shared.refused.inc();
    this.connection.close('not_allowed');
  }

  override onData(data: Body): void {
    this.shared.received.add(data.length);
  }
}
