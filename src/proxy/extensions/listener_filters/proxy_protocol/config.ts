/**
 * `envoy.filters.listener.proxy_protocol`: takes the PROXY header off the connection and its addresses for the connection's own.
 * TLVs named by `rules` become dynamic metadata. `pass_through_tlvs` and `tlv_location` FILTER_STATE are refused.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import { ConfigError } from '../../../config/error.ts';
import {
  type ListenerFilter,
  type ListenerFilterCallbacks,
  type ListenerFilterConfigFactory,
  ListenerFilterStatus,
} from '../../../network/listener_filter.ts';
import type { FactoryContext, TypedConfig } from '../../../server/factory_context.ts';
import { couldBe, type ProxyHeader, parseProxyHeader, type Tlv } from './header.ts';

/** `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`. */
interface ProxyProtocolConfig {
  rules?: { tlvType: number; onTlvPresent?: { metadataNamespace: string; key: string } }[];
  allowRequestsWithoutProxyProtocol?: boolean;
  passThroughTlvs?: unknown;
  disallowedVersions?: ('V1' | 'V2')[];
  statPrefix?: string;
  tlvLocation?: string;
}

const DEFAULT_NAMESPACE = 'envoy.filters.listener.proxy_protocol';
/** More than any v1 header; a v2 header says itself how long it is. */
const FIRST_READ = 256;

interface Settings {
  readonly rules: ReadonlyMap<number, { namespace: string; key: string }>;
  readonly allowWithout: boolean;
  readonly disallowed: { v1: boolean; v2: boolean };
  readonly stats: Stats;
}

interface VersionStats {
  readonly found: Counter;
  readonly disallowed: Counter;
  readonly error: Counter;
}

interface Stats {
  readonly notFoundAllowed: Counter;
  readonly notFoundDisallowed: Counter;
  readonly v1: VersionStats;
  readonly v2: VersionStats;
}

export const factory: ListenerFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol',
  name: 'envoy.filters.listener.proxy_protocol',
  create(typed: TypedConfig, context: FactoryContext): () => ListenerFilter {
    const config = typed as ProxyProtocolConfig;
    if (config.passThroughTlvs !== undefined) throw unsupported('pass_through_tlvs');
    if (config.tlvLocation !== undefined && config.tlvLocation !== 'DYNAMIC_METADATA') throw unsupported('tlv_location');
    const rules = new Map<number, { namespace: string; key: string }>();
    for (const { tlvType, onTlvPresent } of config.rules ?? []) {
      if (onTlvPresent === undefined) continue;
      rules.set(tlvType, { namespace: onTlvPresent.metadataNamespace || DEFAULT_NAMESPACE, key: onTlvPresent.key });
    }
    const versions = config.disallowedVersions ?? [];
    const settings: Settings = {
      rules,
      allowWithout: config.allowRequestsWithoutProxyProtocol ?? false,
      disallowed: { v1: versions.includes('V1'), v2: versions.includes('V2') },
      stats: createStats(context.scope, config.statPrefix ?? ''),
    };
    return () => new ProxyProtocol(settings);
  },
};

function unsupported(field: string): ConfigError {
  return new ConfigError(`the field '${field}' is not supported`, { path: field });
}

function createStats(root: Scope, prefix: string): Stats {
  const scope = root.scope(prefix === '' ? 'proxy_proto.' : `proxy_proto.${prefix}.`);
  const version = (name: string): VersionStats => ({
    found: scope.counter(`versions.${name}.found`),
    disallowed: scope.counter(`versions.${name}.disallowed`),
    error: scope.counter(`versions.${name}.error`),
  });
  return {
    notFoundAllowed: scope.counter('not_found_allowed'),
    notFoundDisallowed: scope.counter('not_found_disallowed'),
    v1: version('v1'),
    v2: version('v2'),
  };
}

class ProxyProtocol implements ListenerFilter {
  maxReadBytes = FIRST_READ;
  private readonly settings: Settings;
  private callbacks!: ListenerFilterCallbacks;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  onAccept(callbacks: ListenerFilterCallbacks): ListenerFilterStatus {
    this.callbacks = callbacks;
    return ListenerFilterStatus.StopIteration;
  }

  onData(buffer: SliceBuffer): ListenerFilterStatus {
    if (buffer.length < this.maxReadBytes && this.maxReadBytes > FIRST_READ) return ListenerFilterStatus.StopIteration;
    const bytes = new Uint8Array(Math.min(buffer.length, this.maxReadBytes));
    buffer.copyOut(0, bytes);
    const { allowWithout, disallowed, stats } = this.settings;
    if (allowWithout) {
      const { v1, v2 } = couldBe(bytes);
      if (!(v1 && !disallowed.v1) && !(v2 && !disallowed.v2)) {
        stats.notFoundAllowed.inc();
        return ListenerFilterStatus.Continue;
      }
    }
    const header = parseProxyHeader(bytes);
    if ((header.version === 1 && disallowed.v1) || (header.version === 2 && disallowed.v2)) {
      (header.version === 1 ? stats.v1 : stats.v2).disallowed.inc();
      return ListenerFilterStatus.Close;
    }
    switch (header.kind) {
      case 'more':
        return this.wantMore(buffer, header.length);
      case 'error':
        if (header.version === 0) stats.notFoundDisallowed.inc();
        else (header.version === 1 ? stats.v1 : stats.v2).error.inc();
        return ListenerFilterStatus.Close;
      case 'header':
        this.apply(header);
        buffer.drain(header.length);
        (header.version === 1 ? stats.v1 : stats.v2).found.inc();
        return ListenerFilterStatus.Continue;
    }
  }

  private wantMore(buffer: SliceBuffer, length: number): ListenerFilterStatus {
    if (length <= this.maxReadBytes) return ListenerFilterStatus.StopIteration;
    this.maxReadBytes = length;
    return buffer.length < length ? ListenerFilterStatus.StopIteration : this.onData(buffer);
  }

  private apply(header: Extract<ProxyHeader, { kind: 'header' }>): void {
    const { socket } = this.callbacks;
    if (header.source !== null && header.destination !== null) {
      if (header.destination.asString !== socket.localAddress.asString) socket.restoreLocalAddress(header.destination);
      socket.remoteAddress = header.source;
    }
    for (const tlv of header.tlvs) this.note(tlv);
  }

  private note(tlv: Tlv): void {
    const rule = this.settings.rules.get(tlv.type);
    if (rule === undefined) return;
    // Metadata is text: bytes that are not UTF-8 become '!', as in Envoy.
    const text = new TextDecoder().decode(tlv.value).replaceAll('\ufffd', '!');
    this.callbacks.setDynamicMetadata(rule.namespace, { [rule.key]: text });
  }
}
