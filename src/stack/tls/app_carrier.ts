/**
 * A session of another application of this stack that speaks TLS by itself, over plain TCP as it thinks, carries the records of a TLS
 * session: `curl` under `sluice exec` and a listener whose TLS is in the stack, or the other way round. Records go between the FIFOs of the
 * application and the queues, without TCP.
 */
import type { Session } from '../session/session.ts';
import type { SessionHost } from '../session/transport.ts';
import { ByteQueue } from './byte_queue.ts';
import { type Carrier, type CarrierUser, QUEUE_BYTES } from './carrier.ts';

const COPY_BYTES = 64 * 1024;
const RETRY_MS = 10;
const scratch = new Uint8Array(COPY_BYTES);

/** What the transport tells of a session's application. */
export interface SessionSide {
  halfClose(): void;
  close(): void;
  reset(): void;
  /** An operator ends it. */
  abort(): void;
  /** There are new bytes in the send FIFO. */
  wrote(): void;
  /** There is room in the receive FIFO. */
  read(): void;
}

export class AppCarrier implements Carrier {
  readonly input = new ByteQueue(QUEUE_BYTES, false);
  readonly output = new ByteQueue(QUEUE_BYTES, false);
  ended = false;
  closed = false;
  /** For the session's `connection`. */
  readonly side: SessionSide;
  private readonly host: SessionHost;
  private readonly user: CarrierUser;
  private session: Session | null = null;
  private endWanted = false;
  private appGone = false;
  private finWanted = false;
  private finSaid = false;
  private closing = false;

  constructor(host: SessionHost, user: CarrierUser) {
    this.host = host;
    this.user = user;
    this.input.onData = () => user.wake();
    this.input.onRoom = () => this.pull();
    this.output.onData = () => this.push();
    this.output.onRoom = () => user.wake();
    this.side = new AppSide(this);
  }

  /** The session has its FIFOs. */
  open(session: Session): void {
    this.session = session;
  }

  // --- Carrier ---

  halfClose(): void {
    this.finWanted = true;
    this.push();
  }

  close(): void {
    this.finWanted = this.closing = true;
    this.push();
  }

  reset(): void {
    const { session } = this;
    this.forget();
    if (session === null) return;
    this.host.resetNotify(session);
    this.host.closedNotify(session);
  }

  attribute(): undefined {
    return undefined;
  }

  format(): string {
    return this.session === null ? 'closed' : `cut-through to [${this.session.index}]`;
  }

  // --- what the application does ---

  /** It writes no more; `gone`: nor does it read. */
  appEnded(gone: boolean): void {
    this.endWanted = true;
    this.appGone ||= gone;
    this.pull();
  }

  appReset(): void {
    const { session } = this;
    this.forget();
    if (session === null) return;
    this.host.closedNotify(session);
    this.user.carrierReset(0);
  }

  /** From the application's FIFO. */
  pull(): void {
    const fifo = this.session?.fifos?.send;
    if (fifo === undefined) return;
    const { input } = this;
    while (fifo.length > 0) {
      const n = Math.min(fifo.length, input.free, COPY_BYTES);
      if (n === 0 && !input.wantRoom(Math.min(fifo.length, input.limit >> 1))) return;
      if (fifo.copyOut(0, scratch, 0, n) < n) break;
      fifo.drop(n);
      input.append(scratch, 0, n);
    }
    if (fifo.corrupted) this.side.abort();
    else if (this.endWanted && !this.ended) {
      this.ended = true;
      this.user.wake();
    }
  }

  /** To the application's FIFO. */
  push(): void {
    const { session, output } = this;
    const fifo = session?.fifos?.receive;
    if (session === null || fifo === undefined) return;
    if (this.appGone && output.length > 0) {
      // As a TCP that nobody reads from any more answers data.
      this.appReset();
      return;
    }
    for (let tries = 0; output.length > 0; ) {
      const n = Math.min(output.length, fifo.free, COPY_BYTES);
      if (n > 0) output.copyOut(0, scratch, 0, n);
      if (n > 0 && fifo.write(0, scratch, 0, n)) {
        fifo.commit(n);
        output.consume(n);
        continue;
      }
      if (fifo.corrupted) {
        this.side.abort();
        return;
      }
      // With room but no memory: when all is read there is some again.
      if (!fifo.wantRoom(n > 0 ? fifo.limit : Math.min(output.length, fifo.limit >> 1))) return;
      if (++tries < 3) continue;
      setTimeout(() => this.push(), RETRY_MS).unref();
      return;
    }
    if (this.finWanted && !this.finSaid) {
      this.finSaid = true;
      this.host.halfClosedNotify(session);
    }
    if (!this.closing) return;
    this.forget();
    this.host.closedNotify(session);
  }

  private forget(): void {
    if (this.session !== null) this.session.connection = null;
    this.session = null;
    this.closed = this.ended = true;
  }
}

class AppSide implements SessionSide {
  private readonly carrier: AppCarrier;

  constructor(carrier: AppCarrier) {
    this.carrier = carrier;
  }

  halfClose(): void {
    this.carrier.appEnded(false);
  }

  close(): void {
    this.carrier.appEnded(true);
  }

  reset(): void {
    this.carrier.appReset();
  }

  abort(): void {
    this.carrier.reset();
  }

  wrote(): void {
    this.carrier.pull();
  }

  read(): void {
    this.carrier.push();
  }
}
