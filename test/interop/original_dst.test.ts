/**
 * Transparent proxying with the kernel's own NAT: in a network namespace nftables redirects connections to the proxy, the
 * original_dst listener filter finds out where they wanted to go, and an ORIGINAL_DST cluster takes them there. The proxy's own
 * connections carry a socket mark, which the rules let through.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { type Json, type ProxyProcess, spawnProxy, until } from '../support/proxy_process.ts';
import { bootstrap, fileLog, http, tcpProxy } from './support/config.ts';

const run = promisify(execFile);
const NAME = `sluice-odst-${process.pid}`;
const inside = ['ip', 'netns', 'exec', NAME];
const MARK = 7;
const SOL_SOCKET = 1;
const SO_MARK = 36;

/** Port 80 goes to the listener for plain connections, 8080 to the one that hands over by address, 81 is not redirected. */
const RULES = `
table inet nat {
  chain output {
    type nat hook output priority -100;
    meta mark ${MARK} return
    ip daddr 10.99.0.0/24 tcp dport 80 redirect to :15001
    ip6 daddr fd99::/64 tcp dport 80 redirect to :15001
    ip daddr 10.99.0.0/24 tcp dport 8080 redirect to :15002
  }
}`;

/** Answers with the address that the connection came in on. */
const SERVER = `
const http = require('node:http');
let left = 3;
for (const [host, port] of [['10.99.0.1', 80], ['10.99.0.2', 80], ['fd99::1', 80]])
  http.createServer((request, response) => response.end(request.socket.localAddress + ' ' + request.url))
    .listen(port, host, () => { if (--left === 0) process.stdout.write('ready'); });`;

function cannotRun(): string | false {
  try {
    execFileSync('ip', ['netns', 'add', NAME], { stdio: 'pipe' });
  } catch (error) {
    return `ip netns is not permitted: ${(error as Error).message.split('\n')[0]}`;
  }
  try {
    execFileSync(inside[0], [...inside.slice(1), 'nft', '-f', '-'], { input: RULES, stdio: 'pipe' });
    return false;
  } catch (error) {
    execFileSync('ip', ['netns', 'del', NAME]);
    return `nft cannot set NAT rules here: ${(error as Error).message.split('\n')[0]}`;
  }
}

const skip = cannotRun();
const anywhere = (port: number): Json => ({
  socket_address: { address: '::', port_value: port, ipv4_compat: true },
});
const originalDst = {
  name: 'original_dst',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst' },
};

describe('connections that the kernel redirected', { skip }, () => {
  let server: ChildProcess;
  let proxy: ProxyProcess;

  const curl = async (url: string): Promise<string> => {
    const { stdout } = await run(inside[0], [...inside.slice(1), 'curl', '-sS', '--max-time', '5', '-g', url]);
    return stdout;
  };

  before(async () => {
    const ip = (...args: string[]): void => void execFileSync('ip', ['-n', NAME, ...args]);
    ip('link', 'set', 'lo', 'up');
    for (const address of ['10.99.0.1/32', '10.99.0.2/32', 'fd99::1/128'])
      ip('addr', 'add', address, 'dev', 'lo', ...(address.includes(':') ? ['nodad'] : []));
    server = spawn(inside[0], [...inside.slice(1), process.execPath, '-e', SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => server.stdout!.once('data', resolve));
    proxy = spawnProxy({
      under: inside,
      config: bootstrap(
        [
          {
            name: 'redirected',
            address: anywhere(15001),
            listener_filters: [originalDst],
            filter_chains: [
              { filters: [tcpProxy('redirected', 'od', { access_log: [fileLog('tcp.log', '%DOWNSTREAM_LOCAL_ADDRESS%')] })] },
            ],
          },
          // Hands connections over to the listener of the address they were meant for.
          {
            name: 'front',
            address: anywhere(15002),
            use_original_dst: true,
            listener_filters: [originalDst],
            filter_chains: [{ filters: [tcpProxy('front', 'od')] }],
          },
          {
            name: 'virtual',
            address: { socket_address: { address: '10.99.0.2', port_value: 8080 } },
            bind_to_port: false,
            filter_chains: [
              {
                filters: [
                  http('virtual', [
                    { match: { prefix: '/' }, direct_response: { status: 200, body: { inline_string: 'virtual' } } },
                  ]),
                ],
              },
            ],
          },
        ],
        [
          {
            name: 'od',
            type: 'ORIGINAL_DST',
            lb_policy: 'CLUSTER_PROVIDED',
            upstream_bind_config: {
              socket_options: [{ level: SOL_SOCKET, name: SO_MARK, int_value: MARK, state: 'STATE_PREBIND' }],
            },
          },
        ],
        { admin: { address: { socket_address: { address: '127.0.0.1', port_value: 9901 } } } },
      ),
    });
    await until(async () => {
      if (!proxy.running) throw new Error(proxy.log);
      return (await curl('http://127.0.0.1:9901/ready')).includes('LIVE');
    }, 'the proxy to be LIVE');
  });

  after(async () => {
    await proxy.stop();
    server.kill();
    execFileSync('ip', ['netns', 'del', NAME]);
  });

  test('go where they were meant to go, IPv4 and IPv6', async () => {
    assert.equal(await curl('http://10.99.0.1/a'), '10.99.0.1 /a');
    assert.equal(await curl('http://10.99.0.2/b'), '10.99.0.2 /b');
    assert.equal(await curl('http://[fd99::1]/c'), 'fd99::1 /c');
    assert.deepEqual(await proxy.lines('tcp.log', 3), ['10.99.0.1:80', '10.99.0.2:80', '[fd99::1]:80']);
    const stats = await curl('http://127.0.0.1:9901/stats?filter=downstream_cx_total');
    assert.match(stats, /^tcp\.redirected\.downstream_cx_total: 3$/m, 'the proxy was in between');
  });

  test('use_original_dst hands over to the listener of that address, which binds no port', async () => {
    assert.equal(await curl('http://10.99.0.2:8080/'), 'virtual');
    // Nobody listens there: the listener that accepted it serves it, and the server refuses.
    await assert.rejects(curl('http://10.99.0.1:8080/'), /curl/);
    const stats = await curl('http://127.0.0.1:9901/stats?filter=tcp.front.downstream_cx_total');
    assert.match(stats, /^tcp\.front\.downstream_cx_total: 1$/m);
  });

  test('that were not redirected keep their address', async () => {
    // The proxy asks itself: its own address is the destination, and nobody answers there but the proxy. It must not loop for ever.
    await assert.rejects(run(inside[0], [...inside.slice(1), 'curl', '-sS', '--max-time', '2', 'http://127.0.0.1:15001/']));
    assert.ok(proxy.running, proxy.log);
  });
});
