/** What filters add to a request: the same proxy without and with them. */
import type { BenchOptions } from '../run.ts';
import { cpuOf, median } from './processes.ts';
import type { Proxy as Peer } from './proxies.ts';
import { wrk } from './wrk.ts';

const CONNECTIONS = 64;

/** Medians of CPU per request, in microseconds, without and with filters, taken by turns. */
export async function costOfFilters(plain: Peer, filtered: Peer, path: string, options: BenchOptions): Promise<[number, number]> {
  const samples: [number[], number[]] = [[], []];
  const peers = [plain, filtered];
  for (const peer of peers) await wrk(`http://127.0.0.1:${peer.port}${path}`, CONNECTIONS, options.warmUpSeconds);
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < 2; i++) {
      const which = (i + round) % 2;
      const peer = peers[which];
      const before = cpuOf(peer.process.pid!);
      const result = await wrk(`http://127.0.0.1:${peer.port}${path}`, CONNECTIONS, options.seconds);
      const after = cpuOf(peer.process.pid!);
      if (result.errors > 0) throw new Error(`${path}: ${result.errors} errors`);
      samples[which].push((after.user + after.sys - before.user - before.sys) / result.requests);
    }
  }
  return [median(samples[0]), median(samples[1])];
}
