/**
 * One suite for every socket interface: IoHandle, ListenSocket and Connection with real peers. What passes on one must pass on all; what an
 * interface does not have is skipped with the reason that it gives.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectPipe, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { SliceBuffer } from '../../../src/core/buffer/slice_buffer.ts';
import { IPPROTO_TCP, TCP_NODELAY } from '../../../src/core/sys/socket.ts';
import { type Address, ipAddress, pipeAddress } from '../../../src/proxy/network/address.ts';
import {
  type Connection,
  ConnectionCloseType,
  ConnectionEvent,
  FilterStatus,
  type ReadFilter,
} from '../../../src/proxy/network/connection.ts';
import { createClientConnection, createServerConnection } from '../../../src/proxy/network/connection_impl.ts';
import type { IoHandle, ListenSocket } from '../../../src/proxy/network/io_handle.ts';
import { type Loop, until } from '../../support/dispatchers.ts';
import type { SocketSetup } from '../../support/socket_setups.ts';

interface Served {
  loop: Loop;
  listener: ListenSocket;
  connections: Connection[];
  events: ConnectionEvent[];
}

/** Listens and gives each connection the filter that `makeFilter` returns. */
function serve(
  t: TestContext,
  setup: SocketSetup,
  makeFilter: (connection: Connection) => Partial<ReadFilter>,
  prepare?: (c: Connection) => void,
): Served {
  return serveOn(t, setup, ipAddress(setup.listenHost, 0), makeFilter, prepare);
}

function serveOn(
  t: TestContext,
  setup: SocketSetup,
  address: Address,
  makeFilter: (connection: Connection) => Partial<ReadFilter>,
  prepare?: (c: Connection) => void,
): Served {
  const loop = setup.start(t);
  const connections: Connection[] = [];
  const events: ConnectionEvent[] = [];
  const listener = loop.sockets.listen(loop.dispatcher, { address, backlog: 4096, reusePort: false }, (handle) => {
    const connection = createServerConnection(loop.dispatcher, handle, {
      localAddress: listener.localAddress,
      remoteAddress: handle.remoteAddress(),
    });
    connections.push(connection);
    connection.addConnectionCallbacks({ onEvent: (event) => events.push(event) });
    prepare?.(connection);
    const filter = makeFilter(connection);
    connection.addReadFilter({
      initializeReadFilterCallbacks: () => {},
      onNewConnection: () => FilterStatus.Continue,
      onData: (data) => {
        data.clear();
        return FilterStatus.StopIteration;
      },
      ...filter,
    });
    connection.initializeReadFilters();
  });
  listener.setAccepting(true);
  t.after(() => listener.close());
  return { loop, listener, connections, events };
}

const portOf = (listener: ListenSocket): number => (listener.localAddress.kind === 'ip' ? listener.localAddress.port : 0);
const echo = (c: Connection): Partial<ReadFilter> => ({
  onData: (data, end) => {
    c.write(data, end);
    return FilterStatus.StopIteration;
  },
});

async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

