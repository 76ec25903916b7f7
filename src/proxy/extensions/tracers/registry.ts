/** Tracers by the full name of their message. */
import { factory as openTelemetry } from './opentelemetry/config.ts';
import type { TracerFactory } from './tracer_factory.ts';
import { factory as zipkin } from './zipkin/config.ts';

export const TRACERS: ReadonlyMap<string, TracerFactory> = new Map(
  [openTelemetry, zipkin].map((factory) => [factory.typeName, factory]),
);
