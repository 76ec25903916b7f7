/** Network filters, access loggers and services in TypeScript, in the real proxy: mistakes, promises, replacement. */
import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { BACKENDS, skipReason } from '../../support/dispatchers.ts';
import { httpRequest, type Json, type ProxyProcess, spawnProxy, startProxy, until } from '../../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy } from '../support/config.ts';
import { dial, type RawUpstream, rawUpstream } from '../support/raw.ts';
import { type HttpUpstream, httpUpstream } from '../support/upstreams.ts';

const directory = mkdtempSync(join(tmpdir(), 'sluice-modules-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
  return path;
}

const TYPE = 'type.googleapis.com/sluice.extensions';

function networkFilter(fields: Json): Json {
  return { name: 'ts', typed_config: { '@type': `${TYPE}.filters.network.typescript.v1.TypeScriptNetworkFilter`, ...fields } };
}

function service(fields: Json): Json {
  return { name: 'service', typed_config: { '@type': `${TYPE}.bootstrap.typescript.v1.TypeScriptService`, ...fields } };
}

const ECHO = (greeting: string): string => `import { type Body, NetworkFilter } from 'sluice/filter';
export default class Echo extends NetworkFilter {
  override onNewConnection() { this.connection.write('${greeting}\\n'); }
  override onData(data: Body, endStream: boolean) {
    const text = data.text();
    data.clear();
    if (text.startsWith('throw')) throw new Error('asked to');
    if (text.startsWith('bye')) { this.connection.write('bye\\n'); this.connection.close(); return; }
    this.connection.write(text.toUpperCase());
  }
  override onClose(remote: boolean) { this.host.counter(remote ? 'closed_by_client' : 'closed_here').inc(); }
}
`;

const SLOW = `import { type Body, NetworkAction, NetworkFilter } from 'sluice/filter';
export default class Slow extends NetworkFilter {
  private first = true;
  override async onNewConnection() { await this.host.sleep(5); }
  override async onData(data: Body, endStream: boolean) {
    const text = data.text();
    await this.host.sleep(2);
    if (text.includes('reject')) throw new Error('no');
    if (text.includes('never')) await new Promise(() => {});
    data.set(text.toUpperCase());
    if (this.first) { this.first = false; data.prepend('> '); }
  }
  override onWrite(data: Body) { data.append('!'); }
}
`;

const LOGGER = (word: string): string => `import { AccessLogger, type LogEntry } from 'sluice/filter';
export default class Logger extends AccessLogger<{ path: string }> {
  private readonly file = this.host.logFile(this.config.path);
  log({ requestHeaders, responseHeaders, info, type }: LogEntry) {
    if (requestHeaders?.get(':path') === '/throw') throw new Error('not logged');
    this.file.write('${word} ' + type + ' ' + requestHeaders?.get(':path') + ' ' + info.responseCode + ' grün\\n');
  }
}
`;

const SERVICE = (word: string): string => `import { Service } from 'sluice/filter';
export default class Worker extends Service {
  start() {
    this.host.shared.add('started ${word} ' + (this.host.workerIndex < 0 ? 'main' : 'worker'), 1);
    this.host.log.info('${word} starts on ' + this.host.workerIndex);
    this.host.every(5, async () => {
      this.host.counter('ticks_${word}').inc();
      if (this.host.workerIndex >= 0) {
        const answer = await this.host.call('direct', { path: '/from-service' });
        this.host.gauge('status').set(answer.status);
      }
    });
    this.host.after(1, () => { throw new Error('in a timer'); });
  }
  stop() { this.host.log.info('${word} stops'); }
}
`;

for (const backend of BACKENDS) {
  describe(`other extensions in TypeScript on ${backend}`, { skip: skipReason(backend) }, () => {
    let proxy: ProxyProcess;
    let upstream: RawUpstream;
    let site: HttpUpstream;
    const echo = write('echo.ts', ECHO('one'));
    const slow = write('slow.ts', SLOW);
    const logger = write('logger.ts', LOGGER('first'));
    const service_ = write('service.ts', SERVICE('one'));

    before(async () => {
      write('echo.ts', ECHO('one'));
      write('logger.ts', LOGGER('first'));
      write('service.ts', SERVICE('one'));
      upstream = await rawUpstream();
      site = await httpUpstream();
      const direct = [{ match: { prefix: '/' }, direct_response: { status: 203 } }];
      proxy = await startProxy({
        backend,
        concurrency: 2,
        config: bootstrap(
          [
            listener('echo', [networkFilter({ module: echo, terminal: true })]),
            listener('slow', [networkFilter({ module: slow, deadline: '0.3s' }), tcpProxy('slow', 'raw')]),
            listener('open', [
              networkFilter({ module: slow, failure_policy: 'FAIL_OPEN', name: 'open' }),
              tcpProxy('open', 'raw'),
            ]),
            listener('logged', [
              http('logged', direct, {
                access_log: [
                  {
                    name: 'ts',
                    typed_config: {
                      '@type': `${TYPE}.access_loggers.typescript.v1.TypeScriptAccessLog`,
                      module: logger,
                      config: { path: '$DIR/ts.log' },
                    },
                  },
                ],
              }),
            ]),
          ],
          [cluster('raw', [upstream.port]), cluster('direct', [site.port])],
          {
            bootstrap_extensions: [
              service({ module: service_, name: 'singleton' }),
              service({ module: service_, name: 'each', singleton: false }),
            ],
          },
        ),
      });
    });
    after(async () => {
      await proxy.stop();
      await upstream.close();
      await site.close();
    });

    /** What comes back to `text` until the connection ends or `enough` is there. */
    async function talk(name: string, texts: string[], enough: (text: string) => boolean): Promise<string> {
      const client = await dial(proxy.port(name));
      for (const text of texts) client.send(text);
      await client.until(() => enough(client.text) || client.closed || client.ended, 'the answer');
      const { text } = client;
      client.destroy();
      return text;
    }

    test('a terminal filter reads, writes and closes', async () => {
      assert.equal(await talk('echo', ['hello'], (text) => text.includes('HELLO')), 'one\nHELLO');
      assert.equal(await talk('echo', ['bye'], () => false), 'one\nbye\n');
      await proxy.untilStat('typescript.echo.closed_here', (n) => n === 1);
      await proxy.untilStat('typescript.echo.closed_by_client', (n) => n >= 1);
    });

    test('an error closes the connection, is logged with its place, and hurts nobody else', async () => {
      const other = await dial(proxy.port('echo'));
      // What was on its way may be lost.
      assert.match(await talk('echo', ['throw'], () => false), /^(one\n)?$/);
      await until(() => /echo: onData: \S*\/echo\.ts:7:\d+: Error: asked to/.test(proxy.log), 'the error');
      other.send('still here');
      await other.untilText('STILL HERE');
      other.destroy();
    });

    test('the next filter gets what an async filter made of the bytes, in order', async () => {
      const big = 'abcdefghij'.repeat(30_000);
      const connections = upstream.connections.length;
      const client = await dial(proxy.port('slow'));
      client.send('head ');
      client.send(big);
      const peer = await upstream.connection(connections);
      await peer.until(() => peer.text.length >= big.length + 7, 'all of it');
      assert.equal(peer.text, `> HEAD ${big.toUpperCase()}`);
      peer.send('answer');
      await client.untilText('answer!');
      client.destroy();
      peer.destroy();
    });

    test('a promise that rejects or is late closes; failing open, the bytes pass as they are', async () => {
      assert.equal(await talk('slow', ['reject'], () => false), '');
      assert.equal(await talk('slow', ['never'], () => false), '');
      await until(() => /slow: onData: .*took longer than 300 ms/.test(proxy.log), 'the error');
      const connections = upstream.connections.length;
      const client = await dial(proxy.port('open'));
      client.send('reject me');
      const peer = await upstream.connection(connections);
      await peer.untilText('reject me');
      client.destroy();
      peer.destroy();
    });

    test('a client that leaves in the middle of a promise leaves nothing', async () => {
      await proxy.untilStat('listener.slow.downstream_cx_active', (n) => n === 0);
      const socket = connect(proxy.port('slow'), '127.0.0.1');
      await new Promise((resolve) => socket.once('connect', resolve));
      socket.write('never');
      await proxy.untilStat('listener.slow.downstream_cx_active', (n) => n === 1);
      socket.destroy();
      await proxy.untilStat('listener.slow.downstream_cx_active', (n) => n === 0);
    });

    test('an access logger gets every stream, and is replaced', async () => {
      for (const path of ['/a', '/throw', '/b']) assert.equal((await httpRequest(proxy.port('logged'), path)).status, 203);
      const lines = await proxy.lines('ts.log', 2);
      assert.deepEqual(lines.sort(), ['first DownstreamEnd /a 203 grün', 'first DownstreamEnd /b 203 grün']);
      await until(() => /logger: log: \S*\/logger\.ts:5:\d+: Error: not logged/.test(proxy.log), 'the error');
      write('logger.ts', LOGGER('second'));
      await until(async () => {
        await httpRequest(proxy.port('logged'), '/c');
        return (await proxy.lines('ts.log', 2)).some((line) => line === 'second DownstreamEnd /c 203 grün');
      }, 'a line of the new logger');
    });

    test('a network filter is replaced: new connections get the new one, old ones keep theirs', async () => {
      const old = await dial(proxy.port('echo'));
      await old.untilText('one\n');
      write('echo.ts', ECHO('two'));
      await until(async () => (await talk('echo', [], (text) => text.includes('\n'))) === 'two\n', 'the new filter');
      old.send('old');
      await old.untilText('OLD');
      old.destroy();
      write('echo.ts', `${ECHO('three')}\nsyntax error`);
      await until(() => /echo\.ts has changed, and is not used: \S*\/echo\.ts:14:\d+: SyntaxError/.test(proxy.log), 'the error');
      assert.equal(await talk('echo', [], (text) => text.includes('\n')), 'two\n');
    });

    test('services run once on the main thread and on every worker, and are replaced', async () => {
      await proxy.untilStat('typescript.singleton.ticks_one', (n) => n > 2);
      await proxy.untilStat('typescript.each.ticks_one', (n) => n > 4);
      await proxy.untilStat('cluster.direct.upstream_rq_200', (n) => n > 4);
      for (const where of ['-1', '0', '1']) assert.equal(proxy.log.split(`one starts on ${where}\n`).length, 2, where);
      assert.match(proxy.log, /singleton: timer: \S*\/service\.ts:13:\d+: Error: in a timer/);
      write('service.ts', SERVICE('two'));
      await proxy.untilStat('typescript.singleton.ticks_two', (n) => n > 2);
      await proxy.untilStat('typescript.each.ticks_two', (n) => n > 2);
      const before = await proxy.stat('typescript.singleton.ticks_one');
      await proxy.untilStat('typescript.singleton.ticks_two', (n) => n > 10);
      assert.equal(await proxy.stat('typescript.singleton.ticks_one'), before);
      assert.equal(proxy.log.split('one stops\n').length, 4);
    });
  });
}

test('mistakes in the configuration of the others', async () => {
  const errorOf = async (config: Json): Promise<string> => {
    const proxy = spawnProxy({ config, args: ['--mode', 'validate'] });
    assert.equal(await proxy.exited, 1, proxy.out);
    rmSync(proxy.directory, { recursive: true });
    return proxy.log;
  };
  const wrong = write('wrong.ts', `import { HttpFilter } from 'sluice/filter';\nexport default class extends HttpFilter {}\n`);
  const direct = http('h', [route('/', 'c')]);
  assert.match(
    await errorOf(bootstrap([listener('l', [networkFilter({ module: wrong, terminal: true })])])),
    /filters\[0\]\.typed_config\.module: cannot use the module: \S*wrong\.ts: its default export is not a class that extends NetworkFilter/,
  );
  assert.match(
    await errorOf(bootstrap([listener('l', [networkFilter({ module: wrong })])])),
    /non-terminal filter named ts of type sluice\.filters\.network\.typescript is the last filter/,
  );
  assert.match(
    await errorOf(
      bootstrap([listener('l', [direct])], [cluster('c', [1])], { bootstrap_extensions: [service({ module: wrong })] }),
    ),
    /bootstrap_extensions\[0\]\.typed_config\.module: cannot use the module: .*extends Service of/,
  );
});
