/**
 * UDP as a transport of the session layer. A connected session has one peer and its own entry in the table of addresses and ports; so has
 * each session that a listener accepts. A connectionless listener has one session for all peers, whose datagrams carry addresses
 * (`session/datagram_header.ts`); it is announced to the application as a session without remote address.
 *
 * What arrives is copied from the packet into the FIFO and dropped when there is no room, as UDP does; what the application sends stays in
 * its FIFO until there are packets. Several workers of one application that listen at one address have such a session each.
 */
import type { Packet } from '../graph/packet.ts';
import { IpAddress } from '../ip/address.ts';
import { ADDRESSED_HEADER, AddressedHeader, DATAGRAM_HEADER } from '../session/datagram_header.ts';
import { Endpoint } from '../session/endpoint.ts';
import { SessionError } from '../session/errors.ts';
import type { ListenerWorker, Session } from '../session/session.ts';
import { type SessionHost, type Transport, TransportProto } from '../session/transport.ts';
import { get32 } from '../wire/bytes.ts';
import type { UdpRepr } from '../wire/udp.ts';
import { MAX_DATAGRAM, MAX_UDP_SEGMENTS, type Udp, type UdpReceiver, type UdpSocket, type UdpTuple } from './udp.ts';

/** Datagrams of one session that one turn sends: others have their turn too. */
const DATAGRAMS_PER_TURN = 64;

export interface UdpTransportOptions {
  udp: Udp;
  host: SessionHost;
  /** Has the stack polled soon. */
  wake: () => void;
}

/** What stands behind a session: one peer, or every peer of a listener. */
class UdpConnection implements UdpReceiver {
  session: Session | null = null;
  /** Null: connectionless. */
  readonly tuple: UdpTuple | null;
  /** Where a connectionless one sends from. */
  readonly port: number;
  readonly fib: number;
  /** Of a connectionless one: those of the other workers too. */
  readonly group: UdpGroup | null;
  /** The application has closed: gone when its datagrams are sent. */
  closing = false;
  queued = false;
  received = 0;
  sent = 0;
  dropped = 0;
  private readonly transport: UdpTransport;

  constructor(transport: UdpTransport, tuple: UdpTuple | null, port: number, fib: number, group: UdpGroup | null = null) {
    this.transport = transport;
    this.tuple = tuple;
    this.port = port;
    this.fib = fib;
    this.group = group;
  }

  onPacket(packet: Packet, repr: UdpRepr): void {
    this.transport.deliver(this, packet, repr);
  }

  onUnreachable(): void {
    this.transport.unreachable(this);
  }
}

/** The sessions that the workers of one application have behind one port: each peer's datagrams go to the same one (as SO_REUSEPORT). */
class UdpGroup implements UdpReceiver {
  private readonly members: UdpConnection[] = [];

  add(connection: UdpConnection): void {
    this.members.push(connection);
  }

  remove(connection: UdpConnection): void {
    const at = this.members.indexOf(connection);
    if (at >= 0) this.members.splice(at, 1);
  }

  onPacket(packet: Packet, repr: UdpRepr): void {
    const { members } = this;
    const member = members.length > 1 ? members[peerHash(packet, repr.sourcePort) % members.length] : members[0];
    member?.onPacket(packet, repr);
  }
}

/** Of the sender's address and port. */
function peerHash(packet: Packet, port: number): number {
  const { u8 } = packet.pool;
  let hash = port;
  const end = packet.l3 + (packet.isV4 ? 16 : 24);
  for (let at = packet.l3 + (packet.isV4 ? 12 : 8); at < end; at += 4) hash = Math.imul(hash ^ get32(u8, at), 0x9e3779b1);
  return (hash ^ (hash >>> 15)) >>> 0;
}

