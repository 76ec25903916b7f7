/**
 * The upstream of the bench: Sluice itself, answering directly, so that the same code serves from the kernel and from the host stack; or a
 * Node server (`node`), which `sluice exec` puts on the host stack. Arguments: port.
 */
import { createServer } from 'node:http';

const bodies = new Map([
  ['/small', Buffer.from('hello, world')],
  ['/1m', Buffer.alloc(1024 * 1024, 'x')],
]);
createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
  const body = bodies.get(request.url!);
  if (body === undefined) response.writeHead(404).end();
  else response.writeHead(200, { 'content-length': body.length }).end(body);
}).listen(Number(process.argv[2]), '127.0.0.1');
