/** `tracing` of the connection manager, and the old `tracing` of the bootstrap that says where spans go when the manager does not. */

import type { Scope } from '../../../../core/stats/stats.ts';
import { ConfigError } from '../../../config/error.ts';
import type { HttpConnectionManager } from '../../../config/types.gen.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { type CustomTagConfig, compileCustomTags } from '../../../tracing/custom_tags.ts';
import { HttpTracing } from '../../../tracing/http_tracing.ts';
import { TRACERS } from '../../tracers/registry.ts';

interface RequestIdConfig {
  packTraceReason?: boolean;
  useRequestIdForTraceSampling?: boolean;
}

/** Null: nothing is traced. Throws ConfigError with a path below the manager. */
export function compileTracing(config: HttpConnectionManager, context: FactoryContext, scope: Scope): HttpTracing | null {
  const { tracing } = config;
  if (tracing === undefined) return null;
  // `provider` absent: as in Envoy, a manager that traces without a tracer.
  const typed = tracing.provider?.typedConfig as { '@type': string } | undefined;
  if (typed === undefined) return null;
  const factory = TRACERS.get(typed['@type']);
  const path = 'tracing.provider.typed_config';
  if (factory === undefined) throw new ConfigError(`there is no tracer '${typed['@type']}'`, { path });
  const requestId = (config.requestIdExtension?.typedConfig ?? {}) as RequestIdConfig;
  const percent = (value: number | undefined): number => Math.trunc(value ?? 100);
  return new HttpTracing({
    driver: at(path, () => factory.create(typed, context)),
    sampling: {
      client: { numerator: percent(tracing.clientSampling?.value), denominator: 'HUNDRED' },
      random: { numerator: Math.round((tracing.randomSampling?.value ?? 100) * 100), denominator: 'TEN_THOUSAND' },
      overall: { numerator: percent(tracing.overallSampling?.value), denominator: 'HUNDRED' },
    },
    operation: context.trafficDirection === 'OUTBOUND' ? 'egress' : 'ingress',
    verbose: tracing.verbose ?? false,
    maxPathTagLength: tracing.maxPathTagLength ?? 256,
    customTags: compileCustomTags(tracing.customTags as readonly CustomTagConfig[] | undefined),
    spawnUpstreamSpan: tracing.spawnUpstreamSpan ?? false,
    packTraceReason: requestId.packTraceReason ?? true,
    useRequestIdForSampling: requestId.useRequestIdForTraceSampling ?? true,
    runtime: context.runtime,
    nodeId: context.localInfo.nodeId,
    zone: context.localInfo.zone,
    scope,
  });
}

function at<T>(path: string, build: () => T): T {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.reason, { path: error.path === '' ? path : `${path}.${error.path}` });
  }
}
