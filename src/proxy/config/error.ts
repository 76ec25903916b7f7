/**
 * A mistake in configuration: where it is (file:line:column when known), the field's path, what was found, what is allowed.
 * Throw it from anywhere that reads plain configuration; the loader adds file, line and column from the path.
 */
export class ConfigError extends Error {
  /** Dotted path in proto field names: `static_resources.listeners[0].filter_chains[1]`; relative to the message at hand. */
  readonly path: string;
  readonly file: string | undefined;
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** The text without its position. */
  readonly reason: string;

  constructor(reason: string, where: { path?: string; file?: string; line?: number; column?: number } = {}) {
    const position =
      where.file === undefined ? '' : `${where.file}${where.line === undefined ? '' : `:${where.line}:${where.column}`}: `;
    const path = where.path === undefined || where.path === '' ? '' : `${where.path}: `;
    super(`${position}${path}${reason}`);
    this.name = 'ConfigError';
    this.reason = reason;
    this.path = where.path ?? '';
    this.file = where.file;
    this.line = where.line;
    this.column = where.column;
  }
}
