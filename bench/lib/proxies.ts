/**
 * The proxies side by side: Sluice, nginx and HAProxy, one worker each on core 0, configured alike; upstream (nginx) and load on
 * core 1. Configuration files go to a fresh directory under the system's temporary one.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPinned, waitForPort, which } from './processes.ts';

export const PROXY_CORE = 0;
export const LOAD_CORE = 1;
/** Ports of this run: what an earlier one left behind cannot answer in its place. */
const BASE_PORT = 12_000 + (process.pid % 500) * 40;
export const UPSTREAM_PORT = BASE_PORT;

/** A port for the n-th listener of a bench (below 40). */
export function portAt(n: number): number {
  return BASE_PORT + n;
}

export interface Proxy {
  name: 'sluice' | 'haproxy' | 'nginx';
  port: number;
  process: ChildProcess;
}

const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-'));

/** nginx that answers /small (a dozen bytes), /10k and /1m. */
export async function startUpstream(): Promise<ChildProcess> {
  writeFileSync(join(directory, '10k'), 'x'.repeat(10 * 1024));
  writeFileSync(join(directory, '1m'), 'x'.repeat(1024 * 1024));
  const config = `worker_processes 1; daemon off; error_log /dev/null crit; pid ${directory}/upstream.pid;
events { worker_connections 20000; }
http { access_log off; keepalive_timeout 600s; keepalive_requests 1000000000; sendfile on; tcp_nopush on; open_file_cache max=100;
client_body_temp_path ${directory}; proxy_temp_path ${directory}; fastcgi_temp_path ${directory}; uwsgi_temp_path ${directory}; scgi_temp_path ${directory};
server { listen 127.0.0.1:${UPSTREAM_PORT} backlog=4096; root ${directory}; location = /small { return 200 "hello, world"; } } }`;
  const child = nginx('upstream', config, LOAD_CORE);
  await waitForPort(UPSTREAM_PORT);
  return child;
}

function nginx(name: string, config: string, core: number): ChildProcess {
  const file = join(directory, `${name}.nginx.conf`);
  writeFileSync(file, config);
  return startPinned(core, 'nginx', ['-p', directory, '-c', file]);
}

export interface ProxyKind {
  mode: 'http' | 'tcp';
  accessLog: boolean;
  /** Clients speak HTTP/2. */
  http2?: boolean;
  basePort: number;
  concurrency?: number;
  core?: string;
  /** TLS towards the client, of mode http. */
  tls?: { certificateFile: string; keyFile: string };
  /** Sluice only: HTTP filters before the router, as JSON. */
  httpFilters?: readonly object[];
}

export async function startSluice(kind: ProxyKind): Promise<Proxy> {
  const file = join(directory, `sluice-${kind.basePort}.yaml`);
  writeFileSync(file, kind.mode === 'http' ? sluiceHttp(kind) : sluiceTcp(kind));
  const main = fileURLToPath(new URL('../../bin/sluice', import.meta.url));
  const args = [main, 'proxy', '-c', file, '--concurrency', String(kind.concurrency ?? 1), '-l', 'error'];
  // Fills the compile cache, as an earlier start that ended in order would have.
  execFileSync(process.execPath, [...args, '--mode', 'init_only'], { stdio: 'ignore' });
  const child = startPinned(kind.concurrency === 2 ? '0,1' : PROXY_CORE, process.execPath, args);
  await waitForPort(kind.basePort);
  return { name: 'sluice', port: kind.basePort, process: child };
}

export async function startHaproxy(kind: ProxyKind): Promise<Proxy | null> {
  if (which('haproxy') === null) return null;
  const port = kind.basePort + 1;
  const file = join(directory, `haproxy-${port}.cfg`);
  writeFileSync(file, haproxyConfig(kind, port));
  const child = startPinned(PROXY_CORE, 'haproxy', ['-f', file, '-db']);
  await waitForPort(port);
  return { name: 'haproxy', port, process: child };
}

export async function startNginx(kind: ProxyKind): Promise<Proxy | null> {
  if (which('nginx') === null) return null;
  const port = kind.basePort + 2;
  const child = nginx(`proxy-${port}`, nginxConfig(kind, port), PROXY_CORE);
  await waitForPort(port);
  return { name: 'nginx', port, process: child };
}