export class UdpTransport implements Transport {
  readonly proto = TransportProto.udp;
  readonly name = 'udp';
  private readonly udp: Udp;
  private readonly host: SessionHost;
  private readonly wake: () => void;
  private readonly listeners = new Map<Session, UdpSocket[]>();
  /** Connections whose application has written, in order. */
  private writers: UdpConnection[] = [];
  private readonly header = new AddressedHeader();
  private readonly length = new DataView(new ArrayBuffer(DATAGRAM_HEADER));
  private readonly lengthBytes = new Uint8Array(this.length.buffer);
  private readonly here = new Endpoint();
  private readonly there = new Endpoint();
  private readonly poll = (): boolean => this.sendWaiting();

  constructor(options: UdpTransportOptions) {
    this.udp = options.udp;
    this.host = options.host;
    this.wake = options.wake;
  }

  listen(listener: Session): number {
    const { local, accept } = listener;
    const fib = fibOf(listener);
    const addresses = [addressOf(local)];
    // A dual-stack listener serves IPv4 too.
    if (!local.isV4 && local.isUnspecified && accept?.v6only === false) addresses.push(new IpAddress(true, 0));
    const made: UdpSocket[] = [];
    for (const address of addresses) {
      const socket = this.udp.bind(address, local.port, null, fib);
      if (socket === null && made.length === 0) return SessionError.portInUse;
      if (socket === null) continue;
      socket.receiver = { onPacket: (packet, repr) => this.arrives(listener, packet, repr) };
      made.push(socket);
    }
    this.listeners.set(listener, made);
    return SessionError.none;
  }

  /** A worker of a connectionless listener gets a session of all peers; workers share the peers out. */
  listening(listener: Session, worker: ListenerWorker): void {
    if (!listener.accept!.connectionless) return;
    const sockets = this.listeners.get(listener) ?? [];
    const group = sockets[0]?.receiver instanceof UdpGroup ? sockets[0].receiver : new UdpGroup();
    const connection = new UdpConnection(this, null, listener.local.port, fibOf(listener), group);
    const nobody = new Endpoint();
    nobody.isV4 = listener.local.isV4;
    connection.session = this.host.acceptNotify(listener, connection, listener.local, nobody, worker);
    if (connection.session === null) return;
    group.add(connection);
    for (const socket of sockets) socket.receiver = group;
  }

  unlisten(listener: Session): void {
    for (const socket of this.listeners.get(listener) ?? []) socket.close();
    this.listeners.delete(listener);
  }

  connect(session: Session): number {
    const { local, remote } = session;
    const fib = fibOf(session);
    const to = addressOf(remote);
    const fixed = local.isV4 === remote.isV4 && !local.isUnspecified;
    const from = fixed ? addressOf(local) : this.udp.sourceFor(to, fib);
    if (from === null) return SessionError.noRoute;
    const localPort = local.port === 0 ? this.udp.choosePort() : local.port;
    if (localPort === 0) return SessionError.noPort;
    const tuple = { local: from, localPort, remote: to, remotePort: remote.port, fib };
    const connection = new UdpConnection(this, tuple, localPort, fib);
    if (!this.udp.connect(tuple, connection)) return SessionError.noPort;
    setEndpoint(local, from, localPort);
    session.connection = connection;
    connection.session = session;
    // There is no handshake: it is connected, or there was no memory and the session is gone.
    if (!this.host.connectNotify(session, SessionError.none)) this.forget(connection);
    return SessionError.none;
  }

  /** UDP has no end of a stream to send. */
  halfClose(): void {}

  close(session: Session): void {
    const connection = session.connection as UdpConnection;
    connection.closing = true;
    connection.group?.remove(connection);
    this.queue(connection);
  }

  /** What was written is sent even so: there is nothing to reset at the peer. */
  reset(session: Session): void {
    const connection = session.connection as UdpConnection | null;
    if (connection === null) return;
    if (session.fifos !== null) this.close(session);
    else this.forget(connection);
  }

  abort(session: Session): void {
    this.host.resetNotify(session, SessionError.reset);
    this.end(session.connection as UdpConnection);
  }

  appWriteEvent(session: Session): void {
    this.queue(session.connection as UdpConnection);
  }

  format(session: Session): string {
    const { tuple, received, sent, dropped } = session.connection as UdpConnection;
    return `${tuple === null ? 'connectionless' : 'connected'} received ${received} sent ${sent} dropped ${dropped}`;
  }

