/**
 * The slice of envoy.config.route.v3 that route tables are built from, as plain configuration (see proxy/config). Everything is
 * optional here: an absent field means the proto's default.
 */

import type {
  FractionDenominator,
  Int64RangeConfig,
  RegexMatchAndSubstituteConfig,
  RegexMatcherConfig,
  StringMatcherConfig,
} from '../../common/matchers.ts';
import type { MetadataMatcherConfig } from '../../common/value_matcher.ts';
import type { CustomTagConfig } from '../../tracing/custom_tags.ts';
import type { RateLimitConfig } from './rate_limit_policy.ts';

export interface HeaderMutationConfig {
  requestHeadersToAdd?: readonly HeaderValueOptionConfig[];
  requestHeadersToRemove?: readonly string[];
  responseHeadersToAdd?: readonly HeaderValueOptionConfig[];
  responseHeadersToRemove?: readonly string[];
}

export type HeaderAppendAction =
  | 'APPEND_IF_EXISTS_OR_ADD'
  | 'ADD_IF_ABSENT'
  | 'OVERWRITE_IF_EXISTS_OR_ADD'
  | 'OVERWRITE_IF_EXISTS';

export interface HeaderValueOptionConfig {
  header?: { key?: string; value?: string; rawValue?: Uint8Array };
  append?: boolean;
  appendAction?: HeaderAppendAction;
  keepEmptyValue?: boolean;
}

export interface MetadataConfig {
  filterMetadata?: Record<string, Record<string, unknown>>;
  typedFilterMetadata?: Record<string, unknown>;
}

/** A message behind an Any, as plain configuration has it. */
export interface AnyConfig {
  readonly '@type': string;
}

export type PerFilterConfigs = Record<string, AnyConfig>;

export interface RouteConfigurationConfig extends HeaderMutationConfig {
  name?: string;
  virtualHosts?: readonly VirtualHostConfig[];
  vhds?: object;
  internalOnlyHeaders?: readonly string[];
  mostSpecificHeaderMutationsWins?: boolean;
  validateClusters?: boolean;
  maxDirectResponseBodySizeBytes?: number;
  clusterSpecifierPlugins?: readonly object[];
  requestMirrorPolicies?: readonly RequestMirrorPolicyConfig[];
  ignorePortInHostMatching?: boolean;
  ignorePathParametersInPathMatching?: boolean;
  vhostHeader?: string;
  typedPerFilterConfig?: PerFilterConfigs;
  metadata?: MetadataConfig;
}

export interface VirtualHostConfig extends HeaderMutationConfig {
  name?: string;
  domains?: readonly string[];
  routes?: readonly RouteConfig[];
  matcher?: object;
  requireTls?: 'NONE' | 'EXTERNAL_ONLY' | 'ALL';
  virtualClusters?: readonly object[];
  rateLimits?: readonly RateLimitConfig[];
  cors?: object;
  typedPerFilterConfig?: PerFilterConfigs;
  includeRequestAttemptCount?: boolean;
  includeAttemptCountInResponse?: boolean;
  includeIsTimeoutRetryHeader?: boolean;
  retryPolicy?: RetryPolicyConfig;
  retryPolicyTypedConfig?: object;
  hedgePolicy?: object;
  perRequestBufferLimitBytes?: number;
  requestBodyBufferLimit?: number;
  requestMirrorPolicies?: readonly RequestMirrorPolicyConfig[];
  metadata?: MetadataConfig;
}

export interface RouteConfig extends HeaderMutationConfig {
  name?: string;
  match?: RouteMatchConfig;
  route?: RouteActionConfig;
  redirect?: RedirectActionConfig;
  directResponse?: DirectResponseActionConfig;
  filterAction?: object;
  nonForwardingAction?: object;
  metadata?: MetadataConfig;
  decorator?: { operation: string; propagate?: boolean };
  typedPerFilterConfig?: PerFilterConfigs;
  tracing?: RouteTracingConfig;
  statPrefix?: string;
  perRequestBufferLimitBytes?: number;
  requestBodyBufferLimit?: number;
}

export interface RouteTracingConfig {
  clientSampling?: Fraction;
  randomSampling?: Fraction;
  overallSampling?: Fraction;
  customTags?: readonly CustomTagConfig[];
}

interface Fraction {
  numerator?: number;
  denominator?: 'HUNDRED' | 'TEN_THOUSAND' | 'MILLION';
}

export interface RouteMatchConfig {
  prefix?: string;
  path?: string;
  safeRegex?: RegexMatcherConfig;
  connectMatcher?: object;
  pathSeparatedPrefix?: string;
  pathMatchPolicy?: object;
  caseSensitive?: boolean;
  runtimeFraction?: RuntimeFractionalPercentConfig;
  headers?: readonly HeaderMatcherConfig[];
  queryParameters?: readonly QueryParameterMatcherConfig[];
  grpc?: object;
  tlsContext?: object;
  dynamicMetadata?: readonly MetadataMatcherConfig[];
  filterState?: readonly object[];
  cookies?: readonly object[];
}

export interface RuntimeFractionalPercentConfig {
  defaultValue?: { numerator?: number; denominator?: FractionDenominator };
  runtimeKey?: string;
}

export interface HeaderMatcherConfig {
  name?: string;
  exactMatch?: string;
  safeRegexMatch?: RegexMatcherConfig;
  rangeMatch?: Int64RangeConfig;
  presentMatch?: boolean;
  prefixMatch?: string;
  suffixMatch?: string;
  containsMatch?: string;
  stringMatch?: StringMatcherConfig;
  invertMatch?: boolean;
  treatMissingHeaderAsEmpty?: boolean;
}

