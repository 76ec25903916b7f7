/**
 * Tags of a stat: parts of its name that become labels (Envoy's TagProducer). `cluster.api.upstream_rq_200` is
 * `cluster.upstream_rq` with `envoy.cluster_name=api` and `envoy.response_code=200`.
 *
 * Extraction runs when stats are printed, never when they are written, and once per name. Every extractor looks at the whole
 * name; what they matched is cut out at the end. The first extractor of a tag wins.
 *
 * `PATTERNS` are names split at dots: `*` is any token, `**` the rest, `$` the tag's value. `EXPRESSIONS` are for what is no
 * token; group 1 is cut out, group 2 is the value. Left out: the tags of Mongo and DynamoDB, which have no counterpart here.
 */
import { statRegex } from './stat_regex.ts';

export interface Tag {
  readonly name: string;
  readonly value: string;
}

export interface TaggedName {
  readonly tagExtractedName: string;
  readonly tags: readonly Tag[];
}

/** `stats_config.stats_tags` and `use_all_default_tags`. */
export interface TagConfig {
  useAllDefaultTags?: boolean;
  statsTags?: readonly { tagName: string; regex?: string; fixedValue?: string }[];
  /** Tags of every stat, such as those of `--stats-tag`. */
  fixedTags?: readonly Tag[];
}

const ADDRESS = String.raw`(?:(?:\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[[a-fA-F_\d]+\])_\d+)`;
const TOKEN = String.raw`[^\.]+`;
const OWNER = String.raw`(?:listener|cluster)\..*?`;

/** Tag, expression, and a value that is none. */
const EXPRESSIONS: readonly (readonly [string, RegExp, string?])[] = [
  ['envoy.response_code', /_rq(_(\d{3}))$/],
  ['envoy.response_code_class', /_rq_((\d))xx$/],
  ['envoy.ssl_curve', new RegExp(String.raw`^${OWNER}\.ssl\.curves(\.([\w-]+))$`)],
  ['envoy.ssl_sigalg', new RegExp(String.raw`^${OWNER}\.ssl\.sigalgs(\.([\w-]+))$`)],
  ['envoy.ssl_version', new RegExp(String.raw`^${OWNER}\.ssl\.versions(\.(TLSv\d\.\d))$`)],
  ['envoy.tls_certificate', new RegExp(String.raw`^${OWNER}\.ssl\.certificate\.((${TOKEN})\.)`)],
  [
    'envoy.worker_id',
    new RegExp(String.raw`^(?:listener\.(?:${ADDRESS}|${TOKEN})\.|server\.|listener_manager\.)worker_((\d+)\.)`),
  ],
  ['envoy.ssl_cipher', /^listener\..*?\.ssl\.ciphers(\.([\w-]+))$/],
  ['cipher_suite', new RegExp(String.raw`^cluster\.${TOKEN}\.ssl\.ciphers(\.([\w-]+))$`)],
  ['envoy.http_conn_manager_prefix', new RegExp(String.raw`^listener\..*?\.http\.((${TOKEN})\.)`)],
  ['envoy.listener_address', new RegExp(String.raw`^listener\.((${ADDRESS}|${TOKEN})\.)`), 'admin'],
  ['envoy.rds_route_config', new RegExp(String.raw`^http\.${TOKEN}\.rds\.(([\w\-.]+)\.)\w+?$`)],
  ['envoy.scoped_rds_config', new RegExp(String.raw`^http\.${TOKEN}\.scoped_rds\.(([\w\-.]+)\.)\w+?$`)],
  ['envoy.proxy_protocol_version', /^proxy_proto\..*?\bversions(\.v(\d))\./],
];

const PATTERNS: readonly (readonly [string, string])[] = [
  ['envoy.local_http_ratelimit_prefix', '$.http_local_rate_limit.**'],
  ['envoy.rbac_prefix', '$.rbac.**'],
  ['envoy.grpc_bridge_method', 'cluster.*.grpc.*.$.**'],
  ['envoy.http_user_agent', 'http.*.user_agent.$.**'],
  ['envoy.virtual_cluster', 'vhost.*.vcluster.$.**'],
  ['envoy.fault_downstream_cluster', 'http.*.fault.$.**'],
  ['envoy.grpc_bridge_service', 'cluster.*.grpc.$.**'],
  ['envoy.tcp_prefix', 'tcp.$.**'],
  ['envoy.udp_prefix', 'udp.$.**'],
  ['envoy.clientssl_prefix', 'auth.clientssl.$.**'],
  ['envoy.ratelimit_prefix', 'ratelimit.$.**'],
  ['envoy.cluster_name', 'cluster.$.**'],
  ['envoy.ext_authz_prefix', 'cluster.*.ext_authz.$.**'],
  ['envoy.ext_authz_prefix', 'http.*.ext_authz.$.**'],
  ['envoy.http_conn_manager_prefix', 'http.$.**'],
  ['envoy.virtual_host', 'vhost.$.**'],
  ['envoy.route', 'vhost.*.route.$.**'],
  ['envoy.thrift_prefix', 'thrift.$.**'],
  ['envoy.redis_prefix', 'redis.$.**'],
  ['envoy.local_network_ratelimit_prefix', 'local_rate_limit.$.**'],
  ['envoy.local_listener_ratelimit_prefix', 'listener_local_ratelimit.$.**'],
  ['envoy.dns_filter_prefix', 'dns_filter.$.**'],
  ['envoy.connection_limit_prefix', 'connection_limit.$.**'],
];

