/**
 * The kinds of devices that configuration can name: which fields each takes besides the common ones (see `config/network_config.ts`) and
 * how it is opened. Adding a kind is an entry here.
 */
import type { NativeMemory } from '../../core/sys/memory.ts';
import { type FieldCheck, type FieldTable, flag, oneOf, text, whole } from '../config/check.ts';
import type { PacketPool } from '../graph/packet.ts';
import type { Device } from './device.ts';
import { PacketSocketDevice } from './packet_socket.ts';
import { PipeDevice } from './pipe.ts';
import { TunDevice, type TunOptions } from './tun.ts';
import { XdpDevice } from './xdp.ts';

/** What a kind's `open` gets of the configuration of a device; `name` and `mtu` are checked. */
export interface DeviceFields {
  name: string;
  mtu?: number;
  offload?: TunOptions['offload'];
  threaded?: boolean;
  mac?: string;
  peer?: string;
  faults?: { keepOffload?: boolean };
  queue?: number;
}

export interface OpenedDevice {
  device: Device;
  /** Descriptors that become readable when packets arrive. */
  fds: readonly number[];
  /** It is the other end of a device of the host, which `hostAddresses` and `netns` set up. */
  hasHostSide: boolean;
}

export interface OpenContext {
  /** Memory of the packet pool. */
  memory: NativeMemory;
  pool: PacketPool;
  /** Has the stack polled soon. */
  wake: () => void;
  /** Ends of pipes whose other end is open already. */
  readonly pipes: Map<string, PipeDevice>;
}

export interface DeviceKind {
  readonly help: string;
  readonly fields: FieldTable;
  /** The kernel's end of it takes `hostAddresses` and `netns`. */
  readonly hostSide: boolean;
  /** Throws SysError. */
  open(fields: DeviceFields, context: OpenContext): OpenedDevice;
}

/** `checksum`: packets are of the link's size, and only their checksums are left to the kernel. */
const offload: FieldCheck = (value, path) => {
  if (typeof value !== 'boolean') oneOf(['checksum'], 'true, false, checksum')(value, path);
};
const mac = text('a unicast address such as 02:00:00:00:00:01', (value) => parseMac(value) !== null);

export const DEVICE_KINDS: Readonly<Record<string, DeviceKind>> = {
  tun: {
    help: 'IP packets to and from the kernel of this host (TUN)',
    fields: { offload, threaded: flag },
    hostSide: true,
    open: (fields, context) => openTun('tun', fields, context),
  },
  tap: {
    help: 'Ethernet frames to and from the kernel of this host (TAP)',
    fields: { offload, threaded: flag, mac },
    hostSide: true,
    open: (fields, context) => openTun('tap', fields, context),
  },
  packet: {
    help: 'the interface `name` of this host (a veth, a physical port) through a packet socket with mapped rings',
    fields: { offload, mac },
    hostSide: false,
    open: openPacketSocket,
  },
  xdp: {
    help: 'a receive queue of the interface `name` of this host (a veth, a physical port) through AF_XDP, all packets of it',
    fields: { offload, queue: whole(0, 4095), threaded: flag },
    hostSide: false,
    open: openXdp,
  },
  pipe: {
    help: 'one end of a link in memory to the device `peer` of this stack, usually in another fib',
    fields: { peer: text(), offload: flag },
    hostSide: false,
    open: openPipe,
  },
};

/** Bytes of a unicast link-layer address; null when it is none. */
export function parseMac(value: string): Uint8Array | null {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(value)) return null;
  const bytes = Uint8Array.from(value.split(':'), (part) => Number.parseInt(part, 16));
  return (bytes[0] & 1) !== 0 || bytes.every((byte) => byte === 0) ? null : bytes;
}

function openTun(kind: 'tun' | 'tap', fields: DeviceFields, { memory }: OpenContext): OpenedDevice {
  const { name, mtu, offload = true, threaded } = fields;
  const whole = mayMerge(fields);
  const device = new TunDevice(
    { name, kind, mtu, offload: whole && offload, coalesce: whole, threaded, mac: macOf(fields) },
    memory,
  );
  return { device, fds: [device.fd], hasHostSide: true };
}

function openPacketSocket(fields: DeviceFields, { memory }: OpenContext): OpenedDevice {
  const { name, mtu, offload } = fields;
  const device = new PacketSocketDevice(
    { interface: name, mtu, offload, coalesce: mayMerge(fields), mac: macOf(fields) },
    memory,
  );
  return { device, fds: [device.fd], hasHostSide: false };
}

function openXdp(fields: DeviceFields, { memory, pool }: OpenContext): OpenedDevice {
  const { name, mtu, offload, queue, threaded } = fields;
  const device = new XdpDevice({ interface: name, mtu, offload, coalesce: mayMerge(fields), queue, threaded }, memory, pool);
  return { device, fds: [device.fd], hasHostSide: false };
}

/** Behind fault injection each packet is to have its own fate. */
function mayMerge({ faults }: DeviceFields): boolean {
  return faults === undefined || faults.keepOffload === true;
}

function macOf({ mac }: DeviceFields): Uint8Array | undefined {
  return mac === undefined ? undefined : parseMac(mac)!;
}

function openPipe(fields: DeviceFields, context: OpenContext): OpenedDevice {
  const { name, peer = '', mtu } = fields;
  const offload = fields.offload !== false;
  let own = context.pipes.get(name);
  if (own === undefined) {
    const [here, there] = PipeDevice.pair({
      names: [name, peer],
      mtu,
      checksumOffload: offload,
      maxGsoBytes: offload ? 65_000 : 0,
    });
    here.onReadable = there.onReadable = context.wake;
    context.pipes.set(peer, there);
    own = here;
  }
  return { device: own, fds: [], hasHostSide: false };
}
