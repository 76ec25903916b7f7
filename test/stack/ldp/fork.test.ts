/** Connections across fork and exec: servers that fork for each, programs started on a connection, PostgreSQL, and what dies in between. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { attach, type VclNet } from '../../../src/stack/index.ts';
import { cannotMakeNamespace } from '../link/namespace.ts';
import { LdpStack, missing, noCompiler } from './support.ts';

const PROGRAM = fileURLToPath(new URL('./programs/forks.py', import.meta.url));
const POSTGRES = '/usr/lib/postgresql';

describe('connections of several processes', { skip: noCompiler || missing('python3'), timeout: 230_000 }, () => {
  let ldp: LdpStack;
  let net: VclNet;
  let nextPort = 7400;

  before(async () => {
    ldp = await LdpStack.create();
    net = await attach({ name: 'test', runtimeDir: ldp.stack.runtimeDir });
  });

  after(async () => {
    net.close();
    await ldp.close();
  });

  /** Resolves when no connection is left. */
  async function idle(): Promise<void> {
    for (;;) {
      const { cutThrough } = JSON.parse((await ldp.stack.command('show session', { json: true })).text) as { cutThrough: number };
      if (cutThrough === 0) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async function startAt(program: string, args: (port: number) => string[]): Promise<{ child: ChildProcess; port: number }> {
    const port = nextPort++;
    const child = ldp.start(program, args(port));
    child.stdout!.resume();
    await ldp.listening(port);
    return { child, port };
  }

  const python = (...words: string[]) => startAt('python3', (port) => [PROGRAM, words[0], String(port), ...words.slice(1)]);

  function connectTo(port: number): Duplex {
    return net.connect({ host: '127.0.0.1', port, allowHalfOpen: true }) as Duplex;
  }

  async function roundTrip(port: number, data: Buffer): Promise<Buffer> {
    const socket = connectTo(port);
    socket.end(data);
    return buffer(socket);
  }

  test('ForkingMixIn: one connection after the other, and many at once, byte-exact', async () => {
    const { child, port } = await python('serve');
    for (let i = 0; i < 15; i++) {
      const data = randomBytes(i * 20_000 + 1);
      assert.ok((await roundTrip(port, data)).equals(data), `connection ${i}`);
    }
    const all = Array.from({ length: 30 }, async (_, i) => {
      const data = randomBytes(300_000 + i);
      assert.ok((await roundTrip(port, data)).equals(data), `connection ${i} of many`);
    });
    await Promise.all(all);
    await idle();
    await ldp.stop(child, 'SIGKILL');
  });

  test('one process reads and another writes, at both ends; a shutdown counts for all', async () => {
    const { status, out } = await ldp.output('python3', [PROGRAM, 'two', String(nextPort++), '3000000']);
    assert.equal(out, 'same shut\n');
    assert.equal(status, 0);
    await idle();
  });

  for (const how of ['fork', 'popen', 'spawn']) {
    for (const [command, expected] of [
      ['cat', 'one two\nthree\n'],
      ['read line; printf "%s; " "$line"; wc -w', 'one two; 1\n'],
      ['sed s/o/0/', '0ne two\nthree\n'],
    ]) {
      test(`a program started on a connection, by ${how}: ${command}`, async () => {
        const { child, port } = await python('start', how, command);
        assert.equal(String(await roundTrip(port, Buffer.from('one two\nthree\n'))), expected);
        await idle();
        await ldp.stop(child, 'SIGKILL');
      });
    }
  }

  for (const closes of [true, false]) {
    for (const killed of ['parent', 'child'] as const) {
      test(`the ${killed} is killed; the parent ${closes ? 'has closed' : 'holds'} the connection`, async () => {
        const { child, port } = await python('serve-one', ...(closes ? ['closes'] : []));
        const socket = connectTo(port);
        const [line] = (await once(socket, 'data')) as [Buffer];
        const [parentPid, childPid] = String(line).trim().split(' ').map(Number);
        socket.write('before');
        assert.equal(String((await once(socket, 'data'))[0]), 'before');
        if (killed === 'parent') {
          const ended = once(child, 'exit');
          process.kill(parentPid, 'SIGKILL');
          await ended;
          const data = randomBytes(500_000);
          socket.end(data);
          assert.ok((await buffer(socket)).equals(data));
        } else {
          const over = new Promise<void>((resolve) => {
            socket.once('error', () => resolve());
            socket.once('end', () => resolve());
          });
          socket.resume();
          process.kill(childPid, 'SIGKILL');
          await over;
          socket.destroy();
        }
        await idle();
        await ldp.stop(child, 'SIGKILL');
      });
    }
  }

  test('socat forks and runs programs', { skip: missing('socat') }, async () => {
    for (const address of ['EXEC:/bin/cat', 'EXEC:/bin/cat,nofork', 'SYSTEM:cat,nofork']) {
      const { child, port } = await startAt('socat', (at) => [`TCP-LISTEN:${at},fork,reuseaddr,bind=127.0.0.1`, address]);
      const data = randomBytes(400_000);
      const [first, ...rest] = await Promise.all([roundTrip(port, data), roundTrip(port, data), roundTrip(port, data)]);
      for (const each of [first, ...rest]) assert.ok(each.equals(data), address);
      await idle();
      await ldp.stop(child, 'SIGKILL');
    }
  });

  test('ncat runs a program for each connection', { skip: missing('ncat') }, async () => {
    const { child, port } = await startAt('ncat', (at) => [
      '-l',
      '-k',
      '127.0.0.1',
      String(at),
      '-c',
      'read line; echo "got $line"',
    ]);
    for (let i = 0; i < 30; i++) {
      // Once the other side ends ncat does not wait for its program. Several processes have the connection, and leave it by exit and by exec.
      const socket = connectTo(port);
      socket.write(`line ${i}\n`);
      assert.equal(String(await buffer(socket)), `got line ${i}\n`);
      socket.end();
    }
    await idle();
    await ldp.stop(child, 'SIGKILL');
  });

  for (const closes of [false, true])
    test(`a listener that the parent closes right after fork, and the child ${closes ? 'too' : 'uses later'}`, async () => {
      const port = nextPort++;
      const child = ldp.start('python3', [PROGRAM, 'daemon', String(port), ...(closes ? ['closes'] : [])], ldp.env, 'pipe');
      const ended = once(child, 'close');
      assert.equal(String((await once(child.stdout!, 'data'))[0]), 'closed\n');
      const socket = connectTo(port);
      const answer = buffer(socket);
      if (closes) await assert.rejects(answer, { code: 'ECONNREFUSED' });
      child.stdin!.end('\n');
      if (!closes) assert.equal(String(await answer), 'served');
      socket.destroy();
      assert.deepEqual(await ended, [0, null]);
      // Nobody has it any more.
      await assert.rejects(buffer(connectTo(port)), { code: 'ECONNREFUSED' });
      await idle();
    });

  test('a connection is not sent to another program', async () => {
    const EOPNOTSUPP = 95;
    assert.equal((await ldp.output('python3', [PROGRAM, 'pass', String(nextPort++)])).out, `${EOPNOTSUPP}\n`);
  });

  const versions = existsSync(POSTGRES) ? readdirSync(POSTGRES) : [];
  const noPostgres =
    versions.length === 0
      ? 'PostgreSQL is not installed'
      : process.getuid!() !== 0
        ? 'needs root, to become another user'
        : false;

  test('PostgreSQL: a process for each connection; one of them is killed', { skip: noPostgres }, async () => {
    const bin = join(POSTGRES, versions.at(-1)!, 'bin');
    const user = 'postgres';
    const id = (flag: string): number => Number(spawnSync('id', [flag, user], { encoding: 'utf8' }).stdout);
    const options = { uid: id('-u'), gid: id('-g'), cwd: '/', stdio: 'ignore' as const };
    const data = join(ldp.directory, 'postgres');
    mkdirSync(data);
    spawnSync('chown', [user, data]);
    const { runtimeDir } = ldp.stack;
    for (const path of [ldp.directory, runtimeDir, join(runtimeDir, 'app_ns_sockets')]) chmodSync(path, 0o755);
    chmodSync(join(runtimeDir, 'app_ns_sockets', 'default'), 0o777);
    const cluster = join(data, 'cluster');
    assert.equal(spawnSync(`${bin}/initdb`, ['-D', cluster, '-A', 'trust', '-N'], options).status, 0);
    const port = nextPort++;
    const server = spawn(`${bin}/postgres`, ['-D', cluster, '-p', String(port), '-k', data, '-h', '127.0.0.1', '-F'], {
      ...options,
      env: ldp.env,
    });
    try {
      await ldp.listening(port);
      const where = ['-h', '127.0.0.1', '-p', String(port), '-U', user];
      const query = (sql: string) => ldp.output(`${bin}/psql`, [...where, '-Atc', sql, 'postgres']);
      let answer = { status: 1 as number | null, out: '' };
      while (answer.status !== 0) answer = await query('select 42');
      assert.equal(answer.out, '42\n');
      const rows = await query('select repeat(md5(x::text), 30) from generate_series(1, 2000) x');
      assert.equal(rows.out.length, 2000 * (32 * 30 + 1));
      assert.equal((await ldp.output(`${bin}/pgbench`, [...where, '-i', '-q', 'postgres'])).status, 0);
      const load = await ldp.output(`${bin}/pgbench`, [...where, '-c', '8', '-t', '100', 'postgres']);
      assert.match(load.out, /number of transactions actually processed: 800\/800/);
      await idle();
      const asleep = query('select pg_sleep(60)');
      let pid = '';
      while (pid === '') pid = (await query("select pid from pg_stat_activity where query = 'select pg_sleep(60)'")).out.trim();
      process.kill(Number(pid), 'SIGKILL');
      assert.notEqual((await asleep).status, 0);
      await idle();
      answer = { status: 1, out: '' };
      while (answer.status !== 0) answer = await query("select 'again'");
      assert.equal(answer.out, 'again\n');
      await idle();
    } finally {
      const ended = once(server, 'exit');
      server.kill('SIGINT');
      await ended;
    }
  });
});