export interface QueryParameterMatcherConfig {
  name?: string;
  stringMatch?: StringMatcherConfig;
  presentMatch?: boolean;
}

export interface RouteActionConfig {
  cluster?: string;
  clusterHeader?: string;
  weightedClusters?: WeightedClusterConfig;
  clusterSpecifierPlugin?: string;
  inlineClusterSpecifierPlugin?: object;
  clusterNotFoundResponseCode?: 'SERVICE_UNAVAILABLE' | 'NOT_FOUND' | 'INTERNAL_SERVER_ERROR';
  metadataMatch?: MetadataConfig;
  prefixRewrite?: string;
  regexRewrite?: RegexMatchAndSubstituteConfig;
  pathRewritePolicy?: object;
  pathRewrite?: string;
  hostRewriteLiteral?: string;
  autoHostRewrite?: boolean;
  hostRewriteHeader?: string;
  hostRewritePathRegex?: RegexMatchAndSubstituteConfig;
  hostRewrite?: string;
  appendXForwardedHost?: boolean;
  timeout?: number;
  idleTimeout?: number;
  flushTimeout?: number;
  earlyDataPolicy?: object;
  retryPolicy?: RetryPolicyConfig;
  retryPolicyTypedConfig?: object;
  requestMirrorPolicies?: readonly RequestMirrorPolicyConfig[];
  priority?: 'DEFAULT' | 'HIGH';
  rateLimits?: readonly RateLimitConfig[];
  includeVhRateLimits?: boolean;
  hashPolicy?: readonly HashPolicyConfig[];
  cors?: object;
  maxGrpcTimeout?: number;
  grpcTimeoutOffset?: number;
  upgradeConfigs?: readonly UpgradeConfigConfig[];
  internalRedirectPolicy?: InternalRedirectPolicyConfig;
  internalRedirectAction?: 'PASS_THROUGH_INTERNAL_REDIRECT' | 'HANDLE_INTERNAL_REDIRECT';
  maxInternalRedirects?: number;
  hedgePolicy?: object;
  maxStreamDuration?: { maxStreamDuration?: number; grpcTimeoutHeaderMax?: number; grpcTimeoutHeaderOffset?: number };
}

export interface WeightedClusterConfig {
  clusters?: readonly ClusterWeightConfig[];
  totalWeight?: number;
  runtimeKeyPrefix?: string;
  headerName?: string;
  useHashPolicy?: boolean;
}

export interface ClusterWeightConfig extends HeaderMutationConfig {
  name?: string;
  clusterHeader?: string;
  weight?: number;
  metadataMatch?: MetadataConfig;
  typedPerFilterConfig?: PerFilterConfigs;
  hostRewriteLiteral?: string;
}

export interface HashPolicyConfig {
  header?: { headerName?: string; regexRewrite?: RegexMatchAndSubstituteConfig };
  cookie?: { name?: string; ttl?: number; path?: string; attributes?: readonly { name?: string; value?: string }[] };
  connectionProperties?: { sourceIp?: boolean };
  queryParameter?: { name?: string };
  filterState?: { key?: string };
  terminal?: boolean;
}

export interface RequestMirrorPolicyConfig {
  cluster?: string;
  clusterHeader?: string;
  runtimeFraction?: RuntimeFractionalPercentConfig;
  traceSampled?: boolean;
  disableShadowHostSuffixAppend?: boolean;
  requestHeadersMutations?: readonly object[];
  hostRewriteLiteral?: string;
}

export interface UpgradeConfigConfig {
  upgradeType?: string;
  enabled?: boolean;
  connectConfig?: { proxyProtocolConfig?: object; allowPost?: boolean };
}

export interface InternalRedirectPolicyConfig {
  maxInternalRedirects?: number;
  redirectResponseCodes?: readonly number[];
  predicates?: readonly object[];
  allowCrossSchemeRedirect?: boolean;
  responseHeadersToCopy?: readonly string[];
}

export interface RetryPolicyConfig {
  retryOn?: string;
  numRetries?: number;
  perTryTimeout?: number;
  perTryIdleTimeout?: number;
  retryPriority?: { name?: string; typedConfig?: AnyConfig };
  retryHostPredicate?: readonly { name?: string; typedConfig?: AnyConfig }[];
  retryOptionsPredicates?: readonly object[];
  hostSelectionRetryMaxAttempts?: number;
  retriableStatusCodes?: readonly number[];
  retryBackOff?: { baseInterval?: number; maxInterval?: number };
  rateLimitedRetryBackOff?: {
    resetHeaders?: readonly { name?: string; format?: 'SECONDS' | 'UNIX_TIMESTAMP' }[];
    maxInterval?: number;
  };
  retriableHeaders?: readonly HeaderMatcherConfig[];
  retriableRequestHeaders?: readonly HeaderMatcherConfig[];
}

export interface RedirectActionConfig {
  httpsRedirect?: boolean;
  schemeRedirect?: string;
  hostRedirect?: string;
  portRedirect?: number;
  pathRedirect?: string;
  prefixRewrite?: string;
  regexRewrite?: RegexMatchAndSubstituteConfig;
  responseCode?: 'MOVED_PERMANENTLY' | 'FOUND' | 'SEE_OTHER' | 'TEMPORARY_REDIRECT' | 'PERMANENT_REDIRECT';
  stripQuery?: boolean;
}

export interface DirectResponseActionConfig {
  status?: number;
  body?: DataSourceConfig;
  bodyFormat?: object;
}

export interface DataSourceConfig {
  filename?: string;
  inlineBytes?: Uint8Array;
  inlineString?: string;
  environmentVariable?: string;
  watchedDirectory?: object;
}
