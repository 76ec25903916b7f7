/**
 * Datagrams: one bound endpoint that sends to and receives from anyone (`sendto`, `recvfrom`).
 *
 * Peers beyond the stack share one session, whose datagrams carry addresses, when the stack has a network; what its receiver has no room
 * for is lost, as UDP is. Each peer on the stack itself is a cut-through session underneath, opened by whoever sends first and used by both; a datagram is a 4-byte length and its
 * bytes, which become visible together. As with UDP, nothing says whether a datagram was read; unlike it, a full receiver pushes back
 * (-EAGAIN) instead of losing datagrams, and a destination where nobody listens is reported by the next call (ECONNREFUSED).
 */
import { E } from '../../core/sys/libc.ts';
import { AddressedHeader } from '../session/datagram_header.ts';
import type { Endpoint } from '../session/endpoint.ts';
import { TransportProto } from '../session/transport.ts';
import { Ready, type SessionObserver, type VclSession, VclState } from './session.ts';
import type { VclWorker } from './worker.ts';

export const MAX_DATAGRAM = 65_507;
const MAX_PENDING = 64;
/** As Linux' UDP_MAX_SEGMENTS. */
const MAX_SEGMENTS = 64;

interface Peer {
  session: VclSession;
  /** Sent before the session was connected, or before there was room for what was. */
  pending: Uint8Array[];
}

export class DatagramEndpoint implements SessionObserver {
  readonly session: VclSession;
  private readonly worker: VclWorker;
  private readonly peers = new Map<string, Peer>();
  /** Network and peers take turns. */
  private turn = false;
  /** Peers that may have something to read. */
  private readonly readable: Peer[] = [];
  private readonly byName = new Map<VclSession, string>();
  private error = 0;
  /** The session of all peers of the network. */
  private network: VclSession | null = null;
  private readonly header = new AddressedHeader();

  /** `session` is listening with protocol udp. */
  constructor(worker: VclWorker, session: VclSession) {
    this.worker = worker;
    this.session = session;
    session.datagrams = this;
  }

  /**
   * Bytes sent, or a negative errno. `own`: the address to send from, of a session that is bound to any; one that this host does not have
   * in the network is a datagram that is not sent (counted by the stack).
   */
  sendTo(data: Uint8Array, offset: number, length: number, to: Endpoint, own: Endpoint | null = null): number {
    if (length > MAX_DATAGRAM) return -E.MSGSIZE;
    if (own !== null && (own.isV4 !== to.isV4 || !this.canSendFrom(own))) return -E.INVAL;
    if (this.error !== 0) return this.takeError();
    this.acceptNew();
    const { network, header } = this;
    const { segmentBytes } = this.session;
    const segmented = segmentBytes > 0 && length > segmentBytes;
    if (segmented && length > segmentBytes * MAX_SEGMENTS) return -E.INVAL;
    const known = this.peers.size === 0 ? undefined : this.peers.get(to.toString());
    if (known === undefined && network !== null && !to.isLoopback) {
      header.setEndpoints(to, own);
      header.segmentBytes = segmented ? segmentBytes : 0;
      return network.writeAddressed(header, data, offset, length);
    }
    const peer = known ?? this.open(to, own);
    if (peer === null) return -E.NETDOWN;
    // One on this stack knows this side by one address.
    if (own !== null && !sameAddress(peer.session.local, own)) return -E.ADDRNOTAVAIL;
    flush(peer);
    if (segmented) return sendSegments(peer, data, offset, length, segmentBytes);
    if (peer.session.state !== VclState.connecting && peer.pending.length === 0) {
      return peer.session.writeDatagram(data, offset, length);
    }
    if (peer.pending.length >= MAX_PENDING) return -E.AGAIN;
    peer.pending.push(data.slice(offset, offset + length));
    return length;
  }

  /** The session to the network is there: datagrams to it need no session of their own. */
  get settled(): boolean {
    this.acceptNew();
    return this.network !== null;
  }

  /** Datagrams to this peer wait until their session is there. */
  waitsFor(to: Endpoint): boolean {
    const peer = this.peers.get(to.toString());
    if (peer === undefined) return false;
    flush(peer);
    return peer.pending.length > 0;
  }

  private canSendFrom(own: Endpoint): boolean {
    const { local } = this.session;
    return local.isUnspecified || sameAddress(local, own);
  }

