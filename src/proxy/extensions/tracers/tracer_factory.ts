/** What builds a tracer from its message; once per connection manager and worker. */
import type { FactoryContext } from '../../server/factory_context.ts';
import type { TraceDriver } from '../../tracing/span.ts';

export interface TracerFactory {
  readonly typeName: string;
  /** Throws ConfigError with a path below the message. */
  create(config: Record<string, unknown>, context: FactoryContext): TraceDriver;
}
