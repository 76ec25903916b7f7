/** The generated parts of the documentation say what the code does now. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PEER_ROWS } from '../../scripts/docs/peers.ts';
import { SECTIONS, withSections } from '../../scripts/feature-table.ts';
import { OPERATORS } from '../../src/proxy/access_log/format_parser.ts';
import { EXTENSION_POINTS, SUPPORTED_FIELDS } from '../../src/proxy/config/supported.ts';
import { HTTP_FILTERS, LISTENER_FILTERS, NETWORK_FILTERS } from '../../src/proxy/extensions/registry.ts';
import { ADMIN_HANDLERS } from '../../src/proxy/server/admin/handlers.ts';

describe('generated documentation', () => {
  for (const file of Object.keys(SECTIONS)) {
    test(`${file} is up to date`, () => {
      const { before, after } = withSections(file);
      assert.equal(before, after, 'run: npm run docs');
    });
  }

  test('names everything that the tables have', () => {
    const { after } = withSections('docs/features.md');
    for (const name of Object.keys(OPERATORS)) assert.ok(after.includes(`\`${name}\``), name);
    for (const { path } of ADMIN_HANDLERS) assert.ok(after.includes(`| \`${path}\` |`), path);
    for (const name of Object.keys(SUPPORTED_FIELDS)) assert.ok(after.includes(`\`${name}\``), name);
  });
});

describe('what configuration may name is what is built', () => {
  const points: [string, ReadonlyMap<string, unknown>][] = [
    ['envoy.config.listener.v3.ListenerFilter.typed_config', LISTENER_FILTERS],
    ['envoy.config.listener.v3.Filter.typed_config', NETWORK_FILTERS],
    ['envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter.typed_config', HTTP_FILTERS],
  ];
  for (const [point, registered] of points) {
    test(point, () => {
      assert.deepEqual(EXTENSION_POINTS[point].trim().split(/\s+/).sort(), [...registered.keys()].sort());
    });
  }
});

test('each row of the comparison has its five answers', () => {
  for (const row of PEER_ROWS) {
    for (const answer of [row.sluice, row.envoy, row.nginx, row.haproxy, row.vpp]) {
      assert.ok(['yes', 'partly', 'no', ''].includes(answer), row.feature);
    }
  }
  assert.equal(new Set(PEER_ROWS.map((row) => row.feature)).size, PEER_ROWS.length);
});
