/**
 * `sluice ctl tcp probe [seconds N] [interval US] [port N] [connections N] [csv FILE] [svg FILE]`: watches the connections of a running
 * stack for a while and writes their time series as CSV (to the output without `csv`) and as a drawing.
 */
import { writeFileSync } from 'node:fs';
import { PROBE_COLUMNS } from '../tcp/probe.ts';
import { sendCommand } from './client.ts';
import { parseWords, positive } from './command.ts';
import type { CommandResult } from './commands.ts';
import { drawProbe, type ProbedConnection } from './probe_svg.ts';

const NAMES = ['seconds', 'interval', 'port', 'connections', 'csv', 'svg'];

/** Runs the probe; `stop` ends it before its time. The result's text is for the user. */
export async function runProbe(runtimeDir: string, args: string[], stop: Promise<void>): Promise<CommandResult> {
  const words = parseWords(args, NAMES);
  const seconds = positive(words?.get('seconds') ?? '10');
  if (words === null || seconds === null)
    return {
      ok: false,
      text: `usage: tcp probe ${NAMES.map((name) => `[${name} ${name === 'csv' || name === 'svg' ? 'FILE' : 'N'}]`).join(' ')}`,
    };
  const options = ['interval', 'port', 'connections'].flatMap((name) => (words.has(name) ? [name, words.get(name)!] : []));
  const on = await sendCommand(runtimeDir, ['tcp probe on', ...options].join(' '));
  if (!on.ok) return on;
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([stop, new Promise((resolve) => (timer = setTimeout(resolve, seconds * 1000)))]);
  clearTimeout(timer);
  const connections = await fetchSeries(runtimeDir);
  await sendCommand(runtimeDir, 'tcp probe off');
  const csv = words.get('csv');
  const svg = words.get('svg');
  if (svg !== undefined) writeFileSync(svg, drawProbe(connections));
  if (csv === undefined && svg === undefined) return { ok: true, text: formatCsv(connections) };
  if (csv !== undefined) writeFileSync(csv, formatCsv(connections));
  const samples = connections.reduce((sum, { rows }) => sum + rows.length, 0);
  return { ok: true, text: `${connections.length} connections, ${samples} samples: ${[csv, svg].filter(Boolean).join(', ')}` };
}

async function fetchSeries(runtimeDir: string): Promise<ProbedConnection[]> {
  const list = await sendCommand(runtimeDir, 'show tcp probe', true);
  if (!list.ok) return [];
  const connections: ProbedConnection[] = [];
  for (const { series, connection } of JSON.parse(list.text) as { series: number; connection: string }[]) {
    const { ok, text } = await sendCommand(runtimeDir, `show tcp probe ${series}`, true);
    if (!ok) continue;
    const rows = (JSON.parse(text) as Record<string, number>[]).map((row) => PROBE_COLUMNS.map((name) => row[name]));
    connections.push({ name: connection, rows });
  }
  return connections;
}

export function formatCsv(connections: readonly ProbedConnection[]): string {
  const lines = connections.flatMap(({ name, rows }) => rows.map((row) => `${name},${row.join(',')}`));
  return `${['connection', ...PROBE_COLUMNS].join(',')}\n${lines.map((line) => `${line}\n`).join('')}`;
}
