/** Duplicate address detection (RFC 4862 5.4) against the kernel's: whoever was there first keeps the address. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import { PipeDevice } from '../../../src/stack/link/pipe.ts';
import { cannotMakeNamespace, KernelPeer } from './namespace.ts';

const skip = cannotMakeNamespace() ?? false;

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > end) assert.fail(`timed out: ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const kind of ['tap', 'packet'] as const) {
  test(`an address that the kernel has is given up, others stay (${kind})`, { skip }, async () => {
    const peer = new KernelPeer({ kind, offload: false, probed: ['fd77::1/64', 'fd77::3/64'] });
    try {
      const [slot] = peer.stack.interfaces;
      peer.kick();
      await until(() => slot.duplicates.length > 0, 'the kernel to defend its address');
      assert.deepEqual(slot.duplicates.map(String), ['fd77::1']);
      assert.deepEqual(
        slot.addresses.map(({ address }) => String(address)),
        ['10.77.0.2', 'fd77::2', 'fd77::3'],
      );
      // What is left works: nobody listens, and we say so.
      const tried = await peer.python("import socket; print(socket.socket(socket.AF_INET6).connect_ex(('fd77::3', 9)))");
      assert.equal(tried, '111');
    } finally {
      peer.close();
    }
  });
}

test('the kernel does not get an address that is ours', { skip }, async () => {
  const peer = new KernelPeer({ kind: 'tap', offload: false });
  try {
    const device = /\d+: (slt\d+)/.exec(peer.ip('-o', 'link'))![1];
    peer.ip('-6', 'addr', 'add', 'fd77::2/64', 'dev', device);
    peer.ip('-6', 'addr', 'add', 'fd77::4/64', 'dev', device);
    const flagsOf = (address: string): string =>
      peer
        .ip('-6', '-o', 'addr', 'show', 'dev', device)
        .split('\n')
        .find((line) => line.includes(`${address}/`)) ?? '';
    await until(() => flagsOf('fd77::2').includes('dadfailed'), 'the kernel to find ours');
    await until(() => !flagsOf('fd77::4').includes('tentative'), 'the kernel to take a free one');
    assert.ok(!flagsOf('fd77::4').includes('dadfailed'));
    assert.deepEqual(peer.stack.interfaces[0].duplicates, []);
  } finally {
    peer.close();
  }
});

test('two stacks that want one address: the first to ask has it', () => {
  const stacks = PipeDevice.pair({ ethernet: true }).map((device, i) => {
    const stack = new NetStack({ random32: () => i + 1 });
    const slot = stack.addInterface(device, []);
    stack.addAddress(slot, 'fd77::9/64', true);
    stack.addAddress(slot, `fd77::${i + 1}/64`, true);
    return stack;
  });
  const run = (fromMs: number): void => {
    for (let now = fromMs; now < fromMs + 20; now++) for (const stack of stacks) stack.poll(now * 1000);
  };
  const seen = (): string[][] =>
    stacks.map(({ interfaces: [{ addresses, duplicates }] }) => [
      addresses.map(({ address }) => String(address)).join(),
      duplicates.join(),
    ]);
  run(1);
  const settled = [
    ['fd77::9,fd77::1', ''],
    ['fd77::2', 'fd77::9'],
  ];
  assert.deepEqual(seen(), settled);
  for (const stack of stacks) assert.ok(stack.nextDeadlineUs() <= 1_030_000);
  run(1030);
  for (const stack of stacks) assert.ok(stack.nextDeadlineUs() > 2_000_000);
  // Who asks later is told so, and nothing is taken from us.
  stacks[1].addAddress(stacks[1].interfaces[0], 'fd77::1/64', true);
  run(1100);
  settled[1][1] = 'fd77::9,fd77::1';
  assert.deepEqual(seen(), settled);
});
