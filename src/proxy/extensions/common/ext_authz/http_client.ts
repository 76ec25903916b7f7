/**
 * Asks an authorization service by HTTP (Envoy: ext_authz_http_impl.cc): the request's method, path and host, and the headers that may be
 * sent. 200 allows, a 5xx is a failure, everything else is what the client gets.
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import { byteText } from '../../../common/byte_text.ts';
import { compileListStringMatcher, type StringMatcher, type StringMatcherConfig } from '../../../common/matchers.ts';
import { AsyncClient, type AsyncRequest, type AsyncResponse } from '../../../http/async_client.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { type AuthorizationCallbacks, newAuthorization } from './authorization.ts';
import { type HttpCheck, PARTIAL_BODY } from './check_request.ts';

type List = { patterns?: readonly StringMatcherConfig[] };

export interface HttpServiceConfig {
  serverUri?: { cluster?: string; timeout?: number };
  pathPrefix?: string;
  authorizationRequest?: { allowedHeaders?: List; headersToAdd?: readonly { key?: string; value?: string }[] };
  authorizationResponse?: {
    allowedUpstreamHeaders?: List;
    allowedUpstreamHeadersToAppend?: List;
    allowedClientHeaders?: List;
    allowedClientHeadersOnSuccess?: List;
    dynamicMetadataFromHeaders?: List;
  };
}

const NEVER: StringMatcher = { match: () => false };
const REMOVE_HEADERS = 'x-envoy-auth-headers-to-remove';
/** Sent whatever else is allowed. */
const ALWAYS_SENT: ReadonlySet<string> = new Set([':method', ':path', ':authority', 'authorization']);
/** Given to the client whatever else is allowed. `:status` and `content-length` are the reply's own. */
const ALWAYS_RETURNED: ReadonlySet<string> = new Set(['www-authenticate', 'location']);
/** Of the exchange with the service, not of its answer. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'transfer-encoding',
  'keep-alive',
  'content-length',
  'x-envoy-upstream-service-time',
]);

export class HttpAuthorizationClient {
  private readonly context: FactoryContext;
  private readonly cluster: string;
  private readonly timeoutMs: number;
  private readonly prefix: string;
  private readonly isSent: (name: string) => boolean;
  private readonly added: readonly (readonly [string, string])[];
  private readonly upstream: StringMatcher;
  private readonly upstreamAppend: StringMatcher;
  private readonly client: StringMatcher | null;
  private readonly clientOnSuccess: StringMatcher;
  private readonly metadata: StringMatcher | null;

  /** `allowed`, `disallowed`: the filter's own lists. Throws ConfigError. */
  constructor(
    config: HttpServiceConfig,
    allowed: StringMatcher | null,
    disallowed: StringMatcher | null,
    context: FactoryContext,
  ) {
    this.context = context;
    this.cluster = config.serverUri?.cluster ?? '';
    this.timeoutMs = config.serverUri?.timeout ?? 0;
    this.prefix = byteText(config.pathPrefix ?? '');
    const request = config.authorizationRequest;
    const own =
      request?.allowedHeaders === undefined
        ? null
        : compile(request.allowedHeaders, 'http_service.authorization_request.allowed_headers');
    this.isSent = (name) =>
      disallowed?.match(name) !== true && (ALWAYS_SENT.has(name) || allowed?.match(name) === true || own?.match(name) === true);
    this.added = (request?.headersToAdd ?? []).map(({ key = '', value = '' }) => [key.toLowerCase(), byteText(value)]);
    const { allowedUpstreamHeaders, allowedUpstreamHeadersToAppend, allowedClientHeaders, ...more } =
      config.authorizationResponse ?? {};
    const path = 'http_service.authorization_response.';
    this.upstream = compile(allowedUpstreamHeaders, `${path}allowed_upstream_headers`);
    this.upstreamAppend = compile(allowedUpstreamHeadersToAppend, `${path}allowed_upstream_headers_to_append`);
    this.client =
      (allowedClientHeaders?.patterns?.length ?? 0) === 0 ? null : compile(allowedClientHeaders, `${path}allowed_client_headers`);
    this.clientOnSuccess = compile(more.allowedClientHeadersOnSuccess, `${path}allowed_client_headers_on_success`);
    this.metadata =
      more.dynamicMetadataFromHeaders === undefined
        ? null
        : compile(more.dynamicMetadataFromHeaders, `${path}dynamic_metadata_from_headers`);
  }

  /** Null: it is over already, and the callback has been called. */
  check(check: HttpCheck, callbacks: AuthorizationCallbacks): AsyncRequest | null {
    const { slab } = this.context.dispatcher;
    const headers = new HeaderMap(slab);
    check.headers.forEach((name, value) => {
      if (name === ':path') headers.add(name, `${this.prefix}${value}`);
      else if (
        name !== 'content-length' &&
        name !== PARTIAL_BODY &&
        name !== ':scheme' &&
        name !== ':protocol' &&
        this.isSent(name)
      ) {
        headers.add(name, value);
      }
    });
    if (check.partial !== null) headers.set(PARTIAL_BODY, String(check.partial));
    for (const [name, value] of this.added) headers.set(name, value);
    let body: SliceBuffer | null = null;
    if (check.body !== null && check.body.length > 0) {
      body = new SliceBuffer(slab);
      body.append(check.body);
    } else headers.add('content-length', '0');
    return AsyncClient.of(this.context).send(
      this.cluster,
      headers,
      body,
      {
        onSuccess: (response) => callbacks.onAuthorization(this.read(response)),
        onFailure: () => callbacks.onAuthorization(newAuthorization('error')),
      },
      { timeoutMs: this.timeoutMs },
    );
  }

  private read({ headers, body }: AsyncResponse) {
    const status = Number(headers.get(':status') ?? 0);
    if (!(status >= 200 && status < 500)) return newAuthorization('error');
    const authorization = newAuthorization(status === 200 ? 'ok' : 'denied');
    headers.forEach((name, value) => {
      if (name.startsWith(':') || HOP_HEADERS.has(name)) return;
      if (this.metadata?.match(name) === true) {
        authorization.metadata ??= {};
        authorization.metadata[name] = value;
      }
      if (status === 200) {
        if (name === REMOVE_HEADERS) authorization.remove.push(...value.split(',').map((part) => part.trim().toLowerCase()));
        if (this.upstream.match(name)) authorization.set.push([name, value]);
        if (this.upstreamAppend.match(name)) authorization.append.push([name, value]);
        if (this.clientOnSuccess.match(name)) authorization.responseAdd.push([name, value]);
      } else if (this.client === null || ALWAYS_RETURNED.has(name) || this.client.match(name)) {
        authorization.set.push([name, value]);
      }
    });
    if (status !== 200) {
      authorization.statusCode = status;
      authorization.body = body.toBytes();
    }
    return authorization;
  }
}

function compile(list: List | undefined, path: string): StringMatcher {
  return list === undefined ? NEVER : compileListStringMatcher(list, path);
}