  describe(session: Session): Record<string, unknown> {
    const { tuple, received, sent, dropped } = session.connection as UdpConnection;
    return { connectionless: tuple === null, receivedDatagrams: received, sentDatagrams: sent, droppedDatagrams: dropped };
  }

  // --- arrival

  /** For a listener without a session for all: a new peer is a new session. */
  private arrives(listener: Session, packet: Packet, repr: UdpRepr): void {
    const { u8 } = packet.pool;
    const { isV4, l3, fib } = packet;
    const tuple = {
      remote: IpAddress.read(u8, l3 + (isV4 ? 12 : 8), isV4),
      remotePort: repr.sourcePort,
      local: IpAddress.read(u8, l3 + (isV4 ? 16 : 24), isV4),
      localPort: repr.destinationPort,
      fib,
    };
    setEndpoint(this.here, tuple.local, tuple.localPort);
    setEndpoint(this.there, tuple.remote, tuple.remotePort);
    if (this.host.deniesSource(fib, this.there)) return;
    const connection = new UdpConnection(this, tuple, tuple.localPort, fib);
    // The rules may send this peer elsewhere, or nowhere.
    const target = this.host.findListener(this.proto, fib, this.here, this.there);
    const full = listener.accept === null || listener.accept.waiting >= listener.accept.backlog;
    if (target === null || full || !this.udp.connect(tuple, connection)) {
      this.udp.stats.receiveBufferErrors++;
      return;
    }
    connection.session = this.host.acceptNotify(target, connection, this.here, this.there);
    if (connection.session === null) this.forget(connection);
    else this.deliver(connection, packet, repr);
  }

  deliver(connection: UdpConnection, packet: Packet, repr: UdpRepr): void {
    const fifo = connection.session?.fifos?.receive;
    const length = repr.end - repr.payload;
    const addressed = connection.tuple === null;
    const headerBytes = addressed ? ADDRESSED_HEADER : DATAGRAM_HEADER;
    if (fifo === undefined || connection.closing || fifo.corrupted || fifo.free < headerBytes + length) {
      this.lose(connection);
      return;
    }
    const { u8 } = packet.pool;
    const header = addressed ? this.addressOfPacket(packet, repr, length) : this.lengthHeader(length);
    // A session of all peers has no peer that would be established.
    if (addressed && this.host.deniesSource(connection.fib, this.there)) return;
    if (!fifo.write(0, header, 0, headerBytes) || (length > 0 && !fifo.write(headerBytes, u8, repr.payload, length))) {
      this.lose(connection);
      return;
    }
    connection.received++;
    fifo.commit(headerBytes + length);
  }

  private lose(connection: UdpConnection): void {
    connection.dropped++;
    this.udp.stats.receiveBufferErrors++;
  }

  private lengthHeader(length: number): Uint8Array {
    this.length.setUint32(0, length);
    return this.lengthBytes;
  }

  private addressOfPacket(packet: Packet, repr: UdpRepr, length: number): Uint8Array {
    const { u8 } = packet.pool;
    const { isV4, l3 } = packet;
    const { header } = this;
    setEndpoint(this.there, IpAddress.read(u8, l3 + (isV4 ? 12 : 8), isV4), repr.sourcePort);
    setEndpoint(this.here, IpAddress.read(u8, l3 + (isV4 ? 16 : 24), isV4), repr.destinationPort);
    header.length = length;
    header.segmentBytes = 0;
    header.setEndpoints(this.there, this.here);
    return header.bytes;
  }

  /** The peer has no such port: the application of a connected session hears of it, as from the kernel. */
  unreachable(connection: UdpConnection): void {
    const { session } = connection;
    if (session === null || connection.closing) return;
    this.host.resetNotify(session, SessionError.refused);
    this.end(connection);
  }

  // --- departure

  private queue(connection: UdpConnection): void {
    if (!connection.queued && connection.session !== null) {
      connection.queued = true;
      this.writers.push(connection);
    }
    this.udp.wantPoll(this.poll);
    this.wake();
  }

