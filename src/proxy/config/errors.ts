/** Several mistakes at once, so that a user sees all of them in one run. */
import { ConfigError } from './error.ts';

/** Looks like its first error to whoever knows only ConfigError; the message lists all. */
export class ConfigErrors extends ConfigError {
  readonly errors: readonly ConfigError[];

  constructor(errors: readonly ConfigError[]) {
    const first = errors[0];
    super(first.reason, first);
    this.name = 'ConfigErrors';
    this.message = errors.map((error) => error.message).join('\n');
    this.errors = errors;
  }
}

/** Where mistakes and warnings go while a configuration is read. Reading goes on after most of them. */
export class Diagnostics {
  readonly errors: ConfigError[] = [];
  readonly warnings: string[] = [];
  /** Fields that the API does not know and that were let through (Envoy's `server.static_unknown_fields`). */
  unknownFields = 0;
  /** Uses of deprecated fields and values (Envoy's `runtime.deprecated_feature_use`). */
  deprecatedFeatureUses = 0;

  error(reason: string, where: { path?: string; file?: string; line?: number; column?: number } = {}): void {
    if (this.errors.length < MAX_ERRORS) this.errors.push(new ConfigError(reason, where));
  }

  /** The same text form as an error's. */
  warn(reason: string, where: { path?: string; file?: string; line?: number; column?: number } = {}): void {
    this.warnings.push(new ConfigError(reason, where).message);
  }

  throwIfAny(): void {
    if (this.errors.length > 0) throw new ConfigErrors(this.errors);
  }
}

/** More than this helps nobody. */
const MAX_ERRORS = 100;
