/** Layers of the runtime from a control plane or file (Envoy: RtdsSubscription). A layer that is gone is empty. */
import type { Scope } from '../../../core/stats/stats.ts';
import { DEFAULT_FETCH_TIMEOUT_MS } from '../../config/xds/config_source.ts';
import { subscriptionStats, type Watcher } from '../../config/xds/subscription.ts';
import type { RuntimeLoader } from '../../runtime/runtime_impl.ts';
import type { Sources } from './sources.ts';

/** Resolves when all layers are there, or did not come in time. */
export async function followRuntime(runtime: RuntimeLoader, sources: Sources, scope: Scope): Promise<void> {
  const stats = subscriptionStats(scope.scope('runtime.'));
  await Promise.all(
    runtime.rtdsLayers.map(
      ({ name, source }) =>
        new Promise<void>((resolve) => {
          const watcher: Watcher = {
            stats,
            onFetchTimeout: resolve,
            onResources: ({ resources }) => {
              const [resource] = resources;
              if (resource !== undefined && resource.error !== null) return resource.error;
              try {
                runtime.setRtdsLayer(name, (resource?.plain?.['layer'] as Record<string, unknown> | undefined) ?? {});
              } catch (error) {
                return error instanceof Error ? error.message : String(error);
              }
              resolve();
              return null;
            },
          };
          const timeoutMs = source.initialFetchTimeout ?? DEFAULT_FETCH_TIMEOUT_MS;
          sources.get(source, 'runtime').subscribe('runtime', name, watcher, timeoutMs);
        }),
    ),
  );
}
