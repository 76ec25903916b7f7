/** The connection suite on every socket interface: the kernel's two, and the host stack's cut-through and TCP. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { cannotMakeNamespace } from '../../stack/link/namespace.ts';
import { BACKENDS } from '../../support/dispatchers.ts';
import { cutThroughSetup, kernelSetup, tapSetup } from '../../support/socket_setups.ts';
import { connectionSuite } from './connection_suite.ts';

/** The suite over TAP runs in a network namespace of its own: this file once more, under `unshare --net`. */
const IN_NAMESPACE = process.env['SLUICE_TEST_IN_NAMESPACE'] !== undefined;

if (IN_NAMESPACE) connectionSuite(tapSetup());
else {
  for (const backend of BACKENDS) connectionSuite(kernelSetup(backend));
  connectionSuite(cutThroughSetup());

  const reason = cannotMakeNamespace();
  test('connections on vcl, host-stack TCP over TAP to the kernel', { skip: reason ?? false }, async () => {
    const flags = ['--disable-warning=ExperimentalWarning', '--test-reporter=spec'];
    const script = `ip link set lo up && exec "$0" "$@"`;
    const child = spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, ...flags, import.meta.filename], {
      env: { ...process.env, SLUICE_TEST_IN_NAMESPACE: '1', NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said, [status]] = await Promise.all([text(child.stdout!), once(child, 'exit')]);
    assert.equal(status, 0, said);
    assert.match(said, /pass 1[0-9]/, said);
  });
}
