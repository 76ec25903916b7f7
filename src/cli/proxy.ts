/** `sluice proxy`: Envoy's command line on Sluice. */
import { closeSync, openSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import {
  DEFAULT_LOG_FORMAT,
  LOG_COMPONENTS,
  LOG_LEVELS,
  type LogLevel,
  type LogSettings,
  parseLogLevel,
} from '../core/log/logger.ts';
import type { ServerOptions } from '../proxy/server/server_options.ts';
import { type FlagTable, formatFlags, nearest, parseFlags, UsageError } from './flags.ts';
import { VERSION_TEXT } from './version.ts';

export const PROXY_FLAGS: FlagTable = {
  'config-path': { short: 'c', type: 'string', value: 'file', help: 'Configuration: .yaml, .yml, .json, .pb' },
  'config-yaml': { type: 'string', value: 'yaml', help: 'Configuration text, merged over --config-path' },
  mode: {
    type: 'string',
    value: 'serve|validate|init_only',
    default: 'serve',
    help: 'Serve, check the configuration, or start and stop',
  },
  concurrency: { type: 'integer', help: 'Worker threads (0 counts as 1)', value: 'n' },
  'log-level': { short: 'l', type: 'string', value: LOG_LEVELS.join('|'), default: 'info', help: 'Level of the application log' },
  'component-log-level': { type: 'string', value: 'name:level,...', help: 'Levels of single components' },
  'log-format': {
    type: 'string',
    value: 'format',
    default: DEFAULT_LOG_FORMAT,
    help: 'Line format: %Y %m %d %T %e %t %P %l %n %v',
  },
  'log-path': { type: 'string', value: 'file', help: 'Write the application log there instead of standard error' },
  'admin-address-path': { type: 'string', value: 'file', help: 'Write the admin address there after it is bound' },
  'base-id': { type: 'integer', default: 0, help: 'Two proxies with the same id refuse to run on one machine; 0 never refuses' },
  'drain-time-s': { type: 'integer', default: 600, help: 'How long draining takes at most after SIGTERM, in seconds' },
  'drain-strategy': {
    type: 'string',
    value: 'gradual|immediate',
    default: 'gradual',
    help: 'Whether connections are closed over the drain time or at once',
  },
  'parent-shutdown-time-s': { type: 'integer', default: 900, help: 'Shown in /server_info; there is no hot restart yet' },
  'service-cluster': { type: 'string', help: 'Local service cluster name' },
  'service-node': { type: 'string', help: 'Local service node name' },
  'service-zone': { type: 'string', help: 'Local service zone' },
  'file-flush-interval-msec': { type: 'integer', default: 10000, help: 'How long access log lines may wait in memory' },
  'allow-unknown-static-fields': { type: 'boolean', help: 'Ignore fields that the v3 API does not know' },
  'allow-unsupported': {
    type: 'boolean',
    help: 'Warn about valid fields that Sluice does not implement, instead of refusing them',
  },
  'substitute-env': {
    type: 'boolean',
    help: 'Replace ${NAME} and ${NAME:-default} in the configuration file by environment variables',
  },
  'io-backend': {
    type: 'string',
    value: 'io_uring|epoll',
    help: 'Kernel interface of the event loop (default: io_uring where the kernel allows it)',
  },
  'disable-hot-restart': { type: 'boolean', help: 'Accepted for compatibility: there is no hot restart' },
  version: { type: 'boolean', help: 'Print the version and end' },
  help: { short: 'h', type: 'boolean', help: 'Print this and end' },
};

/** Runs `sluice proxy ARGS`; the exit status. */
export async function proxyCommand(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args, PROXY_FLAGS, true);
  if (positionals.length > 0) {
    throw new UsageError(`unexpected argument '${positionals[0]}'; a configuration is given with -c (see sluice proxy --help)`);
  }
  if (values.help) {
    process.stdout.write(`sluice proxy: run an Envoy v3 configuration\n\n${formatFlags(PROXY_FLAGS)}\n`);
    return 0;
  }
  if (values.version) {
    process.stdout.write(`${VERSION_TEXT}\n`);
    return 0;
  }
  const options = serverOptions(values as Record<string, never>);
  if (values.mode === 'validate') return (await import('../proxy/server/validate.ts')).validateConfiguration(options);
  return (await import('../proxy/server/server.ts')).runServer(options);
}

