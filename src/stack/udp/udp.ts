/**
 * UDP (RFC 768) sockets: bound to a port, connected or not. Datagrams are copied out of the packet before the application sees them.
 * Left out: UDP segmentation offload, multicast.
 */
import type { Packet } from '../graph/packet.ts';
import { IpAddress } from '../ip/address.ts';
import { emitUdp, type newUdpRepr, UDP_HEADER } from '../wire/udp.ts';

export interface UdpLower {
  allocate(bytes: number): Packet | null;
  /** Sends the UDP datagram in [start, end), whose checksum field is zero. */
  sendUdp(packet: Packet, local: IpAddress, remote: IpAddress): void;
  sourceFor(remote: IpAddress): IpAddress | null;
}

export type UdpHandler = (socket: UdpSocket, data: Uint8Array, remote: IpAddress, remotePort: number, local: IpAddress) => void;

const MAX_DATAGRAM = 65_507;
const MIN_PORT = 32_768;
const MAX_PORT = 60_999;

export class UdpSocket {
  readonly udp: Udp;
  readonly address: IpAddress;
  readonly port: number;
  onDatagram: UdpHandler | null;
  remote: IpAddress | null = null;
  remotePort = 0;

  constructor(udp: Udp, address: IpAddress, port: number, onDatagram: UdpHandler | null) {
    this.udp = udp;
    this.address = address;
    this.port = port;
    this.onDatagram = onDatagram;
  }

  /** Only datagrams of this peer are delivered from now on, and `send` needs no address. */
  connect(remote: IpAddress, port: number): void {
    this.remote = remote;
    this.remotePort = port;
  }

  /** False when there is no route, no buffer or the datagram is too long. */
  send(data: Uint8Array, remote = this.remote, remotePort = this.remotePort): boolean {
    return remote !== null && this.udp.send(this, data, remote, remotePort);
  }

  close(): void {
    this.udp.close(this);
  }
}

export class Udp {
  readonly stats = { inDatagrams: 0, outDatagrams: 0, noPort: 0, inErrors: 0 };
  private readonly lower: UdpLower;
  private readonly sockets = new Map<number, UdpSocket[]>();
  private nextPort = MIN_PORT;

  constructor(lower: UdpLower) {
    this.lower = lower;
  }

  /** Port 0 chooses one; null when the port is taken. */
  bind(address: IpAddress, port: number, onDatagram: UdpHandler | null): UdpSocket | null {
    let chosen = port;
    for (let i = 0; chosen === 0 && i <= MAX_PORT - MIN_PORT; i++) {
      const candidate = this.nextPort;
      this.nextPort = candidate === MAX_PORT ? MIN_PORT : candidate + 1;
      if (!this.sockets.has(candidate)) chosen = candidate;
    }
    if (chosen === 0) return null;
    const list = this.sockets.get(chosen) ?? [];
    if (list.some((s) => s.address.equals(address))) return null;
    const socket = new UdpSocket(this, address, chosen, onDatagram);
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

  send(socket: UdpSocket, data: Uint8Array, remote: IpAddress, remotePort: number): boolean {
    if (data.length > MAX_DATAGRAM) return false;
    const local = socket.address.isUnspecified ? this.lower.sourceFor(remote) : socket.address;
    if (local === null || local.isV4 !== remote.isV4) return false;
    const packet = this.lower.allocate(UDP_HEADER + data.length);
    if (packet === null) return false;
    packet.l4 = packet.start;
    packet.end = packet.start + UDP_HEADER + data.length;
    emitUdp(packet.pool.u8, packet.start, socket.port, remotePort, UDP_HEADER + data.length);
    packet.pool.u8.set(data, packet.start + UDP_HEADER);
    this.stats.outDatagrams++;
    this.lower.sendUdp(packet, local, remote);
    return true;
  }

  /** Delivers a checked datagram; false when nobody listens. The packet stays the caller's. */
  input(packet: Packet, repr: ReturnType<typeof newUdpRepr>): boolean {
    const list = this.sockets.get(repr.destinationPort);
    const { u8 } = packet.pool;
    const destination = packet.l3 + (packet.isV4 ? 16 : 24);
    const source = packet.l3 + (packet.isV4 ? 12 : 8);
    let best: UdpSocket | null = null;
    for (const socket of list ?? []) {
      if (socket.address.isV4 !== packet.isV4) continue;
      if (!socket.address.isUnspecified && !socket.address.matches(u8, destination)) continue;
      if (socket.remote !== null && (socket.remotePort !== repr.sourcePort || !socket.remote.matches(u8, source))) continue;
      if (best === null || socket.remote !== null || (best.address.isUnspecified && best.remote === null)) best = socket;
    }
    if (best === null) {
      this.stats.noPort++;
      return false;
    }
    this.stats.inDatagrams++;
    best.onDatagram?.(
      best,
      u8.slice(repr.payload, repr.end),
      IpAddress.read(u8, source, packet.isV4),
      repr.sourcePort,
      IpAddress.read(u8, destination, packet.isV4),
    );
    return true;
  }
}
