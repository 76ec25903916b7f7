import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pollDescriptors } from '../../../src/core/sys/eventfd.ts';
import { closeDescriptor, connectSeqpacket, receivePacket, sendPacket } from '../../../src/core/sys/unix_socket.ts';
import { createHostStack, type EmbeddedHostStack } from '../../../src/stack/create_host_stack.ts';
import { attachMessage } from '../../../src/stack/vcl/attach.ts';
import { Ready, type VclSession, VclState } from '../../../src/stack/vcl/session.ts';
import { VclWorker } from '../../../src/stack/vcl/worker.ts';
import { acceptOn, connectTo, listenOn, readAll, until } from '../support.ts';

const E = { ACCES: 13, ADDRINUSE: 98, CONNRESET: 104, CONNREFUSED: 111, PIPE: 32, AGAIN: 11, NETDOWN: 100 };

let stack: EmbeddedHostStack;
let server: VclWorker;
let client: VclWorker;

before(async () => {
  stack = await createHostStack({
    namespaces: [{ id: 'blue' }, { id: 'red', secret: 'open sesame', fib: 7 }],
    segments: { slots: 16, arenaPages: 64, maxSegments: 4 },
  });
  server = VclWorker.attachBlocking('server', { runtimeDir: stack.runtimeDir, rxFifoSize: 65536, txFifoSize: 65536 });
  client = VclWorker.attachBlocking('client', { runtimeDir: stack.runtimeDir });
});

after(async () => {
  server.destroy();
  client.destroy();
  await stack.close();
});

async function rows(command: string): Promise<Record<string, unknown>[]> {
  const result = await stack.command(command, { json: true });
  assert.ok(result.ok, result.text);
  return JSON.parse(result.text);
}

function pair(port: number): { listener: VclSession; a: VclSession; b: VclSession } {
  const listener = listenOn(server, '0.0.0.0', port);
  assert.equal(listener.state, VclState.listening);
  const a = connectTo(client, '127.0.0.1', port);
  assert.equal(a.error, 0);
  return { listener, a, b: acceptOn(server, listener) };
}

test('bytes go both ways; half-close ends one direction, the other lives on', () => {
  const { listener, a, b } = pair(1001);
  assert.equal(a.remote.toString(), '127.0.0.1:1001');
  assert.equal(b.remote.toString(), a.local.toString());
  assert.equal(b.local.toString(), a.remote.toString());
  assert.equal(a.write(Buffer.from('ping')), 4);
  client.shutdownWrite(a);
  assert.equal(String(readAll(server, b)), 'ping');
  assert.equal(a.write(Buffer.from('x')), -E.PIPE);
  assert.equal(b.write(Buffer.from('pong')), 4);
  server.close(b);
  assert.equal(String(readAll(client, a)), 'pong');
  client.close(a);
  server.close(listener);
});

test('close delivers what was written before', () => {
  const { listener, a, b } = pair(1002);
  const data = Buffer.alloc(60_000, 'abcdefg');
  assert.equal(a.write(data), data.length);
  client.close(a);
  assert.deepEqual(readAll(server, b), data);
  until(() => b.peerClosed, server);
  assert.equal(b.write(data), -E.PIPE);
  server.close(b);
  server.close(listener);
});

test('close with unread data resets the peer', () => {
  const { listener, a, b } = pair(1003);
  b.write(Buffer.from('never read'));
  until(() => a.readable > 0, client);
  client.close(a);
  assert.equal(readAll(server, b), -E.CONNRESET);
  assert.equal(b.write(Buffer.from('x')), -E.CONNRESET);
  assert.equal(b.readiness & (Ready.err | Ready.hup), Ready.err | Ready.hup);
  server.close(b);
  server.close(listener);
});

test('a full FIFO says so and tells when there is room', () => {
  const { listener, a, b } = pair(1004);
  const data = Buffer.alloc(200_000, 1);
  assert.equal(a.write(data), 65536);
  assert.equal(a.write(data), -E.AGAIN);
  assert.equal(a.readiness & Ready.out, 0);
  let events = 0;
  a.observer = { onSessionEvent: (_, mask) => (events |= mask) };
  const target = Buffer.alloc(40_000);
  until(() => b.read(target) === 40_000, server);
  until(() => (events & Ready.out) !== 0, client);
  assert.equal(a.write(data), 40_000);
  client.close(a);
  server.close(b);
  server.close(listener);
});

