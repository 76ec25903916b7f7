/**
 * What Sluice honours: for every message its fields, by their proto names. A valid field that is not here is refused ("... is not
 * supported by Sluice yet"), so nothing is ever ignored. Whoever implements a field adds it here and runs
 * `node scripts/gen-config-types.ts`, which writes the TypeScript types of everything below.
 */

/** Message -> its supported fields. A message that is not here cannot be used at all. */
export const SUPPORTED_FIELDS: Record<string, string> = {
  // ---- bootstrap
  'envoy.config.bootstrap.v3.Bootstrap': `
    node static_resources dynamic_resources cluster_manager layered_runtime admin stats_config stats_flush_interval stats_flush_on_admin
    bootstrap_extensions default_socket_interface application_log_config stats_server_version_override dns_resolution_config typed_dns_resolver_config
    deferred_stat_options watchdog watchdogs overload_manager stats_sinks`,
  'envoy.config.bootstrap.v3.Watchdogs': 'main_thread_watchdog worker_watchdog',
  'envoy.config.bootstrap.v3.Watchdog': 'miss_timeout megamiss_timeout',
  'envoy.config.bootstrap.v3.Bootstrap.StaticResources': 'listeners clusters secrets',
  'envoy.config.bootstrap.v3.Bootstrap.DynamicResources': 'lds_config cds_config ads_config',
  'envoy.config.bootstrap.v3.Bootstrap.DeferredStatOptions': '',
  'envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig': 'log_format',
  'envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat': 'text_format json_format',
  'envoy.config.bootstrap.v3.Admin': 'access_log access_log_path profile_path address allow_paths',
  'envoy.config.bootstrap.v3.ClusterManager': 'local_cluster_name outlier_detection upstream_bind_config',
  'envoy.config.bootstrap.v3.ClusterManager.OutlierDetection': 'event_log_path',
  'envoy.config.bootstrap.v3.LayeredRuntime': 'layers',
  'envoy.config.bootstrap.v3.RuntimeLayer': 'name static_layer disk_layer admin_layer rtds_layer',
  'envoy.config.bootstrap.v3.RuntimeLayer.DiskLayer': 'symlink_root subdirectory append_service_cluster',
  'envoy.config.bootstrap.v3.RuntimeLayer.AdminLayer': '',
  'envoy.config.bootstrap.v3.RuntimeLayer.RtdsLayer': 'name rtds_config',
  'envoy.service.runtime.v3.Runtime': 'name layer',
  'envoy.config.metrics.v3.StatsConfig': 'stats_tags use_all_default_tags stats_matcher histogram_bucket_settings',
  'envoy.config.metrics.v3.TagSpecifier': 'tag_name regex fixed_value',
  'envoy.config.metrics.v3.StatsMatcher': 'reject_all exclusion_list inclusion_list',
  'envoy.config.metrics.v3.HistogramBucketSettings': 'match buckets',
  'envoy.extensions.network.socket_interface.v3.DefaultSocketInterface': 'io_uring_options',
  'envoy.extensions.network.socket_interface.v3.IoUringOptions': '',
  'envoy.extensions.vcl.v3alpha.VclSocketInterface': '',
  'sluice.extensions.vcl.v1.HostStackSocketInterface': `
    runtime_dir namespace_id application_name rx_fifo_size tx_fifo_size embedded_stack`,
  'sluice.extensions.vcl.v1.EmbeddedStack': 'config_path',
  'envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig': '',
  'envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig': 'resolvers dns_resolver_options',
  'envoy.config.core.v3.DnsResolverOptions': 'no_default_search_domain',
  'envoy.config.core.v3.DnsResolutionConfig': 'resolvers dns_resolver_options',

  // ---- overload manager
  'envoy.config.overload.v3.OverloadManager': 'refresh_interval resource_monitors actions loadshed_points',
  'envoy.config.overload.v3.ResourceMonitor': 'name typed_config',
  'envoy.config.overload.v3.OverloadAction': 'name triggers typed_config',
  'envoy.config.overload.v3.LoadShedPoint': 'name triggers',
  'envoy.config.overload.v3.Trigger': 'name threshold scaled',
  'envoy.config.overload.v3.ThresholdTrigger': 'value',
  'envoy.config.overload.v3.ScaledTrigger': 'scaling_threshold saturation_threshold',
  'envoy.config.overload.v3.ScaleTimersOverloadActionConfig': 'timer_scale_factors',
  'envoy.config.overload.v3.ScaleTimersOverloadActionConfig.ScaleTimer': 'timer min_timeout min_scale',
  'envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig': 'max_heap_size_bytes',
  'envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig': 'filename',
  'envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig': 'max_memory_bytes',
  'envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig': 'mode',
  'envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig': 'max_active_downstream_connections',

  // ---- core
  'envoy.config.core.v3.Node': `
    id cluster metadata dynamic_parameters locality user_agent_name user_agent_version user_agent_build_version extensions
    client_features listening_addresses`,
  'envoy.config.core.v3.BuildVersion': 'version metadata',
  'envoy.type.v3.SemanticVersion': 'major_number minor_number patch',
  'envoy.config.core.v3.Extension': 'name category type_descriptor version disabled type_urls',
  'xds.core.v3.ContextParams': 'params',
  'envoy.config.core.v3.Locality': 'region zone sub_zone',
  'envoy.config.core.v3.Address': 'socket_address pipe',
  'envoy.config.core.v3.SocketAddress': 'protocol address port_value ipv4_compat',
  'envoy.config.core.v3.Pipe': 'path mode',
  'envoy.config.core.v3.BindConfig': 'source_address freebind socket_options',
  'envoy.config.core.v3.SocketOption': 'description level name int_value buf_value state',
  'envoy.config.core.v3.TcpKeepalive': 'keepalive_probes keepalive_time keepalive_interval',
  'envoy.config.core.v3.CidrRange': 'address_prefix prefix_len',
  'envoy.config.core.v3.DataSource': 'filename inline_bytes inline_string environment_variable',
  'envoy.config.core.v3.HeaderValueOption': 'header append append_action keep_empty_value',
  'envoy.config.core.v3.HeaderValue': 'key value raw_value',
  'envoy.config.core.v3.Metadata': 'filter_metadata',
  'envoy.config.core.v3.RuntimeFractionalPercent': 'default_value runtime_key',
  'envoy.config.core.v3.RuntimeUInt32': 'default_value runtime_key',
  'envoy.config.core.v3.RuntimeFeatureFlag': 'default_value runtime_key',
  'envoy.config.core.v3.RuntimeDouble': 'default_value runtime_key',
  'envoy.config.core.v3.SubstitutionFormatString': `
    text_format text_format_source json_format omit_empty_values content_type formatters json_format_options`,
  'envoy.config.core.v3.JsonFormatOptions': 'sort_properties',
  'envoy.config.core.v3.TypedExtensionConfig': 'name typed_config',
  'envoy.config.core.v3.TransportSocket': 'name typed_config',
  'envoy.config.core.v3.BackoffStrategy': 'base_interval max_interval',
  'envoy.config.core.v3.SchemeHeaderTransformation': 'scheme_to_overwrite',
  'envoy.config.core.v3.HttpProtocolOptions': `
    idle_timeout max_connection_duration max_headers_count max_stream_duration headers_with_underscores_action
    max_requests_per_connection max_response_headers_kb`,
  'envoy.config.core.v3.Http1ProtocolOptions': `
    allow_absolute_url accept_http_10 default_host_for_http_10 header_key_format enable_trailers allow_chunked_length
    override_stream_error_on_invalid_http_message send_fully_qualified_url allow_custom_methods ignore_http_11_upgrade`,
  'envoy.config.core.v3.Http2ProtocolOptions': `
    hpack_table_size max_concurrent_streams initial_stream_window_size initial_connection_window_size allow_connect
    max_outbound_frames max_outbound_control_frames max_consecutive_inbound_frames_with_empty_payload
    max_inbound_priority_frames_per_stream max_inbound_window_update_frames_per_data_frame_sent
    stream_error_on_invalid_http_messaging override_stream_error_on_invalid_http_message custom_settings_parameters
    connection_keepalive`,
  'envoy.config.core.v3.Http2ProtocolOptions.SettingsParameter': 'identifier value',
  'envoy.config.core.v3.KeepaliveSettings': 'interval timeout interval_jitter connection_idle_interval',
  'envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat': 'proper_case_words stateful_formatter',
  'envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords': '',
  'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig': '',

  // ---- types and matchers
  'envoy.type.v3.Percent': 'value',
  'envoy.type.v3.FractionalPercent': 'numerator denominator',
  'envoy.type.v3.Int64Range': 'start end',
  'envoy.type.v3.DoubleRange': 'start end',
  'envoy.type.matcher.v3.RegexMatcher': 'google_re2 regex',
  'envoy.type.matcher.v3.RegexMatcher.GoogleRE2': 'max_program_size',
  'envoy.type.matcher.v3.RegexMatchAndSubstitute': 'pattern substitution',
  'envoy.type.matcher.v3.StringMatcher': 'exact prefix suffix safe_regex contains ignore_case',
  'envoy.type.matcher.v3.ListStringMatcher': 'patterns',
  'envoy.type.matcher.v3.MetadataMatcher': 'filter path value invert',
  'envoy.type.matcher.v3.MetadataMatcher.PathSegment': 'key',
  'envoy.type.matcher.v3.ValueMatcher': 'null_match double_match string_match bool_match present_match list_match or_match',
  'envoy.type.matcher.v3.ValueMatcher.NullMatch': '',
  'envoy.type.matcher.v3.DoubleMatcher': 'range exact',
  'envoy.type.matcher.v3.ListMatcher': 'one_of',
  'envoy.type.matcher.v3.OrMatcher': 'value_matchers',

  // ---- listeners
  'envoy.config.listener.v3.Listener': `
    name address additional_addresses stat_prefix filter_chains use_original_dst default_filter_chain
    per_connection_buffer_limit_bytes metadata drain_type listener_filters listener_filters_timeout
    continue_on_listener_filters_timeout transparent freebind socket_options tcp_fast_open_queue_length traffic_direction
    reuse_port enable_reuse_port access_log tcp_backlog_size
    max_connections_to_accept_per_socket_event bind_to_port deprecated_v1 ignore_global_conn_limit bypass_overload_manager tcp_keepalive`,
  'envoy.config.listener.v3.AdditionalAddress': 'address socket_options',
  'envoy.config.core.v3.SocketOptionsOverride': 'socket_options',
  'envoy.config.listener.v3.Listener.DeprecatedV1': 'bind_to_port',
  'envoy.config.listener.v3.FilterChain':
    'filter_chain_match filters use_proxy_proto metadata transport_socket transport_socket_connect_timeout name',
  'envoy.config.listener.v3.FilterChainMatch': `
    destination_port prefix_ranges direct_source_prefix_ranges source_type source_prefix_ranges source_ports server_names
    transport_protocol application_protocols`,
  'envoy.config.listener.v3.Filter': 'name typed_config',
  'envoy.config.listener.v3.ListenerFilter': 'name typed_config filter_disabled',
  'envoy.config.listener.v3.ListenerFilterChainMatchPredicate': 'or_match and_match not_match any_match destination_port_range',
  'envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet': 'rules',
  'envoy.type.v3.Int32Range': 'start end',

  // ---- transport sockets
  'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer': '',
  'envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig': 'cleartext_socket_config tls_socket_config',
  'envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig': 'cleartext_socket_config tls_socket_config',
  'envoy.extensions.transport_sockets.tap.v3.Tap': 'common_config transport_socket',
  'envoy.extensions.common.tap.v3.CommonExtensionConfig': 'static_config',
  'envoy.config.tap.v3.TapConfig': 'match match_config output_config',
  'envoy.config.tap.v3.MatchPredicate': 'any_match',
  'envoy.config.common.matcher.v3.MatchPredicate': 'any_match',
  'envoy.config.tap.v3.OutputConfig': 'sinks max_buffered_rx_bytes max_buffered_tx_bytes',
  'envoy.config.tap.v3.OutputSink': 'format file_per_tap',
  'envoy.config.tap.v3.FilePerTapSink': 'path_prefix',
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext': `
    common_tls_context require_client_certificate session_ticket_keys disable_stateless_session_resumption
    session_ticket_keys_sds_secret_config disable_stateful_session_resumption session_timeout ocsp_staple_policy full_scan_certs_on_sni_mismatch prefer_client_ciphers`,
  'envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext':
    'common_tls_context sni auto_host_sni auto_sni_san_validation max_session_keys enforce_rsa_key_usage',
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext': `tls_params tls_certificates tls_certificate_sds_secret_configs validation_context validation_context_sds_secret_config
    combined_validation_context alpn_protocols key_log`,
  'envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext':
    'default_validation_context validation_context_sds_secret_config',
  'envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig': 'name sds_config',
  'envoy.extensions.transport_sockets.tls.v3.Secret': 'name tls_certificate session_ticket_keys validation_context',
  'envoy.service.discovery.v3.DiscoveryResponse': 'version_info resources type_url nonce',
  'envoy.config.core.v3.ConfigSource':
    'path path_config_source api_config_source ads self initial_fetch_timeout resource_api_version',
  'envoy.config.core.v3.AggregatedConfigSource': '',
  'envoy.config.core.v3.SelfConfigSource': 'transport_api_version',
  'envoy.config.core.v3.ApiConfigSource': 'api_type transport_api_version grpc_services set_node_on_first_message_only',
  'envoy.config.cluster.v3.Cluster.EdsClusterConfig': 'eds_config service_name',
  'envoy.extensions.filters.network.http_connection_manager.v3.Rds': 'config_source route_config_name',
  'envoy.config.core.v3.PathConfigSource': 'path watched_directory',
  'envoy.extensions.transport_sockets.tls.v3.TlsParameters': `
    tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves signature_algorithms
    compliance_policies`,
  'envoy.extensions.transport_sockets.tls.v3.TlsCertificate': `
    certificate_chain private_key pkcs12 watched_directory password ocsp_staple`,
  'envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys': 'keys',
  'envoy.extensions.transport_sockets.tls.v3.TlsKeyLog': 'path local_address_range remote_address_range',
  'envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext': `
    trusted_ca system_root_certs watched_directory verify_certificate_spki verify_certificate_hash match_typed_subject_alt_names
    match_subject_alt_names crl allow_expired_certificate trust_chain_verification only_verify_leaf_cert_crl max_verify_depth`,
  'envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts': '',
  'envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher': 'san_type matcher oid',
  'envoy.config.core.v3.WatchedDirectory': 'path',

  // ---- listener filters
  'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector': `initial_read_buffer_size max_client_hello_size close_connection_on_client_hello_parsing_errors
    enable_ja3_fingerprinting enable_ja4_fingerprinting`,
  'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector': '',
  'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol':
    'rules allow_requests_without_proxy_protocol disallowed_versions stat_prefix',
  'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule': 'tlv_type on_tlv_present',
  'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair': 'metadata_namespace key',
  'envoy.extensions.filters.listener.original_dst.v3.OriginalDst': '',

  // ---- network filters
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy': `
    stat_prefix cluster weighted_clusters metadata_match idle_timeout access_log max_connect_attempts backoff_options
    max_downstream_connection_duration max_downstream_connection_duration_jitter_percentage access_log_flush_interval
    flush_access_log_on_connected access_log_options hash_policy`,
  'envoy.type.v3.HashPolicy': 'source_ip filter_state',
  'envoy.type.v3.HashPolicy.SourceIp': '',
  'envoy.type.v3.HashPolicy.FilterState': 'key',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster': 'clusters',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight': 'name weight metadata_match',
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions':
    'access_log_flush_interval flush_access_log_on_connected',
  'envoy.extensions.filters.network.echo.v3.Echo': '',
  'envoy.extensions.filters.network.direct_response.v3.Config': 'response',
  'envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit': 'stat_prefix max_connections delay runtime_enabled',
  'envoy.extensions.filters.network.sni_cluster.v3.SniCluster': '',
  'envoy.extensions.filters.network.ext_authz.v3.ExtAuthz': `
    stat_prefix grpc_service failure_mode_allow include_peer_certificate transport_api_version filter_enabled_metadata
    include_tls_session`,
  'envoy.extensions.filters.network.rbac.v3.RBAC': 'rules shadow_rules shadow_rules_stat_prefix stat_prefix enforcement_type',
  'envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit': 'stat_prefix token_bucket runtime_enabled',

  // ---- HTTP connection manager
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager': `
    forward_client_cert_details set_current_client_cert_details codec_type stat_prefix route_config rds http_filters add_user_agent common_http_protocol_options http_protocol_options
    http2_protocol_options
    server_name server_header_transformation scheme_header_transformation max_request_headers_kb stream_idle_timeout
    request_timeout request_headers_timeout drain_timeout delayed_close_timeout access_log flush_access_log_on_new_request access_log_options use_remote_address xff_num_trusted_hops
    original_ip_detection_extensions internal_address_config skip_xff_append via generate_request_id
    preserve_external_request_id always_set_request_id_in_response proxy_100_continue
    represent_ipv4_remote_address_as_ipv4_mapped_ipv6 upgrade_configs normalize_path merge_slashes
    path_with_escaped_slashes_action request_id_extension local_reply_config strip_matching_host_port strip_any_host_port
    stream_error_on_invalid_http_message strip_trailing_host_dot append_x_forwarded_port http1_safe_max_connection_duration
    append_local_overload tracing`,
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails':
    'subject cert dns uri chain',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig':
    'unix_sockets cidr_ranges',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig': 'upgrade_type enabled',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.HcmAccessLogOptions':
    'flush_access_log_on_new_request',
  'envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig': 'mappers body_format',
  'envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper':
    'filter status_code body body_format_override headers_to_add',
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter': 'name typed_config is_optional disabled',
  'envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension': 'typed_config',
  'envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig': 'pack_trace_reason use_request_id_for_trace_sampling',
  'envoy.extensions.http.original_ip_detection.xff.v3.XffConfig': 'xff_num_trusted_hops',

  // ---- tracing
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing': `
    client_sampling random_sampling overall_sampling verbose max_path_tag_length custom_tags provider spawn_upstream_span`,
  'envoy.config.trace.v3.Tracing.Http': 'name typed_config',
  'envoy.config.trace.v3.OpenTelemetryConfig': 'grpc_service http_service service_name resource_detectors sampler max_cache_size',
  'envoy.config.trace.v3.ZipkinConfig': `
    collector_cluster collector_endpoint trace_id_128bit shared_span_context collector_endpoint_version collector_hostname`,
  'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig': '',
  'envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig': 'attributes',
  'envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig': '',
  'envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig': 'sampling_percentage',
  'envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig': 'wrapped_sampler',
  'envoy.type.tracing.v3.CustomTag': 'tag literal environment request_header metadata',
  'envoy.type.tracing.v3.CustomTag.Literal': 'value',
  'envoy.type.tracing.v3.CustomTag.Environment': 'name default_value',
  'envoy.type.tracing.v3.CustomTag.Header': 'name default_value',
  'envoy.type.tracing.v3.CustomTag.Metadata': 'kind metadata_key default_value',
  'envoy.type.metadata.v3.MetadataKind': 'request route cluster host',
  'envoy.type.metadata.v3.MetadataKind.Request': '',
  'envoy.type.metadata.v3.MetadataKind.Route': '',
  'envoy.type.metadata.v3.MetadataKind.Cluster': '',
  'envoy.type.metadata.v3.MetadataKind.Host': '',
  'envoy.config.core.v3.HttpService': 'http_uri request_headers_to_add',
  'envoy.config.route.v3.Tracing': 'client_sampling random_sampling overall_sampling custom_tags',

  // ---- HTTP filters
  'envoy.extensions.filters.http.router.v3.Router': `
    dynamic_stats start_child_span upstream_log suppress_envoy_headers strict_check_headers respect_expected_rq_timeout`,
  'envoy.extensions.filters.http.buffer.v3.Buffer': 'max_request_bytes',
  'envoy.extensions.filters.http.buffer.v3.BufferPerRoute': 'disabled buffer',
  'envoy.extensions.filters.http.grpc_web.v3.GrpcWeb': '',
  'envoy.extensions.filters.http.grpc_http1_bridge.v3.Config': '',
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig':
    'stats_for_all_methods individual_method_stats_allowlist replace_dots_in_grpc_service_name',
  'envoy.config.core.v3.GrpcMethodList': 'services',
  'envoy.config.core.v3.GrpcMethodList.Service': 'name method_names',
  'envoy.extensions.filters.http.header_mutation.v3.HeaderMutation': 'mutations most_specific_header_mutations_wins',
  'envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute': 'mutations',
  'envoy.extensions.filters.http.header_mutation.v3.Mutations': 'request_mutations response_mutations',
  'envoy.config.common.mutation_rules.v3.HeaderMutation': 'remove append',

  'envoy.extensions.filters.http.health_check.v3.HealthCheck': `
    pass_through_mode cache_time cluster_min_healthy_percentages headers`,
  'envoy.extensions.filters.http.cors.v3.Cors': '',
  'envoy.extensions.filters.http.cors.v3.CorsPolicy': `
    allow_origin_string_match allow_methods allow_headers expose_headers max_age allow_credentials filter_enabled shadow_enabled
    allow_private_network_access forward_not_matching_preflights`,
  'envoy.extensions.filters.http.compressor.v3.Compressor': 'compressor_library response_direction_config choose_first',
  'envoy.extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig': 'enabled min_content_length content_type',
  'envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig':
    'common_config disable_on_etag_header remove_accept_encoding_header',
  'envoy.extensions.filters.http.compressor.v3.CompressorPerRoute': 'disabled overrides',
  'envoy.extensions.filters.http.compressor.v3.CompressorOverrides': 'response_direction_config',
  'envoy.extensions.filters.http.compressor.v3.ResponseDirectionOverrides': 'remove_accept_encoding_header',
  'envoy.extensions.compression.gzip.compressor.v3.Gzip':
    'memory_level compression_level compression_strategy window_bits chunk_size',
  'envoy.extensions.compression.brotli.compressor.v3.Brotli':
    'quality encoder_mode window_bits input_block_bits chunk_size disable_literal_context_modeling',
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit': `
    stat_prefix status token_bucket filter_enabled filter_enforced request_headers_to_add_when_not_enforced response_headers_to_add
    descriptors stage local_rate_limit_per_downstream_connection enable_x_ratelimit_headers vh_rate_limits
    always_consume_default_token_bucket rate_limited_as_resource_exhausted`,
  'envoy.extensions.filters.http.fault.v3.HTTPFault': `
    delay abort upstream_cluster headers downstream_nodes max_active_faults response_rate_limit delay_percent_runtime
    abort_percent_runtime delay_duration_runtime abort_http_status_runtime max_active_faults_runtime
    response_rate_limit_percent_runtime abort_grpc_status_runtime disable_downstream_cluster_stats filter_metadata`,
  'envoy.extensions.filters.http.fault.v3.FaultAbort': 'http_status grpc_status header_abort percentage',
  'envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort': '',
  'envoy.extensions.filters.common.fault.v3.FaultDelay': 'fixed_delay header_delay percentage',
  'envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay': '',
  'envoy.extensions.filters.common.fault.v3.FaultRateLimit': 'fixed_limit header_limit percentage',
  'envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit': 'limit_kbps',
  'envoy.extensions.filters.common.fault.v3.FaultRateLimit.HeaderLimit': '',
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthz': `
    grpc_service http_service transport_api_version failure_mode_allow failure_mode_allow_header_add with_request_body
    clear_route_cache status_on_error metadata_context_namespaces route_metadata_context_namespaces filter_enabled
    filter_enabled_metadata deny_at_disable include_peer_certificate stat_prefix allowed_headers disallowed_headers
    include_tls_session encode_raw_headers enable_dynamic_metadata_ingestion`,
  'envoy.extensions.filters.http.ext_authz.v3.BufferSettings': 'max_request_bytes allow_partial_message pack_as_bytes',
  'envoy.extensions.filters.http.ext_authz.v3.HttpService': 'server_uri path_prefix authorization_request authorization_response',
  'envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest': 'allowed_headers headers_to_add',
  'envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse': `
    allowed_upstream_headers allowed_upstream_headers_to_append allowed_client_headers allowed_client_headers_on_success
    dynamic_metadata_from_headers`,
  'envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute': 'disabled check_settings',
  'envoy.extensions.filters.http.ext_authz.v3.CheckSettings':
    'context_extensions disable_request_body_buffering with_request_body',
  'envoy.config.core.v3.GrpcService': 'envoy_grpc timeout initial_metadata',
  'envoy.config.core.v3.GrpcService.EnvoyGrpc': 'cluster_name authority',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication':
    'providers rules bypass_cors_preflight requirement_map strip_failure_response',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtProvider': `
    issuer audiences subjects require_expiration max_lifetime remote_jwks local_jwks forward from_headers from_params from_cookies
    forward_payload_header pad_forward_payload_header payload_in_metadata normalize_payload_in_metadata header_in_metadata
    clock_skew_seconds jwt_cache_config claim_to_headers clear_route_cache`,
  'envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload': 'space_delimited_claims',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtCacheConfig': 'jwt_cache_size',
  'envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks': 'http_uri cache_duration async_fetch',
  'envoy.extensions.filters.http.jwt_authn.v3.JwksAsyncFetch': 'fast_listener failed_refetch_duration',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtHeader': 'name value_prefix',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader': 'header_name claim_name',
  'envoy.extensions.filters.http.jwt_authn.v3.ProviderWithAudiences': 'provider_name audiences',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement':
    'provider_name provider_and_audiences requires_any requires_all allow_missing_or_failed allow_missing',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList': 'requirements',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementAndList': 'requirements',
  'envoy.extensions.filters.http.jwt_authn.v3.RequirementRule': 'match requires requirement_name',
  'envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig': 'disabled requirement_name',
  'google.protobuf.Empty': '',
  'envoy.extensions.filters.http.csrf.v3.CsrfPolicy': 'filter_enabled shadow_enabled additional_origins',
  'envoy.extensions.filters.http.basic_auth.v3.BasicAuth': 'users forward_username_header authentication_header',
  'envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute': 'users',
  'envoy.extensions.filters.http.set_metadata.v3.Config': 'metadata_namespace value metadata',
  'envoy.extensions.filters.http.set_metadata.v3.Metadata': 'metadata_namespace allow_overwrite value',
  'envoy.extensions.filters.http.header_to_metadata.v3.Config': 'request_rules response_rules',
  'envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule': 'header cookie on_header_present on_header_missing remove',
  'envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair':
    'metadata_namespace key value regex_value_rewrite type encode',
  'envoy.extensions.filters.http.ratelimit.v3.RateLimit': `
    domain stage request_type timeout failure_mode_deny rate_limited_as_resource_exhausted rate_limit_service
    enable_x_ratelimit_headers disable_x_envoy_ratelimited_header rate_limited_status response_headers_to_add status_on_error
    stat_prefix`,
  'envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute': 'vh_rate_limits domain',
  'envoy.config.ratelimit.v3.RateLimitServiceConfig': 'grpc_service transport_api_version',
  'envoy.extensions.filters.http.rbac.v3.RBAC':
    'rules rules_stat_prefix shadow_rules shadow_rules_stat_prefix track_per_rule_stats',
  'envoy.extensions.filters.http.rbac.v3.RBACPerRoute': 'rbac',
  'envoy.config.rbac.v3.RBAC': 'action policies',
  'envoy.config.rbac.v3.Policy': 'permissions principals',
  'envoy.config.rbac.v3.Permission': `
    and_rules or_rules any header url_path destination_ip destination_port destination_port_range metadata not_rule
    requested_server_name sourced_metadata`,
  'envoy.config.rbac.v3.Permission.Set': 'rules',
  'envoy.config.rbac.v3.Principal': `
    and_ids or_ids any authenticated source_ip direct_remote_ip remote_ip header url_path metadata filter_state not_id
    sourced_metadata`,
  'envoy.config.rbac.v3.Principal.Set': 'ids',
  'envoy.config.rbac.v3.Principal.Authenticated': 'principal_name',
  'envoy.config.rbac.v3.SourcedMetadata': 'metadata_matcher metadata_source',
  'envoy.type.matcher.v3.PathMatcher': 'path',
  'envoy.type.matcher.v3.FilterStateMatcher': 'key string_match',
  'envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor': 'entries token_bucket',
  'envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry': 'key value',
  'envoy.type.v3.TokenBucket': 'max_tokens tokens_per_fill fill_interval',
  'envoy.type.v3.HttpStatus': 'code',
  'envoy.extensions.compression.zstd.compressor.v3.Zstd': 'compression_level enable_checksum strategy chunk_size',
  'sluice.extensions.filters.http.typescript.v1.TypeScript': 'module name config failure_policy deadline isolated',
  'sluice.extensions.filters.http.typescript.v1.TypeScriptIsolation': 'call_budget max_heap_mb',
  'sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute': 'config',
  'sluice.extensions.filters.network.typescript.v1.TypeScriptNetworkFilter':
    'module name config failure_policy deadline terminal',
  'sluice.extensions.access_loggers.typescript.v1.TypeScriptAccessLog': 'module name config',
  'sluice.extensions.bootstrap.typescript.v1.TypeScriptService': 'module name config singleton',

  // ---- routes
  'envoy.config.route.v3.RouteConfiguration': `
    name virtual_hosts internal_only_headers response_headers_to_add response_headers_to_remove request_headers_to_add
    request_headers_to_remove most_specific_header_mutations_wins validate_clusters max_direct_response_body_size_bytes
    ignore_port_in_host_matching ignore_path_parameters_in_path_matching typed_per_filter_config metadata request_mirror_policies`,
  'envoy.config.route.v3.VirtualHost': `
    name domains routes require_tls request_headers_to_add request_headers_to_remove response_headers_to_add
    response_headers_to_remove typed_per_filter_config include_request_attempt_count include_attempt_count_in_response
    retry_policy include_is_timeout_retry_header per_request_buffer_limit_bytes request_body_buffer_limit metadata request_mirror_policies rate_limits`,
  'envoy.config.route.v3.Route': `
    name match route redirect direct_response metadata decorator tracing typed_per_filter_config request_headers_to_add
    request_headers_to_remove response_headers_to_add response_headers_to_remove per_request_buffer_limit_bytes
    request_body_buffer_limit`,
  'envoy.config.route.v3.Decorator': 'operation propagate',
  'envoy.config.route.v3.FilterConfig': 'config is_optional disabled',
  'envoy.config.route.v3.RouteMatch': `
    prefix path safe_regex connect_matcher path_separated_prefix case_sensitive runtime_fraction headers query_parameters grpc
    dynamic_metadata`,
  'envoy.config.route.v3.RouteMatch.ConnectMatcher': '',
  'envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions': '',
  'envoy.config.route.v3.HeaderMatcher': `
    name exact_match safe_regex_match range_match present_match prefix_match suffix_match contains_match string_match
    invert_match treat_missing_header_as_empty`,
  'envoy.config.route.v3.QueryParameterMatcher': 'name string_match present_match',
  'envoy.config.route.v3.RouteAction': `
    cluster cluster_header weighted_clusters cluster_not_found_response_code metadata_match prefix_rewrite regex_rewrite
    host_rewrite_literal auto_host_rewrite host_rewrite_header host_rewrite_path_regex append_x_forwarded_host timeout
    idle_timeout retry_policy priority hash_policy request_mirror_policies upgrade_configs max_stream_duration rate_limits include_vh_rate_limits`,
  'envoy.config.route.v3.RateLimit': 'stage disable_key actions limit',
  'envoy.config.route.v3.RateLimit.Action': `
    source_cluster destination_cluster request_headers query_parameters remote_address generic_key header_value_match metadata
    masked_remote_address query_parameter_value_match`,
  'envoy.config.route.v3.RateLimit.Action.SourceCluster': '',
  'envoy.config.route.v3.RateLimit.Action.DestinationCluster': '',
  'envoy.config.route.v3.RateLimit.Action.RequestHeaders': 'header_name descriptor_key skip_if_absent',
  'envoy.config.route.v3.RateLimit.Action.QueryParameters': 'query_parameter_name descriptor_key skip_if_absent',
  'envoy.config.route.v3.RateLimit.Action.RemoteAddress': '',
  'envoy.config.route.v3.RateLimit.Action.MaskedRemoteAddress': 'v4_prefix_mask_len v6_prefix_mask_len',
  'envoy.config.route.v3.RateLimit.Action.GenericKey': 'descriptor_value descriptor_key',
  'envoy.config.route.v3.RateLimit.Action.HeaderValueMatch': 'descriptor_key descriptor_value expect_match headers',
  'envoy.config.route.v3.RateLimit.Action.QueryParameterValueMatch':
    'descriptor_key descriptor_value expect_match query_parameters',
  'envoy.config.route.v3.RateLimit.Action.MetaData': 'descriptor_key metadata_key default_value source skip_if_absent',
  'envoy.config.route.v3.RateLimit.Override': 'dynamic_metadata',
  'envoy.config.route.v3.RateLimit.Override.DynamicMetadata': 'metadata_key',
  'envoy.type.metadata.v3.MetadataKey': 'key path',
  'envoy.type.metadata.v3.MetadataKey.PathSegment': 'key',
  'envoy.config.route.v3.RouteAction.RequestMirrorPolicy':
    'cluster cluster_header runtime_fraction disable_shadow_host_suffix_append host_rewrite_literal',
  'envoy.config.route.v3.RouteAction.HashPolicy': 'header cookie connection_properties query_parameter filter_state terminal',
  'envoy.config.route.v3.RouteAction.HashPolicy.FilterState': 'key',
  'envoy.config.route.v3.RouteAction.HashPolicy.Header': 'header_name regex_rewrite',
  'envoy.config.route.v3.RouteAction.HashPolicy.Cookie': 'name ttl path attributes',
  'envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute': 'name value',
  'envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties': 'source_ip',
  'envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter': 'name',
  'envoy.config.route.v3.WeightedCluster': 'clusters total_weight runtime_key_prefix header_name use_hash_policy',
  'envoy.config.route.v3.WeightedCluster.ClusterWeight': `
    name cluster_header weight metadata_match request_headers_to_add request_headers_to_remove response_headers_to_add
    response_headers_to_remove typed_per_filter_config host_rewrite_literal`,
  'envoy.config.route.v3.RouteAction.UpgradeConfig': 'upgrade_type enabled connect_config',
  'envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig': 'allow_post',
  'envoy.config.route.v3.RouteAction.MaxStreamDuration': 'max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset',
  'envoy.config.route.v3.RetryPolicy': `
    retry_on num_retries per_try_timeout per_try_idle_timeout retry_priority retry_host_predicate host_selection_retry_max_attempts
    retriable_status_codes retry_back_off rate_limited_retry_back_off retriable_headers retriable_request_headers`,
  'envoy.config.route.v3.RetryPolicy.RetryHostPredicate': 'name typed_config',
  'envoy.config.route.v3.RetryPolicy.RetryPriority': 'name typed_config',
  'envoy.config.route.v3.RetryPolicy.RetryBackOff': 'base_interval max_interval',
  'envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff': 'reset_headers max_interval',
  'envoy.config.route.v3.RetryPolicy.ResetHeader': 'name format',
  'envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate': '',
  'envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate': '',
  'envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig': 'metadata_match',
  'envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig': 'update_frequency',
  'envoy.config.route.v3.RedirectAction': `
    https_redirect scheme_redirect host_redirect port_redirect path_redirect prefix_rewrite regex_rewrite response_code
    strip_query`,
  'envoy.config.route.v3.DirectResponseAction': 'status body',

  // ---- clusters
  'envoy.config.cluster.v3.Cluster': `
    name alt_stat_name type cluster_type connect_timeout per_connection_buffer_limit_bytes lb_policy load_assignment
    max_requests_per_connection circuit_breakers common_http_protocol_options http_protocol_options
    upstream_http_protocol_options http2_protocol_options
    typed_extension_protocol_options dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_lookup_family dns_jitter
    eds_cluster_config dns_resolvers dns_resolution_config typed_dns_resolver_config wait_for_warm_on_init cleanup_interval upstream_bind_config original_dst_lb_config
    least_request_lb_config round_robin_lb_config ring_hash_lb_config maglev_lb_config lb_subset_config common_lb_config transport_socket transport_socket_matches metadata upstream_connection_options
    load_balancing_policy track_cluster_stats health_checks outlier_detection close_connections_on_host_health_failure
    ignore_health_on_host_removal`,
  'envoy.config.core.v3.HealthCheck': `
    timeout interval initial_jitter interval_jitter interval_jitter_percent unhealthy_threshold healthy_threshold alt_port
    reuse_connection http_health_check tcp_health_check grpc_health_check no_traffic_interval no_traffic_healthy_interval
    unhealthy_interval unhealthy_edge_interval healthy_edge_interval event_log_path event_logger
    always_log_health_check_failures always_log_health_check_success tls_options transport_socket_match_criteria`,
  'envoy.config.core.v3.HealthCheck.Payload': 'text binary',
  'envoy.config.core.v3.HealthCheck.HttpHealthCheck': `
    host path send receive response_buffer_size request_headers_to_add request_headers_to_remove expected_statuses
    retriable_statuses codec_client_type service_name_matcher method`,
  'envoy.config.core.v3.HealthCheck.TcpHealthCheck': 'send receive',
  'envoy.config.core.v3.HealthCheck.GrpcHealthCheck': 'service_name authority initial_metadata',
  'envoy.config.core.v3.HealthCheck.TlsOptions': 'alpn_protocols',
  'envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink': 'event_log_path',
  'envoy.config.cluster.v3.OutlierDetection': `
    consecutive_5xx interval base_ejection_time max_ejection_percent enforcing_consecutive_5xx enforcing_success_rate
    success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor consecutive_gateway_failure
    enforcing_consecutive_gateway_failure split_external_local_origin_errors consecutive_local_origin_failure
    enforcing_consecutive_local_origin_failure enforcing_local_origin_success_rate failure_percentage_threshold
    enforcing_failure_percentage enforcing_failure_percentage_local_origin failure_percentage_minimum_hosts
    failure_percentage_request_volume max_ejection_time max_ejection_time_jitter
    successful_active_health_check_uneject_host always_eject_one_host`,
  'envoy.config.cluster.v3.Cluster.TransportSocketMatch': 'name match transport_socket',
  'envoy.config.cluster.v3.Cluster.CustomClusterType': 'name typed_config',
  'envoy.extensions.clusters.aggregate.v3.ClusterConfig': 'clusters',
  'envoy.extensions.clusters.dns.v3.DnsCluster': `
    dns_refresh_rate dns_failure_refresh_rate respect_dns_ttl dns_jitter typed_dns_resolver_config dns_lookup_family
    all_addresses_in_single_endpoint`,
  'envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate': 'base_interval max_interval',
  'envoy.config.cluster.v3.Cluster.RefreshRate': 'base_interval max_interval',
  'envoy.config.cluster.v3.Cluster.RoundRobinLbConfig': 'slow_start_config',
  'envoy.config.cluster.v3.Cluster.LeastRequestLbConfig': 'choice_count active_request_bias slow_start_config',
  'envoy.config.cluster.v3.Cluster.SlowStartConfig': 'slow_start_window aggression min_weight_percent',
  'envoy.config.cluster.v3.Cluster.LbSubsetConfig': `
    fallback_policy default_subset subset_selectors locality_weight_aware scale_locality_weight panic_mode_any list_as_any
    metadata_fallback_policy`,
  'envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector':
    'keys single_host_per_subset fallback_policy fallback_keys_subset',
  'envoy.config.cluster.v3.Cluster.RingHashLbConfig': 'minimum_ring_size maximum_ring_size hash_function',
  'envoy.config.cluster.v3.Cluster.MaglevLbConfig': 'table_size',
  'envoy.config.cluster.v3.Cluster.OriginalDstLbConfig': 'use_http_header http_header_name upstream_port_override',
  'envoy.config.cluster.v3.Cluster.CommonLbConfig': `
    healthy_panic_threshold ignore_new_hosts_until_first_hc close_connections_on_host_set_change zone_aware_lb_config locality_weighted_lb_config
    consistent_hashing_lb_config`,
  'envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig': 'routing_enabled min_cluster_size fail_traffic_on_panic',
  'envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig': '',
  'envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig': 'use_hostname_for_hashing hash_balance_factor',
  'envoy.config.cluster.v3.CircuitBreakers': 'thresholds per_host_thresholds',
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds': `
    priority max_connections max_pending_requests max_requests max_retries retry_budget track_remaining max_connection_pools`,
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget': 'budget_percent min_retry_concurrency',
  'envoy.config.cluster.v3.UpstreamConnectionOptions': 'tcp_keepalive',
  'envoy.config.cluster.v3.TrackClusterStats': '',
  'envoy.config.cluster.v3.LoadBalancingPolicy': 'policies',
  'envoy.config.cluster.v3.LoadBalancingPolicy.Policy': 'typed_extension_config',
  'envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin': 'slow_start_config locality_lb_config',
  'envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest':
    'choice_count active_request_bias slow_start_config locality_lb_config selection_method enable_full_scan',
  'envoy.extensions.load_balancing_policies.random.v3.Random': 'locality_lb_config',
  'envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash': `
    hash_function minimum_ring_size maximum_ring_size use_hostname_for_hashing hash_balance_factor consistent_hashing_lb_config
    locality_weighted_lb_config`,
  'envoy.extensions.load_balancing_policies.maglev.v3.Maglev':
    'table_size consistent_hashing_lb_config locality_weighted_lb_config',
  'envoy.extensions.load_balancing_policies.subset.v3.Subset': `
    fallback_policy default_subset subset_selectors allow_redundant_keys locality_weight_aware scale_locality_weight
    panic_mode_any list_as_any metadata_fallback_policy subset_lb_policy`,
  'envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector':
    'keys single_host_per_subset fallback_policy fallback_keys_subset',
  'envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality': 'endpoint_picking_policy',
  'envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig': 'zone_aware_lb_config locality_weighted_lb_config',
  'envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig':
    'routing_enabled min_cluster_size fail_traffic_on_panic',
  'envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig': '',
  'envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig': 'slow_start_window aggression min_weight_percent',
  'envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig': 'use_hostname_for_hashing hash_balance_factor',
  'envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided': '',
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': `
    upstream_http_protocol_options common_http_protocol_options explicit_http_config use_downstream_protocol_config auto_config`,
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig': 'http_protocol_options http2_protocol_options',
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig': 'http_protocol_options http2_protocol_options',
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig':
    'http_protocol_options http2_protocol_options',
  'envoy.config.core.v3.UpstreamHttpProtocolOptions': 'auto_sni auto_san_validation override_auto_sni_header',
  'envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions': 'idle_timeout',
  'envoy.config.endpoint.v3.ClusterLoadAssignment': 'cluster_name endpoints policy',
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy': 'drop_overloads overprovisioning_factor weighted_priority_health',
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload': 'category drop_percentage',
  'envoy.config.endpoint.v3.LocalityLbEndpoints': 'locality metadata lb_endpoints load_balancing_weight priority proximity',
  'envoy.config.endpoint.v3.LbEndpoint': 'endpoint health_status metadata load_balancing_weight',
  'envoy.config.endpoint.v3.Endpoint': 'address hostname health_check_config',
  'envoy.config.endpoint.v3.Endpoint.HealthCheckConfig': 'port_value hostname address disable_active_health_check',

  // ---- access logs
  'envoy.config.accesslog.v3.AccessLog': 'name filter typed_config',
  'envoy.config.accesslog.v3.AccessLogFilter': `
    status_code_filter duration_filter not_health_check_filter traceable_filter runtime_filter and_filter or_filter
    header_filter response_flag_filter grpc_status_filter metadata_filter log_type_filter`,
  'envoy.config.accesslog.v3.StatusCodeFilter': 'comparison',
  'envoy.config.accesslog.v3.DurationFilter': 'comparison',
  'envoy.config.accesslog.v3.ComparisonFilter': 'op value',
  'envoy.config.accesslog.v3.NotHealthCheckFilter': '',
  'envoy.config.accesslog.v3.TraceableFilter': '',
  'envoy.config.accesslog.v3.RuntimeFilter': 'runtime_key percent_sampled use_independent_randomness',
  'envoy.config.accesslog.v3.AndFilter': 'filters',
  'envoy.config.accesslog.v3.OrFilter': 'filters',
  'envoy.config.accesslog.v3.HeaderFilter': 'header',
  'envoy.config.accesslog.v3.ResponseFlagFilter': 'flags',
  'envoy.config.accesslog.v3.GrpcStatusFilter': 'statuses exclude',
  'envoy.config.accesslog.v3.MetadataFilter': 'matcher match_if_key_not_found',
  'envoy.config.accesslog.v3.LogTypeFilter': 'types exclude',
  'envoy.extensions.access_loggers.file.v3.FileAccessLog': 'path format json_format typed_json_format log_format',
  'envoy.extensions.access_loggers.stream.v3.StdoutAccessLog': 'log_format',
  'envoy.extensions.access_loggers.stream.v3.StderrAccessLog': 'log_format',
  'envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery': '',
  'envoy.extensions.formatter.metadata.v3.Metadata': '',

  'envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig': `
    common_config additional_request_headers_to_log additional_response_headers_to_log additional_response_trailers_to_log`,
  'envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig': 'common_config',
  'envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig':
    'log_name grpc_service transport_api_version buffer_flush_interval buffer_size_bytes custom_tags',

  // ---- stats sinks
  'envoy.config.metrics.v3.StatsSink': 'name typed_config',
  'envoy.config.metrics.v3.StatsdSink': 'address prefix',
  'envoy.config.metrics.v3.DogStatsdSink': 'address prefix max_bytes_per_datagram',
  'envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink': 'address prefix max_bytes_per_datagram',

  // ---- wasm
  'envoy.extensions.filters.http.wasm.v3.Wasm': 'config',
  'envoy.extensions.filters.network.wasm.v3.Wasm': 'config',
  'envoy.extensions.access_loggers.wasm.v3.WasmAccessLog': 'config',
  'envoy.extensions.wasm.v3.WasmService': 'config singleton',
  'envoy.extensions.wasm.v3.PluginConfig': `
    name root_id vm_config configuration fail_open failure_policy reload_config capability_restriction_config
    allow_on_headers_stop_iteration`,
  'envoy.extensions.wasm.v3.VmConfig': 'vm_id runtime code configuration environment_variables nack_on_code_cache_miss',
  'envoy.extensions.wasm.v3.EnvironmentVariables': 'host_env_keys key_values',
  'envoy.extensions.wasm.v3.ReloadConfig': 'backoff',
  'envoy.extensions.wasm.v3.CapabilityRestrictionConfig': 'allowed_capabilities',
  'envoy.extensions.wasm.v3.SanitizationConfig': '',
  'envoy.config.core.v3.AsyncDataSource': 'local remote',
  'envoy.config.core.v3.RemoteDataSource': 'http_uri sha256',
  'envoy.config.core.v3.HttpUri': 'uri cluster timeout',
};

/** What a Wasm module's configuration may be wrapped in. */
const WASM_CONFIGURATION =
  'google.protobuf.StringValue google.protobuf.BytesValue google.protobuf.Struct google.protobuf.Value google.protobuf.ListValue';

const HCM = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';

const DNS_RESOLVERS = `
  envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig
  envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig`;

const SAMPLERS = `
  envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig
  envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig
  envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig`;

const PER_ROUTE = `
  envoy.extensions.filters.http.buffer.v3.BufferPerRoute
  envoy.extensions.filters.http.compressor.v3.CompressorPerRoute
  envoy.extensions.filters.http.cors.v3.CorsPolicy
  envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute
  envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
  envoy.extensions.filters.http.fault.v3.HTTPFault
  envoy.extensions.filters.http.rbac.v3.RBACPerRoute
  envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
  envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig
  envoy.extensions.filters.http.csrf.v3.CsrfPolicy
  envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute
  envoy.extensions.filters.http.header_to_metadata.v3.Config
  envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute
  sluice.extensions.filters.http.typescript.v1.TypeScriptPerRoute
  envoy.extensions.filters.http.wasm.v3.Wasm`;

/**
 * Where extensions go: the field that holds an Any (or a TypedExtensionConfig) -> the messages registered there. An Any in a field
 * that is not here cannot be used.
 */
export const EXTENSION_POINTS: Record<string, string> = {
  'envoy.config.bootstrap.v3.Bootstrap.bootstrap_extensions': `
    envoy.extensions.wasm.v3.WasmService
    envoy.extensions.network.socket_interface.v3.DefaultSocketInterface
    envoy.extensions.vcl.v3alpha.VclSocketInterface
    sluice.extensions.bootstrap.typescript.v1.TypeScriptService
    sluice.extensions.vcl.v1.HostStackSocketInterface`,
  'envoy.config.bootstrap.v3.Bootstrap.typed_dns_resolver_config': DNS_RESOLVERS,
  'envoy.config.metrics.v3.StatsSink.typed_config': `
    envoy.config.metrics.v3.StatsdSink
    envoy.config.metrics.v3.DogStatsdSink
    envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink`,
  'envoy.config.trace.v3.Tracing.Http.typed_config':
    'envoy.config.trace.v3.OpenTelemetryConfig envoy.config.trace.v3.ZipkinConfig',
  'envoy.config.trace.v3.OpenTelemetryConfig.resource_detectors': `
    envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig
    envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig`,
  'envoy.config.trace.v3.OpenTelemetryConfig.sampler': SAMPLERS,
  'envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig.wrapped_sampler': SAMPLERS,
  'envoy.config.overload.v3.ResourceMonitor.typed_config': `
    envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
    envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig
    envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig
    envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig
    envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig`,
  'envoy.config.overload.v3.OverloadAction.typed_config': 'envoy.config.overload.v3.ScaleTimersOverloadActionConfig',
  'envoy.config.listener.v3.ListenerFilter.typed_config': `
    envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector
    envoy.extensions.filters.listener.http_inspector.v3.HttpInspector
    envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol
    envoy.extensions.filters.listener.original_dst.v3.OriginalDst`,
  'envoy.config.listener.v3.Filter.typed_config': `
    envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
    envoy.extensions.filters.network.echo.v3.Echo
    envoy.extensions.filters.network.direct_response.v3.Config
    envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit
    envoy.extensions.filters.network.sni_cluster.v3.SniCluster
    envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit
    envoy.extensions.filters.network.rbac.v3.RBAC
    envoy.extensions.filters.network.ext_authz.v3.ExtAuthz
    sluice.extensions.filters.network.typescript.v1.TypeScriptNetworkFilter
    envoy.extensions.filters.network.wasm.v3.Wasm
    ${HCM}`,
  'envoy.service.discovery.v3.DiscoveryResponse.resources': 'envoy.extensions.transport_sockets.tls.v3.Secret',
  'envoy.config.core.v3.TransportSocket.typed_config': `
    envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer
    envoy.extensions.transport_sockets.tap.v3.Tap
    envoy.extensions.transport_sockets.starttls.v3.StartTlsConfig
    envoy.extensions.transport_sockets.starttls.v3.UpstreamStartTlsConfig
    envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`,
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter.typed_config': `
    envoy.extensions.filters.http.router.v3.Router
    envoy.extensions.filters.http.buffer.v3.Buffer
    envoy.extensions.filters.http.compressor.v3.Compressor
    envoy.extensions.filters.http.cors.v3.Cors
    envoy.extensions.filters.http.health_check.v3.HealthCheck
    envoy.extensions.filters.http.grpc_http1_bridge.v3.Config
    envoy.extensions.filters.http.grpc_stats.v3.FilterConfig
    envoy.extensions.filters.http.grpc_web.v3.GrpcWeb
    envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
    envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
    envoy.extensions.filters.http.fault.v3.HTTPFault
    envoy.extensions.filters.http.rbac.v3.RBAC
    envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
    envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
    envoy.extensions.filters.http.csrf.v3.CsrfPolicy
    envoy.extensions.filters.http.basic_auth.v3.BasicAuth
    envoy.extensions.filters.http.set_metadata.v3.Config
    envoy.extensions.filters.http.header_to_metadata.v3.Config
    envoy.extensions.filters.http.ratelimit.v3.RateLimit
    sluice.extensions.filters.http.typescript.v1.TypeScript
    envoy.extensions.filters.http.wasm.v3.Wasm`,
  'envoy.extensions.wasm.v3.PluginConfig.configuration': WASM_CONFIGURATION,
  'envoy.extensions.wasm.v3.VmConfig.configuration': WASM_CONFIGURATION,
  'envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension.typed_config':
    'envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig',
  [`${HCM}.original_ip_detection_extensions`]: 'envoy.extensions.http.original_ip_detection.xff.v3.XffConfig',
  'envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.stateful_formatter':
    'envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig',
  'envoy.extensions.filters.http.compressor.v3.Compressor.compressor_library': `
    envoy.extensions.compression.gzip.compressor.v3.Gzip
    envoy.extensions.compression.brotli.compressor.v3.Brotli
    envoy.extensions.compression.zstd.compressor.v3.Zstd`,
  'envoy.config.route.v3.RouteConfiguration.typed_per_filter_config': `envoy.config.route.v3.FilterConfig ${PER_ROUTE}`,
  'envoy.config.route.v3.VirtualHost.typed_per_filter_config': `envoy.config.route.v3.FilterConfig ${PER_ROUTE}`,
  'envoy.config.route.v3.Route.typed_per_filter_config': `envoy.config.route.v3.FilterConfig ${PER_ROUTE}`,
  'envoy.config.route.v3.WeightedCluster.ClusterWeight.typed_per_filter_config': `envoy.config.route.v3.FilterConfig ${PER_ROUTE}`,
  'envoy.config.route.v3.FilterConfig.config': PER_ROUTE,
  'envoy.config.route.v3.RetryPolicy.RetryHostPredicate.typed_config': `
    envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
    envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate
    envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig`,
  'envoy.config.route.v3.RetryPolicy.RetryPriority.typed_config':
    'envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig',
  'envoy.config.cluster.v3.Cluster.CustomClusterType.typed_config':
    'envoy.extensions.clusters.aggregate.v3.ClusterConfig envoy.extensions.clusters.dns.v3.DnsCluster',
  'envoy.config.cluster.v3.Cluster.typed_dns_resolver_config': DNS_RESOLVERS,
  'envoy.config.core.v3.HealthCheck.event_logger': 'envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink',
  'envoy.extensions.clusters.dns.v3.DnsCluster.typed_dns_resolver_config': DNS_RESOLVERS,
  'envoy.config.cluster.v3.Cluster.typed_extension_protocol_options': `
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions`,
  'envoy.config.cluster.v3.LoadBalancingPolicy.Policy.typed_extension_config': `
    envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin
    envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest
    envoy.extensions.load_balancing_policies.random.v3.Random
    envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash
    envoy.extensions.load_balancing_policies.maglev.v3.Maglev
    envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality
    envoy.extensions.load_balancing_policies.subset.v3.Subset
    envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided`,
  'envoy.config.accesslog.v3.AccessLog.typed_config': `
    envoy.extensions.access_loggers.file.v3.FileAccessLog
    envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
    sluice.extensions.access_loggers.typescript.v1.TypeScriptAccessLog
    envoy.extensions.access_loggers.stream.v3.StderrAccessLog
    envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
    envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig
    envoy.extensions.access_loggers.wasm.v3.WasmAccessLog`,
  'envoy.config.core.v3.SubstitutionFormatString.formatters': `
    envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery
    envoy.extensions.formatter.metadata.v3.Metadata`,
};

/** Lists of which the first supported element is used: one that is not supported is no mistake as long as another is. */
export const FIRST_SUPPORTED_WINS: ReadonlySet<string> = new Set(['envoy.config.cluster.v3.LoadBalancingPolicy.policies']);

/** Messages whose `typed_config` only adds to what their name says. */
export const KNOWN_BY_NAME: ReadonlySet<string> = new Set(['envoy.config.overload.v3.OverloadAction']);

/** Enum -> supported values, for enums of which not all are. */
export const SUPPORTED_ENUM_VALUES: Record<string, string> = {
  [`${HCM}.CodecType`]: 'AUTO HTTP1 HTTP2',
  'envoy.config.core.v3.SocketAddress.Protocol': 'TCP',
  'envoy.type.v3.CodecClientType': 'HTTP1 HTTP2',
  'envoy.config.core.v3.ApiVersion': 'AUTO V3',
  'envoy.config.trace.v3.ZipkinConfig.CollectorEndpointVersion': 'DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE HTTP_JSON',
  'envoy.config.tap.v3.OutputSink.Format': 'JSON_BODY_AS_BYTES JSON_BODY_AS_STRING',
  'envoy.extensions.transport_sockets.tls.v3.TlsParameters.TlsProtocol': 'TLS_AUTO TLSv1_2 TLSv1_3',
  'envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext.OcspStaplePolicy':
    'LENIENT_STAPLING STRICT_STAPLING MUST_STAPLE',
  'envoy.config.cluster.v3.Cluster.DiscoveryType': 'STATIC STRICT_DNS LOGICAL_DNS EDS ORIGINAL_DST',
  'envoy.config.core.v3.ApiConfigSource.ApiType': 'GRPC DELTA_GRPC',
  'envoy.config.cluster.v3.Cluster.LbPolicy':
    'ROUND_ROBIN LEAST_REQUEST RANDOM RING_HASH MAGLEV CLUSTER_PROVIDED LOAD_BALANCING_POLICY_CONFIG',
};

/** Without these traffic would go in plain text, or to another protocol, or where it may not: even `--allow-unsupported` never leaves them out. */
export const NEVER_LEFT_OUT: ReadonlySet<string> = new Set([
  'envoy.config.core.v3.TransportSocket',
  'envoy.config.cluster.v3.Cluster.TransportSocketMatch',
  'envoy.config.cluster.v3.Cluster.transport_socket_matcher',
  'envoy.config.core.v3.SocketAddress.protocol',
  // And without these more would be allowed than the configuration says.
  'envoy.config.rbac.v3.RBAC',
  'envoy.extensions.filters.http.rbac.v3.RBAC.matcher',
  'envoy.extensions.filters.http.rbac.v3.RBACPerRoute',
  'envoy.extensions.filters.network.rbac.v3.RBAC.matcher',
  'envoy.config.rbac.v3.Policy.condition',
  'envoy.config.rbac.v3.Policy.checked_condition',
  'envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication.filter_state_rules',
]);

/**
 * Fields that are not supported, with the values that say no more than what Sluice does anyway (bool, number, string or enum name):
 * accepted and left out. A scalar without presence that has its default needs no entry: it counts as not set.
 */
export const ACCEPTED_VALUES: Record<string, readonly (boolean | number | string)[]> = {
  // Which of Envoy's own parsers is used.
  'envoy.config.core.v3.Http1ProtocolOptions.use_balsa_parser': [true, false],
  'envoy.config.core.v3.Http2ProtocolOptions.use_oghttp2_codec': [true, false],
  // Connections to the admin interface are never counted or limited.
  'envoy.config.bootstrap.v3.Admin.ignore_global_conn_limit': [true],
  'envoy.extensions.http.original_ip_detection.xff.v3.XffConfig.skip_xff_append': [true],
  // Machine code in the module is not used, and not needed.
  'envoy.extensions.wasm.v3.VmConfig.allow_precompiled': [true],
  // When stats are created makes no difference to what they count.
  'envoy.config.bootstrap.v3.Bootstrap.DeferredStatOptions.enable_deferred_creation_stats': [true],
};
