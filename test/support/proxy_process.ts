/**
 * The real proxy as a child process for tests: started from a configuration object on ephemeral ports, found through its admin
 * interface, watched by its stats, and ended with the test. A proxy that logged an unexpected error fails the test that stops it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { IoBackend } from '../../src/core/event/create_dispatcher.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WAIT_MS = 45_000;

/** Which backend runs in tests that are not about backends; `SLUICE_TEST_BACKEND` overrides. */
const DEFAULT_BACKEND = process.env['SLUICE_TEST_BACKEND'] as IoBackend | undefined;

/** Children that still run: none outlives the test process, nor keeps it after its last test, whatever failed. */
const running = new Set<ChildProcess>();
const closers = new Set<() => void>();
process.on('exit', killAll);
after(() => {
  killAll();
  for (const close of closers) close();
});

function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** Something that would keep the process when a test fails before it is closed. */
export function closeAtEnd(close: () => void): void {
  closers.add(close);
}

export type Json = Record<string, unknown>;

export interface ProxyOptions {
  /** The bootstrap without `admin`, in proto field names. */
  config: Json;
  concurrency?: number;
  backend?: IoBackend;
  args?: readonly string[];
  /** What to run it under, such as `ip netns exec NAME`. */
  under?: readonly string[];
}

export interface AdminAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
}

export class ProxyProcess {
  readonly child: ChildProcess;
  readonly directory: string;
  /** Standard error: the application log. */
  log = '';
  /** Standard output. */
  out = '';
  readonly exited: Promise<number | null>;
  adminPort = 0;
  private ports = new Map<string, number>();

