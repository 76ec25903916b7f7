/**
 * The runtime on the main thread: layers merged bottom up, later ones win. Without `layered_runtime` there is one admin layer.
 *
 * `onUpdate` is called with what the workers should get whenever a layer changed. Disk layers are watched by their symbolic link:
 * moving a new one in its place reloads the tree.
 */
import type { FSWatcher } from 'node:fs';
import { watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ConfigError } from '../config/error.ts';
import type { ConfigSource } from '../config/xds/config_source.ts';
import type { LayerValues, RtdsLayerConfig, RuntimeLayerConfig } from './layers.ts';
import { diskLayerValues, entryFromText, staticLayerValues } from './layers.ts';
import type { Runtime, RuntimeSnapshot } from './runtime.ts';
import type { PlainRuntime, RuntimeEntry } from './snapshot.ts';
import { snapshotFromPlain } from './snapshot.ts';

export interface RuntimeOptions {
  /** For `append_service_cluster`. */
  readonly serviceCluster?: string;
}

/** What `/runtime` shows. */
export interface RuntimeContents {
  layers: string[];
  entries: Record<string, { final_value: string; layer_values: string[] }>;
}

interface Layer {
  readonly name: string;
  /** A disk layer's directory. */
  readonly directory: string | null;
  /** A disk layer's link, to be watched. */
  readonly link: string | null;
  readonly isAdmin: boolean;
  /** A layer of RTDS. */
  readonly rtds: RtdsLayerConfig | null;
  readonly path: string;
  values: LayerValues;
}

/** Throws ConfigError. */
export function createRuntime(layers: readonly RuntimeLayerConfig[] | undefined, options: RuntimeOptions = {}): RuntimeLoader {
  return new RuntimeLoader(layers ?? [{ name: 'admin', adminLayer: {} }], options);
}

export class RuntimeLoader implements Runtime {
  /** Called after every change. */
  onUpdate: ((plain: PlainRuntime) => void) | null = null;
  private readonly layers: readonly Layer[];
  private readonly watchers: FSWatcher[] = [];
  private plain: PlainRuntime = [];
  private current: RuntimeSnapshot;

  constructor(configs: readonly RuntimeLayerConfig[], options: RuntimeOptions) {
    this.layers = configs.map((config, i) => compileLayer(config, options, `layered_runtime.layers[${i}]`));
    checkNames(this.layers);
    this.current = this.merge();
  }

  get snapshot(): RuntimeSnapshot {
    return this.current;
  }

  /** Keys of all layers together. */
  get numKeys(): number {
    return this.plain.length;
  }

  get numLayers(): number {
    return this.layers.length;
  }

  get adminOverridesActive(): boolean {
    return this.layers.some((layer) => layer.isAdmin && layer.values.size > 0);
  }

  /** For workers: `snapshotFromPlain` turns it back. */
  toPlain(): PlainRuntime {
    return this.plain;
  }

  /** `/runtime_modify`: an empty value drops the override. The reason when it cannot be done. */
  modify(values: Readonly<Record<string, string>>): string | null {
    const admin = this.layers.find((layer) => layer.isAdmin);
    if (admin === undefined) return 'No admin layer specified';
    for (const [key, value] of Object.entries(values)) {
      if (value === '') admin.values.delete(key);
      else admin.values.set(key, entryFromText(value));
    }
    this.update();
    return null;
  }

  /** Layers that come from a control plane: what each is called there, and where that is. */
  get rtdsLayers(): { name: string; source: ConfigSource }[] {
    return this.layers.flatMap(({ rtds }) => (rtds === null ? [] : [{ name: rtds.name!, source: rtds.rtdsConfig ?? {} }]));
  }

  /** What a layer of RTDS says now. Throws ConfigError; then it says what it did. */
  setRtdsLayer(name: string, struct: Record<string, unknown>): void {
    const values = staticLayerValues(struct, 'layer');
    for (const layer of this.layers) if (layer.rtds?.name === name) layer.values = values;
    this.update();
  }

