/** Writes pcapng (draft-ietf-opsawg-pcapng): one section, interfaces, an enhanced packet block per packet with its direction. */

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
const LINK_ETHERNET = 1;
const LINK_RAW = 101;
const OPTION_COMMENT = 1;
const OPTION_NAME = 2;
const OPTION_FLAGS = 2;

export const PacketDirection = { unknown: 0, inbound: 1, outbound: 2 } as const;

export interface PcapngOptions {
  /** Receives whole blocks, which it may keep. */
  write: (block: Uint8Array) => void;
  /** Bytes kept of each packet. */
  snapLength?: number;
  /** Microseconds since the epoch at `nowUs` 0, so that times in the file are wall-clock times. */
  epochUs?: number;
}

export class PcapngWriter {
  private readonly write: (block: Uint8Array) => void;
  private readonly snapLength: number;
  private readonly epochUs: number;
  private interfaces = 0;

  constructor(options: PcapngOptions) {
    this.write = options.write;
    this.snapLength = options.snapLength ?? 262_144;
    this.epochUs = options.epochUs ?? 0;
    const section = new DataView(new ArrayBuffer(28));
    section.setUint32(0, SECTION, true);
    section.setUint32(4, 28, true);
    section.setUint32(8, BYTE_ORDER, true);
    section.setUint16(12, 1, true);
    section.setBigInt64(16, -1n, true);
    section.setUint32(24, 28, true);
    this.write(new Uint8Array(section.buffer));
  }

  /** Returns the number that packets of it carry. */
  addInterface(name: string, ethernet: boolean): number {
    const text = Buffer.from(name);
    const size = 20 + 4 + padded(text.length) + 4;
    const head = new DataView(new ArrayBuffer(size));
    head.setUint32(0, INTERFACE, true);
    head.setUint32(4, size, true);
    head.setUint16(8, ethernet ? LINK_ETHERNET : LINK_RAW, true);
    head.setUint32(12, this.snapLength, true);
    head.setUint16(16, OPTION_NAME, true);
    head.setUint16(18, text.length, true);
    new Uint8Array(head.buffer).set(text, 20);
    head.setUint32(size - 4, size, true);
    this.write(new Uint8Array(head.buffer));
    return this.interfaces++;
  }

  /** Writes the packet in [start, end) of `u8`. */
  packet(of: number, u8: Uint8Array, start: number, end: number, nowUs: number, direction: number, comment = ''): void {
    const kept = Math.min(end - start, this.snapLength);
    const text = Buffer.from(comment);
    const options = 28 + padded(kept);
    const commentBytes = text.length === 0 ? 0 : 4 + padded(text.length);
    const size = options + 8 + commentBytes + 4 + 4;
    const block = new DataView(new ArrayBuffer(size));
    const time = Math.floor(this.epochUs + nowUs);
    block.setUint32(0, ENHANCED_PACKET, true);
    block.setUint32(4, size, true);
    block.setUint32(8, of, true);
    block.setUint32(12, Math.floor(time / 4294967296), true);
    block.setUint32(16, time >>> 0, true);
    block.setUint32(20, kept, true);
    block.setUint32(24, end - start, true);
    const bytes = new Uint8Array(block.buffer);
    bytes.set(u8.subarray(start, start + kept), 28);
    block.setUint16(options, OPTION_FLAGS, true);
    block.setUint16(options + 2, 4, true);
    block.setUint32(options + 4, direction, true);
    if (commentBytes > 0) {
      block.setUint16(options + 8, OPTION_COMMENT, true);
      block.setUint16(options + 10, text.length, true);
      bytes.set(text, options + 12);
    }
    block.setUint32(size - 4, size, true);
    this.write(bytes);
  }
}

const padded = (n: number): number => (n + 3) & ~3;
