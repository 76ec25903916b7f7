/**
 * The configuration file is read again while the server serves (SIGHUP, `POST /reload`; not in Envoy, which ignores SIGHUP and changes only what
 * comes by xDS). The new file is checked whole, as at start; then only what differs changes: clusters, listeners and secrets. When something is
 * wrong, or something else differs than what can change, nothing changes.
 *
 * Make before break: clusters that are new or changed are warm before listeners use them; what is gone goes last.
 */
import { ConfigError } from '../config/error.ts';
import { addSharedState, sameConfig } from '../config/shared_state.ts';
import type { Bootstrap } from '../config/types.gen.ts';
import type { PlainCluster } from '../upstream/cluster_types.ts';
import { parseClusters } from '../upstream/discovery/cluster_discovery.ts';
import { tryWorker } from './build_configuration.ts';
import { applyClusterDefaults } from './cluster_defaults.ts';
import { loadConfiguration } from './load_configuration.ts';
import { SecretManager } from './secret_manager.ts';
import type { Server } from './server.ts';
import { loadOptions } from './server_options.ts';

/** Names of what changed. */
export interface ReloadReport {
  readonly clusters: { readonly set: string[]; readonly removed: string[] };
  readonly listeners: { readonly set: string[]; readonly removed: string[] };
}

/** Rejects with ConfigError(s), without their places in the file where the error was not in reading it. */
export async function reloadConfiguration(server: Server): Promise<ReloadReport> {
  const { options, sink, discovery } = server;
  const loaded = await loadConfiguration(loadOptions(options));
  for (const warning of loaded.warnings) sink.logger('config').warn(warning);
  const { bootstrap } = loaded;
  applyClusterDefaults(bootstrap);
  addSharedState(bootstrap);
  checkRest(server.loaded.bootstrap, bootstrap);
  const clusters = (bootstrap.staticResources?.clusters ?? []) as unknown as PlainCluster[];
  parseClusters(clusters, server.bindConfig);
  const secrets = new SecretManager(loaded.secrets);
  const { listeners, scripts } = tryWorker(bootstrap, options, server.runtime, { resources: {} }, secrets.current());

  const clustersGone = goneNames(
    server.staticClusters(),
    clusters.map(({ name }) => name),
  );
  const listenersGone = goneNames(
    server.listeners
      .all()
      .filter(({ addedViaApi }) => !addedViaApi)
      .map(({ plan }) => plan.name),
    listeners.map(({ plan }) => plan.name),
  );
  const changed = listeners.filter((listener) => server.listeners.isChange(listener, false)).map(({ plan }) => plan.name);
  server.replaceSecrets(secrets);
  await server.dynamic.useRoutes(listeners);
  const warming = clusters.flatMap((config) => {
    const warm = discovery.set(config, false);
    return warm === null ? [] : [{ name: config.name, warm }];
  });
  await Promise.all(warming.map(({ warm }) => warm));
  try {
    await server.listeners.set(listeners, false, listenersGone);
  } catch (error) {
    // Only binding can fail now. The clusters go back to what the listeners know.
    for (const config of (server.loaded.bootstrap.staticResources?.clusters ?? []) as unknown as PlainCluster[])
      await discovery.set(config, false);
    const known = server.staticClusters();
    for (const { name } of warming) if (!known.includes(name)) discovery.remove(name);
    throw error;
  }
  await Promise.all(listenersGone.map((name) => server.listeners.remove(name)));
  for (const name of clustersGone) discovery.remove(name);
  server.dynamic.releaseRoutes(listeners, listenersGone);
  server.loaded = loaded;
  server.scriptsChanged(scripts);
  return {
    clusters: { set: warming.map(({ name }) => name), removed: clustersGone },
    listeners: { set: changed, removed: listenersGone },
  };
}

/** One line for logs and answers. */
export function reportText({ clusters, listeners }: ReloadReport): string {
  const parts = [
    [clusters.set, 'cluster', 'added or changed'],
    [clusters.removed, 'cluster', 'removed'],
    [listeners.set, 'listener', 'added or changed'],
    [listeners.removed, 'listener', 'removed'],
  ] as const;
  const said = parts.filter(([names]) => names.length > 0).map(([names, what, how]) => `${what}s ${how}: ${names.join(', ')}`);
  return said.length === 0 ? 'nothing has changed' : said.join('; ');
}

function goneNames(before: readonly string[], now: readonly string[]): string[] {
  const kept = new Set(now);
  return before.filter((name) => !kept.has(name));
}

/** Everything but static resources is read at start only. */
function checkRest(before: Bootstrap, now: Bootstrap): void {
  const fields = new Set([...Object.keys(before), ...Object.keys(now)]) as Set<keyof Bootstrap>;
  fields.delete('staticResources');
  const changed = [...fields].filter((field) => !sameConfig(before[field], now[field]));
  if (changed.length === 0) return;
  const names = changed.map((field) => field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  throw new ConfigError(
    `${names.join(', ')} differ${names.length === 1 ? 's' : ''} from what the server was started with: only static_resources can change without a restart`,
    { path: names[0] },
  );
}
