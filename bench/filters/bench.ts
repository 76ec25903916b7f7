/**
 * What a filter in TypeScript adds to a proxied HTTP/1.1 request: CPU per request of the proxy with it, less that of the same proxy without
 * filters in the same run. The header filter reads one request header and adds another; the body filter looks at every response byte.
 */
import { costOfFilters } from '../lib/filter_cost.ts';
import { portAt, startSluice, startUpstream } from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';

const MODULE = (name: string): string => new URL(`./${name}.ts`, import.meta.url).pathname;

interface Variant {
  readonly name: string;
  readonly path: string;
  readonly filters: readonly string[];
  /** Microseconds. */
  readonly target?: number;
}

const VARIANTS: readonly Variant[] = [
  { name: 'header filter', path: '/small', filters: ['header'], target: 0.7 },
  { name: 'header filter with a reused object', path: '/small', filters: ['header_reused'] },
  { name: 'ten header filters', path: '/small', filters: Array<string>(10).fill('header') },
  { name: 'body filter, 10 KB', path: '/10k', filters: ['body'] },
  { name: 'async header filter', path: '/small', filters: ['header_async'] },
];

export async function run(options: BenchOptions): Promise<Row[]> {
  await startUpstream();
  const plain = await startSluice({ mode: 'http', accessLog: false, basePort: portAt(1) });
  const rows: Row[] = [];
  for (const [i, variant] of VARIANTS.entries()) {
    const filtered = await startSluice({
      mode: 'http',
      accessLog: false,
      basePort: portAt(2 + i),
      httpFilters: variant.filters.map((name, at) => ({
        name: `${name}_${at}`,
        typed_config: {
          '@type': 'type.googleapis.com/sluice.extensions.filters.http.typescript.v1.TypeScript',
          module: MODULE(name),
        },
      })),
    });
    const [without, withFilter] = await costOfFilters(plain, filtered, variant.path, options);
    const cost = withFilter - without;
    rows.push(
      row({
        case: `${variant.name}: added CPU per request`,
        unit: 'us',
        better: 'lower',
        ours: cost,
        peers: variant.target === undefined ? {} : { target: variant.target },
        ...(variant.target === undefined ? {} : { target: { peer: 'target', ratio: 1 } }),
        note: `${withFilter.toFixed(2)} with, ${without.toFixed(2)} without`,
      }),
    );
    filtered.process.kill('SIGINT');
  }
  return rows;
}
