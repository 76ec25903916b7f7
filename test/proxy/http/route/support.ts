/** Requests and tables for the tests of routing. */
import { Slab } from '../../../../src/core/buffer/slab.ts';
import type { FormatterContext } from '../../../../src/proxy/access_log/access_log.ts';
import { ConfigError } from '../../../../src/proxy/config/error.ts';
import { HeaderMap } from '../../../../src/proxy/http/header_map.ts';
import type { RouteConfig, RouteConfigurationConfig } from '../../../../src/proxy/http/route/config_types.ts';
import type { HeaderFormatter } from '../../../../src/proxy/http/route/header_parser.ts';
import type { Route, RouteEntry, RouteTable } from '../../../../src/proxy/http/route/route.ts';
import type { RouteTableDeps } from '../../../../src/proxy/http/route/route_config.ts';
import { compileRouteTable } from '../../../../src/proxy/http/route/route_config.ts';
import { createRuntime } from '../../../../src/proxy/runtime/runtime_impl.ts';
import { StreamInfo } from '../../../../src/proxy/stream_info/stream_info.ts';

export const slab = new Slab(8);

/** Headers whose values lie in the slab, as a codec leaves them. */
export function headersInSlab(entries: Iterable<readonly [string, string]>): HeaderMap {
  const map = new HeaderMap(slab);
  const block = slab.allocate();
  map.holdBlock(block);
  slab.release(block);
  let at = block;
  for (const [name, value] of entries) {
    const nameStart = at;
    for (const c of name) slab.u8[at++] = c.charCodeAt(0);
    const valueStart = at;
    for (const c of value) slab.u8[at++] = c.charCodeAt(0);
    map.addBytes(nameStart, name.length, valueStart, value.length, false);
  }
  return map;
}

export type Extra = Readonly<Record<string, string>>;

function requestEntries(authority: string, path: string, extra: Extra): [string, string][] {
  const base = {
    ':method': 'GET',
    ':authority': authority,
    ':path': path,
    ':scheme': 'http',
    'x-forwarded-proto': 'http',
    ...extra,
  };
  return Object.entries(base);
}

/** A request as text. */
export function request(authority: string, path: string, extra: Extra = {}): HeaderMap {
  return HeaderMap.of(slab, requestEntries(authority, path, extra));
}

/** Formats `%REQ(name)%` and nothing else, between literal text. */
export function compileFormat(text: string): HeaderFormatter {
  const parts = text.split(/%([A-Z_]+(?:\([^)]*\))?)%/);
  for (let i = 1; i < parts.length; i += 2) {
    if (!/^REQ\(/.test(parts[i])) throw new ConfigError(`Not supported field in StreamInfo: ${parts[i]}`);
  }
  return {
    format: (context) =>
      parts
        .map((part, i) => (i % 2 === 0 ? part : (context.requestHeaders?.get(part.slice(4, -1).toLowerCase()) ?? '')))
        .join(''),
  };
}

export function deps(overrides: Partial<RouteTableDeps> = {}): RouteTableDeps {
  return {
    runtime: createRuntime([]),
    createPerRouteConfig: () => undefined,
    clusterExists: (name) => name !== 'missing',
    compileFormat,
    ...overrides,
  };
}

export function table(config: RouteConfigurationConfig, overrides: Partial<RouteTableDeps> = {}): RouteTable {
  return compileRouteTable(config, deps(overrides));
}

/** A table of one virtual host `*` with these routes. */
export function tableOf(...routes: RouteConfig[]): RouteTable {
  return table({ name: 'local', virtualHosts: [{ name: 'all', domains: ['*'], routes }] });
}

export function context(headers: HeaderMap): FormatterContext {
  return { requestHeaders: headers, responseHeaders: null, responseTrailers: null, localReplyBody: '', accessLogType: 'NotSet' };
}

/** The route of a request; the same whether its headers lie in the slab or are text. */
export function routeOf(routes: RouteTable, authority: string, path: string, extra: Extra = {}, random = 0): Route | null {
  const info = new StreamInfo();
  const text = routes.route(request(authority, path, extra), info, random);
  for (let repeat = 0; repeat < 2; repeat++) {
    const headers = headersInSlab(requestEntries(authority, path, extra));
    const bytes = routes.route(headers, info, random);
    headers.release();
    if (bytes?.name !== text?.name || bytes?.routeEntry?.clusterName !== text?.routeEntry?.clusterName) {
      throw new Error(`routing by bytes gave ${bytes?.name}, by text ${text?.name}`);
    }
  }
  return text;
}

export function clusterOf(routes: RouteTable, authority: string, path: string, extra: Extra = {}, random = 0): string | null {
  return routeOf(routes, authority, path, extra, random)?.routeEntry?.clusterName ?? null;
}

export function entryOf(route: Route | null): RouteEntry {
  if (route?.routeEntry == null) throw new Error('no route entry');
  return route.routeEntry;
}

/** What goes upstream for a request. */
export function finalized(routes: RouteTable, headers: HeaderMap, insertOriginals = true): Record<string, string> {
  const info = new StreamInfo();
  entryOf(routes.route(headers, info, 0)).finalizeRequestHeaders(headers, context(headers), info, insertOriginals);
  return headers.toObject();
}

/** The ConfigError that a configuration gives. */
export function configError(act: () => unknown): ConfigError {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('expected a ConfigError');
}