test('nobody listening is refused, a taken port is in use, a closed listener frees it', async () => {
  const session = connectTo(client, '127.0.0.1', 9);
  assert.equal(session.error, E.CONNREFUSED);
  const listener = listenOn(server, '127.0.0.1', 1005);
  // The same session may try again.
  session.remote.port = 1005;
  assert.equal(client.connect(session), 0);
  until(() => session.state === VclState.ready, client);
  assert.equal(session.error, 0);
  assert.equal(session.write(Buffer.from('x')), 1);
  client.close(session);
  const again = listenOn(client, '127.0.0.1', 1005);
  assert.equal(again.error, E.ADDRINUSE);
  client.close(again);
  server.close(listener);
  await rows('show app');
  const third = listenOn(client, '127.0.0.1', 1005);
  assert.equal(third.state, VclState.listening);
  client.close(third);
  const errors = await rows('show errors');
  assert.ok(errors.some((row) => row['reason'] === 'connection refused'));
});

test('port 0 listens somewhere, and IPv6 works; :: takes IPv4 as well', () => {
  const listener = listenOn(server, '::', 0);
  const { port } = listener.local;
  assert.ok(port >= 1024);
  const six = connectTo(client, '::1', port);
  const four = connectTo(client, '127.0.0.1', port);
  assert.equal(six.error, 0);
  assert.equal(four.error, 0);
  const first = acceptOn(server, listener);
  const second = acceptOn(server, listener);
  assert.equal(first.remote.toString(), `[::1]:${six.local.port}`);
  assert.equal(second.local.toString(), `127.0.0.1:${port}`);
  for (const session of [six, four]) client.close(session);
  for (const session of [first, second, listener]) server.close(session);
});

test('the backlog is a limit on connections that were not accepted', () => {
  const listener = listenOn(server, '0.0.0.0', 1006, 3);
  const sessions = [0, 1, 2].map(() => connectTo(client, '127.0.0.1', 1006));
  assert.deepEqual(
    sessions.map((session) => session.error),
    [0, 0, 0],
  );
  const late = client.createSession(0);
  late.remote.set('127.0.0.1', 1006);
  client.connect(late);
  // It waits, as a SYN would: others are answered meanwhile.
  assert.equal(connectTo(client, '127.0.0.1', 9).error, E.CONNREFUSED);
  assert.equal(late.state, VclState.connecting);
  const accepted = acceptOn(server, listener);
  until(() => late.state === VclState.ready, client);
  for (const session of [...sessions, late]) client.close(session);
  server.close(accepted);
  // Those that were never accepted are reset when the listener goes.
  server.close(listener);
});

test('connects beyond the backlog go on as soon as there is room', () => {
  const listener = listenOn(server, '0.0.0.0', 1016, 2);
  const sessions = Array.from({ length: 300 }, () => {
    const session = client.createSession(0);
    session.remote.set('127.0.0.1', 1016);
    client.connect(session);
    return session;
  });
  // Well before a timer would have come round for each of them.
  for (let i = 0; i < sessions.length; i++) {
    server.close(acceptOn(server, listener));
    client.poll();
    for (const session of sessions) if (session.state === VclState.ready) client.close(session);
  }
  until(() => sessions.every((session) => session.state !== VclState.connecting), client);
  assert.ok(sessions.every((session) => session.error === 0 || session.error === E.CONNRESET));
  for (const session of sessions) client.close(session);
  const waiting = [0, 1, 2, 3].map(() => {
    const session = client.createSession(0);
    session.remote.set('127.0.0.1', 1016);
    client.connect(session);
    return session;
  });
  until(() => waiting[1].state === VclState.ready, client);
  // Those that still wait for a listener that goes are refused.
  server.close(listener);
  until(() => waiting[3].state !== VclState.connecting, client);
  assert.deepEqual(
    waiting.slice(2).map((session) => session.error),
    [E.CONNREFUSED, E.CONNREFUSED],
  );
  for (const session of waiting) client.close(session);
});

