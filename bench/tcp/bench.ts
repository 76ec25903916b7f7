/**
 * One stack on one core to the Linux kernel over TUN, packet socket and AF_XDP, both ways, with and without segmentation offload; beside it
 * kernel to kernel over veth in the same rounds, with the same peers on the same cores. Connections per second over TAP, the kernel beside it.
 * Then two of our stacks over the in-memory pipe.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';
import { KernelPair } from './peers.ts';
import { connectionsPerSecond, pipeThroughput } from './pipe.ts';
import { StackPeer, type StackSetup } from './stack_peer.ts';

interface Case {
  name: string;
  setup: StackSetup;
  send: boolean;
  /** Of the kernel's rate; undefined: none was set. */
  target?: number;
}

const both = (name: string, setup: StackSetup, targets: readonly [number?, number?]): Case[] => [
  { name: `send, ${name}`, setup, send: true, target: targets[0] },
  { name: `receive, ${name}`, setup, send: false, target: targets[1] },
];

const WITH_SEGMENTATION: readonly Case[] = [
  ...both('TUN, 64 KB segments', { kind: 'tun', offload: true }, [1.5, 1]),
  ...both('packet socket, 64 KB segments', { kind: 'packet', offload: true }, []),
];
const WITHOUT_SEGMENTATION: readonly Case[] = [
  ...both('TUN, 1500-byte packets', { kind: 'tun', offload: 'checksum' }, [0.8, 0.8]),
  ...both('TUN, 1500-byte packets, own checksums', { kind: 'tun', offload: false }, []),
  ...both(
    'packet socket, 1500-byte packets, cut by the kernel',
    { kind: 'packet', offload: true, smallSegments: true },
    [0.8, 0.8],
  ),
  ...both('packet socket, 1500-byte packets', { kind: 'packet', offload: 'checksum' }, []),
  ...both('AF_XDP, 1500-byte packets', { kind: 'xdp', offload: 'checksum' }, [0.8, 0.8]),
];

const median = (list: readonly number[]): number | null =>
  list.length === 0 ? null : [...list].sort((a, b) => a - b)[list.length >> 1];
const percent = (share: number | null): string => (share === null ? '' : `${Math.round(share * 100)} % of a core`);
const firstLine = (error: unknown): string => (error as Error).message.split('\n')[0];

/** All cases with the kernel beside them: each round measures the kernel, then each case. */
async function throughput(cases: readonly Case[], segmentation: boolean, options: BenchOptions): Promise<Row[]> {
  const kernelRates: number[] = [];
  const kernelShares: number[] = [];
  const results = cases.map(() => ({ rates: [] as number[], shares: [] as number[], perCall: [] as number[], error: '' }));
  const stacks = new Map<string, StackPeer | string>();
  let pair: KernelPair | null = null;
  let kernelError = '';
  try {
    pair = await KernelPair.open(segmentation ? 's' : 'p', segmentation, null);
  } catch (error) {
    kernelError = firstLine(error);
  }
  try {
    for (let round = 0; round < options.rounds; round++) {
      if (pair !== null) {
        const { gbits, cpu } = await pair.send(options.seconds);
        kernelRates.push(gbits);
        kernelShares.push(cpu);
      }
      for (const [i, { setup, send }] of cases.entries()) {
        const key = `${setup.kind}${setup.offload}${setup.smallSegments ?? ''}`;
        let stack = stacks.get(key);
        if (stack === undefined) {
          stack = await StackPeer.open(String.fromCharCode(97 + stacks.size), setup).catch(firstLine);
          stacks.set(key, stack);
        }
        if (typeof stack === 'string') {
          results[i].error = stack;
          continue;
        }
        const { gbits, cpu, packetsPerCall } = await stack.run(send, options.seconds);
        results[i].rates.push(gbits);
        results[i].shares.push(cpu);
        if (packetsPerCall !== null) results[i].perCall.push(packetsPerCall);
      }
    }
  } finally {
    pair?.close();
    for (const stack of stacks.values()) if (typeof stack !== 'string') stack.close();
  }
  const kernel = median(kernelRates);
  return cases.map(({ name, target, setup, send }, i) => {
    const { rates, shares, perCall, error } = results[i];
    // Only the TUN's reads are system calls.
    const calls = setup.kind === 'tun' || send ? median(perCall) : null;
    const notes = [
      error || kernelError,
      percent(median(shares)),
      send && kernel !== null ? `kernel ${percent(median(kernelShares))}` : '',
      calls === null ? '' : `${calls.toFixed(1)} packets per call`,
    ];
    return row({
      case: name,
      unit: 'Gbit/s',
      better: 'higher',
      ours: median(rates),
      peers: { kernel },
      ...(target !== undefined && { target: { peer: 'kernel', ratio: target } }),
      note: notes.filter(Boolean).join(', '),
    });
  });
}

/** The kernel connects to us over TAP, and to itself over veth; the server closes at once. */
async function connections({ rounds, seconds }: BenchOptions): Promise<Row> {
  const base = { case: 'TAP, connections accepted and closed', unit: '1/s', better: 'higher' } as const;
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
  let stack: StackPeer | null = null;
  let pair: KernelPair | null = null;
  try {
    const program = join(directory, 'connect');
    execFileSync('cc', ['-O2', '-o', program, fileURLToPath(new URL('./connect.c', import.meta.url))], { stdio: 'pipe' });
    stack = await StackPeer.open('z', { kind: 'tap', offload: true });
    pair = await KernelPair.open('c', true, program);
    const ours: number[] = [];
    const kernel: number[] = [];
    for (let i = 0; i < rounds; i++) {
      kernel.push(await pair.connectionsPerSecond(program, seconds));
      ours.push(await stack.connectionsPerSecond(program, seconds));
    }
    return row({ ...base, ours: median(ours), peers: { kernel: median(kernel) } });
  } catch (error) {
    return row({ ...base, ours: null, peers: {}, note: firstLine(error) });
  } finally {
    stack?.close();
    pair?.close();
    rmSync(directory, { recursive: true });
  }
}

export async function run(options: BenchOptions): Promise<Row[]> {
  const { rounds, seconds } = options;
  const rows: Row[] = [];
  for (const segmentation of [true, false])
    rows.push(...(await throughput(segmentation ? WITH_SEGMENTATION : WITHOUT_SEGMENTATION, segmentation, options)));
  rows.push(await connections(options));
  const repeat = (measure: () => number): number | null => median(Array.from({ length: rounds }, measure));
  const alone = (name: string, ours: number | null): Row =>
    row({ case: name, unit: 'Gbit/s', better: 'higher', ours, peers: {} });
  const gbits = (gso: boolean): number | null => repeat(() => pipeThroughput(seconds, gso));
  rows.push(alone('pipe, two stacks, 64 KB segments', gbits(true)));
  rows.push(alone('pipe, two stacks, 1500-byte packets', gbits(false)));
  const perSecond = repeat(() => connectionsPerSecond(seconds));
  const target = { peer: 'target', ratio: 1 };
  rows.push(
    row({
      case: 'pipe, connections with handshake and close, both ends on this thread',
      unit: '1/s',
      better: 'higher',
      ours: perSecond,
      peers: { target: 100_000 },
      target,
    }),
  );
  return rows;
}
