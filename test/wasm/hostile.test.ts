/** A module that lies about every size and asks for too much of everything: what the host answers, and that nothing grows without end. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadPlugin, type TestPlugin } from '../../src/wasm/testing/module_test.ts';
import { buildC, needsClang } from './support/c_module.ts';

const skip = needsClang();

describe('a hostile module', { skip }, () => {
  const code = skip === false ? buildC('hostile') : new Uint8Array();
  const load = (): TestPlugin => loadPlugin(code, { name: 'p', vmId: 'v', clusters: ['known'] });
  const lines = (plugin: TestPlugin): string[] => plugin.environment.logs.map(({ message }) => message.slice(0, 100));

  test('counts and lengths that are not true: no function believes them, none traps', () => {
    const plugin = load();
    plugin.exchange({ headers: [['x-do', 'lies']] });
    assert.equal(plugin.wasm.failMessage, '');
    const said = lines(plugin).filter((line) => line.startsWith('wasm log'));
    assert.deepEqual(
      said.filter((line) => /with lies/.test(line)),
      [],
    );
    assert.equal(said.at(-1), 'wasm log p v: lies=0');
    assert.equal(plugin.environment.httpCalls.size, 0);
  });

  test('more than is allowed of everything: each comes to an end with a status', () => {
    const plugin = load();
    const stream = plugin.exchange({ headers: [['x-do', 'oversize']] });
    assert.equal(plugin.wasm.failMessage, '');
    const ends = Object.fromEntries(
      lines(plugin)
        .map((line) => /^wasm log p v: ([a-z ]+)=(\d+)$/.exec(line))
        .filter((match) => match !== null)
        .map(([, name, status]) => [name, Number(status)]),
    );
    // InternalFailure, for metrics BadArgument; properties of a test's stream have no limit of their own.
    assert.equal(ends['metrics end'], 2);
    assert.equal(ends['shared data end'], 10);
    assert.equal(ends['queue end'], 10);
    assert.equal(ends['calls end'], 10);
    assert.equal(ends['oversize'], 0);
    assert.ok(plugin.environment.httpCalls.size <= 10_000);
    assert.equal(stream.client.body.length, 8 << 20);
  });
});
