/**
 * AF_XDP sockets (Linux Documentation/networking/af_xdp.rst): packet memory that the kernel shares (UMEM), and four rings over it: free
 * chunks to fill, received packets, packets to send, chunks that were sent.
 */
import { attachXdp, createXskMap, loadRedirectProgram, setXskMap } from './bpf.ts';
import { interfaceInfo, isVirtualUnthreaded, setThreaded } from './interface.ts';
import { check, errno, libc, SysError } from './libc.ts';
import { NativeMemory, Scratch } from './memory.ts';
import { getOptionBytes, SOCK_CLOEXEC, setOption, setOptionBytes } from './socket.ts';

const AF_XDP = 44;
const SOCK_RAW = 3;
const SOL_XDP = 283;
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_TX_RING = 3;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_STATISTICS = 7;
const XDP_MAX_TX_SKB_BUDGET = 9;
const XDP_UMEM_TX_METADATA_LEN = 1 << 2;
const XDP_COPY = 1 << 1;
const PGOFF = { rx: 0, tx: 0x8000_0000, fill: 0x1_0000_0000, completion: 0x1_8000_0000 };
const MSG_DONTWAIT = 0x40;
const SEND_BUDGET = 256;

/** In front of a packet to send whose checksum is left to the kernel: struct xsk_tx_metadata. */
export const TX_METADATA_BYTES = 24;
export const XDP_TXMD_FLAGS_CHECKSUM = 2;
/** Option of a descriptor: there is metadata. */
export const XDP_TX_METADATA = 2;
/** The kernel leaves this room in a chunk in front of what it receives. */
export const XDP_HEADROOM = 256;

/** One of the four rings: indices only grow, and entries are at `index & mask`. */
export class XdpRing {
  readonly i32: Int32Array;
  readonly mask: number;
  /** Words of the two indices, and of the first entry. */
  readonly producer: number;
  readonly consumer: number;
  readonly entries: number;

  constructor(memory: NativeMemory, offsets: readonly number[], size: number) {
    this.i32 = memory.i32;
    this.mask = size - 1;
    this.producer = offsets[0] >> 2;
    this.consumer = offsets[1] >> 2;
    this.entries = offsets[2] >> 2;
  }

  loadProducer(): number {
    return Atomics.load(this.i32, this.producer);
  }

  loadConsumer(): number {
    return Atomics.load(this.i32, this.consumer);
  }

  storeProducer(index: number): void {
    Atomics.store(this.i32, this.producer, index);
  }

  storeConsumer(index: number): void {
    Atomics.store(this.i32, this.consumer, index);
  }
}

export interface XdpSocketOptions {
  interface: string;
  queue: number;
  umem: NativeMemory;
  chunkBytes: number;
  /** Entries of each ring, a power of two. */
  entries: number;
  /** The kernel works for us in a thread of its own while the socket is attached: by default on an interface that is no hardware. */
  threaded?: boolean;
}

export interface XdpSocket {
  fd: number;
  mtu: number;
  mac: Uint8Array;
  /** The kernel computes checksums of packets that ask for it (Linux 6.8). */
  checksums: boolean;
  rx: XdpRing;
  tx: XdpRing;
  fill: XdpRing;
  completion: XdpRing;
  /** Has the interface's packets go to the socket; the fill ring should have chunks by then. Throws SysError. */
  attach(): void;
  /** The rings must not be touched afterwards. */
  close(): void;
}

