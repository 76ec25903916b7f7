/** A host of a cluster as the main thread knows it: what discovery says of it, and its health, which outlives discovery's updates. */
import { EDS_HEALTH_FLAGS, edsHealthFlags, HealthFlag } from '../health_flags.ts';
import type { HostStatsRow } from '../host_stats.ts';
import type { HostDescription } from '../host_update.ts';
import type { OutlierHost } from '../outlier/outlier_detector.ts';

export class ClusterMember implements OutlierHost {
  /** `hostKey`, or `logical`. */
  readonly key: string;
  readonly stats: HostStatsRow;
  readonly outlierMemory: SharedArrayBuffer | null;
  healthFlags: number;
  private found: HostDescription;

  /** `flags`: beside those that discovery gives. */
  constructor(
    key: string,
    found: HostDescription,
    stats: HostStatsRow,
    outlierMemory: SharedArrayBuffer | null,
    healthFlags: number,
  ) {
    this.key = key;
    this.found = found;
    this.stats = stats;
    this.outlierMemory = outlierMemory;
    this.healthFlags = healthFlags | edsHealthFlags(found.healthStatus);
  }

  get addressText(): string {
    return this.found.address.asString;
  }

  /** As workers get it. */
  get description(): HostDescription {
    return {
      ...this.found,
      stats: this.stats,
      healthFlags: this.healthFlags,
      ...(this.outlierMemory !== null && { outlier: this.outlierMemory }),
    };
  }

  /** Discovery found it again. */
  update(found: HostDescription): void {
    this.found = found;
    const kept = this.healthFlags & ~(EDS_HEALTH_FLAGS | HealthFlag.PendingDynamicRemoval);
    this.healthFlags = kept | edsHealthFlags(found.healthStatus);
  }

  has(flag: number): boolean {
    return (this.healthFlags & flag) !== 0;
  }

  setFlag(flag: number, on: boolean): void {
    this.healthFlags = on ? this.healthFlags | flag : this.healthFlags & ~flag;
  }
}
