/**
 * `envoy.filters.http.wasm`: a Proxy-Wasm module (ABI 0.1.0, 0.2.0, 0.2.1) as a filter. On a route, virtual host or cluster weight the
 * same message names another plugin for the streams that it takes (new code for some of the traffic).
 *
 * Runtimes: `envoy.wasm.runtime.v8`, `envoy.wasm.runtime.null` (TypeScript), `sluice.wasm.runtime.isolated` (a thread for the module; then
 * also for those of routes).
 */
import { ConfigError } from '../../../config/error.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import type { PluginConfigMessage } from '../../common/wasm/plugin_config.ts';
import { createIsolatedPlugin, createPlugin, isIsolated } from '../../common/wasm/plugin_factory.ts';
import { WasmFilter } from './filter.ts';
import { IsolatedFilter } from './isolated_filter.ts';

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.wasm.v3.Wasm',
  name: 'envoy.filters.http.wasm',
  isTerminal: () => false,
  create(message: TypedConfig, _statPrefix, context) {
    const { config } = message as { config?: PluginConfigMessage };
    if (isIsolated(config)) {
      const handle = createIsolatedPlugin(config, context);
      return (callbacks) => callbacks.addStreamFilter(new IsolatedFilter(handle, context));
    }
    const handle = createPlugin(config, context);
    return (callbacks) => callbacks.addStreamFilter(new WasmFilter(handle, context));
  },
  createRouteSpecificConfig(message: TypedConfig, context, filterConfig) {
    const { config } = message as { config?: PluginConfigMessage };
    const isolated = isIsolated(config);
    if (isIsolated((filterConfig as { config?: PluginConfigMessage } | undefined)?.config) !== isolated) {
      const other = isolated ? 'in the worker' : 'in a thread of its own';
      throw new ConfigError(`the filter's own plugin runs ${other}: one of a route must, too`, {
        path: 'config.vm_config.runtime',
      });
    }
    return isolated ? createIsolatedPlugin(config, context) : createPlugin(config, context);
  },
};
