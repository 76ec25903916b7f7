/** What the configuration of `envoy.filters.http.ext_authz` says, and what routes say on top of it. */
import type { Counter, Scope } from '../../../../core/stats/stats.ts';
import { type HttpStatusConfig, httpStatusCode } from '../../../common/http_status.ts';
import { compileListStringMatcher, type StringMatcherConfig } from '../../../common/matchers.ts';
import { compileMetadataMatcher, type MetadataMatcherConfig } from '../../../common/value_matcher.ts';
import { ConfigError } from '../../../config/error.ts';
import type { GrpcServiceConfig } from '../../../grpc/grpc_service.ts';
import type { AsyncRequest } from '../../../http/async_client.ts';
import {
  type RuntimeFlagConfig,
  RuntimeFraction,
  type RuntimeFractionConfig,
  runtimeFlag,
} from '../../../runtime/runtime_fraction.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { ClusterManager } from '../../../upstream/upstream.ts';
import type { AuthorizationCallbacks } from '../../common/ext_authz/authorization.ts';
import { type CheckSettings, type HttpCheck, sentHeaders, writeHttpCheck } from '../../common/ext_authz/check_request.ts';
import { GrpcAuthorizationClient } from '../../common/ext_authz/grpc_client.ts';
import { HttpAuthorizationClient, type HttpServiceConfig } from '../../common/ext_authz/http_client.ts';

interface BufferMessage {
  maxRequestBytes?: number;
  allowPartialMessage?: boolean;
  packAsBytes?: boolean;
}

export interface ExtAuthzMessage {
  grpcService?: GrpcServiceConfig;
  httpService?: HttpServiceConfig;
  transportApiVersion?: string;
  failureModeAllow?: boolean;
  failureModeAllowHeaderAdd?: boolean;
  withRequestBody?: BufferMessage;
  clearRouteCache?: boolean;
  statusOnError?: HttpStatusConfig;
  metadataContextNamespaces?: string[];
  routeMetadataContextNamespaces?: string[];
  filterEnabled?: RuntimeFractionConfig;
  filterEnabledMetadata?: MetadataMatcherConfig;
  denyAtDisable?: RuntimeFlagConfig;
  includePeerCertificate?: boolean;
  statPrefix?: string;
  allowedHeaders?: { patterns?: StringMatcherConfig[] };
  disallowedHeaders?: { patterns?: StringMatcherConfig[] };
  includeTlsSession?: boolean;
  encodeRawHeaders?: boolean;
  enableDynamicMetadataIngestion?: boolean;
}

export interface ExtAuthzPerRouteMessage {
  disabled?: boolean;
  checkSettings?: {
    contextExtensions?: Record<string, string>;
    disableRequestBodyBuffering?: boolean;
    withRequestBody?: BufferMessage;
  };
}

export interface BodySettings {
  readonly maxBytes: number;
  readonly allowPartial: boolean;
  readonly packAsBytes: boolean;
}

export class ExtAuthzStats {
  readonly ok: Counter;
  readonly denied: Counter;
  readonly error: Counter;
  readonly disabled: Counter;
  readonly failureModeAllowed: Counter;
  readonly ignoredMetadata: Counter;

  constructor(scope: Scope) {
    this.ok = scope.counter('ok');
    this.denied = scope.counter('denied');
    this.error = scope.counter('error');
    this.disabled = scope.counter('disabled');
    this.failureModeAllowed = scope.counter('failure_mode_allowed');
    this.ignoredMetadata = scope.counter('ignored_dynamic_metadata');
  }
}

export class ExtAuthzSettings {
  readonly stats: ExtAuthzStats;
  readonly failureModeAllow: boolean;
  readonly failureModeHeader: boolean;
  readonly body: BodySettings | null;
  readonly clearRouteCache: boolean;
  readonly statusOnError: number;
  readonly metadataNamespaces: readonly string[];
  readonly routeMetadataNamespaces: readonly string[];
  readonly enabled: RuntimeFraction;
  readonly enabledMetadata: ((metadata: Record<string, Record<string, unknown>> | null) => boolean) | null;
  readonly denyAtDisable: () => boolean;
  readonly takesMetadata: boolean;
  private readonly http: HttpAuthorizationClient | null;
  private readonly grpc: GrpcAuthorizationClient | null;
  private readonly check: CheckSettings;
  private readonly clusters: ClusterManager;

