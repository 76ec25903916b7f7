/**
 * What the session layer asks of a transport, and what a transport may ask of the session layer. A transport registers itself once per
 * stack worker; adding one changes nothing else.
 *
 * A transport whose bytes pass through the stack gets FIFOs to enqueue to and to peek or dequeue from; the cut-through transport has
 * none, its two applications share theirs.
 */
import type { Endpoint } from './endpoint.ts';
import type { Session } from './session.ts';

/** Protocol numbers as in VPP's `transport_proto`. */
export const TransportProto = { tcp: 0, udp: 1, ct: 2, tls: 3, quic: 4, dtls: 5, srtp: 6, http: 7 } as const;
export type TransportProtoName = keyof typeof TransportProto;

const names = Object.entries(TransportProto) as [TransportProtoName, number][];

export function protoName(proto: number): string {
  return names.find(([, value]) => value === proto)?.[0] ?? `proto ${proto}`;
}

export function protoByName(name: string): number | undefined {
  return names.find(([key]) => key === name)?.[1];
}

/** How the transport takes bytes from a session's transmit FIFO. */
export const TxKind = {
  /** Peeks: bytes stay until acknowledged (TCP). */
  peek: 0,
  /** Dequeues at once. */
  dequeue: 1,
  /** Never: the bytes do not pass here (cut-through, transports that are applications). */
  internal: 2,
  /** Dequeues whole datagrams. */
  datagram: 3,
} as const;

/** What the session layer may send for a session in one turn. Reused by the caller. */
export interface SendParams {
  /** Bytes the transport takes now. */
  sendSpace: number;
  /** Most bytes in one segment. */
  sendMss: number;
  /** Where in the FIFO to start: bytes already sent and not acknowledged. */
  txOffset: number;
  /** 0: may send; else do not ask again before this time. */
  descheduledUntilMs: number;
}

export interface Transport {
  readonly proto: number;
  readonly name: string;
  readonly txKind: number;
  /** True when a close of one direction leaves the other open. */
  readonly halfCloses: boolean;

  /** Start to accept at the listener's local endpoint. Returns a SessionError code. */
  listen(listener: Session): number;
  unlisten(listener: Session): void;
  /** Starts to connect `session` (local endpoint chosen by the transport when unspecified). The outcome comes as `connectNotify`. */
  connect(session: Session, remote: Endpoint, nowMs: number): number;
  /** The application writes no more; send the FIN once the FIFO is empty. */
  halfClose(session: Session, nowMs: number): void;
  /** The application has closed: deliver what is in the transmit FIFO, then close. Ends with `closedNotify`. */
  close(session: Session, nowMs: number): void;
  /** The application has closed with data unread, or died. */
  reset(session: Session, nowMs: number): void;
  /** An operator ends the connection: the application is told too. */
  abort(session: Session): void;
  /** The session layer has forgotten the session. */
  cleanup(session: Session): void;

  /** The application has made room in the receive FIFO of which the transport had asked to be told. */
  appReadEvent?(session: Session, nowMs: number): void;
  sendParams?(session: Session, params: SendParams, nowMs: number): void;
  /** Puts the transport's header in front of `length` payload bytes that start at `payload` in `packet`; returns the header's start. */
  pushHeader?(session: Session, packet: Uint8Array, payload: number, length: number, nowMs: number): number;
  /** Runs timers; returns when it wants to run again (Infinity: never). */
  updateTime?(nowMs: number): number;
  /** Reads or writes an attribute by name; undefined when it has none of that name. */
  attribute?(session: Session, name: string, value?: number): number | undefined;
  /** One line, or more with a higher `verbose`, for `show session`. */
  format(session: Session, verbose: number): string;
}
