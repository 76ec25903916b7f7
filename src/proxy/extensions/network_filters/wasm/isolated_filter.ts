/**
 * A connection through a plugin that runs in a thread of its own: nothing is read from the client while the module works on what came from
 * it, and what goes to the client waits here until the module has seen it (it counts as not sent, and a close that flushes waits for it).
 */
import { SliceBuffer } from '../../../../core/buffer/slice_buffer.ts';
import type { IsolatedInstance, IsolatedStreamHost } from '../../../../wasm/isolated/isolated_instance.ts';
import type { ConnectionCallKind, Outcome, StreamAction } from '../../../../wasm/isolated/protocol.ts';
import type { PluginHandle } from '../../../../wasm/plugin/plugin_handle.ts';
import {
  type Connection,
  type ConnectionCallbacks,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
  type ReadFilterCallbacks,
  type WriteFilter,
  type WriteFilterCallbacks,
} from '../../../network/connection.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { PluginConnection } from './plugin_connection.ts';

const CALLBACKS: Readonly<Record<ConnectionCallKind, string>> = {
  newConnection: 'proxy_on_new_connection',
  downstreamData: 'proxy_on_downstream_data',
  upstreamData: 'proxy_on_upstream_data',
  downstreamClose: 'proxy_on_downstream_connection_close',
  upstreamClose: 'proxy_on_upstream_connection_close',
};

