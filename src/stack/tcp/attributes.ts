/** Attributes that applications set on connections (`session/transport_attributes.ts`), as what TCP understands by them. */
import type { TransportAttributeName } from '../session/transport_attributes.ts';
import { CC_NAMES } from './cc/congestion_control.ts';
import type { TcpConnection } from './connection.ts';
import { markUrgent, urgentBytes } from './urgent.ts';

const MIN_USER_MSS = 88;

interface ConnectionAttribute {
  get(c: TcpConnection): number;
  set(c: TcpConnection, value: number): void;
}

const TABLE: Record<TransportAttributeName, ConnectionAttribute> = {
  keepalive: { get: (c) => Number(c.keepAlive), set: (c, value) => c.setKeepAlive(value !== 0) },
  tcpNodelay: { get: (c) => Number(c.noDelay), set: (c, value) => c.setNoDelay(value !== 0) },
  tcpKeepidle: {
    get: (c) => Math.round(c.keepAliveIdleMs / 1000),
    set: (c, value) => {
      c.keepAliveIdleMs = Math.max(1, value) * 1000;
      c.tcp.armKeepAlive(c);
    },
  },
  tcpKeepintvl: {
    get: (c) => Math.round(c.keepAliveIntervalMs / 1000),
    set: (c, value) => {
      c.keepAliveIntervalMs = Math.max(1, value) * 1000;
    },
  },
  tcpKeepcnt: {
    get: (c) => c.keepAliveProbes,
    set: (c, value) => {
      c.keepAliveProbes = Math.max(1, value);
    },
  },
  tcpUserMss: {
    get: (c) => c.userMss || c.mss,
    set: (c, value) => {
      c.userMss = value === 0 ? 0 : Math.max(value, MIN_USER_MSS);
      if (c.synchronized) c.tcp.updateMss(c);
    },
  },
  dscp: {
    get: (c) => c.dscp,
    set: (c, value) => {
      c.dscp = value & 63;
    },
  },
  // Reads what is left of the peer's, sets how far behind the first octet that is not acknowledged ours ends.
  urgent: { get: urgentBytes, set: markUrgent },
  tcpUserTimeout: {
    get: (c) => c.userTimeoutMs,
    set: (c, value) => {
      c.userTimeoutMs = value;
    },
  },
  tcpCongestion: {
    get: (c) => CC_NAMES.indexOf(c.cc.name),
    set: (c, value) => {
      const name = CC_NAMES[value];
      if (name !== undefined) c.setCongestionControl(name);
    },
  },
};

/** Reads (`value` undefined) or sets; undefined when TCP has no attribute of that name. */
export function connectionAttribute(c: TcpConnection, name: TransportAttributeName, value?: number): number | undefined {
  const entry: ConnectionAttribute | undefined = TABLE[name];
  if (entry === undefined) return undefined;
  if (value !== undefined) entry.set(c, value);
  return entry.get(c);
}
