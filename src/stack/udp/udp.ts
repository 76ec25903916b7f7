/**
 * UDP (RFC 768): sockets bound to a port, and connections by addresses and ports, which get their datagrams first. Datagrams are written
 * straight into packets; with a segment size one call makes many of them (UDP segmentation). Left out: multicast, UDP-Lite.
 */
import type { Packet } from '../graph/packet.ts';
import { IpAddress } from '../ip/address.ts';
import { TupleTable } from '../session/tuple_table.ts';
import { get32 } from '../wire/bytes.ts';
import { emitUdp, UDP_HEADER, type UdpRepr } from '../wire/udp.ts';

export interface UdpLower {
  allocate(bytes: number): Packet | null;
  /** Sends the UDP datagram in [start, end), whose checksum field is zero, by table `packet.fib`. */
  sendUdp(packet: Packet, local: IpAddress, remote: IpAddress): void;
  sourceFor(remote: IpAddress, fib: number): IpAddress | null;
  /** An address of this host in that table. */
  isOwn(address: IpAddress, fib: number): boolean;
  /** The largest payload of datagrams with `bytes` each that may be handed down as one packet; 0: one at a time. */
  udpSegmentation(remote: IpAddress, fib: number, bytes: number): number;
}

/** Copies bytes [offset, offset + length) of what is to be sent. */
export type DatagramSource = (offset: number, to: Uint8Array, at: number, length: number) => void;

/** Takes datagrams. The bytes are in the packet, which is not the receiver's. */
export interface UdpReceiver {
  onPacket(packet: Packet, repr: UdpRepr): void;
  /** A router or the peer says that it cannot be reached; only told to connections. */
  onUnreachable?(): void;
}

export type UdpHandler = (socket: UdpSocket, data: Uint8Array, remote: IpAddress, remotePort: number, local: IpAddress) => void;

export const MAX_DATAGRAM = 65_507;
/** Segments of one call. */
export const MAX_UDP_SEGMENTS = 64;
/** Of one packet that arrives: as Linux. */
const MAX_MERGED = 128;
const MIN_PORT = 32_768;
const MAX_PORT = 60_999;

export const UDP_COUNTERS = [
  'inDatagrams',
  'outDatagrams',
  'noPort',
  'inErrors',
  'receiveBufferErrors',
  'sendErrors',
  'unreachable',
] as const;
type UdpStats = Record<(typeof UDP_COUNTERS)[number], number>;

/** Bound to a port: what comes for no connection. */
export class UdpSocket implements UdpReceiver {
  readonly udp: Udp;
  readonly address: IpAddress;
  readonly port: number;
  readonly fib: number;
  onDatagram: UdpHandler | null;
  /** Takes whole packets instead of `onDatagram`. */
  receiver: UdpReceiver | null = null;

  constructor(udp: Udp, address: IpAddress, port: number, fib: number, onDatagram: UdpHandler | null) {
    this.udp = udp;
    this.address = address;
    this.port = port;
    this.fib = fib;
    this.onDatagram = onDatagram;
  }

  /** False when there is no route, no buffer or the datagram is too long. */
  send(data: Uint8Array, remote: IpAddress, remotePort: number): boolean {
    const local = this.address.isUnspecified ? this.udp.sourceFor(remote, this.fib) : this.address;
    if (local === null || local.isV4 !== remote.isV4 || data.length > MAX_DATAGRAM) return false;
    const source: DatagramSource = (offset, to, at, length) => to.set(data.subarray(offset, offset + length), at);
    return this.udp.transmit(local, this.port, remote, remotePort, this.fib, data.length, source) === data.length;
  }

  onPacket(packet: Packet, repr: UdpRepr): void {
    const { receiver, onDatagram } = this;
    if (receiver !== null) receiver.onPacket(packet, repr);
    else if (onDatagram !== null) {
      const { u8 } = packet.pool;
      const { isV4, l3 } = packet;
      const remote = IpAddress.read(u8, l3 + (isV4 ? 12 : 8), isV4);
      const local = IpAddress.read(u8, l3 + (isV4 ? 16 : 24), isV4);
      onDatagram(this, u8.slice(repr.payload, repr.end), remote, repr.sourcePort, local);
    }
  }

  close(): void {
    this.udp.close(this);
  }
}

