/**
 * What a Proxy-Wasm module adds to a proxied HTTP/1.1 request: CPU per request of the proxy with it, less that of the same proxy without
 * filters in the same run. The header module reads one request header and adds another; the body module looks at every response byte.
 * Memory after the load, for instances that must not grow, is told with the header module.
 */
import { readFileSync } from 'node:fs';
import { costOfFilters } from '../lib/filter_cost.ts';
import { type Proxy as Peer, portAt, startSluice, startUpstream } from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';
import { type MODULES, moduleBase64 } from './modules.ts';

interface Variant {
  readonly name: string;
  readonly path: string;
  readonly module: keyof typeof MODULES;
  readonly count?: number;
  readonly runtime?: string;
  /** Microseconds. */
  readonly target?: number;
}

const VARIANTS: readonly Variant[] = [
  { name: 'header module', path: '/small', module: 'header', target: 2 },
  { name: 'ten header modules', path: '/small', module: 'header', count: 10 },
  { name: 'body module, 10 KB', path: '/10k', module: 'body' },
  { name: 'header module in a thread of its own', path: '/small', module: 'header', runtime: 'sluice.wasm.runtime.isolated' },
];

export async function run(options: BenchOptions): Promise<Row[]> {
  await startUpstream();
  const plain = await startSluice({ mode: 'http', accessLog: false, basePort: portAt(1) });
  const rows: Row[] = [];
  for (const [i, variant] of VARIANTS.entries()) {
    const code = await moduleBase64(variant.module);
    const filtered = await startSluice({
      mode: 'http',
      accessLog: false,
      basePort: portAt(2 + i),
      httpFilters: Array.from({ length: variant.count ?? 1 }, (_, at) => filter(variant, code, at)),
    });
    const [without, withModule] = await costOfFilters(plain, filtered, variant.path, options);
    rows.push(
      row({
        case: `${variant.name}: added CPU per request`,
        unit: 'us',
        better: 'lower',
        ours: withModule - without,
        peers: variant.target === undefined ? {} : { target: variant.target },
        ...(variant.target === undefined ? {} : { target: { peer: 'target', ratio: 1 } }),
        note: `${withModule.toFixed(2)} with, ${without.toFixed(2)} without`,
      }),
    );
    if (i === 0) rows.push(memory(plain, filtered));
    filtered.process.kill('SIGINT');
  }
  return rows;
}

/** Each is a plugin of its own in a VM of its own. */
function filter({ module, runtime = 'envoy.wasm.runtime.v8' }: Variant, code: string, at: number): object {
  return {
    name: `${module}_${at}`,
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm',
      config: {
        name: `${module}_${at}`,
        vm_config: { vm_id: `${module}_${at}`, runtime, code: { local: { inline_bytes: code } } },
      },
    },
  };
}

function memory(plain: Peer, filtered: Peer): Row {
  const rss = (peer: Peer): number =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${peer.process.pid}/status`, 'utf8'))![1]) / 1024;
  return row({
    case: 'header module: resident memory after the load',
    unit: 'MB',
    better: 'lower',
    ours: rss(filtered),
    peers: { 'without filters': rss(plain) },
  });
}
