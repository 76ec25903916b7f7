/** What configuration may say about the host stack's socket interface, and what it is told when it may not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bootstrap, cluster, listener, networkFilter } from '../../../interop/support/config.ts';
import { onVcl, VCL, vclExtension } from '../../../interop/support/vcl.ts';
import { spawnProxy } from '../../../support/proxy_process.ts';

type Json = Record<string, unknown>;

const echo = networkFilter('echo', {});
const ENVOYS: Json = {
  bootstrap_extensions: [
    { name: VCL, typed_config: { '@type': 'type.googleapis.com/envoy.extensions.vcl.v3alpha.VclSocketInterface' } },
  ],
  default_socket_interface: VCL,
};

/** The status and log of `--mode validate`. */
async function validate(config: Json): Promise<{ status: number | null; log: string }> {
  const proxy = spawnProxy({ config, args: ['--mode', 'validate'] });
  const status = await proxy.exited;
  return { status, log: proxy.log };
}

describe('the vcl socket interface in configuration', () => {
  test("as Envoy's documentation has it", async () => {
    const { status, log } = await validate(bootstrap([listener('a', [echo])], [cluster('c', [80])], ENVOYS));
    assert.equal(status, 0, log);
  });

  const mistakes: [string, Json, RegExp][] = [
    [
      'a default that is not loaded',
      bootstrap([], [], { default_socket_interface: VCL }),
      /default_socket_interface: there is no socket interface 'envoy\.extensions\.vcl\.vcl_socket_interface'/,
    ],
    [
      'a listener that wants one that is not loaded',
      bootstrap([listener('a', [echo], onVcl)]),
      /listeners\[0\]\.metadata.*no socket interface/,
    ],
    [
      'a cluster that wants one that is not loaded',
      bootstrap([], [cluster('c', [80], onVcl)]),
      /clusters\[0\]\.metadata.*no socket interface/,
    ],
    [
      'an unknown field beside the name',
      bootstrap(
        [listener('a', [echo], { metadata: { filter_metadata: { 'sluice.socket_interface': { nam: VCL } } } })],
        [],
        ENVOYS,
      ),
      /unknown field 'nam'/,
    ],
    ['a pipe', bootstrap([], [cluster('c', ['/tmp/x.sock'], onVcl)], ENVOYS), /has no pipes/],
    [
      'a socket option that it would not honour',
      bootstrap([listener('a', [echo], { socket_options: [{ level: 1, name: 36, int_value: 1 }] })], [], ENVOYS),
      /does not support the socket option of level 1, name 36/,
    ],
    [
      'a transparent listener',
      bootstrap([listener('a', [echo], { transparent: true })], [], ENVOYS),
      /cannot listen transparently/,
    ],
    ['a FIFO of no size', bootstrap([], [], vclExtension({ rx_fifo_size: 1 })), /rx_fifo_size: a FIFO has 4096 to/],
    [
      'a stack configuration that is not there',
      bootstrap([], [], vclExtension({ embedded_stack: { config_path: '/nonexistent/stack.json' } })),
      /config_path: ENOENT/,
    ],
    [
      'loaded twice',
      bootstrap([], [], {
        bootstrap_extensions: [ENVOYS, vclExtension({})].flatMap((part) => part['bootstrap_extensions'] as Json[]),
      }),
      /loaded twice/,
    ],
  ];
  for (const [what, config, message] of mistakes) {
    test(`refused: ${what}`, async () => {
      const { status, log } = await validate(config);
      assert.equal(status, 1, log);
      assert.match(log, message);
    });
  }

  test('without a stack the proxy does not start, and says what to do', async () => {
    const config = bootstrap([listener('a', [echo], onVcl)], [], vclExtension({ runtime_dir: '/nonexistent/stack' }));
    const proxy = spawnProxy({ config });
    assert.equal(await proxy.exited, 1);
    assert.match(proxy.log, /no host stack to attach to: .*sluice stack/);
  });

  test('an embedded stack comes with the proxy', async () => {
    const proxy = spawnProxy({ config: bootstrap([listener('a', [echo], onVcl)], [], vclExtension({ embedded_stack: {} })) });
    await proxy.ready();
    assert.equal(await proxy.stat('vcl.listeners_active'), 1);
    assert.ok(proxy.port('a') >= 1024, 'port 0 became a port of the stack');
    await proxy.stop();
  });
});
