/**
 * `envoy.access_loggers.wasm`: a Proxy-Wasm module is told of each stream that ended (`proxy_on_log` of its root context), with the headers and
 * properties of the stream.
 */

import type { PropertyValue } from '../../../wasm/host/property_value.ts';
import type { LogSource } from '../../../wasm/host/root_context.ts';
import type { PluginHandle } from '../../../wasm/plugin/plugin_handle.ts';
import type { AccessLog, FormatterContext } from '../../access_log/access_log.ts';
import type { AccessLogConfigFactory } from '../../access_log/factory.ts';
import type { AccessLogFilter } from '../../access_log/filters.ts';
import { ConfigError } from '../../config/error.ts';
import type { HeaderMap } from '../../http/header_map.ts';
import type { FactoryContext } from '../../server/factory_context.ts';
import type { StreamInfo } from '../../stream_info/stream_info.ts';
import type { PluginConfigMessage } from '../common/wasm/plugin_config.ts';
import { createPlugin } from '../common/wasm/plugin_factory.ts';
import { type PropertySource, streamProperty } from '../common/wasm/properties.ts';

export const wasmAccessLogFactory: AccessLogConfigFactory = {
  typeName: 'envoy.extensions.access_loggers.wasm.v3.WasmAccessLog',
  name: 'envoy.access_loggers.wasm',
  create(config, filter, context) {
    if (!('dispatcher' in context)) throw new ConfigError('the admin interface cannot log through Wasm');
    const factoryContext = context as unknown as FactoryContext;
    const handle = createPlugin((config as { config?: PluginConfigMessage }).config, factoryContext);
    return new WasmAccessLog(handle, filter, factoryContext);
  },
};

class WasmAccessLog implements AccessLog, LogSource, PropertySource {
  readonly context: FactoryContext;
  private readonly handle: PluginHandle;
  private readonly filter: AccessLogFilter | null;
  readonly connection = null;
  readonly completed = true;
  info: StreamInfo | null = null;
  requestHeaders: HeaderMap | null = null;
  responseHeaders: HeaderMap | null = null;
  responseTrailers: HeaderMap | null = null;

  constructor(handle: PluginHandle, filter: AccessLogFilter | null, context: FactoryContext) {
    this.handle = handle;
    this.filter = filter;
    this.context = context;
  }

  log(context: FormatterContext, info: StreamInfo): void {
    if (this.filter !== null && !this.filter.evaluate(context, info)) return;
    const instance = this.handle.acquire();
    if (instance === null) return;
    this.info = info;
    this.requestHeaders = context.requestHeaders;
    this.responseHeaders = context.responseHeaders;
    this.responseTrailers = context.responseTrailers;
    instance.root.log(this);
    this.info = null;
    this.requestHeaders = null;
    this.responseHeaders = null;
    this.responseTrailers = null;
    instance.release();
  }

  property(path: string): PropertyValue {
    return streamProperty(path, this);
  }
}
