/**
 * A whole stack of one worker: devices, the packet graph, IP, ICMP, UDP and TCP put together. Drive it with `poll(nowUs)` when a device
 * has packets or at `nextDeadlineUs()`. It reads no clock and does no I/O but through its devices.
 */
import { IpAddress, type IpPrefix, parseIpPrefix, solicitedNode } from '../ip/address.ts';
import { DuplicateAddresses } from '../ip/duplicate_addresses.ts';
import { type Fib, type FibEntry, FibTables } from '../ip/fib.ts';
import type { Device } from '../link/device.ts';
import type { TcpConfig } from '../tcp/config.ts';
import type { TcpLower, TcpRoute } from '../tcp/lower.ts';
import { Tcp } from '../tcp/tcp.ts';
import { Udp } from '../udp/udp.ts';
import { IPV4_HEADER, IpProtocol } from '../wire/ipv4.ts';
import { IPV6_HEADER } from '../wire/ipv6.ts';
import { UDP_HEADER } from '../wire/udp.ts';
import { EthernetNodes } from './ethernet_nodes.ts';
import { Graph, type GraphNode } from './graph.ts';
import { IcmpNodes } from './icmp_nodes.ts';
import { IpInputNodes } from './ip_input_nodes.ts';
import { IpOutputNodes } from './ip_output_nodes.ts';
import { type Packet, type PacketMemory, PacketPool, type PacketPoolOptions } from './packet.ts';
import { TransportNodes } from './transport_nodes.ts';

/** Packets taken from one device before the graph runs: a frame. */
const FRAME = 64;
/** ... or so many bytes: merged segments are copied out while they are still in the cache. */
const FRAME_BYTES = 256 * 1024;
/** Frames per `poll`: a flood does not keep timers and applications waiting. */
const FRAMES_PER_POLL = 16;
const LOOPBACK_ROUTE: TcpRoute = { mtu: 65_535, maxGsoBytes: 0 };
const MAX_PATH_MTUS = 4096;
const PATH_MTU_LIFE_US = 600_000_000;

export interface NetStackOptions {
  random32: () => number;
  tcp?: Partial<TcpConfig>;
  /** A pool of another stack that is over may be used again. */
  pool?: PacketPoolOptions | PacketPool;
  memory?: PacketMemory;
  nowUs?: number;
}

export interface Interface {
  readonly index: number;
  readonly device: Device;
  readonly addresses: IpPrefix[];
  /** Those that turned out to be another host's. */
  readonly duplicates: IpAddress[];
  /** Where its addresses and what arrives on it are looked up. */
  readonly table: FibTables;
  /** What the last connection was told of it; most are told the same. */
  route: TcpRoute;
}

export interface PacketTap {
  received(packet: Packet, nowUs: number): void;
  sending(packet: Packet, nowUs: number): void;
  stop(): void;
}

export class NetStack implements TcpLower {
  readonly graph = new Graph();
  readonly pool: PacketPool;
  readonly tcp: Tcp;
  readonly udp: Udp;
  /** Forwarding tables by number; table 0 is always there. */
  readonly tables = new Map<number, FibTables>([[0, new FibTables(0)]]);
  readonly interfaces: Interface[] = [];
  readonly random32: () => number;
  /** Takes packets from devices. */
  private readonly deviceInput: GraphNode;
  /** Sends what connections and sessions have to send, and runs their timers. */
  private readonly sessionQueue: GraphNode;
  readonly ethernet: EthernetNodes;
  readonly icmp: IcmpNodes;
  readonly ipInput: IpInputNodes;
  readonly ipOutput: IpOutputNodes;
  readonly transport: TransportNodes;
  readonly duplicateAddresses: DuplicateAddresses;
  nowUs: number;
  /** Sees packets that devices have received and are given to send (`pcap trace`). */
  tap: PacketTap | null = null;
  /** Path MTU per destination, as text, and when it is forgotten (RFC 1191 6.3, RFC 8201 5.3). */
  private readonly pathMtus = new Map<string, { mtu: number; untilUs: number }>();

  constructor(options: NetStackOptions) {
    this.random32 = options.random32;
    this.nowUs = options.nowUs ?? 0;
    const { pool } = options;
    this.pool = pool instanceof PacketPool ? pool : new PacketPool(pool ?? { small: 1024, large: 64 }, options.memory);
    this.graph.ethernetDevice = (device) => (this.interfaces[device]?.device.mac ?? null) !== null;
    this.deviceInput = this.graph.addSource('device-input');
    this.deviceInput.linkLayer = true;
    this.sessionQueue = this.graph.addSource('session-queue');
    this.tcp = new Tcp({ lower: this, random: options.random32, config: options.tcp, nowUs: this.nowUs });
    this.udp = new Udp(this);
    this.ethernet = new EthernetNodes(this);
    this.ipInput = new IpInputNodes(this);
    this.icmp = new IcmpNodes(this);
    this.transport = new TransportNodes(this);
    this.ipOutput = new IpOutputNodes(this);
    this.duplicateAddresses = new DuplicateAddresses((device, address) => this.icmp.sendAddressProbe(address, device));
  }

