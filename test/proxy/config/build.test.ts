/** The descriptor set is built from the installed package when it is missing. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { bufPackage, buildApi } from '../../../src/proxy/config/api/build.ts';

test('buildApi writes one complete set and leaves nothing else', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-build-'));
  try {
    const target = join(folder, 'deep', 'api.binpb');
    buildApi(target);
    assert.deepEqual(readdirSync(join(folder, 'deep')), ['api.binpb']);
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(target)));
    assert.ok(registry.getMessage('envoy.config.bootstrap.v3.Bootstrap') !== undefined);
    assert.ok(registry.getExtension('validate.rules') !== undefined);
    assert.equal(registry.getMessage('envoy.api.v2.Listener'), undefined);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the name of buf's package", () => {
  assert.equal(bufPackage('linux', 'x64'), '@bufbuild/buf-linux-x64');
  assert.equal(bufPackage('linux', 'arm64'), '@bufbuild/buf-linux-aarch64');
  assert.equal(bufPackage('darwin', 'arm64'), '@bufbuild/buf-darwin-arm64');
});
