/**
 * The native API, named after VPP's VCL: sockets as small integers, one worker per thread, results as counts or negative errnos.
 *
 * Blocking calls block the thread, so the stack must run in another thread or process. A session is blocking unless created otherwise;
 * with the event loop use non-blocking sessions, or the `net`-shaped classes in `net.ts`.
 */
import { E } from '../../core/sys/libc.ts';
import type { CryptoConfig } from '../session/crypto_config.ts';
import { Endpoint } from '../session/endpoint.ts';
import { TransportProto } from '../session/transport.ts';
import type { AppOptions, WorkerTicket } from './attach.ts';
import { type AttributeName, attribute } from './attributes.ts';
import { DatagramEndpoint } from './datagram.ts';
import { type EpollEvent, VclEpoll } from './epoll.ts';
import { Ready, type VclSession, VclState } from './session.ts';
import { cryptoConfigOf, type TlsDetails, type TlsOptions } from './tls_options.ts';
import { VclWorker } from './worker.ts';

export interface EndpointAddress {
  ip: string;
  port: number;
}

/** Of a datagram: its peer and, as IP_PKTINFO, the address of this side. */
export interface DatagramAddress extends EndpointAddress {
  /** Sent: the address to send from. Received: the one it came to, when the attribute `ipPktinfo` is set. */
  local?: string;
}

const STARVED_WAIT_MS = 5;
/** How long datagrams may wait for their session: longer means that the stack does not answer. */
const SEND_WAIT_MS = 1000;
const MAX_DATAGRAM_PEERS = 65_536;

let current: VclWorker | null = null;
const epolls: (VclEpoll | null)[] = [];

/** Attaches this thread as an application. Throws AttachError, or SysError when there is no stack. */
export function appCreate(name: string, options: AppOptions = {}): void {
  if (current !== null && !current.detached) throw new Error('this thread is attached already');
  current = VclWorker.attachBlocking(name, options);
}

/** Leaves the stack; sessions are reset. */
export function appDestroy(): void {
  current?.destroy();
  current = null;
  epolls.length = 0;
}

/** What another thread needs for `workerRegister`. */
export function workerTicket(): WorkerTicket {
  return worker().ticket;
}

/** Makes this thread a worker of an application that another thread has attached. */
export function workerRegister(ticket: WorkerTicket): void {
  if (current !== null && !current.detached) throw new Error('this thread is attached already');
  current = VclWorker.registerBlocking(ticket);
}

export function workerUnregister(): void {
  appDestroy();
}

export function workerIndex(): number {
  return worker().workerIndex;
}

/** The stack has gone; `appCreate` attaches again. */
export function workerIsDetached(): boolean {
  return current === null || current.detached;
}

/** This thread's worker. */
export function worker(): VclWorker {
  if (current === null) throw new Error('this thread is not attached: call appCreate');
  return current;
}

/** Returns a handle. */
export function sessionCreate(proto: number = TransportProto.tcp, nonBlocking = false): number {
  const session = worker().createSession(proto);
  session.nonBlocking = nonBlocking;
  return session.sh;
}

/** What a TLS session listens or connects with; the same object may be given to many. Throws Error when it cannot be used. */
export function tlsConfig(options: TlsOptions, isServer: boolean): CryptoConfig {
  return cryptoConfigOf(options, isServer);
}

/** Before `sessionListen` or `sessionConnect` of a tls session. `serverName`: sent as SNI and verified. */
export function sessionTls(sh: number, config: CryptoConfig, serverName = ''): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  if (session.proto !== TransportProto.tls) return -E.OPNOTSUPP;
  if (session.state > VclState.bound) return -E.INVAL;
  session.crypto = config;
  session.certKeyPair = -1;
  session.serverName = serverName;
  return 0;
}

/** The application protocol that TLS has chosen; '' for none. */
export function sessionAlpn(sh: number): string {
  return find(sh)?.alpnProtocol ?? '';
}

/** What the handshake of a TLS session settled; null unless its configuration wants `details`. */
export function sessionTlsDetails(sh: number): TlsDetails | null {
  return find(sh)?.tlsDetails ?? null;
}

/** Registers a certificate with its key; its index for the attribute `ckpair`. Throws Error when they cannot be used. */
export function addCertKeyPair(cert: string, key: string): number {
  return worker().certKeyPairs.add(cert, key);
}

/** Sessions that have it keep it. */
export function delCertKeyPair(index: number): number {
  return worker().certKeyPairs.delete(index) ? 0 : -E.INVAL;
}

