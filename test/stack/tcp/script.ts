/**
 * Packet in, packet out, in the manner of packetdrill: one stack, a device that keeps what is sent, a peer that is the test itself.
 * Sequence numbers are relative: ours to our ISS (SYN = 0), the peer's to its own.
 */
import assert from 'node:assert/strict';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import type { Packet, PacketPool } from '../../../src/stack/graph/packet.ts';
import { IpAddress } from '../../../src/stack/ip/address.ts';
import { type Device, newDeviceCounters } from '../../../src/stack/link/device.ts';
import { seededRandom } from '../../../src/stack/link/fault_injector.ts';
import type { TcpConfig } from '../../../src/stack/tcp/config.ts';
import type { TcpConnection } from '../../../src/stack/tcp/connection.ts';
import type { TcpListener } from '../../../src/stack/tcp/listener.ts';
import { put16 } from '../../../src/stack/wire/bytes.ts';
import { finishChecksum, pseudoHeaderIpv4, sumBytes } from '../../../src/stack/wire/checksum.ts';
import { emitIpv4, newIpv4Repr, parseIpv4 } from '../../../src/stack/wire/ipv4.ts';
import { emitTcp, parseTcp, TcpFlag, TcpRepr, tcpHeaderLength } from '../../../src/stack/wire/tcp.ts';

export const PEER = IpAddress.parse('10.0.0.1')!;
export const OURS = IpAddress.parse('10.0.0.2')!;
export const PEER_ISS = 1000;

export interface SegmentIn {
  flags?: string;
  /** Relative to the peer's ISS. */
  seq?: number;
  /** Relative to our ISS; without it no ACK flag unless `flags` says so. */
  ack?: number;
  window?: number;
  data?: number;
  mss?: number;
  windowScale?: number;
  sackPermitted?: boolean;
  ts?: [number, number];
  /** Relative to our ISS. */
  sack?: [number, number][];
  port?: number;
  urgent?: number;
  /** Type of service: DSCP and ECN bits. */
  tos?: number;
}

export interface SegmentOut {
  flags: string;
  seq: number;
  ack: number;
  length: number;
  window: number;
  tos: number;
  repr: TcpRepr;
}

class ScriptDevice implements Device {
  readonly name = 'script';
  readonly mtu: number;
  readonly mac = null;
  readonly checksumOffload = false;
  readonly maxGsoBytes = 0;
  readonly maxUdpGsoBytes = 0;
  readonly counters = newDeviceCounters();
  readonly sent: Uint8Array[] = [];
  /** When each of `sent` was. */
  readonly sentAtUs: number[] = [];
  readonly arriving: Uint8Array[] = [];

  constructor(mtu: number) {
    this.mtu = mtu;
  }

  transmit(packet: Packet, nowUs: number): void {
    this.sentAtUs.push(nowUs);
    this.sent.push(packet.pool.u8.slice(packet.start, packet.end));
    packet.free();
  }

  receive(pool: PacketPool): Packet | null {
    const bytes = this.arriving.shift();
    if (bytes === undefined) return null;
    const packet = pool.alloc(bytes.length)!;
    pool.u8.set(bytes, packet.start);
    packet.end = packet.start + bytes.length;
    return packet;
  }

  nextDeadlineUs(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {}
}

export class Script {
  nowUs = 10_000_000;
  readonly stack: NetStack;
  readonly device: ScriptDevice;
  iss = 0;
  readonly peerPort = 4000;
  localPort = 80;
  listener: TcpListener | null = null;

  constructor(tcp: Partial<TcpConfig> = {}, mtu = 1500) {
    const random = seededRandom(1);
    this.stack = new NetStack({
      random32: () => (random() * 4294967296) | 0,
      tcp,
      pool: { small: 512, large: 16 },
      nowUs: this.nowUs,
    });
    this.device = new ScriptDevice(mtu);
    this.stack.addInterface(this.device, ['10.0.0.2/24']);
  }

  get tcp(): NetStack['tcp'] {
    return this.stack.tcp;
  }

  listen(backlog?: number): TcpListener {
    const listener = this.tcp.listen({ address: IpAddress.parse('0.0.0.0')!, port: 80, backlog });
    assert.ok(typeof listener !== 'string');
    this.listener = listener;
    return listener;
  }

  connect(): TcpConnection {
    const c = this.tcp.connect({ remote: PEER, remotePort: this.peerPort }, this.nowUs);
    assert.ok(typeof c !== 'string');
    this.localPort = c.localPort;
    this.iss = c.iss;
    this.run();
    return c;
  }

  /** Passive open with the given SYN options; the established connection. */
  accept(syn: SegmentIn = {}, ackWindow = 65_535): TcpConnection {
    if (this.listener === null) this.listen();
    this.in({ flags: 'S', seq: 0, window: 65_535, mss: 1460, ...syn });
    const out = this.out()[0];
    assert.equal(out.flags, 'SA');
    this.iss = out.repr.seq;
    this.in({ flags: 'A', seq: 1, ack: 1, window: ackWindow, ts: syn.ts && [syn.ts[0] + 1, out.repr.tsVal] });
    const c = this.listener!.accept();
    assert.ok(c !== null);
    assert.deepEqual(this.out(), []);
    return c;
  }

