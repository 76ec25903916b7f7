/**
 * Gives a host stack a network: a device, addresses, and TCP as the transport behind its sessions. Runs on the host stack's thread and
 * event loop.
 */
import { NetStack } from '../graph/net_stack.ts';
import type { SessionLayer } from '../session/session_layer.ts';
import type { TcpConfig } from '../tcp/config.ts';
import { TcpTransport } from '../tcp/session_transport.ts';
import type { Device } from './device.ts';
import { NetLoop } from './net_loop.ts';
import { nativePool, TunDevice, type TunOptions } from './tun.ts';

export interface NetworkOptions {
  tun: TunOptions;
  /** Such as `10.0.0.2/24`. */
  addresses: readonly string[];
  routes?: readonly { prefix: string; gateway: string }[];
  tcp?: Partial<TcpConfig>;
  /** Middleware around the device. */
  wrap?: (device: Device) => Device;
  /** 32 random bits. */
  random32: () => number;
}

export interface Network {
  readonly stack: NetStack;
  readonly device: TunDevice;
  close(): void;
}

/** Throws SysError when the device cannot be made. */
export function attachNetwork(layer: SessionLayer, options: NetworkOptions): Network {
  const nowUs = (): number => performance.now() * 1000;
  const pool = { small: 4096, large: 256 };
  const memory = nativePool(pool);
  const stack = new NetStack({ random32: options.random32, pool, memory, tcp: options.tcp, nowUs: nowUs() });
  const device = new TunDevice(options.tun, memory);
  const { addresses } = stack.addInterface(options.wrap?.(device) ?? device, options.addresses);
  for (const { prefix, gateway } of options.routes ?? []) stack.addRoute(prefix, gateway);
  for (const { address } of addresses) layer.localAddresses.add(String(address));
  const loop = new NetLoop(stack, [device.fd], nowUs);
  layer.registerTransport(new TcpTransport({ tcp: stack.tcp, host: layer, wake: () => loop.wake(), nowUs }));
  loop.turn();
  return {
    stack,
    device,
    close: () => {
      loop.stop();
      stack.close();
    },
  };
}
