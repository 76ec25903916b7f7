/** Draws probed connections: congestion window with threshold and flight, round-trip time, delivery rate, over time. Standard SVG 1.1. */
import { PROBE_COLUMNS } from '../tcp/probe.ts';

export interface ProbedConnection {
  name: string;
  /** Each with `PROBE_COLUMNS`. */
  rows: number[][];
}

type Column = (typeof PROBE_COLUMNS)[number];

interface Panel {
  title: string;
  unit: string;
  scale: number;
  columns: { name: Column; dash: string }[];
}

const PANELS: readonly Panel[] = [
  {
    title: 'congestion window (solid), threshold (dashed), in flight (dotted)',
    unit: 'KB',
    scale: 1 / 1024,
    columns: [
      { name: 'cwnd_bytes', dash: '' },
      { name: 'ssthresh_bytes', dash: '6 4' },
      { name: 'in_flight_bytes', dash: '1 3' },
    ],
  },
  {
    title: 'round-trip time: smoothed (solid), latest (dotted)',
    unit: 'ms',
    scale: 1 / 1000,
    columns: [
      { name: 'srtt_us', dash: '' },
      { name: 'rtt_us', dash: '1 3' },
    ],
  },
  { title: 'delivery rate', unit: 'Mbit/s', scale: 1e-6, columns: [{ name: 'delivery_rate_bps', dash: '' }] },
];

const WIDTH = 900;
const HEIGHT = 220;
const LEFT = 70;
const RIGHT = 20;
const TOP = 34;
const BOTTOM = 30;
const COLOURS = ['#1f5fa8', '#c2452d', '#2d8a4e', '#8a5a9e', '#b5861c', '#3d8f99', '#7a7a7a', '#d06c9c'];
const MAX_LEGEND = 12;

export function drawProbe(connections: readonly ProbedConnection[]): string {
  const drawn = connections.filter(({ rows }) => rows.length > 0);
  const times = drawn.flatMap(({ rows }) => [rows[0][0], rows[rows.length - 1][0]]);
  const start = Math.min(...times);
  const span = Math.max(Math.max(...times) - start, 1);
  const legend = Math.min(drawn.length, MAX_LEGEND);
  const height = PANELS.length * (HEIGHT + TOP + BOTTOM) + 16 * legend + 20;
  const parts = PANELS.map((panel, i) => drawPanel(panel, drawn, start, span, i * (HEIGHT + TOP + BOTTOM)));
  const names = drawn.slice(0, legend).map(({ name }, i) => {
    const y = PANELS.length * (HEIGHT + TOP + BOTTOM) + 16 * i + 12;
    return `<text x="${LEFT}" y="${y}" fill="${colour(i)}">${escapeXml(name)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
${[...parts, ...names].join('\n')}
</svg>
`;
}

function drawPanel(panel: Panel, connections: readonly ProbedConnection[], start: number, span: number, top: number): string {
  const indices = panel.columns.map(({ name }) => PROBE_COLUMNS.indexOf(name));
  let most = 0;
  for (const { rows } of connections)
    for (const row of rows) for (const i of indices) most = Math.max(most, row[i] * panel.scale);
  const limit = niceCeiling(most);
  const x = (timeUs: number): string => (LEFT + ((timeUs - start) / span) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (value: number): string => (top + TOP + HEIGHT - (value / limit) * HEIGHT).toFixed(1);
  const lines = connections.flatMap(({ rows }, k) =>
    panel.columns.map(({ dash }, c) => {
      const points = rows.filter((row) => row[indices[c]] > 0).map((row) => `${x(row[0])},${y(row[indices[c]] * panel.scale)}`);
      const dashes = dash === '' ? '' : ` stroke-dasharray="${dash}"`;
      return `<polyline fill="none" stroke="${colour(k)}" stroke-width="1.3"${dashes} points="${points.join(' ')}"/>`;
    }),
  );
  const grid = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const at = y(part * limit);
    return `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" stroke="#ddd"/><text x="${LEFT - 6}" y="${at}" text-anchor="end" dominant-baseline="middle">${tidy(part * limit)}</text>`;
  });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(
    (part) =>
      `<text x="${x(start + part * span)}" y="${top + TOP + HEIGHT + 16}" text-anchor="middle">${tidy((part * span) / 1e6)} s</text>`,
  );
  const title = `<text x="${LEFT}" y="${top + TOP - 10}" font-weight="bold">${panel.title}, ${panel.unit}</text>`;
  return [title, ...grid, ...ticks, ...lines].join('\n');
}

/** 1, 2 or 5 times a power of ten, not below `value`. */
function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * (value <= power ? 1 : value <= 2 * power ? 2 : value <= 5 * power ? 5 : 10);
}

const tidy = (value: number): string => String(Number(value.toPrecision(3)));
const colour = (i: number): string => COLOURS[i % COLOURS.length];
const escapeXml = (text: string): string => text.replace(/[<>&]/g, (c) => ({ '<': '&lt;', '>': '&gt;', '&': '&amp;' })[c]!);
