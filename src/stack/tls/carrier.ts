/**
 * What carries the records of a TLS connection: a session of another transport, whose application the TLS transport is, or a connection
 * straight to another TLS session of this stack. Bytes go through two queues; what else happens is said here.
 */
import { Session } from '../session/session.ts';
import type { Transport } from '../session/transport.ts';
import { ByteQueue } from './byte_queue.ts';

/** Ciphertext that may wait in each direction; an attacker's certificate chains and windows fill no more. */
export const QUEUE_BYTES = 256 * 1024;

/** Who uses a carrier: woken for everything that may let it go on. */
export interface CarrierUser {
  wake(): void;
  /** The peer has reset it; nothing follows. */
  carrierReset(code: number): void;
}

export interface Carrier {
  readonly input: ByteQueue;
  readonly output: ByteQueue;
  /** No more input will come. */
  readonly ended: boolean;
  /** It is gone. */
  readonly closed: boolean;
  /** No more output will come. */
  halfClose(): void;
  close(): void;
  reset(): void;
  attribute(name: string, value?: number): number | undefined;
  format(verbose: number): string;
}

/** A session of the transport below. The upper side of it, `buffers`, are the two queues. */
export class LowerSession extends Session implements Carrier {
  readonly input = new ByteQueue(QUEUE_BYTES, true);
  readonly output = new ByteQueue(QUEUE_BYTES, false);
  ended = false;
  closed = false;
  readonly user: CarrierUser;
  private readonly below: Transport;

  constructor(user: CarrierUser, below: Transport) {
    super();
    this.user = user;
    this.below = below;
    this.transport = this.proto = below.proto;
    this.input.onData = () => user.wake();
    this.input.onRoom = () => below.appReadEvent?.(this);
    this.output.onData = () => below.appWriteEvent?.(this);
    this.output.onRoom = () => user.wake();
  }

  /** Bytes may move. */
  open(): void {
    this.buffers = { send: this.output, receive: this.input };
  }

  halfClose(): void {
    if (!this.closed) this.below.halfClose(this);
  }

  close(): void {
    if (!this.closed) this.below.close(this);
  }

  reset(): void {
    if (!this.closed) this.below.reset(this);
    this.closed = true;
  }

  attribute(name: string, value?: number): number | undefined {
    return this.closed ? undefined : this.below.attribute?.(this, name, value);
  }

  format(verbose: number): string {
    return `${this.below.name} ${this.closed ? 'closed' : this.below.format(this, verbose)}`;
  }
}

/** One end of a connection between two TLS sessions of one stack. */
export class LocalCarrier implements Carrier {
  readonly input: ByteQueue;
  readonly output: ByteQueue;
  ended = false;
  closed = false;
  private peer!: LocalCarrier;
  private user!: CarrierUser;

  /** Both ends; give each its user with `use` before anything else. */
  static pair(): [LocalCarrier, LocalCarrier] {
    const [to, from] = [new ByteQueue(QUEUE_BYTES, false), new ByteQueue(QUEUE_BYTES, false)];
    const one = new LocalCarrier(from, to);
    const other = new LocalCarrier(to, from);
    one.peer = other;
    other.peer = one;
    return [one, other];
  }

  private constructor(input: ByteQueue, output: ByteQueue) {
    this.input = input;
    this.output = output;
  }

  use(user: CarrierUser): void {
    this.user = user;
    this.input.onData = () => user.wake();
    this.output.onRoom = () => user.wake();
  }

  halfClose(): void {
    const { peer } = this;
    if (peer.ended) return;
    peer.ended = true;
    peer.user.wake();
  }

  close(): void {
    if (this.closed) return;
    this.halfClose();
    this.closed = true;
    // What comes now is for nobody.
    this.input.onData = () => this.input.release();
    this.input.release();
    this.user.wake();
  }

  reset(): void {
    if (this.closed) return;
    this.closed = true;
    const { peer } = this;
    if (peer.closed) return;
    peer.closed = peer.ended = true;
    peer.user.carrierReset(0);
  }

  attribute(): undefined {
    return undefined;
  }

  format(): string {
    return 'cut-through';
  }
}
