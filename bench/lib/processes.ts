/** Processes of a bench: started pinned to a core, measured by /proc, ended by id. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';

export interface CpuUse {
  /** Microseconds. */
  user: number;
  sys: number;
}

const TICK_US = 1e6 / Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout || '100');
const started: ChildProcess[] = [];

/** More descriptors where that is allowed; the rest of the arguments are taskset's. */
const RAISE_LIMIT = 'ulimit -n 65536 2>/dev/null; exec taskset "$@"';

/** Starts `command` on one core; everything it prints goes to `log`. */
export function startPinned(
  core: number | string,
  command: string,
  args: string[],
  env: Record<string, string> = {},
): ChildProcess {
  const child = spawn('sh', ['-c', RAISE_LIMIT, 'sh', '-c', String(core), command, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  child.stdout?.resume();
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  child.on('exit', (code) => {
    if (code !== 0 && code !== null && !ending) process.stderr.write(`${command} ended with ${code}: ${errors}\n`);
  });
  started.push(child);
  return child;
}

let ending = false;

/** Ends everything that was started here. */
export function endAll(): void {
  ending = true;
  // nginx's workers outlive a killed master: end whole families.
  for (const child of started) {
    if (child.pid === undefined || child.exitCode !== null) continue;
    for (const pid of family(child.pid).reverse()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended meanwhile.
      }
    }
  }
}

process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));

/** The process and all its descendants. */
export function family(pid: number): number[] {
  const all = [pid];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (parent === pid) all.push(...family(Number(entry)));
    } catch {
      // It ended meanwhile.
    }
  }
  return all;
}

/** CPU time so far of the process and its descendants, in microseconds. */
export function cpuOf(pid: number): CpuUse {
  let user = 0;
  let sys = 0;
  for (const id of family(pid)) {
    try {
      const stat = readFileSync(`/proc/${id}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      user += Number(fields[11]) * TICK_US;
      sys += Number(fields[12]) * TICK_US;
    } catch {
      // It ended meanwhile.
    }
  }
  return { user, sys };
}

/** Resident memory of the process and its descendants, in KB. */
export function rssKb(pid: number): number {
  let total = 0;
  for (const id of family(pid)) {
    const line = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'));
    total += Number(line?.[1] ?? 0);
  }
  return total;
}

/** Resolves when the port accepts connections; throws after 15 s. */
export async function waitForPort(port: number): Promise<void> {
  const end = Date.now() + 15_000;
  while (Date.now() < end) {
    const ok = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing listens on port ${port}`);
}

/** A command's path, or null when it is not installed. */
export function which(command: string): string | null {
  const found = spawnSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' });
  return found.status === 0 ? found.stdout.trim() : null;
}

/** Median. */
export function median(values: number[]): number {
  const sorted = values.slice().sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
