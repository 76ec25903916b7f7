/**
 * Tells when one of some files was replaced or rewritten: certificates and keys that rotate. Watches their directories, so that a
 * rename over the file, and a symbolic link above it that moves (as mounted secrets do), are both seen; what counts is whether the
 * files are other ones than before. Changes within a short time are one.
 */
import { type FSWatcher, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';

const SETTLE_MS = 100;

export class FileWatcher {
  private readonly files: readonly string[];
  private readonly onChange: () => boolean | Promise<boolean>;
  private readonly watchers: FSWatcher[] = [];
  private identity: string;
  private timer: NodeJS.Timeout | null = null;
  private closed = false;
  private asking = false;

  /** Besides the files' own, `directories` are watched. `onChange` answers whether the change was taken; if not, it is asked again at the next event. */
  constructor(files: readonly string[], directories: readonly string[], onChange: () => boolean | Promise<boolean>) {
    this.files = files;
    this.onChange = onChange;
    this.identity = this.look();
    for (const directory of new Set([...directories, ...files.map((file) => dirname(file))])) {
      try {
        const watcher = watch(directory, { persistent: false }, () => this.schedule());
        watcher.on('error', () => watcher.close());
        this.watchers.push(watcher);
      } catch {
        // No more inotify watches, or the directory is gone: what was read stays in use.
      }
    }
  }

  close(): void {
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    for (const watcher of this.watchers) watcher.close();
  }

  private schedule(): void {
    if (this.timer !== null || this.closed) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      if (!this.closed) this.check();
    }, SETTLE_MS);
    this.timer.unref();
  }

  private check(): void {
    const identity = this.look();
    if (identity === this.identity) return;
    if (this.asking) {
      // What changed meanwhile is looked at after the answer.
      this.schedule();
      return;
    }
    const answer = this.onChange();
    if (typeof answer === 'boolean') {
      if (answer) this.identity = identity;
      return;
    }
    this.asking = true;
    void answer.then((taken) => {
      this.asking = false;
      if (taken) this.identity = identity;
    });
  }

  private look(): string {
    return this.files
      .map((file) => {
        const stat = statSync(file, { throwIfNoEntry: false });
        return stat === undefined ? 'none' : `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}`;
      })
      .join(' ');
  }
}