  in(segment: SegmentIn): void {
    this.inRaw(this.build(segment));
  }

  inRaw(bytes: Uint8Array): void {
    this.device.arriving.push(bytes);
    this.run();
  }

  build(segment: SegmentIn): Uint8Array {
    const repr = new TcpRepr();
    const letters = segment.flags ?? 'A';
    repr.sourcePort = segment.port ?? this.peerPort;
    repr.destinationPort = this.localPort;
    repr.seq = (PEER_ISS + (segment.seq ?? 1)) | 0;
    repr.ack = segment.ack === undefined ? 0 : (this.iss + segment.ack) | 0;
    repr.flags = parseFlags(letters);
    repr.window = segment.window ?? 65_535;
    repr.urgent = segment.urgent ?? 0;
    repr.mss = segment.mss ?? 0;
    repr.windowScale = segment.windowScale ?? -1;
    repr.sackPermitted = segment.sackPermitted ?? false;
    repr.hasTimestamps = segment.ts !== undefined;
    repr.tsVal = segment.ts?.[0] ?? 0;
    repr.tsEcr = segment.ts?.[1] ?? 0;
    repr.sackCount = segment.sack?.length ?? 0;
    segment.sack?.forEach(([start, end], i) => {
      repr.sack[2 * i] = (this.iss + start) | 0;
      repr.sack[2 * i + 1] = (this.iss + end) | 0;
    });
    const header = tcpHeaderLength(repr);
    const bytes = new Uint8Array(20 + header + (segment.data ?? 0));
    const ip = newIpv4Repr();
    ip.totalLength = bytes.length;
    ip.protocol = 6;
    ip.tos = segment.tos ?? 0;
    ip.source = PEER.w0;
    ip.destination = OURS.w0;
    emitIpv4(bytes, 0, ip);
    emitTcp(bytes, 20, repr);
    for (let i = 0; i < (segment.data ?? 0); i++) bytes[20 + header + i] = ((segment.seq ?? 1) + i) & 255;
    put16(bytes, 36, finishChecksum(sumBytes(bytes, 20, bytes.length, pseudoHeaderIpv4(bytes, 0, 6, bytes.length - 20))));
    return bytes;
  }

  /** What was sent since the last call; every packet is checked on the way. */
  out(): SegmentOut[] {
    this.device.sentAtUs.length = 0;
    return this.device.sent.splice(0).map((bytes) => this.parse(bytes));
  }

  parse(bytes: Uint8Array): SegmentOut {
    const ip = newIpv4Repr();
    assert.equal(parseIpv4(bytes, 0, bytes.length, false, ip), 0);
    assert.equal(ip.totalLength, bytes.length);
    const sum = sumBytes(bytes, 20, bytes.length, pseudoHeaderIpv4(bytes, 0, 6, bytes.length - 20));
    assert.equal(finishChecksum(sum), 0, 'checksum');
    const repr = new TcpRepr();
    assert.equal(parseTcp(bytes, 20, bytes.length, repr), 0);
    return {
      flags: flagText(repr.flags),
      seq: (repr.seq - this.iss) | 0,
      ack: (repr.flags & TcpFlag.ack) !== 0 ? (repr.ack - PEER_ISS) | 0 : 0,
      length: repr.end - repr.payload,
      window: repr.window,
      tos: bytes[1],
      repr,
    };
  }

  /** What was sent, as `flags seq:end ack`. */
  outText(): string[] {
    return this.out().map((s) => `${s.flags} ${s.seq}:${s.seq + s.length} ${s.ack}`);
  }

  run(): void {
    while (this.stack.poll(this.nowUs)) {}
  }

  /** Lets time pass, stopping at every deadline. */
  pass(ms: number): void {
    const end = this.nowUs + ms * 1000;
    for (;;) {
      const next = this.stack.nextDeadlineUs();
      if (next > end) break;
      this.nowUs = Math.max(this.nowUs, next);
      this.stack.poll(this.nowUs);
    }
    this.nowUs = end;
    this.run();
  }
}

const LETTERS: readonly [string, number][] = [
  ['F', TcpFlag.fin],
  ['S', TcpFlag.syn],
  ['R', TcpFlag.rst],
  ['P', TcpFlag.psh],
  ['A', TcpFlag.ack],
  ['U', TcpFlag.urg],
  ['E', TcpFlag.ece],
  ['W', TcpFlag.cwr],
];

function parseFlags(text: string): number {
  return LETTERS.reduce((flags, [letter, bit]) => (text.includes(letter) ? flags | bit : flags), 0);
}

function flagText(flags: number): string {
  return LETTERS.filter(([, bit]) => (flags & bit) !== 0)
    .map(([letter]) => letter)
    .join('');
}
