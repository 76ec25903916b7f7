/**
 * Transports whose bytes pass through the stack, shown with the simplest there is: a "network" of two stacks in one thread that moves
 * bytes from one session's send FIFO to the other's receive FIFO.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { attach, type Socket, type VclNet } from '../../../src/stack/index.ts';
import { Endpoint } from '../../../src/stack/session/endpoint.ts';
import { SessionError } from '../../../src/stack/session/errors.ts';
import type { Session } from '../../../src/stack/session/session.ts';
import { type SessionHost, type Transport, TransportProto } from '../../../src/stack/session/transport.ts';
import { attribute } from '../../../src/stack/vcl/attributes.ts';
import { type VclSession, VclState } from '../../../src/stack/vcl/session.ts';

const CHUNK = 1460;

class Half {
  session: Session | null = null;
  peer: Half | null = null;
  finSent = false;
  finWanted = false;
  closing = false;
}

/** One stack's port on the wire. */
class WireTransport implements Transport {
  readonly proto = TransportProto.tcp;
  readonly name = 'wire';
  other: WireTransport | null = null;
  readonly host: SessionHost;
  readonly ip: string;
  private readonly packet = new Uint8Array(CHUNK);
  private nextPort = 40_000;
  /** Of sessions by their local port. */
  readonly attributes = new Map<number, Record<string, number>>();

  constructor(host: SessionHost, ip: string) {
    this.host = host;
    this.ip = ip;
  }

  listen(): number {
    return SessionError.none;
  }

  unlisten(): void {}

  attribute(session: Session, name: string, value?: number): number | undefined {
    const all = this.attributes.get(session.local.port) ?? {};
    if (value !== undefined) this.attributes.set(session.local.port, { ...all, [name]: value });
    return value ?? all[name];
  }

  connect(session: Session): number {
    if (this.other === null) return SessionError.noRoute;
    const half = new Half();
    half.session = session;
    session.connection = half;
    session.local.set(this.ip, this.nextPort++);
    const { other } = this;
    setImmediate(() => {
      if (half.session === null) return;
      const listener = other.host.findListener(this.proto, 0, session.remote, session.local);
      const peer = new Half();
      const accepted = listener === null ? null : other.host.acceptNotify(listener, peer, session.remote, session.local);
      if (accepted === null) {
        this.host.connectNotify(session, SessionError.refused);
        return;
      }
      peer.session = accepted;
      peer.peer = half;
      half.peer = peer;
      if (!this.host.connectNotify(session, SessionError.none)) other.host.resetNotify(accepted);
    });
    return SessionError.none;
  }

  halfClose(session: Session): void {
    const half = session.connection as Half;
    half.finWanted = true;
    this.push(half);
  }

  close(session: Session): void {
    const half = session.connection as Half;
    half.finWanted = half.closing = true;
    this.push(half);
  }

  reset(session: Session): void {
    const half = session.connection as Half;
    const { peer } = half;
    half.session = null;
    if (session.fifos === null) return;
    this.host.closedNotify(session);
    if (peer?.session == null) return;
    const told = peer.session;
    peer.session = null;
    this.other!.host.resetNotify(told);
    this.other!.host.closedNotify(told);
  }

  abort(session: Session): void {
    this.host.resetNotify(session);
  }

  appWriteEvent(session: Session): void {
    this.push(session.connection as Half);
  }

  appReadEvent(session: Session): void {
    const { peer } = session.connection as Half;
    if (peer !== null) this.other!.push(peer);
  }

  format(): string {
    return 'wire';
  }

  /** Moves what fits, in packets, then the FIN. */
  private push(half: Half): void {
    const from = half.session?.fifos?.send;
    const to = half.peer?.session?.fifos?.receive;
    if (from === undefined) return;
    if (to === undefined) {
      // The other side has forgotten the connection.
      if (half.peer !== null) half.finSent = half.finWanted;
      this.finish(half);
      return;
    }
    for (let left = from.length; left > 0; left = from.length) {
      const n = Math.min(left, CHUNK, to.free);
      if (n === 0) {
        if (!to.wantRoom(CHUNK)) return;
        continue;
      }
      assert.equal(from.copyOut(0, this.packet, 0, n), n);
      // As TCP does with reordered segments: the second half first.
      const half1 = n >> 1;
      assert.ok(to.write(half1, this.packet, half1, n - half1) && to.write(0, this.packet, 0, half1));
      to.commit(n);
      from.drop(n);
    }
    if (half.finWanted && !half.finSent) {
      half.finSent = true;
      this.other!.host.halfClosedNotify(half.peer!.session!);
    }
    this.finish(half);
    if (half.peer !== null) this.other!.finish(half.peer);
  }

  /** Both FINs have been sent and the application has closed. */
  private finish(half: Half): void {
    if (!half.closing || !half.finSent || half.session === null) return;
    const { session } = half;
    half.session = null;
    this.host.closedNotify(session);
  }
}

let directory: string;
let wires: WireTransport[];
let stacks: HostStack[];
let left: VclNet;
let right: VclNet;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sluice-wire-'));
  stacks = ['left', 'right'].map((name) => new HostStack({ runtimeDir: join(directory, name) }));
  wires = stacks.map((stack, i) => new WireTransport(stack.layer, `10.0.0.${i + 1}`));
  wires[0].other = wires[1];
  wires[1].other = wires[0];
  for (const [i, stack] of stacks.entries()) {
    stack.layer.registerTransport(wires[i]);
    stack.layer.addLocalAddress(0, wires[i].ip);
  }
  left = await attach({ name: 'left', runtimeDir: stacks[0].runtimeDir, rxFifoSize: 20_000, txFifoSize: 30_000 });
  right = await attach({ name: 'right', runtimeDir: stacks[1].runtimeDir, rxFifoSize: 16_384, txFifoSize: 16_384 });
});

