/**
 * `envoy.filters.network.ext_authz`: asks a service by gRPC whether a connection may go on, when its first bytes come (Envoy:
 * source/extensions/filters/network/ext_authz). Bytes wait until the answer is there; tcp_proxy connects to its
 * upstream before.
 *
 * Left out, refused: destination labels.
 */
import type { Counter, Gauge } from '../../../../core/stats/stats.ts';
import { compileMetadataMatcher, type MetadataMatcherConfig } from '../../../common/value_matcher.ts';
import type { GrpcServiceConfig } from '../../../grpc/grpc_service.ts';
import type { AsyncRequest } from '../../../http/async_client.ts';
import {
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
} from '../../../network/connection.ts';
import type { NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import type { Authorization, AuthorizationCallbacks } from '../../common/ext_authz/authorization.ts';
import { type PeerSettings, writeTcpCheck } from '../../common/ext_authz/check_request.ts';
import { GrpcAuthorizationClient } from '../../common/ext_authz/grpc_client.ts';

const NAMESPACE = 'envoy.filters.network.ext_authz';

interface ExtAuthzMessage {
  statPrefix?: string;
  grpcService?: GrpcServiceConfig;
  failureModeAllow?: boolean;
  includePeerCertificate?: boolean;
  filterEnabledMetadata?: MetadataMatcherConfig;
  includeTlsSession?: boolean;
}

interface Settings extends PeerSettings {
  readonly client: GrpcAuthorizationClient;
  readonly failureModeAllow: boolean;
  readonly enabledMetadata: ((metadata: Record<string, Record<string, unknown>> | null) => boolean) | null;
  readonly total: Counter;
  readonly ok: Counter;
  readonly denied: Counter;
  readonly error: Counter;
  readonly disabled: Counter;
  readonly failureModeAllowed: Counter;
  readonly closed: Counter;
  readonly active: Gauge;
}

export const factory: NetworkFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz',
  name: NAMESPACE,
  isTerminal: () => false,
  create(config: TypedConfig, context) {
    const message = config as ExtAuthzMessage;
    const scope = context.scope.scope(`ext_authz.${message.statPrefix ?? ''}.`);
    const settings: Settings = {
      client: new GrpcAuthorizationClient(message.grpcService ?? {}, context),
      failureModeAllow: message.failureModeAllow === true,
      includePeerCertificate: message.includePeerCertificate === true,
      includeTlsSession: message.includeTlsSession === true,
      enabledMetadata:
        message.filterEnabledMetadata === undefined
          ? null
          : compileMetadataMatcher(message.filterEnabledMetadata, 'filter_enabled_metadata'),
      total: scope.counter('total'),
      ok: scope.counter('ok'),
      denied: scope.counter('denied'),
      error: scope.counter('error'),
      disabled: scope.counter('disabled'),
      failureModeAllowed: scope.counter('failure_mode_allowed'),
      closed: scope.counter('cx_closed'),
      active: scope.gauge('active'),
    };
    return (connection) => connection.addReadFilter(new ExtAuthzFilter(settings));
  },
};

class ExtAuthzFilter implements ReadFilter, ConnectionCallbacks, AuthorizationCallbacks {
  private readonly settings: Settings;
  private callbacks!: ReadFilterCallbacks;
  private state: 'new' | 'calling' | 'done' = 'new';
  private initiating = false;
  private request: AsyncRequest | null = null;

  constructor(settings: Settings) {
    this.settings = settings;
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.callbacks = callbacks;
    callbacks.connection.addConnectionCallbacks(this);
  }

  onNewConnection(): FilterStatus {
    // tcp_proxy reads nothing before its upstream is there: bytes come only once the filters after this one know the connection.
    return FilterStatus.Continue;
  }

  onData(): FilterStatus {
    if (this.state === 'new') this.ask();
    return this.state === 'done' && this.callbacks.connection.state === 'open'
      ? FilterStatus.Continue
      : FilterStatus.StopIteration;
  }

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected || this.state !== 'calling') return;
    this.state = 'done';
    this.request?.cancel();
    this.request = null;
    this.settings.active.dec();
  }

  private ask(): void {
    const { settings } = this;
    const { connection } = this.callbacks;
    if (settings.enabledMetadata?.(connection.streamInfo.dynamicMetadata) === false) {
      settings.disabled.inc();
      this.state = 'done';
      return;
    }
    this.state = 'calling';
    settings.active.inc();
    settings.total.inc();
    this.initiating = true;
    this.request = settings.client.check(writeTcpCheck(connection, settings), connection.streamInfo, null, this);
    this.initiating = false;
    if (this.state !== 'calling') this.request = null;
  }

  onAuthorization(authorization: Authorization): void {
    const { settings } = this;
    const { connection } = this.callbacks;
    this.state = 'done';
    this.request = null;
    settings.active.dec();
    if (authorization.metadata !== null) {
      const info = connection.streamInfo;
      info.dynamicMetadata ??= {};
      info.dynamicMetadata[NAMESPACE] = { ...info.dynamicMetadata[NAMESPACE], ...authorization.metadata };
    }
    if (authorization.status === 'ok') settings.ok.inc();
    else if (authorization.status === 'denied') settings.denied.inc();
    else settings.error.inc();
    const allowedByFailure = authorization.status === 'error' && settings.failureModeAllow;
    if (allowedByFailure) settings.failureModeAllowed.inc();
    if (authorization.status !== 'ok' && !allowedByFailure) {
      settings.closed.inc();
      connection.close(ConnectionCloseType.NoFlush, 'ext_authz_close');
    } else if (!this.initiating) this.callbacks.continueReading();
  }
}
