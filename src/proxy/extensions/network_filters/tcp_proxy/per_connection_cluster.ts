/** The filter state key under which another filter leaves the name of the cluster that tcp_proxy shall use. */
export const PER_CONNECTION_CLUSTER = 'envoy.tcp_proxy.cluster';
