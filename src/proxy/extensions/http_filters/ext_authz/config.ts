/**
 * `envoy.filters.http.ext_authz`: asks a service by gRPC or HTTP whether a request may go on, and lets it change the request and the response
 * (Envoy: source/extensions/filters/http/ext_authz). Headers of the service that could not stand in a message are dropped.
 *
 * Left out, refused: mutation rules, `validate_mutations`, typed metadata, destination labels, `charge_cluster_response_stats`.
 */
import type { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { AsyncRequest } from '../../../http/async_client.ts';
import { FilterDataStatus, FilterHeadersStatus, FilterTrailersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import {
  type Authorization,
  type AuthorizationCallbacks,
  applyToDenial,
  applyToRequest,
  applyToResponse,
} from '../../common/ext_authz/authorization.ts';
import {
  type BodySettings,
  type ExtAuthzMessage,
  type ExtAuthzPerRouteMessage,
  ExtAuthzRoute,
  ExtAuthzSettings,
} from './settings.ts';

const NAMESPACE = 'envoy.filters.http.ext_authz';
const NO_EXTENSIONS: Readonly<Record<string, string>> = {};

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz',
  name: NAMESPACE,
  routeTypeName: 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const settings = new ExtAuthzSettings(config as ExtAuthzMessage, statPrefix, context);
    return (callbacks) => callbacks.addStreamFilter(new ExtAuthzFilter(settings));
  },
  createRouteSpecificConfig: (config: TypedConfig) => new ExtAuthzRoute(config as ExtAuthzPerRouteMessage),
};

class ExtAuthzFilter extends PassThroughFilter implements AuthorizationCallbacks {
  private readonly settings: ExtAuthzSettings;
  private headers: HeaderMap | null = null;
  /** Of the request that is being gathered; null: nothing is. */
  private gathering: BodySettings | null = null;
  private calling = false;
  private initiating = false;
  private stopped = false;
  private startMs = 0;
  private request: AsyncRequest | null = null;
  private authorization: Authorization | null = null;

  constructor(settings: ExtAuthzSettings) {
    super();
    this.settings = settings;
  }

  override decodeHeaders(headers: HeaderMap, endStream: boolean): FilterHeadersStatus {
    const { decoder, settings } = this;
    const route = decoder.perFilterConfig<ExtAuthzRoute>();
    if (decoder.route() === null || route?.disabled === true) return FilterHeadersStatus.Continue;
    const enabled = settings.enabled.isOn() && settings.enabledMetadata?.(decoder.streamInfo.dynamicMetadata) !== false;
    if (!enabled) {
      settings.stats.disabled.inc();
      if (!settings.denyAtDisable()) return FilterHeadersStatus.Continue;
      this.deny();
      return FilterHeadersStatus.StopIteration;
    }
    this.headers = headers;
    const body = route?.body === undefined ? settings.body : route.body;
    if (body !== null && !endStream && !headers.hasId(H.upgrade)) {
      this.gathering = body;
      if (!body.allowPartial) decoder.setDecoderBufferLimit(body.maxBytes);
      return FilterHeadersStatus.StopIteration;
    }
    this.ask(null, body === null ? null : false);
    return this.stopped ? FilterHeadersStatus.StopAllIterationAndWatermark : FilterHeadersStatus.Continue;
  }

  override decodeData(data: SliceBuffer, endStream: boolean): FilterDataStatus {
    const { gathering, decoder } = this;
    if (gathering === null) return this.calling ? FilterDataStatus.StopIterationAndWatermark : FilterDataStatus.Continue;
    const length = (decoder.decodingBuffer()?.length ?? 0) + data.length;
    if (!gathering.allowPartial && length > gathering.maxBytes) {
      this.stopped = true;
      decoder.sendLocalReply(413, 'Payload Too Large', null, null, 'request_payload_too_large');
      return FilterDataStatus.StopIterationNoBuffer;
    }
    const full = gathering.allowPartial && length >= gathering.maxBytes;
    if (!endStream && !full) return FilterDataStatus.StopIterationAndBuffer;
    decoder.addDecodedData(data, true);
    this.askWithBody(gathering);
    return this.stopped ? FilterDataStatus.StopIterationAndWatermark : FilterDataStatus.Continue;
  }

  override decodeTrailers(): FilterTrailersStatus {
    if (this.gathering !== null) this.askWithBody(this.gathering);
    return this.stopped ? FilterTrailersStatus.StopIteration : FilterTrailersStatus.Continue;
  }