test('segments are added when they are full, and removed when they are empty', async () => {
  const listener = listenOn(server, '0.0.0.0', 1007);
  const sessions = Array.from({ length: 40 }, () => connectTo(client, '127.0.0.1', 1007));
  assert.ok(sessions.every((session) => session.error === 0));
  assert.equal((await rows('show segment-manager')).length, 3);
  // Descriptors that are closed twice may be another thread's by then.
  const closes = new Map([...new Set(sessions.map((session) => session.end!))].map((end) => [end, 0]));
  for (const end of closes.keys()) {
    const close = end.close.bind(end);
    end.close = () => {
      closes.set(end, closes.get(end)! + 1);
      close();
    };
  }
  const accepted = sessions.map(() => acceptOn(server, listener));
  for (const [i, session] of sessions.entries()) session.write(Buffer.from(`#${i}`));
  for (const session of sessions) client.close(session);
  const seen = accepted.map((session) => String(readAll(server, session))).sort();
  assert.deepEqual(seen, sessions.map((_, i) => `#${i}`).sort());
  for (const session of accepted) server.close(session);
  assert.equal((await rows('show segment-manager')).length, 1);
  until(() => [...closes.values()].filter((times) => times > 0).length === 2, client);
  assert.deepEqual([...closes.values()].sort(), [0, 1, 1]);
  server.close(listener);
  // More than the segments can hold.
  const many = listenOn(server, '0.0.0.0', 1008);
  const all = Array.from({ length: 65 }, () => connectTo(client, '127.0.0.1', 1008));
  assert.equal(all.filter((session) => session.error === 0).length, 64);
  for (const session of all) client.close(session);
  server.close(many);
});

test('workers of one application share a listener round robin', () => {
  const other = VclWorker.registerBlocking(server.ticket);
  const one = listenOn(server, '0.0.0.0', 1009);
  const two = listenOn(other, '0.0.0.0', 1009);
  assert.equal(two.state, VclState.listening);
  const sessions = [0, 1, 2, 3].map(() => connectTo(client, '127.0.0.1', 1009));
  until(() => one.acceptQueue.length === 2, server);
  until(() => two.acceptQueue.length === 2, other);
  other.destroy();
  until(() => sessions.filter((session) => session.error === E.CONNRESET).length === 2, client);
  const next = connectTo(client, '127.0.0.1', 1009);
  assert.equal(next.error, 0);
  for (const session of [...sessions, next]) client.close(session);
  server.close(one);
  assert.throws(() => VclWorker.registerBlocking({ ...server.ticket, token: 'guess' }), /belongs to another/);
});

test('namespaces isolate, ask for their secret, and keep their rules', async () => {
  const at = { runtimeDir: stack.runtimeDir };
  const blue = VclWorker.attachBlocking('blue', { ...at, namespaceId: 'blue', scopeGlobal: false });
  const hidden = listenOn(blue, '0.0.0.0', 1010);
  assert.equal(connectTo(client, '127.0.0.1', 1010).error, E.CONNREFUSED);
  // Global scope on the same routing table crosses namespaces; another table does not.
  const open = VclWorker.attachBlocking('open', { ...at, namespaceId: 'blue' });
  const listener = listenOn(open, '0.0.0.0', 1011);
  const across = connectTo(client, '127.0.0.1', 1011);
  assert.equal(across.error, 0);
  assert.throws(() => VclWorker.attachBlocking('x', { ...at, namespaceId: 'red' }), /wrong namespace secret/);
  const red = VclWorker.attachBlocking('red', { ...at, namespaceId: 'red', namespaceSecret: 'open sesame' });
  assert.equal(connectTo(red, '127.0.0.1', 1011).error, E.CONNREFUSED);

  const add = 'session rule add appns default proto tcp 0.0.0.0/0 0 127.0.0.0/8 1011 action deny tag no';
  assert.ok((await stack.command(add)).ok);
  assert.equal(connectTo(client, '127.0.0.1', 1011).error, E.ACCES);
  const apps = await rows('show app');
  const index = apps.find((row) => row['name'] === 'open')!['index'];
  assert.ok((await stack.command(`session rule add proto tcp 0.0.0.0/0 0 10.9.9.9 443 action ${index}`)).ok);
  const redirected = connectTo(client, '10.9.9.9', 443);
  assert.equal(redirected.error, 0);
  assert.equal((await rows('show session rules')).length, 2);
  assert.ok((await stack.command(add.replace(' add ', ' del ').replace('deny', 'allow'))).ok);
  assert.equal(connectTo(client, '127.0.0.1', 1011).error, 0);
  assert.equal((await stack.command('session rule add proto tcp nonsense')).ok, false);
  blue.close(hidden);
  open.close(listener);
  for (const worker of [blue, open, red]) worker.destroy();
});

