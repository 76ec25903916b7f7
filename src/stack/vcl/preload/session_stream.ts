/**
 * The bytes of a `net.Socket` that lives on the host stack: what its handle does for a kernel socket. The socket keeps its class; see
 * `stack_socket.ts` for how it gets here.
 */
import type { Socket } from 'node:net';
import { E } from '../../../core/sys/libc.ts';
import { socketError } from '../net_error.ts';
import { PendingWrite, type WriteCallback } from '../pending_write.ts';
import { Ready, type SessionObserver, type VclSession } from '../session.ts';
import type { ExecThread } from './exec_thread.ts';

const READ_BYTES = 64 * 1024;

export type StreamChunk = string | Uint8Array;

export class SessionStream implements SessionObserver {
  readonly socket: Socket;
  readonly peer: { address: string; port: number; family: string };
  readonly local: { address: string; port: number; family: string };
  bytesRead = 0;
  bytesWritten = 0;
  resetOnClose = false;
  private readonly thread: ExecThread;
  private session: VclSession | null;
  private wantsData = false;
  private pending: PendingWrite | null = null;
  private referenced = true;
  private deferred = 0;

  /** `session` is connected. */
  constructor(thread: ExecThread, socket: Socket, session: VclSession) {
    this.thread = thread;
    this.socket = socket;
    this.session = session;
    this.peer = describe(session.remote);
    this.local = describe(session.local);
    session.observer = this;
    session.worker.ref();
  }

  /** Of the socket: more is wanted. */
  read(): void {
    this.wantsData = true;
    this.pull();
  }

  write(chunks: Uint8Array[], callback: WriteCallback): void {
    this.pending = new PendingWrite(chunks, callback);
    this.flush();
  }

  shutdown(): void {
    const { session } = this;
    if (session !== null) session.worker.shutdownWrite(session);
  }

  close(error: Error | null): void {
    const { session, pending } = this;
    if (session === null) return;
    this.session = null;
    this.pending = null;
    session.worker.close(session, this.resetOnClose);
    if (this.referenced) session.worker.unref();
    pending?.callback(error);
  }

  setReferenced(referenced: boolean): void {
    if (this.session === null || this.referenced === referenced) return;
    this.referenced = referenced;
    if (referenced) this.session.worker.ref();
    else this.session.worker.unref();
  }

  onSessionEvent(session: VclSession, events: number): void {
    if (session !== this.session) return;
    if (this.thread.blocking) {
      if (this.deferred === 0) {
        this.thread.afterBlocking(() => {
          const seen = this.deferred;
          this.deferred = 0;
          this.onSessionEvent(session, seen);
        });
      }
      this.deferred |= events;
      return;
    }
    touch(this.socket);
    if ((events & (Ready.out | Ready.err)) !== 0 && this.pending !== null) this.flush();
    if ((events & (Ready.in | Ready.err)) === 0) return;
    if (this.wantsData) this.pull();
    else if (session.error !== 0 && this.session !== null) this.fail(session.error, 'read');
  }

  private pull(): void {
    while (this.wantsData && this.session !== null) {
      const { session } = this;
      const available = session.readable;
      if (available === 0) {
        const state = session.endState;
        if (state === -E.AGAIN) return;
        this.wantsData = false;
        if (state === 0) {
          this.socket.push(null);
          // Says 'end' also when nobody reads, or a socket that is only written to would never close.
          this.socket.read(0);
        } else this.fail(-state, 'read');
        return;
      }
      const chunk = Buffer.allocUnsafe(Math.min(available, READ_BYTES));
      const n = session.read(chunk, 0, chunk.length);
      if (n <= 0) continue;
      this.bytesRead += n;
      this.wantsData = this.socket.push(n === chunk.length ? chunk : chunk.subarray(0, n));
    }
  }

  private flush(): void {
    const { pending, session } = this;
    if (pending === null) return;
    if (session === null) {
      this.pending = null;
      pending.callback(socketError(E.PIPE, 'write'));
      return;
    }
    const result = pending.writeTo(session);
    this.bytesWritten += pending.taken;
    if (result === PendingWrite.FULL) return;
    this.pending = null;
    if (result === 0) pending.callback();
    else pending.callback(socketError(session.error || -result, 'write'));
  }

  private fail(errno: number, syscall: string): void {
    this.socket.destroy(socketError(errno, syscall));
  }
}

/** The idle time of the socket starts again. */
export function touch(socket: Socket): void {
  (socket as Socket & { _unrefTimer(): void })._unrefTimer();
}

function describe(endpoint: VclSession['local']): { address: string; port: number; family: string } {
  return { address: endpoint.ip, port: endpoint.port, family: endpoint.isV4 ? 'IPv4' : 'IPv6' };
}