  /** Takes the next datagram; what does not fit is cut off. Returns its bytes, or -EAGAIN, and fills `from`, and `own` with where it came to. */
  receiveFrom(target: Uint8Array, offset: number, length: number, from: Endpoint, own: Endpoint): number {
    if (this.error !== 0) return this.takeError();
    this.acceptNew();
    if (this.network !== null && this.network.readable > 0 && (this.readable.length === 0 || (this.turn = !this.turn))) {
      const n = this.network.readAddressed(this.header, target, offset, length);
      if (n >= 0 && this.header.readPeer(from)) {
        this.header.readOwn(own);
        return n;
      }
    }
    while (this.readable.length > 0) {
      const peer = this.readable.shift()!;
      const { session } = peer;
      const n = session.readDatagram(target, offset, length);
      if (n >= 0) {
        from.copyFrom(session.remote);
        own.copyFrom(session.local);
        // Back to the end of the line: every peer gets its turn.
        this.readable.push(peer);
        return n;
      }
      if (session.readClosed || n !== -E.AGAIN) this.forget(session);
    }
    return -E.AGAIN;
  }

  /** What `recvfrom` and `sendto` could do now. */
  get readiness(): number {
    this.acceptNew();
    const waiting = this.network !== null && this.network.readable > 0;
    const some = this.error !== 0 || waiting || this.readable.some(({ session }) => session.readable > 0);
    return (some ? Ready.in : 0) | Ready.out;
  }

  close(): void {
    for (const { session } of this.peers.values()) this.worker.close(session);
    if (this.network !== null) this.worker.close(this.network);
    this.network = null;
    this.peers.clear();
    this.readable.length = 0;
  }

  onSessionEvent(session: VclSession, events: number): void {
    if (session === this.network) {
      if (session.error !== 0 || session.peerClosed) {
        this.network = null;
        this.worker.close(session);
      }
      this.session.raise(events & (Ready.in | Ready.out | Ready.err));
      return;
    }
    const name = this.byName.get(session);
    const peer = name === undefined ? undefined : this.peers.get(name);
    if (peer === undefined) return;
    flush(peer);
    if (session.error !== 0) {
      if (session.error === E.CONNREFUSED) this.error = session.error;
      this.forget(session);
    } else if ((events & Ready.in) !== 0 && !this.readable.includes(peer)) this.readable.push(peer);
    this.session.raise(events & (Ready.in | Ready.out | Ready.err));
  }

  private acceptNew(): void {
    for (let next = this.worker.accept(this.session); next !== null; next = this.worker.accept(this.session)) {
      if (next.remote.port === 0) {
        this.network = next;
        next.observer = this;
        continue;
      }
      const peer = this.add(next.remote, next);
      if (next.readable > 0 || next.readClosed) this.readable.push(peer);
    }
  }

  private open(to: Endpoint, own: Endpoint | null): Peer | null {
    const session = this.worker.createSession(TransportProto.udp);
    session.local.copyFrom(this.session.local);
    if (own !== null) {
      session.local.copyFrom(own);
      session.local.port = this.session.local.port;
    }
    session.remote.copyFrom(to);
    const peer = this.add(to, session);
    if (this.worker.connect(session) === 0) return peer;
    this.forget(session);
    return null;
  }

  private add(remote: Endpoint, session: VclSession): Peer {
    const name = remote.toString();
    const peer = { session, pending: [] };
    session.observer = this;
    this.peers.set(name, peer);
    this.byName.set(session, name);
    return peer;
  }

  private forget(session: VclSession): void {
    const name = this.byName.get(session);
    this.byName.delete(session);
    if (name !== undefined && this.peers.get(name)?.session === session) this.peers.delete(name);
    const at = this.readable.findIndex((peer) => peer.session === session);
    if (at >= 0) this.readable.splice(at, 1);
    this.worker.close(session);
  }

  private takeError(): number {
    const { error } = this;
    this.error = 0;
    return -error;
  }
}

function sameAddress(a: Endpoint, b: Endpoint): boolean {
  return a.isV4 === b.isV4 && a.words.every((word, i) => word === b.words[i]);
}

/** What the network session leaves to the stack: many datagrams of one call. All or nothing. */
function sendSegments(peer: Peer, data: Uint8Array, offset: number, length: number, segmentBytes: number): number {
  const { session, pending } = peer;
  if (pending.length + Math.ceil(length / segmentBytes) > MAX_PENDING) return -E.AGAIN;
  for (let at = 0; at < length; at += segmentBytes)
    pending.push(data.slice(offset + at, offset + Math.min(at + segmentBytes, length)));
  if (session.state !== VclState.connecting) flush(peer);
  return length;
}

/** Writes what waits, in order, as far as there is room. */
function flush(peer: Peer): void {
  const { session, pending } = peer;
  if (pending.length === 0 || session.state === VclState.connecting) return;
  let done = 0;
  while (done < pending.length && session.writeDatagram(pending[done], 0, pending[done].length) !== -E.AGAIN) done++;
  pending.splice(0, done);
}
