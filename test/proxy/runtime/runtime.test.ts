/** Layered runtime. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { RuntimeLayerConfig } from '../../../src/proxy/runtime/layers.ts';
import type { FractionalPercent } from '../../../src/proxy/runtime/runtime.ts';
import { createRuntime } from '../../../src/proxy/runtime/runtime_impl.ts';
import { EMPTY_SNAPSHOT, snapshotFromPlain } from '../../../src/proxy/runtime/snapshot.ts';
import { configError } from '../http/route/support.ts';

function staticLayer(values: Record<string, unknown>, name = 'static'): RuntimeLayerConfig {
  return { name, staticLayer: values };
}

test('values and their kinds', () => {
  const { snapshot } = createRuntime([
    staticLayer({
      int: 5,
      negative: -1,
      double: 2.5,
      yes: true,
      text: 'hello',
      number_text: '42',
      bool_text: 'TRUE',
      a: { b: { c: 1 } },
    }),
  ]);
  assert.equal(snapshot.getInteger('int', 0), 5);
  assert.equal(snapshot.getInteger('negative', 7), 7);
  assert.equal(snapshot.getInteger('double', 0), 2);
  assert.equal(snapshot.getDouble('double', 0), 2.5);
  assert.equal(snapshot.getDouble('text', 1.5), 1.5);
  assert.equal(snapshot.getBoolean('yes', false), true);
  assert.equal(snapshot.getBoolean('bool_text', false), true);
  assert.equal(snapshot.getBoolean('int', false), true);
  assert.equal(snapshot.getBoolean('text', true), true);
  assert.equal(snapshot.getInteger('number_text', 0), 42);
  assert.equal(snapshot.get('text'), 'hello');
  assert.equal(snapshot.get('yes'), 'true');
  assert.equal(snapshot.getInteger('a.b.c', 0), 1);
  assert.equal(snapshot.get('missing'), undefined);
});

const HALF: FractionalPercent = { numerator: 50, denominator: 'HUNDRED' };

test('fractions', () => {
  const { snapshot } = createRuntime([
    staticLayer({ million: { numerator: 5, denominator: 'MILLION' }, plain: { numerator: 20 }, int: 30, always: 101, text: 'x' }),
  ]);
  assert.equal(snapshot.featureEnabled('million', HALF, 4), true);
  assert.equal(snapshot.featureEnabled('million', HALF, 5), false);
  assert.equal(snapshot.featureEnabled('million', HALF, 1_000_004), true);
  assert.equal(snapshot.featureEnabled('plain', HALF, 19), true);
  assert.equal(snapshot.featureEnabled('plain', HALF, 20), false);
  assert.equal(snapshot.featureEnabled('int', HALF, 129), true);
  assert.equal(snapshot.featureEnabled('int', HALF, 130), false);
  assert.equal(snapshot.featureEnabled('always', HALF, 99), true);
  assert.equal(snapshot.featureEnabled('text', HALF, 49), true);
  assert.equal(snapshot.featureEnabled('', HALF, 50), false);
  assert.equal(EMPTY_SNAPSHOT.featureEnabled('k', { numerator: 1, denominator: 'TEN_THOUSAND' }, 10_000), true);
});

test('later layers win; /runtime shows every layer', () => {
  const runtime = createRuntime([
    staticLayer({ a: 1, b: 'x' }, 'base'),
    staticLayer({ a: 2 }, 'over'),
    { name: 'admin', adminLayer: {} },
  ]);
  assert.equal(runtime.modify({ c: '3' }), null);
  assert.equal(runtime.snapshot.getInteger('a', 0), 2);
  assert.deepEqual(runtime.contents(), {
    layers: ['base', 'over', 'admin'],
    entries: {
      a: { final_value: '2', layer_values: ['1', '2', ''] },
      b: { final_value: 'x', layer_values: ['x', '', ''] },
      c: { final_value: '3', layer_values: ['', '', '3'] },
    },
  });
  assert.equal(runtime.numKeys, 3);
});

test('/runtime_modify: typed values, removal, snapshots do not change', () => {
  const runtime = createRuntime(undefined);
  const before = runtime.snapshot;
  const updates: number[] = [];
  runtime.onUpdate = (plain) => updates.push(plain.length);
  runtime.modify({ n: '42', f: '{numerator: 1, denominator: TEN_THOUSAND}', s: 'a: b: c', t: 'true' });
  assert.equal(before.get('n'), undefined);
  assert.equal(runtime.snapshot.getInteger('n', 0), 42);
  assert.equal(runtime.snapshot.featureEnabled('f', HALF, 1), false);
  assert.equal(runtime.snapshot.featureEnabled('f', HALF, 10_000), true);
  assert.equal(runtime.snapshot.get('s'), 'a: b: c');
  assert.equal(runtime.snapshot.getBoolean('t', false), true);
  assert.equal(runtime.adminOverridesActive, true);
  runtime.modify({ n: '', f: '', s: '', t: '' });
  assert.equal(runtime.snapshot.getInteger('n', 1), 1);
  assert.equal(runtime.adminOverridesActive, false);
  assert.deepEqual(updates, [4, 0]);
});

test('without an admin layer nothing can be modified', () => {
  assert.equal(createRuntime([staticLayer({})]).modify({ a: '1' }), 'No admin layer specified');
});

test('a snapshot survives structured clone', () => {
  const runtime = createRuntime([staticLayer({ a: 1, f: { numerator: 5 } })]);
  const copy = snapshotFromPlain(structuredClone(runtime.toPlain()));
  assert.equal(copy.getInteger('a', 0), 1);
  assert.equal(copy.featureEnabled('f', HALF, 4), true);
  assert.equal(copy.featureEnabled('f', HALF, 5), false);
});

test('disk layers: a file per key, comments, service cluster, swapping the link', async () => {
  const root = mkdtempSync(join(tmpdir(), 'runtime-'));
  try {
    for (const [version, value] of [
      ['v1', '10'],
      ['v2', '20'],
    ]) {
      mkdirSync(join(root, version, 'envoy', 'health_check'), { recursive: true });
      writeFileSync(join(root, version, 'envoy', 'health_check', 'min_interval'), `# a comment\n${value}\n`);
      writeFileSync(join(root, version, 'envoy', 'placeholder'), '# nothing\n');
      writeFileSync(join(root, version, 'envoy', 'fraction'), 'numerator: 3\ndenominator: HUNDRED\n');
    }
    symlinkSync(join(root, 'v1'), join(root, 'current'));
    const runtime = createRuntime(
      [{ name: 'disk', diskLayer: { symlinkRoot: join(root, 'current'), subdirectory: '', appendServiceCluster: true } }],
      { serviceCluster: 'envoy' },
    );
    assert.equal(runtime.snapshot.getInteger('health_check.min_interval', 0), 10);
    assert.equal(runtime.snapshot.get('placeholder'), '');
    assert.equal(runtime.snapshot.featureEnabled('fraction', HALF, 3), false);
    const updated = new Promise<void>((resolve) => {
      runtime.onUpdate = () => resolve();
    });
    runtime.watchDisk((reason) => assert.fail(reason));
    // Watching does not keep a process alive.
    const alive = setInterval(() => {}, 1000);
    symlinkSync(join(root, 'v2'), join(root, 'next'));
    renameSync(join(root, 'next'), join(root, 'current'));
    await updated;
    clearInterval(alive);
    runtime.close();
    assert.equal(runtime.snapshot.getInteger('health_check.min_interval', 0), 20);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('a directory that is not there is an empty layer', () => {
  const runtime = createRuntime([{ name: 'disk', diskLayer: { symlinkRoot: '/nope/nope', subdirectory: 'x' } }]);
  assert.equal(runtime.numKeys, 0);
  assert.equal(runtime.reloadDisk(), null);
});

const ERRORS: [layers: RuntimeLayerConfig[], reason: string][] = [
  [[staticLayer({}, 'a'), staticLayer({}, 'a')], 'Duplicate layer name: a'],
  [
    [
      { name: 'a', adminLayer: {} },
      { name: 'b', adminLayer: {} },
    ],
    'Too many admin layers specified in LayeredRuntime, at most one may be specified',
  ],
  [[staticLayer({ a: { b: null } })], 'Invalid runtime entry value for a.b'],
  [[staticLayer({ a: [1] })], 'Invalid runtime entry value for a'],
  [[{ name: 'r', rtdsLayer: {} }], 'a name is necessary'],
];
for (const [layers, reason] of ERRORS) {
  test(`runtime error: ${reason}`, () => {
    const error = configError(() => createRuntime(layers));
    assert.equal(error.reason, reason);
    assert.match(error.path, /^layered_runtime\.layers\[\d\]/);
  });
}
