/**
 * The plain form of every supported message (the conventions are in plain.ts).
 * Written by scripts/gen-config-types.ts from supported.ts: do not edit.
 */
// biome-ignore-all format: generated
/** Arbitrary JSON (Struct and Value). */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** envoy.config.bootstrap.v3.Bootstrap */
export interface Bootstrap {
  node?: Node;
  staticResources?: BootstrapStaticResources;
  dynamicResources?: BootstrapDynamicResources;
  clusterManager?: ClusterManager;
  layeredRuntime?: LayeredRuntime;
  admin?: Admin;
  statsConfig?: StatsConfig;
  statsFlushInterval?: number;
  statsFlushOnAdmin?: boolean;
  bootstrapExtensions: TypedExtensionConfig<({ '@type': 'envoy.extensions.wasm.v3.WasmService' } & WasmService) | ({ '@type': 'envoy.extensions.network.socket_interface.v3.DefaultSocketInterface' } & DefaultSocketInterface) | ({ '@type': 'envoy.extensions.vcl.v3alpha.VclSocketInterface' } & VclSocketInterface) | ({ '@type': 'sluice.extensions.bootstrap.typescript.v1.TypeScriptService' } & TypeScriptService) | ({ '@type': 'sluice.extensions.vcl.v1.HostStackSocketInterface' } & HostStackSocketInterface)>[];
  defaultSocketInterface: string;
  applicationLogConfig?: BootstrapApplicationLogConfig;
  statsServerVersionOverride?: number;
  dnsResolutionConfig?: DnsResolutionConfig;
  typedDnsResolverConfig?: TypedExtensionConfig<({ '@type': 'envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig' } & GetAddrInfoDnsResolverConfig) | ({ '@type': 'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig' } & CaresDnsResolverConfig)>;
  deferredStatOptions?: BootstrapDeferredStatOptions;
  watchdog?: Watchdog;
  watchdogs?: Watchdogs;
  overloadManager?: OverloadManager;
  statsSinks: StatsSink[];
}

/** envoy.config.bootstrap.v3.Watchdogs */
export interface Watchdogs {
  mainThreadWatchdog?: Watchdog;
  workerWatchdog?: Watchdog;
}

/** envoy.config.bootstrap.v3.Watchdog */
export interface Watchdog {
  missTimeout?: number;
  megamissTimeout?: number;
}

/** envoy.config.bootstrap.v3.Bootstrap.StaticResources */
export interface BootstrapStaticResources {
  listeners: Listener[];
  clusters: Cluster[];
  secrets: Secret[];
}

/** envoy.config.bootstrap.v3.Bootstrap.DynamicResources */
export interface BootstrapDynamicResources {
  ldsConfig?: ConfigSource;
  cdsConfig?: ConfigSource;
  adsConfig?: ApiConfigSource;
}

/** envoy.config.bootstrap.v3.Bootstrap.DeferredStatOptions */
export type BootstrapDeferredStatOptions = Record<never, never>;

/** envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig */
export interface BootstrapApplicationLogConfig {
  logFormat?: BootstrapApplicationLogConfigLogFormat;
}

/** envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat */
export interface BootstrapApplicationLogConfigLogFormat {
  textFormat?: string;
  jsonFormat?: { [key: string]: Json };
}

/** envoy.config.bootstrap.v3.Admin */
export interface Admin {
  accessLog: AccessLog[];
  accessLogPath: string;
  profilePath: string;
  address?: Address;
  allowPaths: StringMatcher[];
}

/** envoy.config.bootstrap.v3.ClusterManager */
export interface ClusterManager {
  localClusterName: string;
  outlierDetection?: ClusterManagerOutlierDetection;
  upstreamBindConfig?: BindConfig;
}

/** envoy.config.bootstrap.v3.ClusterManager.OutlierDetection */
export interface ClusterManagerOutlierDetection {
  eventLogPath: string;
}

/** envoy.config.bootstrap.v3.LayeredRuntime */
export interface LayeredRuntime {
  layers: RuntimeLayer[];
}

/** envoy.config.bootstrap.v3.RuntimeLayer */
export interface RuntimeLayer {
  name: string;
  staticLayer?: { [key: string]: Json };
  diskLayer?: RuntimeLayerDiskLayer;
  adminLayer?: RuntimeLayerAdminLayer;
  rtdsLayer?: RuntimeLayerRtdsLayer;
}

/** envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer */
export interface RuntimeLayerDiskLayer {
  symlinkRoot: string;
  subdirectory: string;
  appendServiceCluster: boolean;
}

/** envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer */
export type RuntimeLayerAdminLayer = Record<never, never>;

/** envoy.config.bootstrap.v3.RuntimeLayer.RtdsLayer */
export interface RuntimeLayerRtdsLayer {
  name: string;
  rtdsConfig?: ConfigSource;
}

/** envoy.service.runtime.v3.Runtime */
export interface Runtime {
  name: string;
  layer?: { [key: string]: Json };
}

/** envoy.config.metrics.v3.StatsConfig */
export interface StatsConfig {
  statsTags: TagSpecifier[];
  useAllDefaultTags?: boolean;
  statsMatcher?: StatsMatcher;
  histogramBucketSettings: HistogramBucketSettings[];
}

/** envoy.config.metrics.v3.TagSpecifier */
export interface TagSpecifier {
  tagName: string;
  regex?: string;
  fixedValue?: string;
}

/** envoy.config.metrics.v3.StatsMatcher */
export interface StatsMatcher {
  rejectAll?: boolean;
  exclusionList?: ListStringMatcher;
  inclusionList?: ListStringMatcher;
}

/** envoy.config.metrics.v3.HistogramBucketSettings */
export interface HistogramBucketSettings {
  match?: StringMatcher;
  buckets: number[];
}

/** envoy.extensions.network.socket_interface.v3.DefaultSocketInterface */
export interface DefaultSocketInterface {
  ioUringOptions?: IoUringOptions;
}

/** envoy.extensions.network.socket_interface.v3.IoUringOptions */
export type IoUringOptions = Record<never, never>;

/** envoy.extensions.vcl.v3alpha.VclSocketInterface */
export type VclSocketInterface = Record<never, never>;

/** sluice.extensions.vcl.v1.HostStackSocketInterface */
export interface HostStackSocketInterface {
  runtimeDir: string;
  namespaceId: string;
  applicationName: string;
  rxFifoSize?: number;
  txFifoSize?: number;
  embeddedStack?: EmbeddedStack;
}

/** sluice.extensions.vcl.v1.EmbeddedStack */
export interface EmbeddedStack {
  configPath: string;
}

/** envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig */
export type GetAddrInfoDnsResolverConfig = Record<never, never>;

/** envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig */
export interface CaresDnsResolverConfig {
  resolvers: Address[];
  dnsResolverOptions?: DnsResolverOptions;
}

/** envoy.config.core.v3.DnsResolverOptions */
export interface DnsResolverOptions {
  noDefaultSearchDomain: boolean;
}

/** envoy.config.core.v3.DnsResolutionConfig */
export interface DnsResolutionConfig {
  resolvers: Address[];
  dnsResolverOptions?: DnsResolverOptions;
}

/** envoy.config.overload.v3.OverloadManager */
export interface OverloadManager {
  refreshInterval?: number;
  resourceMonitors: ResourceMonitor[];
  actions: OverloadAction[];
  loadshedPoints: LoadShedPoint[];
}

/** envoy.config.overload.v3.ResourceMonitor */
export interface ResourceMonitor {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig' } & FixedHeapConfig) | ({ '@type': 'envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig' } & InjectedResourceConfig) | ({ '@type': 'envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig' } & CgroupMemoryConfig) | ({ '@type': 'envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig' } & CpuUtilizationConfig) | ({ '@type': 'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig' } & DownstreamConnectionsConfig);
}

/** envoy.config.overload.v3.OverloadAction */
export interface OverloadAction {
  name: string;
  triggers: Trigger[];
  typedConfig?: ({ '@type': 'envoy.config.overload.v3.ScaleTimersOverloadActionConfig' } & ScaleTimersOverloadActionConfig);
}

/** envoy.config.overload.v3.LoadShedPoint */
export interface LoadShedPoint {
  name: string;
  triggers: Trigger[];
}

/** envoy.config.overload.v3.Trigger */
export interface Trigger {
  name: string;
  threshold?: ThresholdTrigger;
  scaled?: ScaledTrigger;
}

/** envoy.config.overload.v3.ThresholdTrigger */
export interface ThresholdTrigger {
  value: number;
}

/** envoy.config.overload.v3.ScaledTrigger */
export interface ScaledTrigger {
  scalingThreshold: number;
  saturationThreshold: number;
}

/** envoy.config.overload.v3.ScaleTimersOverloadActionConfig */
export interface ScaleTimersOverloadActionConfig {
  timerScaleFactors: ScaleTimersOverloadActionConfigScaleTimer[];
}

/** envoy.config.overload.v3.ScaleTimersOverloadActionConfig.ScaleTimer */
export interface ScaleTimersOverloadActionConfigScaleTimer {
  timer: ScaleTimersOverloadActionConfigTimerType;
  minTimeout?: number;
  minScale?: Percent;
}

/** envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig */
export interface FixedHeapConfig {
  maxHeapSizeBytes: number;
}

/** envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig */
export interface InjectedResourceConfig {
  filename: string;
}

/** envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig */
export interface CgroupMemoryConfig {
  maxMemoryBytes: number;
}

/** envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig */
export interface CpuUtilizationConfig {
  mode: CpuUtilizationConfigUtilizationComputeStrategy;
}

/** envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig */
export interface DownstreamConnectionsConfig {
  maxActiveDownstreamConnections: number;
}

/** envoy.config.core.v3.Node */
export interface Node {
  id: string;
  cluster: string;
  metadata?: { [key: string]: Json };
  dynamicParameters: Record<string, ContextParams>;
  locality?: Locality;
  userAgentName: string;
  userAgentVersion?: string;
  userAgentBuildVersion?: BuildVersion;
  extensions: Extension[];
  clientFeatures: string[];
  listeningAddresses: Address[];
}

/** envoy.config.core.v3.BuildVersion */
export interface BuildVersion {
  version?: SemanticVersion;
  metadata?: { [key: string]: Json };
}

/** envoy.type.v3.SemanticVersion */
export interface SemanticVersion {
  majorNumber: number;
  minorNumber: number;
  patch: number;
}

/** envoy.config.core.v3.Extension */
export interface Extension {
  name: string;
  category: string;
  typeDescriptor: string;
  version?: BuildVersion;
  disabled: boolean;
  typeUrls: string[];
}

/** xds.core.v3.ContextParams */
export interface ContextParams {
  params: Record<string, string>;
}

/** envoy.config.core.v3.Locality */
export interface Locality {
  region: string;
  zone: string;
  subZone: string;
}

/** envoy.config.core.v3.Address */
export interface Address {
  socketAddress?: SocketAddress;
  pipe?: Pipe;
}

/** envoy.config.core.v3.SocketAddress */
export interface SocketAddress {
  protocol: SocketAddressProtocol;
  address: string;
  portValue?: number;
  ipv4Compat: boolean;
}

/** envoy.config.core.v3.Pipe */
export interface Pipe {
  path: string;
  mode: number;
}

/** envoy.config.core.v3.BindConfig */
export interface BindConfig {
  sourceAddress?: SocketAddress;
  freebind?: boolean;
  socketOptions: SocketOption[];
}

/** envoy.config.core.v3.SocketOption */
export interface SocketOption {
  description: string;
  level: number;
  name: number;
  intValue?: number;
  bufValue?: Uint8Array;
  state: SocketOptionSocketState;
}

/** envoy.config.core.v3.TcpKeepalive */
export interface TcpKeepalive {
  keepaliveProbes?: number;
  keepaliveTime?: number;
  keepaliveInterval?: number;
}

/** envoy.config.core.v3.CidrRange */
export interface CidrRange {
  addressPrefix: string;
  prefixLen?: number;
}

/** envoy.config.core.v3.DataSource */
export interface DataSource {
  filename?: string;
  inlineBytes?: Uint8Array;
  inlineString?: string;
  environmentVariable?: string;
}

/** envoy.config.core.v3.HeaderValueOption */
export interface HeaderValueOption {
  header?: HeaderValue;
  append?: boolean;
  appendAction: HeaderValueOptionHeaderAppendAction;
  keepEmptyValue: boolean;
}

/** envoy.config.core.v3.HeaderValue */
export interface HeaderValue {
  key: string;
  value: string;
  rawValue: Uint8Array;
}

/** envoy.config.core.v3.Metadata */
export interface CoreMetadata {
  filterMetadata: Record<string, { [key: string]: Json }>;
}

/** envoy.config.core.v3.RuntimeFractionalPercent */
export interface RuntimeFractionalPercent {
  defaultValue?: FractionalPercent;
  runtimeKey: string;
}

/** envoy.config.core.v3.RuntimeUInt32 */
export interface RuntimeUInt32 {
  defaultValue: number;
  runtimeKey: string;
}

/** envoy.config.core.v3.RuntimeFeatureFlag */
export interface RuntimeFeatureFlag {
  defaultValue?: boolean;
  runtimeKey: string;
}

/** envoy.config.core.v3.RuntimeDouble */
export interface RuntimeDouble {
  defaultValue: number;
  runtimeKey: string;
}

/** envoy.config.core.v3.SubstitutionFormatString */
export interface SubstitutionFormatString {
  textFormat?: string;
  textFormatSource?: DataSource;
  jsonFormat?: { [key: string]: Json };
  omitEmptyValues: boolean;
  contentType: string;
  formatters: TypedExtensionConfig<({ '@type': 'envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery' } & ReqWithoutQuery) | ({ '@type': 'envoy.extensions.formatter.metadata.v3.Metadata' } & MetadataMetadata)>[];
  jsonFormatOptions?: JsonFormatOptions;
}

/** envoy.config.core.v3.JsonFormatOptions */
export interface JsonFormatOptions {
  sortProperties: boolean;
}

/** envoy.config.core.v3.TypedExtensionConfig */
export interface TypedExtensionConfig<T> {
  name: string;
  typedConfig?: T;
}

/** envoy.config.core.v3.TransportSocket */
export interface TransportSocket {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer' } & RawBuffer) | ({ '@type': 'envoy.extensions.transport_sockets.tap.v3.Tap' } & Tap) | ({ '@type': 'envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig' } & StartTlsConfig) | ({ '@type': 'envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig' } & UpstreamStartTlsConfig) | ({ '@type': 'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext' } & DownstreamTlsContext) | ({ '@type': 'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext' } & UpstreamTlsContext);
}

/** envoy.config.core.v3.BackoffStrategy */
export interface BackoffStrategy {
  baseInterval?: number;
  maxInterval?: number;
}

/** envoy.config.core.v3.SchemeHeaderTransformation */
export interface SchemeHeaderTransformation {
  schemeToOverwrite?: string;
}

/** envoy.config.core.v3.HttpProtocolOptions */
export interface CoreHttpProtocolOptions {
  idleTimeout?: number;
  maxConnectionDuration?: number;
  maxHeadersCount?: number;
  maxStreamDuration?: number;
  headersWithUnderscoresAction: HttpProtocolOptionsHeadersWithUnderscoresAction;
  maxRequestsPerConnection?: number;
  maxResponseHeadersKb?: number;
}

/** envoy.config.core.v3.Http1ProtocolOptions */
export interface Http1ProtocolOptions {
  allowAbsoluteUrl?: boolean;
  acceptHttp10: boolean;
  defaultHostForHttp10: string;
  headerKeyFormat?: Http1ProtocolOptionsHeaderKeyFormat;
  enableTrailers: boolean;
  allowChunkedLength: boolean;
  overrideStreamErrorOnInvalidHttpMessage?: boolean;
  sendFullyQualifiedUrl: boolean;
  allowCustomMethods: boolean;
  ignoreHttp11Upgrade: StringMatcher[];
}

/** envoy.config.core.v3.Http2ProtocolOptions */
export interface Http2ProtocolOptions {
  hpackTableSize?: number;
  maxConcurrentStreams?: number;
  initialStreamWindowSize?: number;
  initialConnectionWindowSize?: number;
  allowConnect: boolean;
  maxOutboundFrames?: number;
  maxOutboundControlFrames?: number;
  maxConsecutiveInboundFramesWithEmptyPayload?: number;
  maxInboundPriorityFramesPerStream?: number;
  maxInboundWindowUpdateFramesPerDataFrameSent?: number;
  streamErrorOnInvalidHttpMessaging: boolean;
  overrideStreamErrorOnInvalidHttpMessage?: boolean;
  customSettingsParameters: Http2ProtocolOptionsSettingsParameter[];
  connectionKeepalive?: KeepaliveSettings;
}

