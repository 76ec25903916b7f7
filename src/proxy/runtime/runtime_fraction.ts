/** `envoy.config.core.v3.RuntimeFractionalPercent` and RuntimeFeatureFlag: whether something is on, for one request. */
import type { FractionalPercent, Runtime } from './runtime.ts';

export interface RuntimeFractionConfig {
  defaultValue?: Partial<FractionalPercent>;
  runtimeKey?: string;
}

export class RuntimeFraction {
  private readonly fraction: FractionalPercent;
  private readonly key: string;
  private readonly runtime: Runtime;
  private readonly random: () => number;

  /** `absent`: the percentage when nothing is configured. */
  constructor(config: RuntimeFractionConfig | undefined, absent: number, runtime: Runtime, random: () => number) {
    const given = config?.defaultValue;
    this.fraction =
      config === undefined
        ? { numerator: absent, denominator: 'HUNDRED' }
        : { numerator: given?.numerator ?? 0, denominator: given?.denominator ?? 'HUNDRED' };
    this.key = config?.runtimeKey ?? '';
    this.runtime = runtime;
    this.random = random;
  }

  isOn(): boolean {
    return this.runtime.snapshot.featureEnabled(this.key, this.fraction, this.random());
  }
}

export interface RuntimeFlagConfig {
  defaultValue?: boolean;
  runtimeKey?: string;
}

/** A feature flag; without one: on. */
export function runtimeFlag(config: RuntimeFlagConfig | undefined, runtime: Runtime, absent = true): () => boolean {
  if (config === undefined) return () => absent;
  const key = config.runtimeKey ?? '';
  const fallback = config.defaultValue ?? absent;
  return () => runtime.snapshot.getBoolean(key, fallback);
}
