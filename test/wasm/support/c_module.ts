/** Modules in C, built by the system's clang and wasm-ld. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Why tests with C modules are skipped, or false. */
export function needsClang(): string | false {
  for (const program of ['clang', 'wasm-ld']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return `${program} is not installed`;
  }
  return false;
}

/** `modules/NAME.c` with these macros. */
export function buildC(name: string, macros: readonly string[] = []): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-wasm-'));
  const output = join(directory, 'module.wasm');
  const source = fileURLToPath(new URL(`../modules/${name}.c`, import.meta.url));
  const built = spawnSync(
    'clang',
    [
      '--target=wasm32',
      '-nostdlib',
      '-O1',
      '-g0',
      '-fno-builtin',
      '-Wno-everything',
      '-Wl,--no-entry',
      '-Wl,-z,stack-size=65536',
      ...macros.map((macro) => `-D${macro}`),
      '-o',
      output,
      source,
    ],
    { encoding: 'utf8' },
  );
  try {
    if (built.status !== 0) throw new Error(`clang failed:\n${built.stderr}`);
    return readFileSync(output);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
