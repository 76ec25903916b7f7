/**
 * Response codes and times of a cluster (Envoy: source/common/http/codes.cc): `upstream_rq_200`, `_2xx`, `_completed` and
 * `upstream_rq_time`, each also under `internal.` or `external.` and `canary.`. A counter appears with the first response that needs it.
 */
import type { Counter, Histogram, Scope } from '../../../core/stats/stats.ts';

class CodeCounters {
  private readonly scope: Scope;
  private completed: Counter | null = null;
  private readonly classes: (Counter | undefined)[] = [undefined, undefined, undefined, undefined, undefined, undefined];
  private readonly codes: (Counter | undefined)[] = new Array(600).fill(undefined);

  constructor(scope: Scope) {
    this.scope = scope;
  }

  charge(code: number): void {
    this.completed ??= this.scope.counter('upstream_rq_completed');
    this.completed.inc();
    const digit = (code / 100) | 0;
    if (digit < 1 || digit > 5) return;
    const group = this.classes[digit] ?? (this.classes[digit] = this.scope.counter(`upstream_rq_${digit}xx`));
    group.inc();
    const counter = this.codes[code] ?? (this.codes[code] = this.scope.counter(`upstream_rq_${code}`));
    counter.inc();
  }
}

export class ClusterCodeStats {
  private readonly scope: Scope;
  private readonly all: CodeCounters;
  private readonly internal: CodeCounters;
  private readonly external: CodeCounters;
  private readonly canary: CodeCounters;
  private readonly retry: CodeCounters;
  private time: Histogram | null = null;
  private internalTime: Histogram | null = null;
  private externalTime: Histogram | null = null;
  private canaryTime: Histogram | null = null;

  /** `scope`: `cluster.<name>.` or, for x-envoy-upstream-alt-stat-name, below it. */
  constructor(scope: Scope) {
    this.scope = scope;
    this.all = new CodeCounters(scope);
    this.internal = new CodeCounters(scope.scope('internal.'));
    this.external = new CodeCounters(scope.scope('external.'));
    this.canary = new CodeCounters(scope.scope('canary.'));
    this.retry = new CodeCounters(scope.scope('retry.'));
  }

  chargeResponse(code: number, isInternal: boolean, isCanary: boolean): void {
    this.all.charge(code);
    if (isCanary) this.canary.charge(code);
    if (isInternal) this.internal.charge(code);
    else this.external.charge(code);
  }

  chargeRetry(code: number): void {
    this.retry.charge(code);
  }

  chargeTime(ms: number, isInternal: boolean, isCanary: boolean): void {
    this.time ??= this.scope.histogram('upstream_rq_time', 'milliseconds');
    this.time.recordValue(ms);
    if (isCanary) {
      this.canaryTime ??= this.scope.histogram('canary.upstream_rq_time', 'milliseconds');
      this.canaryTime.recordValue(ms);
    }
    if (isInternal) {
      this.internalTime ??= this.scope.histogram('internal.upstream_rq_time', 'milliseconds');
      this.internalTime.recordValue(ms);
    } else {
      this.externalTime ??= this.scope.histogram('external.upstream_rq_time', 'milliseconds');
      this.externalTime.recordValue(ms);
    }
  }
}
