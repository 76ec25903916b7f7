/**
 * Time series of connections: at acknowledgments, at most once per interval, the windows, times and rates of a connection are written to
 * a ring of fixed size. Off (null in `Tcp.probe`) it costs one comparison per acknowledgment.
 */
import type { TcpConnection } from './connection.ts';

/** Columns of a sample, with their units: the header of the CSV. */
export const PROBE_COLUMNS = [
  'time_us',
  'cwnd_bytes',
  'ssthresh_bytes',
  'in_flight_bytes',
  'srtt_us',
  'rtt_us',
  'delivery_rate_bps',
  'pacing_rate_bps',
  'snd_wnd_bytes',
  'rcv_wnd_bytes',
  'retransmits',
  'acked_bytes',
] as const;

const WIDTH = PROBE_COLUMNS.length;

export interface ProbeOptions {
  intervalUs: number;
  /** Local or remote port of the connections to watch; 0: all. */
  port: number;
  /** Samples kept per connection, the newest. */
  samples: number;
  maxConnections: number;
}

export const DEFAULT_PROBE: ProbeOptions = { intervalUs: 10_000, port: 0, samples: 4096, maxConnections: 64 };

/** The samples of one connection. */
export class ProbeSeries {
  readonly name: string;
  private readonly values: Float64Array;
  private readonly capacity: number;
  private written = 0;
  nextUs = 0;

  constructor(name: string, capacity: number) {
    this.name = name;
    this.capacity = capacity;
    this.values = new Float64Array(capacity * WIDTH);
  }

  add(c: TcpConnection, nowUs: number): void {
    const { values } = this;
    const at = (this.written++ % this.capacity) * WIDTH;
    values[at] = nowUs;
    values[at + 1] = c.cwnd;
    values[at + 2] = c.ssthresh === 0x7fff_ffff ? 0 : c.ssthresh;
    values[at + 3] = c.inFlight;
    values[at + 4] = c.srttUs;
    values[at + 5] = c.rtt.latestUs;
    values[at + 6] = c.deliveryRate * 8e6;
    values[at + 7] = c.pacingRate * 8e6;
    values[at + 8] = c.sndWnd;
    values[at + 9] = c.receiveRoom;
    values[at + 10] = c.retransmits;
    values[at + 11] = c.bytesAcked;
  }

  get count(): number {
    return Math.min(this.written, this.capacity);
  }

  /** In order of time, each with `PROBE_COLUMNS`. */
  rows(): number[][] {
    const { count } = this;
    const first = this.written - count;
    return Array.from({ length: count }, (_, i) => {
      const at = ((first + i) % this.capacity) * WIDTH;
      return Array.from(this.values.subarray(at, at + WIDTH), Math.round);
    });
  }
}

export class TcpProbe {
  readonly options: ProbeOptions;
  readonly series: ProbeSeries[] = [];
  /** Connections that were not watched because there were too many. */
  ignored = 0;
  private readonly byConnection = new WeakMap<TcpConnection, ProbeSeries | null>();

  constructor(options: Partial<ProbeOptions> = {}) {
    this.options = { ...DEFAULT_PROBE, ...options };
  }

  /** An acknowledgment of `c` has been handled. */
  onAck(c: TcpConnection, nowUs: number): void {
    let series = this.byConnection.get(c);
    if (series === undefined) this.byConnection.set(c, (series = this.begin(c)));
    if (series === null || nowUs < series.nextUs) return;
    series.nextUs = nowUs + this.options.intervalUs;
    series.add(c, nowUs);
  }

  /** `c` is over, and its object may become another connection's. */
  forget(c: TcpConnection): void {
    this.byConnection.delete(c);
  }

  private begin(c: TcpConnection): ProbeSeries | null {
    const { port, samples, maxConnections } = this.options;
    if (port !== 0 && c.localPort !== port && c.remotePort !== port) return null;
    if (this.series.length >= maxConnections) {
      this.ignored++;
      return null;
    }
    const series = new ProbeSeries(`${c.local}:${c.localPort}->${c.remote}:${c.remotePort}`, samples);
    this.series.push(series);
    return series;
  }
}
