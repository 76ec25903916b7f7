/**
 * Loads modules of users by path, again and again: each load of a path gets a version, and all files that it imports relatively get the
 * same one, so that a changed helper is seen, too. `sluice/filter` is this package's, wherever the file lies.
 *
 * Node keeps every module that was ever loaded: the cache of its ESM loader, which nothing can be taken out of, and measured, modules of
 * `vm.SourceTextModule` as well. A load leaves 9 KB and twice the size of its files in the heap for the life of the thread (500 bytes of
 * source: 9.7 KB, 5 KB: 18.6 KB, 50 KB: 109 KB). That is counted, and beyond a limit changes are not taken up any more.
 *
 * Loading is synchronous, so modules cannot have top-level await.
 */
import { statSync } from 'node:fs';
import { createRequire, registerHooks } from 'node:module';
import { extname } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ScriptError, toScriptError } from './script_error.ts';

const VERSION = /@sluice-(\d+)$/;
const ENTRY = 'sluice-module:';
const PUBLIC: Readonly<Record<string, string>> = {
  'sluice/filter': new URL('./index.ts', import.meta.url).href,
  'sluice/filter/testing': new URL('./testing.ts', import.meta.url).href,
};

const FORMATS: Readonly<Record<string, string>> = {
  '.ts': 'module-typescript',
  '.mts': 'module-typescript',
  '.js': 'module',
  '.mjs': 'module',
};

export interface LoadedModule {
  readonly exports: Readonly<Record<string, unknown>>;
  /** Paths of all files that were loaded for it, its own first. */
  readonly files: ReadonlySet<string>;
}

/** What loads may leave behind on a thread: some 3,500 of a file of 5 KB. */
const MAX_RETAINED_BYTES = 64 << 20;
const RETAINED_PER_LOAD = 9 << 10;
const RETAINED_PER_BYTE = 2;

const loadedPaths = new Set<string>();
let retained = 0;

/** What all loads of this thread have left behind. */
export function retainedBytes(): number {
  return retained;
}

const filesByVersion = new Map<string, Set<string>>();
const require = createRequire(import.meta.url);
let hooked = false;
let lastVersion = 0;

/** Loads the file as it is now. Throws ScriptError; a file that was never loaded before is never one too many. */
export function loadModule(path: string, maxRetainedBytes: number = MAX_RETAINED_BYTES): LoadedModule {
  install();
  if (retained > maxRetainedBytes && loadedPaths.has(path)) {
    throw new ScriptError(
      `was replaced too often: what was loaded before stays in memory (${Math.round(retained / 1024)} KiB); a restart, or an isolated filter, takes it up`,
      path,
    );
  }
  loadedPaths.add(path);
  const format = FORMATS[extname(path)];
  if (format === undefined) throw new ScriptError(`is not one of ${Object.keys(FORMATS).join(', ')}`, path);
  const version = `@sluice-${++lastVersion}`;
  const files = new Set([path]);
  filesByVersion.set(version, files);
  try {
    const exports = require(ENTRY + pathToFileURL(path).href + version) as Record<string, unknown>;
    return { exports, files };
  } catch (error) {
    throw toScriptError(error, path);
  } finally {
    filesByVersion.delete(version);
    retained += RETAINED_PER_LOAD;
    for (const file of files) retained += RETAINED_PER_BYTE * sizeOf(file);
    for (const key of Object.keys(require.cache)) if (VERSION.test(key)) delete require.cache[key];
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function install(): void {
  if (hooked) return;
  hooked = true;
  registerHooks({
    resolve(specifier, context, next) {
      const known = PUBLIC[specifier];
      if (known !== undefined) return { url: known, shortCircuit: true };
      if (specifier.startsWith(ENTRY)) {
        const url = specifier.slice(ENTRY.length);
        return { url, format: FORMATS[extname(url.replace(VERSION, ''))], shortCircuit: true };
      }
      const version = context.parentURL === undefined ? null : VERSION.exec(context.parentURL);
      if (version === null) return next(specifier, context);
      const parentURL = (context.parentURL as string).replace(VERSION, '');
      const resolved = next(specifier, { ...context, parentURL });
      const ofUser = resolved.url.startsWith('file:') && !resolved.url.includes('/node_modules/') && !isOurs(resolved.url);
      return ofUser ? { ...resolved, url: resolved.url + version[0] } : resolved;
    },
    load(url, context, next) {
      const version = VERSION.exec(url);
      if (version === null) return next(url, context);
      const plain = url.replace(VERSION, '');
      filesByVersion.get(version[0])?.add(fileURLToPath(plain));
      return next(plain, context);
    },
  });
}

const OURS = new URL('../../', import.meta.url).href;

function isOurs(url: string): boolean {
  return url.startsWith(OURS);
}
