/**
 * `npm run bench -- NAME [--json] [--rounds N] [--seconds N]`: runs one bench and prints its table, or one JSON object on the last line.
 */
import { existsSync, readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { endAll } from './lib/processes.ts';
import { formatTable, machine, type Row } from './lib/report.ts';

export interface BenchOptions {
  rounds: number;
  seconds: number;
  quick: boolean;
  /** Load on each party before the first round: what V8 compiles in the first seconds is not what a running server costs. */
  warmUpSeconds: number;
}

const here = new URL('./', import.meta.url);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean' }, rounds: { type: 'string' }, seconds: { type: 'string' }, quick: { type: 'boolean' } },
});
const names = readdirSync(here, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && existsSync(new URL(`${entry.name}/bench.ts`, here)))
  .map((entry) => entry.name);
const name = positionals[0];
if (name === undefined || !names.includes(name)) {
  process.stderr.write(
    `usage: npm run bench -- NAME [--json] [--rounds N] [--seconds N] [--quick]\nbenches: ${names.join(', ')}\n`,
  );
  process.exit(1);
}
const bench = (await import(`./${name}/bench.ts`)) as { run(options: BenchOptions): Promise<Row[]> };
const quick = values.quick === true;
const rows = await bench.run({
  rounds: Number(values.rounds ?? (quick ? 1 : 5)),
  seconds: Number(values.seconds ?? (quick ? 1 : 3)),
  quick,
  warmUpSeconds: quick ? 1 : 5,
});
const report = { bench: name, machine: machine(), rows };
process.stdout.write(values.json ? `${JSON.stringify(report)}\n` : `${formatTable(report)}\n`);
endAll();
process.exit(0);
