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

function imports(file: string): string[] {
  const source = readFileSync(join(root, file), 'utf8');
  return [...source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]);
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

test('the data path has no runtime dependency', () => {
  const dataPath = files.filter((file) => !file.startsWith('proxy/config/') && !file.startsWith('cli/'));
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
