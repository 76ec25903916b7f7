/**
 * `envoy.filters.http.basic_auth`: requests need a name and a password of a list (RFC 7617; Envoy: source/extensions/filters/http/basic_auth).
 * The list is in htpasswd's form with `{SHA}` hashes.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Counter } from '../../../../core/stats/stats.ts';
import { type DataSourceConfig, readDataSource } from '../../../common/data_source.ts';
import { ConfigError } from '../../../config/error.ts';
import { FilterHeadersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { H } from '../../../http/header_names.ts';
import { PassThroughDecoderFilter } from '../../../http/pass_through_filter.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

/** Name -> SHA-1 of the password. */
type Users = ReadonlyMap<string, Buffer>;

interface Settings {
  readonly users: Users;
  /** Lower case. */
  readonly header: string;
  readonly forwardHeader: string;
  readonly allowed: Counter;
  readonly denied: Counter;
}

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.basic_auth.v3.BasicAuth',
  name: 'envoy.filters.http.basic_auth',
  routeTypeName: 'envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute',
  isTerminal: () => false,
  create(config: TypedConfig, statPrefix, context) {
    const message = config as { users?: DataSourceConfig; forwardUsernameHeader?: string; authenticationHeader?: string };
    const scope = context.scope.scope(`${statPrefix}basic_auth.`);
    const settings: Settings = {
      users: readUsers(message.users),
      header: (message.authenticationHeader || 'authorization').toLowerCase(),
      forwardHeader: (message.forwardUsernameHeader ?? '').toLowerCase(),
      allowed: scope.counter('allowed'),
      denied: scope.counter('denied'),
    };
    return (callbacks) => callbacks.addStreamDecoderFilter(new BasicAuthFilter(settings));
  },
  createRouteSpecificConfig: (config: TypedConfig): Users => readUsers((config as { users?: DataSourceConfig }).users),
};

const SHA1_BYTES = 20;
const PREFIX = '{SHA}';

/** Throws ConfigError. */
function readUsers(source: DataSourceConfig | undefined): Users {
  const fail = (reason: string): never => {
    throw new ConfigError(`basic auth: ${reason}`, { path: 'users' });
  };
  const users = new Map<string, Buffer>();
  const text = Buffer.from(readDataSource(source, 'users') ?? []).toString('latin1');
  for (const line of text.split(/\r?\n/)) {
    if (line === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    if (colon < 0) fail("invalid htpasswd format, username & password is separated by ':'");
    const name = line.slice(0, colon);
    const hash = line.slice(colon + 1);
    if (name === '' || hash === '') fail('empty user name or password');
    if (users.has(name)) fail('duplicate users');
    if (!hash.startsWith(PREFIX)) fail('unsupported htpasswd format: please use {SHA}');
    const digest = Buffer.from(hash.slice(PREFIX.length), 'base64');
    if (digest.length !== SHA1_BYTES) fail('invalid htpasswd format, invalid SHA hash length');
    users.set(name, digest);
  }
  return users;
}

const NOBODY = Buffer.alloc(SHA1_BYTES);

class BasicAuthFilter extends PassThroughDecoderFilter {
  private readonly settings: Settings;

  constructor(settings: Settings) {
    super();
    this.settings = settings;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { settings } = this;
    const users = this.decoder.perFilterConfig<Users>() ?? settings.users;
    const value = headers.get(settings.header) ?? '';
    if (value === '') return this.deny(headers, 'Missing username and password.', 'no_credential_for_basic_auth');
    if (!/^basic /i.test(value)) {
      return this.deny(headers, "Expected 'Basic' authentication scheme.", 'invalid_scheme_for_basic_auth');
    }
    const credentials = Buffer.from(value.slice(6), 'base64').toString('latin1');
    const colon = credentials.indexOf(':');
    if (colon < 0) return this.deny(headers, 'Invalid basic credential format.', 'invalid_format_for_basic_auth');
    const name = credentials.slice(0, colon);
    const digest = createHash('sha1')
      .update(credentials.slice(colon + 1), 'latin1')
      .digest();
    const expected = users.get(name);
    if (!timingSafeEqual(digest, expected ?? NOBODY) || expected === undefined) {
      return this.deny(headers, 'Invalid username/password combination.', 'invalid_credential_for_basic_auth');
    }
    if (settings.forwardHeader !== '') headers.set(settings.forwardHeader, name);
    settings.allowed.inc();
    return FilterHeadersStatus.Continue;
  }

  reset(): void {}

  private deny(request: HeaderMap, why: string, details: string): FilterHeadersStatus {
    this.settings.denied.inc();
    const uri = `${request.getId(H['x-forwarded-proto']) ?? ''}://${request.getId(H[':authority']) ?? ''}${request.getId(H[':path']) ?? ''}`;
    const challenge = (headers: HeaderMap): void => headers.set('www-authenticate', `Basic realm="${uri}"`);
    this.decoder.sendLocalReply(401, `User authentication failed. ${why}`, challenge, null, details);
    return FilterHeadersStatus.StopIteration;
  }
}
