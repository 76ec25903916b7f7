/**
 * `sluice.filters.network.typescript`: a network filter that is a class in a TypeScript (or JavaScript) file beside the configuration.
 * Sluice's own, not Envoy's; the guide is docs/filters.md.
 */
import type { Connection } from '../../../network/connection.ts';
import type { NetworkFilterConfigFactory, TypedConfig } from '../../../server/factory_context.ts';
import { deadlineOf, type ModuleMessage, moduleSettings, scriptsOf, useModule } from '../../../typescript/configured.ts';
import { NetworkFilterAdapter } from '../../../typescript/network_adapter.ts';
import { NetworkFilterVersion } from '../../../typescript/network_filter_version.ts';

export const factory: NetworkFilterConfigFactory = {
  typeName: 'sluice.extensions.filters.network.typescript.v1.TypeScriptNetworkFilter',
  name: 'sluice.filters.network.typescript',
  isTerminal: (config) => (config as { terminal?: boolean }).terminal === true,
  create(config: TypedConfig, context) {
    const message = config as ModuleMessage;
    const scripts = scriptsOf(context);
    const module = scripts.module(message.module);
    const settings = {
      ...moduleSettings(message, module.path),
      failOpen: message.failurePolicy === 'FAIL_OPEN',
      deadlineMs: deadlineOf(message),
    };
    const use = useModule(module, (loaded) => new NetworkFilterVersion(scripts, settings, loaded));
    context.onDestroy(() => use.end());
    return (connection: Connection) => {
      const filter = new NetworkFilterAdapter(use.current, scripts, connection);
      connection.addReadFilter(filter);
      if (use.current.has.onWrite) connection.addWriteFilter(filter);
    };
  },
};
