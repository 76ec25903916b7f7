/** h2load, pinned to the load's core, with its output as numbers. */
import { spawn } from 'node:child_process';
import { LOAD_CORE } from './proxies.ts';

export interface H2loadResult {
  requests: number;
  /** Body bytes. */
  bytes: number;
  seconds: number;
  /** Requests that failed, and answers other than 2xx. */
  errors: number;
}

export async function h2load(url: string, connections: number, streams: number, seconds: number): Promise<H2loadResult> {
  const args = ['-t1', `-c${connections}`, `-m${streams}`, `-D${seconds}`, '--warm-up-time=0', '-w24', '-W26', url];
  const child = spawn('taskset', ['-c', String(LOAD_CORE), 'h2load', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.on('exit', resolve));
  const requests = /(\d+) succeeded, (\d+) failed, (\d+) errored/.exec(text);
  const statuses = /status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/.exec(text);
  const data = /\((\d+)\) data/.exec(text);
  const finished = /finished in ([\d.]+)(ms|us|s|m)/.exec(text);
  if (code !== 0 || requests === null || statuses === null || data === null || finished === null) {
    throw new Error(`h2load ended with ${code}: ${text}`);
  }
  // Streams that the end of the time cut off count as failed: they are no errors of the proxy when nothing else failed.
  const cut = connections * streams;
  const failed = Number(requests[2]) + Number(requests[3]);
  return {
    requests: Number(requests[1]),
    bytes: Number(data[1]),
    seconds: Number(finished[1]) * { us: 1e-6, ms: 1e-3, s: 1, m: 60 }[finished[2] as 's'],
    errors: (failed > cut ? failed : 0) + Number(statuses[3]) + Number(statuses[4]),
  };
}
