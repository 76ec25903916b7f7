/** `envoy.access_loggers.stderr`: lines on this process's standard error. */
import type { AccessLogConfigFactory } from '../../access_log/factory.ts';
import type { SubstitutionFormatStringConfig } from '../../access_log/formatter.ts';
import { createFileAccessLog, logFormatter } from './file.ts';

export const stderrAccessLogFactory: AccessLogConfigFactory = {
  typeName: 'envoy.extensions.access_loggers.stream.v3.StderrAccessLog',
  name: 'envoy.access_loggers.stderr',
  create(config, filter, context) {
    const formatter = logFormatter(config.logFormat as SubstitutionFormatStringConfig | undefined);
    return createFileAccessLog('/dev/stderr', formatter, filter, context.accessLogManager);
  },
};
