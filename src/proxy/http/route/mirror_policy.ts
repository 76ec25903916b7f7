/**
 * request_mirror_policies of a route, virtual host or table: which requests are also sent to another cluster, whose answers nobody sees
 * (Envoy: ShadowPolicyImpl). The most specific list that is not empty counts. Left out: trace_sampled, request_headers_mutations.
 */
import { asciiLower, byteText } from '../../common/byte_text.ts';
import { ConfigError } from '../../config/error.ts';
import type { FractionalPercent, Runtime } from '../../runtime/runtime.ts';
import type { HeaderMap } from '../header_map.ts';
import type { RequestMirrorPolicyConfig } from './config_types.ts';
import { refuse } from './unsupported.ts';

export interface MirrorPolicy {
  /** '' when `cluster_header` names it. */
  readonly clusterName: string;
  readonly hostRewriteLiteral: string;
  /** `-shadow` is appended to the host. */
  readonly appendSuffix: boolean;
  /** The cluster for this request; '' when it is not mirrored. */
  clusterOf(headers: HeaderMap, stableRandom: number): string;
}

/** Throws ConfigError. */
export function compileMirrorPolicies(
  configs: readonly RequestMirrorPolicyConfig[] | undefined,
  runtime: Runtime,
  path: string,
): readonly MirrorPolicy[] {
  return (configs ?? []).map((config, i) => compileMirrorPolicy(config, runtime, `${path}[${i}]`));
}

function compileMirrorPolicy(config: RequestMirrorPolicyConfig, runtime: Runtime, path: string): MirrorPolicy {
  refuse(config, ['traceSampled', 'requestHeadersMutations'], path);
  const clusterName = config.cluster ?? '';
  const header = asciiLower(config.clusterHeader ?? '');
  if ((clusterName === '') === (header === '')) {
    throw new ConfigError('exactly one of cluster and cluster_header is required', { path });
  }
  const fraction = config.runtimeFraction;
  const key = fraction?.runtimeKey ?? '';
  const percent: FractionalPercent = {
    numerator: fraction?.defaultValue?.numerator ?? 0,
    denominator: fraction?.defaultValue?.denominator ?? 'HUNDRED',
  };
  return {
    clusterName,
    hostRewriteLiteral: byteText(config.hostRewriteLiteral ?? ''),
    appendSuffix: config.disableShadowHostSuffixAppend !== true,
    clusterOf: (headers, stableRandom) => {
      if (fraction !== undefined && !runtime.snapshot.featureEnabled(key, percent, stableRandom)) return '';
      return header === '' ? clusterName : (headers.getAll(header)[0] ?? '');
    },
  };
}
