/**
 * SIGKILL of the stack, the proxy and the upstream under load: clients are answered or told, nothing hangs or leaks, everything comes back,
 * and every request is accounted for. A few rounds by default; a soak with SLUICE_KILL_ROUNDS=100.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { closeAtEnd, type Json, type ProxyProcess, startProxy, until } from '../../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route } from '../support/config.ts';
import { unusedPort } from '../support/raw.ts';
import { StackProcess } from '../support/stack_process.ts';
import { onVcl, vclExtension } from '../support/vcl.ts';

const ROUNDS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 3);
const SERVER = fileURLToPath(new URL('../support/vcl_server.ts', import.meta.url));
const UPSTREAM_PORT = 7001;
const CLIENTS = 8;

async function startUpstream(stack: StackProcess): Promise<ChildProcess> {
  const args = ['--disable-warning=ExperimentalWarning', SERVER, stack.runtimeDir, String(UPSTREAM_PORT)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  closeAtEnd(() => child.kill('SIGKILL'));
  await once(child.stdout!, 'data');
  return child;
}

/** Clients that send one request after the other until told to stop. */
class Load {
  readonly statuses = new Map<string, number>();
  private stopping = false;
  private readonly agent = new Agent({ keepAlive: true });
  private readonly clients: Promise<void>[];

  constructor(port: number) {
    this.clients = Array.from({ length: CLIENTS }, async () => {
      while (!this.stopping) {
        const outcome = await this.ask(port);
        this.statuses.set(outcome, (this.statuses.get(outcome) ?? 0) + 1);
        if (outcome !== '200') await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
  }

  count(status: string): number {
    return this.statuses.get(status) ?? 0;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.clients);
    this.agent.destroy();
  }

  /** Resolves when so many more requests have been answered well. */
  async flows(more: number): Promise<void> {
    const wanted = this.count('200') + more;
    await until(
      () => this.count('200') >= wanted,
      () => `${this.count('200')} of ${wanted} good answers: ${JSON.stringify([...this.statuses])}`,
    );
  }

  private ask(port: number): Promise<string> {
    return new Promise((resolve) => {
      const call = request({ host: '127.0.0.1', port, path: '/', agent: this.agent, timeout: 30_000 }, (response) => {
        response.resume();
        response.once('end', () => resolve(String(response.statusCode)));
        response.once('error', () => resolve('cut'));
      });
      call.once('timeout', () => {
        resolve('hung');
        call.destroy();
      });
      call.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
      call.end();
    });
  }
}

test(`${ROUNDS} rounds of killing stack, proxy and upstream`, { timeout: 60_000 + ROUNDS * 30_000 }, async () => {
  const stack = await new StackProcess().start();
  let upstream = await startUpstream(stack);
  const port = await unusedPort();
  const web = listener('in', [http('in', [route('/', 'stack')])], {
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
  });
  const config: Json = bootstrap(
    [web, listener('vin', [http('vin', [route('/', 'stack')])], onVcl)],
    [cluster('stack', [UPSTREAM_PORT], { ...onVcl, circuit_breakers: { thresholds: [{ max_retries: 100 }] } })],
    vclExtension({ runtime_dir: stack.runtimeDir }),
  );
  let proxy: ProxyProcess = await startProxy({ config, concurrency: 2 });
  let descriptors = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const load = new Load(port);
      await load.flows(100);

      await stack.kill();
      await proxy.untilStat('vcl.workers_attached', (n) => n === 0);
      await stack.start();
      await proxy.untilStat('vcl.workers_attached', (n) => n === 3);
      await proxy.untilStat('vcl.listeners_active', (n) => n === 2);
      await load.flows(100);

      upstream.kill('SIGKILL');
      await once(upstream, 'exit');
      upstream = await startUpstream(stack);
      await load.flows(100);
      await load.stop();

      // What the clients saw is what the proxy counted: nothing is lost without a trace.
      assert.equal(load.count('hung'), 0, JSON.stringify([...load.statuses]));
      assert.equal(load.count('cut') + load.count('ECONNRESET'), 0, JSON.stringify([...load.statuses]));
      const seen = await proxy.stats('^http\\.in\\.downstream_rq_(total|2xx|5xx|active)$');
      assert.equal(seen.get('http.in.downstream_rq_2xx'), load.count('200'));
      assert.equal(seen.get('http.in.downstream_rq_5xx') ?? 0, load.count('503'));
      assert.equal(seen.get('http.in.downstream_rq_active'), 0);
      assert.equal(seen.get('http.in.downstream_rq_total'), load.count('200') + load.count('503'));
      const now = proxy.descriptors();
      assert.ok(descriptors === 0 || now <= descriptors + 8, `${now} descriptors, ${descriptors} before`);
      descriptors = Math.max(descriptors, now);
      await proxy.admin('/reset_counters', 'POST');

      // Of the proxy: the stack forgets it, and the next one has the same address.
      const during = new Load(port);
      await during.flows(20);
      if (round % 2 === 0) {
        proxy.child.kill('SIGKILL');
        await proxy.exited;
        proxy = await startProxy({ config, concurrency: 2 });
        descriptors = 0;
        await during.flows(50);
      }
      await during.stop();
      assert.equal(during.count('hung'), 0, JSON.stringify([...during.statuses]));
      await proxy.admin('/reset_counters', 'POST');
    }
  } finally {
    await proxy.stop();
    upstream.kill('SIGKILL');
    await stack.close();
  }
});
