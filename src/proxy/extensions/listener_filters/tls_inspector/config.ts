/**
 * `envoy.filters.listener.tls_inspector`: tells TLS from plain text, and finds server name and ALPN for filter chain matching.
 *
 * `initial_read_buffer_size` sizes Envoy's peek buffer; bytes are delivered here in blocks, so it has nothing to size.
 * Fingerprints (JA3, JA4) are taken when they are asked for.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Counter, Histogram, Scope } from '../../../../core/stats/stats.ts';
import { type ClientHello, ClientHelloStatus, parseClientHello, parseOffer } from '../../../../core/tls/client_hello.ts';
import { ja3, ja4 } from '../../../../core/tls/fingerprint.ts';
import { ConfigError } from '../../../config/error.ts';
import {
  type ListenerFilter,
  type ListenerFilterCallbacks,
  type ListenerFilterConfigFactory,
  ListenerFilterStatus,
} from '../../../network/listener_filter.ts';
import type { FactoryContext, TypedConfig } from '../../../server/factory_context.ts';

/** `envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector`. */
interface TlsInspectorConfig {
  enableJa3Fingerprinting?: boolean;
  enableJa4Fingerprinting?: boolean;
  maxClientHelloSize?: number;
  closeConnectionOnClientHelloParsingErrors?: boolean;
}

const MAX_CLIENT_HELLO_SIZE = 16 * 1024;
const METADATA_NAMESPACE = 'envoy.filters.listener.tls_inspector';

const COUNTERS = [
  'tls_found',
  'tls_not_found',
  'alpn_found',
  'alpn_not_found',
  'sni_found',
  'sni_not_found',
  'client_hello_too_large',
] as const;
type Stats = Record<(typeof COUNTERS)[number], Counter> & { bytes_processed: Histogram };

export const factory: ListenerFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector',
  name: 'envoy.filters.listener.tls_inspector',
  create(typed: TypedConfig, context: FactoryContext): () => ListenerFilter {
    const config = typed as TlsInspectorConfig;
    const maxSize = config.maxClientHelloSize ?? MAX_CLIENT_HELLO_SIZE;
    if (maxSize > MAX_CLIENT_HELLO_SIZE) {
      throw new ConfigError(`max_client_hello_size of ${maxSize} is greater than maximum of ${MAX_CLIENT_HELLO_SIZE}.`, {
        path: 'max_client_hello_size',
      });
    }
    const closeOnErrors = config.closeConnectionOnClientHelloParsingErrors ?? false;
    const stats = createStats(context.scope);
    const wanted = { ja3: config.enableJa3Fingerprinting ?? false, ja4: config.enableJa4Fingerprinting ?? false };
    return () => new TlsInspector(stats, maxSize, closeOnErrors, wanted);
  },
};

function createStats(root: Scope): Stats {
  const scope = root.scope('tls_inspector.');
  const counters = Object.fromEntries(COUNTERS.map((name) => [name, scope.counter(name)])) as Record<
    (typeof COUNTERS)[number],
    Counter
  >;
  return { ...counters, bytes_processed: scope.histogram('bytes_processed', 'bytes') };
}

class TlsInspector implements ListenerFilter {
  readonly maxReadBytes: number;
  private readonly stats: Stats;
  private readonly closeOnErrors: boolean;
  private readonly wanted: { readonly ja3: boolean; readonly ja4: boolean };
  private callbacks!: ListenerFilterCallbacks;

  constructor(stats: Stats, maxSize: number, closeOnErrors: boolean, wanted: { ja3: boolean; ja4: boolean }) {
    this.stats = stats;
    this.maxReadBytes = maxSize;
    this.closeOnErrors = closeOnErrors;
    this.wanted = wanted;
  }

  onAccept(callbacks: ListenerFilterCallbacks): ListenerFilterStatus {
    this.callbacks = callbacks;
    return ListenerFilterStatus.StopIteration;
  }

  onData(buffer: SliceBuffer): ListenerFilterStatus {
    const bytes = new Uint8Array(Math.min(buffer.length, this.maxReadBytes));
    buffer.copyOut(0, bytes);
    const hello = parseClientHello(bytes);
    if (hello.status === ClientHelloStatus.NeedMore) {
      return bytes.length < this.maxReadBytes ? ListenerFilterStatus.StopIteration : this.onTooLarge(hello);
    }
    this.stats.bytes_processed.recordValue(hello.bytesProcessed);
    return hello.status === ClientHelloStatus.Ok ? this.onFound(hello, bytes) : this.onNotFound(hello);
  }

  private onFound(hello: ClientHello, bytes: Uint8Array): ListenerFilterStatus {
    const { stats, wanted } = this;
    const { socket } = this.callbacks;
    if (hello.serverName !== '') {
      stats.sni_found.inc();
      socket.setRequestedServerName(hello.serverName);
    } else {
      stats.sni_not_found.inc();
    }
    if (hello.applicationProtocols !== null) {
      stats.alpn_found.inc();
      socket.requestedApplicationProtocols = hello.applicationProtocols;
    } else {
      stats.alpn_not_found.inc();
    }
    const offer = wanted.ja3 || wanted.ja4 ? parseOffer(bytes) : null;
    if (offer !== null) socket.helloFingerprints = { ja3: wanted.ja3 ? ja3(offer) : '', ja4: wanted.ja4 ? ja4(offer) : '' };
    stats.tls_found.inc();
    socket.detectedTransportProtocol = 'tls';
    return ListenerFilterStatus.Continue;
  }

  private onNotFound(hello: ClientHello): ListenerFilterStatus {
    if (this.closeOnErrors) {
      return hello.bytesProcessed >= this.maxReadBytes ? this.onTooLarge(hello) : ListenerFilterStatus.Close;
    }
    this.stats.tls_not_found.inc();
    this.callbacks.setDynamicMetadata(METADATA_NAMESPACE, { failure_reason: 'ClientHelloNotDetected' });
    this.callbacks.streamInfo.downstreamTransportFailureReason = `TLS_error|${hello.reason}:TLS_error_end`;
    return ListenerFilterStatus.Continue;
  }

  private onTooLarge(hello: ClientHello): ListenerFilterStatus {
    if (hello.status === ClientHelloStatus.NeedMore) this.stats.bytes_processed.recordValue(hello.bytesProcessed);
    this.stats.client_hello_too_large.inc();
    this.callbacks.setDynamicMetadata(METADATA_NAMESPACE, { failure_reason: 'ClientHelloTooLarge' });
    return ListenerFilterStatus.Close;
  }
}