export function sessionBind(sh: number, address: EndpointAddress): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  if (session.state !== VclState.created || !session.local.set(address.ip, address.port)) return -E.INVAL;
  session.state = VclState.bound;
  return 0;
}

/** Blocks until the stack has answered, whatever the mode. */
export function sessionListen(sh: number, backlog = 511): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  const result = worker().listen(session, backlog);
  if (result < 0) return result;
  block(() => session.state !== VclState.connecting);
  if (session.state === VclState.listening) return 0;
  const { error } = session;
  session.error = 0;
  return -(error || E.PROTO);
}

/** The handle of the next connection. */
export function sessionAccept(sh: number, nonBlocking = false): number {
  const listener = find(sh);
  if (listener === null) return -E.BADF;
  if (listener.state !== VclState.listening) return -E.INVAL;
  let session = worker().accept(listener);
  if (session === null) {
    worker().poll();
    session = worker().accept(listener);
  }
  if (session === null && !listener.nonBlocking) {
    block(() => (session = worker().accept(listener)) !== null || listener.error !== 0);
  }
  if (session === null) return listener.error !== 0 ? -listener.error : -E.AGAIN;
  session.nonBlocking = nonBlocking;
  return session.sh;
}

/** Non-blocking: -EINPROGRESS, then EPOLLOUT or EPOLLERR. */
export function sessionConnect(sh: number, address: EndpointAddress): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  if (!session.remote.set(address.ip, address.port)) return -E.INVAL;
  const result = worker().connect(session);
  if (result < 0) return result;
  if (session.nonBlocking) return -E.INPROGRESS;
  block(() => session.state !== VclState.connecting);
  return session.error !== 0 ? -session.error : 0;
}

export function sessionRead(sh: number, target: Uint8Array, offset = 0, length = target.length - offset): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  const n = take(session, target, offset, length);
  return n === -E.AGAIN && !session.nonBlocking ? takeLater(session, target, offset, length) : n;
}

/** Apart, so that a read that need not wait makes no closure. */
function takeLater(session: VclSession, target: Uint8Array, offset: number, length: number): number {
  let n: number = -E.AGAIN;
  blockOnFifo(() => (n = take(session, target, offset, length)) !== -E.AGAIN);
  return n;
}

function take(session: VclSession, target: Uint8Array, offset: number, length: number): number {
  return session.proto === TransportProto.udp
    ? session.readDatagram(target, offset, length)
    : session.read(target, offset, length);
}

/** Blocking: writes all, unless the session fails on the way. A datagram is written whole or not at all. */
export function sessionWrite(sh: number, source: Uint8Array, offset = 0, length = source.length - offset): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  if (session.proto === TransportProto.udp) return writeDatagram(session, source, offset, length);
  const done = session.nonBlocking ? session.write(source, offset, length) : session.tryWrite(source, offset, length);
  if (session.nonBlocking || done === length || (done < 0 && done !== -E.AGAIN)) return done;
  return writeRest(session, source, offset, length, Math.max(done, 0));
}

/** Waits until all of it is written but for the first `done` bytes, which are. */
function writeRest(session: VclSession, source: Uint8Array, offset: number, length: number, done: number): number {
  let failure = 0;
  const note = (n: number): boolean => {
    if (n >= 0) done += n;
    else if (n !== -E.AGAIN) failure = n;
    return done === length || failure !== 0;
  };
  const own = worker();
  while (
    !own.spinUntil(() => note(session.tryWrite(source, offset + done, length - done))) &&
    !note(session.write(source, offset + done, length - done)) &&
    !own.detached
  ) {
    own.sleep(STARVED_WAIT_MS);
  }
  return done > 0 ? done : failure;
}

function writeDatagram(session: VclSession, source: Uint8Array, offset: number, length: number): number {
  let n = session.writeDatagram(source, offset, length);
  if (n === -E.AGAIN && !session.nonBlocking)
    block(() => (n = session.writeDatagram(source, offset, length)) !== -E.AGAIN, STARVED_WAIT_MS);
  return n;
}

/** Zero-copy read: pushes views onto `views` and returns the bytes they cover; `sessionFreeSegments` gives them back. */
export function sessionReadSegments(sh: number, views: Uint8Array[], length?: number): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  let n = session.readSegments(views, length);
  if (n === -E.AGAIN && !session.nonBlocking) blockOnFifo(() => (n = session.readSegments(views, length)) !== -E.AGAIN);
  return n;
}

export function sessionFreeSegments(sh: number, length: number): void {
  find(sh)?.freeSegments(length);
}

