/** One of two applications that use every call of the native API with each other, as a process (argv) or a thread (workerData). */
import assert from 'node:assert/strict';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import * as vcl from '../../../src/stack/vcl/native.ts';
import { streamByte } from '../svm/support.ts';

export interface EveryCallArguments {
  role: 'server' | 'client';
  runtimeDir: string;
}

const args: EveryCallArguments = isMainThread ? JSON.parse(process.argv[2]) : workerData;
const ip = '127.0.0.1';
const { IN, OUT, ET, RDHUP } = vcl.EPOLL;
const AGAIN = -11;
const BIG = 300_000;
const buffer = new Uint8Array(4096);

vcl.appCreate(args.role, { runtimeDir: args.runtimeDir, rxFifoSize: 100_000, txFifoSize: 100_000 });
if (args.role === 'server') server();
else client();
vcl.appDestroy();
say('done');

function server(): void {
  const udp = vcl.sessionCreate(vcl.TransportProto.udp);
  assert.equal(vcl.sessionBind(udp, { ip, port: 53 }), 0);
  const listener = vcl.sessionCreate();
  assert.equal(vcl.sessionBind(listener, { ip, port: 80 }), 0);
  assert.equal(vcl.sessionListen(listener, 4), 0);
  say('listening');
  const session = vcl.sessionAccept(listener);
  assert.ok(session >= 0);
  assert.deepEqual(vcl.sessionLocalAddress(session), { ip, port: 80 });

  readBySegments(session, 1);
  writeBySegments(session, 2);

  const read = new Set([session, listener]);
  assert.equal(vcl.select(read, new Set(), new Set(), 10_000), 1);
  assert.deepEqual([...read], [session]);
  expectText(session, 'select');
  answer(session);

  const entry = { sh: session, events: IN, revents: 0 };
  assert.equal(vcl.poll([entry], 10_000), 1);
  assert.equal(entry.revents, IN);
  assert.equal(vcl.sessionAttr(session, 'nread'), 4);
  assert.equal(vcl.sessionPeek(session, buffer), 4);
  expectText(session, 'poll');
  answer(session);

  const level = vcl.epollCreate();
  const events: vcl.EpollEvent[] = [];
  assert.equal(vcl.epollCtl(level, vcl.EPOLL_CTL.ADD, session, IN, 7), 0);
  assert.equal(vcl.epollWait(level, events, 4, 10_000), 1);
  assert.deepEqual(events[0], { events: IN, data: 7 });
  assert.equal(vcl.epollWait(level, events, 4, 0), 1, 'level: said again');
  expectText(session, 'level');
  assert.equal(vcl.epollWait(level, events, 4, 0), 0);
  vcl.epollClose(level);
  const edge = vcl.epollCreate();
  assert.equal(vcl.epollCtl(edge, vcl.EPOLL_CTL.ADD, session, IN | RDHUP | ET, 8), 0);
  answer(session);
  assert.equal(vcl.epollWait(edge, events, 4, 10_000), 1);
  assert.equal(vcl.epollWait(edge, events, 4, 0), 0, 'edge: said once');
  expectText(session, 'edge');
  answer(session);

  // The client shuts down its direction and still reads.
  assert.equal(vcl.epollWait(edge, events, 4, 10_000), 1);
  assert.equal(events[0].events & RDHUP, RDHUP);
  vcl.epollClose(edge);
  assert.equal(vcl.sessionRead(session, buffer), 0);
  assert.equal(vcl.sessionWrite(session, Buffer.from('after')), 5);
  assert.equal(vcl.sessionClose(session), 0);

  const from = { ip: '', port: 0 };
  const datagram = new Uint8Array(70_000);
  for (let i = 0; i < 12; i++) {
    const n = vcl.sessionRecvfrom(udp, datagram, from);
    assert.ok(n >= 0, `recvfrom ${n}`);
    assert.equal(from.ip, ip);
    assert.equal(vcl.sessionSendto(udp, datagram.subarray(0, n), from), n);
  }
  const last = vcl.sessionAccept(listener);
  assert.equal(vcl.sessionRead(last, buffer), -104, 'closed with unread bytes: a reset');
  assert.equal(vcl.sessionAttr(last, 'error'), 104);
  for (const sh of [last, udp, listener]) assert.equal(vcl.sessionClose(sh), 0);
}

