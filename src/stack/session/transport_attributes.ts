/** Session attributes that mean something to a transport only (VPP: `TRANSPORT_ATTR`), and their numbers in messages. */
export const TRANSPORT_ATTRIBUTES = {
  keepalive: 1,
  tcpNodelay: 2,
  /** Seconds. */
  tcpKeepidle: 3,
  /** Seconds. */
  tcpKeepintvl: 4,
  tcpKeepcnt: 5,
  /** Bytes; 0: the transport's own. */
  tcpUserMss: 6,
  dscp: 7,
  /** Milliseconds without progress after which a connection is given up (TCP_USER_TIMEOUT); 0: the transport's own. */
  tcpUserTimeout: 8,
  /** Index into the transport's list of congestion controls: newreno, cubic, bbr. */
  tcpCongestion: 9,
  /** Where in the send FIFO urgent data ends: its position there. */
  urgent: 10,
} as const;

export type TransportAttributeName = keyof typeof TRANSPORT_ATTRIBUTES;

const byNumber = new Map<number, TransportAttributeName>(
  (Object.keys(TRANSPORT_ATTRIBUTES) as TransportAttributeName[]).map((name) => [TRANSPORT_ATTRIBUTES[name], name]),
);

export function transportAttributeName(number: number): TransportAttributeName | undefined {
  return byNumber.get(number);
}
