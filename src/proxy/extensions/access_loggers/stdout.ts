/** `envoy.access_loggers.stdout`: lines on this process's standard output. */
import type { AccessLogConfigFactory } from '../../access_log/factory.ts';
import type { SubstitutionFormatStringConfig } from '../../access_log/formatter.ts';
import { createFileAccessLog, logFormatter } from './file.ts';

export const stdoutAccessLogFactory: AccessLogConfigFactory = {
  typeName: 'envoy.extensions.access_loggers.stream.v3.StdoutAccessLog',
  name: 'envoy.access_loggers.stdout',
  create(config, filter, context) {
    const formatter = logFormatter(config.logFormat as SubstitutionFormatStringConfig | undefined);
    return createFileAccessLog('/dev/stdout', formatter, filter, context.accessLogManager);
  },
};
