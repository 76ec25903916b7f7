/**
 * How fast are two applications that talk through cut-through sessions, beside a C ring (the machine's own limit), kernel TCP loopback and
 * a unix socket through Node, and a worker's MessagePort? Rounds of ours and the peers alternate; medians are shown.
 *
 * `ours` uses the native API as it comes: it looks for a few microseconds, then sleeps. The C ring spins.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ADAPTIVE_SPIN } from '../../src/stack/vcl/spinner.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';
import { type Kind, runPair, startParty } from './parties.ts';
import type { PartyArguments } from './party.ts';

const FIFO = 1 << 20;
const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
let nextPort = 1000;

export async function run({ rounds, seconds, quick }: BenchOptions): Promise<Row[]> {
  const stack = await startStack();
  const ring = compileRing();
  try {
    return [
      ...(await streams(rounds, seconds, ring)),
      ...(await pingPongs(rounds, seconds)),
      ...(await connections(rounds, quick ? 5_000 : 30_000, stack)),
      await idleSessions(quick ? 5_000 : 100_000, stack),
    ];
  } finally {
    stack.kill('SIGTERM');
    await once(stack, 'close');
    rmSync(directory, { recursive: true, force: true });
  }
}

type Means = PartyArguments['means'];

async function streams(rounds: number, seconds: number, ring: string | null): Promise<Row[]> {
  const rows: Row[] = [];
  for (const kind of ['threads', 'processes'] as const) {
    for (const bytes of [65536, 16384, 64]) {
      const peers: Means[] = kind === 'threads' ? ['net', 'tcp', 'unix', 'port'] : ['tcp', 'unix'];
      const figures = new Map<string, number[]>([['vcl', []], ...peers.map((peer): [string, number[]] => [peer, []])]);
      const cRing: number[] = [];
      for (let round = 0; round < rounds; round++) {
        for (const [means, list] of figures) list.push(await stream(kind, means as Means, bytes, seconds));
        if (ring !== null) cRing.push(ringFigure(ring, bytes, seconds));
      }
      const shown: Record<string, number | null> = { 'c ring': ring === null ? null : median(cRing) };
      for (const peer of peers) shown[LABELS[peer]] = median(figures.get(peer)!);
      rows.push(
        row({
          case: `stream ${size(bytes)}, ${kind}`,
          unit: 'Gbit/s',
          better: 'higher',
          ours: median(figures.get('vcl')!),
          peers: shown,
          target: bytes === 65536 ? { peer: 'c ring', ratio: 0.9 } : { peer: LABELS.tcp, ratio: 8 },
          note: ring === null ? 'no C compiler: no C ring' : undefined,
        }),
      );
    }
  }
  return rows;
}

const LABELS: Record<Means, string> = { vcl: 'vcl', net: 'vcl net', tcp: 'kernel tcp', unix: 'unix', port: 'MessagePort' };

async function stream(kind: Kind, means: Means, bytes: number, seconds: number): Promise<number> {
  const report = await runPair(kind, 'receive', 'send', { ...base(means), bytes, seconds });
  return (Number(report['bytes']) * 8) / Number(report['seconds']) / 1e9;
}

async function pingPongs(rounds: number, seconds: number): Promise<Row[]> {
  const rows: Row[] = [];
  const micros = async (kind: Kind, means: Means, spinUs: number): Promise<number> => {
    const report = await runPair(kind, 'pong', 'ping', { ...base(means), bytes: 64, seconds, spinUs });
    return (Number(report['seconds']) / Number(report['trips'])) * 1e6;
  };
  for (const kind of ['threads', 'processes'] as const) {
    const lists = {
      spinning: [] as number[],
      sleeping: [] as number[],
      net: [] as number[],
      unix: [] as number[],
      tcp: [] as number[],
    };
    for (let round = 0; round < rounds; round++) {
      lists.spinning.push(await micros(kind, 'vcl', 100));
      lists.sleeping.push(await micros(kind, 'vcl', 0));
      lists.net.push(await micros(kind, 'net', 0));
      lists.unix.push(await micros(kind, 'unix', 0));
      lists.tcp.push(await micros(kind, 'tcp', 0));
    }
    const peers = { unix: median(lists.unix), 'kernel tcp': median(lists.tcp), 'vcl net': median(lists.net) };
    for (const how of ['spinning', 'sleeping'] as const) {
      rows.push(
        row({
          case: `64-byte ping-pong ${how}, ${kind}`,
          unit: 'us',
          better: 'lower',
          ours: median(lists[how]),
          peers,
          target: { peer: 'unix', ratio: 1 },
        }),
      );
    }
  }
  return rows;
}

async function connections(rounds: number, count: number, stack: ChildProcess): Promise<Row[]> {
  const ours: number[] = [];
  const kernel: number[] = [];
  const net: number[] = [];
  const perCpuSecond: number[] = [];
  let shares = '';
  for (let round = 0; round < rounds; round++) {
    const before = cpuSeconds(stack.pid!);
    const report = await runPair('processes', 'accept', 'dial', { ...base('vcl'), count });
    const used = cpuSeconds(stack.pid!) - before;
    ours.push(count / Number(report['seconds']));
    perCpuSecond.push(count / used);
    const share = (us: number): string => (us / count).toFixed(1);
    shares = `CPU per connection: stack ${share(used * 1e6)} us, server ${share(Number(report['serverCpuUs']))} us, client ${share(Number(report['clientCpuUs']))} us`;
    const few = Math.min(count, 10_000);
    const byKernel = await runPair('processes', 'accept', 'dial', { ...base('tcp'), count: few });
    kernel.push(few / Number(byKernel['seconds']));
    const byNet = await runPair('processes', 'accept', 'dial', { ...base('net'), count: few });
    net.push(few / Number(byNet['seconds']));
  }
  return [
    row({
      case: 'connections/s, one client, one server',
      unit: '1/s',
      better: 'higher',
      ours: median(ours),
      peers: { 'kernel tcp': median(kernel), 'vcl net': median(net) },
      target: { peer: 'kernel tcp', ratio: 1 },
      note: shares,
    }),
    row({
      case: 'connections per second of stack CPU',
      unit: '1/s',
      better: 'higher',
      ours: median(perCpuSecond),
      peers: { required: 200_000 },
      target: { peer: 'required', ratio: 1 },
    }),
  ];
}

async function idleSessions(count: number, stack: ChildProcess): Promise<Row> {
  const common = { ...base('vcl'), count, fifo: 65536 };
  const server = startParty('processes', { ...common, role: 'hold' });
  await server.said('ready');
  const client = startParty('processes', { ...common, role: 'idle' });
  await client.said('ready');
  const pids = [stack.pid!, server.pid, client.pid];
  const before = pids.map(privateBytes);
  await Promise.all([server.said('held'), client.said('open')]);
  const grown = pids.map((pid, i) => privateBytes(pid) - before[i]);
  for (const party of [client, server]) party.stop();
  await Promise.all([client.ended, server.ended]);
  const total = grown.reduce((sum, bytes) => sum + bytes, 0);
  return row({
    case: `memory of an idle session (${count} open)`,
    unit: 'bytes',
    better: 'lower',
    ours: total / count,
    peers: {},
    note: `per session: stack ${Math.round(grown[0] / count)}, server ${Math.round(grown[1] / count)}, client ${Math.round(grown[2] / count)} (proportional set size; shared pages counted once)`,
  });
}

function base(means: Means): Omit<PartyArguments, 'role'> {
  nextPort++;
  const at =
    means === 'unix'
      ? join(directory, `u${nextPort}`)
      : means === 'tcp'
        ? 20_000 + ((process.pid * 7 + nextPort) % 10_000)
        : nextPort;
  return { means, runtimeDir: directory, at, bytes: 64, seconds: 1, spinUs: ADAPTIVE_SPIN, count: 0, fifo: FIFO };
}

async function startStack(): Promise<ChildProcess> {
  const program = new URL('../../src/stack/main.ts', import.meta.url).pathname;
  const stack = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, '--runtime-dir', directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(stack.stdout!, 'data');
  return stack;
}

/** The ring program, or null where there is no compiler. */
function compileRing(): string | null {
  const program = join(directory, 'ring');
  const source = new URL('./ring.c', import.meta.url).pathname;
  return spawnSync('cc', ['-O2', '-pthread', '-o', program, source]).status === 0 ? program : null;
}

function ringFigure(program: string, bytes: number, seconds: number): number {
  return Number(spawnSync(program, [String(bytes), String(FIFO), String(seconds)], { encoding: 'utf8' }).stdout);
}

/** User and system time of a process. */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Proportional set size: pages that two processes share count half in each. */
function privateBytes(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024;
}

function median(list: number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function size(bytes: number): string {
  return bytes >= 1024 ? `${bytes / 1024} KB` : `${bytes} B`;
}
