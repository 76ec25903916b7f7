/** UDP sessions of applications over the network: connectionless and connected, to the Linux kernel and through a pipe of one stack. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { createHostStack, type EmbeddedHostStack, vcl } from '../../../src/stack/index.ts';
import { cannotMakeNamespace } from '../link/namespace.ts';

const reason = cannotMakeNamespace();
const skip = reason === null ? false : reason;
const space = `slt-udp-${process.pid}`;
const { udp } = vcl.TransportProto;
const EAGAIN = -11;
const ECONNREFUSED = -111;
let stack: EmbeddedHostStack;
const programs: ChildProcess[] = [];

before(async () => {
  if (reason === null) execFileSync('ip', ['netns', 'add', space]);
  if (reason === null) execFileSync('ip', ['-n', space, 'link', 'set', 'lo', 'up']);
  const tun = {
    kind: 'tun',
    name: 'slu%d',
    addresses: ['10.74.0.2/24', 'fd74::2/64'],
    hostAddresses: ['10.74.0.1/24', 'fd74::1/64'],
    netns: space,
  };
  stack = await createHostStack({
    network: {
      devices: [
        ...(reason === null ? [tun] : []),
        { kind: 'pipe', name: 'p1', peer: 'p2', addresses: ['10.9.0.1/24'] },
        { kind: 'pipe', name: 'p2', peer: 'p1', addresses: ['10.9.1.1/24'] },
      ],
    },
  });
  vcl.appCreate('udp', { runtimeDir: stack.runtimeDir, rxFifoSize: 1 << 20, txFifoSize: 1 << 20 });
});

after(async () => {
  vcl.appDestroy();
  await stack.close();
  for (const program of programs) program.kill();
  if (reason === null) execFileSync('ip', ['netns', 'del', space]);
});

/** Starts a Python program in the namespace; its lines one by one. */
function python(code: string): { line: () => Promise<string> } {
  const program = spawn('ip', ['netns', 'exec', space, 'python3', '-u', '-c', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  programs.push(program);
  let text = '';
  program.stdout.on('data', (part: Buffer) => {
    text += part.toString();
  });
  return {
    line: async () => {
      while (!text.includes('\n')) {
        assert.equal(program.exitCode, null, 'the program ended without a word');
        await Promise.race([once(program.stdout, 'data'), once(program, 'exit')]);
      }
      const [first] = text.split('\n');
      text = text.slice(first.length + 1);
      return first;
    },
  };
}

const ECHO = (family: string, address: string): string => `
import socket
s = socket.socket(socket.${family}, socket.SOCK_DGRAM); s.bind(('${address}', 9000)); print('ready')
while True:
    d, a = s.recvfrom(65535); s.sendto(d, a)
`;

const bytes = (n: number, seed: number): Buffer =>
  Buffer.from(Array.from({ length: n }, (_, i) => (i * 31 + seed * 7 + (i >> 8)) & 255));

for (const [family, ours, theirs] of [
  ['AF_INET', '10.74.0.2', '10.74.0.1'],
  ['AF_INET6', 'fd74::2', 'fd74::1'],
] as const) {
  test(`${family}: datagrams of all sizes to an echo of the kernel and back, connectionless and connected`, {
    skip,
  }, async () => {
    assert.equal(await python(ECHO(family, theirs)).line(), 'ready');
    const buffer = new Uint8Array(70_000);
    const from = { ip: '', port: 0 };
    const sh = vcl.sessionCreate(udp);
    assert.equal(vcl.sessionBind(sh, { ip: ours, port: 0 }), 0);
    const connected = vcl.sessionCreate(udp);
    assert.equal(vcl.sessionConnect(connected, { ip: theirs, port: 9000 }), 0);
    assert.equal(vcl.sessionLocalAddress(connected)!.ip, ours);
    for (const [i, size] of [0, 1, 2, 100, 1452, 1472, 1473, 9000, 65_507].entries()) {
      const data = bytes(size, i);
      assert.equal(vcl.sessionSendto(sh, data, { ip: theirs, port: 9000 }), size);
      const n = vcl.sessionRecvfrom(sh, buffer, from);
      assert.ok(data.equals(buffer.subarray(0, n)), `${size}: ${n}`);
      assert.deepEqual(from, { ip: theirs, port: 9000 });
      assert.equal(vcl.sessionWrite(connected, data), size);
      const m = vcl.sessionRead(connected, buffer);
      assert.ok(data.equals(buffer.subarray(0, m)), `connected ${size}: ${m}`);
    }
    vcl.sessionClose(sh);
    vcl.sessionClose(connected);
  });
}

test('a server on :: answers many clients of both families with one session', { skip }, async () => {
  const sh = vcl.sessionCreate(udp, true);
  assert.equal(vcl.sessionBind(sh, { ip: '::', port: 53 }), 0);
  const buffer = new Uint8Array(70_000);
  const from = { ip: '', port: 0 };
  assert.equal(vcl.sessionRecvfrom(sh, buffer, from), EAGAIN);
  const program = python(`
import socket
good = 0
for k in range(100):
    f, a = (socket.AF_INET, '10.74.0.2') if k % 2 else (socket.AF_INET6, 'fd74::2')
    s = socket.socket(f, socket.SOCK_DGRAM); s.settimeout(30); s.connect((a, 53)); m = b'question %d' % k
    s.send(m); good += s.recv(100) == m[::-1]
print(good)
`);
  let said = '';
  void program.line().then((line) => (said = line));
  while (said === '') {
    const n = vcl.sessionRecvfrom(sh, buffer, from);
    if (n >= 0) assert.equal(vcl.sessionSendto(sh, buffer.slice(0, n).reverse(), from), n);
    else await new Promise(setImmediate);
  }
  assert.equal(said, '100');
  const sessions = JSON.parse((await stack.command('show session verbose 2', { json: true })).text) as Record<string, unknown>[];
  const own = sessions.filter(({ connectionless }) => connectionless !== undefined);
  assert.deepEqual(
    own.map(({ receivedDatagrams, sentDatagrams }) => [receivedDatagrams, sentDatagrams]),
    [[100, 100]],
  );
  vcl.sessionClose(sh);
});

test('a connected session hears that nobody listens; a listener without connectionless accepts a session per peer', {
  skip,
}, async () => {
  const sh = vcl.sessionCreate(udp);
  assert.equal(vcl.sessionConnect(sh, { ip: '10.74.0.1', port: 4 }), 0);
  assert.equal(vcl.sessionWrite(sh, Buffer.from('x')), 1);
  assert.equal(vcl.sessionRead(sh, new Uint8Array(10)), ECONNREFUSED);
  vcl.sessionClose(sh);
  const listener = vcl.sessionCreate(udp);
  assert.equal(vcl.sessionBind(listener, { ip: '10.74.0.2', port: 54 }), 0);
  assert.equal(vcl.sessionListen(listener), 0);
  const program = python(`
import socket
s = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
for k, x in enumerate(s): x.settimeout(30); x.connect(('10.74.0.2', 54)); x.send(b'hello %d' % k); x.send(b'again')
print([x.recv(100) for x in s])
`);
  const answers: string[] = [];
  for (let i = 0; i < 3; i++) {
    const peer = vcl.sessionAccept(listener);
    const buffer = new Uint8Array(100);
    answers.push(Buffer.from(buffer.subarray(0, vcl.sessionRead(peer, buffer))).toString());
    assert.equal(Buffer.from(buffer.subarray(0, vcl.sessionRead(peer, buffer))).toString(), 'again');
    assert.equal(vcl.sessionWrite(peer, Buffer.from(answers[i].toUpperCase())), 7);
    vcl.sessionClose(peer);
  }
  assert.deepEqual(answers.sort(), ['hello 0', 'hello 1', 'hello 2']);
  assert.equal(await program.line(), "[b'HELLO 0', b'HELLO 1', b'HELLO 2']");
  vcl.sessionClose(listener);
});

test('datagrams of a denied source are dropped, for a session of all peers and for one each', { skip }, async () => {
  const all = vcl.sessionCreate(udp, true);
  assert.equal(vcl.sessionBind(all, { ip: '10.74.0.2', port: 55 }), 0);
  const buffer = new Uint8Array(1000);
  const from = { ip: '', port: 0 };
  assert.equal(vcl.sessionRecvfrom(all, buffer, from), EAGAIN);
  const each = vcl.sessionCreate(udp, true);
  assert.equal(vcl.sessionBind(each, { ip: '10.74.0.2', port: 56 }), 0);
  assert.equal(vcl.sessionListen(each), 0);
  assert.ok((await stack.command('session sdl add 10.74.0.77/32')).ok);
  execFileSync('ip', ['-n', space, 'address', 'add', '10.74.0.77/32', 'dev', 'lo']);
  const program = python(`
import socket
for address in ('10.74.0.77', '10.74.0.1'):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((address, 0))
    for port in (55, 56): s.sendto(address.encode(), ('10.74.0.2', port))
print('sent')
`);
  assert.equal(await program.line(), 'sent');
  let n = EAGAIN;
  while (n === EAGAIN) {
    n = vcl.sessionRecvfrom(all, buffer, from);
    await new Promise(setImmediate);
  }
  // What was sent first was denied: nothing of it came before this.
  assert.equal(Buffer.from(buffer.subarray(0, n)).toString(), '10.74.0.1');
  assert.equal(from.ip, '10.74.0.1');
  assert.equal(vcl.sessionRecvfrom(all, buffer, from), EAGAIN);
  let accepted = EAGAIN;
  while (accepted === EAGAIN) {
    accepted = vcl.sessionAccept(each, true);
    await new Promise(setImmediate);
  }
  assert.equal(vcl.sessionPeerAddress(accepted)!.ip, '10.74.0.1');
  assert.equal(vcl.sessionAccept(each, true), EAGAIN);
  assert.ok((await stack.command('session sdl del 10.74.0.77/32')).ok);
  for (const sh of [all, each, accepted]) vcl.sessionClose(sh);
});

test('a server on any address answers from the one that was asked', { skip }, async () => {
  execFileSync('ip', ['-n', space, 'route', 'add', '10.9.0.1/32', 'via', '10.74.0.2']);
  const sh = vcl.sessionCreate(udp, true);
  assert.equal(vcl.sessionBind(sh, { ip: '0.0.0.0', port: 59 }), 0);
  assert.equal(vcl.sessionAttr(sh, 'ipPktinfo', 1), 0);
  const buffer = new Uint8Array(1000);
  const from: vcl.DatagramAddress = { ip: '', port: 0 };
  assert.equal(vcl.sessionRecvfrom(sh, buffer, from), EAGAIN);
  const program = python(`
import socket
said = []
for address in ('10.74.0.2', '10.9.0.1'):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30)
    s.sendto(b'who', (address, 59)); said.append(s.recvfrom(100)[1][0])
print(*said)
`);
  const stats = async (): Promise<Record<string, number>> =>
    JSON.parse((await stack.command('show udp stats', { json: true })).text) as Record<string, number>;
  const errors = (await stats())['sendErrors'];
  let said = '';
  void program.line().then((line) => (said = line));
  const asked: (string | undefined)[] = [];
  while (said === '') {
    if (vcl.sessionRecvfrom(sh, buffer, from) >= 0) {
      asked.push(from.local);
      // An address that is not ours is not sent from.
      assert.equal(vcl.sessionSendto(sh, Buffer.from('no'), { ...from, local: '10.74.0.99' }), 2);
      assert.equal(vcl.sessionSendto(sh, Buffer.from('me'), from), 2);
    } else await new Promise(setImmediate);
  }
  assert.deepEqual(asked, ['10.74.0.2', '10.9.0.1']);
  assert.equal(said, '10.74.0.2 10.9.0.1');
  assert.equal((await stats())['sendErrors'], errors + 2);
  vcl.sessionClose(sh);
});

test('one send is cut into segments, to the kernel and on the stack', { skip }, async () => {
  const program = python(`
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(30); s.bind(('10.74.0.1', 9001)); print('ready')
print([len(s.recv(65535)) for _ in range(45)])
`);
  assert.equal(await program.line(), 'ready');
  const sh = vcl.sessionCreate(udp);
  assert.equal(vcl.sessionAttr(sh, 'udpSegment', 70_000), -22);
  assert.equal(vcl.sessionAttr(sh, 'udpSegment', 1400), 0);
  assert.equal(vcl.sessionBind(sh, { ip: '0.0.0.0', port: 0 }), 0);
  assert.equal(vcl.sessionSendto(sh, bytes(44 * 1400 + 7, 1), { ip: '10.74.0.1', port: 9001 }), 44 * 1400 + 7);
  assert.equal(await program.line(), `[${[...Array.from({ length: 44 }, () => 1400), 7].join(', ')}]`);
  const local = vcl.sessionCreate(udp);
  assert.equal(vcl.sessionBind(local, { ip: '127.0.0.1', port: 60 }), 0);
  vcl.sessionAttr(local, 'flags', 0x800);
  assert.equal(vcl.sessionRecvfrom(local, new Uint8Array(9), { ip: '', port: 0 }), EAGAIN);
  vcl.sessionAttr(local, 'flags', 0);
  assert.equal(vcl.sessionSendto(sh, bytes(3000, 2), { ip: '127.0.0.1', port: 60 }), 3000);
  const sizes = [0, 1, 2].map(() => vcl.sessionRecvfrom(local, new Uint8Array(9000), { ip: '', port: 0 }));
  assert.deepEqual(sizes, [1400, 1400, 200]);
  vcl.sessionClose(local);
  vcl.sessionClose(sh);
});

test('through the stack to an own address; what the receiver has no room for is counted, and its memory comes back', async () => {
  const server = vcl.sessionCreate(udp, true);
  assert.equal(vcl.sessionBind(server, { ip: '10.9.1.1', port: 77 }), 0);
  const from = { ip: '', port: 0 };
  const buffer = new Uint8Array(70_000);
  assert.equal(vcl.sessionRecvfrom(server, buffer, from), EAGAIN);
  const client = vcl.sessionCreate(udp);
  assert.equal(vcl.sessionBind(client, { ip: '10.9.0.1', port: 0 }), 0);
  const data = bytes(20_000, 3);
  for (let i = 0; i < 200; i++) assert.equal(vcl.sessionSendto(client, data, { ip: '10.9.1.1', port: 77 }), data.length);
  const stats = async (): Promise<Record<string, number>> =>
    JSON.parse((await stack.command('show udp stats', { json: true })).text) as Record<string, number>;
  let counted = await stats();
  // The receive FIFO holds 1 MB: the rest of 4 MB is lost.
  while (counted.receiveBufferErrors < 140) counted = await stats();
  let got = 0;
  for (let n = vcl.sessionRecvfrom(server, buffer, from); n >= 0; n = vcl.sessionRecvfrom(server, buffer, from)) {
    assert.ok(data.equals(buffer.subarray(0, n)));
    assert.equal(from.ip, '10.9.0.1');
    got++;
  }
  assert.ok(got > 40 && got + counted.receiveBufferErrors <= 200, `${got} ${counted.receiveBufferErrors}`);
  vcl.sessionClose(client);
  vcl.sessionClose(server);
  let left = JSON.parse((await stack.command('show session', { json: true })).text) as { sessions: number };
  while (left.sessions > 0) left = JSON.parse((await stack.command('show session', { json: true })).text) as { sessions: number };
  const { inUse } = JSON.parse((await stack.command('show buffers', { json: true })).text) as { inUse: number };
  assert.equal(inUse, 0);
});
