/**
 * The whole path in a network namespace of its own: curl on the kernel -> TAP -> host stack -> proxy (vcl) -> cut-through -> a Node server
 * under `sluice exec`; and databases of the kernel's side, reached by unmodified drivers over the host stack.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chownSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cannotMakeNamespace } from '../../stack/link/namespace.ts';
import { closeAtEnd, type ProxyProcess, startProxy, until } from '../../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy } from '../support/config.ts';
import { StackProcess } from '../support/stack_process.ts';
import { needs } from '../support/upstreams.ts';
import { onVcl, vclExtension } from '../support/vcl.ts';

const IN_NAMESPACE = process.env['SLUICE_TEST_IN_NAMESPACE'] !== undefined;
const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));
const APPS = fileURLToPath(new URL('./apps/', import.meta.url));
const STACK_IP = '10.66.1.2';
const HOST_IP = '10.66.1.1';
const WEB_PORT = 8080;
const TCP_PORT = 8081;
const NGINX_PORT = 8082;
const HELD_PORT = 8083;
const KEPT_PORT = 8084;
const KEEPALIVE = { keepalive_probes: 2, keepalive_time: 1, keepalive_interval: 1 };
const NOBODY = 65_534;
const run = promisify(execFile);

if (IN_NAMESPACE) inside();
else {
  const reason = cannotMakeNamespace() ?? needs('curl', 'unshare');
  test('the path through TAP, proxy and cut-through', { skip: reason }, async () => {
    const flags = ['--disable-warning=ExperimentalWarning', '--test-reporter=spec'];
    const script = 'ip link set lo up && exec "$0" "$@"';
    const child = spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, ...flags, import.meta.filename], {
      env: { ...process.env, SLUICE_TEST_IN_NAMESPACE: '1', NODE_TEST_CONTEXT: undefined },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said, [status]] = await Promise.all([text(child.stdout!), once(child, 'exit')]);
    assert.equal(status, 0, said);
    for (const line of said.split('\n').filter((one) => one.includes('﹣'))) process.stderr.write(`${line}\n`);
  });
}

function inside(): void {
  describe('through TAP, proxy and cut-through', () => {
    let stack: StackProcess;
    let servers: ChildProcess;
    let proxy: ProxyProcess;
    let directory: string;

    const exec = (args: string[], rules: string[]): string[] => [
      '--disable-warning=ExperimentalWarning',
      MAIN,
      ...['exec', '--runtime-dir', stack.runtimeDir],
      ...rules.flatMap((rule) => ['--rule', rule]),
      '--',
      'node',
      ...args,
    ];

    before(async () => {
      directory = mkdtempSync(join(tmpdir(), 'sluice-ns-'));
      stack = await new StackProcess(['--device', `tap:sluctap,address=${STACK_IP}/24,host=${HOST_IP}/24`]).start();
      servers = spawn(process.execPath, exec([`${APPS}servers.mjs`], []), { stdio: ['ignore', 'pipe', 'inherit'] });
      closeAtEnd(() => servers.kill('SIGKILL'));
      const [line] = await once(servers.stdout!.setEncoding('utf8'), 'data');
      const ports = JSON.parse(line) as Record<string, number>;
      const at = (port: number) => ({ ...onVcl, address: { socket_address: { address: STACK_IP, port_value: port } } });
      proxy = await startProxy({
        concurrency: 2,
        config: bootstrap(
          [
            listener(
              'web',
              [http('web', [route('/nginx/', 'nginx', { prefix_rewrite: '/' }), route('/', 'express')])],
              at(WEB_PORT),
            ),
            listener('raw', [tcpProxy('raw', 'echo')], at(TCP_PORT)),
            listener('kept', [tcpProxy('kept', 'kept')]),
            listener('held', [tcpProxy('held', 'held')], { ...at(HELD_PORT), tcp_keepalive: KEEPALIVE }),
          ],
          [
            cluster('express', [ports['express']], onVcl),
            cluster('nginx', [NGINX_PORT], onVcl),
            cluster('echo', [ports['echo']], onVcl),
            cluster('held', [ports['echo']], onVcl),
            cluster('kept', [], {
              ...onVcl,
              upstream_connection_options: { tcp_keepalive: KEEPALIVE },
              load_assignment: {
                cluster_name: 'kept',
                endpoints: [
                  {
                    lb_endpoints: [{ endpoint: { address: { socket_address: { address: HOST_IP, port_value: KEPT_PORT } } } }],
                  },
                ],
              },
            }),
          ],
          vclExtension({ runtime_dir: stack.runtimeDir }),
        ),
      });
    });

    after(async () => {
      await proxy.stop();
      servers.kill('SIGTERM');
      await stack.close();
      rmSync(directory, { recursive: true, force: true });
    });

    const curl = async (...args: string[]): Promise<string> =>
      (await run('curl', ['-sS', '--max-time', '20', ...args], { maxBuffer: 1 << 26 })).stdout;

    test('curl: a request, keep-alive, an upload and a download, byte-exact', async () => {
      const origin = `http://${STACK_IP}:${WEB_PORT}`;
      assert.equal(JSON.parse(await curl(`${origin}/hello/curl`)).hello, 'curl');
      const said = await curl(
        '-o',
        '/dev/null',
        '-w',
        '%{num_connects} ',
        ...Array.from({ length: 5 }, (_, i) => `${origin}/hello/${i}`).flatMap((url, i) =>
          i === 0 ? [url] : ['-o', '/dev/null', url],
        ),
      );
      assert.equal(said.trim(), '1 0 0 0 0', 'one connection for five requests');
      const upload = Buffer.alloc(5_000_003);
      for (let i = 0; i < upload.length; i++) upload[i] = (i * 17 + (i >> 9)) & 0xff;
      const file = join(directory, 'upload');
      writeFileSync(file, upload);
      const sent = JSON.parse(await curl('--data-binary', `@${file}`, `${origin}/upload`));
      assert.deepEqual(sent, { length: upload.length, sha256: createHash('sha256').update(upload).digest('hex') });
      assert.equal((await curl(`${origin}/big/3000000`)).length, 3_000_000);
      const stats = await proxy.stats('^(vcl|http\\.web)\\.');
      const bytes = upload.length + 3_000_000;
      assert.ok(stats.get('vcl.rx_bytes')! > bytes && stats.get('vcl.tx_bytes')! > bytes, 'all of it went over the stack');
      assert.equal(stats.get('vcl.cx_error'), 0);
    });

    test('1,000 connections at once, byte-exact', async () => {
      const answers = await Promise.all(
        Array.from({ length: 1000 }, async (_, i) => {
          const socket = connect({ port: TCP_PORT, host: STACK_IP });
          const data = createHash('sha256')
            .update(String(i))
            .digest('hex')
            .repeat(1 + (i % 50));
          socket.end(data);
          const parts: Buffer[] = [];
          for await (const part of socket) parts.push(part as Buffer);
          return Buffer.concat(parts).toString() === data;
        }),
      );
      assert.equal(answers.filter((good) => good).length, 1000);
      await proxy.untilStat('vcl.cx_active', (n) => n < 20);
    });

    test('nginx under the preload library as the upstream', { skip: needs('nginx', process.env['CC'] ?? 'cc') }, async () => {
      const file = Buffer.alloc(2_000_003);
      for (let i = 0; i < file.length; i++) file[i] = (i * 23 + (i >> 8)) & 0xff;
      writeFileSync(join(directory, 'file'), file);
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${directory};`);
      writeFileSync(
        join(directory, 'nginx.conf'),
        `daemon off; pid ${directory}/pid; error_log /dev/null; worker_processes 1; ${process.getuid!() === 0 ? 'user root;' : ''}
         events { worker_connections 2048; }
         http { access_log off; ${temporary.join(' ')} server { listen 127.0.0.1:${NGINX_PORT} backlog=2048; location / { root ${directory}; } } }`,
      );
      const args = ['--disable-warning=ExperimentalWarning', MAIN, 'exec', '--runtime-dir', stack.runtimeDir, '--', 'nginx'];
      const nginx = spawn(process.execPath, [...args, '-p', directory, '-c', join(directory, 'nginx.conf')], {
        stdio: 'inherit',
      });
      closeAtEnd(() => nginx.kill('SIGKILL'));
      const url = `http://${STACK_IP}:${WEB_PORT}/nginx/file`;
      await until(async () => (await curl('-o', '/dev/null', '-w', '%{http_code}', url)) === '200', 'nginx');
      const path = join(directory, 'got');
      await Promise.all(Array.from({ length: 20 }, (_, i) => curl('-o', `${path}-${i}`, url)));
      for (let i = 0; i < 20; i++) assert.ok(readFileSync(`${path}-${i}`).equals(file), `download ${i}`);
      nginx.kill('SIGTERM');
      await once(nginx, 'exit');
    });

    test('ioredis to a Redis of the kernel, over the host stack', { skip: needs('redis-server') }, async () => {
      const server = spawn(
        'redis-server',
        ['--bind', HOST_IP, '--port', '6390', '--save', '', '--protected-mode', 'no', '--dir', directory],
        {
          stdio: 'ignore',
        },
      );
      closeAtEnd(() => server.kill('SIGKILL'));
      await until(() => reachable(HOST_IP, 6390), 'redis-server');
      const env = { ...process.env, TEST_REDIS: `${HOST_IP}:6390`, NODE_TEST_CONTEXT: undefined };
      await run(process.execPath, exec([`${APPS}redis.test.mjs`], ['connect 10.66.1.0/24 stack']), {
        env,
        timeout: 60_000,
      }).catch(told);
      server.kill('SIGTERM');
    });

    const [postgresBin] = globSync('/usr/lib/postgresql/*/bin').sort().reverse();
    test('pg to a PostgreSQL of the kernel, over the host stack', {
      skip: postgresBin === undefined && 'needs PostgreSQL',
    }, async () => {
      const data = mkdtempSync(join(tmpdir(), 'sluice-pg-'));
      chownSync(data, NOBODY, NOBODY);
      // PostgreSQL refuses to run as root.
      const as = process.getuid!() === 0 ? { uid: NOBODY, gid: NOBODY, cwd: data } : { cwd: data };
      await run(`${postgresBin}/initdb`, ['-D', data, '-U', 'test', '-A', 'trust', '--no-sync'], as);
      writeFileSync(join(data, 'pg_hba.conf'), 'host all all 0.0.0.0/0 trust\n');
      const server = spawn(`${postgresBin}/postgres`, ['-D', data, '-h', HOST_IP, '-p', '5490', '-k', data, '-c', 'fsync=off'], {
        ...as,
        stdio: 'ignore',
      });
      closeAtEnd(() => server.kill('SIGKILL'));
      await until(() => reachable(HOST_IP, 5490), 'PostgreSQL');
      await new Promise((resolve) => setTimeout(resolve, 500));
      const env = { ...process.env, TEST_POSTGRES: `${HOST_IP}:5490`, NODE_TEST_CONTEXT: undefined };
      await run(process.execPath, exec([`${APPS}postgres.test.mjs`], ['connect 10.66.1.0/24 stack']), {
        env,
        timeout: 60_000,
      }).catch(told);
      server.kill('SIGINT');
      await once(server, 'exit');
      rmSync(data, { recursive: true, force: true });
    });

    test('tcp_keepalive of a listener and of a cluster: peers that vanish are noticed', async () => {
      const silent = createServer((socket) => socket.unref()).listen(KEPT_PORT, HOST_IP);
      await once(silent, 'listening');
      const clients = [connect(proxy.port('kept'), '127.0.0.1'), connect(HELD_PORT, STACK_IP)];
      // They say nothing: as long as something is not acknowledged it is not keepalive that ends a connection.
      for (const client of clients) client.on('error', () => {});
      closeAtEnd(() => {
        for (const client of clients) client.destroy();
        silent.close();
      });
      const active = (name: string) => `cluster.${name}.upstream_cx_active`;
      for (const name of ['kept', 'held']) await proxy.untilStat(active(name), (n) => n === 1);
      // Nothing that the kernel sends reaches the stack any more, nor back.
      await run('ip', ['link', 'set', 'sluctap', 'down']);
      for (const name of ['kept', 'held']) await proxy.untilStat(active(name), (n) => n === 0);
      for (const client of clients) client.destroy();
      silent.close();
    });
  });
}

function told(error: { stdout: string; stderr: string; message: string }): never {
  throw new Error(`${error.message}\n${error.stdout}\n${error.stderr}`);
}

async function reachable(host: string, port: number): Promise<boolean> {
  const socket = connect(port, host);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
