/** Loading users' modules again and again: versions, helpers, and what stays in memory. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadModule, retainedBytes } from '../../../src/proxy/typescript/module_loader.ts';

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-loader-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

test('each load is the file as it is now, with the files that it imports; earlier ones stay what they are', () => {
  const main = join(directory, 'main.ts');
  const helper = join(directory, 'helper.ts');
  writeFileSync(main, "export { value } from './helper.ts';\nexport const self = 1;\n");
  writeFileSync(helper, 'export const value: number = 1;\n');
  const first = loadModule(main);
  writeFileSync(helper, 'export const value: number = 2;\n');
  const second = loadModule(main);
  assert.equal(first.exports['value'], 1);
  assert.equal(second.exports['value'], 2);
  assert.deepEqual([...second.files], [main, helper]);
});

test('what loads leave behind is counted and bounded: then changes are refused, and files that are new are not', () => {
  const path = join(directory, 'often.ts');
  const limit = retainedBytes() + 500_000;
  const before = retainedBytes();
  writeFileSync(path, `export const n = 0; ${'// '.repeat(1000)}\n`);
  loadModule(path, limit);
  assert.equal(retainedBytes() - before, 9 * 1024 + 2 * (20 + 3000 + 1));
  let loads = 1;
  assert.throws(
    () => {
      for (; loads < 1000; loads++) {
        writeFileSync(path, `export const n = ${loads};\n`);
        assert.equal(loadModule(path, limit).exports['n'], loads);
      }
    },
    { name: 'ScriptError', message: /often\.ts: was replaced too often: .* stays in memory \(\d+ KiB\)/ },
  );
  assert.ok(loads > 40 && loads < 60, String(loads));
  const other = join(directory, 'other.ts');
  writeFileSync(other, 'export const fine = true;\n');
  assert.equal(loadModule(other, limit).exports['fine'], true);
});