after(() => {
  left.close();
  right.close();
  for (const stack of stacks) stack.close();
  rmSync(directory, { recursive: true });
});

test('http crosses from one stack to the other, both ways through small FIFOs', async () => {
  const server = http.createServer(async (req, res) => res.end(await buffer(req)));
  const listener = right.serve(server);
  listener.listen(80, '10.0.0.2');
  await once(listener, 'listening');
  const agent = left.createAgent({ keepAlive: true, maxSockets: 4 });
  await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      const body = Buffer.alloc(i * 20_011, i);
      const req = http.request({ host: '10.0.0.2', port: 80, agent, method: 'POST' });
      req.end(body);
      const [res] = await once(req, 'response');
      assert.ok((await buffer(res)).equals(body), `${i}`);
    }),
  );
  assert.ok([...stacks[0].layer.pool.all()].every((session) => session.fifos !== null));
  agent.destroy();
  server.closeAllConnections();
  listener.close();
  await once(listener, 'close');
  await idle();
});

test('a target of this stack is cut through, another one is not', async () => {
  const server = left.createServer((socket) => socket.end('here'));
  server.listen(81, '10.0.0.1');
  await once(server, 'listening');
  const near = left.connect(81, '10.0.0.1');
  assert.equal(String(await buffer(near)), 'here');
  const far = right.connect(81, '10.0.0.1');
  assert.equal(String(await buffer(far)), 'here');
  assert.equal(far.remoteAddress, '10.0.0.1');
  assert.equal(far.localAddress, '10.0.0.2');
  server.close();
});

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('attributes reach the transport: set before, while and after it connects, and inherited from the listener', async () => {
  const worker = right.worker;
  const listener = worker.createSession(TransportProto.tcp);
  listener.local.set('10.0.0.2', 85);
  assert.equal(worker.listen(listener, 10), 0);
  assert.equal(attribute(listener, 'tcpUserMss', 900), 0);
  while (listener.state !== VclState.listening) await nextTurn();
  const socket = left.createSocket().setKeepAlive(true, 7000);
  socket.connect(85, '10.0.0.2').setNoDelay(false);
  await once(socket, 'connect');
  socket.setNoDelay(true);
  let accepted: VclSession | null = null;
  while ((accepted = worker.accept(listener)) === null) await nextTurn();
  const far = wires[1].attributes;
  const near = wires[0].attributes;
  while (far.get(85) === undefined || near.get(socket.localPort!)?.['tcpNodelay'] !== 1) await nextTurn();
  assert.deepEqual(far.get(85), { tcpUserMss: 900 });
  assert.deepEqual(near.get(socket.localPort!), { tcpKeepidle: 7, keepalive: 1, tcpNodelay: 1 });
  assert.equal(attribute(accepted, 'tcpUserMss'), 900);
  assert.equal(attribute(accepted, 'dscp', 64), -22);
  worker.close(accepted);
  worker.close(listener);
  socket.destroy();
});

test('nobody listening there is refused; a rule can deny what comes in', async () => {
  const refused = left.connect(4444, '10.0.0.2');
  const [error] = await once(refused, 'error');
  assert.equal(error.code, 'ECONNREFUSED');
  const server = right.createServer((socket) => socket.end('let in'));
  server.listen(82, '0.0.0.0');
  await once(server, 'listening');
  assert.equal(String(await buffer(left.connect(82, '10.0.0.2'))), 'let in');
  const any = { isV4: true, words: new Int32Array(4), length: 0 };
  const rule = { proto: 0, local: any, localPort: 82, remote: any, remotePort: 0, action: { kind: 'deny' as const }, tag: '' };
  stacks[1].layer.globalRules.add(rule);
  const denied = left.connect(82, '10.0.0.2');
  const [why] = await once(denied, 'error');
  assert.equal(why.code, 'ECONNREFUSED');
  stacks[1].layer.globalRules.delete(rule);
  server.close();
});

test('destroying one end resets the other, an application that leaves too', async () => {
  const sockets: Socket[] = [];
  const server = right.createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.write('unread');
  });
  server.listen(83, '10.0.0.2');
  await once(server, 'listening');
  const first = left.connect(83, '10.0.0.2');
  await once(first, 'data');
  first.resetAndDestroy();
  assert.equal(await closed(sockets[0]), true);
  const short = await attach({ name: 'short', runtimeDir: stacks[0].runtimeDir });
  const second = short.connect(83, '10.0.0.2');
  await once(second, 'data');
  short.close();
  assert.equal(await closed(sockets[1]), true);
  assert.equal(Endpoint.parse('10.0.0.2', 83)!.toString(), `${sockets[1].localAddress}:${sockets[1].localPort}`);
  server.close();
  await once(server, 'close');
  await idle();
  for (const stack of stacks) for (const shared of stack.segments.all()) assert.equal(shared.segment.usedPages(1), 0);
});

/** Until no session is left in either stack. */
async function idle(): Promise<void> {
  const left = (stack: HostStack): number => {
    stack.settle();
    return stack.layer.pool.count;
  };
  while (stacks.some((stack) => left(stack) > 0)) await new Promise(setImmediate);
}

/** Whether it closed with an error. */
function closed(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => socket.once('close', resolve));
}
