/**
 * Control messages between applications and the stack: 16 words each, one layout for all, so that nothing is allocated to send or to
 * read one. Which words mean something is said at each type.
 */
import { CONTROL_ELEMENT_WORDS } from '../svm/layout.ts';
import type { Endpoint } from './endpoint.ts';

/** Application to stack. `session` = words session and generation. */
export const Request = {
  /** context, backlog, cryptoConfig, flags, local; flag passive: not yet for connections. Again without it when they are wanted. */
  listen: 1,
  /** session. */
  unlisten: 2,
  /** context, cryptoConfig, serverName, flags, local (may be unspecified), remote. */
  connect: 3,
  /** session: the application has taken the session. Sent lazily, unless that is waited for. */
  accepted: 4,
  /** session: no more bytes will be written. */
  halfClose: 5,
  /** session: nothing more will be read or written; flags reset when unread data was thrown away. */
  close: 6,
  /** segmentId, flags side: the segment is no longer used. */
  segmentDone: 7,
  /** session, attribute, value: for the session's transport. */
  attribute: 8,
  /** context: of a connect whose answer is no longer wanted. Too late it means nothing: the answer is refused with `close`. */
  cancel: 9,
  /** context, session: a process that is about to be made (see `sapi.ts`, `heir`) holds the session, or the listener, too. */
  hold: 10,
  /** session: of several holders, this one is to be the one that uses it. */
  claim: 11,
  /** segmentId, slot: after `cleanup` of a session that was used by others last: its memory is taken back. */
  slotDone: 12,
} as const;

/** Stack to application. */
export const Notice = {
  /** context, session, local, retval. */
  bound: 65,
  /** listener's context, session, segmentId, slot, flags, local, remote. */
  accepted: 66,
  /** context, session, segmentId, slot, flags, local, remote, retval. */
  connected: 67,
  /** session: the peer writes no more. */
  halfClosed: 68,
  /** session: the peer has closed. */
  disconnected: 69,
  /** session, retval: the peer has gone with data unread, or died; with a retval the connection has ended for that reason. */
  reset: 70,
  /** session: both sides have closed; its memory may be reused. */
  cleanup: 71,
  /** segmentId, flags side. */
  deleteSegment: 72,
  /** session: a listener whose backlog is full; the next acceptance is waited for. */
  backlogFull: 73,
  /** session, segmentId, slot, flags, local, remote: the worker is the one that uses the session from now on. What the peer has done follows. */
  adopted: 74,
  /** session, segmentId, slot, flags side: from now on events of the session come and go there. Its bytes stay where they are. */
  moved: 75,
  /** session: another holder is the one that uses it now. */
  taken: 76,
  /** session: another holder has said that no more bytes will be written. */
  shut: 77,
  /** session, value: received bytes before that position of the stream are urgent. */
  urgent: 78,
} as const;

export const MessageWord = {
  type: 0,
  context: 1,
  session: 2,
  generation: 3,
  segmentId: 4,
  slot: 5,
  /** local << 16 | remote */
  ports: 6,
  flags: 7,
  local: 8,
  remote: 12,
  /** For `listen` and `connect` with TLS: the configuration, and for `connect` the server name. */
  cryptoConfig: 2,
  serverName: 3,
  /** For `listen`. */
  backlog: 4,
  /** For `attribute`; `value` for `urgent`, too. */
  attribute: 4,
  value: 5,
} as const;

export const MessageFlag = { v4: 1, side: 2, v6only: 4, reset: 8, connectionless: 16, shut: 32, passive: 64 } as const;
export const RETVAL_SHIFT = 8;
export const PROTO_SHIFT = 16;
const ALPN_SHIFT = 24;

export function newMessage(): Int32Array {
  return new Int32Array(CONTROL_ELEMENT_WORDS);
}

export function messageFlags(flags: number, proto: number, retval = 0): number {
  return flags | (proto << PROTO_SHIFT) | (retval << RETVAL_SHIFT);
}

export function messageProto(message: Int32Array): number {
  return (message[MessageWord.flags] >>> PROTO_SHIFT) & 0xff;
}

/** Adds the application protocol that was chosen, as its place in the list from 1; 0: none. */
export function withAlpn(flags: number, alpn: number): number {
  return flags | (alpn << ALPN_SHIFT);
}

export function messageAlpn(message: Int32Array): number {
  return message[MessageWord.flags] >>> ALPN_SHIFT;
}

export function messageRetval(message: Int32Array): number {
  return (message[MessageWord.flags] >>> RETVAL_SHIFT) & 0xff;
}

/** Writes both endpoints; the v4 flag is the remote's (the local's for `listen`). */
export function writeEndpoints(message: Int32Array, local: Endpoint, remote: Endpoint): void {
  for (let i = 0; i < 4; i++) {
    message[MessageWord.local + i] = local.words[i];
    message[MessageWord.remote + i] = remote.words[i];
  }
  message[MessageWord.ports] = (local.port << 16) | remote.port;
}

export function readLocal(message: Int32Array, into: Endpoint): Endpoint {
  into.isV4 = (message[MessageWord.flags] & MessageFlag.v4) !== 0;
  for (let i = 0; i < 4; i++) into.words[i] = message[MessageWord.local + i];
  into.port = message[MessageWord.ports] >>> 16;
  return into;
}

export function readRemote(message: Int32Array, into: Endpoint): Endpoint {
  into.isV4 = (message[MessageWord.flags] & MessageFlag.v4) !== 0;
  for (let i = 0; i < 4; i++) into.words[i] = message[MessageWord.remote + i];
  into.port = message[MessageWord.ports] & 0xffff;
  return into;
}

/** IO events in a segment's ring: slot << 2 | kind. */
export const IoEvent = { data: 0, room: 1 } as const;