  /** The tables of that number, made when they are asked for. */
  table(fib: number): FibTables {
    let tables = this.tables.get(fib);
    if (tables === undefined) this.tables.set(fib, (tables = new FibTables(fib)));
    return tables;
  }

  get fib4(): Fib {
    return this.table(0).v4;
  }

  get fib6(): Fib {
    return this.table(0).v6;
  }

  /** Adds a device with addresses such as `10.0.0.1/24`. Throws on a malformed address. */
  addInterface(device: Device, addresses: readonly string[], fib = 0): Interface {
    const entry: Interface = {
      index: this.interfaces.length,
      device,
      addresses: [],
      duplicates: [],
      table: this.table(fib),
      route: LOOPBACK_ROUTE,
    };
    this.interfaces.push(entry);
    for (const text of addresses) this.addAddress(entry, text);
    return entry;
  }

  /** `probe`: asks whether another host has it, where there can be one. */
  addAddress(to: Interface, text: string, probe = false): void {
    const prefix = parseIpPrefix(text);
    if (prefix === null) throw new Error(`not an address with prefix length: ${text}`);
    const { address, length } = prefix;
    const fib = to.table.of(address);
    const bits = address.isV4 ? 32 : 128;
    to.addresses.push(prefix);
    if (length < bits) fib.add(address, length, { kind: 'attached', device: to.index, gateway: null, source: address });
    fib.add(address, bits, { kind: 'receive', device: to.index, gateway: null, source: address });
    if (address.isV4 && length < 31) {
      const broadcast = new IpAddress(true, address.w0 | (length === 0 ? -1 : 0xffff_ffff >>> length));
      fib.add(broadcast, 32, { kind: 'receive', device: to.index, gateway: null, source: address });
    }
    if (!address.isV4)
      fib.add(solicitedNode(address), 128, { kind: 'receive', device: to.index, gateway: null, source: address });
    if (probe && !address.isV4 && to.device.mac !== null) this.duplicateAddresses.start(to.index, address);
  }

  /** The address is another host's: nothing is received for it, or sent from it by the stack, any more. */
  withdrawAddress(from: Interface, address: IpAddress): void {
    const at = from.addresses.findIndex((prefix) => prefix.address.equals(address));
    if (at < 0) return;
    from.addresses.splice(at, 1);
    from.duplicates.push(address);
    from.table.of(address).remove(address, address.isV4 ? 32 : 128);
  }

  /** `prefix` through `gateway` (an attached neighbour). Throws on malformed text or an unreachable gateway. */
  addRoute(prefix: string, gateway: string, fib = 0): void {
    const parsed = parseIpPrefix(prefix);
    const via = IpAddress.parse(gateway);
    if (parsed === null || via === null || parsed.address.isV4 !== via.isV4)
      throw new Error(`not a route: ${prefix} via ${gateway}`);
    const attached = this.fibOf(via, fib)?.lookup(via) ?? null;
    if (attached === null || attached.kind !== 'attached')
      throw new Error(`gateway ${gateway} is not attached${fib === 0 ? '' : ` in fib ${fib}`}`);
    this.table(fib).of(parsed.address).add(parsed.address, parsed.length, {
      kind: 'via',
      device: attached.device,
      gateway: via,
      source: attached.source,
    });
  }

  /** The table of the address's family; undefined when there is no table of that number. */
  fibOf(address: IpAddress, fib: number): Fib | undefined {
    return this.tables.get(fib)?.of(address);
  }

  private lookup(address: IpAddress, fib: number): FibEntry | null {
    return this.fibOf(address, fib)?.lookup(address) ?? null;
  }

  /** Takes what the devices have, runs timers, sends. True when there may be more to do at once. */
  poll(nowUs: number): boolean {
    this.nowUs = nowUs;
    const { graph, deviceInput } = this;
    graph.nowUs = nowUs;
    let more = false;
    for (let round = 0; round < FRAMES_PER_POLL; round++) {
      let taken = 0;
      let full = false;
      for (const { device, index, table } of this.interfaces) {
        let fromThis = 0;
        let bytes = 0;
        const sinceUs = graph.clockUs?.() ?? 0;
        while (fromThis < FRAME && bytes < FRAME_BYTES) {
          const packet = device.receive(this.pool, nowUs);
          if (packet === null) break;
          packet.device = index;
          packet.fib = table.index;
          bytes += packet.length;
          if (this.tap !== null) this.tap.received(packet, nowUs);
          if (deviceInput.traceLeft > 0) graph.traceFrom(deviceInput, packet);
          graph.enqueue(device.mac === null ? this.ipInput.byVersion(packet) : this.ethernet.input, packet);
          fromThis++;
        }
        if (fromThis > 0) graph.worked(deviceInput, fromThis, sinceUs);
        taken += fromThis;
        full ||= fromThis === FRAME || bytes >= FRAME_BYTES;
      }
      if (taken > 0) graph.run(nowUs);
      const sinceUs = graph.clockUs?.() ?? 0;
      this.tcp.poll(nowUs);
      if (this.udp.hasWork) this.udp.poll();
      if (graph.queued > 0) graph.worked(this.sessionQueue, graph.queued, sinceUs);
      graph.run(nowUs);
      more = full || this.tcp.dirty.length > 0 || this.udp.hasWork;
      if (this.flushDevices(nowUs)) more = true;
      if (!more) break;
    }
    this.ethernet.neighbors.poll(nowUs);
    this.duplicateAddresses.poll(nowUs);
    this.ipInput.fragments.expire(nowUs);
    this.graph.run(nowUs);
    if (this.flushDevices(nowUs)) more = true;
    return more || this.tcp.dirty.length > 0 || this.udp.hasWork;
  }

