/** Runtime keys (Envoy: layered_runtime). A snapshot is immutable; workers swap to a new one when a layer changes. */

export interface FractionalPercent {
  numerator: number;
  denominator: 'HUNDRED' | 'TEN_THOUSAND' | 'MILLION';
}

export interface RuntimeSnapshot {
  get(key: string): string | undefined;
  getInteger(key: string, defaultValue: number): number;
  getDouble(key: string, defaultValue: number): number;
  getBoolean(key: string, defaultValue: boolean): boolean;
  /** Whether `random` (32 bits) falls into the fraction under `key`, or `defaultValue`'s when the key is absent. */
  featureEnabled(key: string, defaultValue: FractionalPercent, random: number): boolean;
}

export interface Runtime {
  readonly snapshot: RuntimeSnapshot;
}
