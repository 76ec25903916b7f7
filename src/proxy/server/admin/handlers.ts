/** The admin endpoints, one table (Envoy: docs "Administration interface"). */
import { type RenderOptions, renderJson, renderPrometheus, renderText } from '../../../core/stats/render.ts';
import type { AdminContext, NamedDump } from './context.ts';
import { adminPage } from './page.ts';
import { pluginJson, pluginLines, pluginText } from './wasm_status.ts';

export interface AdminResponse {
  status: number;
  contentType: string;
  body: string;
}

export interface AdminHandler {
  path: string;
  help: string;
  /** Needs POST. */
  mutates: boolean;
  /** Query parameters it knows; `*`: any. */
  params: readonly string[];
  run(context: AdminContext, query: URLSearchParams): AdminResponse | Promise<AdminResponse>;
}

export function text(body: string, status = 200): AdminResponse {
  return { status, contentType: 'text/plain; charset=UTF-8', body };
}

function json(value: unknown, status = 200): AdminResponse {
  return { status, contentType: 'application/json', body: `${JSON.stringify(value, null, 1)}\n` };
}

const OK = 'OK\n';

/** One line for each endpoint. */
export function helpText(): string {
  return ADMIN_HANDLERS.map((h) => `  ${h.path}${h.mutates ? ' (POST)' : ''}: ${h.help}\n`).join('');
}

export const ADMIN_HANDLERS: readonly AdminHandler[] = [
  {
    path: '/',
    help: 'Admin home page',
    mutates: false,
    params: [],
    run: (context) => ({ status: 200, contentType: 'text/html; charset=UTF-8', body: adminPage(context, ADMIN_HANDLERS) }),
  },
  { path: '/certs', help: 'print certs on machine', mutates: false, params: [], run: () => json({ certificates: [] }) },
  {
    path: '/clusters',
    help: 'upstream cluster status',
    mutates: false,
    params: ['format'],
    run: async (context, query) => {
      const format = query.get('format') ?? 'text';
      if (format === 'json') return json(await context.clustersJson());
      return format === 'text' ? text(await context.clustersText()) : text(`format must be text or json, not '${format}'\n`, 400);
    },
  },
  {
    path: '/config_dump',
    help: 'dump current configuration',
    mutates: false,
    params: ['resource', 'mask', 'name_regex', 'include_eds'],
    run: configDump,
  },
  {
    path: '/connections',
    help: 'print open connections with the socket interface that each uses (not in Envoy)',
    mutates: false,
    params: ['format', 'limit'],
    run: connections,
  },
  {
    path: '/drain_listeners',
    help: 'drain listeners',
    mutates: true,
    params: ['graceful', 'skip_exit', 'inboundonly'],
    run: drainListeners,
  },
  {
    path: '/healthcheck/fail',
    help: 'cause the server to fail health checks',
    mutates: true,
    params: [],
    run: (context) => {
      context.failHealthCheck(true);
      return text(OK);
    },
  },
  {
    path: '/healthcheck/ok',
    help: 'cause the server to pass health checks',
    mutates: true,
    params: [],
    run: (context) => {
      context.failHealthCheck(false);
      return text(OK);
    },
  },
  {
    path: '/help',
    help: 'print out list of admin commands',
    mutates: false,
    params: [],
    run: () => text(`admin commands are:\n${helpText()}`),
  },
  {
    path: '/hot_restart_version',
    help: 'print the hot restart compatibility version',
    mutates: false,
    params: [],
    run: () => text('disabled'),
  },
  {
    path: '/listeners',
    help: 'print listener info',
    mutates: false,
    params: ['format'],
    run: (context, query) => {
      const listeners = context.listeners();
      if (query.get('format') === 'json') {
        return json({
          listener_statuses: listeners.map((l) => ({
            name: l.name,
            local_address: addressJson(l.addresses[0]),
            additional_local_addresses: l.addresses.slice(1).map(addressJson),
          })),
        });
      }
      return text(listeners.flatMap((l) => l.addresses.map((a) => `${l.name}::${a}\n`)).join(''));
    },
  },
  {
    path: '/init_dump',
    help: 'print what the server waits for: names of resources that have not come',
    mutates: false,
    params: [],
    run: (context) => json({ unready_targets_dumps: context.dynamicJson().unready }),
  },
  { path: '/logging', help: 'query/change logging levels', mutates: true, params: ['*'], run: logging },
  { path: '/memory', help: 'print current allocation/heap usage', mutates: false, params: [], run: memory },
  {
    path: '/quitquitquit',
    help: 'exit the server',
    mutates: true,
    params: [],
    run: (context) => {
      context.quit();
      return text(OK);
    },
  },
  {
    path: '/ready',
    help: 'print server state, return 200 if LIVE, otherwise return 503',
    mutates: false,
    params: [],
    run: (context) => text(`${context.state()}\n`, context.state() === 'LIVE' ? 200 : 503),
  },
  {
    path: '/reload',
    help: 'read the configuration file again and change what differs; what SIGHUP does (not in Envoy)',
    mutates: true,
    params: [],
    run: async (context) => {
      const { ok, text: body } = await context.reload();
      return text(`${body}\n`, ok ? 200 : 400);
    },
  },
  {
    path: '/reopen_logs',
    help: 'reopen access logs',
    mutates: true,
    params: [],
    run: (context) => {
      context.reopenLogs();
      return text(OK);
    },
  },
  {
    path: '/reset_counters',
    help: 'reset all counters to zero',
    mutates: true,
    params: [],
    run: (context) => {
      context.resetCounters();
      return text(OK);
    },
  },
  { path: '/runtime', help: 'print runtime values', mutates: false, params: [], run: (context) => json(context.runtimeJson()) },
  {
    path: '/runtime_modify',
    help: 'modify runtime values: ?key=value, an empty value removes the key',
    mutates: true,
    params: ['*'],
    run: (context, query) => {
      const error = context.modifyRuntime(Object.fromEntries(query));
      return error === null ? text(OK) : text(`${error}\n`, 400);
    },
  },
  {
    path: '/server_info',
    help: 'print server version/status information',
    mutates: false,
    params: [],
    run: (context) => json(context.serverInfo()),
  },
  {
    path: '/stats',
    help: 'print server stats',
    mutates: false,
    params: ['usedonly', 'type', 'filter', 'format', 'pretty', 'histogram_buckets', 'text_readouts', 'hidden'],
    run: stats,
  },
  {
    path: '/stats/prometheus',
    help: 'print server stats in prometheus format',
    mutates: false,
    params: ['usedonly', 'filter', 'text_readouts', 'histogram_buckets', 'type'],
    run: (context, query) => stats(context, new URLSearchParams([...query, ['format', 'prometheus']])),
  },
  {
    path: '/wasm',
    help: 'print Wasm plugins and isolated filters: code, VM, state, CPU time, memory, failures (not in Envoy)',
    mutates: false,
    params: ['format'],
    run: wasm,
  },
];

