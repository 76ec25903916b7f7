/**
 * The server side of iperf3 (its control protocol: a cookie, one-byte states, JSON with a length in front) on any server with `node:net`'s
 * shape. TCP, one test at a time, any number of streams, both directions.
 */
import type { EventEmitter } from 'node:events';

const COOKIE = 37;
const State = {
  testStart: 1,
  testRunning: 2,
  testEnd: 4,
  paramExchange: 9,
  createStreams: 10,
  exchangeResults: 13,
  displayResults: 14,
  done: 16,
} as const;

/** What is used of a socket. */
export interface StreamSocket extends EventEmitter {
  write(data: Uint8Array, callback?: () => void): boolean;
  end(): unknown;
  destroy(): unknown;
}

interface Test {
  cookie: string;
  control: StreamSocket;
  streams: number;
  reverse: boolean;
  block: Buffer;
  sockets: { socket: StreamSocket; bytes: number }[];
  running: boolean;
}

export class Iperf3Server {
  /** Bytes of data of all tests, both directions. */
  bytes = 0;
  private test: Test | null = null;

  /** A connection has come in. */
  accept(socket: StreamSocket): void {
    let first: Buffer = Buffer.alloc(0);
    socket.on('error', () => {});
    const onData = (part: Buffer): void => {
      first = Buffer.concat([first, part]);
      if (first.length < COOKIE) return;
      socket.removeListener('data', onData);
      const cookie = first.subarray(0, COOKIE).toString('latin1');
      const rest = first.subarray(COOKIE);
      if (this.test !== null && this.test.cookie === cookie) this.stream(this.test, socket, rest.length);
      else this.control(socket, cookie, rest);
    };
    socket.on('data', onData);
  }

  private control(socket: StreamSocket, cookie: string, rest: Buffer): void {
    let waiting = rest;
    let step: 'params' | 'run' | 'results' | 'over' = 'params';
    const state = (value: number): void => void socket.write(Uint8Array.of(value));
    const take = (): void => {
      for (;;) {
        if (step === 'params' || step === 'results') {
          if (waiting.length < 4 || waiting.length < 4 + waiting.readUInt32BE(0)) return;
          const size = waiting.readUInt32BE(0);
          const json = JSON.parse(waiting.subarray(4, 4 + size).toString()) as Record<string, unknown>;
          waiting = waiting.subarray(4 + size);
          if (step === 'params') {
            this.test = newTest(cookie, socket, json);
            step = 'run';
            state(State.createStreams);
          } else {
            step = 'over';
            socket.write(frame(results(this.test!)));
            state(State.displayResults);
          }
          continue;
        }
        if (waiting.length === 0) return;
        const value = waiting[0];
        waiting = waiting.subarray(1);
        if (value === State.testEnd) {
          const { test } = this;
          // As iperf3's server: a client that waits for data goes on only when its streams end.
          if (test !== null) test.running = false;
          for (const { socket: each } of test?.sockets ?? []) each.end();
          step = 'results';
          state(State.exchangeResults);
        } else if (value === State.done) {
          for (const { socket: each } of this.test?.sockets ?? []) each.destroy();
          this.test = null;
          socket.end();
        }
      }
    };
    socket.on('data', (part: Buffer) => {
      waiting = Buffer.concat([waiting, part]);
      take();
    });
    socket.on('close', () => {
      if (this.test?.control !== socket) return;
      for (const { socket: each } of this.test.sockets) each.destroy();
      this.test = null;
    });
    state(State.paramExchange);
    take();
  }

  private stream(test: Test, socket: StreamSocket, early: number): void {
    const entry = { socket, bytes: early };
    test.sockets.push(entry);
    socket.on('data', (part: Buffer) => {
      entry.bytes += part.length;
      this.bytes += part.length;
    });
    if (test.sockets.length < test.streams) return;
    test.running = true;
    test.control.write(Uint8Array.of(State.testStart));
    test.control.write(Uint8Array.of(State.testRunning));
    if (test.reverse) for (const each of test.sockets) this.send(test, each);
  }

  private send(test: Test, entry: Test['sockets'][number]): void {
    const pump = (): void => {
      while (test.running) {
        entry.bytes += test.block.length;
        this.bytes += test.block.length;
        if (!entry.socket.write(test.block)) return;
      }
    };
    entry.socket.on('drain', pump);
    pump();
  }
}

function newTest(cookie: string, control: StreamSocket, json: Record<string, unknown>): Test {
  return {
    cookie,
    control,
    streams: Number(json['parallel'] ?? 1),
    reverse: json['reverse'] === true || json['reverse'] === 1,
    block: Buffer.alloc(Math.min(Number(json['len'] ?? 131_072), 1 << 20), 0x61),
    sockets: [],
    running: false,
  };
}

function results(test: Test): object {
  return {
    cpu_util_total: 0,
    cpu_util_user: 0,
    cpu_util_system: 0,
    sender_has_retransmits: test.reverse ? 1 : -1,
    congestion_used: 'cubic',
    streams: test.sockets.map(({ bytes }, i) => ({
      // As iperf3 numbers them: 1, 3, 4, ...
      id: i === 0 ? 1 : i + 2,
      bytes,
      retransmits: test.reverse ? 0 : -1,
      jitter: 0,
      errors: 0,
      packets: 0,
      start_time: 0,
      end_time: 1,
    })),
  };
}

function frame(value: object): Buffer {
  const json = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(json.length);
  return Buffer.concat([head, json]);
}
