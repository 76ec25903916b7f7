/** `envoy.transport_sockets.tls`: factories of TLS sockets for filter chains and clusters, whose certificates follow their files. */
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import { ClientTls } from '../../../../core/tls/client.ts';
import { ServerTls } from '../../../../core/tls/server.ts';
import { ConfigError } from '../../../config/error.ts';
import type { IoHandle } from '../../../network/io_handle.ts';
import type { TransportSocketFactory, TransportSocketOptions } from '../../../network/transport_socket.ts';
import type { TransportSocketConfigFactory, TransportSocketContext } from '../../../network/transport_socket_config.ts';
import type { TypedConfig } from '../../../server/factory_context.ts';
import {
  asConfigError,
  type CommonTlsContextConfig,
  clientSettings,
  type DownstreamTlsContextConfig,
  filesOf,
  serverSettings,
  type UpstreamTlsContextConfig,
  watchedDirectories,
} from './context_config.ts';
import { FileWatcher } from './file_watcher.ts';
import { TlsStats } from './stats.ts';
import { TlsSocket } from './tls_socket.ts';

export const downstreamFactory: TransportSocketConfigFactory = {
  typeName: 'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
  name: 'envoy.transport_sockets.tls',
  create: (config: TypedConfig, context: TransportSocketContext) =>
    new DownstreamTlsSocketFactory(config as DownstreamTlsContextConfig, context),
};

export const upstreamFactory: TransportSocketConfigFactory = {
  typeName: 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
  name: 'envoy.transport_sockets.tls',
  create: (config: TypedConfig, context: TransportSocketContext) =>
    new UpstreamTlsSocketFactory(config as UpstreamTlsContextConfig, context),
};

export class DownstreamTlsSocketFactory implements TransportSocketFactory {
  readonly secure = true;
  readonly verifiesPeer: boolean;
  private readonly tls: ServerTls;
  private readonly stats: TlsStats;

  /** Throws ConfigError. */
  constructor(config: DownstreamTlsContextConfig, context: TransportSocketContext) {
    this.verifiesPeer = config.commonTlsContext?.validationContext !== undefined;
    this.tls = asConfigError(() => new ServerTls(serverSettings(config)));
    this.stats = new TlsStats(context.statsScope);
    noteCertificates(this.stats, this.tls, context);
    followFiles(config.commonTlsContext, context, this.stats, () => {
      this.tls.reload(serverSettings(config));
      noteCertificates(this.stats, this.tls, context);
    });
  }

  create(dispatcher: Dispatcher, handle: IoHandle): TlsSocket {
    return new TlsSocket(
      dispatcher,
      handle,
      (serverName, info, tickets) => this.tls.accept(serverName, info, tickets),
      this.stats,
    );
  }
}

export class UpstreamTlsSocketFactory implements TransportSocketFactory {
  readonly secure = true;
  readonly verifiesPeer: boolean;
  private readonly tls: ClientTls;
  private readonly stats: TlsStats;
  private readonly sni: string;
  private readonly autoHostSni: boolean;
  private readonly autoSanValidation: boolean;

  /** Throws ConfigError. */
  constructor(config: UpstreamTlsContextConfig, context: TransportSocketContext) {
    this.autoSanValidation = config.autoSniSanValidation ?? false;
    if (this.autoSanValidation && config.commonTlsContext?.validationContext === undefined) {
      throw new ConfigError("'auto_sni_san_validation' was configured without configuring a validation context", {
        path: 'auto_sni_san_validation',
      });
    }
    this.sni = config.sni ?? '';
    this.autoHostSni = config.autoHostSni ?? false;
    this.verifiesPeer = config.commonTlsContext?.validationContext !== undefined;
    this.tls = asConfigError(() => new ClientTls(clientSettings(config)));
    this.stats = new TlsStats(context.statsScope);
    noteCertificates(this.stats, this.tls, context);
    followFiles(config.commonTlsContext, context, this.stats, () => {
      this.tls.reload(clientSettings(config));
      noteCertificates(this.stats, this.tls, context);
    });
  }

  create(dispatcher: Dispatcher, handle: IoHandle, options: TransportSocketOptions | null): TlsSocket {
    const serverName = this.serverName(options);
    let alpn = this.tls.settings.alpn;
    let verifyNames: readonly string[] = [];
    if (options !== null) {
      if (options.applicationProtocolOverride.length > 0) alpn = options.applicationProtocolOverride;
      else if (alpn.length === 0) alpn = options.applicationProtocolFallback;
      verifyNames = options.verifySubjectAltNames;
    }
    if (verifyNames.length === 0 && this.autoSanValidation && serverName !== '') verifyNames = [serverName];
    return new TlsSocket(dispatcher, handle, (_, info) => this.tls.connect({ serverName, alpn, verifyNames }, info), this.stats);
  }

  private serverName(options: TransportSocketOptions | null): string {
    if (options === null) return this.sni;
    if (options.serverNameOverride !== '') return options.serverNameOverride;
    return this.autoHostSni && options.hostName !== '' ? options.hostName : this.sni;
  }
}

function noteCertificates(stats: TlsStats, tls: ServerTls | ClientTls, context: TransportSocketContext): void {
  // Gauges add up over workers.
  if (context.workerIndex === 0) stats.setCertificates(tls.certificates);
}

/** Reads everything again when a file changed; what cannot be used is told, and the old stays. */
function followFiles(
  common: CommonTlsContextConfig | undefined,
  context: TransportSocketContext,
  stats: TlsStats,
  reload: () => void,
): void {
  const files = filesOf(common ?? {});
  if (files.length === 0) return;
  const watcher = new FileWatcher(files, watchedDirectories(common ?? {}), () => {
    try {
      asConfigError(reload);
      stats.context_reloaded.inc();
      context.logger.info(`TLS certificates reloaded: ${files.join(', ')}`);
      return true;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      stats.context_reload_failed.inc();
      context.logger.warn(`TLS certificates not reloaded, the old ones stay in use: ${error.message}`);
      return false;
    }
  });
  context.onDestroy(() => watcher.close());
}