test('a namespace can be added while the stack runs', async () => {
  assert.ok((await stack.command('app ns add id green secret s')).ok);
  assert.equal((await stack.command('app ns add id green')).ok, false);
  assert.equal((await stack.command('app ns add id ../up')).ok, false);
  const green = VclWorker.attachBlocking('green', { runtimeDir: stack.runtimeDir, namespaceId: 'green', namespaceSecret: 's' });
  assert.ok((await rows('show app ns')).some((row) => row['id'] === 'green' && row['applications'] === 1));
  green.destroy();
});

test('another layout version is refused with a clear reason', () => {
  const socket = connectSeqpacket(`${stack.runtimeDir}/app_ns_sockets/default`);
  sendPacket(socket, Buffer.from(JSON.stringify({ ...attachMessage('old', {}), layoutVersion: 99 })));
  pollDescriptors([socket], 5000);
  const answer = receivePacket(socket);
  assert.ok(answer.kind === 'packet');
  assert.match(answer.data.toString(), /application has layout version 99, the stack has 2/);
  sendPacket(socket, Buffer.from('garbage'));
  closeDescriptor(socket);
});

test('nonsense on the sockets and in the queues hurts nobody else', async () => {
  for (let i = 0; i < 20; i++) {
    const socket = connectSeqpacket(`${stack.runtimeDir}/app_ns_sockets/default`);
    sendPacket(socket, Buffer.from(`{"type":"attach","name":${i}}`));
    closeDescriptor(socket);
  }
  const rogue = VclWorker.attachBlocking('rogue', { runtimeDir: stack.runtimeDir });
  // Requests for sessions of others, unknown types, impossible values.
  const queue = (rogue as unknown as { control: { toStack: { sendControl(message: Int32Array): boolean } } }).control.toStack;
  const { listener, a, b } = pair(1012);
  const message = new Int32Array(16);
  for (let type = -2; type < 12; type++) {
    for (let session = 0; session < 40; session++) {
      message.fill(session * 7919);
      message[0] = type;
      message[2] = session;
      message[3] = 0;
      queue.sendControl(message);
    }
  }
  await stack.command('show session');
  assert.equal(a.write(Buffer.from('still here')), 10);
  until(() => b.readable === 10, server);
  const segment = (rogue as unknown as { attachment: { segment: { i32: Int32Array; queueWord(d: number): number } } }).attachment
    .segment;
  segment.i32[segment.queueWord(1) + 16 + 32 + 1024 + 0] = 0x7fff0000;
  rogue.destroy();
  client.close(a);
  server.close(b);
  server.close(listener);
});

test('clear session resets both applications', async () => {
  const { listener, a, b } = pair(1013);
  const all = await rows('show session verbose 1');
  const row = all.find((each) => String(each['connection']).endsWith(`->127.0.0.1:1013`))!;
  assert.ok((await stack.command(`clear session ${/\d+/.exec(String(row['connection']))![0]}`)).ok);
  until(() => a.error === E.CONNRESET, client);
  until(() => b.error === E.CONNRESET, server);
  client.close(a);
  server.close(b);
  server.close(listener);
});

