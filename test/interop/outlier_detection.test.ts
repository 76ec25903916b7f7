/** Outlier detection over several workers: upstreams that answer 503, refuse, hang; what admin, stats and the event log say of it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { httpRequest, type Json, type ProxyProcess, startProxy, until } from '../support/proxy_process.ts';
import { bootstrap, cluster, http, listener, route, tcpProxy } from './support/config.ts';
import { dial, unusedPort } from './support/raw.ts';
import { type HttpUpstream, httpUpstream } from './support/upstreams.ts';

const DETECTION: Json = {
  interval: '0.1s',
  base_ejection_time: '0.3s',
  max_ejection_percent: 50,
  enforcing_success_rate: 0,
};

describe('outlier detection', () => {
  let proxy: ProxyProcess;
  let good: HttpUpstream;
  let bad: HttpUpstream;
  let refused = 0;
  let badStatus = 503;

  before(async () => {
    good = await httpUpstream((_request, response) => response.end('good'));
    bad = await httpUpstream((_request, response) => {
      // 0: never answers.
      if (badStatus !== 0) response.writeHead(badStatus).end('bad');
    });
    refused = await unusedPort();
    const detected = (name: string, ports: number[], more: Json = {}): Json =>
      cluster(name, ports, {
        common_lb_config: { healthy_panic_threshold: { value: 0 } },
        outlier_detection: { ...DETECTION, ...more },
      });
    proxy = await startProxy({
      concurrency: 2,
      config: bootstrap(
        [
          listener('web', [
            http('web', [
              route('/503', '503'),
              route('/refused', 'refused'),
              route('/hangs', 'hangs', { timeout: '0.05s' }),
              route('/split', 'split'),
              route('/long', 'long'),
            ]),
          ]),
          listener('tcp', [tcpProxy('tcp', 'tcp')]),
        ],
        [
          detected('503', [good.port, bad.port]),
          detected('refused', [good.port, refused]),
          detected('hangs', [good.port, bad.port]),
          detected('split', [good.port, refused], { split_external_local_origin_errors: true }),
          detected('tcp', [good.port, refused]),
          detected('long', [good.port, bad.port], { base_ejection_time: '60s', interval: '60s' }),
        ],
        { cluster_manager: { outlier_detection: { event_log_path: '$DIR/outliers.log' } } },
      ),
    });
  });
  after(async () => {
    await proxy.stop();
    await good.close();
    await bad.close();
  });

  const ejections = (name: string, stat: string): Promise<number> =>
    proxy.stat(`cluster.${name}.outlier_detection.ejections_${stat}`);

  /** Asks until the bad host is out. */
  const askUntilOut = async (name: string, ask: () => Promise<unknown>): Promise<void> => {
    await until(
      async () => {
        await ask();
        return (await ejections(name, 'enforced_total')) > 0;
      },
      () => `an ejection in ${name}`,
    );
  };

  test('503 in a row, over connections to all workers, and back', async () => {
    badStatus = 503;
    await askUntilOut('503', () => Promise.all([1, 2, 3, 4].map(() => httpRequest(proxy.port('web'), '/503'))));
    badStatus = 200;
    // A row of gateway failures is found first, and not enforced.
    const [, line] = await proxy.lines('outliers.log', 2);
    const event = JSON.parse(line);
    assert.deepEqual(
      [event.type, event.action, event.cluster_name, event.upstream_url, event.enforced, event.num_ejections],
      ['CONSECUTIVE_5XX', 'EJECT', '503', `127.0.0.1:${bad.port}`, true, 1],
    );
    await until(
      async () => (await httpRequest(proxy.port('web'), '/503')).body === 'bad',
      () => 'the host to be back',
    );
    assert.equal(await ejections('503', 'active'), 0);
    assert.equal(await proxy.stat('cluster.503.membership_healthy'), 2);
    const lines = await proxy.lines('outliers.log', 3);
    assert.equal(JSON.parse(lines[2]).action, 'UNEJECT');
  });

  test('an ejected host gets nothing on any worker, and admin says why', async () => {
    badStatus = 500;
    await askUntilOut('long', () => httpRequest(proxy.port('web'), '/long'));
    const { body } = await proxy.admin('/clusters');
    assert.match(body, new RegExp(`^long::127.0.0.1:${bad.port}::health_flags::/failed_outlier_check$`, 'm'));
    assert.match(body, new RegExp(`^long::127.0.0.1:${good.port}::health_flags::healthy$`, 'm'));
    assert.match(body, /^long::outlier::success_rate_average::-1$/m);
    const json = JSON.parse((await proxy.admin('/clusters?format=json')).body);
    const long = json.cluster_statuses.find((status: Json) => status['name'] === 'long');
    assert.deepEqual(long.host_statuses[1].health_status, { failed_outlier_check: true, eds_health_status: 'HEALTHY' });
    assert.equal(await proxy.stat('cluster.long.membership_healthy'), 1);
    assert.equal(await ejections('long', 'active'), 1);
    const answers = await Promise.all(Array.from({ length: 40 }, () => httpRequest(proxy.port('web'), '/long')));
    assert.deepEqual(new Set(answers.map(({ body }) => body)), new Set(['good']));
  });

  test('refused connections count as 503', async () => {
    await askUntilOut('refused', () => httpRequest(proxy.port('web'), '/refused'));
    assert.ok((await ejections('refused', 'enforced_consecutive_5xx')) > 0);
  });

  test('timeouts count', async () => {
    badStatus = 0;
    await askUntilOut('hangs', () => httpRequest(proxy.port('web'), '/hangs'));
    assert.ok((await ejections('hangs', 'enforced_consecutive_5xx')) > 0);
  });

  test('failures of local origin on their own', async () => {
    await askUntilOut('split', () => httpRequest(proxy.port('web'), '/split'));
    assert.ok((await ejections('split', 'enforced_consecutive_local_origin_failure')) > 0);
    assert.equal(await ejections('split', 'detected_consecutive_5xx'), 0);
  });

  test("the TCP proxy's failures to connect count", async () => {
    await askUntilOut('tcp', async () => {
      const connection = await dial(proxy.port('tcp'));
      connection.send('GET / HTTP/1.0\r\n\r\n');
      await connection.untilClosed();
      connection.destroy();
    });
    assert.ok((await ejections('tcp', 'enforced_consecutive_5xx')) > 0);
  });
});
