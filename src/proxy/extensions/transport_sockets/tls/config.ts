/** `envoy.transport_sockets.tls`: factories of TLS sockets for filter chains and clusters, whose certificates follow their files. */
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import { ClientTls } from '../../../../core/tls/client.ts';
import { ServerTls } from '../../../../core/tls/server.ts';
import { FileWatcher } from '../../../common/file_watcher.ts';
import { ConfigError } from '../../../config/error.ts';
import type { IoHandle } from '../../../network/io_handle.ts';
import { SecretStore } from '../../../network/secrets.ts';
import type { ConnectionAddresses, TransportSocketFactory, TransportSocketOptions } from '../../../network/transport_socket.ts';
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
import { KeyLogFilter } from './key_log.ts';
import { secretsOf, withSecrets } from './sds.ts';
import { TlsStats } from './stats.ts';
import { type CreateEngine, TlsSocket } from './tls_socket.ts';

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
  private readonly keyLogFilter: KeyLogFilter | null;

  /** Throws ConfigError. */
  constructor(config: DownstreamTlsContextConfig, context: TransportSocketContext) {
    const first = withSecrets(config, context.secrets ?? NO_SECRETS);
    this.verifiesPeer = first.commonTlsContext?.validationContext !== undefined;
    this.keyLogFilter = KeyLogFilter.of(config.commonTlsContext?.keyLog);
    this.tls = asConfigError(() => new ServerTls(serverSettings(first)));
    this.stats = new TlsStats(context.statsScope, 'server');
    noteCertificates(this.stats, this.tls, context);
    follow(config, first, context, this.stats, (now) => {
      this.tls.reload(serverSettings(now));
      noteCertificates(this.stats, this.tls, context);
    });
  }

  create(
    dispatcher: Dispatcher,
    handle: IoHandle,
    _options: TransportSocketOptions | null,
    addresses: ConnectionAddresses | null,
  ): TlsSocket {
    const accept: CreateEngine = (hello, info) => this.tls.accept(hello!, info);
    return new TlsSocket(dispatcher, handle, filterKeys(this.keyLogFilter, accept, addresses, handle), this.stats);
  }
}

export class UpstreamTlsSocketFactory implements TransportSocketFactory {
  readonly secure = true;
  readonly verifiesPeer: boolean;
  private readonly tls: ClientTls;
  private readonly stats: TlsStats;
  private readonly keyLogFilter: KeyLogFilter | null;
  private readonly sni: string;
  private readonly autoHostSni: boolean;
  private readonly autoSanValidation: boolean;

  /** Throws ConfigError. */
  constructor(config: UpstreamTlsContextConfig, context: TransportSocketContext) {
    const first = withSecrets(config, context.secrets ?? NO_SECRETS);
    this.verifiesPeer = first.commonTlsContext?.validationContext !== undefined;
    this.autoSanValidation = config.autoSniSanValidation ?? false;
    if (this.autoSanValidation && !this.verifiesPeer) {
      throw new ConfigError("'auto_sni_san_validation' was configured without configuring a validation context", {
        path: 'auto_sni_san_validation',
      });
    }
    this.sni = config.sni ?? '';
    this.autoHostSni = config.autoHostSni ?? false;
    this.keyLogFilter = KeyLogFilter.of(config.commonTlsContext?.keyLog);
    this.tls = asConfigError(() => new ClientTls(clientSettings(first)));
    this.stats = new TlsStats(context.statsScope, 'client');
    noteCertificates(this.stats, this.tls, context);
    follow(config, first, context, this.stats, (now) => {
      this.tls.reload(clientSettings(now));
      noteCertificates(this.stats, this.tls, context);
    });
  }

  create(
    dispatcher: Dispatcher,
    handle: IoHandle,
    options: TransportSocketOptions | null,
    addresses: ConnectionAddresses | null,
  ): TlsSocket {
    const serverName = this.serverName(options);
    let alpn = this.tls.settings.alpn;
    let verifyNames: readonly string[] = [];
    if (options !== null) {
      if (options.applicationProtocolOverride.length > 0) alpn = options.applicationProtocolOverride;
      else if (alpn.length === 0) alpn = options.applicationProtocolFallback;
      verifyNames = options.verifySubjectAltNames;
    }
    if (verifyNames.length === 0 && this.autoSanValidation && serverName !== '') verifyNames = [serverName];
    const connect: CreateEngine = (_, info) => this.tls.connect({ serverName, alpn, verifyNames }, info);
    return new TlsSocket(dispatcher, handle, filterKeys(this.keyLogFilter, connect, addresses, handle), this.stats);
  }

  private serverName(options: TransportSocketOptions | null): string {
    if (options === null) return this.sni;
    if (options.serverNameOverride !== '') return options.serverNameOverride;
    return this.autoHostSni && options.hostName !== '' ? options.hostName : this.sni;
  }
}

/** `create`, whose engines say nothing to the key log when it is not for connections between such addresses. */
function filterKeys(
  filter: KeyLogFilter | null,
  create: CreateEngine,
  addresses: ConnectionAddresses | null,
  handle: IoHandle,
): CreateEngine {
  if (filter === null) return create;
  return (hello, info) => {
    const engine = create(hello, info);
    engine.logsKeys = filter.covers(addresses ?? { localAddress: handle.localAddress(), remoteAddress: handle.remoteAddress() });
    return engine;
  };
}

function noteCertificates(stats: TlsStats, tls: ServerTls | ClientTls, context: TransportSocketContext): void {
  // Gauges add up over workers.
  if (context.workerIndex === 0) stats.setCertificates(tls.certificates);
}

/**
 * Reads everything again when a file or a secret changed; what cannot be used is told, and the old stays until it can. `first` is
 * `config` with the secrets that there are.
 */
function follow<T extends { commonTlsContext?: CommonTlsContextConfig }>(
  config: T,
  first: T,
  context: TransportSocketContext,
  stats: TlsStats,
  use: (now: T) => void,
): void {
  let now = first;
  let watcher: FileWatcher | null = null;
  const take = (what: string): boolean => {
    try {
      asConfigError(() => use(now));
      stats.context_reloaded.inc();
      context.logger.info(`TLS certificates reloaded: ${what}`);
      return true;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      stats.context_reload_failed.inc();
      context.logger.warn(`TLS certificates not reloaded, the old ones stay in use: ${error.message}`);
      return false;
    }
  };
  const watch = (): void => {
    watcher?.close();
    const files = filesOf(now.commonTlsContext ?? {});
    const directories = watchedDirectories(now.commonTlsContext ?? {});
    watcher = files.length === 0 ? null : new FileWatcher(files, directories, () => take(files.join(', ')));
  };
  watch();
  const { secrets } = context;
  const names = secretsOf(config);
  const unsubscribe =
    secrets === undefined || names.length === 0
      ? null
      : secrets.subscribe(names, () => {
          try {
            now = withSecrets(config, secrets);
          } catch (error) {
            if (!(error instanceof ConfigError)) throw error;
            stats.context_reload_failed.inc();
            context.logger.warn(`TLS secrets not taken, the old ones stay in use: ${error.message}`);
            return;
          }
          if (take(`secrets ${names.map((secret) => secret.name).join(', ')}`)) stats.ssl_context_update_by_sds.inc();
          watch();
        });
  context.onDestroy(() => {
    unsubscribe?.();
    watcher?.close();
  });
}

const NO_SECRETS = new SecretStore();