  private flushDevices(nowUs: number): boolean {
    let arrived = false;
    for (const { device } of this.interfaces) if (device.flush?.(nowUs)) arrived = true;
    return arrived;
  }

  nextDeadlineUs(): number {
    let next = Math.min(
      this.tcp.nextDeadlineUs(),
      this.ethernet.neighbors.nextDeadlineUs(),
      this.duplicateAddresses.nextDeadlineUs(),
      this.ipInput.fragments.nextDeadlineUs(),
    );
    for (const { device } of this.interfaces) next = Math.min(next, device.nextDeadlineUs());
    return next;
  }

  close(): void {
    this.tap?.stop();
    this.ethernet.neighbors.clear();
    for (const { device } of this.interfaces) device.close();
  }

  // --- what TCP and UDP ask for

  allocate(bytes: number): Packet | null {
    return this.pool.alloc(bytes);
  }

  send(packet: Packet, local: IpAddress, remote: IpAddress, trafficClass: number): void {
    packet.checksumOffset = 16;
    this.ipOutput.send(packet, local, remote, IpProtocol.tcp, trafficClass, true, this.tcp.config.hopLimit);
  }

  sendUdp(packet: Packet, local: IpAddress, remote: IpAddress): void {
    packet.checksumOffset = 6;
    this.ipOutput.send(packet, local, remote, IpProtocol.udp, 0, false);
  }

  udpSegmentation(remote: IpAddress, fib: number, bytes: number): number {
    const entry = this.lookup(remote, fib);
    if (entry === null || entry.kind === 'drop' || entry.kind === 'receive') return 0;
    const { device } = this.interfaces[entry.device];
    const headers = (remote.isV4 ? IPV4_HEADER : IPV6_HEADER) + UDP_HEADER;
    return bytes + headers <= Math.min(device.mtu, this.pathMtu(remote, fib)) ? device.maxUdpGsoBytes : 0;
  }

  route(_local: IpAddress, remote: IpAddress, fib = 0): TcpRoute | null {
    const entry = this.lookup(remote, fib);
    if (entry === null || entry.kind === 'drop') return null;
    if (entry.kind === 'receive') return LOOPBACK_ROUTE;
    const slot = this.interfaces[entry.device];
    const { maxGsoBytes } = slot.device;
    const mtu = Math.min(slot.device.mtu, this.pathMtu(remote, fib));
    if (slot.route.mtu !== mtu || slot.route.maxGsoBytes !== maxGsoBytes) slot.route = { mtu, maxGsoBytes };
    return slot.route;
  }

  isUnicast(address: IpAddress, fib: number): boolean {
    if (address.isMulticast || address.isLimitedBroadcast || address.isUnspecified) return false;
    const entry = this.lookup(address, fib);
    // What is received for an address that is not one of ours is for all of the link.
    return entry === null || entry.kind !== 'receive' || (entry.source?.equals(address) ?? true);
  }

  notePathMtu(remote: IpAddress, mtu: number, fib: number): void {
    if (this.pathMtus.size >= MAX_PATH_MTUS) this.pathMtus.delete(this.pathMtus.keys().next().value!);
    this.pathMtus.set(`${fib}/${remote}`, { mtu, untilUs: this.nowUs + PATH_MTU_LIFE_US });
  }

  private pathMtu(remote: IpAddress, fib: number): number {
    if (this.pathMtus.size === 0) return Number.POSITIVE_INFINITY;
    const key = `${fib}/${remote}`;
    const known = this.pathMtus.get(key);
    if (known === undefined) return Number.POSITIVE_INFINITY;
    if (known.untilUs > this.nowUs) return known.mtu;
    this.pathMtus.delete(key);
    return Number.POSITIVE_INFINITY;
  }

  sourceFor(remote: IpAddress, fib = 0): IpAddress | null {
    return this.lookup(remote, fib)?.source ?? null;
  }

  isOwn(address: IpAddress, fib = 0): boolean {
    return this.lookup(address, fib)?.kind === 'receive';
  }

  /** The interface's own address of the family, for packets of the stack itself. */
  addressOn(device: number, isV4: boolean): IpAddress | null {
    return this.interfaces[device]?.addresses.find(({ address }) => address.isV4 === isV4)?.address ?? null;
  }
}

/** Where a packet to `remote` goes next. */
export function nextHop(entry: FibEntry, remote: IpAddress): IpAddress {
  return entry.gateway ?? remote;
}
