/**
 * Clients that send a byte at a time towards upstreams that do not read: what the proxy keeps is in proportion to the bytes, not to
 * the number of reads, and it goes on serving others.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { BACKENDS, skipReason } from '../support/dispatchers.ts';
import { httpRequest, startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from './support/config.ts';
import { dial, type Wire } from './support/raw.ts';

const CLIENTS = 20;
const BYTES = 400;

for (const backend of BACKENDS) {
  test(`a byte at a time on ${backend}`, { skip: skipReason(backend) }, async (t) => {
    const sockets: Socket[] = [];
    const deaf = createServer({ pauseOnConnect: true }, (socket) => {
      socket.on('error', () => {});
      sockets.push(socket);
    }).listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    const kept = { timeout: '0s', retry_policy: { retry_on: '5xx' } };
    const proxy = await startProxy({
      backend,
      config: bootstrap(
        [
          listener('web', [
            http('web', [
              { match: { prefix: '/direct' }, direct_response: { status: 200, body: { inline_string: 'direct' } } },
              route('/', 'deaf', kept),
            ]),
          ]),
        ],
        [cluster('deaf', [(deaf.address() as AddressInfo).port])],
      ),
    });
    t.after(async () => {
      await proxy.stop();
      for (const socket of sockets) socket.destroy();
      deaf.close();
    });
    const clients: Wire[] = [];
    for (let i = 0; i < CLIENTS; i++) {
      const client = await dial(proxy.port('web'));
      client.send('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n');
      clients.push(client);
    }
    const received = 'http.web.downstream_cx_rx_bytes_total';
    for (let i = 0; i < BYTES; i++) {
      for (const client of clients) client.send('x');
      await new Promise((resolve) => setImmediate(resolve));
    }
    await proxy.untilStat(received, (n) => n >= CLIENTS * BYTES);
    // The gauge follows within a tenth of a second: it is settled when it stays.
    let held = 0;
    let same = 0;
    await proxy.untilStat('workers.buffer_blocks_held', (n) => {
      same = n === held ? same + 1 : 0;
      held = n;
      return n >= CLIENTS && same > 20;
    });
    assert.ok(held <= CLIENTS * 20, `${held} blocks held`);
    t.diagnostic(`${held} blocks held for ${CLIENTS * BYTES} bytes`);
    assert.equal((await httpRequest(proxy.port('web'), '/direct')).body, 'direct');
    for (const client of clients) client.destroy();
    await proxy.untilStat('http.web.downstream_cx_active', (n) => n === 0);
    for (const socket of sockets) socket.destroy();
    await proxy.untilStat('cluster.deaf.upstream_cx_active', (n) => n === 0);
    await proxy.untilStat('workers.buffer_blocks_held', (n) => n <= 2);
  });
}

describe('heads', () => {
  for (const backend of BACKENDS) {
    test(`that come a byte at a time on ${backend}`, { skip: skipReason(backend) }, async (t) => {
      const direct = { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'direct' } } };
      const proxy = await startProxy({ backend, config: bootstrap([listener('web', [http('web', [direct])])]) });
      t.after(() => proxy.stop());
      const client = await dial(proxy.port('web'));
      const request = `GET /slow HTTP/1.1\r\nhost: x\r\nx-long: ${'v'.repeat(500)}\r\n\r\n`;
      for (let i = 0; i < request.length; i++) {
        client.send(request[i]);
        await new Promise((resolve) => setImmediate(resolve));
        if (i === 500) assert.ok((await proxy.stat('workers.buffer_blocks_held')) < 20);
      }
      assert.equal((await client.message()).body.toString(), 'direct');
      client.destroy();
    });
  }
});