test('show session chooses by index, listeners, protocol, state, application, addresses and range', async () => {
  const first = pair(1020);
  const second = pair(1021);
  const names = async (words: string): Promise<string[]> =>
    (await rows(`show session ${words}`)).map((row) => String(row['connection']).replace(/^\[\d+\] /, ''));
  assert.deepEqual(await names('listeners tcp'), ['tcp 0.0.0.0:1020->0.0.0.0:0', 'tcp 0.0.0.0:1021->0.0.0.0:0']);
  assert.deepEqual(await names('listeners udp'), []);
  assert.deepEqual(await names('rmt 127.0.0.1:1021'), [`ct ${second.a.local}->127.0.0.1:1021`]);
  assert.deepEqual(await names('lcl 127.0.0.1:1021'), [`ct 127.0.0.1:1021->${second.a.local}`]);
  assert.equal((await names('ep 127.0.0.1:1020')).length, 2);
  assert.equal((await names('ep 127.0.0.1:1020 app client state ready')).length, 1);
  assert.equal((await names('state connecting')).length, 0);
  assert.equal((await names('proto ct range 1 3')).length, 2);
  const [row] = await rows(`show session thread 0 rmt 127.0.0.1:1020 verbose 2`);
  const index = /\d+/.exec(String(row['connection']))![0];
  assert.match(String(row['details']), /segment/);
  assert.deepEqual(await names(index), [`ct ${first.a.local}->127.0.0.1:1020`]);
  const [ct] = await rows('show session transport');
  assert.equal(ct['transport'], 'ct');
  assert.ok((ct['sessions'] as number) >= 4 && ct['listeners'] === 0);
  assert.ok((await rows('show session protos')).some((each) => each['proto'] === 'tcp' && each['number'] === 0));
  assert.deepEqual((await rows('show session states'))[1], { state: 'listening', number: 1 });
  for (const [words, message] of [
    ['what', /^usage: show session/],
    ['thread 1', /^there is one thread: 0$/],
    ['proto tcpp', /^unknown proto 'tcpp', there are tcp, udp/],
    ['state odd', /^unknown state 'odd', there are created, listening/],
    ['lcl 10.0.0.1:70000', /^lcl takes an address/],
    ['range 3 1', /^usage/],
  ] as const) {
    const { ok, text } = await stack.command(`show session ${words}`);
    assert.equal(ok, false, words);
    assert.match(text, message);
  }
  assert.ok((await stack.command('clear session stats')).ok);
  assert.equal((JSON.parse((await stack.command('show session', { json: true })).text) as { connects: number }).connects, 0);
  assert.ok((await stack.command(`clear session thread 0 session ${index}`)).ok);
  until(() => first.a.error === E.CONNRESET, client);
  for (const { listener, a, b } of [first, second]) {
    client.close(a);
    server.close(b);
    server.close(listener);
  }
});

test('show app and show segment-manager of one', async () => {
  const { listener, a, b } = pair(1025);
  const [worker] = await rows('show app server');
  assert.deepEqual([worker['app'], worker['pid'], worker['responsive']], ['server', process.pid, 'yes']);
  assert.ok((worker['listeners'] as number) >= 1 && (worker['sessions'] as number) >= 2);
  const all = await rows('show segment-manager');
  assert.deepEqual(await rows(`show segment-manager index ${all[0]['segment']}`), [all[0]]);
  for (const [line, message] of [
    ['show app nobody', /^no application 'nobody'$/],
    ['show app a b', /^usage: show app/],
    ['show segment-manager index 99999', /^no segment 99999$/],
    ['show segment-manager what', /^usage: show segment-manager/],
  ] as const) {
    const { ok, text } = await stack.command(line);
    assert.equal(ok, false, line);
    assert.match(text, message);
  }
  client.close(a);
  server.close(b);
  server.close(listener);
});

test('unknown commands fail, help lists what there is', async () => {
  assert.deepEqual(await stack.command('make coffee'), { ok: false, text: "unknown command 'make coffee', try 'help'" });
  assert.ok((await stack.command('help')).text.includes('show segment-manager'));
});

