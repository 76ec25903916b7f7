/** `bin/sluice` keeps compiled code, and only where nobody else writes. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SLUICE = fileURLToPath(new URL('../../bin/sluice', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'sluice-cache-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function version(cache: string): string {
  const { NODE_COMPILE_CACHE: _, ...env } = process.env;
  return execFileSync(process.execPath, [SLUICE, '--version'], { encoding: 'utf8', env: { ...env, XDG_CACHE_HOME: cache } });
}

function kept(cache: string): string[] {
  const own = join(cache, 'sluice');
  return existsSync(own) ? readdirSync(own) : [];
}

test('in the cache directory, which is made', () => {
  const cache = join(directory, 'new');
  assert.match(version(cache), /^sluice {2}version: /);
  assert.equal(kept(cache).length, 1);
  assert.match(version(cache), /^sluice {2}version: /);
});

test('not where others may write', () => {
  const cache = mkdtempSync(join(directory, 'open-'));
  chmodSync(cache, 0o777);
  assert.match(version(cache), /^sluice {2}version: /);
  assert.deepEqual(kept(cache), []);
});

test('nor where nothing can be written', () => {
  assert.match(version('/dev/null/nowhere'), /^sluice {2}version: /);
});
