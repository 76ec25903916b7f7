/** What `sluice/stack` offers: a stack inside this process, and the `net`-shaped and native ways to use one. */
export type { DeviceConfig, NetworkConfig, RouteConfig } from './config/network_config.ts';
export { createHostStack, type EmbeddedHostStack } from './create_host_stack.ts';
export { sendCommand } from './ctl/client.ts';
export type { HostStackOptions } from './host_stack.ts';
export * as vcl from './vcl/api.ts';
export { type AppOptions, AttachError, defaultRuntimeDir, type WorkerTicket } from './vcl/attach.ts';
export {
  attach,
  type ConnectOptions,
  netOf,
  registerWorker,
  Server,
  type ServerOptions,
  Socket,
  type SocketOptions,
  type VclNet,
} from './vcl/net.ts';
export type { TlsDetails, TlsOptions } from './vcl/tls_options.ts';