/** Addresses and ports of both ends. */
export interface UdpTuple {
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  readonly fib: number;
}

export class Udp {
  readonly stats = Object.fromEntries(UDP_COUNTERS.map((name) => [name, 0])) as UdpStats;
  /** Called on each poll until it says that nothing is left to send; see `wantPoll`. */
  private readonly pollers = new Set<() => boolean>();
  private readonly lower: UdpLower;
  private readonly sockets = new Map<number, UdpSocket[]>();
  private readonly v4 = new TupleTable(4);
  private readonly v6 = new TupleTable(10);
  private readonly key4 = new Int32Array(4);
  private readonly key6 = new Int32Array(10);
  private readonly receivers: (UdpReceiver | undefined)[] = [];
  private readonly freeReceivers: number[] = [];
  private nextPort = MIN_PORT;

  constructor(lower: UdpLower) {
    this.lower = lower;
  }

  get connections(): number {
    return this.v4.size + this.v6.size;
  }

  sourceFor(remote: IpAddress, fib: number): IpAddress | null {
    return this.lower.sourceFor(remote, fib);
  }

  isOwn(address: IpAddress, fib: number): boolean {
    return this.lower.isOwn(address, fib);
  }

  /** Port 0 chooses one; null when the port is taken. */
  bind(address: IpAddress, port: number, onDatagram: UdpHandler | null, fib = 0): UdpSocket | null {
    const chosen = port === 0 ? this.choosePort() : port;
    if (chosen === 0) return null;
    const list = this.sockets.get(chosen) ?? [];
    if (list.some((s) => s.fib === fib && s.address.equals(address))) return null;
    const socket = new UdpSocket(this, address, chosen, fib, onDatagram);
    list.push(socket);
    this.sockets.set(chosen, list);
    return socket;
  }

  close(socket: UdpSocket): void {
    const list = this.sockets.get(socket.port);
    const at = list?.indexOf(socket) ?? -1;
    if (list === undefined || at < 0) return;
    list.splice(at, 1);
    if (list.length === 0) this.sockets.delete(socket.port);
  }

  /** A port that no socket is bound to; 0 when there is none. */
  choosePort(): number {
    for (let i = 0; i <= MAX_PORT - MIN_PORT; i++) {
      const candidate = this.nextPort;
      this.nextPort = candidate === MAX_PORT ? MIN_PORT : candidate + 1;
      if (!this.sockets.has(candidate)) return candidate;
    }
    return 0;
  }

  /** Gives what comes for exactly these addresses and ports to `receiver`; false when somebody has it. */
  connect(tuple: UdpTuple, receiver: UdpReceiver): boolean {
    const key = this.keyOf(tuple);
    const table = tuple.local.isV4 ? this.v4 : this.v6;
    if (table.get(key) >= 0) return false;
    const index = this.freeReceivers.pop() ?? this.receivers.length;
    this.receivers[index] = receiver;
    table.set(key, index);
    return true;
  }

  disconnect(tuple: UdpTuple): void {
    const key = this.keyOf(tuple);
    const table = tuple.local.isV4 ? this.v4 : this.v6;
    const index = table.get(key);
    if (index < 0) return;
    table.delete(key);
    this.receivers[index] = undefined;
    this.freeReceivers.push(index);
  }

  /**
   * Sends `length` bytes as one datagram, or, with `segmentBytes`, as datagrams of that size and a rest. Returns how many bytes were
   * sent: fewer when packets run out.
   */
  transmit(
    local: IpAddress,
    localPort: number,
    remote: IpAddress,
    remotePort: number,
    fib: number,
    length: number,
    source: DatagramSource,
    segmentBytes = 0,
  ): number {
    const size = segmentBytes > 0 ? segmentBytes : length;
    const most = length > size ? this.lower.udpSegmentation(remote, fib, size) : 0;
    const atOnce = Math.min(Math.floor(most / size), MAX_UDP_SEGMENTS) * size;
    let sent = 0;
    do {
      let bytes = Math.min(atOnce, length - sent);
      let packet = bytes > size ? this.lower.allocate(UDP_HEADER + bytes) : null;
      // Many at once where the device cuts them; without a large packet, as without such a device, one at a time.
      if (packet !== null) packet.gsoSize = size;
      else {
        bytes = Math.min(size, length - sent);
        packet = this.lower.allocate(UDP_HEADER + bytes);
      }
      if (packet === null) {
        this.stats.sendErrors++;
        return sent;
      }
      const { start } = packet;
      packet.l4 = start;
      packet.fib = fib;
      packet.end = start + UDP_HEADER + bytes;
      emitUdp(packet.pool.u8, start, localPort, remotePort, UDP_HEADER + bytes);
      source(sent, packet.pool.u8, start + UDP_HEADER, bytes);
      this.stats.outDatagrams += packet.gsoSize > 0 ? Math.ceil(bytes / size) : 1;
      this.lower.sendUdp(packet, local, remote);
      sent += bytes;
    } while (sent < length);
    return sent;
  }

