// Servers as people write them; prints { name: port } when all listen. Run under `sluice exec`.
import { createServer } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import grpc from '@grpc/grpc-js';
import express from 'express';
import fastify from 'fastify';
import { WebSocketServer } from 'ws';

const ports = {};

async function sha(stream) {
  const { createHash } = await import('node:crypto');
  const hash = createHash('sha256');
  let length = 0;
  for await (const chunk of stream) {
    hash.update(chunk);
    length += chunk.length;
  }
  return { length, sha256: hash.digest('hex') };
}

const app = express();
app.get('/hello/:name', (request, response) => response.json({ hello: request.params.name, ip: request.ip }));
app.post('/upload', async (request, response) => response.json(await sha(request)));
app.get('/big/:bytes', (request, response) => response.end(Buffer.alloc(Number(request.params.bytes), 'b')));
const expressServer = app.listen(0, '127.0.0.1', () => {
  ports.express = expressServer.address().port;
});

const fast = fastify();
fast.get('/hello/:name', async (request) => ({ hello: request.params.name, ip: request.ip }));
fast.post('/json', async (request) => request.body);
await fast.listen({ port: 0, host: '127.0.0.1' });
ports.fastify = fast.server.address().port;

const web = createServer();
const sockets = new WebSocketServer({ server: web });
sockets.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })));
await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
ports.ws = web.address().port;

const pass = { requestSerialize: (x) => x, requestDeserialize: (x) => x, responseSerialize: (x) => x, responseDeserialize: (x) => x };
const service = {
  echo: { path: '/test.Echo/Echo', requestStream: false, responseStream: false, ...pass },
  stream: { path: '/test.Echo/Stream', requestStream: true, responseStream: true, ...pass },
};
const rpc = new grpc.Server();
rpc.addService(service, {
  echo: (call, callback) => callback(null, call.request),
  stream: (call) => {
    call.on('data', (data) => call.write(data));
    call.on('end', () => call.end());
  },
});
ports.grpc = await new Promise((resolve, reject) => {
  rpc.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => (error ? reject(error) : resolve(port)));
});

const h2 = http2.createServer();
h2.on('stream', async (stream) => {
  const seen = await sha(stream);
  stream.respond({ ':status': 200 });
  stream.end(JSON.stringify(seen));
});
await new Promise((resolve) => h2.listen(0, '127.0.0.1', resolve));
ports.http2 = h2.address().port;

if (process.env.TEST_KEY) {
  const secure = https.createServer({ key: process.env.TEST_KEY, cert: process.env.TEST_CERT }, async (request, response) => {
    response.end(JSON.stringify({ ...(await sha(request)), remote: request.socket.remoteAddress }));
  });
  await new Promise((resolve) => secure.listen(0, '127.0.0.1', resolve));
  ports.https = secure.address().port;
}

const echo = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
await new Promise((resolve) => echo.listen(0, '127.0.0.1', resolve));
ports.echo = echo.address().port;

console.log(JSON.stringify(ports));
process.on('SIGTERM', () => process.exit(0));