/** Zero-copy write: views to fill, then `sessionWriteCommit`. */
export function sessionWriteSegments(sh: number, views: Uint8Array[], length: number): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  let n = session.writeSegments(views, length);
  if (n === -E.AGAIN && !session.nonBlocking)
    block(() => (n = session.writeSegments(views, length)) !== -E.AGAIN, STARVED_WAIT_MS);
  return n;
}

export function sessionWriteCommit(sh: number, length: number): void {
  find(sh)?.writeCommit(length);
}

/**
 * Sends a datagram of a udp session, which is bound to a free port first if it is not bound. Blocking: waits while the receiver is full.
 */
export function sessionSendto(sh: number, source: Uint8Array, to: DatagramAddress): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  const peer = Endpoint.parse(to.ip, to.port);
  const own = to.local === undefined ? null : Endpoint.parse(to.local, 0);
  if (peer === null || session.proto !== TransportProto.udp || (own === null && to.local !== undefined)) return -E.INVAL;
  if (peer.isUnspecified) peer.setLoopback(peer.isV4);
  const bound = session.datagrams === null ? openDatagrams(sh, session) : 0;
  if (bound < 0) return bound;
  const datagrams = session.datagrams!;
  const send = (): number => datagrams.sendTo(source, 0, source.length, peer, own);
  let n = send();
  if (session.nonBlocking) return n;
  if (n === -E.AGAIN) block(() => (n = send()) !== -E.AGAIN, STARVED_WAIT_MS);
  // Nobody may look at events after this call: what waits for its session goes now.
  if (n >= 0 && datagrams.waitsFor(peer)) blockUntil(() => !datagrams.waitsFor(peer), SEND_WAIT_MS);
  return n;
}

/** Takes the next datagram of a bound udp session; `from` is filled with who sent it. */
export function sessionRecvfrom(sh: number, target: Uint8Array, from: DatagramAddress): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  if (session.proto !== TransportProto.udp) return -E.INVAL;
  const bound = session.datagrams === null ? openDatagrams(sh, session) : 0;
  if (bound < 0) return bound;
  const { datagrams } = session;
  const receive = (): number => datagrams!.receiveFrom(target, 0, target.length, sender, arrival);
  let n = receive();
  if (n === -E.AGAIN) {
    worker().poll();
    n = receive();
  }
  if (n === -E.AGAIN && !session.nonBlocking) block(() => (n = receive()) !== -E.AGAIN);
  if (n >= 0) {
    from.ip = sender.ip;
    from.port = sender.port;
    if (attribute(session, 'ipPktinfo') === 1) from.local = arrival.ip;
  }
  return n;
}

const sender = new Endpoint();
const arrival = new Endpoint();

function openDatagrams(sh: number, session: VclSession): number {
  session.connectionless = true;
  const result = session.state === VclState.listening ? 0 : sessionListen(sh, MAX_DATAGRAM_PEERS);
  if (result < 0) return result;
  const datagrams = new DatagramEndpoint(worker(), session);
  // The session of the network's peers follows the answer to `listen`: what is sent before it would go a way of its own.
  if (session.connectionless) blockUntil(() => datagrams.settled, SEND_WAIT_MS);
  return 0;
}

/** Copies what comes next without taking it (MSG_PEEK). */
export function sessionPeek(sh: number, target: Uint8Array, offset = 0, length = target.length - offset): number {
  return find(sh)?.peek(target, offset, length) ?? -E.BADF;
}

export function sessionAttr(sh: number, name: AttributeName, value?: number): number {
  const session = find(sh);
  return session === null ? -E.BADF : attribute(session, name, value);
}

export function sessionLocalAddress(sh: number): EndpointAddress | null {
  const session = find(sh);
  return session === null ? null : { ip: session.local.ip, port: session.local.port };
}

export function sessionPeerAddress(sh: number): EndpointAddress | null {
  const session = find(sh);
  return session === null || session.state !== VclState.ready ? null : { ip: session.remote.ip, port: session.remote.port };
}

/**
 * Where the peer of an accepted session has connected to, when a session rule gave the connection to this application although it listens
 * elsewhere; null when nothing was redirected (VPP: GET_ORIGINAL_DST, of its NAT).
 */
export function sessionOriginalDst(sh: number): EndpointAddress | null {
  const session = find(sh);
  const asked = session?.listener?.local ?? null;
  if (session === null || asked === null) return null;
  const { local } = session;
  const same = asked.port === local.port && (asked.isUnspecified || asked.ip === local.ip);
  return same ? null : { ip: local.ip, port: local.port };
}