export function connectionSuite(setup: SocketSetup): void {
  describe(`connections on ${setup.name}`, { skip: setup.skip }, () => {
    before(() => setup.before());
    after(() => setup.after());

    test('echo of megabytes is byte-exact, half-close reaches both sides, nothing leaks', async (t) => {
      const { loop, listener, events } = serve(t, setup, echo, (c) => c.enableHalfClose(true));
      const sent = Buffer.alloc(3_000_001);
      for (let i = 0; i < sent.length; i++) sent[i] = (i * 7 + (i >> 9)) & 0xff;
      const socket = setup.connect(portOf(listener));
      socket.end(sent);
      const got = await readAll(socket);
      assert.equal(createHash('sha256').update(got).digest('hex'), createHash('sha256').update(sent).digest('hex'));
      await until(loop.dispatcher, () => events.length === 1 && loop.dispatcher.blocksHeld <= 1, 'the end');
      assert.deepEqual(loop.errors, []);
    });

    test("without half-close the peer's FIN closes the connection", async (t) => {
      const { loop, listener, events } = serve(t, setup, echo);
      const socket = setup.connect(portOf(listener));
      socket.end('x');
      await readAll(socket);
      await until(loop.dispatcher, () => events.length === 1);
      assert.deepEqual(events, [ConnectionEvent.RemoteClose]);
    });

    test('a reset is a remote close, also while reading is disabled', async (t) => {
      const { loop, listener, events, connections } = serve(t, setup, () => ({}));
      const socket = setup.connect(portOf(listener));
      await until(loop.dispatcher, () => connections.length === 1);
      connections[0].readDisable(true);
      socket.resetAndDestroy();
      await until(loop.dispatcher, () => events.length === 1, 'the reset');
      assert.deepEqual(events, [ConnectionEvent.RemoteClose]);
    });

    test('a filter that throws costs its connection, and the error is reported', async (t) => {
      const { loop, listener, events } = serve(t, setup, () => ({
        onData: () => {
          throw new Error('a bug');
        },
      }));
      const socket = setup.connect(portOf(listener));
      socket.on('error', () => {});
      socket.write('x');
      await new Promise((resolve) => socket.once('close', resolve));
      await until(loop.dispatcher, () => events.length === 1, 'the close');
      assert.deepEqual(events, [ConnectionEvent.LocalClose]);
      assert.deepEqual(
        loop.errors.map((error) => (error as Error).message),
        ['a bug'],
      );
      await until(loop.dispatcher, () => loop.dispatcher.blocksHeld <= 1, 'all blocks back');
    });

    test('readDisable is counted and loses nothing', async (t) => {
      let received = 0;
      const { loop, listener, connections } = serve(t, setup, () => ({
        onData: (data) => {
          received += data.length;
          data.clear();
          return FilterStatus.StopIteration;
        },
      }));
      const socket = setup.connect(portOf(listener));
      await until(loop.dispatcher, () => connections.length === 1);
      connections[0].readDisable(true);
      connections[0].readDisable(true);
      const before = received;
      socket.write(Buffer.alloc(500_000, 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
      connections[0].readDisable(false);
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal(received, before);
      connections[0].readDisable(false);
      await until(loop.dispatcher, () => received === 500_000, 'all bytes');
      assert.throws(() => connections[0].readDisable(false), /without readDisable\(true\)/);
      socket.destroy();
    });

    test('data and FIN that came while disabled arrive in order afterwards', async (t) => {
      const seen: string[] = [];
      const { loop, listener, connections } = serve(
        t,
        setup,
        () => ({
          onData: (data, end) => {
            seen.push(`${data.toText()}${end ? '|end' : ''}`);
            data.clear();
            return FilterStatus.StopIteration;
          },
        }),
        (c) => c.enableHalfClose(true),
      );
      const socket = setup.connect(portOf(listener));
      await until(loop.dispatcher, () => connections.length === 1);
      connections[0].readDisable(true);
      socket.end('tail');
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.deepEqual(seen, []);
      connections[0].readDisable(false);
      await until(loop.dispatcher, () => seen.join('').endsWith('|end'), 'the end');
      assert.equal(seen.join(''), 'tail|end');
      socket.destroy();
    });

    test('write watermarks: above when the peer does not read, below when it does', async (t) => {
      const marks: string[] = [];
      const { loop, listener, connections } = serve(
        t,
        setup,
        () => ({}),
        (c) => {
          c.setBufferLimits(100_000);
          c.addConnectionCallbacks({
            onEvent: () => {},
            onAboveWriteBufferHighWatermark: () => marks.push('above'),
            onBelowWriteBufferLowWatermark: () => marks.push('below'),
          });
        },
      );
      const socket = setup.connect(portOf(listener));
      socket.pause();
      await until(loop.dispatcher, () => connections.length === 1);
      const total = 20_000_000;
      loop.dispatcher.post(() => {
        const data = new SliceBuffer(loop.dispatcher.slab);
        data.append(Buffer.alloc(total, 7));
        connections[0].write(data, false);
      });
      await until(loop.dispatcher, () => marks.length === 1, 'above');
      let got = 0;
      socket.on('data', (chunk) => {
        got += chunk.length;
      });
      socket.resume();
      await until(loop.dispatcher, () => got === total, 'all bytes');
      assert.deepEqual(marks, ['above', 'below']);
      socket.destroy();
    });

    test('when half of the memory is in use a quarter of the limit is the watermark', async (t) => {
      const marks: string[] = [];
      const { loop, listener, connections } = serve(
        t,
        setup,
        () => ({}),
        (c) => {
          c.setBufferLimits(30_000_000);
          c.addConnectionCallbacks({
            onEvent: () => {},
            onAboveWriteBufferHighWatermark: () => marks.push('above'),
            onBelowWriteBufferLowWatermark: () => marks.push('below'),
          });
        },
      );
      const socket = setup.connect(portOf(listener));
      socket.pause();
      await until(loop.dispatcher, () => connections.length === 1);
      const slab = loop.dispatcher.slab;
      const held: number[] = [];
      const write = (bytes: number): Promise<void> =>
        new Promise((resolve) =>
          loop.dispatcher.post(() => {
            const data = new SliceBuffer(slab);
            data.append(Buffer.alloc(bytes, 7));
            connections[0].write(data, false);
            resolve();
          }),
        );
      await write(300_000);
      assert.deepEqual(marks, []);
      while (slab.pressure === 0) held.push(slab.allocate());
      await write(20_000_000);
      assert.equal(marks[0], 'above', 'more than 7,500,000 bytes wait');
      for (const block of held) slab.release(block);
      let got = 0;
      socket.on('data', (chunk) => {
        got += chunk.length;
      });
      socket.resume();
      await until(loop.dispatcher, () => got === 20_300_000, 'all bytes');
      await until(loop.dispatcher, () => marks.length === 2, 'below');
      assert.deepEqual(marks, ['above', 'below']);
      socket.destroy();
    });

    test('FlushWrite sends everything first; NoFlush does not wait; AbortReset resets', async (t) => {
      const { loop, listener, connections } = serve(t, setup, (c) => ({
        onData: (data) => {
          const how = data.toText();
          data.clear();
          const answer = new SliceBuffer(loop.dispatcher.slab);
          answer.append(Buffer.alloc(2_000_000, 9));
          c.write(answer, false);
          c.close(
            how === 'flush'
              ? ConnectionCloseType.FlushWrite
              : how === 'reset'
                ? ConnectionCloseType.AbortReset
                : ConnectionCloseType.NoFlush,
          );
          return FilterStatus.StopIteration;
        },
      }));
      const flushed = setup.connect(portOf(listener));
      flushed.write('flush');
      assert.equal((await readAll(flushed)).length, 2_000_000);
      const reset = setup.connect(portOf(listener));
      reset.write('reset');
      const [error] = (await once(reset.resume(), 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ECONNRESET');
      const dropped = setup.connect(portOf(listener));
      dropped.write('now');
      dropped.resume();
      await once(dropped, 'close');
      assert.ok(connections.every((c) => c.state === 'closed'));
      await until(loop.dispatcher, () => loop.dispatcher.blocksHeld <= 1, 'all blocks back');
    });

    test('delayed close waits for the peer, and not for ever', async (t) => {
      let timeoutMs = 10_000;
      const { loop, listener, events } = serve(
        t,
        setup,
        (c) => ({
          onData: (data) => {
            data.clear();
            c.close(ConnectionCloseType.FlushWriteAndDelay);
            return FilterStatus.StopIteration;
          },
        }),
        (c) => c.setDelayedCloseTimeout(timeoutMs),
      );
      const polite = setup.connect(portOf(listener));
      polite.write('x');
      await readAll(polite);
      await until(loop.dispatcher, () => events.length === 1);
      assert.deepEqual(events, [ConnectionEvent.RemoteClose]);
      timeoutMs = 30;
      const stubborn = setup.connect(portOf(listener), true);
      stubborn.write('x');
      stubborn.resume();
      await until(loop.dispatcher, () => events.length === 2, 'the timeout');
      assert.equal(events[1], ConnectionEvent.LocalClose);
      stubborn.destroy();
    });

    test('a read buffer above its limit stops reading', async (t) => {
      const { loop, listener, connections } = serve(
        t,
        setup,
        () => ({ onData: () => FilterStatus.StopIteration }),
        (c) => c.setBufferLimits(50_000),
      );
      const socket = setup.connect(portOf(listener));
      await until(loop.dispatcher, () => connections.length === 1);
      socket.write(Buffer.alloc(30_000_000, 1));
      await until(loop.dispatcher, () => loop.dispatcher.blocksHeld > 0);
      await new Promise((resolve) => setTimeout(resolve, 50));
      // The limit, plus what one multishot receive may deliver before its cancellation takes effect (32 blocks, twice).
      assert.ok(loop.dispatcher.blocksHeld < 80, `${loop.dispatcher.blocksHeld} blocks held`);
      socket.destroy();
    });

    test('client connections: connected, refused, and closed while connecting', async (t) => {
      const loop = setup.start(t);
      const server = await setup.serve((socket) => socket.end('welcome'));
      const { port } = server;
      let text = '';
      const events: ConnectionEvent[] = [];
      const client = createClientConnection(loop.dispatcher, loop.sockets, { address: ipAddress(setup.serverHost, port) });
      client.addConnectionCallbacks({ onEvent: (event) => events.push(event) });
      client.addReadFilter({
        initializeReadFilterCallbacks: () => {},
        onNewConnection: () => FilterStatus.Continue,
        onData: (data) => {
          text += data.toText();
          data.clear();
          return FilterStatus.StopIteration;
        },
      });
      client.initializeReadFilters();
      client.connect();
      await until(loop.dispatcher, () => events.length === 2, 'the close');
      assert.equal(text, 'welcome');
      assert.deepEqual(events, [ConnectionEvent.Connected, ConnectionEvent.RemoteClose]);
      await server.close();

      const refusedEvents: ConnectionEvent[] = [];
      const refused = createClientConnection(loop.dispatcher, loop.sockets, { address: ipAddress(setup.serverHost, port) });
      refused.addConnectionCallbacks({ onEvent: (event) => refusedEvents.push(event) });
      refused.connect();
      await until(loop.dispatcher, () => refusedEvents.length === 1, 'the refusal');
      assert.deepEqual(refusedEvents, [ConnectionEvent.RemoteClose]);
      assert.match(refused.transportFailureReason, /Connection refused/);

      const abandoned = createClientConnection(loop.dispatcher, loop.sockets, { address: ipAddress(setup.serverHost, port) });
      abandoned.connect();
      abandoned.close(ConnectionCloseType.NoFlush);
      assert.equal(abandoned.state, 'closed');
      await until(loop.dispatcher, () => loop.dispatcher.blocksHeld <= 1, 'all blocks back');
      assert.deepEqual(loop.errors, []);
    });

    test('unix sockets, by path and abstract', { skip: setup.noPipes }, async (t) => {
      for (const path of [
        join(tmpdir(), `sluice-test-${process.pid}-${setup.name}.sock`),
        `@sluice-test-${process.pid}-${setup.name}`,
      ]) {
        const { listener } = serveOn(t, setup, pipeAddress(path), echo, (c) => c.enableHalfClose(true));
        const socket = connectPipe(path.startsWith('@') ? `\0${path.slice(1)}` : path);
        socket.end('over a pipe');
        assert.equal((await readAll(socket)).toString(), 'over a pipe');
        assert.equal(listener.localAddress.asString, path);
      }
    });

    test('a thousand connections at once', async (t) => {
      const { loop, listener, events } = serve(t, setup, echo, (c) => c.enableHalfClose(true));
      const answers = await Promise.all(
        Array.from({ length: 1000 }, async (_, i) => {
          const socket = setup.connect(portOf(listener));
          socket.end(`hello ${i}`);
          return (await readAll(socket)).toString();
        }),
      );
      for (const [i, answer] of answers.entries()) assert.equal(answer, `hello ${i}`);
      await until(loop.dispatcher, () => events.length === 1000 && loop.dispatcher.blocksHeld <= 1);
    });

    test('connections with much to say take turns, and each gets its own bytes', async (t) => {
      const { loop, listener, events } = serve(t, setup, echo, (c) => c.enableHalfClose(true));
      const talk = async (i: number, bytes: number): Promise<void> => {
        const sent = Buffer.alloc(bytes);
        for (let at = 0; at < bytes; at++) sent[at] = (at * 7 + (at >> 9) + i) & 0xff;
        const socket = setup.connect(portOf(listener));
        socket.end(sent);
        assert.ok(sent.equals(await readAll(socket)), `connection ${i}`);
      };
      await Promise.all(Array.from({ length: 25 }, (_, i) => talk(i, i === 24 ? 10 : 700_000)));
      await until(loop.dispatcher, () => events.length === 25 && loop.dispatcher.blocksHeld <= 1);
      assert.deepEqual(loop.errors, []);
    });

    test('connections that come while accepting is off wait until it is on again', async (t) => {
      const { loop, listener, connections } = serve(t, setup, echo, (c) => c.enableHalfClose(true));
      const sockets: Socket[] = [];
      for (let i = 0; i < 20; i++) {
        sockets.push(setup.connect(portOf(listener)));
        // Off in the same breath as a connection arrives.
        loop.dispatcher.post(() => {
          listener.setAccepting(false);
          setImmediate(() => loop.dispatcher.post(() => listener.setAccepting(true)));
        });
        await once(sockets[i], 'connect');
      }
      loop.dispatcher.post(() => listener.setAccepting(true));
      await until(loop.dispatcher, () => connections.length === 20, 'all connections');
      const answers = await Promise.all(
        sockets.map((socket, i) => {
          socket.end(`hello ${i}`);
          return readAll(socket);
        }),
      );
      assert.deepEqual(
        answers.map(String),
        sockets.map((_, i) => `hello ${i}`),
      );
    });

    test('data already read by listener filters is delivered first', async (t) => {
      const loop = setup.start(t);
      const seen: string[] = [];
      const listener = loop.sockets.listen(
        loop.dispatcher,
        { address: ipAddress(setup.listenHost, 0), backlog: 1, reusePort: false },
        (handle) => {
          const initialData = new SliceBuffer(loop.dispatcher.slab);
          initialData.appendUtf8('before ');
          const connection = createServerConnection(loop.dispatcher, handle, {
            localAddress: listener.localAddress,
            remoteAddress: handle.remoteAddress(),
            initialData,
          });
          connection.addReadFilter({
            initializeReadFilterCallbacks: () => {},
            onNewConnection: () => FilterStatus.Continue,
            onData: (data) => {
              seen.push(data.toText());
              data.clear();
              return FilterStatus.StopIteration;
            },
          });
          connection.initializeReadFilters();
        },
      );
      listener.setAccepting(true);
      t.after(() => listener.close());
      const socket = setup.connect(portOf(listener));
      socket.write('after');
      await until(loop.dispatcher, () => seen.join('') === 'before after');
      socket.destroy();
    });

    test('a handle tells its addresses, its interface and its options', async (t) => {
      const loop = setup.start(t);
      const handles: IoHandle[] = [];
      const listener = loop.sockets.listen(
        loop.dispatcher,
        { address: ipAddress(setup.listenHost, 0), backlog: 1, reusePort: false },
        (handle) => handles.push(handle),
      );
      listener.setAccepting(true);
      t.after(() => listener.close());
      const socket = setup.connect(portOf(listener));
      await once(socket, 'connect');
      await until(loop.dispatcher, () => handles.length === 1, 'the handle');
      const [handle] = handles;
      assert.equal(handle.interfaceName, loop.sockets.name);
      assert.equal(handle.remoteAddress().asString, `${socket.localAddress}:${socket.localPort}`);
      assert.equal(handle.localAddress().asString, `${socket.remoteAddress}:${socket.remotePort}`);
      assert.equal(handle.setOption(IPPROTO_TCP, TCP_NODELAY, 1), 0);
      assert.equal(handle.getOption(IPPROTO_TCP, TCP_NODELAY), 1);
      assert.notEqual(handle.setOption(IPPROTO_TCP, 9999, 1), 0);
      assert.ok(handle.getOption(IPPROTO_TCP, 9999) < 0);
      assert.equal(handle.isOpen, true);
      handle.close();
      handle.close();
      assert.equal(handle.isOpen, false);
      assert.equal(handle.pendingBytes, 0);
      await once(socket.resume(), 'close');
    });

    test('no callback comes after close, whatever was on its way', async (t) => {
      const loop = setup.start(t);
      const late: string[] = [];
      let accepted = 0;
      const listener = loop.sockets.listen(
        loop.dispatcher,
        { address: ipAddress(setup.listenHost, 0), backlog: 100, reusePort: false },
        (handle) => {
          accepted++;
          const note = (what: string) => () => {
            if (!handle.isOpen) late.push(what);
          };
          handle.setCallbacks({
            onRead: (offset) => {
              loop.dispatcher.slab.release(offset);
              note('read')();
              const answer = new SliceBuffer(loop.dispatcher.slab);
              answer.append(Buffer.alloc(100_000));
              handle.write(answer);
              handle.close(accepted % 2 === 0);
            },
            onReadBatch: () => {},
            onReadEnd: note('end'),
            onWritten: note('written'),
            onConnect: note('connect'),
            onError: note('error'),
          });
          handle.setReading(true);
        },
      );
      listener.setAccepting(true);
      t.after(() => listener.close());
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const socket = setup.connect(portOf(listener));
          socket.on('error', () => {});
          socket.end(Buffer.alloc(50_000));
          await new Promise((resolve) => socket.resume().once('close', resolve));
        }),
      );
      assert.equal(accepted, 20);
      assert.deepEqual(late, []);
      await until(loop.dispatcher, () => loop.dispatcher.blocksHeld <= 1, 'all blocks back');
      assert.deepEqual(loop.errors, []);
    });
  });
}
