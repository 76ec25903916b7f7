/**
 * Tells when a plugin's file may have changed: on anything that happens in its folder (an editor's rename, a symbolic link that is put to
 * another place), once things have been quiet for a moment. Whoever is told looks at the contents.
 */
import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';

const QUIET_MS = 100;

/** Returns how to stop. Null: the folder cannot be watched. */
export function watchFile(path: string, dispatcher: Dispatcher, changed: () => void): (() => void) | null {
  const timer = dispatcher.createTimer(changed);
  let watcher: FSWatcher;
  try {
    watcher = watch(dirname(path), { persistent: false }, () => timer.enableTimer(QUIET_MS));
  } catch {
    return null;
  }
  watcher.on('error', () => watcher.close());
  return () => {
    timer.disableTimer();
    watcher.close();
  };
}
