/** `envoy.filters.http.router`: the terminal filter, from its message. */
import { type AccessLogConfig, createAccessLogs } from '../../../access_log/factory.ts';
import { ConfigError } from '../../../config/error.ts';
import type { Router as RouterMessage } from '../../../config/types.gen.ts';
import { AsyncClient } from '../../../http/async_client.ts';
import { Router } from '../../../http/router/router.ts';
import { RouterConfig, RouterStats } from '../../../http/router/router_config.ts';
import { STRICT_CHECKABLE } from '../../../http/router/strict_headers.ts';
import type { HttpFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';

export const factory: HttpFilterConfigFactory = {
  typeName: 'envoy.extensions.filters.http.router.v3.Router',
  name: 'envoy.filters.http.router',
  isTerminal: () => true,
  create(config: TypedConfig, statPrefix, context) {
    const message = config as unknown as Partial<RouterMessage>;
    const strict = (message.strictCheckHeaders ?? []).map((name, i) => {
      const lower = name.toLowerCase();
      if (!STRICT_CHECKABLE.includes(lower)) {
        throw new ConfigError(`must be one of ${STRICT_CHECKABLE.join(', ')}, got '${name}'`, {
          path: `strict_check_headers[${i}]`,
        });
      }
      return lower;
    });
    const routerConfig = new RouterConfig({
      clusterManager: context.clusterManager,
      runtime: context.runtime,
      random: () => context.random(),
      overload: context.overload,
      startChildSpan: message.startChildSpan ?? false,
      mirrorClient: () => AsyncClient.of(context),
      stats: new RouterStats(context.scope.scope(statPrefix)),
      dynamicStats: message.dynamicStats ?? true,
      suppressEnvoyHeaders: message.suppressEnvoyHeaders ?? false,
      respectExpectedRqTimeout: message.respectExpectedRqTimeout ?? false,
      strictCheckHeaders: strict,
      upstreamLogs: createAccessLogs(message.upstreamLog as unknown as AccessLogConfig[] | undefined, context, 'upstream_log'),
    });
    return (callbacks) => callbacks.addStreamDecoderFilter(new Router(routerConfig));
  },
};
