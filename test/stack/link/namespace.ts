/** A network namespace whose only link is a TUN or TAP that our stack holds the other end of. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import type { Device } from '../../../src/stack/link/device.ts';
import { NetLoop } from '../../../src/stack/link/net_loop.ts';
import { nativePool, TunDevice, type TunOptions } from '../../../src/stack/link/tun.ts';
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

export interface KernelPeerOptions {
  kind: 'tun' | 'tap';
  offload: TunOptions['offload'];
  mtu?: number;
  ring?: boolean;
  threaded?: boolean;
  wrap?: (device: Device) => Device;
  tcp?: Partial<TcpConfig>;
}

let counter = 0;

/** Kernel side 10.77.0.1 / fd77::1, ours 10.77.0.2 / fd77::2. */
export class KernelPeer {
  readonly name: string;
  readonly stack: NetStack;
  readonly tun: TunDevice;
  private readonly loop: NetLoop;

  constructor(options: KernelPeerOptions) {
    this.name = `slt-${process.pid}-${counter++}`;
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
    this.tun = new TunDevice({ name: 'slt%d', kind, offload, mtu, ring, threaded }, memory);
    execFileSync('ip', ['netns', 'add', this.name]);
    execFileSync('ip', ['link', 'set', this.tun.name, 'netns', this.name]);
    const ip = (...args: string[]): void => void execFileSync('ip', ['-n', this.name, ...args]);
    ip('link', 'set', 'lo', 'up');
    ip('addr', 'add', '10.77.0.1/24', 'dev', this.tun.name);
    ip('-6', 'addr', 'add', 'fd77::1/64', 'dev', this.tun.name, 'nodad');
    ip('link', 'set', this.tun.name, 'mtu', String(options.mtu ?? 1500), 'up');
    this.stack.addInterface(options.wrap?.(this.tun) ?? this.tun, ['10.77.0.2/24', 'fd77::2/64']);
    this.loop = new NetLoop(this.stack, [this.tun.fd], clockUs);
    this.loop.turn();
  }

  /** Lets the stack look at what the test just did. */
  kick(): void {
    this.loop.turn();
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