async function wasm(context: AdminContext, query: URLSearchParams): Promise<AdminResponse> {
  const lines = pluginLines(await context.plugins(), context.stats);
  const format = query.get('format') ?? 'text';
  if (format === 'json') return json({ plugins: lines.map(pluginJson) });
  return format === 'text' ? text(lines.map(pluginText).join('')) : text(`format must be text or json, not '${format}'\n`, 400);
}

function stats(context: AdminContext, query: URLSearchParams): AdminResponse {
  const filter = query.get('filter');
  let pattern: RegExp | undefined;
  try {
    if (filter !== null) pattern = new RegExp(filter);
  } catch {
    return text(`Invalid re2 regex: ${filter}\n`, 400);
  }
  const type = query.get('type');
  const types = ['Counters', 'Gauges', 'Histograms', 'TextReadouts', 'All'];
  if (type !== null && !types.includes(type))
    return text(`invalid &type= param: ${type}; it is one of ${types.join(', ')}\n`, 400);
  const buckets = query.get('histogram_buckets');
  const modes = ['cumulative', 'disjoint', 'detailed', 'summary', 'none'];
  if (buckets !== null && !modes.includes(buckets))
    return text(`invalid histogram_buckets param: ${buckets}; it is one of ${modes.join(', ')}\n`, 400);
  const options: RenderOptions = {
    usedOnly: query.has('usedonly'),
    ...(type !== null && type !== 'All' && { type: type as RenderOptions['type'] }),
    ...(pattern && { filter: pattern }),
    ...(buckets !== null && buckets !== 'none' && { histogramBuckets: buckets as RenderOptions['histogramBuckets'] }),
    textReadouts: query.has('text_readouts'),
    pretty: query.has('pretty'),
  };
  const format = query.get('format') ?? 'text';
  if (format === 'prometheus')
    return {
      status: 200,
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      body: renderPrometheus(context.stats, options),
    };
  if (format === 'json') return { status: 200, contentType: 'application/json', body: renderJson(context.stats, options) };
  if (format === 'text') return text(renderText(context.stats, options));
  return text(`usage: /stats?format=text|json|prometheus, not '${format}'\n`, 400);
}

const DEFAULT_CONNECTIONS = 1000;

async function connections(context: AdminContext, query: URLSearchParams): Promise<AdminResponse> {
  const limit = query.get('limit') ?? String(DEFAULT_CONNECTIONS);
  if (!/^\d{1,6}$/.test(limit)) return text(`limit must be a number of connections, not '${limit}'\n`, 400);
  const { list, total } = await context.connections(Number(limit));
  if (query.get('format') === 'json') {
    const statuses = list.map(({ socketInterface, ...rest }) => ({ ...rest, socket_interface: socketInterface }));
    return json({ total, connections: statuses });
  }
  const lines = list.map(
    (one) =>
      `${one.side}::${one.owner}::${one.socketInterface}::${one.local}::${one.remote}::${one.state}::worker_${one.worker}::${one.id}\n`,
  );
  return text(`${lines.join('')}${total} connections\n`);
}

