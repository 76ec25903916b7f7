/**
 * A session as the stack sees it, and the pool it lives in. Indices are reused; the generation tells a stale handle from a live one.
 */

import type { ReceiveSink, SendSource } from '../tcp/byte_buffers.ts';
import type { AppWorker } from './application.ts';
import type { SessionCrypto } from './crypto_config.ts';
import { Endpoint } from './endpoint.ts';
import type { StackFifos } from './stack_fifos.ts';

/** In the order in which a session goes through them: comparisons use the order (as VPP's). */
export const SessionState = {
  created: 0,
  listening: 1,
  connecting: 2,
  accepting: 3,
  ready: 4,
  /** The transport has seen the peer's end; the application has not closed. */
  transportClosing: 5,
  /** The application has closed; the transport has not finished. */
  appClosed: 6,
  closed: 7,
} as const;
export type SessionState = (typeof SessionState)[keyof typeof SessionState];

const stateNames = Object.keys(SessionState);

export function stateName(state: number): string {
  return stateNames[state] ?? `state ${state}`;
}

export class Session {
  index = -1;
  generation = 0;
  state: SessionState = SessionState.created;
  proto = 0;
  /** Which transport serves it: `proto`, or ct when it is cut through. */
  transport = 0;
  worker: AppWorker | null = null;
  /** The application's own name of the session, until it knows the stack's. */
  context = 0;
  readonly local = new Endpoint();
  readonly remote = new Endpoint();
  /** Why the transport keeps it: the peer for cut-through, the connection for others. */
  connection: unknown = null;
  /** For accepted sessions: the listener, until the application has taken it. */
  listener: Session | null = null;
  halfClosed = false;
  /** For transports whose bytes pass through the stack: see `transport_sessions.ts`. */
  fifos: StackFifos | null = null;
  /** Of a session below another transport of the stack, which is its application: its bytes stay here. */
  buffers: SessionBuffers | null = null;
  /** Of TLS: what it listens or connects with. */
  crypto: SessionCrypto | null = null;
  /** Of TLS: the application protocol that was chosen, as its place in the list from 1; 0: none. */
  alpn = 0;
  appClosed = false;
  transportClosed = false;
  /** Processes that have it (see `shared_sessions.ts`); null: its worker only. */
  holders: Set<AppWorker> | null = null;
  /** The last notice of what the peer has done, and its code; 0: none. */
  peerNotice = 0;
  peerCode = 0;
  /** For listeners. */
  accept: ListenerState | null = null;
}

/** In the shapes that TCP wants (`tcp/byte_buffers.ts`). */
export interface SessionBuffers {
  readonly send: SendSource;
  readonly receive: ReceiveSink;
}

export interface ListenerWorker {
  worker: AppWorker;
  context: number;
  /** It has asked for the address but takes no connections yet: mostly a parent whose children will. */
  passive: boolean;
}

/** What a listener knows beyond a session: who accepts, and how many connections wait. */
export interface ListenerState {
  workers: ListenerWorker[];
  next: number;
  backlog: number;
  waiting: number;
  v6only: boolean;
  /** Of datagrams: one session for all peers of the network. */
  connectionless: boolean;
  /** In which tables it stands. */
  local: boolean;
  global: boolean;
}

export class SessionPool {
  count = 0;
  private readonly sessions: Session[] = [];
  private readonly free: number[] = [];

  alloc(): Session {
    this.count++;
    const index = this.free.pop();
    if (index === undefined) {
      const session = new Session();
      session.index = this.sessions.length;
      this.sessions.push(session);
      return session;
    }
    return this.sessions[index];
  }

  /** The session, if `generation` is still its own and it is in use. */
  get(index: number, generation: number): Session | null {
    const session = this.sessions[index];
    return session !== undefined && session.generation === generation && session.worker !== null ? session : null;
  }

  at(index: number): Session {
    return this.sessions[index];
  }

  release(session: Session): void {
    session.generation = (session.generation + 1) | 0;
    session.state = SessionState.created;
    session.worker = null;
    session.connection = null;
    session.listener = null;
    session.accept = null;
    session.halfClosed = false;
    session.fifos = null;
    session.crypto = null;
    session.alpn = 0;
    session.appClosed = false;
    session.transportClosed = false;
    session.holders = null;
    session.peerNotice = 0;
    session.peerCode = 0;
    this.free.push(session.index);
    this.count--;
  }

  /** Sessions in use, by index. */
  *all(): IterableIterator<Session> {
    for (const session of this.sessions) if (session.worker !== null) yield session;
  }
}
