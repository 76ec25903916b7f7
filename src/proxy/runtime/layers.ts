/**
 * The layers a runtime is merged from: static values of the bootstrap, a directory tree, and what the admin interface set.
 *
 * A directory holds a file per key, subdirectories join by dots; lines that start with `#` are comments. Left out: RTDS.
 */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ConfigError } from '../config/error.ts';
import type { ConfigSource } from '../config/xds/config_source.ts';
import type { RuntimeEntry } from './snapshot.ts';
import { runtimeEntry } from './snapshot.ts';

/** `rtds_layer`. */
export interface RtdsLayerConfig {
  name?: string;
  rtdsConfig?: ConfigSource;
}

/** RuntimeLayer of the bootstrap. */
export interface RuntimeLayerConfig {
  name?: string;
  staticLayer?: Record<string, unknown>;
  diskLayer?: { symlinkRoot?: string; subdirectory?: string; appendServiceCluster?: boolean };
  adminLayer?: object;
  rtdsLayer?: RtdsLayerConfig;
}

export type LayerValues = Map<string, RuntimeEntry>;

const MAX_WALK_DEPTH = 16;

/** Flattens a Struct: nested keys join by dots; `{numerator, denominator}` is one value. Throws ConfigError. */
export function staticLayerValues(struct: Record<string, unknown>, path: string): LayerValues {
  const values: LayerValues = new Map();
  for (const [key, value] of Object.entries(struct)) walk(value, key, values, path);
  return values;
}

/** The tree as it is now. A directory that is not there is an empty layer. Throws ConfigError when it nests too deeply. */
export function diskLayerValues(directory: string, path: string): LayerValues {
  const values: LayerValues = new Map();
  if (isDirectory(directory)) walkDirectory(directory, '', 1, values, path);
  return values;
}

/** A value that came as text: `42`, `true`, `{numerator: 5, denominator: MILLION}`; anything else is a string. */
export function entryFromText(text: string): RuntimeEntry {
  const value = parsedYaml(text);
  if (typeof value === 'number' || typeof value === 'boolean') return runtimeEntry(value, text);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return runtimeEntry(value as Record<string, unknown>, text);
  }
  return runtimeEntry(text);
}

function parsedYaml(text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 0 });
  } catch {
    return text;
  }
}

function walk(value: unknown, key: string, values: LayerValues, path: string): void {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    values.set(key, runtimeEntry(value));
    return;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError(`Invalid runtime entry value for ${key}`, { path });
  }
  const struct = value as Record<string, unknown>;
  const keys = Object.keys(struct);
  if (keys.length === 0 || 'numerator' in struct || 'denominator' in struct) {
    values.set(key, runtimeEntry(struct));
    return;
  }
  for (const inner of keys) walk(struct[inner], `${key}.${inner}`, values, path);
}

function walkDirectory(directory: string, prefix: string, depth: number, values: LayerValues, path: string): void {
  if (depth > MAX_WALK_DEPTH) throw new ConfigError(`Walk recursion depth exceeded ${MAX_WALK_DEPTH}`, { path });
  for (const name of readdirSync(directory)) {
    const full = join(directory, name);
    const key = prefix === '' ? name : `${prefix}.${name}`;
    const stat = statSync(full, { throwIfNoEntry: false });
    if (stat?.isDirectory() === true) walkDirectory(full, key, depth + 1, values, path);
    else if (stat?.isFile() === true) values.set(key, entryFromText(withoutComments(readFileSync(full, 'utf8'))));
  }
}

function withoutComments(text: string): string {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .join('\n')
    .trimEnd();
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
