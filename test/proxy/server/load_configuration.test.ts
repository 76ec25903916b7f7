/** Configuration read by another process: the same data, the same mistakes with their places. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ConfigError } from '../../../src/proxy/config/error.ts';
import { ConfigErrors } from '../../../src/proxy/config/errors.ts';
import { loadBootstrap } from '../../../src/proxy/config/load.ts';
import { loadConfiguration, locate } from '../../../src/proxy/server/load_configuration.ts';

const directory = mkdtempSync(join(tmpdir(), 'sluice-load-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const GOOD = `
node: { id: ${'x'.repeat(100_000)} }
static_resources:
  clusters:
  - name: c
    connect_timeout: 0.25s
    metadata: { filter_metadata: { a: { n: 1.5, list: [true, null] } } }
`;

test('is what reading it here gives', async () => {
  const path = join(directory, 'good.yaml');
  writeFileSync(path, GOOD);
  const { locate: _, ...expected } = loadBootstrap({ path });
  assert.deepEqual(await loadConfiguration({ path, yaml: undefined }), expected);
});

test('environment variables reach it', async () => {
  process.env['SLUICE_TEST_NAME'] = 'from-outside';
  after(() => delete process.env['SLUICE_TEST_NAME']);
  const path = join(directory, 'variable.yaml');
  writeFileSync(path, 'static_resources: { clusters: [ { name: "$' + '{SLUICE_TEST_NAME}" } ] }');
  const loaded = await loadConfiguration({ path, substituteEnv: true });
  assert.equal(loaded.bootstrap.staticResources?.clusters[0].name, 'from-outside');
});

test('all mistakes come back with their places', async () => {
  const path = join(directory, 'bad.yaml');
  writeFileSync(path, 'static_resources:\n  clusterz: []\n  listeners: 7\n');
  await assert.rejects(loadConfiguration({ path }), (error) => {
    assert.ok(error instanceof ConfigErrors);
    assert.deepEqual(
      error.errors.map(({ file, line }) => [file, line]),
      [
        [path, 2],
        [path, 3],
      ],
    );
    assert.match(error.errors[0].message, /clusterz.*clusters/s);
    return true;
  });
});

test('a mistake that shows later gets its place', async () => {
  const path = join(directory, 'good.yaml');
  writeFileSync(path, GOOD);
  const error = await locate(new ConfigError('is wrong', { path: 'static_resources.clusters[0].connect_timeout' }), { path });
  assert.match((error as Error).message, /good\.yaml:6:\d+: static_resources\.clusters\[0\]\.connect_timeout: is wrong$/);
  const other = new Error('no place');
  assert.equal(await locate(other, { path }), other);
});