function client(): void {
  const session = vcl.sessionCreate(vcl.TransportProto.tcp, true);
  assert.equal(vcl.sessionConnect(session, { ip, port: 80 }), -115);
  const entry = { sh: session, events: OUT, revents: 0 };
  assert.equal(vcl.poll([entry], 10_000), 1);
  assert.equal(vcl.sessionAttr(session, 'connected'), 1);
  assert.equal(vcl.sessionRead(session, buffer), AGAIN);
  vcl.sessionAttr(session, 'flags', 0);
  assert.deepEqual(vcl.sessionPeerAddress(session), { ip, port: 80 });

  writeBySegments(session, 1);
  readBySegments(session, 2);
  for (const text of ['select', 'poll', 'level', 'edge']) {
    assert.equal(vcl.sessionWrite(session, Buffer.from(text)), text.length);
    expectText(session, 'ok');
  }
  assert.equal(vcl.sessionShutdown(session, vcl.SHUT.WR), 0);
  assert.equal(vcl.sessionAttr(session, 'shut'), 1);
  assert.equal(vcl.sessionWrite(session, buffer), -32);
  expectText(session, 'after');
  assert.equal(vcl.sessionRead(session, buffer), 0);
  assert.equal(vcl.sessionClose(session), 0);

  const udp = vcl.sessionCreate(vcl.TransportProto.udp);
  const from = { ip: '', port: 0 };
  const back = new Uint8Array(70_000);
  for (let i = 0; i < 12; i++) {
    const sent = Uint8Array.from({ length: i * 5000 }, (_, k) => streamByte(i, k));
    assert.equal(vcl.sessionSendto(udp, sent, { ip, port: 53 }), sent.length);
    assert.equal(vcl.sessionRecvfrom(udp, back, from), sent.length);
    assert.deepEqual(from, { ip, port: 53 });
    assert.ok(Buffer.from(back.subarray(0, sent.length)).equals(sent));
  }
  vcl.sessionClose(udp);
  const abrupt = vcl.sessionCreate();
  assert.equal(vcl.sessionConnect(abrupt, { ip, port: 80 }), 0);
  vcl.worker().close(vcl.worker().session(abrupt)!, true);
}

function writeBySegments(sh: number, seed: number): void {
  for (let done = 0; done < BIG; ) {
    const views: Uint8Array[] = [];
    const offered = vcl.sessionWriteSegments(sh, views, Math.min(77_777, BIG - done));
    assert.ok(offered > 0, `writeSegments ${offered}`);
    for (const view of views) for (let i = 0; i < view.length; i++) view[i] = streamByte(seed, done++);
    vcl.sessionWriteCommit(sh, offered);
  }
}

function readBySegments(sh: number, seed: number): void {
  for (let done = 0; done < BIG; ) {
    const views: Uint8Array[] = [];
    const shown = vcl.sessionReadSegments(sh, views, 33_333);
    assert.ok(shown > 0, `readSegments ${shown}`);
    let at = done;
    for (const view of views) for (const byte of view) assert.equal(byte, streamByte(seed, at++));
    // Give back a part only: the rest is shown again.
    const part = Math.max(1, shown >> 1);
    vcl.sessionFreeSegments(sh, part);
    done += part;
  }
}

function expectText(sh: number, text: string): void {
  const n = vcl.sessionRead(sh, buffer, 0, text.length);
  assert.equal(Buffer.from(buffer.subarray(0, Math.max(n, 0))).toString(), text, `read ${n}`);
}

function answer(sh: number): void {
  assert.equal(vcl.sessionWrite(sh, Buffer.from('ok')), 2);
}

function say(text: string): void {
  if (parentPort !== null) parentPort.postMessage(text);
  else process.stdout.write(`${text}\n`);
}
