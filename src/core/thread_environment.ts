/**
 * The environment of a new thread, or of a process of our own: this process's, and Node's compile cache, which `bin/sluice` turns on and
 * which they take from their environment only. Without it each would load the compiler of TypeScript for itself.
 */
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';

/** For `new Worker(..., { env })` and `spawn`; undefined: as it is. */
export function threadEnvironment(): NodeJS.ProcessEnv | undefined {
  // The directory in use is the one of this version of Node, below the one that was given.
  const directory = getCompileCacheDir();
  return directory === undefined ? undefined : { ...process.env, NODE_COMPILE_CACHE: dirname(directory) };
}