function configDump(context: AdminContext, query: URLSearchParams): AdminResponse {
  if (query.has('mask')) return text('the mask parameter is not supported\n', 400);
  const bootstrap = context.bootstrapJson() as { static_resources?: { clusters?: NamedResource[]; listeners?: NamedResource[] } };
  let names: RegExp | null = null;
  try {
    if (query.has('name_regex')) names = new RegExp(query.get('name_regex')!);
  } catch {
    return text(`Invalid re2 regex: ${query.get('name_regex')}\n`, 400);
  }
  const keep = (resource: NamedResource): boolean => names === null || names.test(resource.name ?? '');
  const updated = new Date(Date.now() - context.uptimeMs()).toISOString();
  const admin = 'type.googleapis.com/envoy.admin.v3.';
  const clusters = (bootstrap.static_resources?.clusters ?? []).filter(keep).map((cluster) => ({
    cluster: { '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster', ...cluster },
    last_updated: updated,
  }));
  const listeners = (bootstrap.static_resources?.listeners ?? []).filter(keep).map((listener) => ({
    listener: { '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener', ...listener },
    last_updated: updated,
  }));
  const routes = (bootstrap.static_resources?.listeners ?? [])
    .flatMap((listener) => routeConfigs(listener))
    .filter(keep)
    .map((route) => ({
      route_config: { '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration', ...route },
      last_updated: updated,
    }));
  const dynamic = context.dynamicJson();
  const section = <S extends object>(sections: S): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(sections).map(([key, value]) => [
        key,
        Array.isArray(value) ? (value as NamedDump[]).filter(keep).map(({ json }) => json) : value,
      ]),
    );
  const resource = query.get('resource');
  if (resource !== null) {
    const byResource: Record<string, unknown[]> = {
      ...(section({ ...dynamic.clusters, ...dynamic.listeners, ...dynamic.routes, ...dynamic.endpoints }) as Record<
        string,
        unknown[]
      >),
      static_clusters: clusters,
      static_listeners: listeners,
      static_route_configs: routes,
    };
    const configs = byResource[resource];
    if (configs === undefined)
      return text(`${resource} not found in config dump; there are ${Object.keys(byResource).join(', ')}\n`, 404);
    return json({ configs });
  }
  return json({
    configs: [
      { '@type': `${admin}BootstrapConfigDump`, bootstrap, last_updated: updated },
      { '@type': `${admin}ClustersConfigDump`, ...section(dynamic.clusters), static_clusters: clusters },
      { '@type': `${admin}ListenersConfigDump`, ...section(dynamic.listeners), static_listeners: listeners },
      { '@type': `${admin}RoutesConfigDump`, static_route_configs: routes, ...section(dynamic.routes) },
      ...(query.has('include_eds') ? [{ '@type': `${admin}EndpointsConfigDump`, ...section(dynamic.endpoints) }] : []),
    ],
  });
}

interface NamedResource {
  name?: string;
}

function routeConfigs(listener: unknown): NamedResource[] {
  if (Array.isArray(listener)) return listener.flatMap((item) => routeConfigs(item));
  if (listener === null || typeof listener !== 'object') return [];
  return Object.entries(listener).flatMap(([key, value]) =>
    key === 'route_config' ? [value as NamedResource] : routeConfigs(value),
  );
}

function drainListeners(context: AdminContext, query: URLSearchParams): AdminResponse {
  const graceful = query.has('graceful');
  const skipExit = query.has('skip_exit');
  if (skipExit && !graceful) return text('skip_exit requires graceful\n', 400);
  context.drainListeners({ graceful, skipExit, inboundOnly: query.has('inboundonly') });
  return text(OK);
}

function logging(context: AdminContext, query: URLSearchParams): AdminResponse {
  const changes: [string | undefined, string][] = [];
  for (const [name, value] of query) {
    if (name === 'level') changes.push([undefined, value]);
    else if (name === 'paths') for (const entry of value.split(',')) changes.push(entry.split(':') as [string, string]);
    else changes.push([name, value]);
  }
  for (const [component, level] of changes) {
    const error = context.setLogLevel(component, level ?? '');
    if (error !== null) return text(`error: ${error}\n`, 400);
  }
  const levels = Object.entries(context.logLevels());
  return text(`active loggers:\n${levels.map(([name, level]) => `  ${name}: ${level}\n`).join('')}`);
}

function memory(): AdminResponse {
  const use = process.memoryUsage();
  return json({
    allocated: String(use.heapUsed),
    heap_size: String(use.heapTotal),
    pageheap_unmapped: '0',
    pageheap_free: String(use.heapTotal - use.heapUsed),
    total_thread_cache: '0',
    total_physical_bytes: String(use.rss),
  });
}

function addressJson(address: string | undefined): Record<string, unknown> {
  if (address === undefined) return {};
  const match = /^(?:\[(.*)\]|([^[\]/]*)):(\d+)$/.exec(address);
  if (match === null) return { pipe: { path: address } };
  return { socket_address: { address: match[1] ?? match[2], port_value: Number(match[3]) } };
}
