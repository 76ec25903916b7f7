/**
 * Moves a `net.Socket` onto the host stack. The object and its class stay: its prototype is replaced by one that derives from it and does
 * for a VCL session what net does for a handle, so that `instanceof`, subclasses, listeners and pending writes all hold. There is no
 * `_handle`: tls and http2 then go over the stream itself.
 *
 * What net defers until 'connect' (writes, reads, `end`, `unref`) it calls on the object by name, and so reaches what is here.
 */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { WriteCallback } from '../pending_write.ts';
import type { VclSession } from '../session.ts';
import type { ExecThread } from './exec_thread.ts';
import { SessionStream, type StreamChunk, touch } from './session_stream.ts';

const STREAM = Symbol('sluice.stream');

/** What net keeps on a socket besides its public face. */
interface Internals {
  [STREAM]?: SessionStream;
  _sockname: object | null;
  _peername: object | null;
  _pendingData: unknown;
  _server: { _connections: number; _emitCloseIfDrained?(): void } | null;
}

type StackSocket = Socket & Internals;

/** Where net keeps the timer of `setTimeout`; the method itself does nothing on a socket that is being destroyed. */
const timeoutKey = internalKey('timeout');

const { ref: netRef, unref: netUnref } = Socket.prototype;
const derived = new WeakMap<object, object>();
const originals = new WeakMap<object, object>();

/** A symbol that net's constructor gives its sockets. */
export function internalKey(description: string): symbol {
  return Object.getOwnPropertySymbols(new Socket()).find((symbol) => symbol.description === description) ?? Symbol(description);
}

/** True for a socket whose bytes go over the host stack. */
export function isOnStack(socket: object): boolean {
  return (socket as Partial<Internals>)[STREAM] !== undefined;
}

/** `session` is connected; the socket has no handle. Nothing is read until the socket asks. */
export function moveToStack(thread: ExecThread, socket: Socket, session: VclSession): void {
  const own = socket as StackSocket;
  const prototype = Object.getPrototypeOf(socket) as object;
  const stream = new SessionStream(thread, socket, session);
  Object.setPrototypeOf(socket, derivedFrom(prototype));
  own[STREAM] = stream;
  own._peername = stream.peer;
  own._sockname = stream.local;
  // What was asked before there was anything to hold the loop waits for 'connect' as a listener, of net's own methods.
  for (const listener of socket.listeners('connect')) {
    if (listener === netUnref) stream.setReferenced(false);
    else if (listener === netRef) stream.setReferenced(true);
    else continue;
    socket.removeListener('connect', listener as () => void);
  }
}

/** The socket is used again: it may go to the kernel this time. */
export function leaveStack(socket: Socket): void {
  const own = socket as StackSocket;
  if (own[STREAM] === undefined) return;
  Object.setPrototypeOf(socket, originals.get(Object.getPrototypeOf(socket))!);
  delete own[STREAM];
  own._peername = null;
  own._sockname = null;
}

/** To net's types only net may say so. */
export function setConnecting(socket: Socket, connecting: boolean): void {
  (socket as { connecting: boolean }).connecting = connecting;
}

function derivedFrom(prototype: object): object {
  let own = derived.get(prototype);
  if (own === undefined) {
    own = Object.create(prototype, OVERRIDES) as object;
    derived.set(prototype, own);
    originals.set(own, prototype);
  }
  return own;
}

/**
 * TLS over a socket of the stack has the addresses of that socket; and does not wait for it to connect when it is connected, which TLS
 * concludes from the handle that is not there.
 */
export function patchTlsSocket(): void {
  const prototype = TLSSocket.prototype as unknown as Record<'_getpeername' | '_getsockname', () => object> & {
    _init(socket: Socket | undefined, wrap: object): void;
  };
  const init = prototype._init;
  prototype._init = function (this: Socket, socket, wrap): void {
    init.call(this, socket, wrap);
    if (socket !== undefined && socket !== null && isOnStack(socket) && !socket.connecting) setConnecting(this, false);
  };
  for (const name of ['_getpeername', '_getsockname'] as const) {
    const original = prototype[name];
    prototype[name] = function (this: { _parent?: { stream?: object } | object }): object {
      const parent = this._parent;
      const under = parent !== undefined && parent !== null && 'stream' in parent ? parent.stream : parent;
      if (under === undefined || under === null || !isOnStack(under)) return original.call(this);
      return (under as Record<typeof name, () => object>)[name]();
    };
  }
}

const methods = {
  _read(this: StackSocket): void {
    this[STREAM]!.read();
  },

  _writeGeneric(
    this: StackSocket,
    writev: boolean,
    data: StreamChunk | { chunk: StreamChunk; encoding: BufferEncoding }[],
    encoding: BufferEncoding,
    callback: WriteCallback,
  ): void {
    this._pendingData = null;
    touch(this);
    const chunks = writev
      ? (data as { chunk: StreamChunk; encoding: BufferEncoding }[]).map((one) => bytes(one.chunk, one.encoding))
      : [bytes(data as StreamChunk, encoding)];
    this[STREAM]!.write(chunks, callback);
  },

  _final(this: StackSocket, callback: WriteCallback): void {
    this[STREAM]!.shutdown();
    callback();
  },

  _destroy(this: StackSocket, error: Error | null, callback: (error: Error | null) => void): void {
    setConnecting(this, false);
    clearTimeout((this as unknown as Record<symbol, NodeJS.Timeout>)[timeoutKey]);
    this[STREAM]!.close(error);
    callback(error);
    process.nextTick(() => this.emit('close', error !== null));
    const server = this._server;
    if (server === null) return;
    server._connections--;
    server._emitCloseIfDrained?.();
  },

  resetAndDestroy(this: StackSocket): Socket {
    this[STREAM]!.resetOnClose = true;
    return this.destroy();
  },

  ref(this: StackSocket): Socket {
    this[STREAM]!.setReferenced(true);
    return this;
  },

  unref(this: StackSocket): Socket {
    this[STREAM]!.setReferenced(false);
    return this;
  },

  _getpeername(this: StackSocket): object {
    return this[STREAM]!.peer;
  },

  _getsockname(this: StackSocket): object {
    return this[STREAM]!.local;
  },
};

const getters = {
  bytesRead(this: StackSocket): number {
    return this[STREAM]!.bytesRead;
  },
  bytesWritten(this: StackSocket): number {
    return this[STREAM]!.bytesWritten + this.writableLength;
  },
  _bytesDispatched(this: StackSocket): number {
    return this[STREAM]!.bytesWritten;
  },
  bufferSize(this: StackSocket): number {
    return this.writableLength;
  },
  pending(this: StackSocket): boolean {
    return this.connecting;
  },
};

const OVERRIDES: PropertyDescriptorMap = {
  ...Object.fromEntries(Object.entries(methods).map(([name, value]) => [name, { value, configurable: true, writable: true }])),
  ...Object.fromEntries(Object.entries(getters).map(([name, get]) => [name, { get, configurable: true }])),
};

function bytes(chunk: StreamChunk, encoding: BufferEncoding): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
}
