/** Clients, upstreams and clocks that do anything in any order: nothing throws, nothing is left. A failing seed reproduces. */
import { test } from 'node:test';
import { request, TestProxy } from '../support/proxy.ts';

function generator(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

const FROM_CLIENT = [
  request('/a'),
  request('/b', { connection: 'close' }),
  request('/c', {}, 'HEAD'),
  request('/ws', { connection: 'upgrade', upgrade: 'websocket' }),
  request('/direct'),
  'POST /d HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n',
  'POST /e HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n',
  'abcd',
  '4\r\nabcd\r\n',
  '0\r\n\r\n',
  'GET /half HTTP/1.1\r\nho',
  'nonsense\r\n\r\n',
];
const FROM_UPSTREAM = [
  'HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd',
  'HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nabcd',
  'HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n',
  'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  '0\r\n\r\n',
  'abcd',
  'rubbish\r\n\r\n',
];
const ROUTES = [
  { match: { path: '/direct' }, directResponse: { status: 200, body: { inlineString: 'x' } } },
  {
    match: { prefix: '/' },
    route: {
      cluster: 'c',
      timeout: 500,
      idleTimeout: 400,
      retryPolicy: { retryOn: '5xx,connect-failure,reset', numRetries: 2, perTryTimeout: 200 },
    },
  },
];

for (let block = 0; block < 8; block++) {
  test(`random events, seeds ${block * 50} to ${block * 50 + 49}`, () => {
    for (let seed = block * 50; seed < block * 50 + 50; seed++) {
      try {
        play(seed);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });
}

function play(seed: number): void {
  const next = generator(seed + 1);
  const proxy = new TestProxy({
    routes: ROUTES,
    bufferLimit: 16 + next(64),
    hcm: { upgradeConfigs: [{ upgradeType: 'websocket' }], requestTimeout: 900, requestHeadersTimeout: 300 },
    random: () => next(1 << 30),
  });
  const clients = [proxy.connect(), proxy.connect(), proxy.connect()];
  const filled = new Set<object>();
  for (let step = 0; step < 60; step++) {
    const at = next(clients.length);
    if (clients[at].state !== 'open') clients[at] = proxy.connect();
    const client = clients[at];
    const open = proxy.upstreams.filter((upstream) => upstream.state === 'open');
    const upstream = open.length === 0 ? null : open[next(open.length)];
    switch (next(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        client.receive(FROM_CLIENT[next(FROM_CLIENT.length)]);
        break;
      case 4:
      case 5:
      case 6:
        if (upstream?.connecting === false) upstream.receive(FROM_UPSTREAM[next(FROM_UPSTREAM.length)]);
        else upstream?.accept();
        break;
      case 7:
        if (upstream?.connecting) upstream.refuse('no');
        else upstream?.remoteClose();
        break;
      case 8:
        if (next(3) === 0) client.remoteClose();
        break;
      case 9:
        proxy.advance(next(300));
        break;
      default: {
        const connection = upstream === null || next(2) === 0 ? client : upstream;
        if (connection.state !== 'open' || connection.connecting) break;
        connection.fill(!filled.has(connection));
        if (!filled.delete(connection)) filled.add(connection);
      }
    }
  }
  proxy.finish();
}
