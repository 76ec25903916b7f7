import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createHostStack, type EmbeddedHostStack, vcl } from '../../../src/stack/index.ts';
import { random } from '../svm/support.ts';

const { udp } = vcl.TransportProto;
let stack: EmbeddedHostStack;

before(async () => {
  stack = await createHostStack();
  vcl.appCreate('datagrams', { runtimeDir: stack.runtimeDir, rxFifoSize: 100_000, txFifoSize: 100_000 });
});

after(async () => {
  vcl.appDestroy();
  await stack.close();
});

function bound(port: number, nonBlocking = false): number {
  const sh = vcl.sessionCreate(udp, nonBlocking);
  assert.equal(vcl.sessionBind(sh, { ip: '127.0.0.1', port }), 0);
  return sh;
}

test('datagrams keep their boundaries and say who sent them; answers find their way', () => {
  const server = bound(53, true);
  const from = { ip: '', port: 0 };
  const buffer = new Uint8Array(70_000);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), -11);
  const clients = [0, 1, 2].map(() => vcl.sessionCreate(udp));
  for (const [i, sh] of clients.entries()) {
    assert.equal(vcl.sessionSendto(sh, Buffer.from(`question ${i}`), { ip: '127.0.0.1', port: 53 }), 10);
    assert.equal(vcl.sessionSendto(sh, Buffer.alloc(0), { ip: '127.0.0.1', port: 53 }), 0);
  }
  vcl.sessionAttr(server, 'flags', 0);
  const asked = new Map<number, string[]>();
  for (let i = 0; i < 6; i++) {
    const n = vcl.sessionRecvfrom(server, buffer, from);
    assert.equal(from.ip, '127.0.0.1');
    asked.set(from.port, [...(asked.get(from.port) ?? []), Buffer.from(buffer.subarray(0, n)).toString()]);
  }
  for (const [i, sh] of clients.entries()) {
    const { port } = vcl.sessionLocalAddress(sh)!;
    assert.deepEqual(asked.get(port), [`question ${i}`, '']);
    assert.equal(vcl.sessionSendto(server, Buffer.from(`answer ${i}`), { ip: '127.0.0.1', port }), 8);
    const short = new Uint8Array(3);
    assert.equal(vcl.sessionRecvfrom(sh, short, from), 3);
    assert.equal(Buffer.from(short).toString(), 'ans');
    assert.deepEqual(from, { ip: '127.0.0.1', port: 53 });
  }
  for (const sh of [...clients, server]) assert.equal(vcl.sessionClose(sh), 0);
});

test('ipPktinfo says to which address a datagram came; an answer may be sent from it', () => {
  const server = vcl.sessionCreate(udp, true);
  assert.equal(vcl.sessionBind(server, { ip: '0.0.0.0', port: 57 }), 0);
  const from: vcl.DatagramAddress = { ip: '', port: 0 };
  const buffer = new Uint8Array(100);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), -11);
  const client = vcl.sessionCreate(udp);
  assert.equal(vcl.sessionSendto(client, Buffer.from('one'), { ip: '127.0.0.5', port: 57 }), 3);
  vcl.sessionAttr(server, 'flags', 0);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), 3);
  assert.equal(from.local, undefined, 'only when asked for');
  assert.equal(vcl.sessionAttr(server, 'ipPktinfo'), 0);
  assert.equal(vcl.sessionAttr(server, 'ipPktinfo', 2), -22);
  assert.equal(vcl.sessionAttr(server, 'ipPktinfo', 1), 0);
  assert.equal(vcl.sessionAttr(vcl.sessionCreate(), 'ipPktinfo', 1), -95);
  assert.equal(vcl.sessionSendto(client, Buffer.from('two'), { ip: '127.0.0.5', port: 57 }), 3);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), 3);
  assert.equal(from.local, '127.0.0.5');
  assert.equal(vcl.sessionSendto(server, Buffer.from('answer'), from), 6);
  assert.equal(vcl.sessionRecvfrom(client, buffer, { ip: '', port: 0 }), 6);
  assert.equal(vcl.sessionSendto(server, Buffer.from('x'), { ...from, local: '127.0.0.6' }), -99);
  assert.equal(vcl.sessionSendto(server, Buffer.from('x'), { ...from, local: 'nonsense' }), -22);
  assert.equal(vcl.sessionSendto(server, Buffer.from('x'), { ...from, local: '::1' }), -22);
  const fixed = bound(58);
  assert.equal(vcl.sessionSendto(fixed, Buffer.from('x'), { ...from, local: '127.0.0.6' }), -22);
  for (const sh of [server, client, fixed]) vcl.sessionClose(sh);
});