/** Throws SysError: ENODEV, EPERM, EBUSY when the queue has a socket already. */
export function openXdpSocket(options: XdpSocketOptions): XdpSocket {
  const { index, mtu, mac } = interfaceInfo(options.interface);
  const fds = [check(libc.socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), 'socket', 'AF_XDP')];
  const fd = fds[0];
  const rings: NativeMemory[] = [];
  const { threaded = isVirtualUnthreaded(options.interface, { index, mac }) } = options;
  let isThreaded = false;
  const close = (): void => {
    if (isThreaded) setThreaded(options.interface, false);
    isThreaded = false;
    // The link first: packets go to the kernel again before the socket is gone, which lives as long as it is mapped.
    for (const each of fds.splice(0).reverse()) libc.close(each);
    for (const ring of rings.splice(0)) ring.unmap();
  };
  try {
    const checksums = registerUmem(fd, options);
    const { entries } = options;
    for (const ring of [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING])
      fail(setOption(fd, SOL_XDP, ring, entries), 'AF_XDP ring');
    // Best effort: packets per `send`, 32 before Linux 6.17.
    setOption(fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, Math.min(SEND_BUDGET, entries));
    const raw = getOptionBytes(fd, SOL_XDP, XDP_MMAP_OFFSETS, 128);
    if (raw === null || raw.length < 128) throw new SysError('getsockopt XDP_MMAP_OFFSETS', errno());
    const offsets = new DataView(raw.buffer, raw.byteOffset);
    const map = (place: number, pageOffset: number, entryBytes: number): XdpRing => {
      const at = [0, 8, 16].map((field) => Number(offsets.getBigUint64(place * 32 + field, true)));
      const memory = NativeMemory.map(at[2] + entries * entryBytes, { fd, offset: pageOffset, populate: true });
      rings.push(memory);
      return new XdpRing(memory, at, entries);
    };
    const rx = map(0, PGOFF.rx, 16);
    const tx = map(1, PGOFF.tx, 16);
    const fill = map(2, PGOFF.fill, 8);
    const completion = map(3, PGOFF.completion, 8);
    bind(fd, index, options.queue);
    const attach = (): void => {
      const xsks = createXskMap(options.queue + 1);
      fds.push(xsks);
      setXskMap(xsks, options.queue, fd);
      const program = loadRedirectProgram(xsks);
      fds.push(program);
      fds.push(attachXdp(program, index));
      // A veth has NAPI, and so threads, only once there is a program.
      if (threaded) isThreaded = setThreaded(options.interface);
    };
    return { fd, mtu, mac, checksums, rx, tx, fill, completion, attach, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Has the kernel send what is in the ring; true when there may be more. */
export function kickXdp(fd: number): boolean {
  return libc.send(fd, 0n, 0n, MSG_DONTWAIT) < 0;
}

/** Packets that found no room or no chunk so far. */
export function xdpDrops(fd: number): number {
  const bytes = getOptionBytes(fd, SOL_XDP, XDP_STATISTICS, 48);
  if (bytes === null || bytes.length < 40) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Number(view.getBigUint64(0, true) + view.getBigUint64(24, true));
}

/** struct xdp_umem_reg; without metadata where the kernel does not know it. False: then. */
function registerUmem(fd: number, { umem, chunkBytes }: XdpSocketOptions): boolean {
  const view = new DataView(new ArrayBuffer(32));
  view.setBigUint64(0, umem.pointer, true);
  view.setBigUint64(8, BigInt(umem.size - (umem.size % chunkBytes)), true);
  view.setUint32(16, chunkBytes, true);
  view.setUint32(24, XDP_UMEM_TX_METADATA_LEN, true);
  view.setUint32(28, TX_METADATA_BYTES, true);
  const bytes = new Uint8Array(view.buffer);
  if (setOptionBytes(fd, SOL_XDP, XDP_UMEM_REG, bytes) === 0) return true;
  fail(setOptionBytes(fd, SOL_XDP, XDP_UMEM_REG, bytes.subarray(0, 24)), 'XDP_UMEM_REG');
  return false;
}

const address = new Scratch();

function bind(fd: number, index: number, queue: number): void {
  const { view, pointer } = address;
  view.setUint16(0, AF_XDP, true);
  view.setUint16(2, XDP_COPY, true);
  view.setUint32(4, index, true);
  view.setUint32(8, queue, true);
  view.setUint32(12, 0, true);
  check(libc.bind(fd, pointer, 16), 'bind', `AF_XDP queue ${queue}`);
}

function fail(code: number, text: string): void {
  if (code !== 0) throw new SysError(`setsockopt ${text}`, code);
}
