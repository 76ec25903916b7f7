/** wrk, pinned to the load's core, with its output as numbers. */
import { spawn } from 'node:child_process';
import { LOAD_CORE } from './proxies.ts';

export interface WrkResult {
  requests: number;
  bytes: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Socket errors and non-2xx answers. */
  errors: number;
  seconds: number;
}

/** With `close` each request has a connection of its own. */
export async function wrk(url: string, connections: number, seconds: number, close = false): Promise<WrkResult> {
  const header = close ? ['-H', 'connection: close'] : [];
  const child = spawn(
    'taskset',
    ['-c', String(LOAD_CORE), 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '--timeout', '10s', ...header, url],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.on('exit', resolve));
  if (code !== 0) throw new Error(`wrk ended with ${code}: ${text}`);
  const total = /(\d+) requests in ([\d.]+)(ms|s|m), ([\d.]+)(\w+) read/.exec(text);
  if (total === null) throw new Error(`wrk printed something else: ${text}`);
  const errors = [...text.matchAll(/Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/g)].flatMap((m) =>
    m.slice(1).map(Number),
  );
  const non2xx = /Non-2xx or 3xx responses: (\d+)/.exec(text);
  return {
    requests: Number(total[1]),
    bytes: Number(total[4]) * { B: 1, KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 }[total[5] as 'B']!,
    p50: milliseconds(/50%\s+([\d.]+)(us|ms|s)/.exec(text)),
    p99: milliseconds(/99%\s+([\d.]+)(us|ms|s)/.exec(text)),
    errors: errors.reduce((a, b) => a + b, 0) + Number(non2xx?.[1] ?? 0),
    seconds: Number(total[2]) * { ms: 0.001, s: 1, m: 60 }[total[3] as 's']!,
  };
}

function milliseconds(match: RegExpExecArray | null): number {
  if (match === null) return Number.NaN;
  return Number(match[1]) * { us: 0.001, ms: 1, s: 1000 }[match[2] as 'ms']!;
}
