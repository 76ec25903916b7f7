/** A network namespace whose only link is a TUN or TAP that our stack holds the other end of. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createXskMap, loadRedirectProgram } from '../../../src/core/sys/bpf.ts';
import { libc } from '../../../src/core/sys/libc.ts';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import type { Device } from '../../../src/stack/link/device.ts';
import { NetLoop } from '../../../src/stack/link/net_loop.ts';
import { PacketSocketDevice } from '../../../src/stack/link/packet_socket.ts';
import { nativePool, TunDevice, type TunOptions } from '../../../src/stack/link/tun.ts';
import { XdpDevice } from '../../../src/stack/link/xdp.ts';
import type { TcpConfig } from '../../../src/stack/tcp/config.ts';

export const clockUs = (): number => performance.now() * 1000;

/** Why there can be no namespace here, or null. */
export function cannotMakeNamespace(): string | null {
  if (!existsSync('/dev/net/tun')) return 'no /dev/net/tun';
  try {
    const name = `slt-probe-${process.pid}`;
    execFileSync('ip', ['netns', 'add', name], { stdio: 'pipe' });
    execFileSync('ip', ['netns', 'del', name], { stdio: 'pipe' });
    return null;
  } catch (error) {
    return `ip netns is not permitted: ${(error as Error).message.split('\n')[0]}`;
  }
}

/** Why AF_XDP cannot be used here, or null. */
export function cannotUseXdp(): string | null {
  try {
    const map = createXskMap(1);
    const program = loadRedirectProgram(map);
    const socket = libc.socket(44, 3, 0);
    for (const fd of [map, program, socket]) libc.close(fd);
    return socket < 0 ? 'no AF_XDP sockets in this kernel' : null;
  } catch (error) {
    return `AF_XDP is not permitted: ${(error as Error).message}`;
  }
}

export interface KernelPeerOptions {
  /** TUN and TAP, or a veth whose other end is in the namespace, through a packet socket or AF_XDP. */
  kind: 'tun' | 'tap' | 'packet' | 'xdp';
  offload: TunOptions['offload'];
  mtu?: number;
  ring?: boolean;
  threaded?: boolean;
  /** False: both ends of the veth have neither TSO nor GSO nor GRO, so that packets on it are of the link's size. */
  kernelOffload?: boolean;
  wrap?: (device: Device) => Device;
  tcp?: Partial<TcpConfig>;
  /** Ours besides; probed for others that have them. */
  probed?: readonly string[];
}

let counter = 0;

/** Turns TSO, GSO and GRO of an interface off (ethtool is not everywhere). */
const OFFLOADS_OFF = (device: string): string => `
import socket, fcntl, struct, ctypes
s = socket.socket()
for cmd in (0x1f, 0x24, 0x2c):
    v = ctypes.create_string_buffer(struct.pack('II', cmd, 0))
    fcntl.ioctl(s, 0x8946, struct.pack('16sP16x', b'${device}', ctypes.addressof(v)))`;

/** Kernel side 10.77.0.1 / fd77::1, ours 10.77.0.2 / fd77::2. */
export class KernelPeer<D extends Device = Device> {
  readonly name: string;
  readonly stack: NetStack;
  readonly device: D;
  private readonly loop: NetLoop;

  constructor(options: KernelPeerOptions) {
    const id = counter++;
    this.name = `slt-${process.pid}-${id}`;
    const pool = { small: 2048, large: 128 };
    const memory = nativePool(pool);
    this.stack = new NetStack({
      random32: () => (Math.random() * 2 ** 32) | 0,
      pool,
      memory,
      tcp: options.tcp,
      nowUs: clockUs(),
    });
    const { kind, offload, mtu, ring, threaded } = options;
    // Each packet is to have its own fate.
    const coalesce = options.wrap === undefined;
    execFileSync('ip', ['netns', 'add', this.name]);
    const ip = (...args: string[]): void => void execFileSync('ip', ['-n', this.name, ...args]);
    let fds: readonly number[];
    let kernelSide: string;
    if (kind === 'tun' || kind === 'tap') {
      const device = new TunDevice({ name: 'slt%d', kind, offload, mtu, ring, threaded, coalesce }, memory);
      kernelSide = device.name;
      fds = [device.fd];
      this.device = device as unknown as D;
      execFileSync('ip', ['link', 'set', device.name, 'netns', this.name]);
    } else {
      kernelSide = 'eth0';
      const ours = `slv${process.pid % 1_000_000}x${id}`;
      ip('link', 'add', kernelSide, 'type', 'veth', 'peer', 'name', ours);
      ip('link', 'set', ours, 'mtu', String(mtu ?? 1500));
      ip('link', 'set', ours, 'netns', String(process.pid));
      execFileSync('ip', ['link', 'set', ours, 'up']);
      if (options.kernelOffload === false) {
        execFileSync('ip', ['netns', 'exec', this.name, 'python3', '-c', OFFLOADS_OFF(kernelSide)]);
        execFileSync('python3', ['-c', OFFLOADS_OFF(ours)]);
      }
      const device =
        kind === 'packet'
          ? new PacketSocketDevice({ interface: ours, mtu, offload, coalesce }, memory)
          : new XdpDevice({ interface: ours, mtu, offload, coalesce }, memory, this.stack.pool);
      fds = [device.fd];
      this.device = device as unknown as D;
    }
    ip('link', 'set', 'lo', 'up');
    ip('addr', 'add', '10.77.0.1/24', 'dev', kernelSide);
    ip('-6', 'addr', 'add', 'fd77::1/64', 'dev', kernelSide, 'nodad');
    ip('link', 'set', kernelSide, 'mtu', String(mtu ?? 1500), 'up');
    const slot = this.stack.addInterface(options.wrap?.(this.device) ?? this.device, ['10.77.0.2/24', 'fd77::2/64']);
    for (const address of options.probed ?? []) this.stack.addAddress(slot, address, true);
    this.loop = new NetLoop(this.stack, fds, clockUs);
    this.loop.turn();
  }

  /** Lets the stack look at what the test just did. */
  kick(): void {
    this.loop.turn();
  }

  /** `ip ...` in the namespace. */
  ip(...args: string[]): string {
    return execFileSync('ip', ['-n', this.name, ...args], { encoding: 'utf8' });
  }

  /** Runs a Python program in the namespace; its output. */
  python(program: string, timeoutMs = 20_000): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile(
        'ip',
        ['netns', 'exec', this.name, 'python3', '-c', program],
        { timeout: timeoutMs, maxBuffer: 1 << 20 },
        (error, stdout, stderr) => (error === null ? resolve(stdout.trim()) : reject(new Error(`${error.message}\n${stderr}`))),
      );
    });
  }

  close(): void {
    this.loop.stop();
    this.stack.close();
    execFileSync('ip', ['netns', 'del', this.name]);
  }
}
