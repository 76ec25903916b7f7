/** Reads `envoy.config.core.v3.DataSource`: what a file, the environment or the configuration itself holds. */
import { readFileSync } from 'node:fs';
import { ConfigError } from '../config/error.ts';

export interface DataSourceConfig {
  filename?: string;
  inlineBytes?: Uint8Array;
  inlineString?: string;
  environmentVariable?: string;
}

/** Null when nothing is set. Throws ConfigError. */
export function readDataSource(source: DataSourceConfig | undefined, path: string): Uint8Array | null {
  if (source === undefined) return null;
  if (source.inlineString !== undefined) return Buffer.from(source.inlineString, 'utf8');
  if (source.inlineBytes !== undefined) return source.inlineBytes;
  if (source.environmentVariable !== undefined) {
    const value = process.env[source.environmentVariable];
    if (value === undefined) {
      throw new ConfigError(`Environment variable doesn't exist: ${source.environmentVariable}`, {
        path: `${path}.environment_variable`,
      });
    }
    return Buffer.from(value, 'utf8');
  }
  if (source.filename === undefined) return null;
  try {
    return readFileSync(source.filename);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`unable to read file: ${source.filename} (${reason})`, { path: `${path}.filename` });
  }
}
