/**
 * Gives a host stack its network: devices with capture and fault injection around them, addresses, routes, and the transports behind its
 * sessions. Runs on the host stack's thread and event loop.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, writeSync } from 'node:fs';
import type { CaptureConfig, DeviceConfig, NetworkConfig } from '../config/network_config.ts';
import { NetStack } from '../graph/net_stack.ts';
import type { SessionLayer } from '../session/session_layer.ts';
import type { SessionHost, Transport } from '../session/transport.ts';
import { TcpTransport } from '../tcp/session_transport.ts';
import { UdpTransport } from '../udp/session_transport.ts';
import { CaptureDevice } from './capture.ts';
import type { Device } from './device.ts';
import { DEVICE_KINDS, type OpenContext } from './device_kinds.ts';
import { FaultInjector } from './fault_injector.ts';
import { NetLoop } from './net_loop.ts';
import { nativePool } from './tun.ts';

const DEFAULT_POOL = { small: 4096, large: 256 };

export interface NetworkOptions extends NetworkConfig {
  /** 32 random bits. */
  random32: () => number;
}

export interface Network {
  readonly stack: NetStack;
  /** TCP for another transport, which is the session layer of it. */
  tcpFor(host: SessionHost): Transport;
  /** Looks at what the devices and applications have now. */
  turn(): void;
  wake(): void;
  nowUs(): number;
  close(): void;
}

/** Throws SysError when a device cannot be made, Error when an address or route cannot be. Nothing is left open then. */
export function attachNetwork(layer: SessionLayer, options: NetworkOptions): Network {
  const nowUs = (): number => performance.now() * 1000;
  const pool = { ...DEFAULT_POOL, ...options.pool };
  const memory = nativePool(pool);
  const stack = new NetStack({ random32: options.random32, pool, memory, tcp: options.tcp, nowUs: nowUs() });
  stack.duplicateAddresses.onDuplicate = (device, address) =>
    process.emitWarning(`${address} is in use by another host on ${stack.interfaces[device].device.name}: it is not used here`);
  let loop: NetLoop | null = null;
  const wake = (): void => loop?.wake();
  const context: OpenContext = { memory, pool: stack.pool, wake, pipes: new Map() };
  const fds: number[] = [];
  const files: number[] = [];
  const close = (): void => {
    loop?.stop();
    stack.close();
    for (const file of files.splice(0)) closeSync(file);
  };
  try {
    for (const config of options.devices) {
      const opened = DEVICE_KINDS[config.kind].open(config, context);
      // Now it is closed with the stack, whatever goes wrong below.
      const slot = stack.addInterface(wrap(opened.device, config, files), [], config.fib);
      fds.push(...opened.fds);
      if (opened.hasHostSide) setUpHostSide(opened.device.name, config);
      for (const text of config.addresses) stack.addAddress(slot, text, true);
      for (const { address } of slot.addresses) layer.addLocalAddress(slot.table.index, String(address));
    }
    for (const { prefix, via, fib } of options.routes ?? []) stack.addRoute(prefix, via, fib);
  } catch (error) {
    close();
    throw error;
  }
  loop = new NetLoop(stack, fds, nowUs);
  const tcpFor = (host: SessionHost): Transport => new TcpTransport({ tcp: stack.tcp, host, wake, nowUs });
  layer.registerTransport(tcpFor(layer));
  layer.registerTransport(new UdpTransport({ udp: stack.udp, host: layer, wake }));
  loop.turn();
  return { stack, tcpFor, wake, nowUs, close, turn: () => loop.turn() };
}

/** Capture next to the device, so that it shows what is on the wire. */
function wrap(device: Device, config: DeviceConfig, files: number[]): Device {
  const captured = withCapture(device, config.capture, files);
  if (config.faults === undefined) return captured;
  const { seed = 1, outbound = {}, inbound = {}, keepOffload } = config.faults;
  return new FaultInjector(captured, seed, outbound, inbound, keepOffload);
}

function withCapture(device: Device, capture: CaptureConfig | undefined, files: number[]): Device {
  if (capture === undefined) return device;
  const file = openSync(capture.file, 'w');
  files.push(file);
  const epochUs = performance.timeOrigin * 1000;
  const write = (block: Uint8Array): void => void writeSync(file, block);
  return new CaptureDevice(device, { write, epochUs, snapLength: capture.snapLength, limit: capture.limit });
}

/** Addresses and state of the kernel's end, by iproute2. */
function setUpHostSide(name: string, config: DeviceConfig): void {
  const { hostAddresses, netns, mtu } = config;
  if (hostAddresses === undefined && netns === undefined) return;
  if (netns !== undefined) ip('link', 'set', name, 'netns', netns);
  const inside = netns === undefined ? [] : ['-n', netns];
  for (const address of hostAddresses ?? []) {
    const noDad = address.includes(':') ? ['nodad'] : [];
    ip(...inside, 'addr', 'add', address, 'dev', name, ...noDad);
  }
  ip(...inside, 'link', 'set', name, 'mtu', String(mtu ?? 1500), 'up');
}

function ip(...args: string[]): void {
  try {
    execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: Buffer };
    throw new Error(`ip ${args.join(' ')}: ${stderr?.toString().trim() || message}`);
  }
}
