/** The shape of a bench's result, and its table. */
import { cpus, release } from 'node:os';

export interface Row {
  case: string;
  unit: string;
  better: 'lower' | 'higher';
  ours: number | null;
  peers: Record<string, number | null>;
  target?: { peer: string; ratio: number };
  met?: boolean | null;
  /** Why a figure is missing, or what limits it. */
  note?: string;
}

export interface Report {
  bench: string;
  machine: string;
  rows: Row[];
}

/** A row with `met` computed: ours / peer at most (lower) or at least (higher) `ratio`. */
export function row(fields: Omit<Row, 'met'>): Row {
  const { ours, target, peers, better } = fields;
  const peer = target === undefined ? null : peers[target.peer];
  const met =
    target === undefined || ours === null || peer === null || peer === undefined
      ? null
      : better === 'lower'
        ? ours / peer <= target.ratio
        : ours / peer >= target.ratio;
  return { ...fields, met };
}

export function machine(): string {
  return `${cpus().length} x ${cpus()[0]?.model ?? process.arch}, Linux ${release()}, Node ${process.version}`;
}

export function formatTable(report: Report): string {
  const peers = [...new Set(report.rows.flatMap((r) => Object.keys(r.peers)))];
  const header = ['case', 'unit', 'sluice', ...peers, 'ratio', 'target', 'met'];
  const lines = report.rows.map((r) => {
    const peer = r.target === undefined ? null : r.peers[r.target.peer];
    const ratio = r.ours === null || !peer ? '' : (r.ours / peer).toFixed(2);
    const target = r.target === undefined ? '' : `${r.better === 'lower' ? '<=' : '>='} ${r.target.ratio} x ${r.target.peer}`;
    const met = r.met === null || r.met === undefined ? '' : r.met ? 'yes' : 'NO';
    return [r.case, r.unit, number(r.ours), ...peers.map((p) => number(r.peers[p] ?? null)), ratio, target, met];
  });
  const widths = header.map((h, i) => Math.max(h.length, ...lines.map((l) => l[i].length)));
  const format = (cells: string[]): string =>
    cells.map((c, i) => (i === 0 ? c.padEnd(widths[i]) : c.padStart(widths[i]))).join('  ');
  const notes = report.rows.filter((r) => r.note).map((r) => `${r.case}: ${r.note}`);
  return [`${report.bench} on ${report.machine}`, format(header), ...lines.map(format), ...notes].join('\n');
}

function number(value: number | null): string {
  if (value === null) return '-';
  return value >= 1000 ? value.toFixed(0) : value >= 100 ? value.toFixed(1) : value.toFixed(2);
}
