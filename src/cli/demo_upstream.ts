/** The demo's upstream: echoes what reached it, and fails now and then when asked to. */
import { createServer, type Server } from 'node:http';

export async function startDemoUpstream(port: number): Promise<Server> {
  let flaky = 0;
  const server = createServer((request, response) => {
    if (request.url === '/flaky' && flaky++ % 2 === 0) {
      response.writeHead(503, { 'content-type': 'text/plain' }).end('not this time\n');
      return;
    }
    const body = JSON.stringify({ method: request.method, path: request.url, headers: request.headers }, null, 2);
    response.writeHead(200, { 'content-type': 'application/json' }).end(`${body}\n`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return server;
}