  /** Reads disk layers again. A tree that cannot be read keeps its old values; the reason is returned. */
  reloadDisk(): string | null {
    let reason: string | null = null;
    for (const layer of this.layers) {
      if (layer.directory === null) continue;
      try {
        layer.values = diskLayerValues(layer.directory, layer.path);
      } catch (error) {
        reason = (error as Error).message;
      }
    }
    this.update();
    return reason;
  }

  /** Watches disk layers until `close`. `onError` gets what `reloadDisk` says. */
  watchDisk(onError: (reason: string) => void): void {
    for (const { link } of this.layers) {
      if (link === null) continue;
      const name = basename(link);
      const watcher = watch(dirname(link), { persistent: false }, (event, changed) => {
        if (event !== 'rename' || changed !== name) return;
        const reason = this.reloadDisk();
        if (reason !== null) onError(reason);
      });
      watcher.on('error', (error) => onError(error.message));
      this.watchers.push(watcher);
    }
  }

  close(): void {
    for (const watcher of this.watchers) watcher.close();
    this.watchers.length = 0;
  }

  /** Keys in order, each with its value per layer and the last that is not empty. */
  contents(): RuntimeContents {
    const keys = [...new Set(this.layers.flatMap((layer) => [...layer.values.keys()]))].sort();
    const entries = keys.map((key) => {
      const values = this.layers.map((layer) => layer.values.get(key)?.raw ?? '');
      return [key, { final_value: values.findLast((value) => value !== '') ?? '', layer_values: values }] as const;
    });
    return { layers: this.layers.map((layer) => layer.name), entries: Object.fromEntries(entries) };
  }

  private update(): void {
    this.current = this.merge();
    this.onUpdate?.(this.plain);
  }

  private merge(): RuntimeSnapshot {
    const merged = new Map<string, RuntimeEntry>();
    for (const layer of this.layers) for (const [key, entry] of layer.values) merged.set(key, entry);
    this.plain = [...merged];
    return snapshotFromPlain(this.plain);
  }
}

function compileLayer(config: RuntimeLayerConfig, options: RuntimeOptions, path: string): Layer {
  const base = { name: config.name ?? '', rtds: null, directory: null, link: null, isAdmin: false, path, values: new Map() };
  if (config.staticLayer !== undefined) {
    return { ...base, values: staticLayerValues(config.staticLayer, `${path}.static_layer`) };
  }
  if (config.adminLayer !== undefined) return { ...base, isAdmin: true };
  if (config.diskLayer !== undefined) {
    const link = config.diskLayer.symlinkRoot ?? '';
    const cluster = config.diskLayer.appendServiceCluster === true ? (options.serviceCluster ?? '') : '';
    const directory = join(link, config.diskLayer.subdirectory ?? '', cluster);
    return { ...base, directory, link, values: diskLayerValues(directory, `${path}.disk_layer`) };
  }
  // What it says comes later.
  if (config.rtdsLayer !== undefined) {
    if ((config.rtdsLayer.name ?? '') === '') throw new ConfigError('a name is necessary', { path: `${path}.rtds_layer.name` });
    return { ...base, rtds: config.rtdsLayer };
  }
  throw new ConfigError('one of static_layer, disk_layer, admin_layer, rtds_layer is required', { path });
}

function checkNames(layers: readonly Layer[]): void {
  const names = new Set<string>();
  for (const { name, path } of layers) {
    if (names.has(name)) throw new ConfigError(`Duplicate layer name: ${name}`, { path });
    names.add(name);
  }
  const admins = layers.filter((layer) => layer.isAdmin);
  if (admins.length > 1) {
    throw new ConfigError('Too many admin layers specified in LayeredRuntime, at most one may be specified', {
      path: admins[1].path,
    });
  }
}
