/**
 * Load while upstreams reload, restart and die: with retries configured no client sees an error, and every 5xx that there would be is
 * in the access log with its reason.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { startProxy } from '../support/proxy_process.ts';
import { bootstrap, cluster, fileLog, http, listener, route, WHY } from './support/config.ts';
import { type HttpUpstream, httpUpstream, needs, startNginx } from './support/upstreams.ts';

const SECONDS = 10;

describe('soak', { skip: needs('wrk', 'nginx') }, () => {
  test('upstreams that restart one after another', async (t) => {
    const body = Buffer.alloc(600, 'n');
    const nginx = [
      await startNginx('location = /file { try_files /file =500; }', { file: body }),
      await startNginx('location = /file { try_files /file =500; }', { file: body }),
    ];
    let node: HttpUpstream = await httpUpstream((_, response) => response.end(body));
    const errors = {
      filter: { status_code_filter: { comparison: { op: 'GE', value: { default_value: 500, runtime_key: 'x' } } } },
    };
    const retries = {
      retry_on: 'connect-failure,reset,refused-stream,5xx',
      num_retries: 5,
      retry_host_predicate: [
        {
          name: 'previous',
          typed_config: { '@type': 'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate' },
        },
      ],
      host_selection_retry_max_attempts: 5,
    };
    const proxy = await startProxy({
      config: bootstrap(
        [
          listener('web', [
            http('web', [route('/', 'three', { retry_policy: retries })], {
              access_log: [{ ...fileLog('errors.log', WHY), ...errors }],
            }),
          ]),
        ],
        [
          cluster('three', [nginx[0].port, nginx[1].port, node.port], {
            circuit_breakers: { thresholds: [{ max_retries: 1000, max_connections: 1000 }] },
          }),
        ],
      ),
    });
    t.after(async () => {
      await proxy.stop();
      await node.close();
      for (const server of nginx) await server.close();
    });
    const wrk = spawn('wrk', [
      '-t',
      '1',
      '-c',
      '24',
      '-d',
      `${SECONDS}s`,
      '--timeout',
      '5s',
      `http://127.0.0.1:${proxy.port('web')}/file`,
    ]);
    let report = '';
    wrk.stdout.setEncoding('utf8').on('data', (text: string) => {
      report += text;
    });
    const ended = once(wrk, 'close');
    const steps = [
      async () => nginx[0].reload(),
      async () => {
        const { port } = node;
        await node.close();
        node = await httpUpstream((_, response) => response.end(body), port);
      },
      async () => nginx[1].restart(),
    ];
    let restarts = 0;
    while (wrk.exitCode === null) {
      await steps[restarts++ % steps.length]();
      // Some load must pass between two steps.
      const done = await proxy.stat('cluster.three.upstream_rq_completed');
      while (wrk.exitCode === null && (await proxy.stat('cluster.three.upstream_rq_completed')) < done + 500) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    await ended;
    const stats = await proxy.stats('^(http\\.web|cluster\\.three)\\.');
    const requests = Number(/(\d+) requests in/.exec(report)![1]);
    t.diagnostic(`${requests} requests, ${restarts} restarts, ${stats.get('cluster.three.upstream_rq_retry')} retries`);
    assert.ok(requests > 1000 && restarts >= 6, report);
    assert.doesNotMatch(
      report,
      /Non-2xx|Socket errors/,
      `${report}\n${(await proxy.lines('errors.log', 0)).slice(0, 20).join('\n')}`,
    );
    assert.equal(stats.get('http.web.downstream_rq_5xx') ?? 0, 0);
    assert.deepEqual(await proxy.lines('errors.log', 0), []);
    assert.ok(stats.get('cluster.three.upstream_rq_retry')! > 0);
    await proxy.untilStat('http.web.downstream_cx_active', (n) => n === 0);
    assert.equal(await proxy.stat('cluster.three.upstream_rq_active'), 0);
    assert.equal(await proxy.stat('workers.watchdog_mega_miss'), 0);
  });
});