  /** Throws ConfigError. */
  constructor(message: ExtAuthzMessage, statPrefix: string, context: FactoryContext) {
    this.clusters = context.clusterManager;
    const prefix = message.statPrefix ?? '';
    this.stats = new ExtAuthzStats(context.scope.scope(`${statPrefix}ext_authz.${prefix === '' ? '' : `${prefix}.`}`));
    this.failureModeAllow = message.failureModeAllow === true;
    this.failureModeHeader = message.failureModeAllowHeaderAdd === true;
    this.body = bodySettings(message.withRequestBody);
    this.clearRouteCache = message.clearRouteCache === true;
    this.statusOnError = httpStatusCode(message.statusOnError) || 403;
    this.metadataNamespaces = message.metadataContextNamespaces ?? [];
    this.routeMetadataNamespaces = message.routeMetadataContextNamespaces ?? [];
    this.enabled = new RuntimeFraction(message.filterEnabled, 100, context.runtime, () => context.random());
    this.enabledMetadata =
      message.filterEnabledMetadata === undefined
        ? null
        : compileMetadataMatcher(message.filterEnabledMetadata, 'filter_enabled_metadata');
    this.denyAtDisable = runtimeFlag(message.denyAtDisable, context.runtime, false);
    this.takesMetadata = message.enableDynamicMetadataIngestion ?? true;
    const allowed =
      message.allowedHeaders === undefined ? null : compileListStringMatcher(message.allowedHeaders, 'allowed_headers');
    const disallowed =
      message.disallowedHeaders === undefined ? null : compileListStringMatcher(message.disallowedHeaders, 'disallowed_headers');
    this.http =
      message.httpService === undefined ? null : new HttpAuthorizationClient(message.httpService, allowed, disallowed, context);
    this.grpc = message.grpcService === undefined ? null : new GrpcAuthorizationClient(message.grpcService, context);
    if (this.http === null && this.grpc === null) throw new ConfigError('one of grpc_service, http_service is required');
    this.check = {
      includePeerCertificate: message.includePeerCertificate === true,
      includeTlsSession: message.includeTlsSession === true,
      rawHeaders: message.encodeRawHeaders === true,
      packAsBytes: false,
      isSent: sentHeaders(allowed, disallowed),
    };
  }

  /** Asks the service. Null: it is over already, and the callback has been called. */
  ask(check: HttpCheck, body: BodySettings | null, callbacks: AuthorizationCallbacks): AsyncRequest | null {
    if (this.http !== null) return this.http.check(check, callbacks);
    const request = writeHttpCheck(check, body?.packAsBytes === true ? { ...this.check, packAsBytes: true } : this.check);
    return (this.grpc as GrpcAuthorizationClient).check(request, check.info, check.headers, callbacks);
  }

  countInCluster(cluster: string | undefined, name: string): void {
    if (cluster !== undefined) this.clusters.get(cluster)?.info.statsScope.counter(`ext_authz.${name}`).inc();
  }
}

export class ExtAuthzRoute {
  readonly disabled: boolean;
  readonly extensions: Readonly<Record<string, string>>;
  /** Null: the body is not sent. Undefined: as the filter says. */
  readonly body: BodySettings | null | undefined;

  constructor(message: ExtAuthzPerRouteMessage) {
    const settings = message.checkSettings;
    this.disabled = message.disabled === true;
    this.extensions = settings?.contextExtensions ?? {};
    this.body = settings?.disableRequestBodyBuffering === true ? null : (bodySettings(settings?.withRequestBody) ?? undefined);
    if (settings?.disableRequestBodyBuffering === true && settings.withRequestBody !== undefined) {
      throw new ConfigError(
        'Invalid configuration for check_settings. Only one of disable_request_body_buffering or with_request_body can be set.',
        { path: 'check_settings' },
      );
    }
  }
}

function bodySettings(message: BufferMessage | undefined): BodySettings | null {
  if (message === undefined) return null;
  return {
    maxBytes: message.maxRequestBytes ?? 0,
    allowPartial: message.allowPartialMessage === true,
    packAsBytes: message.packAsBytes === true,
  };
}
