/** Active health checks as the server runs them: on main's dispatcher, with main's log files. */
import type { AccessLogManager } from '../access_log/access_log.ts';
import { byteText } from '../common/byte_text.ts';
import type { Thresholds } from '../upstream/cluster_config.ts';
import { ClusterInfoImpl } from '../upstream/cluster_info.ts';
import type { StartHealthChecks } from '../upstream/discovery/discovered_cluster.ts';
import { healthCheckEventLine } from '../upstream/health_check/health_check_events.ts';
import { HealthChecker } from '../upstream/health_check/health_checker.ts';
import type { MainUpstream } from './main_upstream.ts';

/** `upstream`: asked when the first cluster has checks. The result throws ConfigError when a log file cannot be opened. */
export function startHealthChecks(upstream: () => MainUpstream, logs: () => AccessLogManager): StartHealthChecks {
  return (cluster, settings, onChecked) => {
    const { context } = upstream();
    const files = settings.eventLogPaths.map((path) => logs().createAccessLog(path));
    return new HealthChecker(
      {
        settings,
        // Its own: a cluster that is warming is nobody's yet. Its circuit breakers are not used, and not counted.
        cluster: new ClusterInfoImpl({ ...cluster, thresholds: untracked(cluster.thresholds) }, context, null),
        context,
        log: (event) => {
          const line = byteText(healthCheckEventLine(event));
          for (const file of files) {
            file.line.text(line);
            file.endLine();
          }
        },
      },
      onChecked,
    );
  };
}

function untracked([normal, high]: readonly [Thresholds, Thresholds]): readonly [Thresholds, Thresholds] {
  return [
    { ...normal, trackRemaining: false },
    { ...high, trackRemaining: false },
  ];
}