test('source deny lists: the longest prefix decides, one list for each routing table, bad input is refused', async () => {
  for (const line of [
    'session sdl add 10.0.0.0/8 action deny tag ten',
    'session sdl add 10.1.0.0/16 action allow tag ten',
    'session sdl add fd00::/8',
    'session sdl add 0.0.0.0/0 action deny appns red tag all',
  ]) {
    assert.deepEqual(await stack.command(line, { json: true }), { ok: true, text: '{}' }, line);
  }
  for (const [line, message] of [
    ['session sdl add 10.0.0.0/8', /already/],
    ['session sdl add 10.0.0.0/33', /no prefix/],
    ['session sdl add 10.0.0.0/8 action 7', /deny or allow/],
    ['session sdl add 11.0.0.0/8 appns nowhere', /no namespace/],
    [`session sdl add 11.0.0.0/8 tag ${'x'.repeat(65)}`, /at most 64/],
    ['session sdl add', /usage/],
    ['session sdl 10.0.0.0/8', /usage/],
    ['session sdl del 12.0.0.0/8', /no source/],
    ['session sdl del tag nobody', /no source/],
    ['show session sdl everywhere', /no address/],
  ] as const) {
    const refused = await stack.command(line);
    assert.equal(refused.ok, false, line);
    assert.match(refused.text, message);
  }
  assert.equal((await rows('show session sdl')).length, 3);
  assert.deepEqual(await rows('show session sdl 10.1.2.3'), [{ source: '10.1.0.0/16', action: 'allow', tag: 'ten' }]);
  assert.deepEqual(await rows('show session sdl 10.2.2.3'), [{ source: '10.0.0.0/8', action: 'deny', tag: 'ten' }]);
  assert.deepEqual(await rows('show session sdl fd12::1'), [{ source: 'fd00::/8', action: 'deny', tag: '' }]);
  assert.deepEqual(await rows('show session sdl 11.2.2.3'), []);
  assert.ok((await stack.command('session sdl del tag ten')).ok);
  assert.ok((await stack.command('session sdl del fd00::/8')).ok);
  assert.deepEqual(await rows('show session sdl'), []);
  assert.ok((await stack.command('session sdl del appns red tag all')).ok);
  assert.deepEqual(await rows('show session sdl appns red'), []);
});

test('when an application goes, its peers are reset and nothing is left', async () => {
  const gone = VclWorker.attachBlocking('gone', { runtimeDir: stack.runtimeDir });
  const listener = listenOn(gone, '0.0.0.0', 1014);
  const a = connectTo(client, '127.0.0.1', 1014);
  const b = acceptOn(gone, listener);
  b.write(Buffer.from('last words'));
  gone.destroy();
  until(() => a.error !== 0, client);
  const buffer = Buffer.alloc(20);
  assert.equal(a.read(buffer), 10);
  assert.equal(a.read(buffer), -E.CONNRESET);
  client.close(a);
  assert.equal(connectTo(client, '127.0.0.1', 1014).error, E.CONNREFUSED);
  const apps = await rows('show app');
  assert.ok(!apps.some((row) => row['name'] === 'gone'));
});

test('when the stack goes, everyone is told and can attach to the next one', async () => {
  const first = await createHostStack();
  const worker = VclWorker.attachBlocking('app', { runtimeDir: first.runtimeDir });
  const listener = listenOn(worker, '0.0.0.0', 80);
  const a = connectTo(worker, '127.0.0.1', 80);
  let told = 0;
  worker.onDetached = () => told++;
  await first.close();
  until(() => worker.detached, worker);
  assert.equal(told, 1);
  assert.equal(a.error, E.NETDOWN);
  assert.equal(listener.error, E.NETDOWN);
  assert.equal(a.write(Buffer.from('x')), -E.NETDOWN);
  worker.destroy();
  const second = await createHostStack();
  const again = VclWorker.attachBlocking('app', { runtimeDir: second.runtimeDir });
  assert.equal(listenOn(again, '0.0.0.0', 80).state, VclState.listening);
  again.destroy();
  await second.close();
});

test('a connect made after another application stopped to listen is refused', () => {
  for (let i = 0; i < 200; i++) {
    const listener = listenOn(server, '0.0.0.0', 1099);
    server.close(listener);
    const a = connectTo(client, '127.0.0.1', 1099);
    assert.equal(a.error, E.CONNREFUSED, `round ${i}`);
    client.close(a);
  }
});
