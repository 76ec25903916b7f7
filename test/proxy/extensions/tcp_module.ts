/** What the C module `tcp` does to the bytes of a listener `tcp` is the same wherever the module runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dial } from '../../interop/support/raw.ts';
import { type ProxyProcess, until } from '../../support/proxy_process.ts';

/** Defines the tests; `proxyOf` is asked when they run. */
export function testChangedBytes(proxyOf: () => ProxyProcess): void {
  test('bytes in both directions, changed; the end of the connection is told', async () => {
    const client = await dial(proxyOf().port('tcp'));
    client.send('hello');
    await client.until(() => client.text === '>HELLO<');
    assert.match(proxyOf().log, /new connection=0/);
    assert.match(proxyOf().log, /downstream=0:hello/);
    assert.match(proxyOf().log, /upstream=0:>HELLO/);
    client.destroy();
    await until(
      () => /downstream close=2[\s\S]*done=0[\s\S]*log=0[\s\S]*delete=0/.test(proxyOf().log),
      () => proxyOf().log,
    );
  });

  test('bytes that the module holds back are shown again with those that follow', async () => {
    const client = await dial(proxyOf().port('tcp'));
    client.send('wait?');
    await until(() => proxyOf().log.includes('downstream=0:wait?'), 'the module to see the bytes');
    client.send('more');
    await client.until(() => client.text === '>WAIT?MORE<');
    client.send('tail~');
    await until(() => proxyOf().log.includes('upstream=0:>TAIL~'), 'the module to see the answer');
    client.send('x');
    await client.until(() => client.text === '>WAIT?MORE<>TAIL~>X<');
    client.destroy();
  });
}
