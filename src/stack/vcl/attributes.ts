/**
 * Session attributes (VPP: `VPPCOM_ATTR_*`): what each one reads and sets. Attributes that only mean something to a network transport
 * are kept with the session and handed to its transport, now or when it is connected; accepted sessions have those of their listener. On a
 * cut-through session they read back as they were set. What cannot be honoured is refused with -EOPNOTSUPP.
 */
import { E } from '../../core/sys/libc.ts';
import { TransportProto } from '../session/transport.ts';
import { TRANSPORT_ATTRIBUTES, type TransportAttributeName } from '../session/transport_attributes.ts';
import type { VclSession } from './session.ts';
import { VclState } from './session.ts';

interface Attribute {
  get?(session: VclSession): number;
  /** Returns 0 or a negative errno. */
  set?(session: VclSession, value: number): number;
}

const AF_INET = 2;
const AF_INET6 = 10;
const MAX_SEGMENT_BYTES = 65_507;

function keep(name: string, initial = 0): Attribute {
  return {
    get: (session) => session.attributes?.get(name) ?? initial,
    set: (session, value) => {
      session.attributes ??= new Map();
      session.attributes.set(name, value);
      return 0;
    },
  };
}

/** Of the session's transport. */
function transport(name: TransportAttributeName, most: number, initial = 0): Attribute {
  const { get, set } = keep(name, initial);
  return {
    get,
    set: (session, value) => {
      // Datagrams have no connection that could be told.
      if (session.proto === TransportProto.udp) return -E.OPNOTSUPP;
      if (value < 0 || value > most) return -E.INVAL;
      set!(session, value);
      session.worker.setTransportAttribute(session, TRANSPORT_ATTRIBUTES[name], value);
      return 0;
    },
  };
}

const pktinfo = keep('ipPktinfo');

/** What there is not: 0 is what it is, anything else is refused. */
const never: Attribute = { get: () => 0, set: (_, value) => (value === 0 ? 0 : -E.OPNOTSUPP) };

/** A session that has just been connected, or accepted from `listener`, gets what was set before. */
export function applyAttributes(session: VclSession, listener: VclSession | null): void {
  if (listener?.attributes) session.attributes = new Map(listener.attributes);
  if (session.attributes === null) return;
  for (const [name, value] of session.attributes) {
    const number: number | undefined = TRANSPORT_ATTRIBUTES[name as TransportAttributeName];
    if (number !== undefined) session.worker.setTransportAttribute(session, number, value);
  }
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
  /** `recvfrom` says to which address a datagram came. */
  ipPktinfo: {
    get: pktinfo.get,
    set: (session, value) => {
      if (session.proto !== TransportProto.udp) return -E.OPNOTSUPP;
      return value === 0 || value === 1 ? pktinfo.set!(session, value) : -E.INVAL;
    },
  },
  domain: { get: (session) => (session.local.isV4 ? AF_INET : AF_INET6) },
  /** Of TLS, before it listens or connects: a certificate of `addCertKeyPair`. */
  ckpair: {
    get: (session) => session.certKeyPair,
    set: (session, value) => {
      if (session.proto !== TransportProto.tls) return -E.OPNOTSUPP;
      if (session.state > VclState.bound || session.worker.certKeyPairs.get(value, 'listen') === null) return -E.INVAL;
      session.certKeyPair = value;
      return 0;
    },
  },
  shut: { get: (session) => Number(session.writeShut) },
  /** As if it were set: what is left in TIME-WAIT keeps no address from being bound. */
  reuseaddr: keep('reuseaddr'),
  /** As if it were set, for the workers of one application; an address is never shared by two applications. */
  reuseport: keep('reuseport'),
  broadcast: never,
  keepalive: transport('keepalive', 1),
  tcpNodelay: transport('tcpNodelay', 1, 1),
  tcpKeepidle: transport('tcpKeepidle', 32_767),
  tcpKeepintvl: transport('tcpKeepintvl', 32_767),
  tcpKeepcnt: transport('tcpKeepcnt', 127),
  tcpUserMss: transport('tcpUserMss', 65_535),
  dscp: transport('dscp', 63),
  tcpUserTimeout: transport('tcpUserTimeout', 0x7fff_ffff),
  /** 0: newreno, 1: cubic, 2: bbr. */
  tcpCongestion: transport('tcpCongestion', 2, 1),
  /** Reads how many bytes are left to read of the peer's urgent data, which is in line. Set before a write: so many bytes will be urgent. */
  urgent: {
    get: (session) => session.urgent,
    set: (session, value) => {
      if (session.tx === null) return -E.NOTCONN;
      if (!session.hasTransport || session.proto !== TransportProto.tcp) return -E.OPNOTSUPP;
      if (value <= 0 || value > 1 << 29) return -E.INVAL;
      session.worker.setTransportAttribute(session, TRANSPORT_ATTRIBUTES.urgent, (session.tx.position + value) | 0);
      return 0;
    },
  },
  /** Sessions use the forwarding table of their namespace. */
  vrf: never,
  /** The application's own. */
  cookie: keep('cookie'),
} as const satisfies Record<string, Attribute>;

export type AttributeName = keyof typeof ATTRIBUTES;

/** Reads (`value` undefined) or sets an attribute; a negative result is an errno. */
export function attribute(session: VclSession, name: AttributeName, value?: number): number {
  const entry: Attribute | undefined = ATTRIBUTES[name];
  if (entry === undefined) return -E.OPNOTSUPP;
  if (value === undefined) return entry.get?.(session) ?? -E.OPNOTSUPP;
  return entry.set?.(session, value) ?? -E.OPNOTSUPP;
}
