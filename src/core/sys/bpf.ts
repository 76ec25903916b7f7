/**
 * The few bpf(2) commands that AF_XDP needs: a map of sockets, a program of six instructions that redirects every packet of a receive queue
 * into the socket of that queue, and the link that attaches it to an interface for as long as its descriptor is open.
 */
import { check, E, errno, libc, SysError } from './libc.ts';
import { NativeMemory, Scratch } from './memory.ts';

const SYS_BPF = process.arch === 'arm64' ? 280 : 321;
const BPF_MAP_CREATE = 0;
const BPF_MAP_UPDATE_ELEM = 2;
const BPF_PROG_LOAD = 5;
const BPF_LINK_CREATE = 28;
const BPF_MAP_TYPE_XSKMAP = 17;
const BPF_PROG_TYPE_XDP = 6;
const BPF_XDP = 37;
const BPF_FUNC_redirect_map = 51;
const BPF_PSEUDO_MAP_FD = 1;
const XDP_PASS = 2;
/** Of struct xdp_md. */
const RX_QUEUE_INDEX = 16;
const XDP_FLAGS_SKB_MODE = 2;
const XDP_FLAGS_DRV_MODE = 4;
const ATTR_BYTES = 128;
const LOG_BYTES = 2048;
/** A signal that comes while a program is verified ends the call with EAGAIN. */
const ATTEMPTS = 16;

let scratch: Scratch | null = null;

/** Descriptor of a new XSKMAP with `queues` places. Throws SysError (EPERM without CAP_BPF and CAP_NET_ADMIN). */
export function createXskMap(queues: number): number {
  const view = attribute();
  view.setUint32(0, BPF_MAP_TYPE_XSKMAP, true);
  view.setUint32(4, 4, true);
  view.setUint32(8, 4, true);
  view.setUint32(12, queues, true);
  return bpf(BPF_MAP_CREATE, 'BPF_MAP_CREATE');
}

/** Puts the socket `fd` in the place of `queue`. */
export function setXskMap(map: number, queue: number, fd: number): void {
  const view = attribute();
  const { pointer } = scratch!;
  view.setUint32(ATTR_BYTES, queue, true);
  view.setUint32(ATTR_BYTES + 4, fd, true);
  view.setUint32(0, map, true);
  view.setBigUint64(8, pointer + BigInt(ATTR_BYTES), true);
  view.setBigUint64(16, pointer + BigInt(ATTR_BYTES + 4), true);
  check(bpf(BPF_MAP_UPDATE_ELEM, 'BPF_MAP_UPDATE_ELEM'), 'bpf');
}

/** Descriptor of the program: `return bpf_redirect_map(map, ctx->rx_queue_index, XDP_PASS)`. */
export function loadRedirectProgram(map: number): number {
  const code = NativeMemory.map(4096);
  const at = new DataView(code.buffer);
  let size = 0;
  const instruction = (opcode: number, destination: number, source: number, offset: number, immediate: number): void => {
    at.setUint8(size, opcode);
    at.setUint8(size + 1, destination | (source << 4));
    at.setInt16(size + 2, offset, true);
    at.setInt32(size + 4, immediate, true);
    size += 8;
  };
  instruction(0x61, 2, 1, RX_QUEUE_INDEX, 0); // r2 = *(u32 *)(r1 + 16)
  instruction(0x18, 1, BPF_PSEUDO_MAP_FD, 0, map); // r1 = map
  instruction(0, 0, 0, 0, 0); // (upper half)
  instruction(0xb7, 3, 0, 0, XDP_PASS); // r3 = XDP_PASS, for a queue without socket
  instruction(0x85, 0, 0, 0, BPF_FUNC_redirect_map); // call
  instruction(0x95, 0, 0, 0, 0); // exit
  const license = size;
  code.u8.set(Buffer.from('Apache-2.0\0'), license);
  const view = attribute();
  view.setUint32(0, BPF_PROG_TYPE_XDP, true);
  view.setUint32(4, size / 8, true);
  view.setBigUint64(8, code.pointer, true);
  view.setBigUint64(16, code.pointer + BigInt(license), true);
  view.setUint32(24, 1, true);
  view.setUint32(28, LOG_BYTES, true);
  view.setBigUint64(32, code.pointer + 2048n, true);
  view.setUint32(68, BPF_XDP, true);
  try {
    return bpf(BPF_PROG_LOAD, 'BPF_PROG_LOAD', () => Buffer.from(code.u8.subarray(2048, code.u8.indexOf(0, 2048))).toString());
  } finally {
    code.unmap();
  }
}

/** Attaches in the driver, or where it has no XDP, in the kernel's generic place. EBUSY: the interface has a program. */
export function attachXdp(program: number, index: number): number {
  try {
    return link(program, index, XDP_FLAGS_DRV_MODE);
  } catch (error) {
    if (!(error instanceof SysError) || error.code === 'EPERM' || error.code === 'EBUSY') throw error;
    return link(program, index, XDP_FLAGS_SKB_MODE);
  }
}

function link(program: number, index: number, flags: number): number {
  const view = attribute();
  view.setUint32(0, program, true);
  view.setUint32(4, index, true);
  view.setUint32(8, BPF_XDP, true);
  view.setUint32(12, flags, true);
  return bpf(BPF_LINK_CREATE, 'BPF_LINK_CREATE');
}

function attribute(): DataView {
  const { memory, view } = (scratch ??= new Scratch());
  memory.u8.fill(0, 0, ATTR_BYTES);
  return view;
}

function bpf(command: number, name: string, detail: () => string = () => ''): number {
  const { pointer } = scratch!;
  let result = -1;
  for (let attempt = 0; attempt < ATTEMPTS && result < 0; attempt++) {
    result = libc.syscall(BigInt(SYS_BPF), BigInt(command), pointer, BigInt(ATTR_BYTES), 0n, 0n);
    if (result < 0 && errno() !== E.AGAIN) break;
  }
  if (result < 0) throw new SysError(`bpf ${name}`, errno(), detail());
  return result;
}
