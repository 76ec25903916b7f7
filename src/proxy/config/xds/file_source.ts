/**
 * Resources from a file (Envoy: FilesystemSubscriptionImpl): a DiscoveryResponse in YAML, JSON or binary. Read at start, and when another file has
 * taken its place, or a directory that is watched for it has changed. What cannot be read is counted, and what was there stays.
 */
import { FileWatcher } from '../../common/file_watcher.ts';
import type { ResourceParser } from './parser.ts';
import type { ResourceKind } from './resource_types.ts';
import { fetchTimeout, noteSuccess, type ResourceSource, type Subscription, type Watcher } from './subscription.ts';

export class FileSource implements ResourceSource {
  private readonly path: string;
  private readonly watchedDirectory: string | undefined;
  private readonly parser: ResourceParser;
  private readonly warn: (message: string) => void;
  private readonly watchers = new Set<FileWatcher>();

  constructor(path: string, watchedDirectory: string | undefined, parser: ResourceParser, warn: (message: string) => void) {
    this.path = path;
    this.watchedDirectory = watchedDirectory;
    this.parser = parser;
    this.warn = warn;
  }

  subscribe(kind: ResourceKind, name: string | null, watcher: Watcher, fetchTimeoutMs: number): Subscription {
    const stop = fetchTimeout(watcher, fetchTimeoutMs);
    const directories = this.watchedDirectory === undefined ? [] : [this.watchedDirectory];
    let closed = false;
    const load = async (): Promise<boolean> => {
      const taken = await this.load(kind, name, watcher, () => closed);
      if (taken) stop();
      return taken;
    };
    const files = new FileWatcher([this.path], directories, load);
    this.watchers.add(files);
    void load();
    return {
      close: () => {
        closed = true;
        stop();
        files.close();
        this.watchers.delete(files);
      },
    };
  }

  close(): void {
    for (const watcher of this.watchers) watcher.close();
    this.watchers.clear();
  }

  private async load(kind: ResourceKind, name: string | null, watcher: Watcher, closed: () => boolean): Promise<boolean> {
    const { stats } = watcher;
    stats.updateAttempt.inc();
    let error: string | null;
    let version = '';
    try {
      const response = await this.parser.parseFile(this.path, kind);
      if (closed()) return true;
      version = response.version;
      const resources = name === null ? response.resources : response.resources.filter((resource) => resource.name === name);
      error =
        duplicateName(response.resources.map((resource) => resource.name)) ??
        watcher.onResources({ resources, removed: [], full: name === null, version });
    } catch (reason) {
      if (closed()) return true;
      stats.updateFailure.inc();
      this.warn(`${this.path}: ${reason instanceof Error ? reason.message : String(reason)}`);
      return false;
    }
    if (error === null) noteSuccess(stats, version);
    else {
      stats.updateRejected.inc();
      this.warn(`${this.path}: ${error}`);
    }
    return error === null;
  }
}

/** Why names that occur twice cannot be; null: none does. */
export function duplicateName(names: readonly string[]): string | null {
  const seen = new Set<string>();
  for (const name of names) {
    if (name !== '' && seen.has(name)) return `duplicate resource ${name} found`;
    seen.add(name);
  }
  return null;
}
