/** What is dynamic, as `/config_dump` shows it: each resource as it came, with its version and the last that was refused. */

import type { ParsedResource } from '../../config/xds/response.ts';
import type { NamedDump } from '../admin/context.ts';

export interface DumpEntry {
  readonly name: string;
  readonly version: string;
  readonly json: Record<string, unknown>;
  readonly updatedMs: number;
}

export interface DumpError {
  readonly name: string;
  readonly details: string;
  readonly atMs: number;
}

export class ResourceDump {
  readonly entries = new Map<string, DumpEntry>();
  readonly errors = new Map<string, DumpError>();
  version = '';

  accepted(name: string, resource: Pick<ParsedResource, 'json' | 'version'>, version: string): void {
    this.errors.delete(name);
    this.entries.set(name, { name, version: resource.version || version, json: resource.json ?? {}, updatedMs: Date.now() });
  }

  refused(name: string, details: string): void {
    this.errors.set(name, { name, details, atMs: Date.now() });
  }

  removed(name: string): void {
    this.entries.delete(name);
    this.errors.delete(name);
  }
}

/** Resources whose messages are held by `field`; what was refused is told beside what is in use. */
export function dumpOf(dump: ResourceDump | undefined, type: string, field: string): NamedDump[] {
  if (dump === undefined) return [];
  const refused = new Map(dump.errors);
  const used = [...dump.entries.values()].map((entry): NamedDump => {
    const error = refused.get(entry.name);
    refused.delete(entry.name);
    return {
      name: String(entry.json['name'] ?? entry.json['cluster_name'] ?? entry.name),
      json: { ...versioned(entry, type, field), ...(error !== undefined && { error_state: errorState(error) }) },
    };
  });
  return [...used, ...[...refused.values()].map((error) => ({ name: error.name, json: { error_state: errorState(error) } }))];
}

/** `dynamic_listeners`: by name, with what is in use and what is waited for. */
export function listenersOf(lds: {
  readonly dump: ResourceDump;
  readonly warming: ReadonlyMap<string, { readonly json: Record<string, unknown> }>;
}): NamedDump[] {
  const names = new Set([...lds.dump.entries.keys(), ...lds.warming.keys(), ...lds.dump.errors.keys()]);
  return [...names].map((name) => {
    const active = lds.dump.entries.get(name);
    const warming = lds.warming.get(name);
    const error = lds.dump.errors.get(name);
    return {
      name,
      json: {
        name,
        ...(active !== undefined && { active_state: versioned(active, LISTENER, 'listener') }),
        ...(warming !== undefined && { warming_state: { listener: { '@type': LISTENER, ...warming.json } } }),
        ...(error !== undefined && { error_state: errorState(error) }),
      },
    };
  });
}

const LISTENER = 'type.googleapis.com/envoy.config.listener.v3.Listener';

function versioned(entry: DumpEntry, type: string, field: string): Record<string, unknown> {
  return {
    version_info: entry.version,
    [field]: { '@type': type, ...entry.json },
    last_updated: new Date(entry.updatedMs).toISOString(),
  };
}

function errorState({ details, atMs }: DumpError): Record<string, unknown> {
  return { details, last_update_attempt: new Date(atMs).toISOString() };
}
