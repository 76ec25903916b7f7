/**
 * A client of the bench that runs on the kernel's sockets (io_uring) or on the host stack with the same code: so many keep-alive
 * connections, one GET after the other on each. Arguments: port, path, connections, seconds, and the stack's directory (or nothing: the
 * kernel). Says as one line of JSON what `wrk` would say.
 */

import { SliceBuffer } from '../../src/core/buffer/slice_buffer.ts';
import { chooseBackend, createDispatcher } from '../../src/core/event/create_dispatcher.ts';
import { createStatsMemory, Store } from '../../src/core/stats/store.ts';
import { VclSocketInterface } from '../../src/proxy/extensions/socket_interfaces/vcl/vcl_socket_interface.ts';
import { ipAddress } from '../../src/proxy/network/address.ts';
import { EpollSocketInterface } from '../../src/proxy/network/epoll_socket.ts';
import type { IoHandle, IoHandleCallbacks, SocketInterface } from '../../src/proxy/network/io_handle.ts';
import { IoUringSocketInterface } from '../../src/proxy/network/io_uring_socket.ts';
import { VclWorker } from '../../src/stack/vcl/worker.ts';

const [port, path, connections, seconds, runtimeDir] = process.argv.slice(2);
const address = ipAddress('127.0.0.1', Number(port));
const request = Buffer.from(`GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`);
const { backend } = chooseBackend();
const dispatcher = createDispatcher(backend, { name: 'client' });
dispatcher.start();
const sockets = await socketInterface();
const latencies: number[] = [];
let requests = 0;
let bytes = 0;
let errors = 0;
let running = 0;
let start = 0;
let end = 0;

/** One connection. All responses are alike but for the length of their headers. */
class Connection implements IoHandleCallbacks {
  private readonly handle: IoHandle;
  private readonly out = new SliceBuffer(dispatcher.slab);
  /** Of the response: bytes still to come; -1 before its headers. */
  private left = -1;
  private bodyBytes = -1;
  private sentAt = 0;

  constructor() {
    running++;
    this.handle = sockets.createSocket(dispatcher, { address });
    this.handle.setCallbacks(this);
    this.handle.connect(address);
  }

  onConnect(error: number): void {
    if (error !== 0) this.end(true);
    else {
      this.handle.setReading(true);
      this.send();
    }
  }

  onRead(offset: number, length: number): void {
    bytes += length;
    if (this.left < 0) {
      const text = Buffer.from(dispatcher.slab.memory.buffer, offset, length);
      const headersEnd = text.indexOf('\r\n\r\n');
      if (headersEnd < 0 || text.toString('latin1', 9, 12) !== '200') {
        dispatcher.slab.release(offset);
        this.end(true);
        return;
      }
      if (this.bodyBytes < 0) this.bodyBytes = Number(/content-length: (\d+)/.exec(text.toString('latin1', 0, headersEnd))?.[1]);
      this.left = headersEnd + 4 + this.bodyBytes;
    }
    this.left -= length;
    dispatcher.slab.release(offset);
  }

  onReadBatch(): void {
    if (this.left !== 0) return;
    const now = performance.now();
    latencies.push(now - this.sentAt);
    requests++;
    this.left = -1;
    if (now < end) this.send();
    else this.end(false);
  }

  onReadEnd(): void {
    this.end(true);
  }

  onError(): void {
    this.end(true);
  }

  onWritten(): void {}

  private send(): void {
    this.sentAt = performance.now();
    this.out.append(request);
    this.handle.write(this.out);
  }

  private end(failed: boolean): void {
    if (!this.handle.isOpen) return;
    this.handle.close();
    if (failed) errors++;
    if (--running === 0) finish();
  }
}

async function socketInterface(): Promise<SocketInterface> {
  if (runtimeDir === undefined) return backend === 'io_uring' ? new IoUringSocketInterface() : new EpollSocketInterface();
  const main = await VclWorker.attach('bench-client', { runtimeDir });
  const scope = new Store({ memory: createStatsMemory(1), thread: 0 });
  const log = { info() {}, warn() {} };
  return new VclSocketInterface({ dispatcher, scope, log, workerIndex: 0 }, { ticket: main.ticket });
}

function finish(): void {
  const took = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  // This is inside the dispatcher's turn: what follows the write is Node's.
  dispatcher.wakeNode();
  process.stdout.write(`${JSON.stringify({ requests, bytes, errors, seconds: took, p50: at(0.5), p99: at(0.99) })}\n`, () =>
    process.exit(0),
  );
}

start = performance.now();
end = start + Number(seconds) * 1000;
for (let i = 0; i < Number(connections); i++) new Connection();