function sluiceHttp(kind: ProxyKind): string {
  const log = kind.accessLog
    ? `
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: ${directory}/sluice-${kind.basePort}.log`
    : '';
  return `
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: ${kind.basePort} } }
    filter_chains:
    - ${sluiceTls(kind)}filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          use_remote_address: true
          http_protocol_options: { accept_http_10: true, default_host_for_http_10: localhost }${log}
          http_filters:${(kind.httpFilters ?? []).map((filter) => `\n          - ${JSON.stringify(filter)}`).join('')}
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: upstream }
  clusters:
${sluiceCluster()}`;
}

function sluiceTls({ tls, http2 }: ProxyKind): string {
  if (tls === undefined) return '';
  return `transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - { certificate_chain: { filename: ${tls.certificateFile} }, private_key: { filename: ${tls.keyFile} } }${http2 ? '\n            alpn_protocols: [h2]' : ''}
      `;
}

function sluiceTcp(kind: ProxyKind): string {
  return `
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: ${kind.basePort} } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bench
          cluster: upstream
  clusters:
${sluiceCluster()}`;
}

function sluiceCluster(): string {
  return `  - name: upstream
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds: [{ max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }]
    load_assignment:
      cluster_name: upstream
      endpoints:
      - lb_endpoints:
        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${UPSTREAM_PORT} } } }
`;
}

function haproxyConfig(kind: ProxyKind, port: number): string {
  const http = `  mode http
  option forwardfor
  option http-keep-alive
  unique-id-format %[uuid]
  unique-id-header X-Request-ID
  http-request set-header X-Forwarded-Proto http`;
  return `global
  maxconn 9900
  nbthread 1
  ${kind.accessLog ? 'log stdout format raw local0' : ''}
defaults
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  ${kind.accessLog ? 'log global' : ''}
frontend f
  bind 127.0.0.1:${port}${haproxyBind(kind)}
  ${kind.accessLog ? 'option httplog' : ''}
${kind.mode === 'http' ? http : '  mode tcp'}
  default_backend b
backend b
  ${kind.mode === 'http' ? 'mode http\n  http-reuse always' : 'mode tcp'}
  server s 127.0.0.1:${UPSTREAM_PORT}
`;
}

/** What follows the address: TLS, and HTTP/2 by ALPN there or by prior knowledge. */
function haproxyBind(kind: ProxyKind): string {
  if (kind.tls === undefined) return kind.http2 ? ' proto h2' : '';
  const alpn = kind.http2 ? ' alpn h2' : '';
  return ` ssl crt ${kind.tls.certificateFile}.both ciphersuites TLS_AES_128_GCM_SHA256${alpn}`;
}

function nginxConfig(kind: ProxyKind, port: number): string {
  const log = kind.accessLog ? `access_log ${directory}/nginx-${port}.log combined buffer=64k flush=10s;` : 'access_log off;';
  const tls = kind.tls === undefined ? '' : ' ssl';
  const certificate =
    kind.tls === undefined
      ? ''
      : `ssl_certificate ${kind.tls.certificateFile}; ssl_certificate_key ${kind.tls.keyFile}; ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:SSL:10m; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;`;
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((t) => `${t}_temp_path ${directory};`).join(' ');
  const http = `http { ${log} ${temp} keepalive_requests 1000000000; keepalive_timeout 600s;
upstream u { server 127.0.0.1:${UPSTREAM_PORT}; keepalive 256; keepalive_requests 1000000000; }
server { listen 127.0.0.1:${port}${tls}${kind.http2 ? ' http2' : ''} backlog=4096; ${certificate} location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection "";
proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Request-ID $request_id; } } }`;
  const tcp = `stream { upstream u { server 127.0.0.1:${UPSTREAM_PORT}; } server { listen 127.0.0.1:${port}; proxy_pass u; } }`;
  return `worker_processes 1; daemon off; error_log /dev/null crit; pid ${directory}/nginx-${port}.pid;
events { worker_connections 20000; } ${kind.mode === 'http' ? http : tcp}`;
}
