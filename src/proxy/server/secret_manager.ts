/**
 * Secrets on the main thread (Envoy: SecretManagerImpl): what the configuration has, and what its files say when they change, for the
 * workers. At start each secret that is named must be there; later, a file that cannot be used is told and counted, and what it said
 * before stays. A secret that is not in its file any more stays, too.
 */
import type { Counter, Scope } from '../../core/stats/stats.ts';
import { FileWatcher } from '../common/file_watcher.ts';
import type { ConfiguredSecrets, SecretFile } from '../config/secrets.ts';
import type { NamedSecret } from '../network/secrets.ts';
import type { Logger } from './factory_context.ts';

interface SdsStats {
  readonly updateAttempt: Counter;
  readonly updateSuccess: Counter;
  readonly updateRejected: Counter;
}

export interface SecretWatch {
  readonly scope: Scope;
  readonly logger: Logger;
  /** Rejects with ConfigError. */
  load(path: string): Promise<NamedSecret[]>;
  /** Gets the secrets of a file that changed. */
  post(secrets: readonly NamedSecret[]): void;
}

export class SecretManager {
  private readonly configured: ConfiguredSecrets;
  private readonly watchers: FileWatcher[] = [];

  constructor(configured: ConfiguredSecrets) {
    this.configured = configured;
  }

  /** All of them, as they are now. */
  current(): NamedSecret[] {
    return [...this.configured.fixed, ...this.configured.files.flatMap((file) => file.secrets)];
  }

  /** Follows the files. */
  watch(to: SecretWatch): void {
    const { files } = this.configured;
    if (files.length === 0) return;
    const sds = to.scope.scope('sds.');
    const stats: SdsStats = {
      updateAttempt: sds.counter('update_attempt'),
      updateSuccess: sds.counter('update_success'),
      updateRejected: sds.counter('update_rejected'),
    };
    for (const file of files) {
      stats.updateAttempt.inc();
      stats.updateSuccess.inc();
      this.watchers.push(new FileWatcher([file.path], file.watchedDirectories, () => reload(file, stats, to)));
    }
  }

  close(): void {
    for (const watcher of this.watchers.splice(0)) watcher.close();
  }
}

/** False: to be tried again at the next change. */
async function reload(file: SecretFile, stats: SdsStats, to: SecretWatch): Promise<boolean> {
  stats.updateAttempt.inc();
  try {
    file.secrets = await to.load(file.path);
  } catch (error) {
    stats.updateRejected.inc();
    const reason = error instanceof Error ? error.message : String(error);
    to.logger.warn(`secrets not reloaded, the old ones stay in use: ${reason}`);
    return false;
  }
  stats.updateSuccess.inc();
  to.post(file.secrets);
  return true;
}