/** What an extractor found: the value and the stretch of the name to cut out. */
interface Found {
  readonly value: string;
  readonly from: number;
  readonly to: number;
}

interface Extractor {
  readonly tag: string;
  find(name: string, tokens: readonly string[]): Found | null;
}

export class TagProducer {
  private readonly extractors: Extractor[] = [];
  private readonly fixed: Tag[] = [];
  private readonly known = new Map<string, TaggedName>();

  /** Throws RangeError when a tag cannot work. */
  constructor(config: TagConfig = {}) {
    this.fixed.push(...(config.fixedTags ?? []));
    if (config.useAllDefaultTags !== false) this.extractors.push(...DEFAULT_EXTRACTORS);
    for (const { tagName, regex, fixedValue } of config.statsTags ?? []) {
      if (fixedValue !== undefined) this.fixed.push({ name: tagName, value: fixedValue });
      else if (regex !== undefined && regex !== '') this.extractors.push(byExpression(tagName, statRegex(regex, false)));
      else this.addDefault(tagName);
    }
  }

  produce(name: string): TaggedName {
    let tagged = this.known.get(name);
    if (tagged === undefined) this.known.set(name, (tagged = this.extract(name)));
    return tagged;
  }

  private addDefault(tag: string): void {
    const matching = DEFAULT_EXTRACTORS.filter((extractor) => extractor.tag === tag);
    if (matching.length === 0)
      throw new RangeError(`No regex specified for tag specifier and no default regex for name: '${tag}'`);
    this.extractors.push(...matching);
  }

  private extract(name: string): TaggedName {
    const tags = [...this.fixed];
    const cuts: Found[] = [];
    const tokens = name.split('.');
    for (const extractor of this.extractors) {
      const found = extractor.find(name, tokens);
      if (found === null || tags.some((tag) => tag.name === extractor.tag)) continue;
      tags.push({ name: extractor.tag, value: found.value });
      cuts.push(found);
    }
    return { tagExtractedName: cut(name, cuts), tags };
  }
}

const DEFAULT_EXTRACTORS: readonly Extractor[] = [
  ...EXPRESSIONS.map(([tag, expression, not]) => byExpression(tag, expression, not)),
  ...PATTERNS.map(([tag, pattern]) => byPattern(tag, pattern)),
];

function byExpression(tag: string, expression: RegExp, not?: string): Extractor {
  const indexed = new RegExp(expression.source, `${expression.flags}d`);
  return {
    tag,
    find(name) {
      const match = indexed.exec(name);
      if (match === null || match.indices === undefined || match.indices[1] === undefined) return null;
      const value = match[2] ?? match[1];
      if (value === not) return null;
      return { value, from: match.indices[1][0], to: match.indices[1][1] };
    },
  };
}

/** The value's token is cut out with the dot after it, or the dot before it when it is the last one. */
function byPattern(tag: string, pattern: string): Extractor {
  const wanted = pattern.split('.');
  const open = wanted[wanted.length - 1] === '**';
  const fixedLength = open ? wanted.length - 1 : wanted.length;
  const at = wanted.indexOf('$');
  return {
    tag,
    find(name, tokens) {
      if (open ? tokens.length <= fixedLength : tokens.length !== fixedLength) return null;
      let from = 0;
      for (let i = 0; i < fixedLength; i++) {
        if (wanted[i] !== '*' && wanted[i] !== '$' && wanted[i] !== tokens[i]) return null;
        if (i < at) from += tokens[i].length + 1;
      }
      const value = tokens[at];
      const last = at === tokens.length - 1;
      return {
        value,
        from: last ? from - 1 : from,
        to: from + value.length + (last || from + value.length === name.length ? 0 : 1),
      };
    },
  };
}

function cut(name: string, cuts: readonly Found[]): string {
  let kept = '';
  let at = 0;
  for (const { from, to } of [...cuts].sort((a, b) => a.from - b.from)) {
    if (from > at) kept += name.slice(at, from);
    at = Math.max(at, to);
  }
  return kept + name.slice(at);
}