  override encodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    if (this.authorization !== null) applyToResponse(this.authorization, headers);
    return FilterHeadersStatus.Continue;
  }

  override onDestroy(): void {
    this.request?.cancel();
    this.request = null;
    this.headers = null;
    this.calling = false;
  }

  reset(): void {
    this.gathering = null;
    this.stopped = false;
    this.authorization = null;
  }

  private askWithBody(body: BodySettings): void {
    this.gathering = null;
    const buffered = this.decoder.decodingBuffer();
    const length = buffered?.length ?? 0;
    const bytes = new Uint8Array(Math.min(length, body.maxBytes));
    if (buffered !== null) {
      buffered.makePrivate();
      buffered.copyOut(0, bytes);
    }
    this.ask(bytes, length >= body.maxBytes && body.allowPartial, body);
  }

  private ask(bytes: Uint8Array | null, partial: boolean | null, body: BodySettings | null = null): void {
    const { decoder, settings } = this;
    const info = decoder.streamInfo;
    this.calling = true;
    this.stopped = true;
    this.initiating = true;
    this.startMs = decoder.dispatcher.nowMs;
    const check = {
      headers: this.headers as HeaderMap,
      info,
      connection: decoder.connection,
      streamId: decoder.streamId,
      nowMs: decoder.dispatcher.systemTimeMs,
      body: bytes,
      partial,
      extensions: this.extensions(),
      metadata: chosen(settings.metadataNamespaces, info.dynamicMetadata),
      routeMetadata: chosen(settings.routeMetadataNamespaces, decoder.route()?.metadata ?? null),
    };
    this.request = settings.ask(check, body, this);
    this.initiating = false;
    if (!this.calling) this.request = null;
  }

  /** Those of all levels; the most specific one wins. */
  private extensions(): Readonly<Record<string, string>> {
    const levels = this.decoder.perFilterConfigs<ExtAuthzRoute>();
    if (levels.length < 2) return levels[0]?.extensions ?? NO_EXTENSIONS;
    return Object.assign({}, ...[...levels].reverse().map(({ extensions }) => extensions)) as Record<string, string>;
  }

  onAuthorization(authorization: Authorization): void {
    this.calling = false;
    this.request = null;
    this.addMetadata(authorization);
    if (authorization.status === 'ok') this.allow(authorization);
    else if (authorization.status === 'denied') this.refuse(authorization);
    else this.fail();
  }

  private allow(authorization: Authorization): void {
    const { settings, decoder } = this;
    if (applyToRequest(authorization, this.headers as HeaderMap) && settings.clearRouteCache) decoder.clearRouteCache();
    this.authorization = authorization;
    settings.stats.ok.inc();
    this.countInCluster('ok');
    this.goOn();
  }

  private refuse(authorization: Authorization): void {
    this.settings.stats.denied.inc();
    this.countInCluster('denied');
    this.decoder.streamInfo.setFlag('UnauthorizedExternalService');
    const modify = (headers: HeaderMap): void => applyToDenial(authorization, headers);
    this.decoder.sendLocalReply(authorization.statusCode || 403, authorization.body, modify, null, 'ext_authz_denied');
  }

  private fail(): void {
    const { settings } = this;
    settings.stats.error.inc();
    this.countInCluster('error');
    if (!settings.failureModeAllow) {
      this.deny();
      return;
    }
    settings.stats.failureModeAllowed.inc();
    this.countInCluster('failure_mode_allowed');
    if (settings.failureModeHeader) (this.headers as HeaderMap).add('x-envoy-auth-failure-mode-allowed', 'true');
    this.goOn();
  }

  private deny(): void {
    this.stopped = true;
    this.decoder.streamInfo.setFlag('UnauthorizedExternalService');
    this.decoder.sendLocalReply(this.settings.statusOnError, '', null, null, 'ext_authz_error');
  }

  private goOn(): void {
    this.stopped = false;
    if (!this.initiating) this.decoder.continueDecoding();
  }

  private addMetadata(authorization: Authorization): void {
    const { metadata } = authorization;
    if (metadata === null || Object.keys(metadata).length === 0) return;
    if (!this.settings.takesMetadata) {
      this.settings.stats.ignoredMetadata.inc();
      return;
    }
    if (authorization.status === 'ok') metadata['ext_authz_duration'] = Math.floor(this.decoder.dispatcher.nowMs - this.startMs);
    const info = this.decoder.streamInfo;
    info.dynamicMetadata ??= {};
    info.dynamicMetadata[NAMESPACE] = { ...info.dynamicMetadata[NAMESPACE], ...metadata };
  }

  /** `cluster.<name>.ext_authz.`: of the cluster that the request goes to. */
  private countInCluster(name: string): void {
    this.settings.countInCluster(this.decoder.route()?.routeEntry?.clusterName, name);
  }
}

function chosen(
  namespaces: readonly string[],
  metadata: Record<string, Record<string, unknown>> | null,
): Record<string, Record<string, unknown>> {
  const found: Record<string, Record<string, unknown>> = {};
  if (metadata === null) return found;
  for (const namespace of namespaces) if (Object.hasOwn(metadata, namespace)) found[namespace] = metadata[namespace];
  return found;
}
