/**
 * ORIGINAL_DST: the host is where the downstream connection was going before it was redirected, or what a request header says
 * (Envoy: source/extensions/clusters/original_dst). Hosts are made when first wanted and dropped when a whole clean-up interval
 * passes without anybody choosing them. Each worker has its own.
 */
import type { Timer } from '../../core/event/dispatcher.ts';
import { type IpAddress, ipAddress, withPort } from '../network/address.ts';
import type { ClusterInfoImpl } from './cluster_info.ts';
import { HostImpl } from './host.ts';
import type { LoadBalancer } from './lb/load_balancer.ts';
import type { ThreadLocalClusterImpl } from './thread_local_cluster.ts';
import type { LoadBalancerContext } from './upstream.ts';
import type { UpstreamContext } from './upstream_context.ts';

export class OriginalDstLoadBalancer implements LoadBalancer {
  private readonly info: ClusterInfoImpl;
  private readonly context: UpstreamContext;
  private readonly headerName: string;
  private readonly portOverride: number;
  private cluster: ThreadLocalClusterImpl | null = null;
  private timer: Timer | null = null;

  constructor(info: ClusterInfoImpl, context: UpstreamContext) {
    this.info = info;
    this.context = context;
    this.headerName = info.settings.originalDst?.headerName ?? '';
    this.portOverride = info.settings.originalDst?.portOverride ?? 0;
  }

  /** Joins the cluster, whose hosts this balancer makes, and starts cleaning up. */
  attach(cluster: ThreadLocalClusterImpl): void {
    this.cluster = cluster;
    const interval = this.info.settings.originalDst?.cleanupIntervalMs ?? 5000;
    const timer = this.context.dispatcher.createTimer(() => {
      this.cleanup();
      timer.enableTimer(interval);
    });
    timer.enableTimer(interval);
    this.timer = timer;
  }

  update(): void {}

  close(): void {
    this.timer?.disableTimer();
  }

  chooseHost(context: LoadBalancerContext | null): HostImpl | null {
    if (context === null || this.cluster === null) return null;
    const wanted = this.destination(context);
    if (wanted === null) return null;
    const address = this.portOverride === 0 || wanted.port === this.portOverride ? wanted : withPort(wanted, this.portOverride);
    const known = this.cluster.host(address.asString);
    if (known !== undefined) {
      known.used = true;
      return known;
    }
    const host = new HostImpl({ address, hostname: '', ...PLAIN }, this.context.workerIndex);
    this.cluster.addHost(address.asString, host);
    this.info.stats.membershipChange.inc();
    this.info.stats.membershipTotal.inc();
    this.info.stats.membershipHealthy.inc();
    return host;
  }

  private destination(context: LoadBalancerContext): IpAddress | null {
    if (this.headerName !== '') {
      const text = context.downstreamHeaders()?.get(this.headerName);
      if (text !== undefined) {
        const address = parseHostPort(text);
        if (address === null) this.info.stats.originalDstHostInvalid.inc();
        return address;
      }
    }
    const info = context.downstreamConnection()?.streamInfo;
    const local = info?.downstreamLocalAddress;
    const direct = info?.downstreamDirectLocalAddress;
    // Equal addresses: nothing was redirected, and connecting there would come back to us.
    if (local?.kind !== 'ip' || local.asString === direct?.asString) return null;
    return local;
  }

  private cleanup(): void {
    if (this.cluster === null) return;
    const unused: string[] = [];
    for (const [key, host] of this.cluster.hostEntries()) {
      if (!host.used && host.stats.cxActive.value === 0) unused.push(key);
      host.used = false;
    }
    if (unused.length === 0) return;
    this.cluster.removeHosts(unused);
    this.info.stats.membershipChange.inc();
    this.info.stats.membershipTotal.sub(unused.length);
    this.info.stats.membershipHealthy.sub(unused.length);
  }
}

const PLAIN = {
  weight: 1,
  priority: 0,
  locality: { region: '', zone: '', subZone: '' },
  metadata: {},
  canary: false,
  healthStatus: 'UNKNOWN',
} as const;

/** `1.2.3.4:80` or `[::1]:80`; null for anything else. */
export function parseHostPort(text: string): IpAddress | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d{1,5})$/.exec(text.trim());
  if (match === null) return null;
  const port = Number(match[3]);
  if (port > 65535) return null;
  try {
    return ipAddress(match[1] ?? match[2], port);
  } catch {
    return null;
  }
}
