/**
 * When connections should end (Envoy: DrainManagerImpl): never while serving; while draining with a probability that grows from 0
 * to 1 over the drain time (gradual), or always (immediate, or `/healthcheck/fail`).
 */
import type { DrainDecision } from '../server/factory_context.ts';

export interface DrainSettings {
  readonly durationMs: number;
  readonly strategy: 'gradual' | 'immediate';
}

export class DrainManager implements DrainDecision {
  private readonly now: () => number;
  private readonly random: () => number;
  private startMs = -1;
  private durationMs = 0;
  private gradual = true;
  private healthFailed = false;

  /** `now`: monotonic ms; `random`: uniform in [0, 1). */
  constructor(now: () => number, random: () => number = Math.random) {
    this.now = now;
    this.random = random;
  }

  start(durationMs: number, strategy: 'gradual' | 'immediate'): void {
    if (this.startMs >= 0) return;
    this.startMs = this.now();
    this.durationMs = durationMs;
    this.gradual = strategy === 'gradual';
  }

  failHealthCheck(failed: boolean): void {
    this.healthFailed = failed;
  }

  healthCheckFailed(): boolean {
    return this.healthFailed;
  }

  get draining(): boolean {
    return this.startMs >= 0;
  }

  drainClose(modifyOnly = false): boolean {
    if (this.healthFailed && !modifyOnly) return true;
    if (this.startMs < 0) return false;
    if (!this.gradual || this.durationMs <= 0) return true;
    return this.random() < (this.now() - this.startMs) / this.durationMs;
  }
}
