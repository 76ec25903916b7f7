/**
 * What comes over a worker's socket before the message that first mentions it: the segments that it shares with peers, and what TLS
 * handshakes settled.
 */
import type { SlabWindows } from '../../core/buffer/slab_windows.ts';
import { closeDescriptor, receivePacket } from '../../core/sys/unix_socket.ts';
import { decodeSapi, type TlsDetailsMessage } from '../session/sapi.ts';
import { SegmentEnd } from './shared_segment.ts';
import type { TlsDetails } from './tls_options.ts';
import type { WakeSet } from './wake_set.ts';

/** Between a message over the socket and its notice in the queue. */
const MAX_DETAILS = 4096;

export class SegmentEnds {
  /** What every wake-up looks at. */
  list: SegmentEnd[] = [];
  /** Where peers' memory is shown, when it is read by reference. */
  windows: SlabWindows | null = null;
  private readonly byKey = new Map<number, SegmentEnd>();
  private readonly details = new Map<number, { generation: number; details: TlsDetails }>();
  private readonly socket: number;
  private readonly wake: WakeSet;
  private readonly onAdded: () => void;

  /** `onAdded`: there is another end to look at and to arm. */
  constructor(socket: number, wake: WakeSet, onAdded: () => void) {
    this.socket = socket;
    this.wake = wake;
    this.onAdded = onAdded;
  }

  /** The end with that name, fetched from the socket if it is new; null when there is none. */
  find(id: number, side: number): SegmentEnd | null {
    const key = keyOf(id, side);
    const known = this.byKey.get(key);
    if (known !== undefined) return known;
    this.fetch();
    return this.byKey.get(key) ?? null;
  }

  /** What the handshake of a new session settled, when it is to be known. */
  takeDetails(session: number, generation: number): TlsDetails | null {
    this.fetch();
    const found = this.details.get(session);
    this.details.delete(session);
    return found?.generation === generation ? found.details : null;
  }

  /** Lets go of an end that the stack has deleted, once no session is in it; once, as its descriptors' numbers are soon another's. */
  release(end: SegmentEnd): void {
    if (!end.deleted || end.inUse > 0 || !this.list.includes(end)) return;
    this.byKey.delete(keyOf(end.id, end.side));
    this.list = this.list.filter((other) => other !== end);
    this.dispose(end);
  }

  close(): void {
    for (const end of this.list) this.dispose(end);
    this.list = [];
    this.byKey.clear();
  }

  private fetch(): void {
    for (let received = receivePacket(this.socket); received.kind === 'packet'; received = receivePacket(this.socket)) {
      const message = decodeSapi(received.data);
      if (message?.type === 'tlsDetails') this.noteDetails(message);
      if (message?.type !== 'segment') {
        for (const fd of received.fds) closeDescriptor(fd);
        continue;
      }
      const end = SegmentEnd.attach(message.id, message.side, received.fds, this.windows);
      if (typeof end === 'string') continue;
      this.byKey.set(keyOf(end.id, end.side), end);
      this.list.push(end);
      if (end.bellFd !== null) this.wake.add(end.bellFd);
      this.onAdded();
    }
  }

  private noteDetails(message: TlsDetailsMessage): void {
    const { serverName, version, cipher, resumed, certificate } = message;
    const der = certificate === '' ? null : new Uint8Array(Buffer.from(certificate, 'base64'));
    const details = { serverName, version, cipher, resumed, certificate: der };
    // The notice that belongs to it follows at once: whatever is here beyond that is nobody's.
    if (this.details.size >= MAX_DETAILS) this.details.clear();
    this.details.set(message.session, { generation: message.generation, details });
  }

  private dispose(end: SegmentEnd): void {
    if (end.bellFd !== null) this.wake.remove(end.bellFd);
    end.close();
  }
}

/** A worker may hold both ends of a segment. */
function keyOf(id: number, side: number): number {
  return id * 2 + side;
}