export class IsolatedNetworkFilter
  extends PluginConnection
  implements ReadFilter, WriteFilter, ConnectionCallbacks, IsolatedStreamHost
{
  private readonly handle: PluginHandle<IsolatedInstance>;
  private readonly instance: IsolatedInstance | null;
  private readonly stream: number;
  private callbacks!: ReadFilterCallbacks;
  private writes!: WriteFilterCallbacks;
  /** What to do with outcomes, which come in the order of the calls. */
  private readonly waiting: ((outcome: Outcome) => void)[] = [];
  /** The connection's read buffer, and how much of it the module works on; -1: on nothing. */
  private input: SliceBuffer | null = null;
  private reading = -1;
  private inputEnded = false;
  /** The length of what the module saw and stopped; -1: nothing. */
  private stopped = -1;
  /** The module resumed reading while a call of it was out. */
  private resumed = false;
  private approved: SliceBuffer | null = null;
  private downstreamClosed = false;
  /** For the client: what the module works on, what waits for it, and what it holds back. */
  private writing: SliceBuffer | null = null;
  private queue: SliceBuffer | null = null;
  private heldBack: SliceBuffer | null = null;
  private writingEnd = false;
  private queueEnded = false;
  /** As told to the connection. */
  private counted = 0;

  constructor(handle: PluginHandle<IsolatedInstance>, connection: Connection, context: FactoryContext) {
    super(handle, connection, context);
    this.handle = handle;
    this.instance = handle.acquire();
    this.stream = this.instance === null ? 0 : this.instance.openStream(this);
  }

  initializeReadFilterCallbacks(callbacks: ReadFilterCallbacks): void {
    this.callbacks = callbacks;
  }

  initializeWriteFilterCallbacks(callbacks: WriteFilterCallbacks): void {
    this.writes = callbacks;
  }

  private get works(): boolean {
    return this.instance !== null && !this.instance.failed;
  }

  private wants(kind: ConnectionCallKind): boolean {
    return !this.ended && this.instance?.callbacks.has(CALLBACKS[kind]) === true;
  }

  private call(kind: ConnectionCallKind, body: Uint8Array | null, end: boolean, then: (outcome: Outcome) => void): void {
    this.waiting.push(then);
    (this.instance as IsolatedInstance).call({ type: 'call', stream: this.stream, kind, pairs: null, body, end });
  }

  private withoutModule(): FilterStatus {
    this.failConnection();
    return this.handle.failsOpen ? FilterStatus.Continue : FilterStatus.StopIteration;
  }

  // From the client.

  onNewConnection(): FilterStatus {
    if (!this.works) return this.withoutModule();
    if (!this.wants('newConnection')) return FilterStatus.Continue;
    this.reading = 0;
    this.connection.readDisable(true);
    this.call('newConnection', null, false, ({ action }) => {
      this.reading = -1;
      const goOn = action === 0 || this.takeResumed();
      this.connection.readDisable(false);
      // Data that is there is offered from the first filter on: this one sees it before the next ones begin.
      if (goOn && this.callbacks.bufferedBytes === 0) this.callbacks.continueReading();
    });
    return FilterStatus.StopIteration;
  }

  private takeResumed(): boolean {
    const { resumed } = this;
    this.resumed = false;
    return resumed;
  }

  onData(data: SliceBuffer, endStream: boolean): FilterStatus {
    this.input = data;
    // The end is offered again when reading is resumed.
    if (this.inputEnded && this.reading < 0 && data.length === 0) return FilterStatus.StopIteration;
    const ends = endStream && !this.inputEnded;
    if (endStream) this.inputEnded = true;
    // What the module stopped is offered again when reading goes on.
    if (data.length === this.stopped && !ends) return FilterStatus.StopIteration;
    if (this.reading >= 0) return FilterStatus.StopIteration;
    if (!this.works) return this.withoutModule();
    if (!this.wants('downstreamData')) return FilterStatus.Continue;
    this.connection.readDisable(true);
    this.showInput(data);
    return FilterStatus.StopIteration;
  }

  private showInput(data: SliceBuffer): void {
    this.reading = data.length;
    this.call('downstreamData', data.toBytes(), this.inputEnded, (outcome) => this.onInputOutcome(data, outcome));
  }

  private onInputOutcome(data: SliceBuffer, { action, body }: Outcome): void {
    const shown = new SliceBuffer(data.slab);
    const late = new SliceBuffer(data.slab);
    shown.moveLength(data, this.reading);
    late.move(data);
    if (body !== null) {
      shown.clear();
      shown.append(body);
    }
    const goOn = action === 0 || this.takeResumed();
    if (goOn && late.length > 0) {
      // What came in meanwhile is the module's, too, before anything goes on.
      this.approved ??= new SliceBuffer(data.slab);
      this.approved.move(shown);
      data.move(late);
      this.showInput(data);
      return;
    }
    if (this.approved !== null) data.move(this.approved);
    data.move(shown);
    data.move(late);
    this.reading = -1;
    this.stopped = goOn ? -1 : data.length;
    this.connection.readDisable(false);
    if (goOn) this.callbacks.continueReading();
    if (this.inputEnded && !this.ended) this.tellDownstreamClosed(true);
  }

  private tellDownstreamClosed(remote: boolean): void {
    if (this.downstreamClosed || !this.works) return;
    this.downstreamClosed = true;
    if (this.instance?.callbacks.has(CALLBACKS.downstreamClose) === true) this.call('downstreamClose', null, remote, () => {});
  }

  // To the client.

  onWrite(data: SliceBuffer, endStream: boolean): FilterStatus {
    if (!this.works) return this.withoutModule();
    if (!this.wants('upstreamData')) return FilterStatus.Continue;
    this.queue ??= new SliceBuffer(data.slab);
    this.queue.move(data);
    if (endStream) this.queueEnded = true;
    this.count();
    if (this.writing === null) this.showOutput();
    return FilterStatus.StopIteration;
  }

  /** Tells the connection what of its writes waits for the module: one more than the bytes, as an end counts, too. */
  private count(): void {
    const now = this.writing === null && (this.queue === null || this.queue.length === 0) && !this.queueEnded ? 0 : 1;
    const held = now === 0 ? 0 : 1 + (this.writing?.length ?? 0) + (this.queue?.length ?? 0);
    const change = held - this.counted;
    this.counted = held;
    if (change !== 0 && this.connection.state !== 'closed') this.writes.holdWrites(change);
  }

  private showOutput(): void {
    const queue = this.queue as SliceBuffer;
    const data = new SliceBuffer(queue.slab);
    if (this.heldBack !== null) data.move(this.heldBack);
    data.move(queue);
    const end = this.queueEnded;
    this.queueEnded = false;
    this.writing = data;
    this.writingEnd = end;
    this.call('upstreamData', data.toBytes(), end, (outcome) => this.onOutputOutcome(data, end, outcome));
    if (end && this.wants('upstreamClose')) this.call('upstreamClose', null, false, () => {});
  }

  private onOutputOutcome(data: SliceBuffer, end: boolean, { action, body }: Outcome): void {
    if (body !== null) {
      data.clear();
      data.append(body);
    }
    if (action === 0) this.writes.continueWriting(data, end);
    else {
      this.heldBack ??= new SliceBuffer(data.slab);
      this.heldBack.move(data);
      this.checkHeldBack(this.heldBack.length);
    }
    this.writing = null;
    if (this.ended) return;
    if ((this.queue as SliceBuffer).length > 0 || this.queueEnded) this.showOutput();
    this.count();
  }

  // IsolatedStreamHost.

  onOutcome(outcome: Outcome): void {
    const then = this.waiting.shift();
    if (!this.ended) then?.(outcome);
  }

  onAction(action: StreamAction): void {
    if (this.ended) return;
    if (action.do === 'close') this.connection.close(ConnectionCloseType.FlushWrite, 'wasm_close_stream');
    else if (action.do !== 'continueDownstream') return;
    else if (this.reading >= 0) this.resumed = true;
    else {
      this.stopped = -1;
      this.callbacks.continueReading();
    }
  }

  /** The module is gone: the connection closes, or goes on without it with what the module had in hand as it was. */
  onVmFailed(): void {
    if (this.ended) return;
    if (!this.handle.failsOpen) {
      this.failConnection();
      return;
    }
    this.waiting.length = 0;
    const { input } = this;
    if (this.reading >= 0) {
      this.reading = -1;
      if (this.approved !== null && input !== null) {
        const rest = new SliceBuffer(input.slab);
        rest.move(input);
        input.move(this.approved);
        input.move(rest);
      }
      this.connection.readDisable(false);
      this.callbacks.continueReading();
    }
    if (this.ended) return;
    if (this.writing === null && this.heldBack === null) return;
    const data = new SliceBuffer(this.connection.dispatcher.slab);
    for (const part of [this.writing, this.heldBack, this.queue]) if (part !== null) data.move(part);
    const end = this.queueEnded || this.writingEnd;
    this.writing = null;
    this.queueEnded = false;
    this.writes.continueWriting(data, end);
    this.count();
  }

  // The end.

  onEvent(event: ConnectionEvent): void {
    if (event === ConnectionEvent.Connected || this.ended) return;
    this.tellDownstreamClosed(event === ConnectionEvent.RemoteClose);
    this.ended = true;
    this.completed = true;
    for (const buffer of [this.approved, this.writing, this.queue, this.heldBack]) buffer?.clear();
    const { instance } = this;
    if (instance === null) return;
    instance.closeStream(this.stream, null, null, null);
    instance.release();
  }
}
