/** Pieces of a bootstrap, in proto field names, with ephemeral ports. */
import type { Json } from '../../support/proxy_process.ts';

const TYPES = 'type.googleapis.com/envoy.';

export function bootstrap(listeners: Json[], clusters: Json[] = [], extra: Json = {}): Json {
  return { static_resources: { listeners, clusters }, ...extra };
}

/** A listener on 127.0.0.1 with one filter chain. */
export function listener(name: string, filters: Json[], extra: Json = {}): Json {
  return {
    name,
    stat_prefix: name,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [{ filters }],
    ...extra,
  };
}

/** An HTTP connection manager; stat prefix `name`, access log `$DIR/name.log` in the given format. */
export function http(name: string, routes: Json[], extra: Json = {}): Json {
  const { virtual_host = {}, ...manager } = extra as { virtual_host?: Json };
  return {
    name: 'http',
    typed_config: {
      '@type': `${TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: name,
      http_filters: [{ name: 'router', typed_config: { '@type': `${TYPES}extensions.filters.http.router.v3.Router` } }],
      route_config: { name, virtual_hosts: [{ name: 'all', domains: ['*'], routes, ...virtual_host }] },
      ...manager,
    },
  };
}

/** An access log in a file of the proxy's directory. */
export function fileLog(name: string, format?: string | Json): Json {
  const logFormat =
    format === undefined
      ? {}
      : typeof format === 'string'
        ? { log_format: { text_format_source: { inline_string: `${format}\n` } } }
        : { log_format: { json_format: format } };
  return {
    name: 'file',
    typed_config: { '@type': `${TYPES}extensions.access_loggers.file.v3.FileAccessLog`, path: `$DIR/${name}`, ...logFormat },
  };
}

/** Code, flags and details: what says why a response is what it is. */
export const WHY = '%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%';

export function tcpProxy(name: string, target: string | Json, extra: Json = {}): Json {
  return {
    name: 'tcp',
    typed_config: {
      '@type': `${TYPES}extensions.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: name,
      ...(typeof target === 'string' ? { cluster: target } : target),
      ...extra,
    },
  };
}

export function networkFilter(kind: string, config: Json): Json {
  const type = kind
    .split('_')
    .map((word) => word[0].toUpperCase() + word.slice(1))
    .join('');
  return { name: kind, typed_config: { '@type': `${TYPES}extensions.filters.network.${kind}.v3.${type}`, ...config } };
}

export function listenerFilter(kind: string, config: Json = {}): Json {
  const type = kind
    .split('_')
    .map((word) => word[0].toUpperCase() + word.slice(1))
    .join('');
  return { name: kind, typed_config: { '@type': `${TYPES}extensions.filters.listener.${kind}.v3.${type}`, ...config } };
}

/** A STATIC cluster of ports on 127.0.0.1 (or unix socket paths). */
export function cluster(name: string, endpoints: (number | string)[], extra: Json = {}): Json {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '2s',
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: endpoints.map((endpoint) => ({
            endpoint: {
              address:
                typeof endpoint === 'number'
                  ? { socket_address: { address: '127.0.0.1', port_value: endpoint } }
                  : { pipe: { path: endpoint } },
            },
          })),
        },
      ],
    },
    ...extra,
  };
}

/** `cluster` extra: HTTP/1 settings towards the upstream. */
export function upstreamHttp1(options: Json, common: Json = {}): Json {
  return {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPES}extensions.upstreams.http.v3.HttpProtocolOptions`,
        common_http_protocol_options: common,
        explicit_http_config: { http_protocol_options: options },
      },
    },
  };
}

/** `cluster` extra: HTTP/2 towards the upstream. */
export function upstreamHttp2(options: Json = {}, common: Json = {}): Json {
  return {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPES}extensions.upstreams.http.v3.HttpProtocolOptions`,
        common_http_protocol_options: common,
        explicit_http_config: { http2_protocol_options: options },
      },
    },
  };
}

/** `cluster` extra: whatever the client speaks. */
export function upstreamAsDownstream(http1: Json = {}, http2: Json = {}): Json {
  return {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPES}extensions.upstreams.http.v3.HttpProtocolOptions`,
        use_downstream_protocol_config: { http_protocol_options: http1, http2_protocol_options: http2 },
      },
    },
  };
}

/** `cluster` extra: what ALPN settles; the cluster needs TLS. */
export function upstreamAuto(http1: Json = {}, http2: Json = {}): Json {
  return {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPES}extensions.upstreams.http.v3.HttpProtocolOptions`,
        auto_config: { http_protocol_options: http1, http2_protocol_options: http2 },
      },
    },
  };
}

/** A route by prefix to a cluster. */
export function route(prefix: string, target: string, action: Json = {}): Json {
  return { match: { prefix }, route: { cluster: target, ...action } };
}

/** `http_filters`: these by their folder and message name (`cors.v3.Cors`), then the router. */
export function httpFilters(...filters: [name: string, message: string, config?: Json][]): Json {
  return {
    http_filters: [...filters, ['router', 'router.v3.Router'] as [string, string]].map(([name, message, config]) => ({
      name,
      typed_config: { '@type': `${TYPES}extensions.filters.http.${message}`, ...config },
    })),
  };
}

/** `typed_per_filter_config` of a route or virtual host for one filter. */
export function perRoute(name: string, message: string, config: Json = {}): Json {
  return { typed_per_filter_config: { [name]: { '@type': `${TYPES}extensions.filters.http.${message}`, ...config } } };
}

/** A route on which a filter is off. */
export function withoutFilter(name: string): Json {
  return { typed_per_filter_config: { [name]: { '@type': `${TYPES}config.route.v3.FilterConfig`, disabled: true } } };
}

/** A RuntimeFractionalPercent. */
export function percent(numerator: number, runtimeKey = 'test.percent'): Json {
  return { default_value: { numerator }, runtime_key: runtimeKey };
}