export const SHUT = { RD: 0, WR: 1, RDWR: 2 } as const;

export function sessionShutdown(sh: number, how: number): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  if (how !== SHUT.WR && session.state === VclState.ready) session.readClosed = true;
  return how === SHUT.RD ? 0 : worker().shutdownWrite(session);
}

export function sessionClose(sh: number): number {
  const session = find(sh);
  if (session === null) return -E.BADF;
  worker().close(session);
  return 0;
}

export function epollCreate(): number {
  const free = epolls.indexOf(null);
  const handle = free < 0 ? epolls.length : free;
  epolls[handle] = new VclEpoll(worker());
  return handle;
}

/** `events`: bits of EPOLL; `data` comes back with each event. */
export function epollCtl(vepfd: number, op: number, sh: number, events = 0, data = sh): number {
  const set = epolls[vepfd];
  const session = find(sh);
  return !set || session === null ? -E.BADF : set.control(op, session, events, data);
}

export function epollWait(vepfd: number, out: EpollEvent[], most: number, timeoutMs: number): number {
  return epolls[vepfd]?.wait(out, most, timeoutMs) ?? -E.BADF;
}

export function epollClose(vepfd: number): number {
  const set = epolls[vepfd];
  if (!set) return -E.BADF;
  set.close();
  epolls[vepfd] = null;
  return 0;
}

/**
 * This thread's message queues as a descriptor for another epoll set, poll or select, which must not close it: readable when `epollWait` or
 * `poll` without a wait has something to do, and as long as level-triggered members of a set are ready (VPP: `vppcom_mq_epoll_fd`, where
 * they are not looked at). One look may be in vain. -EBUSY when the worker's events are delivered in an event loop.
 */
export function mqEpollFd(): number {
  return worker().exposeEvents();
}

export interface PollEntry {
  sh: number;
  events: number;
  revents: number;
}

const POLL_INVALID = 0x20;

/** poll(2) on sessions: fills `revents`, returns how many are not 0. */
export function poll(entries: PollEntry[], timeoutMs: number): number {
  let n = 0;
  const look = (): boolean => {
    n = 0;
    for (const entry of entries) {
      const session = find(entry.sh);
      entry.revents = session === null ? POLL_INVALID : session.readiness & (entry.events | Ready.err | Ready.hup);
      if (entry.revents !== 0) n++;
    }
    return n > 0;
  };
  worker().poll();
  if (!look() && timeoutMs !== 0) blockUntil(look, timeoutMs);
  return n;
}

/** select(2) on handles: removes those that are not ready from the sets, returns how many are left. */
export function select(read: Set<number>, write: Set<number>, except: Set<number>, timeoutMs: number): number {
  const entries: PollEntry[] = [];
  for (const sh of new Set([...read, ...write, ...except])) {
    const events = (read.has(sh) ? Ready.in : 0) | (write.has(sh) ? Ready.out : 0);
    entries.push({ sh, events, revents: 0 });
  }
  poll(entries, timeoutMs);
  for (const { sh, revents } of entries) {
    if ((revents & (Ready.in | Ready.hup | Ready.err)) === 0) read.delete(sh);
    if ((revents & (Ready.out | Ready.err)) === 0) write.delete(sh);
    if ((revents & Ready.err) === 0) except.delete(sh);
  }
  return read.size + write.size + except.size;
}

function find(sh: number): VclSession | null {
  return worker().session(sh);
}

/** Waits until `done`, or for ever. `sliceMs`: look again at least so often. */
function block(done: () => boolean, sliceMs = -1): void {
  const own = worker();
  while (!done() && !own.detached) own.wait(sliceMs);
}

/** The same for what can be seen in the FIFO itself: the queues, whose events cost the peer time, are served only before sleeping. */
function blockOnFifo(done: () => boolean): void {
  const own = worker();
  while (!own.spinUntil(done) && !done() && !own.detached) own.sleep(-1);
}

function blockUntil(done: () => boolean, timeoutMs: number): void {
  const own = worker();
  const deadline = performance.now() + timeoutMs;
  while (!done() && !own.detached) {
    const left = timeoutMs < 0 ? -1 : Math.ceil(deadline - performance.now());
    if (timeoutMs >= 0 && left <= 0) return;
    own.wait(left);
  }
}

export { TransportProto } from '../session/transport.ts';
export { EPOLL, EPOLL_CTL, type EpollEvent } from './epoll.ts';
