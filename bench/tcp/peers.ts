/** The kernel's side of a measurement: namespaces, Python peers that send and receive, and kernel to kernel over veth. */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';

/** Our stack, or the kernel in its place, has the first core; who it talks to has the second. */
export const OURS = '0';
export const PEER = '1';

export const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });

/** Receives or sends for some seconds; prints Gbit/s and the share of a core that it took. */
const MEASURE =
  (verb: string) =>
  (address: string, port: number, seconds: number): string =>
    `
import socket, time, resource
s = socket.create_connection(('${address}', ${port}), timeout=10); b = bytearray(1 << 18); n = 0
t = time.time(); end = t + ${seconds}
while time.time() < end: n += ${verb}
took = time.time() - t; r = resource.getrusage(resource.RUSAGE_SELF)
print(n * 8 / took / 1e9, (r.ru_utime + r.ru_stime) / took)`;
export const SENDER = MEASURE('(s.sendall(b), len(b))[1]');
export const RECEIVER = MEASURE('s.recv_into(b)');

const SINK = `
import socket
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('', 80)); l.listen(); print('ready', flush=True)
while True:
    s, _ = l.accept(); b = bytearray(1 << 20)
    while s.recv_into(b): pass
    s.close()`;

/** TSO, GSO and GRO off; checksums stay where they are. */
const SEGMENTATION_OFF = (device: string): string => `
import socket, fcntl, struct, ctypes
s = socket.socket()
for cmd in (0x1f, 0x24, 0x2c):
    v = ctypes.create_string_buffer(struct.pack('II', cmd, 0))
    fcntl.ioctl(s, 0x8946, struct.pack('16sP16x', b'${device}', ctypes.addressof(v)))`;

/** `namespace` null: the one that this process is in. */
export async function segmentationOff(namespace: string | null, device: string): Promise<void> {
  const command = ['-c', SEGMENTATION_OFF(device)];
  if (namespace === null) execFileSync('python3', command, { stdio: 'pipe' });
  else await inNamespace(namespace, PEER, ['python3', ...command]);
}

export function inNamespace(namespace: string, core: string, command: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const args = ['netns', 'exec', namespace, 'taskset', '-c', core, ...command];
    execFile('ip', args, { timeout: 60_000 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout.trim()) : reject(new Error(stderr || error.message)),
    );
  });
}

export interface Rate {
  gbits: number;
  /** Share of a core that the measured side took. */
  cpu: number;
}

/** What a Python peer says. */
export async function measure(namespace: string, core: string, program: string): Promise<Rate> {
  const [gbits, cpu] = (await inNamespace(namespace, core, ['python3', '-c', program])).split(' ').map(Number);
  return { gbits, cpu };
}

/** Two namespaces with a veth between them: the kernel in our place. */
export class KernelPair {
  private readonly names: readonly [string, string];
  private readonly servers: ChildProcess[] = [];

  private constructor(id: string) {
    this.names = [`slk-${id}a`, `slk-${id}b`];
  }

  static async open(id: string, segmentation: boolean, connectProgram: string | null): Promise<KernelPair> {
    const pair = new KernelPair(`${process.pid}${id}`);
    const [a, b] = pair.names;
    try {
      ip('netns', 'add', a);
      ip('netns', 'add', b);
      ip('link', 'add', 'veth0', 'netns', a, 'type', 'veth', 'peer', 'name', 'veth0', 'netns', b);
      for (const [namespace, address] of [
        [a, '10.79.0.1/24'],
        [b, '10.79.0.2/24'],
      ] as const) {
        ip('-n', namespace, 'addr', 'add', address, 'dev', 'veth0');
        ip('-n', namespace, 'link', 'set', 'veth0', 'up');
        if (!segmentation) await segmentationOff(namespace, 'veth0');
      }
      await pair.serve(PEER, ['python3', '-c', SINK]);
      if (connectProgram !== null) await pair.serve(OURS, [connectProgram, 'server', '82']);
      return pair;
    } catch (error) {
      pair.close();
      throw error;
    }
  }

  /** Sends from one end to the other. */
  send(seconds: number): Promise<Rate> {
    return measure(this.names[0], OURS, SENDER('10.79.0.2', 80, seconds));
  }

  async connectionsPerSecond(program: string, seconds: number): Promise<number> {
    return Number(await inNamespace(this.names[0], PEER, [program, 'client', '10.79.0.2', '82', String(seconds), '16']));
  }

  close(): void {
    for (const server of this.servers) server.kill();
    for (const name of this.names) {
      try {
        ip('netns', 'del', name);
      } catch {
        // It was not made.
      }
    }
  }

  private async serve(core: string, command: readonly string[]): Promise<void> {
    const args = ['netns', 'exec', this.names[1], 'taskset', '-c', core, ...command];
    const child = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.servers.push(child);
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`${command[0]} ended with ${code}`)));
    });
  }
}
