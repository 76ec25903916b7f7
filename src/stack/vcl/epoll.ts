/**
 * An epoll set of VCL sessions, level- or edge-triggered per session, with one-shot. Works on a list of sessions to look at, so waiting
 * costs nothing for sessions to which nothing happens. Sets do not nest.
 */
import { E } from '../../core/sys/libc.ts';
import { type ReadinessWatcher, Ready, type VclSession, VclState } from './session.ts';
import type { VclWorker } from './worker.ts';

/** Event bits, with epoll(7)'s values. */
export const EPOLL = {
  IN: Ready.in,
  /** Urgent data: it is in the stream, the attribute `urgent` says how far. */
  PRI: Ready.pri,
  OUT: Ready.out,
  ERR: Ready.err,
  HUP: Ready.hup,
  RDHUP: Ready.rdhup,
  ONESHOT: 1 << 30,
  ET: 1 << 31,
} as const;

export const EPOLL_CTL = { ADD: 1, DEL: 2, MOD: 3 } as const;

export interface EpollEvent {
  events: number;
  /** What was given to `epollCtl`. */
  data: number;
}

interface Member {
  session: VclSession;
  /** Interest with ET and ONESHOT; 0 once a one-shot has fired. */
  events: number;
  data: number;
  queued: boolean;
}

export class VclEpoll implements ReadinessWatcher {
  private readonly worker: VclWorker;
  private readonly members = new Map<VclSession, Member>();
  private queue: Member[] = [];

  constructor(worker: VclWorker) {
    this.worker = worker;
  }

  /** Returns 0 or a negative errno. */
  control(op: number, session: VclSession, events: number, data: number): number {
    const member = this.members.get(session);
    switch (op) {
      case EPOLL_CTL.ADD: {
        if (member !== undefined) return -E.EXIST;
        const added = { session, events, data, queued: false };
        this.members.set(session, added);
        session.watchers.push(this);
        this.enqueue(added);
        this.worker.moreToDo();
        return 0;
      }
      case EPOLL_CTL.MOD:
        if (member === undefined) return -E.NOENT;
        member.events = events;
        member.data = data;
        this.enqueue(member);
        this.worker.moreToDo();
        return 0;
      case EPOLL_CTL.DEL:
        if (member === undefined) return -E.NOENT;
        this.remove(member);
        return 0;
      default:
        return -E.INVAL;
    }
  }

  /** Fills `out` with up to `most` ready sessions; blocks up to `timeoutMs` (-1: no limit). Returns how many, 0 on timeout. */
  wait(out: EpollEvent[], most: number, timeoutMs: number): number {
    const deadline = timeoutMs > 0 ? performance.now() + timeoutMs : 0;
    this.worker.poll();
    for (;;) {
      const n = this.collect(out, most);
      // Level-triggered ones are ready as long as they are.
      if (n > 0 && this.queue.length > 0) this.worker.moreToDo();
      if (n > 0 || timeoutMs === 0) return n;
      const left = timeoutMs < 0 ? -1 : Math.ceil(deadline - performance.now());
      if (timeoutMs > 0 && left <= 0) return 0;
      if (this.worker.detached) return this.collect(out, most);
      this.worker.wait(left);
    }
  }

  sessionReady(session: VclSession): void {
    const member = this.members.get(session);
    if (member === undefined) return;
    if (session.state === VclState.closed) this.members.delete(session);
    else this.enqueue(member);
  }

  close(): void {
    for (const member of [...this.members.values()]) this.remove(member);
    this.queue = [];
  }

  private collect(out: EpollEvent[], most: number): number {
    const { queue } = this;
    if (queue.length === 0) return 0;
    this.queue = [];
    let n = 0;
    for (let i = 0; i < queue.length; i++) {
      const member = queue[i];
      member.queued = false;
      if (n >= most) {
        this.enqueue(member);
        continue;
      }
      if (this.members.get(member.session) !== member || member.events === 0) continue;
      const mask = member.session.readiness & (member.events | EPOLL.ERR | EPOLL.HUP);
      if (mask === 0) continue;
      if (n < out.length) {
        out[n].events = mask;
        out[n].data = member.data;
      } else out.push({ events: mask, data: member.data });
      n++;
      if ((member.events & EPOLL.ONESHOT) !== 0) member.events = 0;
      else if ((member.events & EPOLL.ET) === 0) this.enqueue(member);
    }
    return n;
  }

  private enqueue(member: Member): void {
    if (member.queued) return;
    member.queued = true;
    this.queue.push(member);
  }

  private remove(member: Member): void {
    this.members.delete(member.session);
    const { watchers } = member.session;
    watchers.splice(watchers.indexOf(this), 1);
  }
}