function serverOptions(values: Record<string, string | number | boolean | undefined>): ServerOptions {
  const text = (name: string): string | undefined => values[name] as string | undefined;
  oneOf('mode', text('mode')!, ['serve', 'validate', 'init_only']);
  oneOf('drain-strategy', text('drain-strategy')!, ['gradual', 'immediate']);
  if (text('io-backend') !== undefined) oneOf('io-backend', text('io-backend')!, ['io_uring', 'epoll']);
  if (text('config-path') === undefined && text('config-yaml') === undefined) {
    throw new UsageError('no configuration: give -c envoy.yaml or --config-yaml TEXT (see sluice proxy --help)');
  }
  return {
    configPath: text('config-path'),
    configYaml: text('config-yaml'),
    mode: text('mode') as ServerOptions['mode'],
    concurrency: Math.max(1, (values.concurrency as number | undefined) ?? availableParallelism()),
    log: logSettings(text('log-level')!, text('component-log-level'), text('log-format')!, text('log-path')),
    adminAddressPath: text('admin-address-path'),
    baseId: values['base-id'] as number,
    drainTimeMs: (values['drain-time-s'] as number) * 1000,
    drainStrategy: text('drain-strategy') as ServerOptions['drainStrategy'],
    parentShutdownTimeS: values['parent-shutdown-time-s'] as number,
    serviceCluster: text('service-cluster'),
    serviceNode: text('service-node'),
    serviceZone: text('service-zone'),
    fileFlushIntervalMs: values['file-flush-interval-msec'] as number,
    allowUnknownStaticFields: values['allow-unknown-static-fields'] === true,
    allowUnsupported: values['allow-unsupported'] === true,
    substituteEnv: values['substitute-env'] === true,
    ioBackend: text('io-backend') as ServerOptions['ioBackend'],
  };
}

function logSettings(level: string, components: string | undefined, format: string, path: string | undefined): LogSettings {
  if (path !== undefined) checkWritable('--log-path', path);
  const settings: LogSettings = { level: levelOf('--log-level', level), components: {}, format, path };
  for (const entry of components?.split(',') ?? []) {
    const [name, componentLevel, rest] = entry.split(':');
    if (componentLevel === undefined || rest !== undefined)
      throw new UsageError(`--component-log-level: '${entry}' is not of the form name:level`);
    if (!(LOG_COMPONENTS as readonly string[]).includes(name)) {
      const near = nearest(name, LOG_COMPONENTS);
      throw new UsageError(
        `--component-log-level: there is no component '${name}'${near === undefined ? '' : `; did you mean '${near}'?`}`,
      );
    }
    settings.components[name] = levelOf('--component-log-level', componentLevel);
  }
  return settings;
}

function checkWritable(flag: string, path: string): void {
  try {
    closeSync(openSync(path, 'a'));
  } catch (error) {
    throw new UsageError(`${flag}: cannot write '${path}': ${error instanceof Error ? error.message : String(error)}`);
  }
}

function levelOf(flag: string, text: string): LogLevel {
  const level = parseLogLevel(text);
  if (level === undefined) throw new UsageError(`${flag}: '${text}' is not a level; levels are ${LOG_LEVELS.join(', ')}`);
  return level;
}

function oneOf(flag: string, value: string, allowed: readonly string[]): void {
  if (!allowed.includes(value)) throw new UsageError(`--${flag}: '${value}' is not one of ${allowed.join(', ')}`);
}
