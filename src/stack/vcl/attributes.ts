/**
 * Session attributes (VPP: `VPPCOM_ATTR_*`): what each one reads and sets. Attributes that only mean something to a network transport
 * are kept with the session and handed to the transport when there is one; on a cut-through session they read back as they were set.
 */
import { E } from '../../core/sys/libc.ts';
import { TransportProto } from '../session/transport.ts';
import type { VclSession } from './session.ts';
import { VclState } from './session.ts';

interface Attribute {
  get?(session: VclSession): number;
  /** Returns 0 or a negative errno. */
  set?(session: VclSession, value: number): number;
}

const MAX_SEGMENT_BYTES = 65_507;
const stored = new WeakMap<VclSession, Map<string, number>>();

function keep(name: string, initial = 0): Attribute {
  return {
    get: (session) => stored.get(session)?.get(name) ?? initial,
    set: (session, value) => {
      let values = stored.get(session);
      if (values === undefined) stored.set(session, (values = new Map()));
      values.set(name, value);
      return 0;
    },
  };
}

/** O_NONBLOCK, as in VPP's flags attribute. */
export const FLAG_NONBLOCK = 0x800;

export const ATTRIBUTES = {
  nread: { get: (session) => session.readable },
  nwrite: { get: (session) => session.tx?.free ?? 0 },
  nwriteq: { get: (session) => session.tx?.used ?? 0 },
  flags: {
    get: (session) => (session.nonBlocking ? FLAG_NONBLOCK : 0),
    set: (session, value) => {
      session.nonBlocking = (value & FLAG_NONBLOCK) !== 0;
      return 0;
    },
  },
  protocol: { get: (session) => session.proto },
  listen: { get: (session) => Number(session.state === VclState.listening) },
  connected: { get: (session) => Number(session.state === VclState.ready) },
  /** errno of what ended the session; 0: nothing. */
  error: { get: (session) => session.error },
  rxFifoLen: {
    get: (session) => session.rx?.size ?? 0,
    set: (session, value) => {
      if (session.rx === null) return -E.NOTCONN;
      if (value < 4096 || value > 2 ** 30) return -E.INVAL;
      session.rx.setSize(value);
      return 0;
    },
  },
  txFifoLen: { get: (session) => session.tx?.capacity ?? 0 },
  v6only: {
    get: (session) => Number(session.v6only),
    set: (session, value) => {
      if (session.state > VclState.bound) return -E.INVAL;
      session.v6only = value !== 0;
      return 0;
    },
  },
  /** Bytes per datagram that one send is cut into, as Linux' UDP_SEGMENT; 0: none. */
  udpSegment: {
    get: (session) => session.segmentBytes,
    set: (session, value) => {
      if (session.proto !== TransportProto.udp) return -E.OPNOTSUPP;
      if (value < 0 || value > MAX_SEGMENT_BYTES) return -E.INVAL;
      session.segmentBytes = value;
      return 0;
    },
  },
  shut: { get: (session) => Number(session.writeShut) },
  reuseaddr: keep('reuseaddr'),
  reuseport: keep('reuseport'),
  broadcast: keep('broadcast'),
  keepalive: keep('keepalive'),
  tcpNodelay: keep('tcpNodelay', 1),
  tcpKeepidle: keep('tcpKeepidle'),
  tcpKeepintvl: keep('tcpKeepintvl'),
  tcpUserMss: keep('tcpUserMss'),
  dscp: keep('dscp'),
  vrf: keep('vrf'),
} as const satisfies Record<string, Attribute>;

export type AttributeName = keyof typeof ATTRIBUTES;

/** Reads (`value` undefined) or sets an attribute; a negative result is an errno. */
export function attribute(session: VclSession, name: AttributeName, value?: number): number {
  const entry: Attribute | undefined = ATTRIBUTES[name];
  if (entry === undefined) return -E.OPNOTSUPP;
  if (value === undefined) return entry.get?.(session) ?? -E.OPNOTSUPP;
  return entry.set?.(session, value) ?? -E.OPNOTSUPP;
}
