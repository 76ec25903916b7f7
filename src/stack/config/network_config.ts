/**
 * The network of a host stack as configuration: devices with their addresses, routes, and the settings of TCP. Checked here, put up by
 * `link/network.ts`.
 */
import { IpAddress, parseIpPrefix } from '../ip/address.ts';
import { DEVICE_KINDS } from '../link/device_kinds.ts';
import type { Faults } from '../link/fault_injector.ts';
import { CC_NAMES } from '../tcp/cc/congestion_control.ts';
import { DEFAULT_TCP_CONFIG, type TcpConfig } from '../tcp/config.ts';
import { type FieldCheck, type FieldTable, flag, list, number, object, oneOf, StackConfigError, text, whole } from './check.ts';

export interface NetworkConfig {
  devices: DeviceConfig[];
  routes?: RouteConfig[];
  /** Defaults of every connection. */
  tcp?: Partial<TcpConfig>;
  /** Packets that may be in use: of a frame's size, and of 64 KB for segmentation offload. */
  pool?: { small?: number; large?: number };
}

export interface DeviceConfig {
  kind: string;
  /** As the host shows it; `tun%d` lets the kernel choose a number. Of a packet socket and AF_XDP: the interface. */
  name: string;
  /** Ours, with prefix length: `10.1.0.2/24`, `fd00::2/64`. */
  addresses: string[];
  mtu?: number;
  /** Number of the forwarding table that the device belongs to. */
  fib?: number;
  /** Checksum and segmentation offload, or of checksums only; on by default where the kind has it. */
  offload?: boolean | 'checksum';
  /** The kernel takes our packets in a thread of its own; by default where it does not segment. */
  threaded?: boolean;
  mac?: string;
  /** Of AF_XDP: the receive queue. */
  queue?: number;
  /** Of a pipe: the name of its other end. */
  peer?: string;
  /** The host's end: set up and given these addresses with the `ip` tool. */
  hostAddresses?: string[];
  /** Network namespace that the host's end is moved to. */
  netns?: string;
  /** Writes what passes as pcapng. */
  capture?: CaptureConfig;
  faults?: FaultConfig;
}

export interface CaptureConfig {
  file: string;
  snapLength?: number;
  limit?: number;
}

/** Makes the device as bad as a real path (see `link/fault_injector.ts`); offload is off unless `keepOffload`. */
export interface FaultConfig {
  seed?: number;
  outbound?: Faults;
  inbound?: Faults;
  /** Leave large segments whole: each then has one fate. */
  keepOffload?: boolean;
}

export interface RouteConfig {
  prefix: string;
  via: string;
  fib?: number;
}

const share = number(0, 1);
const FAULT_FIELDS: Record<keyof Faults, FieldCheck> = {
  loss: share,
  burstStart: share,
  burstEnd: share,
  duplicate: share,
  reorder: share,
  reorderUs: whole(),
  corrupt: share,
  delayUs: whole(),
  jitterUs: whole(),
  rateMbps: number(0, 1e6),
  queueBytes: whole(),
};

const address = text('an address with prefix length', (value) => value.includes('/') && parseIpPrefix(value) !== null);

const COMMON_DEVICE_FIELDS: FieldTable = {
  kind: oneOf(Object.keys(DEVICE_KINDS)),
  name: text('1 to 15 characters', (value) => /^[^\s/]{1,15}$/.test(value)),
  addresses: list(address),
  mtu: whole(68, 65_535),
  fib: whole(0, 65_535),
  capture: object({ file: text(), snapLength: whole(64), limit: whole(1) }, ['file']),
  faults: object({ seed: whole(), outbound: object(FAULT_FIELDS), inbound: object(FAULT_FIELDS), keepOffload: flag }),
};

const HOST_SIDE_FIELDS: FieldTable = { hostAddresses: list(address), netns: text() };

/** Where 0 would make a stack that cannot work. */
const LEAST_TCP: Readonly<Record<string, number>> = {
  maxReceiveBufferBytes: 4096,
  initialReceiveBufferBytes: 4096,
  maxSendBufferBytes: 4096,
  initialWindowSegments: 1,
  initialRtoMs: 1,
  minRtoMs: 1,
  maxRtoMs: 1,
  keepAliveIdleMs: 1,
  keepAliveIntervalMs: 1,
  acceptBacklog: 1,
  hopLimit: 1,
};

/** Numbers are whole and not negative. */
const TCP_FIELDS: FieldTable = Object.fromEntries(
  Object.entries(DEFAULT_TCP_CONFIG).map(([name, fallback]) => [
    name,
    name === 'congestionControl'
      ? oneOf(CC_NAMES)
      : name === 'synCookies'
        ? oneOf(['overflow', 'always', 'never'])
        : name === 'ecn'
          ? oneOf(['off', 'passive', 'active'])
          : name === 'minPort' || name === 'maxPort'
            ? whole(1, 65_535)
            : typeof fallback === 'boolean'
              ? flag
              : whole(LEAST_TCP[name] ?? 0, name === 'hopLimit' ? 255 : undefined),
  ]),
);

const NETWORK_FIELDS: FieldTable = {
  devices: list((value, path) => {
    const kind = (value as DeviceConfig | null)?.kind;
    const known = typeof kind === 'string' && Object.hasOwn(DEVICE_KINDS, kind) ? DEVICE_KINDS[kind] : undefined;
    const host = known?.hostSide === false ? {} : HOST_SIDE_FIELDS;
    object({ ...COMMON_DEVICE_FIELDS, ...known?.fields, ...host }, ['kind', 'name', 'addresses'])(value, path);
  }),
  routes: list(
    object(
      {
        prefix: text('an address prefix', (value) => parseIpPrefix(value) !== null),
        via: text('an address', (value) => IpAddress.parse(value) !== null),
        fib: whole(0, 65_535),
      },
      ['prefix', 'via'],
    ),
  ),
  tcp: object(TCP_FIELDS),
  pool: object({ small: whole(64, 1 << 20), large: whole(4, 1 << 16) }),
};

/** Throws StackConfigError. */
export function checkNetworkConfig(value: unknown, path = 'network'): asserts value is NetworkConfig {
  object(NETWORK_FIELDS, ['devices'])(value, path);
  const { devices, tcp } = value as NetworkConfig;
  for (const [i, device] of devices.entries()) {
    const at = `${path}.devices[${i}]`;
    if (devices.findIndex(({ name }) => name === device.name) !== i)
      throw new StackConfigError(`${at}.name: there are two devices '${device.name}'`);
    if (device.kind !== 'pipe') continue;
    const peer = devices.find(({ name }) => name === device.peer);
    if (peer?.kind !== 'pipe' || peer.peer !== device.name || peer === device)
      throw new StackConfigError(`${at}.peer: '${device.peer ?? ''}' is not the name of a pipe whose peer is '${device.name}'`);
  }
  const { minPort, maxPort } = { ...DEFAULT_TCP_CONFIG, ...tcp };
  if (minPort > maxPort) throw new StackConfigError(`${path}.tcp.minPort is above maxPort`);
}
