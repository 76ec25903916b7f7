/** A proxy with Wasm plugins in front of an echoing upstream. */

import { bootstrap, cluster, fileLog, http, listener, route, WHY } from '../../../interop/support/config.ts';
import { type HttpUpstream, httpUpstream } from '../../../interop/support/upstreams.ts';
import { type Json, type ProxyProcess, startProxy } from '../../../support/proxy_process.ts';

const TYPES = 'type.googleapis.com/';

/** A PluginConfig with the module inline. */
export function plugin(code: Uint8Array, extra: Json = {}, vm: Json = {}): Json {
  return {
    name: 'test',
    ...extra,
    vm_config: {
      runtime: 'envoy.wasm.runtime.v8',
      code: { local: { inline_bytes: Buffer.from(code).toString('base64') } },
      ...vm,
    },
  };
}

export function text(value: string): Json {
  return { '@type': `${TYPES}google.protobuf.StringValue`, value };
}

export function wasmFilter(config: Json, name = 'wasm'): Json {
  return { name, typed_config: { '@type': `${TYPES}envoy.extensions.filters.http.wasm.v3.Wasm`, config } };
}

export const ROUTER = { name: 'router', typed_config: { '@type': `${TYPES}envoy.extensions.filters.http.router.v3.Router` } };

export interface Rig {
  readonly proxy: ProxyProcess;
  readonly upstream: HttpUpstream;
  close(): Promise<void>;
}

/** Listeners by name, each with these filters before the router. Access log `NAME.log`. */
export async function startRig(
  chains: Record<string, Json[]>,
  extra: { hcm?: Json; args?: string[]; concurrency?: number } = {},
): Promise<Rig> {
  const upstream = await httpUpstream();
  const routes = [route('/', 'node')];
  const listeners = Object.entries(chains).map(([name, filters]) =>
    listener(name, [
      http(name, routes, { http_filters: [...filters, ROUTER], access_log: [fileLog(`${name}.log`, WHY)], ...extra.hcm }),
    ]),
  );
  const proxy = await startProxy({
    config: bootstrap(listeners, [cluster('node', [upstream.port])]),
    args: extra.args,
    concurrency: extra.concurrency,
  });
  return {
    proxy,
    upstream,
    close: async () => {
      await proxy.stop();
      await upstream.close();
    },
  };
}
