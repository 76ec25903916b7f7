/**
 * `sluice demo` (and `npm start`): a proxy on 127.0.0.1:10000 before a bundled upstream, admin on 127.0.0.1:9901, and what to try.
 */
import { fileURLToPath } from 'node:url';
import { DEFAULT_LOG_FORMAT } from '../core/log/logger.ts';
import { runServer } from '../proxy/server/server.ts';
import { startDemoUpstream } from './demo_upstream.ts';
import { type FlagTable, formatFlags, parseFlags, UsageError } from './flags.ts';

const FLAGS: FlagTable = {
  concurrency: { type: 'integer', default: 2, help: 'Worker threads' },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

export const DEMO_CONFIG = fileURLToPath(new URL('../../examples/demo.yaml', import.meta.url));
const DEMO_UPSTREAM_PORT = 10_001;

export async function demoCommand(args: readonly string[]): Promise<number> {
  const { values } = parseFlags(args, FLAGS);
  if (values.help) {
    process.stdout.write(`sluice demo: try Sluice without a configuration of your own\n\n${formatFlags(FLAGS)}\n`);
    return 0;
  }
  const upstream = await startDemoUpstream(DEMO_UPSTREAM_PORT).catch((error: Error) => {
    throw new UsageError(`demo: the bundled upstream cannot listen: ${error.message}. Does another demo run?`);
  });
  try {
    return await runServer({
      configPath: DEMO_CONFIG,
      mode: 'serve',
      concurrency: values.concurrency as number,
      log: { level: 'warning', components: {}, format: DEFAULT_LOG_FORMAT },
      baseId: 0,
      drainTimeMs: 5_000,
      drainStrategy: 'immediate',
      parentShutdownTimeS: 900,
      fileFlushIntervalMs: 1_000,
      allowUnknownStaticFields: false,
      allowUnsupported: false,
      substituteEnv: false,
      onReady: () => process.stdout.write(WELCOME),
    });
  } finally {
    upstream.close();
  }
}

const WELCOME = `
Sluice is running:

  proxy   http://127.0.0.1:10000     configuration: examples/demo.yaml
  admin   http://127.0.0.1:9901      state, stats, clusters, configuration

Try:

  curl -i http://127.0.0.1:10000/                      the bundled upstream, and what the proxy told it
  curl -i http://127.0.0.1:10000/hello                 a direct response, no upstream involved
  curl -i http://127.0.0.1:10000/flaky                 fails half of the time; the proxy retries
  curl -s 'http://127.0.0.1:9901/stats?filter=demo'    counters

Then your own configuration:  npx sluice proxy -c envoy.yaml
Ctrl-C ends it.
`;
