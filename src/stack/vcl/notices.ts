/** What a worker does with the stack's notices: they set up sessions, end them, and say what their peers have done. */
import { E } from '../../core/sys/libc.ts';
import { sessionErrno } from '../session/errors.ts';
import {
  MessageFlag,
  MessageWord,
  messageAlpn,
  messageProto,
  messageRetval,
  Notice,
  Request,
  readLocal,
  readRemote,
} from '../session/messages.ts';
import { applyAttributes } from './attributes.ts';
import type { ControlChannel } from './control_channel.ts';
import type { SegmentEnds } from './segment_ends.ts';
import { Ready, VclSession, VclState } from './session.ts';
import type { SessionTable } from './session_table.ts';
import type { SegmentEnd } from './shared_segment.ts';
import type { VclWorker } from './worker.ts';

export class NoticeHandler {
  private readonly worker: VclWorker;
  private readonly table: SessionTable;
  private readonly ends: SegmentEnds;
  private readonly control: ControlChannel;

  constructor(worker: VclWorker, table: SessionTable, ends: SegmentEnds, control: ControlChannel) {
    this.worker = worker;
    this.table = table;
    this.ends = ends;
    this.control = control;
  }

  handle(message: Int32Array): void {
    switch (message[MessageWord.type]) {
      case Notice.accepted:
        this.onAccepted(message);
        return;
      case Notice.connected:
        this.onConnected(message);
        return;
      case Notice.bound:
        this.onBound(message);
        return;
      case Notice.deleteSegment: {
        const end = this.ends.find(message[MessageWord.segmentId], sideOf(message));
        if (end === null) return;
        end.deleted = true;
        this.ends.release(end);
        return;
      }
    }
    const session = this.table.byStackName(message[MessageWord.session], message[MessageWord.generation]);
    if (session !== undefined) this.onSession(session, message);
  }

  /** The peer has written nonsense into the queue of a segment: its sessions are over. */
  failEnd(end: SegmentEnd): void {
    for (const session of end.sessions) {
      if (session === undefined || session.error !== 0 || session.state === VclState.closed) continue;
      session.fail(E.CONNRESET);
      session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
    }
  }

  private onSession(session: VclSession, message: Int32Array): void {
    switch (message[MessageWord.type]) {
      case Notice.halfClosed:
        session.readClosed = true;
        session.raise(Ready.in | Ready.rdhup);
        return;
      case Notice.disconnected:
        session.readClosed = true;
        session.peerClosed = true;
        session.raise(Ready.in | Ready.out | Ready.rdhup | Ready.hup);
        return;
      case Notice.reset:
        session.fail(messageRetval(message) === 0 ? E.CONNRESET : sessionErrno(messageRetval(message)));
        session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
        return;
      case Notice.backlogFull:
        session.ringOnAccept = true;
        // What has been accepted already went without a sound.
        this.control.ring();
        return;
      case Notice.cleanup: {
        this.table.dropStackName(session);
        for (const end of session.detach()) this.ends.release(end);
        return;
      }
      case Notice.urgent:
        session.noteUrgent(message[MessageWord.value]);
        return;
      case Notice.moved: {
        const end = this.endOf(message);
        if (end === null || session.end === null) return;
        this.ends.release(session.reroute(end, message[MessageWord.slot]));
        session.raise(Ready.in | Ready.out);
        return;
      }
    }
  }

  private onBound(message: Int32Array): void {
    const session = this.table.byContext(message[MessageWord.context]);
    if (session === undefined || session.state !== VclState.connecting) {
      // Closed while the request was on its way.
      if (messageRetval(message) === 0) this.control.answer(Request.unlisten, message);
      return;
    }
    const code = messageRetval(message);
    if (code !== 0) {
      this.table.answered(session);
      session.state = VclState.bound;
      session.error = sessionErrno(code);
      session.raise(Ready.err);
      return;
    }
    this.table.setStackName(session, message[MessageWord.session], message[MessageWord.generation]);
    readLocal(message, session.local);
    session.state = VclState.listening;
    session.connectionless = (message[MessageWord.flags] & MessageFlag.connectionless) !== 0;
    session.raise(0);
  }

  private onAccepted(message: Int32Array): void {
    const listener = this.table.byContext(message[MessageWord.context]);
    const end = this.endOf(message);
    if (listener === undefined || listener.state !== VclState.listening || end === null) {
      this.control.answer(Request.close, message, MessageFlag.reset);
      this.orphan(message, end);
      return;
    }
    const session = this.worker.createSession(messageProto(message));
    this.adopt(session, message, end);
    session.crypto = listener.crypto;
    this.settleTls(session, message);
    applyAttributes(session, listener);
    listener.acceptQueue.push(session);
    listener.raise(Ready.in);
    if (session.readable > 0) session.raise(Ready.in);
  }

  private onConnected(message: Int32Array): void {
    const session = this.table.byContext(message[MessageWord.context]);
    const code = messageRetval(message);
    if (session?.state === VclState.connecting) this.table.answered(session);
    if (code !== 0) {
      if (session === undefined || session.state !== VclState.connecting) return;
      this.refused(session, sessionErrno(code));
      return;
    }
    const end = this.endOf(message);
    if (session === undefined || session.state !== VclState.connecting || end === null) {
      this.control.answer(Request.close, message, MessageFlag.reset);
      this.orphan(message, end);
      if (session?.state === VclState.connecting) this.refused(session, E.NOBUFS);
      return;
    }
    this.adopt(session, message, end);
    this.settleTls(session, message);
    applyAttributes(session, null);
    session.raise(session.readable > 0 ? Ready.in | Ready.out : Ready.out);
  }

  /** The connect has failed; it may be tried again. */
  private refused(session: VclSession, errno: number): void {
    session.state = VclState.bound;
    session.fail(errno);
    session.raise(Ready.in | Ready.out | Ready.err | Ready.hup);
  }

  private adopt(session: VclSession, message: Int32Array, end: SegmentEnd): void {
    this.table.setStackName(session, message[MessageWord.session], message[MessageWord.generation]);
    readLocal(message, session.local);
    readRemote(message, session.remote);
    session.attach(end, message[MessageWord.slot]);
  }

  private settleTls(session: VclSession, message: Int32Array): void {
    const { crypto } = session;
    if (crypto === null) return;
    session.alpnProtocol = crypto.alpn[messageAlpn(message) - 1] ?? '';
    if (crypto.details) session.tlsDetails = this.ends.takeDetails(session.stackIndex, session.stackGeneration);
  }

  /** A session that nobody wants here any more still occupies its slot until the stack has cleaned it up. */
  private orphan(message: Int32Array, end: SegmentEnd | null): void {
    if (end === null) return;
    const session = new VclSession(this.worker, messageProto(message), -1);
    this.adopt(session, message, end);
    session.state = VclState.closed;
  }

  private endOf(message: Int32Array): SegmentEnd | null {
    const end = this.ends.find(message[MessageWord.segmentId], sideOf(message));
    const slot = message[MessageWord.slot];
    return end !== null && slot >= 0 && slot < end.segment.layout.slots ? end : null;
  }
}

function sideOf(message: Int32Array): number {
  return (message[MessageWord.flags] & MessageFlag.side) === 0 ? 0 : 1;
}