test('a full receiver pushes back, nothing is lost or joined', () => {
  const server = bound(54, true);
  const client = vcl.sessionCreate(udp, true);
  const to = { ip: '127.0.0.1', port: 54 };
  const from = { ip: '', port: 0 };
  const buffer = new Uint8Array(70_000);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), -11);
  const rnd = random(4);
  const lengths: number[] = [];
  let sent = 0;
  let received = 0;
  let full = 0;
  while (received < 3000) {
    for (let i = 0; i < 20 && sent < 3000; i++) {
      lengths[sent] ??= rnd(5) === 0 ? rnd(30_000) : rnd(200);
      const n = vcl.sessionSendto(client, new Uint8Array(lengths[sent]).fill(sent), to);
      if (n === -11) {
        full++;
        break;
      }
      assert.equal(n, lengths[sent]);
      sent++;
    }
    for (let n = vcl.sessionRecvfrom(server, buffer, from); n >= 0; n = vcl.sessionRecvfrom(server, buffer, from)) {
      assert.equal(n, lengths[received]);
      if (n > 0) assert.ok(buffer[0] === (received & 255) && buffer[n - 1] === (received & 255));
      received++;
    }
  }
  assert.ok(full > 0);
  assert.equal(vcl.sessionSendto(client, new Uint8Array(65_508), to), -90);
  vcl.sessionClose(client);
  vcl.sessionClose(server);
});

test('what is sent before the connection is up arrives whole and in order, however much it is', () => {
  const server = bound(56, true);
  const client = vcl.sessionCreate(udp, true);
  const from = { ip: '', port: 0 };
  const buffer = new Uint8Array(70_000);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), -11);
  // No call in between handles the stack's answer, so these wait; together they exceed the FIFO.
  for (let i = 0; i < 10; i++)
    assert.equal(vcl.sessionSendto(client, new Uint8Array(30_000 + i).fill(i), { ip: '127.0.0.1', port: 56 }), 30_000 + i);
  for (let i = 0; i < 10; i++) {
    let n = -11;
    while (n === -11) n = vcl.sessionRecvfrom(server, buffer, from);
    assert.equal(n, 30_000 + i);
    assert.ok(buffer[0] === i && buffer[n - 1] === i);
  }
  vcl.sessionClose(client);
  vcl.sessionClose(server);
});

test('nobody there is said by a later call, epoll sees datagrams', () => {
  const client = vcl.sessionCreate(udp);
  const from = { ip: '', port: 0 };
  const buffer = new Uint8Array(100);
  assert.equal(vcl.sessionSendto(client, Buffer.from('x'), { ip: '127.0.0.1', port: 9 }), 1);
  assert.equal(vcl.sessionRecvfrom(client, buffer, from), -111);
  const server = bound(55, true);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), -11);
  const epoll = vcl.epollCreate();
  const events: vcl.EpollEvent[] = [];
  vcl.epollCtl(epoll, vcl.EPOLL_CTL.ADD, server, vcl.EPOLL.IN);
  assert.equal(vcl.epollWait(epoll, events, 4, 0), 0);
  vcl.sessionSendto(client, Buffer.from('y'), { ip: '127.0.0.1', port: 55 });
  assert.equal(vcl.epollWait(epoll, events, 4, 5000), 1);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), 1);
  assert.equal(vcl.epollWait(epoll, events, 4, 0), 0);
  vcl.sessionClose(server);
  vcl.sessionClose(client);
});
