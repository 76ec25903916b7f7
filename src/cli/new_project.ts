/**
 * What `sluice filter new` and `sluice wasm new` have in common: a directory with files from a template, in which the packages they name are
 * found. A package that is not installed above the directory, but beside Sluice, is linked, so that a checkout is enough to begin with.
 */
import { existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from './flags.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Template {
  readonly files: Readonly<Record<string, string>>;
  /** npm packages that its files and scripts need, besides `sluice`. */
  readonly packages: readonly string[];
  /** Programs of theirs. */
  readonly programs: readonly string[];
}

/** Writes the files, none of which may exist, and says which. Throws UsageError. */
export function newProject(name: string, directoryFlag: string | undefined, template: Template): string[] {
  if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(name)) throw new UsageError(`'${name}' is not a name of letters, digits, - and _`);
  const directory = resolve(directoryFlag ?? name);
  const files = Object.entries(template.files).map(([file, text]) => [join(directory, file), text]);
  const taken = files.map(([path]) => path).filter((path) => existsSync(path));
  if (taken.length > 0) throw new UsageError(`${taken.join(', ')} exists: nothing was written`);
  for (const [path, text] of files) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  link(directory, 'sluice', ROOT);
  for (const package_ of template.packages) link(directory, package_, join(ROOT, 'node_modules', package_));
  for (const program of ['node', ...template.programs])
    link(directory, `.bin/${program}`, join(ROOT, 'node_modules/.bin', program));
  link(directory, '.bin/sluice', join(ROOT, 'bin/sluice'));
  return files.map(([path]) => path);
}

function link(directory: string, name: string, target: string): void {
  if (!existsSync(target)) return;
  for (let at = directory; ; at = dirname(at)) {
    if (existsSync(join(at, 'node_modules', name))) return;
    if (at === dirname(at)) break;
  }
  const path = join(directory, 'node_modules', name);
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(realpathSync(target), path);
}