const namespaceReason = cannotMakeNamespace();

test('a server that forks, and programs it runs, reached from a network by the kernel', {
  skip: noCompiler || missing('python3', 'socat') || namespaceReason || false,
  timeout: 60_000,
}, async () => {
  const space = `slt-fork-${process.pid}`;
  execFileSync('ip', ['netns', 'add', space]);
  const device = { kind: 'tun', name: 'slf%d', addresses: ['10.74.0.2/24'], hostAddresses: ['10.74.0.1/24'], netns: space };
  const ldp = await LdpStack.create({ network: { devices: [device] } });
  try {
    ldp.start('python3', [PROGRAM, 'serve', '7301'], { ...ldp.env, HOST: '10.74.0.2' });
    ldp.start('socat', ['TCP-LISTEN:7302,fork,bind=10.74.0.2', 'EXEC:/bin/cat,nofork']);
    for (const port of [7301, 7302]) {
      await ldp.listening(port);
      const { status, out } = await ldp.output(
        'ip',
        ['netns', 'exec', space, 'env', 'HOST=10.74.0.2', 'python3', PROGRAM, 'clients', String(port), '12'],
        process.env,
      );
      assert.equal(status, 0);
      assert.equal(out, 'same\n'.repeat(12));
    }
    for (;;) {
      const { sessions, listeners } = JSON.parse((await ldp.stack.command('show session', { json: true })).text) as {
        sessions: number;
        listeners: number;
      };
      if (sessions === listeners) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    await ldp.close();
    execFileSync('ip', ['netns', 'del', space]);
  }
});
