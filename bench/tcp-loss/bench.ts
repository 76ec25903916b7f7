/**
 * CUBIC beside the Linux kernel's through the same impairment: a user-space path (rate, delay, buffer, loss) in front of a receiver of the
 * kernel; the sender is the kernel behind a forwarder, or our stack with the same fault injection around its device. Goodput at the
 * receiver, after slow start.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Faults } from '../../src/stack/link/fault_injector.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';

const RATE_MBPS = 20;
const PATHS = [
  { rttMs: 20, loss: 0, queueBdp: 1 },
  { rttMs: 20, loss: 0.001, queueBdp: 1 },
  { rttMs: 20, loss: 0.01, queueBdp: 1 },
  { rttMs: 60, loss: 0, queueBdp: 0.5 },
  { rttMs: 60, loss: 0.001, queueBdp: 1 },
];

const SINK = (skip: number, seconds: number): string => `
import socket, time
l = socket.socket(); l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); l.bind(('', 80)); l.listen(); print('ready', flush=True)
s, _ = l.accept(); b = bytearray(1 << 20); t0 = time.time(); n = 0
while time.time() - t0 < ${skip}: s.recv_into(b)
t = time.time()
while time.time() - t < ${seconds}: n += s.recv_into(b)
print(n * 8 / (time.time() - t) / 1e6, flush=True)`;

const SENDER = `
import socket
s = socket.socket(); s.setsockopt(socket.IPPROTO_TCP, 13, b'cubic'); s.connect(('10.79.0.2', 80)); b = b'x' * 65536
try:
    while True: s.sendall(b)
except OSError: pass`;

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });
const inSpace = (space: string, code: string): ChildProcess =>
  spawn('ip', ['netns', 'exec', space, 'python3', '-c', code], { stdio: ['ignore', 'pipe', 'ignore'] });

export async function run(options: BenchOptions): Promise<Row[]> {
  const rows: Row[] = [];
  const seconds = options.quick ? 4 : Math.max(options.seconds, 10);
  for (const { rttMs, loss, queueBdp } of options.quick ? PATHS.slice(0, 3) : PATHS) {
    const faults: Faults = {
      rateMbps: RATE_MBPS,
      delayUs: (rttMs * 1000) / 2,
      queueBytes: Math.max(((RATE_MBPS * rttMs * 1000) / 8) * queueBdp, 15_000),
      loss,
    };
    const ours: number[] = [];
    const kernel: number[] = [];
    for (let i = 0; i < options.rounds; i++) {
      ours.push(await throughPath('stack_sender.ts', faults, seconds));
      kernel.push(await throughPath('emulator.ts', faults, seconds));
    }
    rows.push(
      row({
        case: `cubic, ${RATE_MBPS} Mbit/s, rtt ${rttMs} ms, loss ${loss * 100} %, buffer ${queueBdp} BDP`,
        unit: 'Mbit/s',
        better: 'higher',
        ours: median(ours),
        peers: { linux: median(kernel) },
        target: { peer: 'linux', ratio: 0.9 },
      }),
    );
  }
  return rows;
}

/** The lines that a program prints, one after the other. */
function linesOf(child: ChildProcess): () => Promise<string> {
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the program ended early');
    return value as string;
  };
}

async function throughPath(program: string, faults: Faults, seconds: number): Promise<number> {
  const spaces = ['a', 'b'].map((name) => `slb-${name}-${process.pid}`);
  const script = fileURLToPath(new URL(`./${program}`, import.meta.url));
  const children: ChildProcess[] = [];
  try {
    for (const space of spaces) ip('netns', 'add', space);
    const path = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, JSON.stringify(faults), 'cubic'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    children.push(path);
    const devices = JSON.parse(await linesOf(path)()) as { from?: string; to: string };
    place(devices.to, spaces[1], '10.79.0.2');
    if (devices.from !== undefined) place(devices.from, spaces[0], '10.79.0.1');
    const sink = inSpace(spaces[1], SINK(seconds / 2, seconds));
    children.push(sink);
    const line = linesOf(sink);
    await line();
    if (devices.from === undefined) path.stdin!.write('go\n');
    else children.push(inSpace(spaces[0], SENDER));
    return Number(await line());
  } finally {
    for (const child of children.reverse()) child.kill('SIGKILL');
    for (const space of spaces) ip('netns', 'del', space);
  }
}

function place(device: string, space: string, address: string): void {
  ip('link', 'set', device, 'netns', space);
  // A route through the device to the other end: both are /24 on the same link.
  ip('-n', space, 'addr', 'add', `${address}/24`, 'dev', device);
  ip('-n', space, 'link', 'set', device, 'up');
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