  /** Delivers a checked datagram, or several of `packet.gsoSize` bytes; false when nobody listens. The packet stays the caller's. */
  input(packet: Packet, repr: UdpRepr): boolean {
    const { gsoSize } = packet;
    const { end } = repr;
    if (gsoSize === 0 || end - repr.payload <= gsoSize) return this.deliver(packet, repr);
    if (end - repr.payload > gsoSize * MAX_MERGED) {
      this.stats.inErrors++;
      return true;
    }
    for (; repr.payload < end; repr.payload += gsoSize) {
      repr.end = Math.min(repr.payload + gsoSize, end);
      if (!this.deliver(packet, repr)) return false;
    }
    return true;
  }

  private deliver(packet: Packet, repr: UdpRepr): boolean {
    const { u8 } = packet.pool;
    const { isV4, l3 } = packet;
    const destination = l3 + (isV4 ? 16 : 24);
    const ports = (repr.destinationPort << 16) | repr.sourcePort;
    const connection = this.find(u8, isV4, destination, l3 + (isV4 ? 12 : 8), ports, packet.fib);
    const receiver = connection ?? this.boundTo(u8, isV4, destination, repr.destinationPort, packet.fib);
    if (receiver === null) {
      this.stats.noPort++;
      return false;
    }
    this.stats.inDatagrams++;
    receiver.onPacket(packet, repr);
    return true;
  }

  /** An ICMP error that quotes a datagram of ours, whose source address is at `local`. */
  onUnreachable(u8: Uint8Array, isV4: boolean, local: number, remote: number, ports: number, fib: number): void {
    this.stats.unreachable++;
    this.find(u8, isV4, local, remote, ports, fib)?.onUnreachable?.();
  }

  /** Calls `poller` at the end of this and of each following poll until it returns false. */
  wantPoll(poller: () => boolean): void {
    this.pollers.add(poller);
  }

  get hasWork(): boolean {
    return this.pollers.size > 0;
  }

  poll(): void {
    for (const poller of this.pollers) if (!poller()) this.pollers.delete(poller);
  }

  private boundTo(u8: Uint8Array, isV4: boolean, destination: number, port: number, fib: number): UdpSocket | null {
    let any: UdpSocket | null = null;
    for (const socket of this.sockets.get(port) ?? []) {
      if (socket.address.isV4 !== isV4 || socket.fib !== fib) continue;
      if (socket.address.isUnspecified) any = socket;
      else if (socket.address.matches(u8, destination)) return socket;
    }
    return any;
  }

  private find(u8: Uint8Array, isV4: boolean, local: number, remote: number, ports: number, fib: number): UdpReceiver | null {
    const table = isV4 ? this.v4 : this.v6;
    if (table.size === 0) return null;
    const key = isV4 ? this.key4 : this.key6;
    const words = isV4 ? 1 : 4;
    for (let i = 0; i < words; i++) {
      key[i] = get32(u8, local + 4 * i);
      key[words + i] = get32(u8, remote + 4 * i);
    }
    key[2 * words] = ports;
    key[2 * words + 1] = fib;
    const index = table.get(key);
    return index < 0 ? null : (this.receivers[index] ?? null);
  }

  private keyOf(tuple: UdpTuple): Int32Array {
    const { local, remote } = tuple;
    const key = local.isV4 ? this.key4 : this.key6;
    const words = local.isV4 ? 1 : 4;
    for (let i = 0; i < words; i++) {
      key[i] = local.word(i);
      key[words + i] = remote.word(i);
    }
    key[2 * words] = (tuple.localPort << 16) | tuple.remotePort;
    key[2 * words + 1] = tuple.fib;
    return key;
  }
}
