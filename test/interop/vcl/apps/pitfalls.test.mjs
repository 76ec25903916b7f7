// What goes wrong with sockets that are not the kernel's: each of these broke somebody's programs. Run under `sluice exec`.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import dns from 'node:dns';
import { once } from 'node:events';
import net, { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';

const KERNEL_PORT = Number(process.env.TEST_KERNEL_PORT);
const run = promisify(execFile);

const listening = async (onConnection, options = {}) => {
  const server = createServer(options, onConnection);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
};
const close = (server) => new Promise((resolve) => server.close(resolve));

test('a function imported by name before anything ran is the patched one', async () => {
  const server = await listening((socket) => socket.end('x'));
  const socket = connect(server.address().port, '127.0.0.1');
  const closed = once(socket, 'close');
  assert.equal(String((await socket.toArray())[0]), 'x');
  assert.equal(socket._handle, null, 'there is no kernel handle');
  await closed;
  await close(server);
});

test('the address is known right after listen, and taken twice it is an error', async () => {
  const server = net.createServer().listen(0);
  const { port, family } = server.address();
  assert.ok(port > 0);
  assert.equal(family, 'IPv6');
  assert.equal(server.listening, true);
  const second = net.createServer().listen(port);
  const [error] = await once(second, 'error');
  assert.equal(error.code, 'EADDRINUSE');
  assert.equal(error.syscall, 'listen');
  await close(server);
});

test('nobody there: the error of the kernel, then close', async () => {
  const socket = connect(1, '127.0.0.1');
  const events = [];
  for (const event of ['connect', 'error', 'close', 'end']) socket.on(event, (value) => events.push(value?.code ?? event));
  await new Promise((resolve) => socket.once('close', resolve));
  assert.deepEqual(events, ['ECONNREFUSED', 'close'].map((x) => (x === 'close' ? events[1] : x)));
  assert.equal(events.length, 2);
});

test('a server of the kernel is reached all the same', async () => {
  const socket = connect(KERNEL_PORT, '127.0.0.1');
  assert.equal(String((await socket.toArray())[0]), 'kernel');
});

test('lookup is asked once, asynchronously, and may answer many addresses', async () => {
  const server = await listening((socket) => socket.end('found'));
  let asked = 0;
  const events = [];
  const lookup = (name, options, callback) => {
    asked++;
    assert.equal(options.all, true);
    callback(null, [
      { address: '127.0.0.9', family: 4 },
      { address: '127.0.0.1', family: 4 },
    ]);
  };
  const socket = connect({ port: server.address().port, host: 'nowhere.test', lookup });
  socket.on('lookup', (_, address) => events.push(address));
  assert.equal(String((await socket.toArray())[0]), 'found');
  assert.equal(asked, 1);
  assert.deepEqual(events, ['127.0.0.9', '127.0.0.1']);
  await close(server);
  const failing = connect({ port: 80, host: 'nowhere.test', lookup: (_n, _o, callback) => callback(new Error('no name')) });
  assert.equal((await once(failing, 'error').then(([e]) => e)).message, 'no name');
  const one = connect({ port: KERNEL_PORT, host: 'kernel.test', lookup: (_n, o, cb) => cb(null, o.all ? [{ address: '127.0.0.1', family: 4 }] : '127.0.0.1', 4) });
  assert.equal(String((await one.toArray())[0]), 'kernel');
  assert.equal(typeof dns.lookup, 'function');
});

test('writes, end and options before the connection is there', async () => {
  const server = await listening((socket) => socket.pipe(socket));
  const socket = new net.Socket();
  socket.setNoDelay(true).setKeepAlive(true, 1000).setTimeout(60_000);
  socket.setTypeOfService?.(0x10);
  socket.connect(server.address().port, '127.0.0.1');
  assert.equal(socket.connecting, true);
  assert.equal(socket.readyState, 'opening');
  socket.write('early ');
  socket.write(Buffer.from('bytes '));
  socket.end('end', 'utf16le');
  const parts = await socket.toArray();
  assert.ok(Buffer.concat(parts).equals(Buffer.concat([Buffer.from('early bytes '), Buffer.from('end', 'utf16le')])));
  assert.equal(socket.bytesRead, 18);
  assert.equal(socket.bytesWritten, 18);
  await close(server);
});

test('half-close: the other direction lives on', async () => {
  const server = await listening(
    (socket) => {
      let got = '';
      socket.on('data', (chunk) => (got += chunk)).on('end', () => socket.end(`got ${got}`));
    },
    { allowHalfOpen: true },
  );
  const socket = connect({ port: server.address().port, host: '127.0.0.1', allowHalfOpen: true });
  socket.end('all');
  let answer = '';
  socket.on('data', (chunk) => (answer += chunk));
  await once(socket, 'close');
  assert.equal(answer, 'got all');
  await close(server);
});

test('data that is unread when the peer closes is not lost, and close comes after end', async () => {
  const server = await listening((socket) => socket.end(Buffer.alloc(300_000, 'd')));
  const socket = connect(server.address().port, '127.0.0.1');
  socket.pause();
  await once(socket, 'connect');
  await new Promise((resolve) => setTimeout(resolve, 50));
  const events = [];
  socket.on('end', () => events.push('end')).on('close', () => events.push('close'));
  let got = 0;
  const closed = once(socket, 'close');
  socket.on('data', (chunk) => (got += chunk.length)).resume();
  await closed;
  assert.equal(got, 300_000);
  assert.deepEqual(events, ['end', 'close']);
  await close(server);
});

test('resetAndDestroy is a reset for the peer', async () => {
  const server = await listening((socket) => socket.resetAndDestroy());
  const socket = connect(server.address().port, '127.0.0.1');
  assert.equal((await once(socket.resume(), 'error'))[0].code, 'ECONNRESET');
  await close(server);
});

test('destroyed while it connects: close, and nothing is left', async () => {
  const server = await listening((socket) => socket.resume());
  const socket = connect(server.address().port, '127.0.0.1');
  socket.on('connect', () => assert.fail('connected'));
  socket.destroy();
  await once(socket, 'close');
  await close(server);
});

test('a signal aborts', async () => {
  const server = await listening((socket) => socket.resume());
  const abort = new AbortController();
  const socket = new net.Socket({ signal: abort.signal });
  socket.connect(server.address().port, '127.0.0.1');
  await once(socket, 'connect');
  abort.abort();
  assert.equal((await once(socket, 'error'))[0].name, 'AbortError');
  await close(server);
});

test('one socket connects again, to the stack and to the kernel', async () => {
  const server = await listening((socket) => socket.end('stack'));
  const socket = new net.Socket();
  for (const [port, text] of [
    [server.address().port, 'stack'],
    [KERNEL_PORT, 'kernel'],
    [server.address().port, 'stack'],
  ]) {
    socket.connect(port, '127.0.0.1');
    let got = '';
    const onData = (chunk) => (got += chunk);
    socket.on('data', onData);
    await once(socket, 'close');
    socket.removeListener('data', onData);
    assert.equal(got, text);
  }
  await close(server);
});

test('subclasses stay what they are', async () => {
  class Mine extends net.Socket {
    hello() {
      return `hello from ${this.remotePort}`;
    }
  }
  const server = await listening((socket) => socket.resume());
  const socket = new Mine();
  socket.connect(server.address().port, '127.0.0.1');
  await once(socket, 'connect');
  assert.ok(socket instanceof Mine && socket instanceof net.Socket);
  assert.equal(socket.hello(), `hello from ${server.address().port}`);
  assert.equal(socket.address().port, socket.localPort);
  assert.equal(socket.remoteFamily, 'IPv4');
  socket.destroy();
  await close(server);
});

test('the timeout fires when nothing happens, and not while something does', async () => {
  const server = await listening((socket) => {
    let n = 0;
    const timer = setInterval(() => (++n < 5 ? socket.write('x') : clearInterval(timer)), 60);
  });
  const socket = connect(server.address().port, '127.0.0.1');
  socket.resume();
  socket.setTimeout(150);
  const before = performance.now();
  await once(socket, 'timeout');
  assert.ok(performance.now() - before >= 300, 'only after the last byte');
  socket.destroy();
  await close(server);
});

test('maxConnections drops', async () => {
  const server = await listening(() => {});
  server.maxConnections = 1;
  const first = connect(server.address().port, '127.0.0.1');
  await once(first, 'connect');
  const dropped = once(server, 'drop');
  const second = connect(server.address().port, '127.0.0.1').on('error', () => {});
  const closed = new Promise((resolve) => second.once('close', resolve).resume());
  assert.equal((await dropped)[0].localPort, server.address().port);
  await closed;
  assert.equal(await promisify(server.getConnections.bind(server))(), 1);
  first.destroy();
  await close(server);
});

test('unref lets the process end, also when it was said before the connection', async () => {
  const server = await listening((socket) => socket.resume());
  const program = `
    const socket = require('net').connect(${server.address().port}, '127.0.0.1');
    socket.unref();
    socket.on('connect', () => console.log('connected'));`;
  const { stdout } = await run(process.execPath, ['-e', program], { timeout: 60_000 });
  assert.equal(stdout, 'connected\n');
  const late = `
    const server = require('net').createServer().listen(0).unref();
    const socket = require('net').connect(${server.address().port}, '127.0.0.1', () => { console.log('up'); socket.unref(); });`;
  assert.equal((await run(process.execPath, ['-e', late], { timeout: 60_000 })).stdout, 'up\n');
  await close(server);
});

test('what was written before process.exit arrives, and then the end', async () => {
  let got = 0;
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  const program = `
    const socket = require('net').connect(${server.address().port}, '127.0.0.1');
    socket.write(Buffer.alloc(100000), () => process.exit(0));`;
  const child = run(process.execPath, ['-e', program], { timeout: 60_000 });
  const [socket] = await once(server, 'connection');
  for await (const chunk of socket) got += chunk.length;
  assert.equal(got, 100_000);
  await child;
  await close(server);
});

test('worker threads, also when they are terminated with connections open', async () => {
  const server = await listening((socket) => socket.on('error', () => {}).pipe(socket));
  const { port } = server.address();
  const code = `
    const { parentPort } = require('node:worker_threads');
    const socket = require('node:net').connect(${port}, '127.0.0.1', () => socket.write('x'));
    socket.on('data', (data) => { parentPort.postMessage(socket._handle === null); socket.write(Buffer.alloc(1000)); });
    socket.on('error', () => {});`;
  for (let i = 0; i < 10; i++) {
    const thread = new Worker(code, { eval: true });
    assert.deepEqual(await once(thread, 'message'), [true]);
    if (i % 2 === 0) await new Promise((resolve) => setTimeout(resolve, i));
    await thread.terminate();
  }
  await close(server);
});

test('child processes', async () => {
  const server = await listening((socket) => socket.end(`port ${socket.remotePort}`));
  const program = `
    const socket = require('node:net').connect(${server.address().port}, '127.0.0.1');
    socket.on('data', (data) => console.log(String(data) === 'port ' + socket.localPort && socket._handle === null));`;
  assert.equal((await run(process.execPath, ['-e', program], { timeout: 60_000 })).stdout, 'true\n');
  await close(server);
});

test('cluster: workers share the listener', async () => {
  const { stdout } = await run(process.execPath, [new URL('./cluster.mjs', import.meta.url).pathname], { timeout: 60_000 });
  assert.equal(stdout, '2\n');
});