/** envoy.config.core.v3.Http2ProtocolOptions.SettingsParameter */
export interface Http2ProtocolOptionsSettingsParameter {
  identifier?: number;
  value?: number;
}

/** envoy.config.core.v3.KeepaliveSettings */
export interface KeepaliveSettings {
  interval?: number;
  timeout?: number;
  intervalJitter?: Percent;
  connectionIdleInterval?: number;
}

/** envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat */
export interface Http1ProtocolOptionsHeaderKeyFormat {
  properCaseWords?: Http1ProtocolOptionsHeaderKeyFormatProperCaseWords;
  statefulFormatter?: TypedExtensionConfig<({ '@type': 'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig' } & PreserveCaseFormatterConfig)>;
}

/** envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords */
export type Http1ProtocolOptionsHeaderKeyFormatProperCaseWords = Record<never, never>;

/** envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig */
export type PreserveCaseFormatterConfig = Record<never, never>;

/** envoy.type.v3.Percent */
export interface Percent {
  value: number;
}

/** envoy.type.v3.FractionalPercent */
export interface FractionalPercent {
  numerator: number;
  denominator: FractionalPercentDenominatorType;
}

/** envoy.type.v3.Int64Range */
export interface Int64Range {
  start: number;
  end: number;
}

/** envoy.type.v3.DoubleRange */
export interface DoubleRange {
  start: number;
  end: number;
}

/** envoy.type.matcher.v3.RegexMatcher */
export interface RegexMatcher {
  googleRe2?: RegexMatcherGoogleRE2;
  regex: string;
}

/** envoy.type.matcher.v3.RegexMatcher.GoogleRE2 */
export interface RegexMatcherGoogleRE2 {
  maxProgramSize?: number;
}

/** envoy.type.matcher.v3.RegexMatchAndSubstitute */
export interface RegexMatchAndSubstitute {
  pattern?: RegexMatcher;
  substitution: string;
}

/** envoy.type.matcher.v3.StringMatcher */
export interface StringMatcher {
  exact?: string;
  prefix?: string;
  suffix?: string;
  safeRegex?: RegexMatcher;
  contains?: string;
  ignoreCase: boolean;
}

/** envoy.type.matcher.v3.ListStringMatcher */
export interface ListStringMatcher {
  patterns: StringMatcher[];
}

/** envoy.type.matcher.v3.MetadataMatcher */
export interface MetadataMatcher {
  filter: string;
  path: MetadataMatcherPathSegment[];
  value?: ValueMatcher;
  invert: boolean;
}

/** envoy.type.matcher.v3.MetadataMatcher.PathSegment */
export interface MetadataMatcherPathSegment {
  key?: string;
}

/** envoy.type.matcher.v3.ValueMatcher */
export interface ValueMatcher {
  nullMatch?: ValueMatcherNullMatch;
  doubleMatch?: DoubleMatcher;
  stringMatch?: StringMatcher;
  boolMatch?: boolean;
  presentMatch?: boolean;
  listMatch?: ListMatcher;
  orMatch?: OrMatcher;
}

/** envoy.type.matcher.v3.ValueMatcher.NullMatch */
export type ValueMatcherNullMatch = Record<never, never>;

/** envoy.type.matcher.v3.DoubleMatcher */
export interface DoubleMatcher {
  range?: DoubleRange;
  exact?: number;
}

/** envoy.type.matcher.v3.ListMatcher */
export interface ListMatcher {
  oneOf?: ValueMatcher;
}

/** envoy.type.matcher.v3.OrMatcher */
export interface OrMatcher {
  valueMatchers: ValueMatcher[];
}

/** envoy.config.listener.v3.Listener */
export interface Listener {
  name: string;
  address?: Address;
  additionalAddresses: AdditionalAddress[];
  statPrefix: string;
  filterChains: FilterChain[];
  useOriginalDst?: boolean;
  defaultFilterChain?: FilterChain;
  perConnectionBufferLimitBytes?: number;
  metadata?: CoreMetadata;
  drainType: ListenerDrainType;
  listenerFilters: ListenerFilter[];
  listenerFiltersTimeout?: number;
  continueOnListenerFiltersTimeout: boolean;
  transparent?: boolean;
  freebind?: boolean;
  socketOptions: SocketOption[];
  tcpFastOpenQueueLength?: number;
  trafficDirection: TrafficDirection;
  reusePort: boolean;
  enableReusePort?: boolean;
  accessLog: AccessLog[];
  tcpBacklogSize?: number;
  maxConnectionsToAcceptPerSocketEvent?: number;
  bindToPort?: boolean;
  deprecatedV1?: ListenerDeprecatedV1;
  ignoreGlobalConnLimit: boolean;
  bypassOverloadManager: boolean;
  tcpKeepalive?: TcpKeepalive;
}

/** envoy.config.listener.v3.AdditionalAddress */
export interface AdditionalAddress {
  address?: Address;
  socketOptions?: SocketOptionsOverride;
}

/** envoy.config.core.v3.SocketOptionsOverride */
export interface SocketOptionsOverride {
  socketOptions: SocketOption[];
}

/** envoy.config.listener.v3.Listener.DeprecatedV1 */
export interface ListenerDeprecatedV1 {
  bindToPort?: boolean;
}

/** envoy.config.listener.v3.FilterChain */
export interface FilterChain {
  filterChainMatch?: FilterChainMatch;
  filters: Filter[];
  useProxyProto?: boolean;
  metadata?: CoreMetadata;
  transportSocket?: TransportSocket;
  transportSocketConnectTimeout?: number;
  name: string;
}

/** envoy.config.listener.v3.FilterChainMatch */
export interface FilterChainMatch {
  destinationPort?: number;
  prefixRanges: CidrRange[];
  directSourcePrefixRanges: CidrRange[];
  sourceType: FilterChainMatchConnectionSourceType;
  sourcePrefixRanges: CidrRange[];
  sourcePorts: number[];
  serverNames: string[];
  transportProtocol: string;
  applicationProtocols: string[];
}

/** envoy.config.listener.v3.Filter */
export interface Filter {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy' } & TcpProxy) | ({ '@type': 'envoy.extensions.filters.network.echo.v3.Echo' } & Echo) | ({ '@type': 'envoy.extensions.filters.network.direct_response.v3.Config' } & DirectResponseConfig) | ({ '@type': 'envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit' } & ConnectionLimit) | ({ '@type': 'envoy.extensions.filters.network.sni_cluster.v3.SniCluster' } & SniCluster) | ({ '@type': 'envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit' } & NetworkLocalRatelimitLocalRateLimit) | ({ '@type': 'envoy.extensions.filters.network.rbac.v3.RBAC' } & NetworkRbacRBAC) | ({ '@type': 'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz' } & NetworkExtAuthzExtAuthz) | ({ '@type': 'sluice.extensions.filters.network.typescript.v1.TypeScriptNetworkFilter' } & TypeScriptNetworkFilter) | ({ '@type': 'envoy.extensions.filters.network.wasm.v3.Wasm' } & NetworkWasmWasm) | ({ '@type': 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager' } & HttpConnectionManager);
}

/** envoy.config.listener.v3.ListenerFilter */
export interface ListenerFilter {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector' } & TlsInspector) | ({ '@type': 'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector' } & HttpInspector) | ({ '@type': 'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol' } & ProxyProtocol) | ({ '@type': 'envoy.extensions.filters.listener.original_dst.v3.OriginalDst' } & OriginalDst);
  filterDisabled?: ListenerFilterChainMatchPredicate;
}

/** envoy.config.listener.v3.ListenerFilterChainMatchPredicate */
export interface ListenerFilterChainMatchPredicate {
  orMatch?: ListenerFilterChainMatchPredicateMatchSet;
  andMatch?: ListenerFilterChainMatchPredicateMatchSet;
  notMatch?: ListenerFilterChainMatchPredicate;
  anyMatch?: boolean;
  destinationPortRange?: Int32Range;
}

/** envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet */
export interface ListenerFilterChainMatchPredicateMatchSet {
  rules: ListenerFilterChainMatchPredicate[];
}

/** envoy.type.v3.Int32Range */
export interface Int32Range {
  start: number;
  end: number;
}

/** envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer */
export type RawBuffer = Record<never, never>;

/** envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig */
export interface StartTlsConfig {
  cleartextSocketConfig?: RawBuffer;
  tlsSocketConfig?: DownstreamTlsContext;
}

/** envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig */
export interface UpstreamStartTlsConfig {
  cleartextSocketConfig?: RawBuffer;
  tlsSocketConfig?: UpstreamTlsContext;
}

/** envoy.extensions.transport_sockets.tap.v3.Tap */
export interface Tap {
  commonConfig?: CommonExtensionConfig;
  transportSocket?: TransportSocket;
}

/** envoy.extensions.common.tap.v3.CommonExtensionConfig */
export interface CommonExtensionConfig {
  staticConfig?: TapConfig;
}

/** envoy.config.tap.v3.TapConfig */
export interface TapConfig {
  match?: MatcherMatchPredicate;
  matchConfig?: TapMatchPredicate;
  outputConfig?: OutputConfig;
}

/** envoy.config.tap.v3.MatchPredicate */
export interface TapMatchPredicate {
  anyMatch?: boolean;
}

/** envoy.config.common.matcher.v3.MatchPredicate */
export interface MatcherMatchPredicate {
  anyMatch?: boolean;
}

/** envoy.config.tap.v3.OutputConfig */
export interface OutputConfig {
  sinks: OutputSink[];
  maxBufferedRxBytes?: number;
  maxBufferedTxBytes?: number;
}

/** envoy.config.tap.v3.OutputSink */
export interface OutputSink {
  format: OutputSinkFormat;
  filePerTap?: FilePerTapSink;
}

/** envoy.config.tap.v3.FilePerTapSink */
export interface FilePerTapSink {
  pathPrefix: string;
}

/** envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext */
export interface DownstreamTlsContext {
  commonTlsContext?: CommonTlsContext;
  requireClientCertificate?: boolean;
  sessionTicketKeys?: TlsSessionTicketKeys;
  disableStatelessSessionResumption?: boolean;
  sessionTicketKeysSdsSecretConfig?: SdsSecretConfig;
  disableStatefulSessionResumption: boolean;
  sessionTimeout?: number;
  ocspStaplePolicy: DownstreamTlsContextOcspStaplePolicy;
  fullScanCertsOnSniMismatch?: boolean;
  preferClientCiphers: boolean;
}

/** envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext */
export interface UpstreamTlsContext {
  commonTlsContext?: CommonTlsContext;
  sni: string;
  autoHostSni: boolean;
  autoSniSanValidation: boolean;
  maxSessionKeys?: number;
  enforceRsaKeyUsage?: boolean;
}

/** envoy.extensions.transport_sockets.tls.v3.CommonTlsContext */
export interface CommonTlsContext {
  tlsParams?: TlsParameters;
  tlsCertificates: TlsCertificate[];
  tlsCertificateSdsSecretConfigs: SdsSecretConfig[];
  validationContext?: CertificateValidationContext;
  validationContextSdsSecretConfig?: SdsSecretConfig;
  combinedValidationContext?: CommonTlsContextCombinedCertificateValidationContext;
  alpnProtocols: string[];
  keyLog?: TlsKeyLog;
}

/** envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext */
export interface CommonTlsContextCombinedCertificateValidationContext {
  defaultValidationContext?: CertificateValidationContext;
  validationContextSdsSecretConfig?: SdsSecretConfig;
}

/** envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig */
export interface SdsSecretConfig {
  name: string;
  sdsConfig?: ConfigSource;
}

/** envoy.extensions.transport_sockets.tls.v3.Secret */
export interface Secret {
  name: string;
  tlsCertificate?: TlsCertificate;
  sessionTicketKeys?: TlsSessionTicketKeys;
  validationContext?: CertificateValidationContext;
}

/** envoy.service.discovery.v3.DiscoveryResponse */
export interface DiscoveryResponse {
  versionInfo: string;
  resources: (({ '@type': 'envoy.extensions.transport_sockets.tls.v3.Secret' } & Secret))[];
  typeUrl: string;
  nonce: string;
}

/** envoy.config.core.v3.ConfigSource */
export interface ConfigSource {
  path?: string;
  pathConfigSource?: PathConfigSource;
  apiConfigSource?: ApiConfigSource;
  ads?: AggregatedConfigSource;
  self?: SelfConfigSource;
  initialFetchTimeout?: number;
  resourceApiVersion: ApiVersion;
}

/** envoy.config.core.v3.AggregatedConfigSource */
export type AggregatedConfigSource = Record<never, never>;

/** envoy.config.core.v3.SelfConfigSource */
export interface SelfConfigSource {
  transportApiVersion: ApiVersion;
}

/** envoy.config.core.v3.ApiConfigSource */
export interface ApiConfigSource {
  apiType: ApiConfigSourceApiType;
  transportApiVersion: ApiVersion;
  grpcServices: GrpcService[];
  setNodeOnFirstMessageOnly: boolean;
}

