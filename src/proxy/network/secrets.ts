/**
 * Secrets that transport sockets name instead of containing (Envoy: SecretManager, SDS): on each worker, what the main thread read from
 * `static_resources.secrets` and from files. A name that has a new secret tells those who use it.
 */
import { ConfigError } from '../config/error.ts';

/** `SdsSecretConfig`: without `sdsConfig` a static secret. */
export interface SecretConfig {
  name: string;
  sdsConfig?: { pathConfigSource?: { path: string; watchedDirectory?: { path: string } } };
}

/** A secret, and where it came from: '' for the bootstrap. */
export interface NamedSecret {
  readonly path: string;
  readonly name: string;
  readonly secret: Secret;
}

/** A `Secret` message: one of these. */
export interface Secret {
  readonly tlsCertificate?: object;
  readonly validationContext?: object;
  readonly sessionTicketKeys?: object;
}

/** What a secret can be, by the name of its field. */
const KINDS = {
  tls_certificate: (secret: Secret) => secret.tlsCertificate,
  validation_context: (secret: Secret) => secret.validationContext,
  session_ticket_keys: (secret: Secret) => secret.sessionTicketKeys,
} as const;
export type SecretKind = keyof typeof KINDS;

export class SecretStore {
  private readonly secrets = new Map<string, NamedSecret['secret']>();
  private readonly listeners = new Map<string, Set<() => void>>();

  constructor(secrets: readonly NamedSecret[] = []) {
    for (const { path, name, secret } of secrets) this.secrets.set(keyOf(path, name), secret);
  }

  /** Throws ConfigError when there is none, or one of another kind. `at`: where `config` stands. */
  get(config: SecretConfig, kind: SecretKind, at: string): object {
    const source = config.sdsConfig;
    if (source !== undefined && source.pathConfigSource === undefined) {
      const reason = 'secrets from a control plane are not supported by Sluice yet: only path_config_source is';
      throw new ConfigError(reason, { path: at });
    }
    const path = pathOf(config);
    const secret = this.secrets.get(keyOf(path, config.name));
    if (secret === undefined) {
      const where = path === '' ? 'static_resources.secrets' : path;
      throw new ConfigError(`Unknown secret '${config.name}': ${where} has none of this name`, { path: at });
    }
    const value = KINDS[kind](secret);
    if (value === undefined) throw new ConfigError(`the secret '${config.name}' is no ${kind}`, { path: at });
    return value;
  }

  /** New values of some secrets. Those that are not among them stay. */
  update(secrets: readonly NamedSecret[]): void {
    const told = new Set<() => void>();
    for (const { path, name, secret } of secrets) {
      const key = keyOf(path, name);
      this.secrets.set(key, secret);
      for (const listener of this.listeners.get(key) ?? []) told.add(listener);
    }
    for (const listener of told) listener();
  }

  /** Calls `listener` after each update that has one of them, until the returned function is called. */
  subscribe(configs: readonly SecretConfig[], listener: () => void): () => void {
    const keys = configs.map((config) => keyOf(pathOf(config), config.name));
    for (const key of keys) {
      const set = this.listeners.get(key) ?? new Set();
      this.listeners.set(key, set.add(listener));
    }
    return () => {
      for (const key of keys) this.listeners.get(key)?.delete(listener);
    };
  }
}

function pathOf(config: SecretConfig): string {
  return config.sdsConfig?.pathConfigSource?.path ?? '';
}

function keyOf(path: string, name: string): string {
  return `${path}\n${name}`;
}
