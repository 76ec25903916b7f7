/**
 * `envoy.stat_sinks.statsd`, `dog_statsd` and `graphite_statsd` over UDP: at every flush counters as what was added since the last one, gauges as they
 * are, histograms as the quantiles of the interval that timers of statsd would give (P50, P90, P95, P99) and their count.
 *
 * Envoy sends each recorded value as a timer; here values are merged in shared memory first, so that no request pays for a sink. Left out, refused:
 * `tcp_cluster_name`.
 */
import { createSocket, type Socket } from 'node:dgram';
import type { Store } from '../../../core/stats/store.ts';
import type { Tag } from '../../../core/stats/tags.ts';
import { ConfigError } from '../../config/error.ts';

export interface StatsSink {
  flush(store: Store): void;
  close(): void;
}

interface SinkConfig {
  '@type': string;
  address?: { socketAddress?: { address: string; portValue?: number } };
  tcpClusterName?: string;
  prefix?: string;
  maxBytesPerDatagram?: number;
}

/** How tags are written: not at all, behind the value, or in the name. */
type TagStyle = 'none' | 'dog' | 'graphite';

const STYLES: Readonly<Record<string, TagStyle>> = {
  'envoy.config.metrics.v3.StatsdSink': 'none',
  'envoy.config.metrics.v3.DogStatsdSink': 'dog',
  'envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink': 'graphite',
};
const QUANTILES = [
  ['P50', 0.5],
  ['P90', 0.9],
  ['P95', 0.95],
  ['P99', 0.99],
] as const;
/** Lines are gathered into datagrams; without a limit each has its own, as in Envoy. */
const ONE_LINE = 1;

/** Throws ConfigError with a path below the message. Opens nothing yet. */
export function createStatsdSink(config: SinkConfig): StatsSink {
  const style = STYLES[config['@type']];
  if (style === undefined) throw new ConfigError(`there is no such stats sink`);
  if (config.tcpClusterName !== undefined && config.tcpClusterName !== '')
    throw new ConfigError('is not supported by Sluice yet', { path: 'tcp_cluster_name' });
  const socket = config.address?.socketAddress;
  if (socket === undefined) throw new ConfigError('socket_address must be set', { path: 'address' });
  const prefix = config.prefix === undefined || config.prefix === '' ? 'envoy' : config.prefix;
  return new StatsdSink(style, socket.address, socket.portValue ?? 0, prefix, config.maxBytesPerDatagram ?? ONE_LINE);
}

class StatsdSink implements StatsSink {
  private readonly style: TagStyle;
  private readonly host: string;
  private readonly port: number;
  private readonly prefix: string;
  private readonly maxBytes: number;
  private readonly last = new Map<string, number>();
  private socket: Socket | null = null;
  private datagram = '';

  constructor(style: TagStyle, host: string, port: number, prefix: string, maxBytes: number) {
    this.style = style;
    this.host = host;
    this.port = port;
    this.prefix = prefix;
    this.maxBytes = maxBytes;
  }

  flush(store: Store): void {
    for (const { name, value, used } of store.allCounters()) {
      const before = this.last.get(name) ?? 0;
      // After /reset_counters it counts from 0 again.
      const delta = value >= before ? value - before : value;
      if (value !== before) this.last.set(name, value);
      if (used && delta > 0) this.line(store, name, delta, 'c');
    }
    for (const { name, value, used } of store.allGauges()) if (used) this.line(store, name, value, 'g');
    for (const { name, unit, interval } of store.allHistograms()) {
      if (interval.sampleCount === 0) continue;
      this.line(store, `${name}.count`, interval.sampleCount, 'c');
      for (const [suffix, q] of QUANTILES) {
        const value = interval.quantile(q);
        this.line(store, `${name}.${suffix}`, Math.round(unit === 'microseconds' ? value / 1000 : value), 'ms');
      }
    }
    this.send();
  }

  close(): void {
    this.socket?.close();
    this.socket = null;
  }

  private line(store: Store, name: string, value: number, type: 'c' | 'g' | 'ms'): void {
    const line = this.style === 'none' ? `${this.prefix}.${name}:${value}|${type}` : this.tagged(store, name, value, type);
    if (this.datagram !== '' && this.datagram.length + 1 + line.length > this.maxBytes) this.send();
    this.datagram = this.datagram === '' ? line : `${this.datagram}\n${line}`;
  }

  private tagged(store: Store, name: string, value: number, type: string): string {
    const { tagExtractedName, tags } = store.tagProducer.produce(name);
    const written = (equals: string): string[] => tags.map((tag: Tag) => `${tag.name}${equals}${tag.value}`);
    if (this.style === 'graphite') {
      const suffix = tags.length === 0 ? '' : `;${written('=').join(';')}`;
      return `${this.prefix}.${tagExtractedName}${suffix}:${value}|${type}`;
    }
    const suffix = tags.length === 0 ? '' : `|#${written(':').join(',')}`;
    return `${this.prefix}.${tagExtractedName}:${value}|${type}${suffix}`;
  }

  private send(): void {
    if (this.datagram === '') return;
    const text = this.datagram;
    this.datagram = '';
    this.socket ??= this.open();
    // What cannot be sent is lost, as datagrams are.
    this.socket.send(text, this.port, this.host, () => {});
  }

  private open(): Socket {
    const socket = createSocket(this.host.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', () => {});
    socket.unref();
    return socket;
  }
}
