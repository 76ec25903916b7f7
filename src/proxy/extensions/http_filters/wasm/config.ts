/**
 * `envoy.filters.http.wasm`: a Proxy-Wasm module (ABI 0.1.0, 0.2.0, 0.2.1) as a filter. On a route, virtual host or cluster weight the
 * same message names another plugin for the streams that it takes (new code for some of the traffic).
 */
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import type { PluginConfigMessage } from '../../common/wasm/plugin_config.ts';
import { createPlugin } from '../../common/wasm/plugin_factory.ts';
import { WasmFilter } from './filter.ts';

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.wasm.v3.Wasm',
  name: 'envoy.filters.http.wasm',
  isTerminal: () => false,
  create(config: TypedConfig, _statPrefix, context) {
    const handle = createPlugin((config as { config?: PluginConfigMessage }).config, context);
    return (callbacks) => callbacks.addStreamFilter(new WasmFilter(handle, context));
  },
  createRouteSpecificConfig: (config: TypedConfig, context) =>
    createPlugin((config as { config?: PluginConfigMessage }).config, context),
};
