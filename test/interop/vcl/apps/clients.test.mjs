// Clients of servers.mjs (whose ports are in TEST_PORTS), as people write them. Run under `sluice exec`.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { Agent, request as undiciRequest } from 'undici';
import { WebSocket } from 'ws';

const ports = JSON.parse(process.env.TEST_PORTS);
const upload = Buffer.alloc(3_000_001);
for (let i = 0; i < upload.length; i++) upload[i] = (i * 13 + (i >> 7)) & 0xff;
const seen = { length: upload.length, sha256: createHash('sha256').update(upload).digest('hex') };
const origin = (name) => `http://127.0.0.1:${ports[name]}`;

test('fetch: express and fastify', async () => {
  for (const name of ['express', 'fastify']) {
    const answer = await fetch(`${origin(name)}/hello/you`);
    assert.deepEqual(await answer.json(), { hello: 'you', ip: '127.0.0.1' });
  }
  const json = await fetch(`${origin('fastify')}/json`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ a: [1, 2] }),
  });
  assert.deepEqual(await json.json(), { a: [1, 2] });
  assert.deepEqual(await (await fetch(`${origin('express')}/upload`, { method: 'POST', body: upload })).json(), seen);
  const big = await fetch(`${origin('express')}/big/5000000`);
  assert.equal((await big.arrayBuffer()).byteLength, 5_000_000);
});

test('fetch by name', async () => {
  const answer = await fetch(`http://localhost:${ports.express}/hello/name`);
  assert.equal((await answer.json()).hello, 'name');
});

test('undici with its own agent, many at once', async () => {
  const dispatcher = new Agent({ connections: 10 });
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const { body } = await undiciRequest(`${origin('express')}/hello/${i}`, { dispatcher });
      return (await body.json()).hello;
    }),
  );
  assert.deepEqual(answers, Array.from({ length: 200 }, (_, i) => String(i)));
  await dispatcher.close();
});

test('node:http with keep-alive', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const used = new Set();
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve, reject) => {
      const call = http.get(`${origin('express')}/hello/${i}`, { agent }, (response) => {
        used.add(response.socket.localPort);
        response.resume().once('end', resolve);
      });
      call.once('error', reject);
    });
  }
  assert.equal(used.size, 1);
  agent.destroy();
});

test('https, with the addresses of the connection below', async () => {
  const answer = await new Promise((resolve, reject) => {
    const call = https.request(
      { host: '127.0.0.1', port: ports.https, method: 'POST', rejectUnauthorized: false, agent: false },
      (response) => {
        assert.equal(response.socket.remoteAddress, '127.0.0.1');
        assert.equal(response.socket.remotePort, ports.https);
        response.toArray().then((parts) => resolve(JSON.parse(Buffer.concat(parts))), reject);
      },
    );
    call.once('error', reject);
    call.end(upload);
  });
  assert.deepEqual(answer, { ...seen, remote: '127.0.0.1' });
});

test('http2', async () => {
  const client = http2.connect(origin('http2'));
  const stream = client.request({ ':method': 'POST', ':path': '/' });
  stream.end(upload);
  assert.deepEqual(JSON.parse(Buffer.concat(await stream.toArray())), seen);
  await new Promise((resolve) => client.close(resolve));
});

test('ws', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${ports.ws}`);
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  for (const message of ['text', upload]) {
    socket.send(message);
    const data = await new Promise((resolve) => socket.once('message', resolve));
    assert.ok(Buffer.from(message).equals(data));
  }
  socket.close();
  await new Promise((resolve) => socket.once('close', resolve));
});

test('the WebSocket of Node', async () => {
  const socket = new globalThis.WebSocket(`ws://127.0.0.1:${ports.ws}`);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  socket.send('hello');
  assert.equal((await new Promise((resolve) => (socket.onmessage = resolve))).data, 'hello');
  socket.close();
});

test('gRPC, one answer and a stream', async () => {
  const pass = (x) => x;
  const client = new grpc.Client(`127.0.0.1:${ports.grpc}`, grpc.credentials.createInsecure());
  const answer = await new Promise((resolve, reject) => {
    client.makeUnaryRequest('/test.Echo/Echo', pass, pass, upload, (error, value) => (error ? reject(error) : resolve(value)));
  });
  assert.ok(upload.equals(answer));
  const stream = client.makeBidiStreamRequest('/test.Echo/Stream', pass, pass);
  let got = 0;
  for (let i = 0; i < 100; i++) stream.write(Buffer.from([i]));
  stream.end();
  for await (const [value] of stream) assert.equal(value, got++);
  assert.equal(got, 100);
  client.close();
});
