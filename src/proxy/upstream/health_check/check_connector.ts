/**
 * Connections of active checks: through the cluster's transport socket, socket interface and socket options, to the endpoint's address for
 * checks (Envoy: HostImpl::createHealthCheckConnection). They are in no pool and in none of the cluster's `upstream_cx` stats.
 */
import { type Address, ipAddress } from '../../network/address.ts';
import type { Connection } from '../../network/connection.ts';
import type { TransportSocketFactory } from '../../network/transport_socket.ts';
import type { ClusterInfoImpl } from '../cluster_info.ts';
import type { HostDescription } from '../host_update.ts';
import type { UpstreamContext } from '../upstream_context.ts';
import type { HealthCheckSettings } from './health_check_settings.ts';

export class CheckConnector {
  readonly context: UpstreamContext;
  readonly cluster: ClusterInfoImpl;
  private readonly settings: HealthCheckSettings;
  /** What is offered by ALPN when configuration says nothing. */
  private readonly protocols: readonly string[];

  constructor(context: UpstreamContext, cluster: ClusterInfoImpl, settings: HealthCheckSettings, protocols: readonly string[]) {
    this.context = context;
    this.cluster = cluster;
    this.settings = settings;
    this.protocols = protocols;
  }

  /** Not connecting yet. Throws SysError. */
  create(host: HostDescription): { connection: Connection; secure: boolean } {
    const { context } = this;
    const { settings } = this.cluster;
    const address = checkAddress(host, this.settings.altPort);
    const transport = this.transportSocket(host);
    const connection = context.createClientConnection(
      context.dispatcher,
      context.socketInterface,
      {
        address,
        socketInterface: settings.socketInterface,
        sourceAddress: settings.sourceAddress,
        socketOptions: address.kind === 'ip' ? settings.tcpSocketOptions : settings.socketOptions,
      },
      transport,
      transport && {
        hostName: host.hostname,
        serverNameOverride: '',
        verifySubjectAltNames: [],
        applicationProtocolOverride: this.settings.alpnProtocols,
        applicationProtocolFallback: this.protocols,
      },
    );
    return { connection, secure: transport?.secure ?? false };
  }

  private transportSocket(host: HostDescription): TransportSocketFactory | null {
    const match = this.settings.transportSocketMatch;
    const { transportSockets } = this.cluster;
    if (match === null) return transportSockets.resolve(host.metadata, host.localityMetadata ?? {});
    return transportSockets.resolve({ 'envoy.transport_socket_match': match }, {});
  }
}

/** The endpoint's own address and port for checks, then `alt_port`, then where its traffic goes. */
export function checkAddress({ address, healthCheck }: HostDescription, altPort: number): Address {
  const base = healthCheck?.address ?? address;
  if (base.kind !== 'ip') return base;
  const own = healthCheck?.address?.kind === 'ip' ? healthCheck.address.port : 0;
  const port = healthCheck?.port || own || altPort || base.port;
  return port === base.port ? base : ipAddress(base.ip, port);
}
