/**
 * Headers in front of datagrams in FIFOs. A connected session has a length only. A connectionless session, which serves every peer of a
 * bound port, has the addresses too (VPP: `session_dgram_hdr_t`), and a segment size for what the application sends.
 */
import type { Endpoint } from './endpoint.ts';

/** Length of the datagram, big-endian. */
export const DATAGRAM_HEADER = 4;
/** Length, peer's port, family (4, 6), segment size, two unused bytes, peer's address, own address. */
export const ADDRESSED_HEADER = 4 + 2 + 2 + 2 + 2 + 16 + 16;

/** Where the fields of the header with addresses are. */
export const AddressedOffset = { port: 4, family: 6, segment: 8, peer: 12, own: 28 } as const;
const { port: PORT, family: FAMILY, segment: SEGMENT, peer: PEER, own: OWN } = AddressedOffset;

export class AddressedHeader {
  readonly bytes = new Uint8Array(ADDRESSED_HEADER);
  private readonly view = new DataView(this.bytes.buffer);

  get length(): number {
    return this.view.getUint32(0);
  }

  set length(value: number) {
    this.view.setUint32(0, value);
  }

  /** Bytes per datagram; 0: the whole is one. */
  get segmentBytes(): number {
    return this.view.getUint16(SEGMENT);
  }

  set segmentBytes(value: number) {
    this.view.setUint16(SEGMENT, value);
  }

  /** Notes the peer, and where on this side it arrived; `own` null: the stack chooses. */
  setEndpoints(peer: Endpoint, own: Endpoint | null): void {
    const { view } = this;
    view.setUint16(PORT, peer.port);
    view.setUint16(FAMILY, peer.isV4 ? 4 : 6);
    for (let i = 0; i < 4; i++) {
      view.setInt32(PEER + 4 * i, peer.words[i]);
      view.setInt32(OWN + 4 * i, own === null ? 0 : own.words[i]);
    }
  }

  /** Reads the peer into `peer`; false when the header is none. */
  readPeer(peer: Endpoint): boolean {
    const { view } = this;
    const family = view.getUint16(FAMILY);
    if (family !== 4 && family !== 6) return false;
    peer.isV4 = family === 4;
    peer.port = view.getUint16(PORT);
    for (let i = 0; i < 4; i++) peer.words[i] = view.getInt32(PEER + 4 * i);
    return true;
  }

  /** Reads the own address into `own`; its port is not in the header. */
  readOwn(own: Endpoint): void {
    own.isV4 = this.view.getUint16(FAMILY) === 4;
    for (let i = 0; i < 4; i++) own.words[i] = this.view.getInt32(OWN + 4 * i);
  }
}
