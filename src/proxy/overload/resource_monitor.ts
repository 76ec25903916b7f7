/** What measures one resource for the overload manager (Envoy: Server::ResourceMonitor). Implementations: `extensions/resource_monitors`. */
import type { OverloadMemory } from './overload_memory.ts';

export interface ResourceMonitor {
  /** How much of the resource is used: 0 to 1, or more. Throws when it cannot be told. */
  pressure(): number;
  close?(): void;
}

export interface ResourceMonitorFactory {
  /** The message's full name. */
  readonly typeName: string;
  /** Throws ConfigError with a path below the message. */
  create(config: Record<string, unknown>, memory: OverloadMemory): ResourceMonitor;
}
