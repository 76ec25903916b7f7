/**
 * Secrets as configuration has them: those of `static_resources.secrets`, and those of the files that some `path_config_source` names (Envoy:
 * the filesystem subscription of SDS). A file is a DiscoveryResponse with Secret resources (.yaml, .json, .pb), checked as the bootstrap is.
 */
import type { NamedSecret, Secret, SecretConfig } from '../network/secrets.ts';
import { ConfigError } from './error.ts';
import { loadFile } from './load.ts';
import type { Bootstrap } from './types.gen.ts';

const SECRET = 'envoy.extensions.transport_sockets.tls.v3.Secret';
const RESPONSE = 'envoy.service.discovery.v3.DiscoveryResponse';

export interface SecretFile {
  readonly path: string;
  readonly watchedDirectories: string[];
  secrets: NamedSecret[];
}

export interface ConfiguredSecrets {
  /** Of the bootstrap. */
  readonly fixed: NamedSecret[];
  readonly files: SecretFile[];
}

/** All that `bootstrap` has and names. Throws ConfigError(s). */
export function readSecrets(bootstrap: Bootstrap): ConfiguredSecrets {
  const fixed = named('', (bootstrap.staticResources?.secrets ?? []) as unknown as SecretMessage[]);
  const files = filesIn(bootstrap.staticResources);
  for (const file of files) file.secrets = readSecretFile(file.path);
  return { fixed, files };
}

/** Throws ConfigError(s). */
export function readSecretFile(path: string): NamedSecret[] {
  const response = loadFile(RESPONSE, path) as { resources?: SecretMessage[]; typeUrl?: string };
  const type = response.typeUrl ?? '';
  if (type !== '' && !type.endsWith(`/${SECRET}`)) throw new ConfigError(`${path}: type_url is ${type}, not that of ${SECRET}`);
  return named(path, response.resources ?? []);
}

type SecretMessage = Secret & { name: string };

function named(path: string, secrets: readonly SecretMessage[]): NamedSecret[] {
  const names = new Set<string>();
  return secrets.map((secret) => {
    if (names.has(secret.name)) {
      const where = path === '' ? 'static_resources.secrets' : path;
      throw new ConfigError(`${where}: duplicate secret '${secret.name}'`, path === '' ? { path: where } : {});
    }
    names.add(secret.name);
    return { path, name: secret.name, secret };
  });
}

/** Every file that some `sds_config` names, once. */
function filesIn(resources: unknown): SecretFile[] {
  const files = new Map<string, SecretFile>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return;
    for (const [key, child] of Object.entries(value)) {
      if (key === 'sdsConfig') note(child as SecretConfig['sdsConfig']);
      else visit(child);
    }
  };
  const note = (source: SecretConfig['sdsConfig']): void => {
    const from = source?.pathConfigSource;
    if (from === undefined) return;
    const file = files.get(from.path) ?? { path: from.path, watchedDirectories: [], secrets: [] };
    if (from.watchedDirectory !== undefined) file.watchedDirectories.push(from.watchedDirectory.path);
    files.set(from.path, file);
  };
  visit(resources);
  return [...files.values()];
}
