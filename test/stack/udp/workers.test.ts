/** Workers of one application at one UDP address: peers are shared out among those that are there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createHostStack, vcl } from '../../../src/stack/index.ts';
import type { WorkerTicket } from '../../../src/stack/vcl/attach.ts';

const PEERS = 48;
const PORT = 77;

test('a peer always reaches the same worker, all workers have peers, and those of one that goes are taken over', async () => {
  const stack = await createHostStack({
    network: {
      devices: [
        { kind: 'pipe', name: 'p1', peer: 'p2', addresses: ['10.9.0.1/24'] },
        { kind: 'pipe', name: 'p2', peer: 'p1', addresses: ['10.9.1.1/24'] },
      ],
    },
  });
  const { runtimeDir } = stack;
  const workers = new Map<string, Worker>();
  let ticket: WorkerTicket | null = null;
  for (const name of ['a', 'b', 'c']) {
    const workerData = { runtimeDir, name, port: PORT, ticket };
    const worker = new Worker(new URL('./workers_peer.ts', import.meta.url), { workerData });
    worker.unref();
    workers.set(name, worker);
    [ticket] = (await once(worker, 'message')) as [WorkerTicket];
  }
  vcl.appCreate('client', { runtimeDir, scopeLocal: false });
  // By `sendto` over the session to the network: datagrams pass UDP.
  const peers = Array.from({ length: PEERS }, () => {
    const sh = vcl.sessionCreate(vcl.TransportProto.udp);
    assert.equal(vcl.sessionBind(sh, { ip: '10.9.0.1', port: 0 }), 0);
    const session = vcl.worker().session(sh)!;
    session.nonBlocking = true;
    // Until it has its session to the network, it cuts through.
    do {
      assert.ok(vcl.sessionRecvfrom(sh, new Uint8Array(1), { ip: '', port: 0 }) < 0);
      vcl.worker().wait(5);
    } while (!session.datagrams!.settled);
    session.nonBlocking = false;
    return sh;
  });
  const ask = (sh: number): string => {
    const buffer = new Uint8Array(10);
    const to = { ip: '10.9.1.1', port: PORT };
    assert.equal(vcl.sessionSendto(sh, Buffer.from('who'), to), 3);
    return Buffer.from(buffer.subarray(0, vcl.sessionRecvfrom(sh, buffer, to))).toString();
  };
  const tell = async (name: string, what: 'close' | 'leave'): Promise<void> => {
    workers.get(name)!.postMessage(what);
    await once(workers.get(name)!, 'message');
    // What the worker has said of it, the stack has seen when it answers a command.
    await stack.command('show session');
  };
  const first = peers.map(ask);
  assert.deepEqual(peers.map(ask), first);
  assert.deepEqual([...new Set(first)].sort(), ['a', 'b', 'c']);
  await tell('b', 'close');
  assert.deepEqual([...new Set(peers.map(ask))].sort(), ['a', 'c']);
  await tell('a', 'leave');
  assert.deepEqual([...new Set(peers.map(ask))], ['c']);
  for (const sh of peers) vcl.sessionClose(sh);
  await tell('c', 'close');
  for (const name of ['b', 'c']) await tell(name, 'leave');
  const { sessions } = JSON.parse((await stack.command('show session', { json: true })).text) as { sessions: number };
  assert.equal(sessions, 0);
  vcl.appDestroy();
  await stack.close();
});
