/**
 * One stack on one thread to the Linux kernel over TUN, both ways, with and without offload; beside it kernel to kernel over veth between
 * two namespaces, with the same Python peers, in the same run. Then two of our stacks over the in-memory pipe.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';
import { connectionsPerSecond, pipeThroughput } from './pipe.ts';

const SENDER = (address: string, port: number, seconds: number): string => `
import socket, time
s = socket.create_connection(('${address}', ${port}), timeout=10); b = b'x' * 262144; n = 0
end = time.time() + ${seconds}; t = time.time()
while time.time() < end: s.sendall(b); n += len(b)
print(n * 8 / (time.time() - t) / 1e9)`;

const RECEIVER = (address: string, port: number, seconds: number): string => `
import socket, time
s = socket.create_connection(('${address}', ${port}), timeout=10); b = bytearray(1 << 20); n = 0
end = time.time() + ${seconds}; t = time.time()
while time.time() < end: n += s.recv_into(b)
print(n * 8 / (time.time() - t) / 1e9)`;

const SINK = `
import socket
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('', 80)); l.listen(); print('ready', flush=True)
while True:
    s, _ = l.accept(); b = bytearray(1 << 20)
    while s.recv_into(b): pass
    s.close()`;

const OFFLOADS_OFF = (device: string): string => `
import socket, fcntl, struct, ctypes
s = socket.socket()
for cmd in (0x1f, 0x24, 0x2c):
    v = ctypes.create_string_buffer(struct.pack('II', cmd, 0))
    fcntl.ioctl(s, 0x8946, struct.pack('16sP16x', b'${device}', ctypes.addressof(v)))`;

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });

function python(namespace: string, program: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('ip', ['netns', 'exec', namespace, 'python3', '-c', program], { timeout: 60_000 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout.trim()) : reject(new Error(stderr || error.message)),
    );
  });
}

interface StackProcess {
  child: ChildProcess;
  device: string;
  sample(): Promise<Record<string, number>>;
}

async function startStack(offload: boolean): Promise<StackProcess> {
  const script = fileURLToPath(new URL('./stack_process.ts', import.meta.url));
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, offload ? 'offload' : 'plain'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const next = async (): Promise<Record<string, unknown>> => JSON.parse((await lines.next()).value ?? '{}');
  const { device } = (await next()) as { device: string };
  return {
    child,
    device,
    sample: async () => {
      child.stdin!.write('\n');
      return (await next()) as Record<string, number>;
    },
  };
}

const median = (list: number[]): number => list.sort((a, b) => a - b)[list.length >> 1];

/** Gbit/s and the share of a core that our process took. */
async function ours(offload: boolean, send: boolean, rounds: number, seconds: number): Promise<{ gbits: number; cpu: number }> {
  const namespace = `slb-${process.pid}`;
  const stack = await startStack(offload);
  ip('netns', 'add', namespace);
  try {
    ip('link', 'set', stack.device, 'netns', namespace);
    ip('-n', namespace, 'addr', 'add', '10.78.0.1/24', 'dev', stack.device);
    ip('-n', namespace, 'link', 'set', stack.device, 'up');
    const results: number[] = [];
    const shares: number[] = [];
    for (let i = 0; i < rounds; i++) {
      const before = await stack.sample();
      const started = performance.now();
      const program = send ? RECEIVER('10.78.0.2', 81, seconds) : SENDER('10.78.0.2', 80, seconds);
      results.push(Number(await python(namespace, program)));
      const after = await stack.sample();
      const used = after['userUs'] + after['systemUs'] - before['userUs'] - before['systemUs'];
      shares.push(used / 1000 / (performance.now() - started));
    }
    return { gbits: median(results), cpu: median(shares) };
  } finally {
    stack.child.stdin!.end();
    ip('netns', 'del', namespace);
  }
}

async function kernel(offload: boolean, rounds: number, seconds: number): Promise<number> {
  const [a, b] = [`slk-a-${process.pid}`, `slk-b-${process.pid}`];
  ip('netns', 'add', a);
  ip('netns', 'add', b);
  let sink: ChildProcess | null = null;
  try {
    ip('link', 'add', 'veth0', 'netns', a, 'type', 'veth', 'peer', 'name', 'veth0', 'netns', b);
    for (const [namespace, address] of [
      [a, '10.79.0.1/24'],
      [b, '10.79.0.2/24'],
    ] as const) {
      ip('-n', namespace, 'addr', 'add', address, 'dev', 'veth0');
      ip('-n', namespace, 'link', 'set', 'veth0', 'up');
      if (!offload) await python(namespace, OFFLOADS_OFF('veth0'));
    }
    sink = spawn('ip', ['netns', 'exec', b, 'python3', '-c', SINK], { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise((resolve) => sink!.stdout!.once('data', resolve));
    const results: number[] = [];
    for (let i = 0; i < rounds; i++) results.push(Number(await python(a, SENDER('10.79.0.2', 80, seconds))));
    return median(results);
  } finally {
    sink?.kill();
    ip('netns', 'del', a);
    ip('netns', 'del', b);
  }
}

const percent = (share: number): string => `${Math.round(share * 100)} % of a core`;

export async function run(options: BenchOptions): Promise<Row[]> {
  const { rounds, seconds } = options;
  const rows: Row[] = [];
  for (const offload of [true, false]) {
    const name = offload ? 'with offload' : '1500-byte packets';
    let veth: number | null = null;
    try {
      veth = await kernel(offload, rounds, seconds);
    } catch (error) {
      const note = `no kernel figure: ${(error as Error).message.split('\n')[0]}`;
      rows.push(
        row({ case: `kernel to kernel over veth, ${name}`, unit: 'Gbit/s', better: 'higher', ours: null, peers: {}, note }),
      );
    }
    for (const send of [true, false]) {
      const target = { peer: 'kernel', ratio: offload ? (send ? 1.5 : 1) : 0.8 };
      const base = {
        case: `${send ? 'send' : 'receive'}, ${name}`,
        unit: 'Gbit/s',
        better: 'higher',
        peers: { kernel: veth },
        target,
      } as const;
      try {
        const { gbits, cpu } = await ours(offload, send, rounds, seconds);
        rows.push(row({ ...base, ours: gbits, note: percent(cpu) }));
      } catch (error) {
        rows.push(row({ ...base, ours: null, note: (error as Error).message.split('\n')[0] }));
      }
    }
  }
  const repeat = (measure: () => number): number => median(Array.from({ length: rounds }, measure));
  const pipe = (name: string, unit: string, value: number): Row =>
    row({ case: name, unit, better: 'higher', ours: value, peers: {} });
  rows.push(
    pipe(
      'pipe, two stacks, 64 KB segments',
      'Gbit/s',
      repeat(() => pipeThroughput(seconds, true)),
    ),
  );
  rows.push(
    pipe(
      'pipe, two stacks, 1500-byte packets',
      'Gbit/s',
      repeat(() => pipeThroughput(seconds, false)),
    ),
  );
  rows.push(
    pipe(
      'pipe, connections with handshake and close',
      '1/s',
      repeat(() => connectionsPerSecond(seconds)),
    ),
  );
  return rows;
}