  /** True while something waits. */
  private sendWaiting(): boolean {
    const turn = this.writers;
    this.writers = [];
    for (const connection of turn) {
      connection.queued = false;
      const { session } = connection;
      if (session === null) continue;
      if (!this.sendFrom(connection, session)) {
        connection.queued = true;
        this.writers.push(connection);
      } else if (connection.closing) this.end(connection);
    }
    return this.writers.length > 0;
  }

  /** True when all of the FIFO was sent. */
  private sendFrom(connection: UdpConnection, session: Session): boolean {
    const fifo = session.fifos?.send;
    if (fifo === undefined) return true;
    const { header, here, there } = this;
    const { tuple } = connection;
    const headerBytes = tuple === null ? ADDRESSED_HEADER : DATAGRAM_HEADER;
    for (let i = 0; i < DATAGRAMS_PER_TURN; i++) {
      const available = fifo.length;
      if (available === 0 && !fifo.corrupted) return true;
      if (available >= headerBytes) fifo.copyOut(0, tuple === null ? header.bytes : this.lengthBytes, 0, headerBytes);
      const length = tuple === null ? header.length : this.length.getUint32(0);
      const segment = tuple === null ? header.segmentBytes : 0;
      const whole = available >= headerBytes + length && length <= MAX_DATAGRAM;
      // Header and bytes are written together: anything else is not a datagram.
      if (fifo.corrupted || available < headerBytes || !whole || (tuple === null && !header.readPeer(there))) {
        this.abort(session);
        return true;
      }
      let local: IpAddress | null = null;
      let remote: IpAddress;
      if (tuple === null) {
        remote = addressOf(there);
        header.readOwn(here);
        const bound = session.local;
        if (!bound.isUnspecified) local = bound.isV4 === remote.isV4 ? addressOf(bound) : null;
        else if (here.isUnspecified) local = this.udp.sourceFor(remote, connection.fib);
        else local = this.ownSource(here, connection.fib);
      } else {
        ({ local, remote } = tuple);
      }
      const port = tuple === null ? there.port : tuple.remotePort;
      const tooMany = segment > 0 && length > segment * MAX_UDP_SEGMENTS;
      if (local === null || port === 0 || remote.isUnspecified || tooMany) {
        this.udp.stats.sendErrors++;
        fifo.drop(headerBytes + length);
        continue;
      }
      const source = (offset: number, to: Uint8Array, at: number, n: number): void => {
        fifo.copyOut(headerBytes + offset, to, at, n);
      };
      const sent = this.udp.transmit(local, connection.port, remote, port, connection.fib, length, source, segment);
      // Without packets it stays; of a segmented one, those that went are lost to order: they are not sent twice.
      if (sent === 0 && length > 0) return false;
      connection.sent++;
      fifo.drop(headerBytes + length);
    }
    return fifo.length === 0;
  }

  /** What the application has chosen to send from, if it is an address of this host. */
  private ownSource(address: Endpoint, fib: number): IpAddress | null {
    const source = addressOf(address);
    return this.udp.isOwn(source, fib) ? source : null;
  }

  private end(connection: UdpConnection): void {
    const { session } = connection;
    this.forget(connection);
    if (session === null || session.connection !== connection) return;
    if (session.fifos !== null) this.host.closedNotify(session);
  }

  private forget(connection: UdpConnection): void {
    connection.session = null;
    connection.group?.remove(connection);
    if (connection.tuple !== null) this.udp.disconnect(connection.tuple);
  }
}

/** Of the namespace of the application. */
function fibOf(session: Session): number {
  return session.worker!.app.namespace.fib;
}

function addressOf(endpoint: Endpoint): IpAddress {
  const w = endpoint.words;
  return new IpAddress(endpoint.isV4, w[0], w[1], w[2], w[3]);
}

function setEndpoint(endpoint: Endpoint, address: IpAddress, port: number): void {
  endpoint.isV4 = address.isV4;
  for (let i = 0; i < 4; i++) endpoint.words[i] = address.word(i);
  endpoint.port = port;
}
