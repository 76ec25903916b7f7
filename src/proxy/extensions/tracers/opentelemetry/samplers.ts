/** Samplers of OpenTelemetry: always on, by a part of the trace ids, and by what the parent decided. They take the place of the manager's sampling. */
import { ConfigError } from '../../../config/error.ts';
import type { Span } from '../../../tracing/span.ts';

/** `parent`: what the caller decided; null: there is none. */
export type Sampler = (span: Span, parent: boolean | null) => boolean;

export interface SamplerConfig {
  '@type': string;
  samplingPercentage?: { numerator?: number; denominator?: 'HUNDRED' | 'TEN_THOUSAND' | 'MILLION' };
  wrappedSampler?: { typedConfig?: SamplerConfig };
}

const SAMPLERS = 'envoy.extensions.tracers.opentelemetry.samplers.v3.';
const DENOMINATORS = { HUNDRED: 100, TEN_THOUSAND: 10_000, MILLION: 1_000_000 };
/** Hexadecimal digits of a trace id that decide: as many as a number holds exactly. */
const DIGITS = 13;

export function compileSampler(config: SamplerConfig, path: string): Sampler {
  switch (config['@type']) {
    case `${SAMPLERS}AlwaysOnSamplerConfig`:
      return () => true;
    case `${SAMPLERS}TraceIdRatioBasedSamplerConfig`: {
      const { numerator = 0, denominator = 'HUNDRED' } = config.samplingPercentage ?? {};
      const bound = (numerator / DENOMINATORS[denominator]) * 16 ** DIGITS;
      return (span) => Number.parseInt(span.traceId.slice(-DIGITS), 16) < bound;
    }
    case `${SAMPLERS}ParentBasedSamplerConfig`: {
      const inner = config.wrappedSampler?.typedConfig;
      if (inner === undefined) throw new ConfigError('wrapped_sampler must be set', { path });
      const root = compileSampler(inner, `${path}.wrapped_sampler`);
      return (span, parent) => parent ?? root(span, null);
    }
    default:
      throw new ConfigError(`'${config['@type']}' is not supported by Sluice yet`, { path });
  }
}
