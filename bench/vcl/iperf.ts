/**
 * iperf3 on the host stack by the preload library, beside plain iperf3 on the kernel: cut-through against the kernel's loopback, and from
 * the kernel to the host stack over TAP against the kernel's veth. Client (and its kernel) on core 0, server and stack on core 1.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ldpLibrary } from '../../src/stack/ldp/build.ts';
import { median, startPinned } from '../lib/processes.ts';
import { LOAD_CORE, PROXY_CORE } from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';
import { directory, FLAGS, runtimeDir } from './setups.ts';

interface Side {
  /** What the server and the client run under. */
  server: string[];
  client: string[];
  address: string;
  serverEnv?: Record<string, string>;
  clientEnv?: Record<string, string>;
}

const CASES: readonly [string, string[]][] = [
  ['TCP', []],
  ['TCP, server to client', ['-R']],
  ['TCP, 4 streams', ['-P', '4']],
  ['UDP', ['-u', '-b', '0']],
];
const STACK_IP = '10.68.1.2';
const HOST_IP = '10.68.1.1';
const VETH_IP = '10.68.2.2';
const NEAR = `sluice-iperf-${process.pid}`;
const FAR = `${NEAR}-far`;
const run = promisify(execFile);
let port = 5400;

export async function iperfRows(options: BenchOptions): Promise<Row[]> {
  if (spawnSync('iperf3', ['-v']).error !== undefined) {
    process.stderr.write('iperf3 is not installed: its rows are left out\n');
    return [];
  }
  const library = ldpLibrary();
  const env = (dir: string): Record<string, string> => ({ LD_PRELOAD: library, SLUICE_RUNTIME_DIR: dir });
  const own = env(runtimeDir);
  const here = { server: [], client: [], address: '127.0.0.1' };
  const rows = await compare('iperf3, one machine', { ...here, serverEnv: own, clientEnv: own }, { loopback: here }, options);
  try {
    const dir = join(directory, 'tap-stack');
    await makeNamespaces(
      [...FLAGS, 'stack', '--runtime-dir', dir, '--device', `tap:sliperf,address=${STACK_IP}/24,host=${HOST_IP}/24`],
      dir,
    );
    const near = ['ip', 'netns', 'exec', NEAR];
    const overTap = { server: near, client: near, address: STACK_IP, serverEnv: env(dir) };
    const veth = { server: ['ip', 'netns', 'exec', FAR], client: near, address: VETH_IP };
    rows.push(...(await compare("iperf3, the kernel's client", overTap, { veth }, options)));
  } catch (error) {
    process.stderr.write(`no rows over TAP: ${(error as Error).message}\n`);
  } finally {
    for (const name of [NEAR, FAR]) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  }
  return rows;
}

async function makeNamespaces(stack: string[], runtimeDir: string): Promise<void> {
  const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });
  for (const name of [NEAR, FAR]) {
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
  }
  ip('-n', NEAR, 'link', 'add', 'sliperfv', 'type', 'veth', 'peer', 'name', 'sliperfw', 'netns', FAR);
  ip('-n', NEAR, 'address', 'add', '10.68.2.1/24', 'dev', 'sliperfv');
  ip('-n', FAR, 'address', 'add', `${VETH_IP}/24`, 'dev', 'sliperfw');
  ip('-n', NEAR, 'link', 'set', 'sliperfv', 'up');
  ip('-n', FAR, 'link', 'set', 'sliperfw', 'up');
  startPinned(LOAD_CORE, 'ip', ['netns', 'exec', NEAR, process.execPath, ...stack]);
  while (!existsSync(join(runtimeDir, 'app_ns_sockets', 'default'))) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function compare(name: string, ours: Side, peers: Record<string, Side>, options: BenchOptions): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [kind, flags] of CASES) {
    const all: [string, Side][] = [['', ours], ...Object.entries(peers)];
    const rates = new Map<string, number[]>(all.map(([side]) => [side, []]));
    for (let round = 0; round < options.rounds; round++) {
      for (const [side, where] of all) rates.get(side)!.push(await measure(where, flags, options.seconds));
    }
    const of = (side: string): number => median(rates.get(side)!);
    rows.push(
      row({
        case: `${name}: ${kind}`,
        unit: 'Gbit/s',
        better: 'higher',
        ours: of(''),
        peers: Object.fromEntries(Object.keys(peers).map((side) => [side, of(side)])),
      }),
    );
  }
  return rows;
}

/** Gbit/s that the receiver got. */
async function measure(side: Side, flags: readonly string[], seconds: number): Promise<number> {
  const at = String(port++);
  const server = [...side.server, 'iperf3', '-s', '-1', '-p', at, '-B', side.address];
  if (side.address === STACK_IP) server.splice(-2);
  startPinned(LOAD_CORE, server[0], server.slice(1), side.serverEnv);
  const client = [...side.client, 'taskset', '-c', String(PROXY_CORE), 'iperf3', '-c', side.address, '-p', at];
  const args = [...client.slice(1), '-t', String(Math.max(1, Math.round(seconds))), '-J', ...flags];
  for (let attempt = 0; ; attempt++) {
    try {
      const { stdout } = await run(client[0], args, {
        env: { ...process.env, ...side.clientEnv },
        maxBuffer: 1 << 26,
        timeout: (seconds + 30) * 1000,
      });
      const { end, error } = JSON.parse(stdout);
      if (error !== undefined) throw Object.assign(new Error(`iperf3: ${error}`), { stdout });
      return (end.sum_received ?? end.sum).bits_per_second / 1e9;
    } catch (error) {
      // It may not listen yet.
      if (attempt === 50 || !/refused|reset|unable to connect/.test(String((error as { stdout?: string }).stdout))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
