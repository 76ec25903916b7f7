/** `envoy.filters.listener.http_inspector`: finds the HTTP version of plain-text connections for filter chain matching. */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import {
  type ListenerFilter,
  type ListenerFilterCallbacks,
  type ListenerFilterConfigFactory,
  ListenerFilterStatus,
} from '../../../network/listener_filter.ts';
import type { FactoryContext, TypedConfig } from '../../../server/factory_context.ts';
import { Detected, RequestLineDetector } from './request_line.ts';

/** The longest request line that is waited for. */
const MAX_INSPECT_SIZE = 64 * 1024;

const COUNTERS = ['http10_found', 'http11_found', 'http2_found', 'http_not_found', 'read_error'] as const;
type Stats = Record<(typeof COUNTERS)[number], Counter>;

export const factory: ListenerFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector',
  name: 'envoy.filters.listener.http_inspector',
  create(_config: TypedConfig, context: FactoryContext): () => ListenerFilter {
    const stats = createStats(context.scope);
    return () => new HttpInspector(stats);
  },
};

function createStats(root: Scope): Stats {
  const scope = root.scope('http_inspector.');
  return Object.fromEntries(COUNTERS.map((name) => [name, scope.counter(name)])) as Stats;
}

class HttpInspector implements ListenerFilter {
  readonly maxReadBytes = MAX_INSPECT_SIZE;
  private readonly stats: Stats;
  private readonly detector = new RequestLineDetector();
  private inspected = 0;
  private callbacks!: ListenerFilterCallbacks;

  constructor(stats: Stats) {
    this.stats = stats;
  }

  onAccept(callbacks: ListenerFilterCallbacks): ListenerFilterStatus {
    const transport = callbacks.socket.detectedTransportProtocol;
    if (transport !== '' && transport !== 'raw_buffer') return ListenerFilterStatus.Continue;
    this.callbacks = callbacks;
    return ListenerFilterStatus.StopIteration;
  }

  onData(buffer: SliceBuffer): ListenerFilterStatus {
    const detected = this.inspect(buffer);
    switch (detected) {
      case Detected.NeedMore:
        if (this.inspected < MAX_INSPECT_SIZE) return ListenerFilterStatus.StopIteration;
        this.stats.read_error.inc();
        return ListenerFilterStatus.Close;
      case Detected.NotHttp:
        this.stats.http_not_found.inc();
        return ListenerFilterStatus.Continue;
      case Detected.Http10:
        return this.found(this.stats.http10_found, 'http/1.0');
      case Detected.Http11:
        return this.found(this.stats.http11_found, 'http/1.1');
      case Detected.Http2:
        return this.found(this.stats.http2_found, 'h2c');
    }
  }

  private found(counter: Counter, protocol: string): ListenerFilterStatus {
    counter.inc();
    this.callbacks.socket.requestedApplicationProtocols = [protocol];
    return ListenerFilterStatus.Continue;
  }

  /** Feeds what is new since the last call. */
  private inspect(buffer: SliceBuffer): Detected {
    const bytes = buffer.slab.u8;
    let skip = this.inspected;
    for (let i = 0; i < buffer.slices; i++) {
      const length = buffer.lengthAt(i);
      const offset = buffer.offsetAt(i);
      for (let at = Math.min(skip, length); at < length && this.inspected < MAX_INSPECT_SIZE; at++) {
        this.inspected++;
        const detected = this.detector.push(bytes[offset + at]);
        if (detected !== Detected.NeedMore) return detected;
      }
      skip = Math.max(0, skip - length);
    }
    return Detected.NeedMore;
  }
}
