/**
 * What can go wrong with a session request: the code that travels in control messages, the errno an application sees, and the text.
 * One table; names after VPP's session errors where it has one.
 */
import { E } from '../../core/sys/libc.ts';

interface SessionErrorEntry {
  readonly code: number;
  readonly errno: number;
  readonly text: string;
}

export const SESSION_ERRORS = {
  none: { code: 0, errno: 0, text: 'no error' },
  unknown: { code: 1, errno: E.PROTO, text: 'unknown error' },
  refused: { code: 2, errno: E.CONNREFUSED, text: 'connection refused' },
  timedOut: { code: 3, errno: E.TIMEDOUT, text: 'connection timed out' },
  alloc: { code: 4, errno: E.NOBUFS, text: 'out of sessions or memory' },
  owner: { code: 5, errno: E.ACCES, text: 'object belongs to another application' },
  noRoute: { code: 6, errno: E.NETUNREACH, text: 'no route to that address' },
  noIp: { code: 7, errno: E.ADDRNOTAVAIL, text: 'address is not available' },
  noPort: { code: 8, errno: E.ADDRNOTAVAIL, text: 'no free local port' },
  noSupport: { code: 9, errno: E.OPNOTSUPP, text: 'not supported' },
  noListen: { code: 10, errno: E.INVAL, text: 'not listening' },
  noSession: { code: 11, errno: E.NOTCONN, text: 'session does not exist' },
  noApp: { code: 12, errno: E.NOENT, text: 'application is not attached' },
  portInUse: { code: 13, errno: E.ADDRINUSE, text: 'address is already in use' },
  denied: { code: 14, errno: E.ACCES, text: 'denied by a session rule' },
  congested: { code: 15, errno: E.CONNREFUSED, text: 'message queue of the application is congested' },
  backlog: { code: 16, errno: E.CONNREFUSED, text: 'backlog of the listener is full' },
  invalid: { code: 17, errno: E.INVAL, text: 'invalid argument' },
  noNamespace: { code: 18, errno: E.NOENT, text: 'namespace does not exist' },
  wrongSecret: { code: 19, errno: E.ACCES, text: 'wrong namespace secret' },
  version: { code: 20, errno: E.PROTO, text: 'layout version mismatch' },
  reset: { code: 21, errno: E.CONNRESET, text: 'connection reset' },
  tlsConfig: { code: 23, errno: E.INVAL, text: 'the TLS configuration cannot be used' },
  tlsHandshake: { code: 24, errno: E.PROTO, text: 'TLS handshake or record failed' },
  tlsVerify: { code: 25, errno: E.KEYREJECTED, text: 'the certificate of the peer was rejected' },
  tlsTruncated: { code: 26, errno: E.CONNRESET, text: 'the TLS stream was cut off' },
  scope: { code: 22, errno: E.ACCES, text: 'outside of the scope of the application' },
} as const satisfies Record<string, SessionErrorEntry>;

export type SessionErrorName = keyof typeof SESSION_ERRORS;

/** The codes by name. */
export const SessionError = Object.fromEntries(Object.entries(SESSION_ERRORS).map(([name, entry]) => [name, entry.code])) as {
  readonly [name in SessionErrorName]: number;
};

const byCode = new Map<number, SessionErrorEntry>(Object.values(SESSION_ERRORS).map((entry) => [entry.code, entry]));

/** errno for a code that came in a message; an unknown code is EPROTO. */
export function sessionErrno(code: number): number {
  return byCode.get(code)?.errno ?? E.PROTO;
}

export function sessionErrorText(code: number): string {
  return byCode.get(code)?.text ?? `error ${code}`;
}
