/**
 * What the session layer asks of a transport, and what a transport may ask of the session layer. A transport registers itself once per
 * stack worker; adding one changes nothing else.
 *
 * A transport whose bytes pass through the stack gets the session's FIFOs (`session.fifos`): it peeks at and drops what the application
 * has written, and places and commits what it has received. The cut-through transport has none, its two applications share theirs.
 */
import type { Endpoint } from './endpoint.ts';
import type { ListenerWorker, Session } from './session.ts';

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

export interface Transport {
  readonly proto: number;
  readonly name: string;
  /** Sessions need a configuration of TLS. */
  readonly usesCrypto?: boolean;
  /** The protocol of the sessions that carry its own. */
  readonly carriedBy?: number;

  /** Starts to accept at the listener's local endpoint. Returns a SessionError code. */
  listen(listener: Session): number;
  /** A worker of the application knows of its listener, which `listen` was called with, and takes connections. */
  listening?(listener: Session, worker: ListenerWorker): void;
  unlisten(listener: Session): void;
  /**
   * Starts to connect `session` to `session.remote`; sets `session.connection` and an unspecified local endpoint. The outcome comes as
   * `connectNotify`, unless `reset` comes first.
   */
  connect(session: Session): number;
  /** Connects to a listener of this stack, for `target` of its workers, in place of a cut-through. The outcome comes as with `connect`. */
  connectLocal?(session: Session, listener: Session, target: ListenerWorker): number;
  /** The same where only one of the two is of this protocol, and the other of the one that carries it. */
  connectAcross?(session: Session, listener: Session, target: ListenerWorker): number;
  /** The application writes no more: send the FIN once the send FIFO is empty. */
  halfClose(session: Session): void;
  /** The application has closed: deliver what is in the send FIFO, then close. Ends with `closedNotify`. */
  close(session: Session): void;
  /** The application has closed with data unread, or died. Ends with `closedNotify`, except while it connects: then nothing follows. */
  reset(session: Session): void;
  /** An operator ends the connection: the application is told too. */
  abort(session: Session): void;

  /** The application is about to hear of its connection. */
  announcing?(session: Session): void;
  /** The application has written. */
  appWriteEvent?(session: Session): void;
  /** The application has made the room in the receive FIFO that was asked for. */
  appReadEvent?(session: Session): void;
  /** Reads (`value` undefined) or sets an attribute of `transport_attributes.ts`; undefined when it has none of that name. */
  attribute?(session: Session, name: string, value?: number): number | undefined;
  /** One line, or more with a higher `verbose`, for `show session`. */
  format(session: Session, verbose: number): string;
  /** The same as values with units in their names, for programs. */
  describe?(session: Session): Record<string, unknown>;
}

/** The session layer as a transport sees it. */
export interface SessionHost {
  /** Nothing new is taken from there: drop what arrives, without an answer. Ask before `findListener`. */
  deniesSource(fib: number, remote: Endpoint): boolean;
  /** Exact, then any-address listener at `local`; -1: the RST is yours. Rules are applied. */
  findListener(proto: number, fib: number, local: Endpoint, remote: Endpoint): Session | null;
  /** `listener` has room for a connection, and somebody to take it: ask before a handshake ends. It may be gone afterwards. */
  mayAccept(listener: Session): boolean;
  /**
   * A connection to `listener` is established, for `worker` or the next of its workers. Null: no memory, or nobody to take it; close the
   * connection. `alpn` as in `Session`.
   */
  acceptNotify(
    listener: Session,
    connection: unknown,
    local: Endpoint,
    remote: Endpoint,
    worker?: ListenerWorker,
    alpn?: number,
  ): Session | null;
  /** A connect has ended; with code 0 the session has FIFOs afterwards. False: the application has gone meanwhile, reset. */
  connectNotify(session: Session, code: number): boolean;
  /** The peer has sent urgent data, or more of it: it ends `ahead` bytes behind what is in the receive FIFO (or before its end). */
  urgentNotify?(session: Session, ahead: number): void;
  /** The peer sends no more. */
  halfClosedNotify(session: Session): void;
  /** The peer has reset the connection, or it has ended for the reason `code` (a SessionError). `closedNotify` follows when the application has closed. */
  resetNotify(session: Session, code?: number): void;
  /** The transport has forgotten the connection: nothing will be sent or received for it. */
  closedNotify(session: Session): void;
}
