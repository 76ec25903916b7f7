/** Imports only point down, node:ffi has one home, and files stay readable. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../src/', import.meta.url));
const files = globSync('**/*.ts', { cwd: root });

/** What each room may import besides itself. */
const ALLOWED: Record<string, readonly string[]> = {
  cli: ['cli', 'proxy', 'wasm', 'stack', 'core'],
  proxy: ['proxy', 'wasm', 'core'],
  wasm: ['wasm', 'core'],
  stack: ['stack', 'core'],
  core: ['core'],
};

/** `import ... from 'x'`, `export ... from 'x'`, `import 'x'` at the start of a line, and `import('x')`. */
const IMPORT = /^(?:import|export)(\s+type\b)?(?:[^;'"]*\bfrom)?\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm;

/** What a file imports; `loaded`: only what is there at run time too. */
function imports(file: string, loaded = false): string[] {
  const source = readFileSync(join(root, file), 'utf8');
  return [...source.matchAll(IMPORT)]
    .filter(([, type]) => !loaded || type === undefined)
    .map(([, , statement, call]) => statement ?? call);
}

/** The file and all that it loads, by path below src. */
function closure(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const target of imports(file, true)) if (target.startsWith('.')) closure(normalize(join(dirname(file), target)), seen);
  return seen;
}

test('imports only point down', () => {
  const wrong: string[] = [];
  for (const file of files) {
    const room = file.split('/')[0];
    const allowed = ALLOWED[room];
    if (allowed === undefined) continue;
    for (const target of imports(file)) {
      if (!target.startsWith('.')) continue;
      const path = normalize(join(dirname(file), target));
      const to = path.split('/')[0];
      const vclExtension =
        room === 'proxy' && file.includes('extensions/') && file.includes('vcl') && path.startsWith('stack/vcl/');
      if (!path.startsWith('..') && !allowed.includes(to) && !vclExtension) wrong.push(`${file} imports ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('only core/sys imports node:ffi', () => {
  const wrong = files.filter((file) => !file.startsWith('core/sys/') && imports(file).includes('node:ffi'));
  assert.deepEqual(wrong, []);
});

test('the data path has no runtime dependency: workers, core, stack and wasm load no package', () => {
  const worker = closure('proxy/server/worker.ts');
  assert.ok(worker.has('proxy/http/router/router.ts') && !worker.has('proxy/config/load.ts'));
  const dataPath = files.filter((file) => worker.has(file) || /^(core|stack|wasm)\//.test(file));
  const wrong = dataPath.flatMap((file) =>
    imports(file)
      .filter((target) => !target.startsWith('.') && !target.startsWith('node:'))
      .map((target) => `${file} imports ${target}`),
  );
  assert.deepEqual(wrong, []);
});

test('every file says what it is', () => {
  const wrong = files.filter((file) => !readFileSync(join(root, file), 'utf8').startsWith('/**'));
  assert.deepEqual(wrong, []);
});
