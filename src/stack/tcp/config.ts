/** What can be set for TCP, with the defaults; times in ms. Per-connection options override `TcpConfig` where both have them. */
import type { CcName } from './cc/congestion_control.ts';

export interface TcpConfig {
  /** Largest receive and send buffers; both start small and grow. */
  maxReceiveBufferBytes: number;
  initialReceiveBufferBytes: number;
  maxSendBufferBytes: number;
  congestionControl: CcName;
  initialWindowSegments: number;
  windowScaling: boolean;
  timestamps: boolean;
  sack: boolean;
  noDelay: boolean;
  /** RFC 3168: `passive` uses it when the peer asks, `active` asks too. */
  ecn: 'off' | 'passive' | 'active';
  /** 0: acknowledge every batch at once. */
  delayedAckMs: number;
  pacing: boolean;
  initialRtoMs: number;
  minRtoMs: number;
  maxRtoMs: number;
  synRetries: number;
  synAckRetries: number;
  /** Retransmissions of data (and unanswered window probes) before the connection is given up. */
  dataRetries: number;
  /** 0: only `dataRetries` counts (RFC 9293 3.8.3). */
  userTimeoutMs: number;
  keepAlive: boolean;
  keepAliveIdleMs: number;
  keepAliveIntervalMs: number;
  keepAliveProbes: number;
  finWait2Ms: number;
  timeWaitMs: number;
  maxTimeWait: number;
  /** Half-open connections per listener beyond which SYN cookies are sent. */
  synBacklog: number;
  /** Established connections that may wait for accept. */
  acceptBacklog: number;
  synCookies: 'overflow' | 'always' | 'never';
  challengeAcksPerSecond: number;
  /** Time to live, or hop limit, of what is sent. */
  hopLimit: number;
  minPort: number;
  maxPort: number;
}

export const DEFAULT_TCP_CONFIG: TcpConfig = {
  maxReceiveBufferBytes: 4 * 1024 * 1024,
  initialReceiveBufferBytes: 128 * 1024,
  maxSendBufferBytes: 4 * 1024 * 1024,
  congestionControl: 'cubic',
  initialWindowSegments: 10,
  windowScaling: true,
  timestamps: true,
  sack: true,
  noDelay: false,
  ecn: 'passive',
  delayedAckMs: 40,
  pacing: false,
  initialRtoMs: 1000,
  minRtoMs: 200,
  maxRtoMs: 60_000,
  /** Three minutes (RFC 9293 3.8.3). */
  synRetries: 7,
  synAckRetries: 5,
  dataRetries: 15,
  userTimeoutMs: 0,
  keepAlive: false,
  keepAliveIdleMs: 7_200_000,
  keepAliveIntervalMs: 75_000,
  keepAliveProbes: 9,
  finWait2Ms: 60_000,
  timeWaitMs: 60_000,
  maxTimeWait: 65_536,
  synBacklog: 1024,
  acceptBacklog: 1024,
  synCookies: 'overflow',
  challengeAcksPerSecond: 100,
  hopLimit: 64,
  minPort: 32_768,
  maxPort: 60_999,
};
