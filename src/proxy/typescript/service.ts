/**
 * The class that services in TypeScript extend: code that runs beside the proxy's streams, once in the process (on the main thread, where
 * all of Node is at hand) or once per worker (where clusters are).
 */
import type { Host } from './host_api.ts';
import type { ConfigSchema } from './schema.ts';

export interface ServiceInit<Config> {
  readonly config: Config;
  readonly host: Host<Config>;
}

export abstract class Service<Config = unknown> {
  readonly config: Config;
  readonly host: Host<Config>;

  constructor(init: ServiceInit<Config>) {
    this.config = init.config;
    this.host = init.host;
  }

  /** The proxy serves, or this version of the module takes over. */
  abstract start(): void | Promise<void>;

  /** The proxy ends, or another version takes over. Timers of the host have been stopped. */
  stop(): void | Promise<void> {}
}

export interface ServiceClass<Config = unknown> {
  new (init: ServiceInit<Config>): Service<Config>;
  readonly schema?: ConfigSchema<Config>;
}
