/**
 * Loads modules of users by path, again and again: each load of a path gets a version, and all files that it imports relatively get the
 * same one, so that a changed helper is seen, too. `sluice/filter` is this package's, wherever the file lies.
 *
 * Node keeps every module that was ever loaded: a reload costs its size in memory (some tens of KB) for the life of the process.
 * Loading is synchronous, so modules cannot have top-level await.
 */
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

const filesByVersion = new Map<string, Set<string>>();
const require = createRequire(import.meta.url);
let hooked = false;
let lastVersion = 0;

/** Loads the file as it is now. Throws ScriptError. */
export function loadModule(path: string): LoadedModule {
  install();
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
    for (const key of Object.keys(require.cache)) if (VERSION.test(key)) delete require.cache[key];
  }
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