/** envoy.config.cluster.v3.Cluster.EdsClusterConfig */
export interface ClusterEdsClusterConfig {
  edsConfig?: ConfigSource;
  serviceName: string;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.Rds */
export interface Rds {
  configSource?: ConfigSource;
  routeConfigName: string;
}

/** envoy.config.core.v3.PathConfigSource */
export interface PathConfigSource {
  path: string;
  watchedDirectory?: WatchedDirectory;
}

/** envoy.extensions.transport_sockets.tls.v3.TlsParameters */
export interface TlsParameters {
  tlsMinimumProtocolVersion: TlsParametersTlsProtocol;
  tlsMaximumProtocolVersion: TlsParametersTlsProtocol;
  cipherSuites: string[];
  ecdhCurves: string[];
  signatureAlgorithms: string[];
  compliancePolicies: TlsParametersCompliancePolicy[];
}

/** envoy.extensions.transport_sockets.tls.v3.TlsCertificate */
export interface TlsCertificate {
  certificateChain?: DataSource;
  privateKey?: DataSource;
  pkcs12?: DataSource;
  watchedDirectory?: WatchedDirectory;
  password?: DataSource;
  ocspStaple?: DataSource;
}

/** envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys */
export interface TlsSessionTicketKeys {
  keys: DataSource[];
}

/** envoy.extensions.transport_sockets.tls.v3.TlsKeyLog */
export interface TlsKeyLog {
  path: string;
  localAddressRange: CidrRange[];
  remoteAddressRange: CidrRange[];
}

/** envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext */
export interface CertificateValidationContext {
  trustedCa?: DataSource;
  systemRootCerts?: CertificateValidationContextSystemRootCerts;
  watchedDirectory?: WatchedDirectory;
  verifyCertificateSpki: string[];
  verifyCertificateHash: string[];
  matchTypedSubjectAltNames: SubjectAltNameMatcher[];
  matchSubjectAltNames: StringMatcher[];
  crl?: DataSource;
  allowExpiredCertificate: boolean;
  trustChainVerification: CertificateValidationContextTrustChainVerification;
  onlyVerifyLeafCertCrl: boolean;
  maxVerifyDepth?: number;
}

/** envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts */
export type CertificateValidationContextSystemRootCerts = Record<never, never>;

/** envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher */
export interface SubjectAltNameMatcher {
  sanType: SubjectAltNameMatcherSanType;
  matcher?: StringMatcher;
  oid: string;
}

/** envoy.config.core.v3.WatchedDirectory */
export interface WatchedDirectory {
  path: string;
}

/** envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector */
export interface TlsInspector {
  initialReadBufferSize?: number;
  maxClientHelloSize?: number;
  closeConnectionOnClientHelloParsingErrors: boolean;
  enableJa3Fingerprinting?: boolean;
  enableJa4Fingerprinting?: boolean;
}

/** envoy.extensions.filters.listener.http_inspector.v3.HttpInspector */
export type HttpInspector = Record<never, never>;

/** envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol */
export interface ProxyProtocol {
  rules: ProxyProtocolRule[];
  allowRequestsWithoutProxyProtocol: boolean;
  disallowedVersions: ProxyProtocolConfigVersion[];
  statPrefix: string;
}

/** envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule */
export interface ProxyProtocolRule {
  tlvType: number;
  onTlvPresent?: ProxyProtocolKeyValuePair;
}

/** envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair */
export interface ProxyProtocolKeyValuePair {
  metadataNamespace: string;
  key: string;
}

/** envoy.extensions.filters.listener.original_dst.v3.OriginalDst */
export type OriginalDst = Record<never, never>;

/** envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy */
export interface TcpProxy {
  statPrefix: string;
  cluster?: string;
  weightedClusters?: TcpProxyWeightedCluster;
  metadataMatch?: CoreMetadata;
  idleTimeout?: number;
  accessLog: AccessLog[];
  maxConnectAttempts?: number;
  backoffOptions?: BackoffStrategy;
  maxDownstreamConnectionDuration?: number;
  maxDownstreamConnectionDurationJitterPercentage?: Percent;
  accessLogFlushInterval?: number;
  flushAccessLogOnConnected: boolean;
  accessLogOptions?: TcpProxyTcpAccessLogOptions;
  hashPolicy: HashPolicy[];
}

/** envoy.type.v3.HashPolicy */
export interface HashPolicy {
  sourceIp?: HashPolicySourceIp;
  filterState?: HashPolicyFilterState;
}

/** envoy.type.v3.HashPolicy.SourceIp */
export type HashPolicySourceIp = Record<never, never>;

/** envoy.type.v3.HashPolicy.FilterState */
export interface HashPolicyFilterState {
  key: string;
}

/** envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster */
export interface TcpProxyWeightedCluster {
  clusters: TcpProxyWeightedClusterClusterWeight[];
}

/** envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight */
export interface TcpProxyWeightedClusterClusterWeight {
  name: string;
  weight: number;
  metadataMatch?: CoreMetadata;
}

/** envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions */
export interface TcpProxyTcpAccessLogOptions {
  accessLogFlushInterval?: number;
  flushAccessLogOnConnected: boolean;
}

/** envoy.extensions.filters.network.echo.v3.Echo */
export type Echo = Record<never, never>;

/** envoy.extensions.filters.network.direct_response.v3.Config */
export interface DirectResponseConfig {
  response?: DataSource;
}

/** envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit */
export interface ConnectionLimit {
  statPrefix: string;
  maxConnections?: number;
  delay?: number;
  runtimeEnabled?: RuntimeFeatureFlag;
}

/** envoy.extensions.filters.network.sni_cluster.v3.SniCluster */
export type SniCluster = Record<never, never>;

/** envoy.extensions.filters.network.ext_authz.v3.ExtAuthz */
export interface NetworkExtAuthzExtAuthz {
  statPrefix: string;
  grpcService?: GrpcService;
  failureModeAllow: boolean;
  includePeerCertificate: boolean;
  transportApiVersion: ApiVersion;
  filterEnabledMetadata?: MetadataMatcher;
  includeTlsSession: boolean;
}

/** envoy.extensions.filters.network.rbac.v3.RBAC */
export interface NetworkRbacRBAC {
  rules?: ConfigRbacRBAC;
  shadowRules?: ConfigRbacRBAC;
  shadowRulesStatPrefix: string;
  statPrefix: string;
  enforcementType: RBACEnforcementType;
}

/** envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit */
export interface NetworkLocalRatelimitLocalRateLimit {
  statPrefix: string;
  tokenBucket?: TokenBucket;
  runtimeEnabled?: RuntimeFeatureFlag;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager */
export interface HttpConnectionManager {
  forwardClientCertDetails: HttpConnectionManagerForwardClientCertDetails;
  setCurrentClientCertDetails?: HttpConnectionManagerSetCurrentClientCertDetails;
  codecType: HttpConnectionManagerCodecType;
  statPrefix: string;
  routeConfig?: RouteConfiguration;
  rds?: Rds;
  httpFilters: HttpFilter[];
  addUserAgent?: boolean;
  commonHttpProtocolOptions?: CoreHttpProtocolOptions;
  httpProtocolOptions?: Http1ProtocolOptions;
  http2ProtocolOptions?: Http2ProtocolOptions;
  serverName: string;
  serverHeaderTransformation: HttpConnectionManagerServerHeaderTransformation;
  schemeHeaderTransformation?: SchemeHeaderTransformation;
  maxRequestHeadersKb?: number;
  streamIdleTimeout?: number;
  requestTimeout?: number;
  requestHeadersTimeout?: number;
  drainTimeout?: number;
  delayedCloseTimeout?: number;
  accessLog: AccessLog[];
  flushAccessLogOnNewRequest: boolean;
  accessLogOptions?: HttpConnectionManagerHcmAccessLogOptions;
  useRemoteAddress?: boolean;
  xffNumTrustedHops: number;
  originalIpDetectionExtensions: TypedExtensionConfig<({ '@type': 'envoy.extensions.http.original_ip_detection.xff.v3.XffConfig' } & XffConfig)>[];
  internalAddressConfig?: HttpConnectionManagerInternalAddressConfig;
  skipXffAppend: boolean;
  via: string;
  generateRequestId?: boolean;
  preserveExternalRequestId: boolean;
  alwaysSetRequestIdInResponse: boolean;
  proxy100Continue: boolean;
  representIpv4RemoteAddressAsIpv4MappedIpv6: boolean;
  upgradeConfigs: HttpConnectionManagerUpgradeConfig[];
  normalizePath?: boolean;
  mergeSlashes: boolean;
  pathWithEscapedSlashesAction: HttpConnectionManagerPathWithEscapedSlashesAction;
  requestIdExtension?: RequestIDExtension;
  localReplyConfig?: LocalReplyConfig;
  stripMatchingHostPort: boolean;
  stripAnyHostPort?: boolean;
  streamErrorOnInvalidHttpMessage?: boolean;
  stripTrailingHostDot: boolean;
  appendXForwardedPort: boolean;
  http1SafeMaxConnectionDuration: boolean;
  appendLocalOverload: boolean;
  tracing?: HttpConnectionManagerTracing;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails */
export interface HttpConnectionManagerSetCurrentClientCertDetails {
  subject?: boolean;
  cert: boolean;
  dns: boolean;
  uri: boolean;
  chain: boolean;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig */
export interface HttpConnectionManagerInternalAddressConfig {
  unixSockets: boolean;
  cidrRanges: CidrRange[];
}

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig */
export interface HttpConnectionManagerUpgradeConfig {
  upgradeType: string;
  enabled?: boolean;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.HcmAccessLogOptions */
export interface HttpConnectionManagerHcmAccessLogOptions {
  flushAccessLogOnNewRequest: boolean;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig */
export interface LocalReplyConfig {
  mappers: ResponseMapper[];
  bodyFormat?: SubstitutionFormatString;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper */
export interface ResponseMapper {
  filter?: AccessLogFilter;
  statusCode?: number;
  body?: DataSource;
  bodyFormatOverride?: SubstitutionFormatString;
  headersToAdd: HeaderValueOption[];
}

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter */
export interface HttpFilter {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.filters.http.router.v3.Router' } & Router) | ({ '@type': 'envoy.extensions.filters.http.buffer.v3.Buffer' } & Buffer) | ({ '@type': 'envoy.extensions.filters.http.compressor.v3.Compressor' } & Compressor) | ({ '@type': 'envoy.extensions.filters.http.cors.v3.Cors' } & Cors) | ({ '@type': 'envoy.extensions.filters.http.health_check.v3.HealthCheck' } & HealthCheckHealthCheck) | ({ '@type': 'envoy.extensions.filters.http.grpc_http1_bridge.v3.Config' } & GrpcHttp1BridgeConfig) | ({ '@type': 'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig' } & GrpcStatsFilterConfig) | ({ '@type': 'envoy.extensions.filters.http.grpc_web.v3.GrpcWeb' } & GrpcWeb) | ({ '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutation' } & HeaderMutationHeaderMutation) | ({ '@type': 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit' } & HttpLocalRatelimitLocalRateLimit) | ({ '@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault' } & HTTPFault) | ({ '@type': 'envoy.extensions.filters.http.rbac.v3.RBAC' } & HttpRbacRBAC) | ({ '@type': 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz' } & HttpExtAuthzExtAuthz) | ({ '@type': 'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication' } & JwtAuthentication) | ({ '@type': 'envoy.extensions.filters.http.csrf.v3.CsrfPolicy' } & CsrfPolicy) | ({ '@type': 'envoy.extensions.filters.http.basic_auth.v3.BasicAuth' } & BasicAuth) | ({ '@type': 'envoy.extensions.filters.http.set_metadata.v3.Config' } & SetMetadataConfig) | ({ '@type': 'envoy.extensions.filters.http.header_to_metadata.v3.Config' } & HeaderToMetadataConfig) | ({ '@type': 'envoy.extensions.filters.http.ratelimit.v3.RateLimit' } & RatelimitRateLimit) | ({ '@type': 'sluice.extensions.filters.http.typescript.v1.TypeScript' } & TypeScript) | ({ '@type': 'envoy.extensions.filters.http.wasm.v3.Wasm' } & HttpWasmWasm);
  isOptional: boolean;
  disabled: boolean;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension */
export interface RequestIDExtension {
  typedConfig?: ({ '@type': 'envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig' } & UuidRequestIdConfig);
}

/** envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig */
export interface UuidRequestIdConfig {
  packTraceReason?: boolean;
  useRequestIdForTraceSampling?: boolean;
}

/** envoy.extensions.http.original_ip_detection.xff.v3.XffConfig */
export interface XffConfig {
  xffNumTrustedHops: number;
}

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing */
export interface HttpConnectionManagerTracing {
  clientSampling?: Percent;
  randomSampling?: Percent;
  overallSampling?: Percent;
  verbose: boolean;
  maxPathTagLength?: number;
  customTags: CustomTag[];
  provider?: TracingHttp;
  spawnUpstreamSpan?: boolean;
}

/** envoy.config.trace.v3.Tracing.Http */
export interface TracingHttp {
  name: string;
  typedConfig?: ({ '@type': 'envoy.config.trace.v3.OpenTelemetryConfig' } & OpenTelemetryConfig) | ({ '@type': 'envoy.config.trace.v3.ZipkinConfig' } & ZipkinConfig);
}

/** envoy.config.trace.v3.OpenTelemetryConfig */
export interface OpenTelemetryConfig {
  grpcService?: GrpcService;
  httpService?: CoreHttpService;
  serviceName: string;
  resourceDetectors: TypedExtensionConfig<({ '@type': 'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig' } & EnvironmentResourceDetectorConfig) | ({ '@type': 'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig' } & StaticConfigResourceDetectorConfig)>[];
  sampler?: TypedExtensionConfig<({ '@type': 'envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig' } & AlwaysOnSamplerConfig) | ({ '@type': 'envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig' } & TraceIdRatioBasedSamplerConfig) | ({ '@type': 'envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig' } & ParentBasedSamplerConfig)>;
  maxCacheSize?: number;
}

/** envoy.config.trace.v3.ZipkinConfig */
export interface ZipkinConfig {
  collectorCluster: string;
  collectorEndpoint: string;
  traceId128bit: boolean;
  sharedSpanContext?: boolean;
  collectorEndpointVersion: ZipkinConfigCollectorEndpointVersion;
  collectorHostname: string;
}

/** envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig */
export type EnvironmentResourceDetectorConfig = Record<never, never>;

/** envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig */
export interface StaticConfigResourceDetectorConfig {
  attributes: Record<string, string>;
}

/** envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig */
export type AlwaysOnSamplerConfig = Record<never, never>;

/** envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig */
export interface TraceIdRatioBasedSamplerConfig {
  samplingPercentage?: FractionalPercent;
}

/** envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig */
export interface ParentBasedSamplerConfig {
  wrappedSampler?: TypedExtensionConfig<({ '@type': 'envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig' } & AlwaysOnSamplerConfig) | ({ '@type': 'envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig' } & TraceIdRatioBasedSamplerConfig) | ({ '@type': 'envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig' } & ParentBasedSamplerConfig)>;
}

/** envoy.type.tracing.v3.CustomTag */
export interface CustomTag {
  tag: string;
  literal?: CustomTagLiteral;
  environment?: CustomTagEnvironment;
  requestHeader?: CustomTagHeader;
  metadata?: CustomTagMetadata;
}

/** envoy.type.tracing.v3.CustomTag.Literal */
export interface CustomTagLiteral {
  value: string;
}

/** envoy.type.tracing.v3.CustomTag.Environment */
export interface CustomTagEnvironment {
  name: string;
  defaultValue: string;
}

/** envoy.type.tracing.v3.CustomTag.Header */
export interface CustomTagHeader {
  name: string;
  defaultValue: string;
}

/** envoy.type.tracing.v3.CustomTag.Metadata */
export interface CustomTagMetadata {
  kind?: MetadataKind;
  metadataKey?: MetadataKey;
  defaultValue: string;
}

/** envoy.type.metadata.v3.MetadataKind */
export interface MetadataKind {
  request?: MetadataKindRequest;
  route?: MetadataKindRoute;
  cluster?: MetadataKindCluster;
  host?: MetadataKindHost;
}

/** envoy.type.metadata.v3.MetadataKind.Request */
export type MetadataKindRequest = Record<never, never>;

/** envoy.type.metadata.v3.MetadataKind.Route */
export type MetadataKindRoute = Record<never, never>;

/** envoy.type.metadata.v3.MetadataKind.Cluster */
export type MetadataKindCluster = Record<never, never>;

/** envoy.type.metadata.v3.MetadataKind.Host */
export type MetadataKindHost = Record<never, never>;

/** envoy.config.core.v3.HttpService */
export interface CoreHttpService {
  httpUri?: HttpUri;
  requestHeadersToAdd: HeaderValueOption[];
}

/** envoy.config.route.v3.Tracing */
export interface Tracing {
  clientSampling?: FractionalPercent;
  randomSampling?: FractionalPercent;
  overallSampling?: FractionalPercent;
  customTags: CustomTag[];
}

/** envoy.extensions.filters.http.router.v3.Router */
export interface Router {
  dynamicStats?: boolean;
  startChildSpan: boolean;
  upstreamLog: AccessLog[];
  suppressEnvoyHeaders: boolean;
  strictCheckHeaders: string[];
  respectExpectedRqTimeout: boolean;
}

/** envoy.extensions.filters.http.buffer.v3.Buffer */
export interface Buffer {
  maxRequestBytes?: number;
}

/** envoy.extensions.filters.http.buffer.v3.BufferPerRoute */
export interface BufferPerRoute {
  disabled?: boolean;
  buffer?: Buffer;
}

/** envoy.extensions.filters.http.grpc_web.v3.GrpcWeb */
export type GrpcWeb = Record<never, never>;

/** envoy.extensions.filters.http.grpc_http1_bridge.v3.Config */
export type GrpcHttp1BridgeConfig = Record<never, never>;

/** envoy.extensions.filters.http.grpc_stats.v3.FilterConfig */
export interface GrpcStatsFilterConfig {
  statsForAllMethods?: boolean;
  individualMethodStatsAllowlist?: GrpcMethodList;
  replaceDotsInGrpcServiceName: boolean;
}

/** envoy.config.core.v3.GrpcMethodList */
export interface GrpcMethodList {
  services: GrpcMethodListService[];
}

/** envoy.config.core.v3.GrpcMethodList.Service */
export interface GrpcMethodListService {
  name: string;
  methodNames: string[];
}

/** envoy.extensions.filters.http.header_mutation.v3.HeaderMutation */
export interface HeaderMutationHeaderMutation {
  mutations?: Mutations;
  mostSpecificHeaderMutationsWins: boolean;
}

/** envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute */
export interface HeaderMutationPerRoute {
  mutations?: Mutations;
}

/** envoy.extensions.filters.http.header_mutation.v3.Mutations */
export interface Mutations {
  requestMutations: MutationRulesHeaderMutation[];
  responseMutations: MutationRulesHeaderMutation[];
}

/** envoy.config.common.mutation_rules.v3.HeaderMutation */
export interface MutationRulesHeaderMutation {
  remove?: string;
  append?: HeaderValueOption;
}

/** envoy.extensions.filters.http.health_check.v3.HealthCheck */
export interface HealthCheckHealthCheck {
  passThroughMode?: boolean;
  cacheTime?: number;
  clusterMinHealthyPercentages: Record<string, Percent>;
  headers: HeaderMatcher[];
}

/** envoy.extensions.filters.http.cors.v3.Cors */
export type Cors = Record<never, never>;

/** envoy.extensions.filters.http.cors.v3.CorsPolicy */
export interface CorsPolicy {
  allowOriginStringMatch: StringMatcher[];
  allowMethods: string;
  allowHeaders: string;
  exposeHeaders: string;
  maxAge: string;
  allowCredentials?: boolean;
  filterEnabled?: RuntimeFractionalPercent;
  shadowEnabled?: RuntimeFractionalPercent;
  allowPrivateNetworkAccess?: boolean;
  forwardNotMatchingPreflights?: boolean;
}

/** envoy.extensions.filters.http.compressor.v3.Compressor */
export interface Compressor {
  compressorLibrary?: TypedExtensionConfig<({ '@type': 'envoy.extensions.compression.gzip.compressor.v3.Gzip' } & Gzip) | ({ '@type': 'envoy.extensions.compression.brotli.compressor.v3.Brotli' } & Brotli) | ({ '@type': 'envoy.extensions.compression.zstd.compressor.v3.Zstd' } & Zstd)>;
  responseDirectionConfig?: CompressorResponseDirectionConfig;
  chooseFirst: boolean;
}

/** envoy.extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig */
export interface CompressorCommonDirectionConfig {
  enabled?: RuntimeFeatureFlag;
  minContentLength?: number;
  contentType: string[];
}

/** envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig */
export interface CompressorResponseDirectionConfig {
  commonConfig?: CompressorCommonDirectionConfig;
  disableOnEtagHeader: boolean;
  removeAcceptEncodingHeader: boolean;
}

/** envoy.extensions.filters.http.compressor.v3.CompressorPerRoute */
export interface CompressorPerRoute {
  disabled?: boolean;
  overrides?: CompressorOverrides;
}

/** envoy.extensions.filters.http.compressor.v3.CompressorOverrides */
export interface CompressorOverrides {
  responseDirectionConfig?: ResponseDirectionOverrides;
}

/** envoy.extensions.filters.http.compressor.v3.ResponseDirectionOverrides */
export interface ResponseDirectionOverrides {
  removeAcceptEncodingHeader?: boolean;
}

/** envoy.extensions.compression.gzip.compressor.v3.Gzip */
export interface Gzip {
  memoryLevel?: number;
  compressionLevel: GzipCompressionLevel;
  compressionStrategy: GzipCompressionStrategy;
  windowBits?: number;
  chunkSize?: number;
}

/** envoy.extensions.compression.brotli.compressor.v3.Brotli */
export interface Brotli {
  quality?: number;
  encoderMode: BrotliEncoderMode;
  windowBits?: number;
  inputBlockBits?: number;
  chunkSize?: number;
  disableLiteralContextModeling: boolean;
}

/** envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit */
export interface HttpLocalRatelimitLocalRateLimit {
  statPrefix: string;
  status?: HttpStatus;
  tokenBucket?: TokenBucket;
  filterEnabled?: RuntimeFractionalPercent;
  filterEnforced?: RuntimeFractionalPercent;
  requestHeadersToAddWhenNotEnforced: HeaderValueOption[];
  responseHeadersToAdd: HeaderValueOption[];
  descriptors: LocalRateLimitDescriptor[];
  stage: number;
  localRateLimitPerDownstreamConnection: boolean;
  enableXRatelimitHeaders: XRateLimitHeadersRFCVersion;
  vhRateLimits: VhRateLimitsOptions;
  alwaysConsumeDefaultTokenBucket?: boolean;
  rateLimitedAsResourceExhausted: boolean;
}

/** envoy.extensions.filters.http.fault.v3.HTTPFault */
export interface HTTPFault {
  delay?: FaultDelay;
  abort?: FaultAbort;
  upstreamCluster: string;
  headers: HeaderMatcher[];
  downstreamNodes: string[];
  maxActiveFaults?: number;
  responseRateLimit?: FaultRateLimit;
  delayPercentRuntime: string;
  abortPercentRuntime: string;
  delayDurationRuntime: string;
  abortHttpStatusRuntime: string;
  maxActiveFaultsRuntime: string;
  responseRateLimitPercentRuntime: string;
  abortGrpcStatusRuntime: string;
  disableDownstreamClusterStats: boolean;
  filterMetadata?: { [key: string]: Json };
}

/** envoy.extensions.filters.http.fault.v3.FaultAbort */
export interface FaultAbort {
  httpStatus?: number;
  grpcStatus?: number;
  headerAbort?: FaultAbortHeaderAbort;
  percentage?: FractionalPercent;
}

/** envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort */
export type FaultAbortHeaderAbort = Record<never, never>;

/** envoy.extensions.filters.common.fault.v3.FaultDelay */
export interface FaultDelay {
  fixedDelay?: number;
  headerDelay?: FaultDelayHeaderDelay;
  percentage?: FractionalPercent;
}

/** envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay */
export type FaultDelayHeaderDelay = Record<never, never>;

/** envoy.extensions.filters.common.fault.v3.FaultRateLimit */
export interface FaultRateLimit {
  fixedLimit?: FaultRateLimitFixedLimit;
  headerLimit?: FaultRateLimitHeaderLimit;
  percentage?: FractionalPercent;
}

/** envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit */
export interface FaultRateLimitFixedLimit {
  limitKbps: number;
}

/** envoy.extensions.filters.common.fault.v3.FaultRateLimit.HeaderLimit */
export type FaultRateLimitHeaderLimit = Record<never, never>;

/** envoy.extensions.filters.http.ext_authz.v3.ExtAuthz */
export interface HttpExtAuthzExtAuthz {
  grpcService?: GrpcService;
  httpService?: ExtAuthzHttpService;
  transportApiVersion: ApiVersion;
  failureModeAllow: boolean;
  failureModeAllowHeaderAdd: boolean;
  withRequestBody?: BufferSettings;
  clearRouteCache: boolean;
  statusOnError?: HttpStatus;
  metadataContextNamespaces: string[];
  routeMetadataContextNamespaces: string[];
  filterEnabled?: RuntimeFractionalPercent;
  filterEnabledMetadata?: MetadataMatcher;
  denyAtDisable?: RuntimeFeatureFlag;
  includePeerCertificate: boolean;
  statPrefix: string;
  allowedHeaders?: ListStringMatcher;
  disallowedHeaders?: ListStringMatcher;
  includeTlsSession: boolean;
  encodeRawHeaders: boolean;
  enableDynamicMetadataIngestion?: boolean;
}

/** envoy.extensions.filters.http.ext_authz.v3.BufferSettings */
export interface BufferSettings {
  maxRequestBytes: number;
  allowPartialMessage: boolean;
  packAsBytes: boolean;
}

/** envoy.extensions.filters.http.ext_authz.v3.HttpService */
export interface ExtAuthzHttpService {
  serverUri?: HttpUri;
  pathPrefix: string;
  authorizationRequest?: AuthorizationRequest;
  authorizationResponse?: AuthorizationResponse;
}

/** envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest */
export interface AuthorizationRequest {
  allowedHeaders?: ListStringMatcher;
  headersToAdd: HeaderValue[];
}

/** envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse */
export interface AuthorizationResponse {
  allowedUpstreamHeaders?: ListStringMatcher;
  allowedUpstreamHeadersToAppend?: ListStringMatcher;
  allowedClientHeaders?: ListStringMatcher;
  allowedClientHeadersOnSuccess?: ListStringMatcher;
  dynamicMetadataFromHeaders?: ListStringMatcher;
}

/** envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute */
export interface ExtAuthzPerRoute {
  disabled?: boolean;
  checkSettings?: CheckSettings;
}

/** envoy.extensions.filters.http.ext_authz.v3.CheckSettings */
export interface CheckSettings {
  contextExtensions: Record<string, string>;
  disableRequestBodyBuffering: boolean;
  withRequestBody?: BufferSettings;
}

/** envoy.config.core.v3.GrpcService */
export interface GrpcService {
  envoyGrpc?: GrpcServiceEnvoyGrpc;
  timeout?: number;
  initialMetadata: HeaderValue[];
}

/** envoy.config.core.v3.GrpcService.EnvoyGrpc */
export interface GrpcServiceEnvoyGrpc {
  clusterName: string;
  authority: string;
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication */
export interface JwtAuthentication {
  providers: Record<string, JwtProvider>;
  rules: RequirementRule[];
  bypassCorsPreflight: boolean;
  requirementMap: Record<string, JwtRequirement>;
  stripFailureResponse: boolean;
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtProvider */
export interface JwtProvider {
  issuer: string;
  audiences: string[];
  subjects?: StringMatcher;
  requireExpiration: boolean;
  maxLifetime?: number;
  remoteJwks?: RemoteJwks;
  localJwks?: DataSource;
  forward: boolean;
  fromHeaders: JwtHeader[];
  fromParams: string[];
  fromCookies: string[];
  forwardPayloadHeader: string;
  padForwardPayloadHeader: boolean;
  payloadInMetadata: string;
  normalizePayloadInMetadata?: JwtProviderNormalizePayload;
  headerInMetadata: string;
  clockSkewSeconds: number;
  jwtCacheConfig?: JwtCacheConfig;
  claimToHeaders: JwtClaimToHeader[];
  clearRouteCache: boolean;
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload */
export interface JwtProviderNormalizePayload {
  spaceDelimitedClaims: string[];
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtCacheConfig */
export interface JwtCacheConfig {
  jwtCacheSize: number;
}

/** envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks */
export interface RemoteJwks {
  httpUri?: HttpUri;
  cacheDuration?: number;
  asyncFetch?: JwksAsyncFetch;
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwksAsyncFetch */
export interface JwksAsyncFetch {
  fastListener: boolean;
  failedRefetchDuration?: number;
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtHeader */
export interface JwtHeader {
  name: string;
  valuePrefix: string;
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader */
export interface JwtClaimToHeader {
  headerName: string;
  claimName: string;
}

/** envoy.extensions.filters.http.jwt_authn.v3.ProviderWithAudiences */
export interface ProviderWithAudiences {
  providerName: string;
  audiences: string[];
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement */
export interface JwtRequirement {
  providerName?: string;
  providerAndAudiences?: ProviderWithAudiences;
  requiresAny?: JwtRequirementOrList;
  requiresAll?: JwtRequirementAndList;
  allowMissingOrFailed?: Empty;
  allowMissing?: Empty;
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList */
export interface JwtRequirementOrList {
  requirements: JwtRequirement[];
}

/** envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementAndList */
export interface JwtRequirementAndList {
  requirements: JwtRequirement[];
}

/** envoy.extensions.filters.http.jwt_authn.v3.RequirementRule */
export interface RequirementRule {
  match?: RouteMatch;
  requires?: JwtRequirement;
  requirementName?: string;
}

/** envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig */
export interface PerRouteConfig {
  disabled?: boolean;
  requirementName?: string;
}

/** google.protobuf.Empty */
export type Empty = Record<never, never>;

/** envoy.extensions.filters.http.csrf.v3.CsrfPolicy */
export interface CsrfPolicy {
  filterEnabled?: RuntimeFractionalPercent;
  shadowEnabled?: RuntimeFractionalPercent;
  additionalOrigins: StringMatcher[];
}

/** envoy.extensions.filters.http.basic_auth.v3.BasicAuth */
export interface BasicAuth {
  users?: DataSource;
  forwardUsernameHeader: string;
  authenticationHeader: string;
}

/** envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute */
export interface BasicAuthPerRoute {
  users?: DataSource;
}

/** envoy.extensions.filters.http.set_metadata.v3.Config */
export interface SetMetadataConfig {
  metadataNamespace: string;
  value?: { [key: string]: Json };
  metadata: SetMetadataMetadata[];
}

/** envoy.extensions.filters.http.set_metadata.v3.Metadata */
export interface SetMetadataMetadata {
  metadataNamespace: string;
  allowOverwrite: boolean;
  value?: { [key: string]: Json };
}

/** envoy.extensions.filters.http.header_to_metadata.v3.Config */
export interface HeaderToMetadataConfig {
  requestRules: ConfigRule[];
  responseRules: ConfigRule[];
}

/** envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule */
export interface ConfigRule {
  header: string;
  cookie: string;
  onHeaderPresent?: ConfigKeyValuePair;
  onHeaderMissing?: ConfigKeyValuePair;
  remove: boolean;
}

/** envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair */
export interface ConfigKeyValuePair {
  metadataNamespace: string;
  key: string;
  value: string;
  regexValueRewrite?: RegexMatchAndSubstitute;
  type: ConfigValueType;
  encode: ConfigValueEncode;
}

/** envoy.extensions.filters.http.ratelimit.v3.RateLimit */
export interface RatelimitRateLimit {
  domain: string;
  stage: number;
  requestType: string;
  timeout?: number;
  failureModeDeny: boolean;
  rateLimitedAsResourceExhausted: boolean;
  rateLimitService?: RateLimitServiceConfig;
  enableXRatelimitHeaders: RateLimitXRateLimitHeadersRFCVersion;
  disableXEnvoyRatelimitedHeader: boolean;
  rateLimitedStatus?: HttpStatus;
  responseHeadersToAdd: HeaderValueOption[];
  statusOnError?: HttpStatus;
  statPrefix: string;
}

/** envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute */
export interface RateLimitPerRoute {
  vhRateLimits: RateLimitPerRouteVhRateLimitsOptions;
  domain: string;
}

/** envoy.config.ratelimit.v3.RateLimitServiceConfig */
export interface RateLimitServiceConfig {
  grpcService?: GrpcService;
  transportApiVersion: ApiVersion;
}

/** envoy.extensions.filters.http.rbac.v3.RBAC */
export interface HttpRbacRBAC {
  rules?: ConfigRbacRBAC;
  rulesStatPrefix: string;
  shadowRules?: ConfigRbacRBAC;
  shadowRulesStatPrefix: string;
  trackPerRuleStats: boolean;
}

/** envoy.extensions.filters.http.rbac.v3.RBACPerRoute */
export interface RBACPerRoute {
  rbac?: HttpRbacRBAC;
}

/** envoy.config.rbac.v3.RBAC */
export interface ConfigRbacRBAC {
  action: RBACAction;
  policies: Record<string, Policy>;
}

/** envoy.config.rbac.v3.Policy */
export interface Policy {
  permissions: Permission[];
  principals: Principal[];
}

/** envoy.config.rbac.v3.Permission */
export interface Permission {
  andRules?: PermissionSet;
  orRules?: PermissionSet;
  any?: boolean;
  header?: HeaderMatcher;
  urlPath?: PathMatcher;
  destinationIp?: CidrRange;
  destinationPort?: number;
  destinationPortRange?: Int32Range;
  metadata?: MetadataMatcher;
  notRule?: Permission;
  requestedServerName?: StringMatcher;
  sourcedMetadata?: SourcedMetadata;
}

/** envoy.config.rbac.v3.Permission.Set */
export interface PermissionSet {
  rules: Permission[];
}

/** envoy.config.rbac.v3.Principal */
export interface Principal {
  andIds?: PrincipalSet;
  orIds?: PrincipalSet;
  any?: boolean;
  authenticated?: PrincipalAuthenticated;
  sourceIp?: CidrRange;
  directRemoteIp?: CidrRange;
  remoteIp?: CidrRange;
  header?: HeaderMatcher;
  urlPath?: PathMatcher;
  metadata?: MetadataMatcher;
  filterState?: FilterStateMatcher;
  notId?: Principal;
  sourcedMetadata?: SourcedMetadata;
}

/** envoy.config.rbac.v3.Principal.Set */
export interface PrincipalSet {
  ids: Principal[];
}

/** envoy.config.rbac.v3.Principal.Authenticated */
export interface PrincipalAuthenticated {
  principalName?: StringMatcher;
}

/** envoy.config.rbac.v3.SourcedMetadata */
export interface SourcedMetadata {
  metadataMatcher?: MetadataMatcher;
  metadataSource: MetadataSource;
}

/** envoy.type.matcher.v3.PathMatcher */
export interface PathMatcher {
  path?: StringMatcher;
}

/** envoy.type.matcher.v3.FilterStateMatcher */
export interface FilterStateMatcher {
  key: string;
  stringMatch?: StringMatcher;
}

/** envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor */
export interface LocalRateLimitDescriptor {
  entries: RateLimitDescriptorEntry[];
  tokenBucket?: TokenBucket;
}

/** envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry */
export interface RateLimitDescriptorEntry {
  key: string;
  value: string;
}

/** envoy.type.v3.TokenBucket */
export interface TokenBucket {
  maxTokens: number;
  tokensPerFill?: number;
  fillInterval?: number;
}

/** envoy.type.v3.HttpStatus */
export interface HttpStatus {
  code: StatusCode;
}

/** envoy.extensions.compression.zstd.compressor.v3.Zstd */
export interface Zstd {
  compressionLevel?: number;
  enableChecksum: boolean;
  strategy: ZstdStrategy;
  chunkSize?: number;
}

/** sluice.extensions.filters.http.typescript.v1.TypeScript */
export interface TypeScript {
  module: string;
  name: string;
  config?: { [key: string]: Json };
  failurePolicy: TypeScriptFailurePolicy;
  deadline?: number;
  isolated?: TypeScriptIsolation;
}

/** sluice.extensions.filters.http.typescript.v1.TypeScriptIsolation */
export interface TypeScriptIsolation {
  callBudget?: number;
  maxHeapMb?: number;
}

/** sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute */
export interface TypeScriptPerRoute {
  config?: { [key: string]: Json };
}

/** sluice.extensions.filters.network.typescript.v1.TypeScriptNetworkFilter */
export interface TypeScriptNetworkFilter {
  module: string;
  name: string;
  config?: { [key: string]: Json };
  failurePolicy: TypeScriptNetworkFilterFailurePolicy;
  deadline?: number;
  terminal: boolean;
}

/** sluice.extensions.access_loggers.typescript.v1.TypeScriptAccessLog */
export interface TypeScriptAccessLog {
  module: string;
  name: string;
  config?: { [key: string]: Json };
}

/** sluice.extensions.bootstrap.typescript.v1.TypeScriptService */
export interface TypeScriptService {
  module: string;
  name: string;
  config?: { [key: string]: Json };
  singleton?: boolean;
}

/** envoy.config.route.v3.RouteConfiguration */
export interface RouteConfiguration {
  name: string;
  virtualHosts: VirtualHost[];
  internalOnlyHeaders: string[];
  responseHeadersToAdd: HeaderValueOption[];
  responseHeadersToRemove: string[];
  requestHeadersToAdd: HeaderValueOption[];
  requestHeadersToRemove: string[];
  mostSpecificHeaderMutationsWins: boolean;
  validateClusters?: boolean;
  maxDirectResponseBodySizeBytes?: number;
  ignorePortInHostMatching: boolean;
  ignorePathParametersInPathMatching: boolean;
  typedPerFilterConfig: Record<string, ({ '@type': 'envoy.config.route.v3.FilterConfig' } & RouteFilterConfig) | ({ '@type': 'envoy.extensions.filters.http.buffer.v3.BufferPerRoute' } & BufferPerRoute) | ({ '@type': 'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute' } & CompressorPerRoute) | ({ '@type': 'envoy.extensions.filters.http.cors.v3.CorsPolicy' } & CorsPolicy) | ({ '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute' } & HeaderMutationPerRoute) | ({ '@type': 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit' } & HttpLocalRatelimitLocalRateLimit) | ({ '@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault' } & HTTPFault) | ({ '@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute' } & RBACPerRoute) | ({ '@type': 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute' } & ExtAuthzPerRoute) | ({ '@type': 'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig' } & PerRouteConfig) | ({ '@type': 'envoy.extensions.filters.http.csrf.v3.CsrfPolicy' } & CsrfPolicy) | ({ '@type': 'envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute' } & BasicAuthPerRoute) | ({ '@type': 'envoy.extensions.filters.http.header_to_metadata.v3.Config' } & HeaderToMetadataConfig) | ({ '@type': 'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute' } & RateLimitPerRoute) | ({ '@type': 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute' } & TypeScriptPerRoute) | ({ '@type': 'envoy.extensions.filters.http.wasm.v3.Wasm' } & HttpWasmWasm)>;
  metadata?: CoreMetadata;
  requestMirrorPolicies: RouteActionRequestMirrorPolicy[];
}

/** envoy.config.route.v3.VirtualHost */
export interface VirtualHost {
  name: string;
  domains: string[];
  routes: Route[];
  requireTls: VirtualHostTlsRequirementType;
  requestHeadersToAdd: HeaderValueOption[];
  requestHeadersToRemove: string[];
  responseHeadersToAdd: HeaderValueOption[];
  responseHeadersToRemove: string[];
  typedPerFilterConfig: Record<string, ({ '@type': 'envoy.config.route.v3.FilterConfig' } & RouteFilterConfig) | ({ '@type': 'envoy.extensions.filters.http.buffer.v3.BufferPerRoute' } & BufferPerRoute) | ({ '@type': 'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute' } & CompressorPerRoute) | ({ '@type': 'envoy.extensions.filters.http.cors.v3.CorsPolicy' } & CorsPolicy) | ({ '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute' } & HeaderMutationPerRoute) | ({ '@type': 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit' } & HttpLocalRatelimitLocalRateLimit) | ({ '@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault' } & HTTPFault) | ({ '@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute' } & RBACPerRoute) | ({ '@type': 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute' } & ExtAuthzPerRoute) | ({ '@type': 'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig' } & PerRouteConfig) | ({ '@type': 'envoy.extensions.filters.http.csrf.v3.CsrfPolicy' } & CsrfPolicy) | ({ '@type': 'envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute' } & BasicAuthPerRoute) | ({ '@type': 'envoy.extensions.filters.http.header_to_metadata.v3.Config' } & HeaderToMetadataConfig) | ({ '@type': 'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute' } & RateLimitPerRoute) | ({ '@type': 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute' } & TypeScriptPerRoute) | ({ '@type': 'envoy.extensions.filters.http.wasm.v3.Wasm' } & HttpWasmWasm)>;
  includeRequestAttemptCount: boolean;
  includeAttemptCountInResponse: boolean;
  retryPolicy?: RetryPolicy;
  includeIsTimeoutRetryHeader: boolean;
  perRequestBufferLimitBytes?: number;
  requestBodyBufferLimit?: number;
  metadata?: CoreMetadata;
  requestMirrorPolicies: RouteActionRequestMirrorPolicy[];
  rateLimits: RouteRateLimit[];
}

/** envoy.config.route.v3.Route */
export interface Route {
  name: string;
  match?: RouteMatch;
  route?: RouteAction;
  redirect?: RedirectAction;
  directResponse?: DirectResponseAction;
  metadata?: CoreMetadata;
  decorator?: Decorator;
  tracing?: Tracing;
  typedPerFilterConfig: Record<string, ({ '@type': 'envoy.config.route.v3.FilterConfig' } & RouteFilterConfig) | ({ '@type': 'envoy.extensions.filters.http.buffer.v3.BufferPerRoute' } & BufferPerRoute) | ({ '@type': 'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute' } & CompressorPerRoute) | ({ '@type': 'envoy.extensions.filters.http.cors.v3.CorsPolicy' } & CorsPolicy) | ({ '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute' } & HeaderMutationPerRoute) | ({ '@type': 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit' } & HttpLocalRatelimitLocalRateLimit) | ({ '@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault' } & HTTPFault) | ({ '@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute' } & RBACPerRoute) | ({ '@type': 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute' } & ExtAuthzPerRoute) | ({ '@type': 'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig' } & PerRouteConfig) | ({ '@type': 'envoy.extensions.filters.http.csrf.v3.CsrfPolicy' } & CsrfPolicy) | ({ '@type': 'envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute' } & BasicAuthPerRoute) | ({ '@type': 'envoy.extensions.filters.http.header_to_metadata.v3.Config' } & HeaderToMetadataConfig) | ({ '@type': 'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute' } & RateLimitPerRoute) | ({ '@type': 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute' } & TypeScriptPerRoute) | ({ '@type': 'envoy.extensions.filters.http.wasm.v3.Wasm' } & HttpWasmWasm)>;
  requestHeadersToAdd: HeaderValueOption[];
  requestHeadersToRemove: string[];
  responseHeadersToAdd: HeaderValueOption[];
  responseHeadersToRemove: string[];
  perRequestBufferLimitBytes?: number;
  requestBodyBufferLimit?: number;
}

/** envoy.config.route.v3.Decorator */
export interface Decorator {
  operation: string;
  propagate?: boolean;
}

/** envoy.config.route.v3.FilterConfig */
export interface RouteFilterConfig {
  config?: ({ '@type': 'envoy.extensions.filters.http.buffer.v3.BufferPerRoute' } & BufferPerRoute) | ({ '@type': 'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute' } & CompressorPerRoute) | ({ '@type': 'envoy.extensions.filters.http.cors.v3.CorsPolicy' } & CorsPolicy) | ({ '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute' } & HeaderMutationPerRoute) | ({ '@type': 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit' } & HttpLocalRatelimitLocalRateLimit) | ({ '@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault' } & HTTPFault) | ({ '@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute' } & RBACPerRoute) | ({ '@type': 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute' } & ExtAuthzPerRoute) | ({ '@type': 'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig' } & PerRouteConfig) | ({ '@type': 'envoy.extensions.filters.http.csrf.v3.CsrfPolicy' } & CsrfPolicy) | ({ '@type': 'envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute' } & BasicAuthPerRoute) | ({ '@type': 'envoy.extensions.filters.http.header_to_metadata.v3.Config' } & HeaderToMetadataConfig) | ({ '@type': 'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute' } & RateLimitPerRoute) | ({ '@type': 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute' } & TypeScriptPerRoute) | ({ '@type': 'envoy.extensions.filters.http.wasm.v3.Wasm' } & HttpWasmWasm);
  isOptional: boolean;
  disabled: boolean;
}

/** envoy.config.route.v3.RouteMatch */
export interface RouteMatch {
  prefix?: string;
  path?: string;
  safeRegex?: RegexMatcher;
  connectMatcher?: RouteMatchConnectMatcher;
  pathSeparatedPrefix?: string;
  caseSensitive?: boolean;
  runtimeFraction?: RuntimeFractionalPercent;
  headers: HeaderMatcher[];
  queryParameters: QueryParameterMatcher[];
  grpc?: RouteMatchGrpcRouteMatchOptions;
  dynamicMetadata: MetadataMatcher[];
}

/** envoy.config.route.v3.RouteMatch.ConnectMatcher */
export type RouteMatchConnectMatcher = Record<never, never>;

/** envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions */
export type RouteMatchGrpcRouteMatchOptions = Record<never, never>;

/** envoy.config.route.v3.HeaderMatcher */
export interface HeaderMatcher {
  name: string;
  exactMatch?: string;
  safeRegexMatch?: RegexMatcher;
  rangeMatch?: Int64Range;
  presentMatch?: boolean;
  prefixMatch?: string;
  suffixMatch?: string;
  containsMatch?: string;
  stringMatch?: StringMatcher;
  invertMatch: boolean;
  treatMissingHeaderAsEmpty: boolean;
}

/** envoy.config.route.v3.QueryParameterMatcher */
export interface QueryParameterMatcher {
  name: string;
  stringMatch?: StringMatcher;
  presentMatch?: boolean;
}

/** envoy.config.route.v3.RouteAction */
export interface RouteAction {
  cluster?: string;
  clusterHeader?: string;
  weightedClusters?: WeightedCluster;
  clusterNotFoundResponseCode: RouteActionClusterNotFoundResponseCode;
  metadataMatch?: CoreMetadata;
  prefixRewrite: string;
  regexRewrite?: RegexMatchAndSubstitute;
  hostRewriteLiteral?: string;
  autoHostRewrite?: boolean;
  hostRewriteHeader?: string;
  hostRewritePathRegex?: RegexMatchAndSubstitute;
  appendXForwardedHost: boolean;
  timeout?: number;
  idleTimeout?: number;
  retryPolicy?: RetryPolicy;
  priority: RoutingPriority;
  hashPolicy: RouteActionHashPolicy[];
  requestMirrorPolicies: RouteActionRequestMirrorPolicy[];
  upgradeConfigs: RouteActionUpgradeConfig[];
  maxStreamDuration?: RouteActionMaxStreamDuration;
  rateLimits: RouteRateLimit[];
  includeVhRateLimits?: boolean;
}

/** envoy.config.route.v3.RateLimit */
export interface RouteRateLimit {
  stage?: number;
  disableKey: string;
  actions: RateLimitAction[];
  limit?: RateLimitOverride;
}

/** envoy.config.route.v3.RateLimit.Action */
export interface RateLimitAction {
  sourceCluster?: RateLimitActionSourceCluster;
  destinationCluster?: RateLimitActionDestinationCluster;
  requestHeaders?: RateLimitActionRequestHeaders;
  queryParameters?: RateLimitActionQueryParameters;
  remoteAddress?: RateLimitActionRemoteAddress;
  genericKey?: RateLimitActionGenericKey;
  headerValueMatch?: RateLimitActionHeaderValueMatch;
  metadata?: RateLimitActionMetaData;
  maskedRemoteAddress?: RateLimitActionMaskedRemoteAddress;
  queryParameterValueMatch?: RateLimitActionQueryParameterValueMatch;
}

/** envoy.config.route.v3.RateLimit.Action.SourceCluster */
export type RateLimitActionSourceCluster = Record<never, never>;

/** envoy.config.route.v3.RateLimit.Action.DestinationCluster */
export type RateLimitActionDestinationCluster = Record<never, never>;

/** envoy.config.route.v3.RateLimit.Action.RequestHeaders */
export interface RateLimitActionRequestHeaders {
  headerName: string;
  descriptorKey: string;
  skipIfAbsent: boolean;
}

/** envoy.config.route.v3.RateLimit.Action.QueryParameters */
export interface RateLimitActionQueryParameters {
  queryParameterName: string;
  descriptorKey: string;
  skipIfAbsent: boolean;
}

/** envoy.config.route.v3.RateLimit.Action.RemoteAddress */
export type RateLimitActionRemoteAddress = Record<never, never>;

/** envoy.config.route.v3.RateLimit.Action.MaskedRemoteAddress */
export interface RateLimitActionMaskedRemoteAddress {
  v4PrefixMaskLen?: number;
  v6PrefixMaskLen?: number;
}

/** envoy.config.route.v3.RateLimit.Action.GenericKey */
export interface RateLimitActionGenericKey {
  descriptorValue: string;
  descriptorKey: string;
}

/** envoy.config.route.v3.RateLimit.Action.HeaderValueMatch */
export interface RateLimitActionHeaderValueMatch {
  descriptorKey: string;
  descriptorValue: string;
  expectMatch?: boolean;
  headers: HeaderMatcher[];
}

/** envoy.config.route.v3.RateLimit.Action.QueryParameterValueMatch */
export interface RateLimitActionQueryParameterValueMatch {
  descriptorKey: string;
  descriptorValue: string;
  expectMatch?: boolean;
  queryParameters: QueryParameterMatcher[];
}

/** envoy.config.route.v3.RateLimit.Action.MetaData */
export interface RateLimitActionMetaData {
  descriptorKey: string;
  metadataKey?: MetadataKey;
  defaultValue: string;
  source: RateLimitActionMetaDataSource;
  skipIfAbsent: boolean;
}

/** envoy.config.route.v3.RateLimit.Override */
export interface RateLimitOverride {
  dynamicMetadata?: RateLimitOverrideDynamicMetadata;
}

/** envoy.config.route.v3.RateLimit.Override.DynamicMetadata */
export interface RateLimitOverrideDynamicMetadata {
  metadataKey?: MetadataKey;
}

/** envoy.type.metadata.v3.MetadataKey */
export interface MetadataKey {
  key: string;
  path: MetadataKeyPathSegment[];
}

/** envoy.type.metadata.v3.MetadataKey.PathSegment */
export interface MetadataKeyPathSegment {
  key?: string;
}

/** envoy.config.route.v3.RouteAction.RequestMirrorPolicy */
export interface RouteActionRequestMirrorPolicy {
  cluster: string;
  clusterHeader: string;
  runtimeFraction?: RuntimeFractionalPercent;
  disableShadowHostSuffixAppend: boolean;
  hostRewriteLiteral: string;
}

/** envoy.config.route.v3.RouteAction.HashPolicy */
export interface RouteActionHashPolicy {
  header?: RouteActionHashPolicyHeader;
  cookie?: RouteActionHashPolicyCookie;
  connectionProperties?: RouteActionHashPolicyConnectionProperties;
  queryParameter?: RouteActionHashPolicyQueryParameter;
  filterState?: RouteActionHashPolicyFilterState;
  terminal: boolean;
}

/** envoy.config.route.v3.RouteAction.HashPolicy.FilterState */
export interface RouteActionHashPolicyFilterState {
  key: string;
}

/** envoy.config.route.v3.RouteAction.HashPolicy.Header */
export interface RouteActionHashPolicyHeader {
  headerName: string;
  regexRewrite?: RegexMatchAndSubstitute;
}

/** envoy.config.route.v3.RouteAction.HashPolicy.Cookie */
export interface RouteActionHashPolicyCookie {
  name: string;
  ttl?: number;
  path: string;
  attributes: RouteActionHashPolicyCookieAttribute[];
}

/** envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute */
export interface RouteActionHashPolicyCookieAttribute {
  name: string;
  value: string;
}

/** envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties */
export interface RouteActionHashPolicyConnectionProperties {
  sourceIp: boolean;
}

/** envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter */
export interface RouteActionHashPolicyQueryParameter {
  name: string;
}

/** envoy.config.route.v3.WeightedCluster */
export interface WeightedCluster {
  clusters: WeightedClusterClusterWeight[];
  totalWeight?: number;
  runtimeKeyPrefix: string;
  headerName?: string;
  useHashPolicy?: boolean;
}

/** envoy.config.route.v3.WeightedCluster.ClusterWeight */
export interface WeightedClusterClusterWeight {
  name: string;
  clusterHeader: string;
  weight?: number;
  metadataMatch?: CoreMetadata;
  requestHeadersToAdd: HeaderValueOption[];
  requestHeadersToRemove: string[];
  responseHeadersToAdd: HeaderValueOption[];
  responseHeadersToRemove: string[];
  typedPerFilterConfig: Record<string, ({ '@type': 'envoy.config.route.v3.FilterConfig' } & RouteFilterConfig) | ({ '@type': 'envoy.extensions.filters.http.buffer.v3.BufferPerRoute' } & BufferPerRoute) | ({ '@type': 'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute' } & CompressorPerRoute) | ({ '@type': 'envoy.extensions.filters.http.cors.v3.CorsPolicy' } & CorsPolicy) | ({ '@type': 'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute' } & HeaderMutationPerRoute) | ({ '@type': 'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit' } & HttpLocalRatelimitLocalRateLimit) | ({ '@type': 'envoy.extensions.filters.http.fault.v3.HTTPFault' } & HTTPFault) | ({ '@type': 'envoy.extensions.filters.http.rbac.v3.RBACPerRoute' } & RBACPerRoute) | ({ '@type': 'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute' } & ExtAuthzPerRoute) | ({ '@type': 'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig' } & PerRouteConfig) | ({ '@type': 'envoy.extensions.filters.http.csrf.v3.CsrfPolicy' } & CsrfPolicy) | ({ '@type': 'envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute' } & BasicAuthPerRoute) | ({ '@type': 'envoy.extensions.filters.http.header_to_metadata.v3.Config' } & HeaderToMetadataConfig) | ({ '@type': 'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute' } & RateLimitPerRoute) | ({ '@type': 'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute' } & TypeScriptPerRoute) | ({ '@type': 'envoy.extensions.filters.http.wasm.v3.Wasm' } & HttpWasmWasm)>;
  hostRewriteLiteral?: string;
}

/** envoy.config.route.v3.RouteAction.UpgradeConfig */
export interface RouteActionUpgradeConfig {
  upgradeType: string;
  enabled?: boolean;
  connectConfig?: RouteActionUpgradeConfigConnectConfig;
}

/** envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig */
export interface RouteActionUpgradeConfigConnectConfig {
  allowPost: boolean;
}

/** envoy.config.route.v3.RouteAction.MaxStreamDuration */
export interface RouteActionMaxStreamDuration {
  maxStreamDuration?: number;
  grpcTimeoutHeaderMax?: number;
  grpcTimeoutHeaderOffset?: number;
}

/** envoy.config.route.v3.RetryPolicy */
export interface RetryPolicy {
  retryOn: string;
  numRetries?: number;
  perTryTimeout?: number;
  perTryIdleTimeout?: number;
  retryPriority?: RetryPolicyRetryPriority;
  retryHostPredicate: RetryPolicyRetryHostPredicate[];
  hostSelectionRetryMaxAttempts: number;
  retriableStatusCodes: number[];
  retryBackOff?: RetryPolicyRetryBackOff;
  rateLimitedRetryBackOff?: RetryPolicyRateLimitedRetryBackOff;
  retriableHeaders: HeaderMatcher[];
  retriableRequestHeaders: HeaderMatcher[];
}

/** envoy.config.route.v3.RetryPolicy.RetryHostPredicate */
export interface RetryPolicyRetryHostPredicate {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate' } & PreviousHostsPredicate) | ({ '@type': 'envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate' } & OmitCanaryHostsPredicate) | ({ '@type': 'envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig' } & OmitHostMetadataConfig);
}

/** envoy.config.route.v3.RetryPolicy.RetryPriority */
export interface RetryPolicyRetryPriority {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig' } & PreviousPrioritiesConfig);
}

/** envoy.config.route.v3.RetryPolicy.RetryBackOff */
export interface RetryPolicyRetryBackOff {
  baseInterval?: number;
  maxInterval?: number;
}

/** envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff */
export interface RetryPolicyRateLimitedRetryBackOff {
  resetHeaders: RetryPolicyResetHeader[];
  maxInterval?: number;
}

/** envoy.config.route.v3.RetryPolicy.ResetHeader */
export interface RetryPolicyResetHeader {
  name: string;
  format: RetryPolicyResetHeaderFormat;
}

/** envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate */
export type PreviousHostsPredicate = Record<never, never>;

/** envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate */
export type OmitCanaryHostsPredicate = Record<never, never>;

/** envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig */
export interface OmitHostMetadataConfig {
  metadataMatch?: CoreMetadata;
}

/** envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig */
export interface PreviousPrioritiesConfig {
  updateFrequency: number;
}

/** envoy.config.route.v3.RedirectAction */
export interface RedirectAction {
  httpsRedirect?: boolean;
  schemeRedirect?: string;
  hostRedirect: string;
  portRedirect: number;
  pathRedirect?: string;
  prefixRewrite?: string;
  regexRewrite?: RegexMatchAndSubstitute;
  responseCode: RedirectActionRedirectResponseCode;
  stripQuery: boolean;
}

/** envoy.config.route.v3.DirectResponseAction */
export interface DirectResponseAction {
  status: number;
  body?: DataSource;
}

/** envoy.config.cluster.v3.Cluster */
export interface Cluster {
  name: string;
  altStatName: string;
  type?: ClusterDiscoveryType;
  clusterType?: ClusterCustomClusterType;
  connectTimeout?: number;
  perConnectionBufferLimitBytes?: number;
  lbPolicy: ClusterLbPolicy;
  loadAssignment?: ClusterLoadAssignment;
  maxRequestsPerConnection?: number;
  circuitBreakers?: CircuitBreakers;
  commonHttpProtocolOptions?: CoreHttpProtocolOptions;
  httpProtocolOptions?: Http1ProtocolOptions;
  upstreamHttpProtocolOptions?: UpstreamHttpProtocolOptions;
  http2ProtocolOptions?: Http2ProtocolOptions;
  typedExtensionProtocolOptions: Record<string, ({ '@type': 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions' } & HttpHttpProtocolOptions) | ({ '@type': 'envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions' } & TcpProtocolOptions)>;
  dnsRefreshRate?: number;
  dnsFailureRefreshRate?: ClusterRefreshRate;
  respectDnsTtl: boolean;
  dnsLookupFamily: ClusterDnsLookupFamily;
  dnsJitter?: number;
  edsClusterConfig?: ClusterEdsClusterConfig;
  dnsResolvers: Address[];
  dnsResolutionConfig?: DnsResolutionConfig;
  typedDnsResolverConfig?: TypedExtensionConfig<({ '@type': 'envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig' } & GetAddrInfoDnsResolverConfig) | ({ '@type': 'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig' } & CaresDnsResolverConfig)>;
  waitForWarmOnInit?: boolean;
  cleanupInterval?: number;
  upstreamBindConfig?: BindConfig;
  originalDstLbConfig?: ClusterOriginalDstLbConfig;
  leastRequestLbConfig?: ClusterLeastRequestLbConfig;
  roundRobinLbConfig?: ClusterRoundRobinLbConfig;
  ringHashLbConfig?: ClusterRingHashLbConfig;
  maglevLbConfig?: ClusterMaglevLbConfig;
  lbSubsetConfig?: ClusterLbSubsetConfig;
  commonLbConfig?: ClusterCommonLbConfig;
  transportSocket?: TransportSocket;
  transportSocketMatches: ClusterTransportSocketMatch[];
  metadata?: CoreMetadata;
  upstreamConnectionOptions?: UpstreamConnectionOptions;
  loadBalancingPolicy?: LoadBalancingPolicy;
  trackClusterStats?: TrackClusterStats;
  healthChecks: CoreHealthCheck[];
  outlierDetection?: OutlierDetection;
  closeConnectionsOnHostHealthFailure: boolean;
  ignoreHealthOnHostRemoval: boolean;
}

/** envoy.config.core.v3.HealthCheck */
export interface CoreHealthCheck {
  timeout?: number;
  interval?: number;
  initialJitter?: number;
  intervalJitter?: number;
  intervalJitterPercent: number;
  unhealthyThreshold?: number;
  healthyThreshold?: number;
  altPort?: number;
  reuseConnection?: boolean;
  httpHealthCheck?: HealthCheckHttpHealthCheck;
  tcpHealthCheck?: HealthCheckTcpHealthCheck;
  grpcHealthCheck?: HealthCheckGrpcHealthCheck;
  noTrafficInterval?: number;
  noTrafficHealthyInterval?: number;
  unhealthyInterval?: number;
  unhealthyEdgeInterval?: number;
  healthyEdgeInterval?: number;
  eventLogPath: string;
  eventLogger: TypedExtensionConfig<({ '@type': 'envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink' } & HealthCheckEventFileSink)>[];
  alwaysLogHealthCheckFailures: boolean;
  alwaysLogHealthCheckSuccess: boolean;
  tlsOptions?: HealthCheckTlsOptions;
  transportSocketMatchCriteria?: { [key: string]: Json };
}

/** envoy.config.core.v3.HealthCheck.Payload */
export interface HealthCheckPayload {
  text?: string;
  binary?: Uint8Array;
}

/** envoy.config.core.v3.HealthCheck.HttpHealthCheck */
export interface HealthCheckHttpHealthCheck {
  host: string;
  path: string;
  send?: HealthCheckPayload;
  receive: HealthCheckPayload[];
  responseBufferSize?: number;
  requestHeadersToAdd: HeaderValueOption[];
  requestHeadersToRemove: string[];
  expectedStatuses: Int64Range[];
  retriableStatuses: Int64Range[];
  codecClientType: CodecClientType;
  serviceNameMatcher?: StringMatcher;
  method: RequestMethod;
}

/** envoy.config.core.v3.HealthCheck.TcpHealthCheck */
export interface HealthCheckTcpHealthCheck {
  send?: HealthCheckPayload;
  receive: HealthCheckPayload[];
}

/** envoy.config.core.v3.HealthCheck.GrpcHealthCheck */
export interface HealthCheckGrpcHealthCheck {
  serviceName: string;
  authority: string;
  initialMetadata: HeaderValueOption[];
}

/** envoy.config.core.v3.HealthCheck.TlsOptions */
export interface HealthCheckTlsOptions {
  alpnProtocols: string[];
}

/** envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink */
export interface HealthCheckEventFileSink {
  eventLogPath: string;
}

/** envoy.config.cluster.v3.OutlierDetection */
export interface OutlierDetection {
  consecutive5xx?: number;
  interval?: number;
  baseEjectionTime?: number;
  maxEjectionPercent?: number;
  enforcingConsecutive5xx?: number;
  enforcingSuccessRate?: number;
  successRateMinimumHosts?: number;
  successRateRequestVolume?: number;
  successRateStdevFactor?: number;
  consecutiveGatewayFailure?: number;
  enforcingConsecutiveGatewayFailure?: number;
  splitExternalLocalOriginErrors: boolean;
  consecutiveLocalOriginFailure?: number;
  enforcingConsecutiveLocalOriginFailure?: number;
  enforcingLocalOriginSuccessRate?: number;
  failurePercentageThreshold?: number;
  enforcingFailurePercentage?: number;
  enforcingFailurePercentageLocalOrigin?: number;
  failurePercentageMinimumHosts?: number;
  failurePercentageRequestVolume?: number;
  maxEjectionTime?: number;
  maxEjectionTimeJitter?: number;
  successfulActiveHealthCheckUnejectHost?: boolean;
  alwaysEjectOneHost?: boolean;
}

/** envoy.config.cluster.v3.Cluster.TransportSocketMatch */
export interface ClusterTransportSocketMatch {
  name: string;
  match?: { [key: string]: Json };
  transportSocket?: TransportSocket;
}

/** envoy.config.cluster.v3.Cluster.CustomClusterType */
export interface ClusterCustomClusterType {
  name: string;
  typedConfig?: ({ '@type': 'envoy.extensions.clusters.aggregate.v3.ClusterConfig' } & ClusterConfig) | ({ '@type': 'envoy.extensions.clusters.dns.v3.DnsCluster' } & DnsCluster);
}

/** envoy.extensions.clusters.aggregate.v3.ClusterConfig */
export interface ClusterConfig {
  clusters: string[];
}

/** envoy.extensions.clusters.dns.v3.DnsCluster */
export interface DnsCluster {
  dnsRefreshRate?: number;
  dnsFailureRefreshRate?: DnsClusterRefreshRate;
  respectDnsTtl: boolean;
  dnsJitter?: number;
  typedDnsResolverConfig?: TypedExtensionConfig<({ '@type': 'envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig' } & GetAddrInfoDnsResolverConfig) | ({ '@type': 'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig' } & CaresDnsResolverConfig)>;
  dnsLookupFamily: DnsLookupFamily;
  allAddressesInSingleEndpoint: boolean;
}

/** envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate */
export interface DnsClusterRefreshRate {
  baseInterval?: number;
  maxInterval?: number;
}

/** envoy.config.cluster.v3.Cluster.RefreshRate */
export interface ClusterRefreshRate {
  baseInterval?: number;
  maxInterval?: number;
}

/** envoy.config.cluster.v3.Cluster.RoundRobinLbConfig */
export interface ClusterRoundRobinLbConfig {
  slowStartConfig?: ClusterSlowStartConfig;
}

/** envoy.config.cluster.v3.Cluster.LeastRequestLbConfig */
export interface ClusterLeastRequestLbConfig {
  choiceCount?: number;
  activeRequestBias?: RuntimeDouble;
  slowStartConfig?: ClusterSlowStartConfig;
}

/** envoy.config.cluster.v3.Cluster.SlowStartConfig */
export interface ClusterSlowStartConfig {
  slowStartWindow?: number;
  aggression?: RuntimeDouble;
  minWeightPercent?: Percent;
}

/** envoy.config.cluster.v3.Cluster.LbSubsetConfig */
export interface ClusterLbSubsetConfig {
  fallbackPolicy: ClusterLbSubsetConfigLbSubsetFallbackPolicy;
  defaultSubset?: { [key: string]: Json };
  subsetSelectors: ClusterLbSubsetConfigLbSubsetSelector[];
  localityWeightAware: boolean;
  scaleLocalityWeight: boolean;
  panicModeAny: boolean;
  listAsAny: boolean;
  metadataFallbackPolicy: ClusterLbSubsetConfigLbSubsetMetadataFallbackPolicy;
}

/** envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector */
export interface ClusterLbSubsetConfigLbSubsetSelector {
  keys: string[];
  singleHostPerSubset: boolean;
  fallbackPolicy: ClusterLbSubsetConfigLbSubsetSelectorLbSubsetSelectorFallbackPolicy;
  fallbackKeysSubset: string[];
}

/** envoy.config.cluster.v3.Cluster.RingHashLbConfig */
export interface ClusterRingHashLbConfig {
  minimumRingSize?: number;
  maximumRingSize?: number;
  hashFunction: ClusterRingHashLbConfigHashFunction;
}

/** envoy.config.cluster.v3.Cluster.MaglevLbConfig */
export interface ClusterMaglevLbConfig {
  tableSize?: number;
}

/** envoy.config.cluster.v3.Cluster.OriginalDstLbConfig */
export interface ClusterOriginalDstLbConfig {
  useHttpHeader: boolean;
  httpHeaderName: string;
  upstreamPortOverride?: number;
}

/** envoy.config.cluster.v3.Cluster.CommonLbConfig */
export interface ClusterCommonLbConfig {
  healthyPanicThreshold?: Percent;
  ignoreNewHostsUntilFirstHc: boolean;
  closeConnectionsOnHostSetChange: boolean;
  zoneAwareLbConfig?: ClusterCommonLbConfigZoneAwareLbConfig;
  localityWeightedLbConfig?: ClusterCommonLbConfigLocalityWeightedLbConfig;
  consistentHashingLbConfig?: ClusterCommonLbConfigConsistentHashingLbConfig;
}

/** envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig */
export interface ClusterCommonLbConfigZoneAwareLbConfig {
  routingEnabled?: Percent;
  minClusterSize?: number;
  failTrafficOnPanic: boolean;
}

/** envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig */
export type ClusterCommonLbConfigLocalityWeightedLbConfig = Record<never, never>;

/** envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig */
export interface ClusterCommonLbConfigConsistentHashingLbConfig {
  useHostnameForHashing: boolean;
  hashBalanceFactor?: number;
}

/** envoy.config.cluster.v3.CircuitBreakers */
export interface CircuitBreakers {
  thresholds: CircuitBreakersThresholds[];
  perHostThresholds: CircuitBreakersThresholds[];
}

/** envoy.config.cluster.v3.CircuitBreakers.Thresholds */
export interface CircuitBreakersThresholds {
  priority: RoutingPriority;
  maxConnections?: number;
  maxPendingRequests?: number;
  maxRequests?: number;
  maxRetries?: number;
  retryBudget?: CircuitBreakersThresholdsRetryBudget;
  trackRemaining: boolean;
  maxConnectionPools?: number;
}

/** envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget */
export interface CircuitBreakersThresholdsRetryBudget {
  budgetPercent?: Percent;
  minRetryConcurrency?: number;
}

/** envoy.config.cluster.v3.UpstreamConnectionOptions */
export interface UpstreamConnectionOptions {
  tcpKeepalive?: TcpKeepalive;
}

/** envoy.config.cluster.v3.TrackClusterStats */
export type TrackClusterStats = Record<never, never>;

/** envoy.config.cluster.v3.LoadBalancingPolicy */
export interface LoadBalancingPolicy {
  policies: LoadBalancingPolicyPolicy[];
}

/** envoy.config.cluster.v3.LoadBalancingPolicy.Policy */
export interface LoadBalancingPolicyPolicy {
  typedExtensionConfig?: TypedExtensionConfig<({ '@type': 'envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin' } & RoundRobin) | ({ '@type': 'envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest' } & LeastRequest) | ({ '@type': 'envoy.extensions.load_balancing_policies.random.v3.Random' } & Random) | ({ '@type': 'envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash' } & RingHash) | ({ '@type': 'envoy.extensions.load_balancing_policies.maglev.v3.Maglev' } & Maglev) | ({ '@type': 'envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality' } & WrrLocality) | ({ '@type': 'envoy.extensions.load_balancing_policies.subset.v3.Subset' } & Subset) | ({ '@type': 'envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided' } & ClusterProvided)>;
}

/** envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin */
export interface RoundRobin {
  slowStartConfig?: SlowStartConfig;
  localityLbConfig?: LocalityLbConfig;
}

/** envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest */
export interface LeastRequest {
  choiceCount?: number;
  activeRequestBias?: RuntimeDouble;
  slowStartConfig?: SlowStartConfig;
  localityLbConfig?: LocalityLbConfig;
  selectionMethod: LeastRequestSelectionMethod;
  enableFullScan?: boolean;
}

/** envoy.extensions.load_balancing_policies.random.v3.Random */
export interface Random {
  localityLbConfig?: LocalityLbConfig;
}

/** envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash */
export interface RingHash {
  hashFunction: RingHashHashFunction;
  minimumRingSize?: number;
  maximumRingSize?: number;
  useHostnameForHashing: boolean;
  hashBalanceFactor?: number;
  consistentHashingLbConfig?: ConsistentHashingLbConfig;
  localityWeightedLbConfig?: LocalityLbConfigLocalityWeightedLbConfig;
}

/** envoy.extensions.load_balancing_policies.maglev.v3.Maglev */
export interface Maglev {
  tableSize?: number;
  consistentHashingLbConfig?: ConsistentHashingLbConfig;
  localityWeightedLbConfig?: LocalityLbConfigLocalityWeightedLbConfig;
}

/** envoy.extensions.load_balancing_policies.subset.v3.Subset */
export interface Subset {
  fallbackPolicy: SubsetLbSubsetFallbackPolicy;
  defaultSubset?: { [key: string]: Json };
  subsetSelectors: SubsetLbSubsetSelector[];
  allowRedundantKeys: boolean;
  localityWeightAware: boolean;
  scaleLocalityWeight: boolean;
  panicModeAny: boolean;
  listAsAny: boolean;
  metadataFallbackPolicy: SubsetLbSubsetMetadataFallbackPolicy;
  subsetLbPolicy?: LoadBalancingPolicy;
}

/** envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector */
export interface SubsetLbSubsetSelector {
  keys: string[];
  singleHostPerSubset: boolean;
  fallbackPolicy: SubsetLbSubsetSelectorLbSubsetSelectorFallbackPolicy;
  fallbackKeysSubset: string[];
}

/** envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality */
export interface WrrLocality {
  endpointPickingPolicy?: LoadBalancingPolicy;
}

/** envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig */
export interface LocalityLbConfig {
  zoneAwareLbConfig?: LocalityLbConfigZoneAwareLbConfig;
  localityWeightedLbConfig?: LocalityLbConfigLocalityWeightedLbConfig;
}

/** envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig */
export interface LocalityLbConfigZoneAwareLbConfig {
  routingEnabled?: Percent;
  minClusterSize?: number;
  failTrafficOnPanic: boolean;
}

/** envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig */
export type LocalityLbConfigLocalityWeightedLbConfig = Record<never, never>;

/** envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig */
export interface SlowStartConfig {
  slowStartWindow?: number;
  aggression?: RuntimeDouble;
  minWeightPercent?: Percent;
}

/** envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig */
export interface ConsistentHashingLbConfig {
  useHostnameForHashing: boolean;
  hashBalanceFactor?: number;
}

/** envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided */
export type ClusterProvided = Record<never, never>;

/** envoy.extensions.upstreams.http.v3.HttpProtocolOptions */
export interface HttpHttpProtocolOptions {
  upstreamHttpProtocolOptions?: UpstreamHttpProtocolOptions;
  commonHttpProtocolOptions?: CoreHttpProtocolOptions;
  explicitHttpConfig?: HttpProtocolOptionsExplicitHttpConfig;
  useDownstreamProtocolConfig?: HttpProtocolOptionsUseDownstreamHttpConfig;
  autoConfig?: HttpProtocolOptionsAutoHttpConfig;
}

/** envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig */
export interface HttpProtocolOptionsAutoHttpConfig {
  httpProtocolOptions?: Http1ProtocolOptions;
  http2ProtocolOptions?: Http2ProtocolOptions;
}

/** envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig */
export interface HttpProtocolOptionsExplicitHttpConfig {
  httpProtocolOptions?: Http1ProtocolOptions;
  http2ProtocolOptions?: Http2ProtocolOptions;
}

/** envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig */
export interface HttpProtocolOptionsUseDownstreamHttpConfig {
  httpProtocolOptions?: Http1ProtocolOptions;
  http2ProtocolOptions?: Http2ProtocolOptions;
}

/** envoy.config.core.v3.UpstreamHttpProtocolOptions */
export interface UpstreamHttpProtocolOptions {
  autoSni: boolean;
  autoSanValidation: boolean;
  overrideAutoSniHeader: string;
}

/** envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions */
export interface TcpProtocolOptions {
  idleTimeout?: number;
}

/** envoy.config.endpoint.v3.ClusterLoadAssignment */
export interface ClusterLoadAssignment {
  clusterName: string;
  endpoints: LocalityLbEndpoints[];
  policy?: ClusterLoadAssignmentPolicy;
}

/** envoy.config.endpoint.v3.ClusterLoadAssignment.Policy */
export interface ClusterLoadAssignmentPolicy {
  dropOverloads: ClusterLoadAssignmentPolicyDropOverload[];
  overprovisioningFactor?: number;
  weightedPriorityHealth: boolean;
}

/** envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload */
export interface ClusterLoadAssignmentPolicyDropOverload {
  category: string;
  dropPercentage?: FractionalPercent;
}

/** envoy.config.endpoint.v3.LocalityLbEndpoints */
export interface LocalityLbEndpoints {
  locality?: Locality;
  metadata?: CoreMetadata;
  lbEndpoints: LbEndpoint[];
  loadBalancingWeight?: number;
  priority: number;
  proximity?: number;
}

/** envoy.config.endpoint.v3.LbEndpoint */
export interface LbEndpoint {
  endpoint?: Endpoint;
  healthStatus: HealthStatus;
  metadata?: CoreMetadata;
  loadBalancingWeight?: number;
}

/** envoy.config.endpoint.v3.Endpoint */
export interface Endpoint {
  address?: Address;
  hostname: string;
  healthCheckConfig?: EndpointHealthCheckConfig;
}

/** envoy.config.endpoint.v3.Endpoint.HealthCheckConfig */
export interface EndpointHealthCheckConfig {
  portValue: number;
  hostname: string;
  address?: Address;
  disableActiveHealthCheck: boolean;
}

/** envoy.config.accesslog.v3.AccessLog */
export interface AccessLog {
  name: string;
  filter?: AccessLogFilter;
  typedConfig?: ({ '@type': 'envoy.extensions.access_loggers.file.v3.FileAccessLog' } & FileAccessLog) | ({ '@type': 'envoy.extensions.access_loggers.stream.v3.StdoutAccessLog' } & StdoutAccessLog) | ({ '@type': 'sluice.extensions.access_loggers.typescript.v1.TypeScriptAccessLog' } & TypeScriptAccessLog) | ({ '@type': 'envoy.extensions.access_loggers.stream.v3.StderrAccessLog' } & StderrAccessLog) | ({ '@type': 'envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig' } & HttpGrpcAccessLogConfig) | ({ '@type': 'envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig' } & TcpGrpcAccessLogConfig) | ({ '@type': 'envoy.extensions.access_loggers.wasm.v3.WasmAccessLog' } & WasmAccessLog);
}

/** envoy.config.accesslog.v3.AccessLogFilter */
export interface AccessLogFilter {
  statusCodeFilter?: StatusCodeFilter;
  durationFilter?: DurationFilter;
  notHealthCheckFilter?: NotHealthCheckFilter;
  traceableFilter?: TraceableFilter;
  runtimeFilter?: RuntimeFilter;
  andFilter?: AndFilter;
  orFilter?: OrFilter;
  headerFilter?: HeaderFilter;
  responseFlagFilter?: ResponseFlagFilter;
  grpcStatusFilter?: GrpcStatusFilter;
  metadataFilter?: MetadataFilter;
  logTypeFilter?: LogTypeFilter;
}

/** envoy.config.accesslog.v3.StatusCodeFilter */
export interface StatusCodeFilter {
  comparison?: ComparisonFilter;
}

/** envoy.config.accesslog.v3.DurationFilter */
export interface DurationFilter {
  comparison?: ComparisonFilter;
}

/** envoy.config.accesslog.v3.ComparisonFilter */
export interface ComparisonFilter {
  op: ComparisonFilterOp;
  value?: RuntimeUInt32;
}

/** envoy.config.accesslog.v3.NotHealthCheckFilter */
export type NotHealthCheckFilter = Record<never, never>;

/** envoy.config.accesslog.v3.TraceableFilter */
export type TraceableFilter = Record<never, never>;

/** envoy.config.accesslog.v3.RuntimeFilter */
export interface RuntimeFilter {
  runtimeKey: string;
  percentSampled?: FractionalPercent;
  useIndependentRandomness: boolean;
}

/** envoy.config.accesslog.v3.AndFilter */
export interface AndFilter {
  filters: AccessLogFilter[];
}

/** envoy.config.accesslog.v3.OrFilter */
export interface OrFilter {
  filters: AccessLogFilter[];
}

/** envoy.config.accesslog.v3.HeaderFilter */
export interface HeaderFilter {
  header?: HeaderMatcher;
}

/** envoy.config.accesslog.v3.ResponseFlagFilter */
export interface ResponseFlagFilter {
  flags: string[];
}

/** envoy.config.accesslog.v3.GrpcStatusFilter */
export interface GrpcStatusFilter {
  statuses: GrpcStatusFilterStatus[];
  exclude: boolean;
}

/** envoy.config.accesslog.v3.MetadataFilter */
export interface MetadataFilter {
  matcher?: MetadataMatcher;
  matchIfKeyNotFound?: boolean;
}

/** envoy.config.accesslog.v3.LogTypeFilter */
export interface LogTypeFilter {
  types: AccessLogType[];
  exclude: boolean;
}

/** envoy.extensions.access_loggers.file.v3.FileAccessLog */
export interface FileAccessLog {
  path: string;
  format?: string;
  jsonFormat?: { [key: string]: Json };
  typedJsonFormat?: { [key: string]: Json };
  logFormat?: SubstitutionFormatString;
}

/** envoy.extensions.access_loggers.stream.v3.StdoutAccessLog */
export interface StdoutAccessLog {
  logFormat?: SubstitutionFormatString;
}

/** envoy.extensions.access_loggers.stream.v3.StderrAccessLog */
export interface StderrAccessLog {
  logFormat?: SubstitutionFormatString;
}

/** envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery */
export type ReqWithoutQuery = Record<never, never>;

/** envoy.extensions.formatter.metadata.v3.Metadata */
export type MetadataMetadata = Record<never, never>;

/** envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig */
export interface HttpGrpcAccessLogConfig {
  commonConfig?: CommonGrpcAccessLogConfig;
  additionalRequestHeadersToLog: string[];
  additionalResponseHeadersToLog: string[];
  additionalResponseTrailersToLog: string[];
}

/** envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig */
export interface TcpGrpcAccessLogConfig {
  commonConfig?: CommonGrpcAccessLogConfig;
}

/** envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig */
export interface CommonGrpcAccessLogConfig {
  logName: string;
  grpcService?: GrpcService;
  transportApiVersion: ApiVersion;
  bufferFlushInterval?: number;
  bufferSizeBytes?: number;
  customTags: CustomTag[];
}

/** envoy.config.metrics.v3.StatsSink */
export interface StatsSink {
  name: string;
  typedConfig?: ({ '@type': 'envoy.config.metrics.v3.StatsdSink' } & StatsdSink) | ({ '@type': 'envoy.config.metrics.v3.DogStatsdSink' } & DogStatsdSink) | ({ '@type': 'envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink' } & GraphiteStatsdSink);
}

/** envoy.config.metrics.v3.StatsdSink */
export interface StatsdSink {
  address?: Address;
  prefix: string;
}

/** envoy.config.metrics.v3.DogStatsdSink */
export interface DogStatsdSink {
  address?: Address;
  prefix: string;
  maxBytesPerDatagram?: number;
}

/** envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink */
export interface GraphiteStatsdSink {
  address?: Address;
  prefix: string;
  maxBytesPerDatagram?: number;
}

/** envoy.extensions.filters.http.wasm.v3.Wasm */
export interface HttpWasmWasm {
  config?: PluginConfig;
}

/** envoy.extensions.filters.network.wasm.v3.Wasm */
export interface NetworkWasmWasm {
  config?: PluginConfig;
}

/** envoy.extensions.access_loggers.wasm.v3.WasmAccessLog */
export interface WasmAccessLog {
  config?: PluginConfig;
}

/** envoy.extensions.wasm.v3.WasmService */
export interface WasmService {
  config?: PluginConfig;
  singleton: boolean;
}

/** envoy.extensions.wasm.v3.PluginConfig */
export interface PluginConfig {
  name: string;
  rootId: string;
  vmConfig?: VmConfig;
  configuration?: ({ '@type': 'google.protobuf.StringValue' } & { value: string }) | ({ '@type': 'google.protobuf.BytesValue' } & { value: Uint8Array }) | ({ '@type': 'google.protobuf.Struct' } & { value: { [key: string]: Json } }) | ({ '@type': 'google.protobuf.Value' } & { value: Json }) | ({ '@type': 'google.protobuf.ListValue' } & { value: Json[] });
  failOpen: boolean;
  failurePolicy: FailurePolicy;
  reloadConfig?: ReloadConfig;
  capabilityRestrictionConfig?: CapabilityRestrictionConfig;
  allowOnHeadersStopIteration?: boolean;
}

/** envoy.extensions.wasm.v3.VmConfig */
export interface VmConfig {
  vmId: string;
  runtime: string;
  code?: AsyncDataSource;
  configuration?: ({ '@type': 'google.protobuf.StringValue' } & { value: string }) | ({ '@type': 'google.protobuf.BytesValue' } & { value: Uint8Array }) | ({ '@type': 'google.protobuf.Struct' } & { value: { [key: string]: Json } }) | ({ '@type': 'google.protobuf.Value' } & { value: Json }) | ({ '@type': 'google.protobuf.ListValue' } & { value: Json[] });
  environmentVariables?: EnvironmentVariables;
  nackOnCodeCacheMiss: boolean;
}

/** envoy.extensions.wasm.v3.EnvironmentVariables */
export interface EnvironmentVariables {
  hostEnvKeys: string[];
  keyValues: Record<string, string>;
}

/** envoy.extensions.wasm.v3.ReloadConfig */
export interface ReloadConfig {
  backoff?: BackoffStrategy;
}

/** envoy.extensions.wasm.v3.CapabilityRestrictionConfig */
export interface CapabilityRestrictionConfig {
  allowedCapabilities: Record<string, SanitizationConfig>;
}

/** envoy.extensions.wasm.v3.SanitizationConfig */
export type SanitizationConfig = Record<never, never>;

/** envoy.config.core.v3.AsyncDataSource */
export interface AsyncDataSource {
  local?: DataSource;
  remote?: RemoteDataSource;
}

/** envoy.config.core.v3.RemoteDataSource */
export interface RemoteDataSource {
  httpUri?: HttpUri;
  sha256: string;
}

/** envoy.config.core.v3.HttpUri */
export interface HttpUri {
  uri: string;
  cluster?: string;
  timeout?: number;
}

/** envoy.config.overload.v3.ScaleTimersOverloadActionConfig.TimerType */
export type ScaleTimersOverloadActionConfigTimerType = 'UNSPECIFIED' | 'HTTP_DOWNSTREAM_CONNECTION_IDLE' | 'HTTP_DOWNSTREAM_STREAM_IDLE' | 'TRANSPORT_SOCKET_CONNECT' | 'HTTP_DOWNSTREAM_CONNECTION_MAX' | 'HTTP_DOWNSTREAM_STREAM_FLUSH';

/** envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig.UtilizationComputeStrategy */
export type CpuUtilizationConfigUtilizationComputeStrategy = 'HOST' | 'CONTAINER';

/** envoy.config.core.v3.SocketAddress.Protocol */
export type SocketAddressProtocol = 'TCP';

/** envoy.config.core.v3.SocketOption.SocketState */
export type SocketOptionSocketState = 'STATE_PREBIND' | 'STATE_BOUND' | 'STATE_LISTENING';

/** envoy.config.core.v3.HeaderValueOption.HeaderAppendAction */
export type HeaderValueOptionHeaderAppendAction = 'APPEND_IF_EXISTS_OR_ADD' | 'ADD_IF_ABSENT' | 'OVERWRITE_IF_EXISTS_OR_ADD' | 'OVERWRITE_IF_EXISTS';

/** envoy.config.core.v3.HttpProtocolOptions.HeadersWithUnderscoresAction */
export type HttpProtocolOptionsHeadersWithUnderscoresAction = 'ALLOW' | 'REJECT_REQUEST' | 'DROP_HEADER';

/** envoy.type.v3.FractionalPercent.DenominatorType */
export type FractionalPercentDenominatorType = 'HUNDRED' | 'TEN_THOUSAND' | 'MILLION';

/** envoy.config.listener.v3.Listener.DrainType */
export type ListenerDrainType = 'DEFAULT' | 'MODIFY_ONLY';

/** envoy.config.core.v3.TrafficDirection */
export type TrafficDirection = 'UNSPECIFIED' | 'INBOUND' | 'OUTBOUND';

/** envoy.config.listener.v3.FilterChainMatch.ConnectionSourceType */
export type FilterChainMatchConnectionSourceType = 'ANY' | 'SAME_IP_OR_LOOPBACK' | 'EXTERNAL';

/** envoy.config.tap.v3.OutputSink.Format */
export type OutputSinkFormat = 'JSON_BODY_AS_BYTES' | 'JSON_BODY_AS_STRING';

/** envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext.OcspStaplePolicy */
export type DownstreamTlsContextOcspStaplePolicy = 'LENIENT_STAPLING' | 'STRICT_STAPLING' | 'MUST_STAPLE';

/** envoy.config.core.v3.ApiVersion */
export type ApiVersion = 'AUTO' | 'V3';

/** envoy.config.core.v3.ApiConfigSource.ApiType */
export type ApiConfigSourceApiType = 'GRPC' | 'DELTA_GRPC';

/** envoy.extensions.transport_sockets.tls.v3.TlsParameters.TlsProtocol */
export type TlsParametersTlsProtocol = 'TLS_AUTO' | 'TLSv1_2' | 'TLSv1_3';

/** envoy.extensions.transport_sockets.tls.v3.TlsParameters.CompliancePolicy */
export type TlsParametersCompliancePolicy = 'FIPS_202205';

/** envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.TrustChainVerification */
export type CertificateValidationContextTrustChainVerification = 'VERIFY_TRUST_CHAIN' | 'ACCEPT_UNTRUSTED';

/** envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher.SanType */
export type SubjectAltNameMatcherSanType = 'SAN_TYPE_UNSPECIFIED' | 'EMAIL' | 'DNS' | 'URI' | 'IP_ADDRESS' | 'OTHER_NAME';

/** envoy.config.core.v3.ProxyProtocolConfig.Version */
export type ProxyProtocolConfigVersion = 'V1' | 'V2';

/** envoy.extensions.filters.network.rbac.v3.RBAC.EnforcementType */
export type RBACEnforcementType = 'ONE_TIME_ON_FIRST_BYTE' | 'CONTINUOUS';

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ForwardClientCertDetails */
export type HttpConnectionManagerForwardClientCertDetails = 'SANITIZE' | 'FORWARD_ONLY' | 'APPEND_FORWARD' | 'SANITIZE_SET' | 'ALWAYS_FORWARD_ONLY';

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.CodecType */
export type HttpConnectionManagerCodecType = 'AUTO' | 'HTTP1' | 'HTTP2';

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.ServerHeaderTransformation */
export type HttpConnectionManagerServerHeaderTransformation = 'OVERWRITE' | 'APPEND_IF_ABSENT' | 'PASS_THROUGH';

/** envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.PathWithEscapedSlashesAction */
export type HttpConnectionManagerPathWithEscapedSlashesAction = 'IMPLEMENTATION_SPECIFIC_DEFAULT' | 'KEEP_UNCHANGED' | 'REJECT_REQUEST' | 'UNESCAPE_AND_REDIRECT' | 'UNESCAPE_AND_FORWARD';

/** envoy.config.trace.v3.ZipkinConfig.CollectorEndpointVersion */
export type ZipkinConfigCollectorEndpointVersion = 'DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE' | 'HTTP_JSON';

/** envoy.extensions.compression.gzip.compressor.v3.Gzip.CompressionLevel */
export type GzipCompressionLevel = 'DEFAULT_COMPRESSION' | 'BEST_SPEED' | 'COMPRESSION_LEVEL_1' | 'COMPRESSION_LEVEL_2' | 'COMPRESSION_LEVEL_3' | 'COMPRESSION_LEVEL_4' | 'COMPRESSION_LEVEL_5' | 'COMPRESSION_LEVEL_6' | 'COMPRESSION_LEVEL_7' | 'COMPRESSION_LEVEL_8' | 'COMPRESSION_LEVEL_9' | 'BEST_COMPRESSION';

/** envoy.extensions.compression.gzip.compressor.v3.Gzip.CompressionStrategy */
export type GzipCompressionStrategy = 'DEFAULT_STRATEGY' | 'FILTERED' | 'HUFFMAN_ONLY' | 'RLE' | 'FIXED';

/** envoy.extensions.compression.brotli.compressor.v3.Brotli.EncoderMode */
export type BrotliEncoderMode = 'DEFAULT' | 'GENERIC' | 'TEXT' | 'FONT';

/** envoy.extensions.common.ratelimit.v3.XRateLimitHeadersRFCVersion */
export type XRateLimitHeadersRFCVersion = 'OFF' | 'DRAFT_VERSION_03';

/** envoy.extensions.common.ratelimit.v3.VhRateLimitsOptions */
export type VhRateLimitsOptions = 'OVERRIDE' | 'INCLUDE' | 'IGNORE';

/** envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueType */
export type ConfigValueType = 'STRING' | 'NUMBER' | 'PROTOBUF_VALUE';

/** envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueEncode */
export type ConfigValueEncode = 'NONE' | 'BASE64';

/** envoy.extensions.filters.http.ratelimit.v3.RateLimit.XRateLimitHeadersRFCVersion */
export type RateLimitXRateLimitHeadersRFCVersion = 'OFF' | 'DRAFT_VERSION_03';

/** envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute.VhRateLimitsOptions */
export type RateLimitPerRouteVhRateLimitsOptions = 'OVERRIDE' | 'INCLUDE' | 'IGNORE';

/** envoy.config.rbac.v3.RBAC.Action */
export type RBACAction = 'ALLOW' | 'DENY' | 'LOG';

/** envoy.config.rbac.v3.MetadataSource */
export type MetadataSource = 'DYNAMIC' | 'ROUTE';

/** envoy.type.v3.StatusCode */
export type StatusCode = 'Empty' | 'Continue' | 'OK' | 'Created' | 'Accepted' | 'NonAuthoritativeInformation' | 'NoContent' | 'ResetContent' | 'PartialContent' | 'MultiStatus' | 'AlreadyReported' | 'IMUsed' | 'MultipleChoices' | 'MovedPermanently' | 'Found' | 'SeeOther' | 'NotModified' | 'UseProxy' | 'TemporaryRedirect' | 'PermanentRedirect' | 'BadRequest' | 'Unauthorized' | 'PaymentRequired' | 'Forbidden' | 'NotFound' | 'MethodNotAllowed' | 'NotAcceptable' | 'ProxyAuthenticationRequired' | 'RequestTimeout' | 'Conflict' | 'Gone' | 'LengthRequired' | 'PreconditionFailed' | 'PayloadTooLarge' | 'URITooLong' | 'UnsupportedMediaType' | 'RangeNotSatisfiable' | 'ExpectationFailed' | 'MisdirectedRequest' | 'UnprocessableEntity' | 'Locked' | 'FailedDependency' | 'UpgradeRequired' | 'PreconditionRequired' | 'TooManyRequests' | 'RequestHeaderFieldsTooLarge' | 'InternalServerError' | 'NotImplemented' | 'BadGateway' | 'ServiceUnavailable' | 'GatewayTimeout' | 'HTTPVersionNotSupported' | 'VariantAlsoNegotiates' | 'InsufficientStorage' | 'LoopDetected' | 'NotExtended' | 'NetworkAuthenticationRequired';

/** envoy.extensions.compression.zstd.compressor.v3.Zstd.Strategy */
export type ZstdStrategy = 'DEFAULT' | 'FAST' | 'DFAST' | 'GREEDY' | 'LAZY' | 'LAZY2' | 'BTLAZY2' | 'BTOPT' | 'BTULTRA' | 'BTULTRA2';

/** sluice.extensions.filters.http.typescript.v1.TypeScript.FailurePolicy */
export type TypeScriptFailurePolicy = 'FAIL_CLOSED' | 'FAIL_OPEN';

/** sluice.extensions.filters.network.typescript.v1.TypeScriptNetworkFilter.FailurePolicy */
export type TypeScriptNetworkFilterFailurePolicy = 'FAIL_CLOSED' | 'FAIL_OPEN';

/** envoy.config.route.v3.VirtualHost.TlsRequirementType */
export type VirtualHostTlsRequirementType = 'NONE' | 'EXTERNAL_ONLY' | 'ALL';

/** envoy.config.route.v3.RouteAction.ClusterNotFoundResponseCode */
export type RouteActionClusterNotFoundResponseCode = 'SERVICE_UNAVAILABLE' | 'NOT_FOUND' | 'INTERNAL_SERVER_ERROR';

/** envoy.config.core.v3.RoutingPriority */
export type RoutingPriority = 'DEFAULT' | 'HIGH';

/** envoy.config.route.v3.RateLimit.Action.MetaData.Source */
export type RateLimitActionMetaDataSource = 'DYNAMIC' | 'ROUTE_ENTRY';

/** envoy.config.route.v3.RetryPolicy.ResetHeaderFormat */
export type RetryPolicyResetHeaderFormat = 'SECONDS' | 'UNIX_TIMESTAMP';

/** envoy.config.route.v3.RedirectAction.RedirectResponseCode */
export type RedirectActionRedirectResponseCode = 'MOVED_PERMANENTLY' | 'FOUND' | 'SEE_OTHER' | 'TEMPORARY_REDIRECT' | 'PERMANENT_REDIRECT';

/** envoy.config.cluster.v3.Cluster.DiscoveryType */
export type ClusterDiscoveryType = 'STATIC' | 'STRICT_DNS' | 'LOGICAL_DNS' | 'EDS' | 'ORIGINAL_DST';

/** envoy.config.cluster.v3.Cluster.LbPolicy */
export type ClusterLbPolicy = 'ROUND_ROBIN' | 'LEAST_REQUEST' | 'RING_HASH' | 'RANDOM' | 'MAGLEV' | 'CLUSTER_PROVIDED' | 'LOAD_BALANCING_POLICY_CONFIG';

/** envoy.config.cluster.v3.Cluster.DnsLookupFamily */
export type ClusterDnsLookupFamily = 'AUTO' | 'V4_ONLY' | 'V6_ONLY' | 'V4_PREFERRED' | 'ALL';

/** envoy.type.v3.CodecClientType */
export type CodecClientType = 'HTTP1' | 'HTTP2';

/** envoy.config.core.v3.RequestMethod */
export type RequestMethod = 'METHOD_UNSPECIFIED' | 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'CONNECT' | 'OPTIONS' | 'TRACE' | 'PATCH';

/** envoy.extensions.clusters.common.dns.v3.DnsLookupFamily */
export type DnsLookupFamily = 'UNSPECIFIED' | 'AUTO' | 'V4_ONLY' | 'V6_ONLY' | 'V4_PREFERRED' | 'ALL';

/** envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetFallbackPolicy */
export type ClusterLbSubsetConfigLbSubsetFallbackPolicy = 'NO_FALLBACK' | 'ANY_ENDPOINT' | 'DEFAULT_SUBSET';

/** envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetMetadataFallbackPolicy */
export type ClusterLbSubsetConfigLbSubsetMetadataFallbackPolicy = 'METADATA_NO_FALLBACK' | 'FALLBACK_LIST';

/** envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector.LbSubsetSelectorFallbackPolicy */
export type ClusterLbSubsetConfigLbSubsetSelectorLbSubsetSelectorFallbackPolicy = 'NOT_DEFINED' | 'NO_FALLBACK' | 'ANY_ENDPOINT' | 'DEFAULT_SUBSET' | 'KEYS_SUBSET';

/** envoy.config.cluster.v3.Cluster.RingHashLbConfig.HashFunction */
export type ClusterRingHashLbConfigHashFunction = 'XX_HASH' | 'MURMUR_HASH_2';

/** envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest.SelectionMethod */
export type LeastRequestSelectionMethod = 'N_CHOICES' | 'FULL_SCAN';

/** envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash.HashFunction */
export type RingHashHashFunction = 'DEFAULT_HASH' | 'XX_HASH' | 'MURMUR_HASH_2';

/** envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetFallbackPolicy */
export type SubsetLbSubsetFallbackPolicy = 'NO_FALLBACK' | 'ANY_ENDPOINT' | 'DEFAULT_SUBSET';

/** envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetMetadataFallbackPolicy */
export type SubsetLbSubsetMetadataFallbackPolicy = 'METADATA_NO_FALLBACK' | 'FALLBACK_LIST';

/** envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector.LbSubsetSelectorFallbackPolicy */
export type SubsetLbSubsetSelectorLbSubsetSelectorFallbackPolicy = 'NOT_DEFINED' | 'NO_FALLBACK' | 'ANY_ENDPOINT' | 'DEFAULT_SUBSET' | 'KEYS_SUBSET';

/** envoy.config.core.v3.HealthStatus */
export type HealthStatus = 'UNKNOWN' | 'HEALTHY' | 'UNHEALTHY' | 'DRAINING' | 'TIMEOUT' | 'DEGRADED';

/** envoy.config.accesslog.v3.ComparisonFilter.Op */
export type ComparisonFilterOp = 'EQ' | 'GE' | 'LE' | 'NE';

/** envoy.config.accesslog.v3.GrpcStatusFilter.Status */
export type GrpcStatusFilterStatus = 'OK' | 'CANCELED' | 'UNKNOWN' | 'INVALID_ARGUMENT' | 'DEADLINE_EXCEEDED' | 'NOT_FOUND' | 'ALREADY_EXISTS' | 'PERMISSION_DENIED' | 'RESOURCE_EXHAUSTED' | 'FAILED_PRECONDITION' | 'ABORTED' | 'OUT_OF_RANGE' | 'UNIMPLEMENTED' | 'INTERNAL' | 'UNAVAILABLE' | 'DATA_LOSS' | 'UNAUTHENTICATED';

/** envoy.data.accesslog.v3.AccessLogType */
export type AccessLogType = 'NotSet' | 'TcpUpstreamConnected' | 'TcpPeriodic' | 'TcpConnectionEnd' | 'DownstreamStart' | 'DownstreamPeriodic' | 'DownstreamEnd' | 'UpstreamPoolReady' | 'UpstreamPeriodic' | 'UpstreamEnd' | 'DownstreamTunnelSuccessfullyEstablished' | 'UdpTunnelUpstreamConnected' | 'UdpPeriodic' | 'UdpSessionEnd';

/** envoy.extensions.wasm.v3.FailurePolicy */
export type FailurePolicy = 'UNSPECIFIED' | 'FAIL_RELOAD' | 'FAIL_CLOSED' | 'FAIL_OPEN';
