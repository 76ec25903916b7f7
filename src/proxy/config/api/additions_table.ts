/**
 * What the Envoy API has gained since the release that `@grpc/grpc-js-xds` ships (1.31 -> early 2026), as far as configurations in
 * use need it to be told from a typing error: file -> messages with their new fields (`name number type [in oneof]`), new messages
 * and enums, new enum values. Names are relative to the file's package for what is declared and full for types.
 */
export const NEWER_API: Record<string, string> = {
  'envoy/config/accesslog/v3/accesslog.proto': `
  enum ComparisonFilter.Op
    NE 3
`,
  'envoy/config/bootstrap/v3/bootstrap.proto': `
  message Bootstrap
    stats_eviction_interval 42 google.protobuf.Duration in stats_eviction
  message Admin
    allow_paths 7 repeated envoy.type.matcher.v3.StringMatcher
`,
  'envoy/config/cluster/v3/cluster.proto': `
  message Cluster
    transport_socket_matcher 59 xds.type.matcher.v3.Matcher
    dns_jitter 58 google.protobuf.Duration
`,
  'envoy/config/common/mutation_rules/v3/mutation_rules.proto': `
  message HeaderMutation
    remove_on_match 3 envoy.config.common.mutation_rules.v3.HeaderMutation.RemoveOnMatch in action
  message HeaderMutation.RemoveOnMatch
    key_matcher 1 envoy.type.matcher.v3.StringMatcher
`,
  'envoy/config/core/v3/address.proto': `
  message SocketAddress
    network_namespace_filepath 7 string
`,
  'envoy/config/core/v3/base.proto': `
  message KeyValueAppend
    record 3 envoy.config.core.v3.KeyValuePair
  message KeyValuePair
    key 1 string
    value 2 google.protobuf.Value
`,
  'envoy/config/core/v3/protocol.proto': `
  message HttpProtocolOptions
    max_response_headers_kb 7 google.protobuf.UInt32Value
  message Http1ProtocolOptions
    ignore_http_11_upgrade 11 repeated envoy.type.matcher.v3.StringMatcher
`,
  'envoy/config/core/v3/proxy_protocol.proto': `
  message ProxyProtocolConfig
    added_tlvs 3 repeated envoy.config.core.v3.TlvEntry
  message TlvEntry
    type 1 uint32
    value 2 bytes
    format_string 3 envoy.config.core.v3.SubstitutionFormatString
`,
  'envoy/config/core/v3/socket_option.proto': `
  message SocketOption
    type 7 envoy.config.core.v3.SocketOption.SocketType
    ip_version 8 envoy.config.core.v3.SocketOption.SocketIpVersion
  message SocketOption.SocketType
    stream 1 envoy.config.core.v3.SocketOption.SocketType.Stream
    datagram 2 envoy.config.core.v3.SocketOption.SocketType.Datagram
  message SocketOption.SocketType.Stream
  message SocketOption.SocketType.Datagram
  enum SocketOption.SocketIpVersion
    SOCKET_IP_VERSION_UNSPECIFIED 0
    SOCKET_IP_VERSION_IPV4 1
    SOCKET_IP_VERSION_IPV6 2
`,
  'envoy/config/listener/v3/listener.proto': `
  message AdditionalAddress
    tcp_keepalive 3 envoy.config.core.v3.TcpKeepalive
  message Listener
    tcp_keepalive 37 envoy.config.core.v3.TcpKeepalive
`,
  'envoy/config/metrics/v3/stats.proto': `
  message HistogramBucketSettings
    bins 3 google.protobuf.UInt32Value
`,
  'envoy/config/overload/v3/overload.proto': `
  enum ScaleTimersOverloadActionConfig.TimerType
    HTTP_DOWNSTREAM_CONNECTION_MAX 4
    HTTP_DOWNSTREAM_STREAM_FLUSH 5
`,
  'envoy/config/rbac/v3/rbac.proto': `
  message Permission
    sourced_metadata 14 envoy.config.rbac.v3.SourcedMetadata in rule
  message Principal
    sourced_metadata 13 envoy.config.rbac.v3.SourcedMetadata in identifier
  message SourcedMetadata
    metadata_matcher 1 envoy.type.matcher.v3.MetadataMatcher
    metadata_source 2 envoy.config.rbac.v3.MetadataSource
  enum MetadataSource
    DYNAMIC 0
    ROUTE 1
`,
  'envoy/config/route/v3/route.proto': `
  message RouteConfiguration
    vhost_header 18 string
`,
  'envoy/config/route/v3/route_components.proto': `
  message VirtualHost
    request_body_buffer_limit 25 google.protobuf.UInt64Value
  message Route
    request_body_buffer_limit 20 google.protobuf.UInt64Value
  message WeightedCluster
    use_hash_policy 5 google.protobuf.BoolValue in random_value_specifier
  message RouteMatch
    cookies 17 repeated envoy.config.route.v3.CookieMatcher
    filter_state 16 repeated envoy.type.matcher.v3.FilterStateMatcher
  message CookieMatcher
    name 1 string
    string_match 2 envoy.type.matcher.v3.StringMatcher
    invert_match 3 bool
  message RouteAction
    path_rewrite 45 string
    host_rewrite 44 string in host_rewrite_specifier
    flush_timeout 42 google.protobuf.Duration
  message RateLimit.Action
    query_parameters 12 envoy.config.route.v3.RateLimit.Action.QueryParameters in action_specifier
  message RateLimit.Action.QueryParameters
    query_parameter_name 1 string
    descriptor_key 2 string
    skip_if_absent 3 bool
  message RouteAction.RequestMirrorPolicy
    request_headers_mutations 7 repeated envoy.config.common.mutation_rules.v3.HeaderMutation
    host_rewrite_literal 8 string
  message DirectResponseAction
    body_format 3 envoy.config.core.v3.SubstitutionFormatString
`,
  'envoy/config/trace/v3/opentelemetry.proto': `
  message OpenTelemetryConfig
    max_cache_size 6 google.protobuf.UInt32Value
`,
  'envoy/extensions/tracers/opentelemetry/samplers/v3/trace_id_ratio_based_sampler.proto': `
  message TraceIdRatioBasedSamplerConfig
    sampling_percentage 1 envoy.type.v3.FractionalPercent
`,
  'envoy/extensions/tracers/opentelemetry/samplers/v3/parent_based_sampler.proto': `
  message ParentBasedSamplerConfig
    wrapped_sampler 1 envoy.config.core.v3.TypedExtensionConfig
`,
  'envoy/config/trace/v3/zipkin.proto': `
  message ZipkinConfig
    trace_context_option 8 envoy.config.trace.v3.ZipkinConfig.TraceContextOption
    collector_service 9 envoy.config.core.v3.HttpService
  enum ZipkinConfig.TraceContextOption
    USE_B3 0
    USE_B3_WITH_W3C_PROPAGATION 1
`,
  'envoy/extensions/clusters/common/dns/v3/dns.proto': `
  enum DnsLookupFamily
    UNSPECIFIED 0
    AUTO 1
    V4_ONLY 2
    V6_ONLY 3
    V4_PREFERRED 4
    ALL 5
`,
  'envoy/extensions/clusters/dns/v3/dns_cluster.proto': `
  message DnsCluster
    dns_refresh_rate 3 google.protobuf.Duration
    dns_failure_refresh_rate 4 envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate
    respect_dns_ttl 5 bool
    dns_jitter 6 google.protobuf.Duration
    typed_dns_resolver_config 7 envoy.config.core.v3.TypedExtensionConfig
    dns_lookup_family 8 envoy.extensions.clusters.common.dns.v3.DnsLookupFamily
    all_addresses_in_single_endpoint 9 bool
  message DnsCluster.RefreshRate
    base_interval 1 google.protobuf.Duration
    max_interval 2 google.protobuf.Duration
`,
  'envoy/extensions/dynamic_modules/v3/dynamic_modules.proto': `
  message DynamicModuleConfig
    name 1 string
    do_not_close 3 bool
    load_globally 4 bool
`,
  'envoy/extensions/filters/http/api_key_auth/v3/api_key_auth.proto': `
  message ApiKeyAuth
    credentials 1 repeated envoy.extensions.filters.http.api_key_auth.v3.Credential
    key_sources 2 repeated envoy.extensions.filters.http.api_key_auth.v3.KeySource
    forwarding 3 envoy.extensions.filters.http.api_key_auth.v3.Forwarding
  message Credential
    key 1 string
    client 2 string
  message KeySource
    header 1 string
    query 2 string
    cookie 3 string
  message Forwarding
    header 1 string
    hide_credentials 2 bool
  message ApiKeyAuthPerRoute
    credentials 1 repeated envoy.extensions.filters.http.api_key_auth.v3.Credential
    key_sources 2 repeated envoy.extensions.filters.http.api_key_auth.v3.KeySource
    allowed_clients 3 repeated string
    forwarding 4 envoy.extensions.filters.http.api_key_auth.v3.Forwarding
`,
  'envoy/extensions/filters/http/basic_auth/v3/basic_auth.proto': `
  message BasicAuth
    authentication_header 3 string
`,
  'envoy/extensions/filters/http/dynamic_modules/v3/dynamic_modules.proto': `
  message DynamicModuleFilter
    dynamic_module_config 1 envoy.extensions.dynamic_modules.v3.DynamicModuleConfig
    filter_name 2 string
    filter_config 3 google.protobuf.Any
    terminal_filter 4 bool
  message DynamicModuleFilterPerRoute
    dynamic_module_config 1 envoy.extensions.dynamic_modules.v3.DynamicModuleConfig
    per_route_config_name 2 string
    filter_config 3 google.protobuf.Any
`,
  'envoy/extensions/filters/http/golang/v3alpha/golang.proto': `
  message Config
    library_id 1 string
    library_path 2 string
    plugin_name 3 string
    plugin_config 4 google.protobuf.Any
    merge_policy 5 envoy.extensions.filters.http.golang.v3alpha.Config.MergePolicy
    generic_secrets 6 repeated envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig
  enum Config.MergePolicy
    MERGE_VIRTUALHOST_ROUTER_FILTER 0
    MERGE_VIRTUALHOST_ROUTER 1
    OVERRIDE 3
  message RouterPlugin
    disabled 1 bool in override
    config 2 google.protobuf.Any in override
  message ConfigsPerRoute
    plugins_config 1 map string envoy.extensions.filters.http.golang.v3alpha.RouterPlugin
`,
  'envoy/extensions/filters/http/header_mutation/v3/header_mutation.proto': `
  message Mutations
    query_parameter_mutations 3 repeated envoy.config.core.v3.KeyValueMutation
    response_trailers_mutations 4 repeated envoy.config.common.mutation_rules.v3.HeaderMutation
    request_trailers_mutations 5 repeated envoy.config.common.mutation_rules.v3.HeaderMutation
`,
  'envoy/extensions/filters/http/router/v3/router.proto': `
  message Router
    reject_connect_request_early_data 10 google.protobuf.BoolValue
`,
  'envoy/extensions/filters/http/stateful_session/v3/stateful_session.proto': `
  message StatefulSession
    stat_prefix 3 string
`,
  'envoy/extensions/filters/listener/dynamic_modules/v3/dynamic_modules.proto': `
  message DynamicModuleListenerFilter
    dynamic_module_config 1 envoy.extensions.dynamic_modules.v3.DynamicModuleConfig
    filter_name 2 string
    filter_config 3 google.protobuf.Any
`,
  'envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol.proto': `
  message ProxyProtocol
    tlv_location 6 envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.TlvLocation
  enum ProxyProtocol.TlvLocation
    DYNAMIC_METADATA 0
    FILTER_STATE 1
`,
  'envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector.proto': `
  message TlsInspector
    enable_ja4_fingerprinting 3 google.protobuf.BoolValue
    close_connection_on_client_hello_parsing_errors 4 bool
    max_client_hello_size 5 google.protobuf.UInt32Value
`,
  'envoy/extensions/filters/network/dynamic_modules/v3/dynamic_modules.proto': `
  message DynamicModuleNetworkFilter
    dynamic_module_config 1 envoy.extensions.dynamic_modules.v3.DynamicModuleConfig
    filter_name 2 string
    filter_config 3 google.protobuf.Any
    terminal_filter 4 bool
`,
  'envoy/extensions/filters/network/golang/v3alpha/golang.proto': `
  message Config
    is_terminal_filter 1 bool
    library_id 2 string
    library_path 3 string
    plugin_name 4 string
    plugin_config 5 google.protobuf.Any
`,
  'envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto': `
  message HttpConnectionManager
    http1_safe_max_connection_duration 58 bool
    stream_flush_timeout 59 google.protobuf.Duration
    forward_client_cert_matcher 60 xds.type.matcher.v3.Matcher
`,
  'envoy/extensions/filters/network/kafka_broker/v3/kafka_broker.proto': `
  message KafkaBroker
    stat_prefix 1 string
    force_response_rewrite 2 bool
    id_based_broker_address_rewrite_spec 3 envoy.extensions.filters.network.kafka_broker.v3.IdBasedBrokerRewriteSpec in broker_address_rewrite_spec
    api_keys_allowed 4 repeated uint32
    api_keys_denied 5 repeated uint32
  message IdBasedBrokerRewriteSpec
    rules 1 repeated envoy.extensions.filters.network.kafka_broker.v3.IdBasedBrokerRewriteRule
  message IdBasedBrokerRewriteRule
    id 1 uint32
    host 2 string
    port 3 uint32
`,
  'envoy/extensions/filters/network/kafka_mesh/v3alpha/kafka_mesh.proto': `
  message KafkaMesh
    advertised_host 1 string
    advertised_port 2 int32
    upstream_clusters 3 repeated envoy.extensions.filters.network.kafka_mesh.v3alpha.KafkaClusterDefinition
    forwarding_rules 4 repeated envoy.extensions.filters.network.kafka_mesh.v3alpha.ForwardingRule
    consumer_proxy_mode 5 envoy.extensions.filters.network.kafka_mesh.v3alpha.KafkaMesh.ConsumerProxyMode
  enum KafkaMesh.ConsumerProxyMode
    StatefulConsumerProxy 0
  message KafkaClusterDefinition
    cluster_name 1 string
    bootstrap_servers 2 string
    partition_count 3 int32
    producer_config 4 map string string
    consumer_config 5 map string string
  message ForwardingRule
    target_cluster 1 string
    topic_prefix 2 string in trigger
`,
  'envoy/extensions/filters/network/mysql_proxy/v3/mysql_proxy.proto': `
  message MySQLProxy
    stat_prefix 1 string
    access_log 2 string
`,
  'envoy/extensions/filters/network/postgres_proxy/v3alpha/postgres_proxy.proto': `
  message PostgresProxy
    stat_prefix 1 string
    enable_sql_parsing 2 google.protobuf.BoolValue
    terminate_ssl 3 bool
    upstream_ssl 4 envoy.extensions.filters.network.postgres_proxy.v3alpha.PostgresProxy.SSLMode
    downstream_ssl 5 envoy.extensions.filters.network.postgres_proxy.v3alpha.PostgresProxy.SSLMode
  enum PostgresProxy.SSLMode
    DISABLE 0
    REQUIRE 1
    ALLOW 2
`,
  'envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto': `
  message TcpProxy
    backoff_options 18 envoy.config.core.v3.BackoffStrategy
    max_downstream_connection_duration_jitter_percentage 20 envoy.type.v3.Percent
    proxy_protocol_tlvs 19 repeated envoy.config.core.v3.TlvEntry
    upstream_connect_mode 21 envoy.extensions.filters.network.tcp_proxy.v3.UpstreamConnectMode
    max_early_data_bytes 22 google.protobuf.UInt32Value
  enum UpstreamConnectMode
    IMMEDIATE 0
    ON_DOWNSTREAM_DATA 1
    ON_DOWNSTREAM_TLS_HANDSHAKE 2
  message TcpProxy.TunnelingConfig
    request_id_extension 7 envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension
    request_id_header 8 string
    request_id_metadata_key 9 string
  message TcpProxy.TcpAccessLogOptions
    flush_access_log_on_start 3 bool
`,
  'envoy/extensions/http/original_ip_detection/xff/v3/xff.proto': `
  message XffConfig
    xff_trusted_cidrs 2 envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs
    skip_xff_append 3 google.protobuf.BoolValue
  message XffTrustedCidrs
    cidrs 1 repeated envoy.config.core.v3.CidrRange
`,
  'envoy/extensions/load_balancing_policies/client_side_weighted_round_robin/v3/client_side_weighted_round_robin.proto': `
  message ClientSideWeightedRoundRobin
    metric_names_for_computing_utilization 7 repeated string
    slow_start_config 8 envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig
`,
  'envoy/extensions/load_balancing_policies/common/v3/common.proto': `
  message LocalityLbConfig.ZoneAwareLbConfig
    force_locality_direct_routing 4 bool
    force_local_zone 5 envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone
    locality_basis 6 envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.LocalityBasis
  message LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone
    min_size 1 google.protobuf.UInt32Value
  enum LocalityLbConfig.ZoneAwareLbConfig.LocalityBasis
    HEALTHY_HOSTS_NUM 0
    HEALTHY_HOSTS_WEIGHT 1
  message ConsistentHashingLbConfig
    hash_policy 3 repeated envoy.config.route.v3.RouteAction.HashPolicy
`,
  'envoy/extensions/load_balancing_policies/override_host/v3/override_host.proto': `
  message OverrideHost
    override_host_sources 1 repeated envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost.OverrideHostSource
    fallback_policy 3 envoy.config.cluster.v3.LoadBalancingPolicy
  message OverrideHost.OverrideHostSource
    header 1 string
    metadata 2 envoy.type.metadata.v3.MetadataKey
`,
  'envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.proto': `
  message CaresDnsResolverConfig
    query_timeout_seconds 6 google.protobuf.UInt64Value
    query_tries 7 google.protobuf.UInt32Value
    rotate_nameservers 8 bool
    edns0_max_payload_size 9 google.protobuf.UInt32Value
    reinit_channel_on_timeout 11 bool
`,
  'envoy/extensions/network/dns_resolver/getaddrinfo/v3/getaddrinfo_dns_resolver.proto': `
  message GetAddrInfoDnsResolverConfig
    num_retries 1 google.protobuf.UInt32Value
    num_resolver_threads 2 google.protobuf.UInt32Value
`,
  'envoy/extensions/network/socket_interface/v3/default_socket_interface.proto': `
  message DefaultSocketInterface
    io_uring_options 1 envoy.extensions.network.socket_interface.v3.IoUringOptions
  message IoUringOptions
    io_uring_size 1 google.protobuf.UInt32Value
    enable_submission_queue_polling 2 bool
    read_buffer_size 3 google.protobuf.UInt32Value
    write_timeout_ms 4 google.protobuf.UInt32Value
`,
  'envoy/extensions/resource_monitors/cgroup_memory/v3/cgroup_memory.proto': `
  message CgroupMemoryConfig
    max_memory_bytes 1 uint64
`,
  'envoy/extensions/resource_monitors/cpu_utilization/v3/cpu_utilization.proto': `
  message CpuUtilizationConfig
    mode 1 envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig.UtilizationComputeStrategy
  enum CpuUtilizationConfig.UtilizationComputeStrategy
    HOST 0
    CONTAINER 1
`,
  'envoy/extensions/transport_sockets/proxy_protocol/v3/upstream_proxy_protocol.proto': `
  message ProxyProtocolUpstreamTransport
    allow_unspecified_address 3 bool
    tlv_as_pool_key 4 bool
`,
  'envoy/extensions/transport_sockets/tls/v3/common.proto': `
  message TlsParameters
    compliance_policies 6 repeated envoy.extensions.transport_sockets.tls.v3.TlsParameters.CompliancePolicy
  enum TlsParameters.CompliancePolicy
    FIPS_202205 0
`,
  'envoy/extensions/transport_sockets/tls/v3/tls.proto': `
  message UpstreamTlsContext
    auto_host_sni 6 bool
    auto_sni_san_validation 7 bool
  message DownstreamTlsContext
    prefer_client_ciphers 11 bool
  message CommonTlsContext
    custom_tls_certificate_selector 16 envoy.config.core.v3.TypedExtensionConfig
`,
  'envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto': `
  message SPIFFECertValidatorConfig
    trust_bundles 2 envoy.config.core.v3.DataSource
`,
  'envoy/extensions/upstreams/http/v3/http_protocol_options.proto': `
  message HttpProtocolOptions
    outlier_detection 8 envoy.extensions.upstreams.http.v3.HttpProtocolOptions.OutlierDetection
    request_mirror_policies 9 repeated envoy.config.route.v3.RouteAction.RequestMirrorPolicy
    hash_policy 10 repeated envoy.config.route.v3.RouteAction.HashPolicy
    retry_policy 11 envoy.config.route.v3.RetryPolicy
  message HttpProtocolOptions.OutlierDetection
    error_matcher 1 envoy.config.common.matcher.v3.MatchPredicate
`,
  'envoy/extensions/vcl/v3alpha/vcl_socket_interface.proto': `
  message VclSocketInterface
`,
  // Sluice's own: Envoy's message is empty and leaves everything to VCL's configuration.
  'sluice/extensions/vcl/v1/host_stack_socket_interface.proto': `
  message HostStackSocketInterface
    runtime_dir 1 string
    namespace_id 2 string
    application_name 3 string
    rx_fifo_size 4 google.protobuf.UInt32Value
    tx_fifo_size 5 google.protobuf.UInt32Value
    embedded_stack 6 sluice.extensions.vcl.v1.EmbeddedStack
  message EmbeddedStack
    config_path 1 string
`,
  'envoy/type/http/v3/cookie.proto': `
  message Cookie
    attributes 4 repeated envoy.type.http.v3.CookieAttribute
  message CookieAttribute
    name 1 string
    value 2 string
`,
  'envoy/extensions/wasm/v3/wasm.proto': `
  message PluginConfig
    failure_policy 7 envoy.extensions.wasm.v3.FailurePolicy
    reload_config 8 envoy.extensions.wasm.v3.ReloadConfig
    allow_on_headers_stop_iteration 9 google.protobuf.BoolValue
  message ReloadConfig
    backoff 1 envoy.config.core.v3.BackoffStrategy
  enum FailurePolicy
    UNSPECIFIED 0
    FAIL_RELOAD 1
    FAIL_CLOSED 2
    FAIL_OPEN 3
`,
  'sluice/extensions/access_loggers/typescript/v1/typescript.proto': `
  message TypeScriptAccessLog
    module 1 string
    name 2 string
    config 3 google.protobuf.Struct
`,
  'sluice/extensions/bootstrap/typescript/v1/typescript.proto': `
  message TypeScriptService
    module 1 string
    name 2 string
    config 3 google.protobuf.Struct
    singleton 4 google.protobuf.BoolValue
`,
  'sluice/extensions/filters/network/typescript/v1/typescript.proto': `
  message TypeScriptNetworkFilter
    module 1 string
    name 2 string
    config 3 google.protobuf.Struct
    failure_policy 4 sluice.extensions.filters.network.typescript.v1.TypeScriptNetworkFilter.FailurePolicy
    deadline 5 google.protobuf.Duration
    terminal 6 bool
  enum TypeScriptNetworkFilter.FailurePolicy
    FAIL_CLOSED 0
    FAIL_OPEN 1
`,
  'sluice/extensions/filters/http/typescript/v1/typescript.proto': `
  message TypeScript
    module 1 string
    name 2 string
    config 3 google.protobuf.Struct
    failure_policy 4 sluice.extensions.filters.http.typescript.v1.TypeScript.FailurePolicy
    deadline 5 google.protobuf.Duration
    isolated 6 sluice.extensions.filters.http.typescript.v1.TypeScriptIsolation
  enum TypeScript.FailurePolicy
    FAIL_CLOSED 0
    FAIL_OPEN 1
  message TypeScriptIsolation
    call_budget 1 google.protobuf.Duration
    max_heap_mb 2 google.protobuf.UInt32Value
  message TypeScriptPerRoute
    config 1 google.protobuf.Struct
`,
};
