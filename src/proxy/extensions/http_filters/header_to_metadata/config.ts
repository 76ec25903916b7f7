/**
 * `envoy.filters.http.header_to_metadata`: copies headers and cookies into dynamic metadata, for routes, load balancing and logs (Envoy:
 * source/extensions/filters/http/header_to_metadata). Routes may have rules of their own.
 */

import { byteText } from '../../../common/byte_text.ts';
import { type RegexMatchAndSubstituteConfig, RegexSubstitution } from '../../../common/matchers.ts';
import { ProtoReader, readValue, WireError } from '../../../common/protobuf_reader.ts';
import { ConfigError } from '../../../config/error.ts';
import { FilterHeadersStatus } from '../../../http/filter.ts';
import type { HeaderMap } from '../../../http/header_map.ts';
import { PassThroughFilter } from '../../../http/pass_through_filter.ts';
import { cookieValue } from '../../../http/route/hash_policy.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import type { StreamInfo } from '../../../stream_info/stream_info.ts';

interface KeyValueMessage {
  metadataNamespace?: string;
  key?: string;
  value?: string;
  regexValueRewrite?: RegexMatchAndSubstituteConfig;
  type?: 'STRING' | 'NUMBER' | 'PROTOBUF_VALUE';
  encode?: 'NONE' | 'BASE64';
}

interface RuleMessage {
  header?: string;
  cookie?: string;
  onHeaderPresent?: KeyValueMessage;
  onHeaderMissing?: KeyValueMessage;
  remove?: boolean;
}

interface HeaderToMetadataMessage {
  requestRules?: RuleMessage[];
  responseRules?: RuleMessage[];
}

const NAME = 'envoy.filters.http.header_to_metadata';
const MAX_VALUE = 8 * 1024;

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.header_to_metadata.v3.Config',
  name: NAME,
  isTerminal: () => false,
  create(config: TypedConfig) {
    const own = new Rules(config as HeaderToMetadataMessage);
    return (callbacks) => callbacks.addStreamFilter(new HeaderToMetadataFilter(own));
  },
  createRouteSpecificConfig: (config: TypedConfig) => new Rules(config as HeaderToMetadataMessage),
};

class Rules {
  readonly request: readonly Rule[];
  readonly response: readonly Rule[];

  /** Throws ConfigError. */
  constructor(message: HeaderToMetadataMessage) {
    this.request = (message.requestRules ?? []).map((rule, i) => new Rule(rule, `request_rules[${i}]`));
    this.response = (message.responseRules ?? []).map((rule, i) => new Rule(rule, `response_rules[${i}]`));
  }
}

class Rule {
  private readonly header: string;
  private readonly cookie: string;
  private readonly present: KeyValue | null;
  private readonly missing: KeyValue | null;
  private readonly remove: boolean;

  constructor(message: RuleMessage, path: string) {
    this.header = (message.header ?? '').toLowerCase();
    this.cookie = byteText(message.cookie ?? '');
    const fail = (reason: string): never => {
      throw new ConfigError(reason, { path });
    };
    if (this.header !== '' && this.cookie !== '') fail('Cannot specify both header and cookie');
    if (this.header === '' && this.cookie === '') fail('One of Cookie or Header option needs to be specified');
    this.remove = message.remove === true;
    if (this.remove && this.cookie !== '') fail('Cannot specify remove for cookie');
    if (message.onHeaderPresent === undefined && message.onHeaderMissing === undefined) {
      fail(`rule for header '${this.header || this.cookie}' has neither \`on_header_present\` nor \`on_header_missing\` set`);
    }
    this.present =
      message.onHeaderPresent === undefined ? null : new KeyValue(message.onHeaderPresent, `${path}.on_header_present`);
    this.missing =
      message.onHeaderMissing === undefined ? null : new KeyValue(message.onHeaderMissing, `${path}.on_header_missing`);
    if (this.missing !== null && (message.onHeaderMissing?.value ?? '') === '') {
      fail('Cannot specify on_header_missing rule with an empty value');
    }
  }

  apply(headers: HeaderMap, info: StreamInfo): void {
    const value = this.header !== '' ? headers.get(this.header) : cookieValue(headers, this.cookie);
    if (value === undefined) this.missing?.apply('', info);
    else {
      this.present?.apply(value, info);
      if (this.remove) headers.remove(this.header);
    }
  }
}

class KeyValue {
  private readonly namespace: string;
  private readonly key: string;
  private readonly value: string;
  private readonly rewrite: RegexSubstitution | null;
  private readonly type: 'STRING' | 'NUMBER' | 'PROTOBUF_VALUE';
  private readonly base64: boolean;

  constructor(message: KeyValueMessage, path: string) {
    this.namespace = message.metadataNamespace || NAME;
    this.key = message.key ?? '';
    this.value = byteText(message.value ?? '');
    if (this.value !== '' && message.regexValueRewrite !== undefined) {
      throw new ConfigError('Cannot specify both value and regex_value_rewrite', { path });
    }
    this.rewrite =
      message.regexValueRewrite === undefined
        ? null
        : new RegexSubstitution(message.regexValueRewrite, `${path}.regex_value_rewrite`);
    this.type = message.type ?? 'STRING';
    this.base64 = message.encode === 'BASE64';
  }

  apply(found: string, info: StreamInfo): void {
    const text = this.value !== '' ? this.value : (this.rewrite?.apply(found) ?? found);
    if (text === '' || text.length > MAX_VALUE) return;
    const bytes = this.base64 ? Buffer.from(text, 'base64') : Buffer.from(text, 'latin1');
    const value = this.typed(bytes);
    if (value === undefined) return;
    info.dynamicMetadata ??= {};
    info.dynamicMetadata[this.namespace] = { ...info.dynamicMetadata[this.namespace], [this.key]: value };
  }

  /** Undefined: it is nothing of the type. */
  private typed(bytes: Buffer): unknown {
    if (this.type === 'STRING') return bytes.toString('utf8');
    if (this.type === 'NUMBER') {
      const text = bytes.toString('latin1').trim();
      const number = text === '' ? Number.NaN : Number(text);
      return Number.isNaN(number) ? undefined : number;
    }
    try {
      return readValue(new ProtoReader(bytes));
    } catch (error) {
      if (error instanceof WireError) return undefined;
      throw error;
    }
  }
}

class HeaderToMetadataFilter extends PassThroughFilter {
  private readonly own: Rules;

  constructor(own: Rules) {
    super();
    this.own = own;
  }

  override decodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { request } = this.decoder.perFilterConfig<Rules>() ?? this.own;
    for (const rule of request) rule.apply(headers, this.decoder.streamInfo);
    return FilterHeadersStatus.Continue;
  }

  override encodeHeaders(headers: HeaderMap): FilterHeadersStatus {
    const { response } = this.encoder.perFilterConfig<Rules>() ?? this.own;
    for (const rule of response) rule.apply(headers, this.encoder.streamInfo);
    return FilterHeadersStatus.Continue;
  }

  reset(): void {}
}
