/** From `envoy.config.accesslog.v3.AccessLog` to loggers. The loggers themselves are extensions. */
import { ConfigError } from '../config/error.ts';
import { fileAccessLogFactory } from '../extensions/access_loggers/file.ts';
import { httpGrpcAccessLogFactory, tcpGrpcAccessLogFactory } from '../extensions/access_loggers/grpc/config.ts';
import { stderrAccessLogFactory } from '../extensions/access_loggers/stderr.ts';
import { stdoutAccessLogFactory } from '../extensions/access_loggers/stdout.ts';
import { typescriptAccessLogFactory } from '../extensions/access_loggers/typescript.ts';
import { wasmAccessLogFactory } from '../extensions/access_loggers/wasm.ts';
import type { ScriptHost } from '../typescript/script_host.ts';
import type { AccessLog, AccessLogManager } from './access_log.ts';
import {
  type AccessLogFilter,
  type AccessLogFilterConfig,
  type AccessLogFilterContext,
  compileAccessLogFilter,
} from './filters.ts';

/** The part of FactoryContext that loggers need. */
export interface AccessLogFactoryContext extends AccessLogFilterContext {
  readonly accessLogManager: AccessLogManager;
  readonly scripts?: ScriptHost;
}

export interface AccessLogConfig {
  name?: string;
  filter?: AccessLogFilterConfig;
  typedConfig?: { '@type': string } & Record<string, unknown>;
}

/** Builds a logger of one type. */
export interface AccessLogConfigFactory {
  /** The message's full name. */
  readonly typeName: string;
  readonly name: string;
  /** Throws ConfigError. */
  create(config: Record<string, unknown>, filter: AccessLogFilter | null, context: AccessLogFactoryContext): AccessLog;
}

/** Made at first use: the modules of some of them import this one. */
const factories = (): readonly AccessLogConfigFactory[] => [
  fileAccessLogFactory,
  stdoutAccessLogFactory,
  stderrAccessLogFactory,
  typescriptAccessLogFactory,
  wasmAccessLogFactory,
  httpGrpcAccessLogFactory,
  tcpGrpcAccessLogFactory,
];

/** Throws ConfigError. `path` is that of the list. */
export function createAccessLogs(
  configs: readonly AccessLogConfig[] | undefined,
  context: AccessLogFactoryContext,
  path = 'access_log',
): AccessLog[] {
  return (configs ?? []).map((config, i) => createAccessLog(config, context, `${path}[${i}]`));
}

/** Throws ConfigError. */
export function createAccessLog(config: AccessLogConfig, context: AccessLogFactoryContext, path = ''): AccessLog {
  const child = (field: string): string => (path === '' ? field : `${path}.${field}`);
  const type = config.typedConfig?.['@type'] ?? '';
  const factory = factories().find(({ typeName }) => typeName === type);
  if (factory === undefined || config.typedConfig === undefined) {
    throw new ConfigError(
      `Didn't find a registered implementation for '${config.name ?? ''}' with type URL: '${type}' (access loggers: ${factories()
        .map(({ name }) => name)
        .join(', ')})`,
      { path: child('typed_config') },
    );
  }
  const filter = config.filter === undefined ? null : compileAccessLogFilter(config.filter, context, child('filter'));
  try {
    return factory.create(config.typedConfig, filter, context);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: child(error.path === '' ? 'typed_config' : `typed_config.${error.path}`) });
  }
}
