/** Sockets that do exactly what a test says: raw clients, raw upstreams, and a reader of HTTP/1 messages for checking. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net';
import { closeAtEnd } from '../../support/proxy_process.ts';

const WAIT_MS = 10_000;

export interface Message {
  /** The start line. */
  start: string;
  status: number;
  headers: Record<string, string>;
  body: Buffer;
  trailers: Record<string, string>;
}

/** One end of a connection, with everything it received. */
export class Wire {
  readonly socket: Socket;
  received: Buffer = Buffer.alloc(0);
  /** The peer finished sending. */
  ended = false;
  /** Both ways are over, by whatever. */
  closed = false;
  error: Error | null = null;
  private readonly waiting = new Set<() => void>();

  constructor(socket: Socket, reading = true) {
    this.socket = socket;
    if (reading) this.read();
    socket.on('end', () => {
      this.ended = true;
      this.wake();
    });
    socket.on('error', (error) => {
      this.error = error;
    });
    socket.on('close', () => {
      this.closed = true;
      this.ended = true;
      this.wake();
    });
  }

  /** Starts reading, when it was made with `reading` false. */
  read(): void {
    this.socket.on('data', (data: Buffer) => {
      this.received = Buffer.concat([this.received, data]);
      this.wake();
    });
  }

  get text(): string {
    return this.received.toString('latin1');
  }

  send(data: string | Buffer): this {
    if (typeof data === 'string') this.socket.write(data, 'latin1');
    else this.socket.write(data);
    return this;
  }

  end(): void {
    this.socket.end();
  }

  reset(): void {
    this.socket.resetAndDestroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Resolves when `condition` holds; it is looked at after each event of the socket. */
  async until(condition: () => boolean, what = 'more'): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        reject(new Error(`timed out waiting for ${what}; received ${this.received.length} bytes: ${this.text.slice(0, 2000)}`));
      }, WAIT_MS);
      const look = (): void => {
        const holds = condition();
        if (!holds && !this.closed) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        if (holds) resolve();
        else
          reject(
            new Error(
              `closed (${this.error?.message ?? 'in order'}) while waiting for ${what}; received: ${this.text.slice(0, 2000)}`,
            ),
          );
      };
      this.waiting.add(look);
      if (this.closed) look();
    });
  }

  async untilText(part: string): Promise<void> {
    await this.until(() => this.text.includes(part), JSON.stringify(part));
  }

  async untilClosed(): Promise<void> {
    await this.until(() => this.ended, 'the end');
    this.socket.end();
    await this.until(() => this.closed, 'the close');
  }

  /** Takes the next whole message; `head`: it answers a HEAD request. A body without length is everything until the end. */
  async message(head = false): Promise<Message> {
    let taken: { message: Message; length: number } | null = null;
    await this.until(() => (taken = parseMessage(this.received, this.ended, head)) !== null, 'a whole message');
    const { message, length } = taken as unknown as { message: Message; length: number };
    this.received = this.received.subarray(length);
    return message;
  }

  private wake(): void {
    for (const look of [...this.waiting]) look();
  }
}

export async function dial(port: number | NetConnectOpts, reading = true): Promise<Wire> {
  const socket = typeof port === 'number' ? connect({ port, host: '127.0.0.1', allowHalfOpen: true }) : connect(port);
  socket.setNoDelay(true);
  const wire = new Wire(socket, reading);
  closeAtEnd(() => wire.destroy());
  await once(socket, 'connect');
  return wire;
}

export interface RawUpstream {
  readonly port: number;
  readonly server: Server;
  readonly connections: Wire[];
  /** Resolves with the connection of this number, counted from 0. */
  connection(index: number): Promise<Wire>;
  close(): Promise<void>;
}

/** A TCP server; `serve` gets each connection. */
export async function rawUpstream(
  serve: (wire: Wire, index: number) => void | Promise<void> = () => {},
  where: number | string = 0,
  reading = true,
): Promise<RawUpstream> {
  const connections: Wire[] = [];
  const waiting: (() => void)[] = [];
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: false }, (socket) => {
    const wire = new Wire(socket, reading);
    connections.push(wire);
    for (const look of waiting.splice(0)) look();
    void Promise.resolve(serve(wire, connections.length - 1)).catch(() => wire.destroy());
  });
  if (typeof where === 'string') server.listen(where);
  else server.listen(where, '127.0.0.1');
  await once(server, 'listening');
  closeAtEnd(() => {
    for (const wire of connections) wire.destroy();
    server.close();
  });
  const address = server.address();
  return {
    port: typeof address === 'string' ? 0 : (address as AddressInfo).port,
    server,
    connections,
    connection: async (index) => {
      while (connections.length <= index) {
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(() => reject(new Error(`no connection ${index} at the upstream`)), WAIT_MS);
          waiting.push(() => {
            clearTimeout(timer);
            resolve();
          });
        });
      }
      return connections[index];
    },
    close: async () => {
      for (const wire of connections) wire.destroy();
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A port that nothing listens on: it was free a moment ago. */
export async function unusedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

function parseMessage(bytes: Buffer, ended: boolean, head: boolean): { message: Message; length: number } | null {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [start, ...lines] = bytes.toString('latin1', 0, end).split('\r\n');
  const headers = fields(lines);
  const status = start.startsWith('HTTP/') ? Number(start.split(' ')[1]) : 0;
  const message = (body: Buffer, length: number, trailers = {}): { message: Message; length: number } => ({
    message: { start, status, headers, body, trailers },
    length,
  });
  const at = end + 4;
  const none = Buffer.alloc(0);
  if (head || status === 204 || status === 304 || (status >= 100 && status < 200)) return message(none, at);
  if (headers['transfer-encoding'] === 'chunked') {
    const chunked = parseChunked(bytes, at);
    return chunked === null ? null : message(chunked.body, chunked.end, chunked.trailers);
  }
  const length = headers['content-length'];
  if (length !== undefined) {
    const to = at + Number(length);
    return bytes.length < to ? null : message(bytes.subarray(at, to), to);
  }
  if (status === 0) return message(none, at);
  return ended ? message(bytes.subarray(at), bytes.length) : null;
}

function parseChunked(bytes: Buffer, from: number): { body: Buffer; end: number; trailers: Record<string, string> } | null {
  const parts: Buffer[] = [];
  for (let at = from; ; ) {
    const line = bytes.indexOf('\r\n', at);
    if (line < 0) return null;
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    if (size === 0) {
      const rest = bytes.subarray(line).indexOf('\r\n\r\n');
      if (rest < 0) return null;
      const trailers = fields(bytes.toString('latin1', line + 2, line + Math.max(rest, 2)).split('\r\n'));
      return { body: Buffer.concat(parts), end: line + rest + 4, trailers };
    }
    if (bytes.length < line + 2 + size + 2) return null;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}

function fields(lines: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    found[name] = name in found ? `${found[name]}, ${value}` : value;
  }
  return found;
}