  constructor(args: readonly string[], directory: string, under: readonly string[]) {
    this.directory = directory;
    const command = [...under, process.execPath, 'bin/sluice', ...args];
    this.child = spawn(command[0], command.slice(1), { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.child);
    this.child.once('exit', () => running.delete(this.child));
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
    });
    this.exited = once(this.child, 'close').then(([code]) => code as number | null);
  }

  get pid(): number {
    return this.child.pid!;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** The port that the listener of this name is bound to. */
  port(listener: string): number {
    const port = this.ports.get(listener);
    if (port === undefined) throw new Error(`no listener '${listener}' among ${[...this.ports.keys()].join(', ')}`);
    return port;
  }

  async admin(path: string, method = 'GET'): Promise<AdminAnswer> {
    return httpRequest(this.adminPort, path, { method });
  }

  /** Stats by name; histograms are left out. */
  async stats(filter = ''): Promise<Map<string, number>> {
    const { body } = await this.admin(`/stats${filter === '' ? '' : `?filter=${encodeURIComponent(filter)}`}`);
    const found = new Map<string, number>();
    for (const line of body.split('\n')) {
      const colon = line.lastIndexOf(': ');
      if (colon > 0 && /^-?\d+$/.test(line.slice(colon + 2))) found.set(line.slice(0, colon), Number(line.slice(colon + 2)));
    }
    return found;
  }

  async stat(name: string): Promise<number> {
    return (await this.stats(`^${escapeRegex(name)}$`)).get(name) ?? 0;
  }

  /** Resolves with the value of a stat when `holds` says so; rejects after 45 s. */
  async untilStat(name: string, holds: (value: number) => boolean): Promise<number> {
    let value = 0;
    await until(
      async () => holds((value = await this.stat(name))),
      () => `${name} is ${value}`,
    );
    return value;
  }

  /** Resident memory in bytes. */
  rss(): number {
    const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'));
    return Number(match![1]) * 1024;
  }

  /** Open file descriptors. */
  descriptors(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  /** A file in the proxy's own directory: where tests put access logs. */
  file(name: string): string {
    return join(this.directory, name);
  }

  /** Resolves with the lines of such a file when there are at least `count`. */
  async lines(name: string, count: number): Promise<string[]> {
    let lines: string[] = [];
    await until(
      async () => (lines = readLines(this.file(name))).length >= count,
      () => `${name} has ${lines.length} of ${count} lines:\n${lines.join('\n')}`,
    );
    return lines;
  }

  /** Resolves when such a file has this line, or one that the expression matches. */
  async untilLine(name: string, wanted: string | RegExp): Promise<void> {
    let lines: string[] = [];
    const wants = (line: string): boolean => (typeof wanted === 'string' ? line === wanted : wanted.test(line));
    await until(
      async () => (lines = readLines(this.file(name))).some(wants),
      () => `${name} has no line ${wanted}:\n${lines.join('\n')}`,
    );
  }

  /** Resolves when admin answers and all listeners are bound. */
  async ready(): Promise<void> {
    const path = join(this.directory, 'admin_address');
    await until(async () => !this.running || readText(path) !== '', 'the admin address');
    const address = readText(path);
    if (address !== '') this.adminPort = Number(address.slice(address.lastIndexOf(':') + 1));
    await until(async () => !this.running || (await this.admin('/ready')).status === 200, 'the proxy to be LIVE');
    if (!this.running) throw new Error(`the proxy ended with ${this.child.exitCode}:\n${this.log}`);
    for (const line of (await this.admin('/listeners')).body.trim().split('\n')) {
      const [, name, port] = /^(.*?)::.*?(?::(\d+))?$/.exec(line) ?? [];
      if (name !== undefined && !this.ports.has(name)) this.ports.set(name, Number(port ?? 0));
    }
  }

  /** Ends it at once; throws when its log tells of an error nobody expected. */
  async stop(): Promise<void> {
    if (this.running) {
      this.child.kill('SIGINT');
      const timer = setTimeout(() => this.child.kill('SIGKILL'), 8000);
      await this.exited;
      clearTimeout(timer);
    }
    rmSync(this.directory, { recursive: true, force: true });
    if (/\[critical\]|unexpected error/.test(this.log)) throw new Error(`the proxy logged:\n${this.log}`);
    if (this.child.exitCode !== 0)
      throw new Error(`the proxy ended with ${this.child.exitCode ?? this.child.signalCode}:\n${this.log}`);
  }
}

/** Starts a proxy and waits until it serves. Stop it in an `after` hook. Paths `$DIR/x` in the configuration are in its directory. */
export async function startProxy(options: ProxyOptions): Promise<ProxyProcess> {
  const proxy = spawnProxy(options);
  try {
    await proxy.ready();
  } catch (error) {
    proxy.child.kill('SIGKILL');
    rmSync(proxy.directory, { recursive: true, force: true });
    throw error;
  }
  return proxy;
}

/** Starts one without waiting. */
export function spawnProxy({
  config,
  concurrency = 1,
  backend = DEFAULT_BACKEND,
  args = [],
  under = [],
}: ProxyOptions): ProxyProcess {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-interop-'));
  const admin = { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } };
  const path = join(directory, 'envoy.yaml');
  writeFileSync(path, JSON.stringify({ admin, ...config }, null, 1).replaceAll('$DIR', directory));
  return new ProxyProcess(
    [
      'proxy',
      ...['-c', path, '--concurrency', String(concurrency), '--admin-address-path', join(directory, 'admin_address')],
      ...['--file-flush-interval-msec', '20'],
      ...(backend === undefined ? [] : ['--io-backend', backend]),
      ...args,
    ],
    directory,
    under,
  );
}

/** One request of node:http on a connection of its own. */
export function httpRequest(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string | Buffer } = {},
): Promise<AdminAnswer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body } = options;
    const call = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: text }));
      response.on('error', reject);
    });
    call.on('error', reject);
    call.end(body);
  });
}

/** Looks again and again until `condition` holds; rejects after 45 s. A condition that throws does not hold yet. */
export async function until(condition: () => boolean | Promise<boolean>, what: string | (() => string)): Promise<void> {
  const end = performance.now() + WAIT_MS;
  let last: unknown;
  for (;;) {
    try {
      if (await condition()) return;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(`timed out: ${typeof what === 'string' ? what : what()}`, { cause: last });
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function readLines(path: string): string[] {
  return readText(path)
    .split('\n')
    .filter((line) => line !== '');
}

function escapeRegex(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
