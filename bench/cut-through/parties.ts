/** Starts the two parties of a measurement, as threads or processes, and gives what they report. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { PartyArguments } from './party.ts';

export type Kind = 'threads' | 'processes';

export interface Reports {
  /** Everything that both have said, merged. */
  [name: string]: number | boolean;
}

interface Party {
  pid: number;
  /** Resolves when it has said something with that name. */
  said(name: string): Promise<void>;
  reports: Reports;
  ended: Promise<unknown>;
  stop(): void;
}

const program = new URL('./party.ts', import.meta.url);

export function startParty(kind: Kind, args: PartyArguments, channel?: MessagePort): Party {
  const reports: Reports = {};
  let waiting: { name: string; resolve(): void }[] = [];
  const hear = (value: Reports): void => {
    Object.assign(reports, value);
    const due = waiting.filter(({ name }) => name in reports);
    waiting = waiting.filter(({ name }) => !(name in reports));
    for (const { resolve } of due) resolve();
  };
  const said = (name: string): Promise<void> =>
    name in reports ? Promise.resolve() : new Promise((resolve) => waiting.push({ name, resolve }));
  if (kind === 'threads') {
    const worker = new Worker(program, {
      workerData: { ...args, channel },
      transferList: channel === undefined ? [] : [channel],
    });
    worker.on('message', hear);
    return { pid: process.pid, said, reports, ended: once(worker, 'exit'), stop: () => void worker.terminate() };
  }
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program.pathname, JSON.stringify(args)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  createInterface(child.stdout!).on('line', (line) => hear(JSON.parse(line)));
  return { pid: child.pid!, said, reports, ended: once(child, 'close'), stop: () => void child.kill('SIGKILL') };
}

/** Runs a server and then a client of it; returns what both reported. */
export async function runPair(
  kind: Kind,
  server: PartyArguments['role'],
  client: PartyArguments['role'],
  args: Omit<PartyArguments, 'role'>,
): Promise<Reports> {
  const channel = args.means === 'port' ? new MessageChannel() : null;
  const first = startParty(kind, { ...args, role: server }, channel?.port1);
  await first.said('ready');
  const second = startParty(kind, { ...args, role: client }, channel?.port2);
  await Promise.all([first.ended, second.ended]);
  return { ...first.reports, ...second.reports };
}
