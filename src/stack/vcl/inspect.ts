/** The rest of VCL's calls: what a session, a listener or a number is, and an end without ceremony. */
import { getSystemErrorMap } from 'node:util';
import { E } from '../../core/sys/libc.ts';
import { protoByName, protoName, TransportProto } from '../session/transport.ts';
import { worker } from './native.ts';
import { VclState } from './session.ts';

/** The handle itself while it is open: VCL's sessions and their handles have the same numbers. */
export function sessionIndex(sh: number): number {
  return worker().session(sh) === null ? -E.BADF : sh;
}

/** Index of the worker that the session belongs to. */
export function sessionWorker(sh: number): number {
  return worker().session(sh) === null ? -E.BADF : worker().workerIndex;
}

/** Bytes without bounds, not datagrams. */
export function sessionIsStream(sh: number): boolean {
  const session = worker().session(sh);
  return session !== null && session.proto !== TransportProto.udp;
}

/** It listens, and what connects to it are sessions of their own. */
export function sessionIsConnectableListener(sh: number): boolean {
  const session = worker().session(sh);
  return session !== null && session.state === VclState.listening && session.datagrams === null && !session.connectionless;
}

/** Handle of the listener that the session was accepted from; -EINVAL when it was not, or the listener is closed. */
export function sessionListener(sh: number): number {
  const session = worker().session(sh);
  if (session === null) return -E.BADF;
  return session.listener === null || session.listener.sh < 0 ? -E.INVAL : session.listener.sh;
}

/** Sessions of this worker that were accepted from the listener and are open. */
export function sessionNAccepted(sh: number): number {
  const listener = worker().session(sh);
  return listener === null ? -E.BADF : listener.accepted;
}

/** errno of what ended the session; 0: nothing has. */
export function sessionGetError(sh: number): number {
  const session = worker().session(sh);
  return session === null ? -E.BADF : session.error;
}

/** Closes at once: the peer sees a reset. */
export function sessionTerminate(sh: number): number {
  const session = worker().session(sh);
  if (session === null) return -E.BADF;
  worker().close(session, true);
  return 0;
}

/** `tcp` -> 0; -EINVAL for what is no protocol. */
export function unformatProto(name: string): number {
  return protoByName(name.toLowerCase()) ?? -E.INVAL;
}

export function protoStr(proto: number): string {
  return protoName(proto);
}

/** What a result below 0 means: `-11` -> `EAGAIN: resource temporarily unavailable`. */
export function retvalStr(result: number): string {
  const known = getSystemErrorMap().get(result);
  return result >= 0 ? 'ok' : known === undefined ? `error ${-result}` : `${known[0]}: ${known[1]}`;
}
