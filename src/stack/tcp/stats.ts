/** Counters of one TCP instance. Names follow RFC 4022 and Linux where they have one. */

export const TCP_COUNTERS = [
  'activeOpens',
  'passiveOpens',
  'attemptFails',
  'establishedResets',
  'inSegments',
  'inBytes',
  'inErrors',
  'inChecksumErrors',
  'inOutOfOrder',
  'inDuplicate',
  'inOutOfWindow',
  'outSegments',
  'outBytes',
  'outResets',
  'outAcks',
  'retransmittedSegments',
  'retransmittedBytes',
  'fastRecoveries',
  'rtoTimeouts',
  'tlpProbes',
  'tlpRecoveries',
  'reorderTimeouts',
  'rackReorderings',
  'dsackReceived',
  'dsackSent',
  'undoRecoveries',
  'sackReneging',
  'windowProbes',
  'keepAliveProbes',
  'delayedAcks',
  'challengeAcks',
  'challengeAcksSuppressed',
  'pawsRejected',
  'synCookiesSent',
  'synCookiesAccepted',
  'synCookiesFailed',
  'listenOverflows',
  'listenDrops',
  'timeWaitReused',
  'timeWaitOverflow',
  'pmtuReductions',
  'receivePruned',
  'outOfBuffers',
  'ecnNegotiated',
  'ecnMarksReceived',
  'ecnReductions',
] as const;

export type TcpCounter = (typeof TCP_COUNTERS)[number];
export type TcpStats = Record<TcpCounter, number>;

export function newTcpStats(): TcpStats {
  return Object.fromEntries(TCP_COUNTERS.map((name) => [name, 0])) as TcpStats;
}
