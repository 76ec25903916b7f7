/**
 * AF_PACKET sockets with mapped rings (packet(7), Linux Documentation/networking/packet_mmap.rst): TPACKET_V3 blocks of received packets of
 * any size, TPACKET_V3 frames of fixed size to send, the virtio-net header in front of both.
 */

import { interfaceInfo } from './interface.ts';
import { check, E, errno, libc, SysError } from './libc.ts';
import { NativeMemory, Scratch } from './memory.ts';
import { SOCK_CLOEXEC, SOCK_NONBLOCK, setOption, setOptionBytes } from './socket.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_RX_RING = 5;
const PACKET_STATISTICS = 6;
const PACKET_VERSION = 10;
const PACKET_TX_RING = 13;
const PACKET_LOSS = 14;
const PACKET_VNET_HDR = 15;
const PACKET_QDISC_BYPASS = 20;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const TPACKET_V3 = 2;
/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;
const MSG_DONTWAIT = 0x40;

/** Offsets in a block (struct tpacket_block_desc). */
export const BLOCK = { STATUS: 8, PACKETS: 12, FIRST: 16 } as const;
/** Offsets in a packet's header (struct tpacket3_hdr). */
export const FRAME = { NEXT: 0, SNAPLEN: 12, LENGTH: 16, STATUS: 20, MAC: 24, VLAN_TCI: 32 } as const;
/** Where the data of a frame to send lies: behind the header, which takes 48 bytes. */
export const TX_DATA = 48;
export const TP_STATUS_KERNEL = 0;
export const TP_STATUS_USER = 1;
export const TP_STATUS_LOSING = 4;
export const TP_STATUS_VLAN_VALID = 16;
export const TP_STATUS_AVAILABLE = 0;
export const TP_STATUS_SEND_REQUEST = 1;
export const TP_STATUS_WRONG_FORMAT = 4;

export interface PacketRingOptions {
  interface: string;
  blockBytes: number;
  blocks: number;
  /** Milliseconds after which a block that is not full is handed over. */
  retireMs: number;
  frameBytes: number;
  frames: number;
}

export interface PacketRings {
  fd: number;
  /** A second socket without rings, for segments that are larger than a frame. */
  largeFd: number;
  mtu: number;
  /** The blocks, then the frames. */
  memory: NativeMemory;
}

/** Throws SysError: ENODEV without such an interface, EPERM without CAP_NET_RAW. */
export function openPacketRings(options: PacketRingOptions): PacketRings {
  const { index, mtu } = interfaceInfo(options.interface);
  const fd = open();
  let largeFd = -1;
  try {
    option(fd, PACKET_VERSION, TPACKET_V3, 'PACKET_VERSION');
    option(fd, PACKET_VNET_HDR, 1, 'PACKET_VNET_HDR');
    option(fd, PACKET_LOSS, 1, 'PACKET_LOSS');
    option(fd, PACKET_QDISC_BYPASS, 1, 'PACKET_QDISC_BYPASS');
    option(fd, PACKET_IGNORE_OUTGOING, 1, 'PACKET_IGNORE_OUTGOING');
    const { blockBytes, blocks, frameBytes, frames } = options;
    ring(fd, PACKET_RX_RING, 'PACKET_RX_RING', blockBytes, blocks, blockBytes, blocks, options.retireMs);
    const perBlock = Math.floor(blockBytes / frameBytes);
    const txBlocks = Math.ceil(frames / perBlock);
    ring(fd, PACKET_TX_RING, 'PACKET_TX_RING', blockBytes, txBlocks, frameBytes, txBlocks * perBlock, 0);
    const membership = new DataView(new ArrayBuffer(16));
    membership.setInt32(0, index, true);
    membership.setUint16(4, PACKET_MR_PROMISC, true);
    fail(setOptionBytes(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, new Uint8Array(membership.buffer)), 'PACKET_ADD_MEMBERSHIP');
    const memory = NativeMemory.map(blockBytes * (blocks + txBlocks), { fd });
    largeFd = open();
    option(largeFd, PACKET_VNET_HDR, 1, 'PACKET_VNET_HDR');
    // Without PACKET_QDISC_BYPASS, which drops what the interface cannot segment; on the way through its queue the kernel cuts it.
    bind(largeFd, index, 0);
    bind(fd, index, ALL_PROTOCOLS);
    return { fd, largeFd, mtu, memory };
  } catch (error) {
    libc.close(fd);
    if (largeFd >= 0) libc.close(largeFd);
    throw error;
  }
}

/** Has the kernel send the frames that ask for it. False when it could not take all of them now. */
export function sendFrames(fd: number): boolean {
  return libc.send(fd, 0n, 0n, MSG_DONTWAIT) >= 0 || (errno() !== E.AGAIN && errno() !== E.NOBUFS);
}

const statistics = new Scratch();

/** Packets that found no room since the last call. */
export function packetDrops(fd: number): number {
  const { view, pointer } = statistics;
  view.setUint32(64, 12, true);
  if (libc.getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, pointer, pointer + 64n) < 0) return 0;
  return view.getUint32(4, true);
}

function open(): number {
  return check(libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket', 'AF_PACKET');
}

function bind(fd: number, index: number, protocol: number): void {
  const { view, pointer, memory } = statistics;
  memory.u8.fill(0, 0, 20);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, protocol, true);
  view.setInt32(4, index, true);
  check(libc.bind(fd, pointer, 20), 'bind', 'AF_PACKET');
}

function option(fd: number, name: number, value: number, text: string): void {
  fail(setOption(fd, SOL_PACKET, name, value), text);
}

function fail(code: number, text: string): void {
  if (code !== 0) throw new SysError(`setsockopt ${text}`, code);
}

/** struct tpacket_req3. */
function ring(
  fd: number,
  name: number,
  text: string,
  blockBytes: number,
  blocks: number,
  frameBytes: number,
  frames: number,
  retireMs: number,
): void {
  const request = new Uint32Array([blockBytes, blocks, frameBytes, frames, retireMs, 0, 0]);
  fail(setOptionBytes(fd, SOL_PACKET, name, new Uint8Array(request.buffer)), text);
}
