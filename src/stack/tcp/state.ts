/** The states of RFC 9293 3.3.2, in an order that comparisons use: everything from `established` on is synchronized. */

export const TCP_STATES = [
  'CLOSED',
  'LISTEN',
  'SYN_SENT',
  'SYN_RCVD',
  'ESTABLISHED',
  'CLOSE_WAIT',
  'FIN_WAIT_1',
  'LAST_ACK',
  'CLOSING',
  'FIN_WAIT_2',
  'TIME_WAIT',
] as const;

export const TcpState = {
  closed: 0,
  listen: 1,
  synSent: 2,
  synReceived: 3,
  established: 4,
  closeWait: 5,
  finWait1: 6,
  lastAck: 7,
  closing: 8,
  finWait2: 9,
  timeWait: 10,
} as const;
export type TcpState = (typeof TcpState)[keyof typeof TcpState];

export function tcpStateName(state: TcpState): string {
  return TCP_STATES[state];
}

/** Why a connection ended; `none`: both sides closed. */
export const TCP_ERRORS = ['none', 'refused', 'reset', 'timedOut', 'aborted', 'unreachable', 'noPort', 'noRoute'] as const;
export type TcpError = (typeof TCP_ERRORS)[number];
