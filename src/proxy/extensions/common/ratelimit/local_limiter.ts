/**
 * The token buckets of one local rate limit: a default one, and one for each configured descriptor (Envoy: LocalRateLimiterImpl). A
 * request takes a token of every descriptor that it matches, strictest first, and then one of the default bucket.
 *
 * Left out, refused: descriptors with an entry without value (one bucket per value seen), `local_cluster_rate_limit`.
 */
import { TokenBucket, type TokenBucketConfig } from '../../../common/token_bucket.ts';
import { ConfigError } from '../../../config/error.ts';
import type { DescriptorEntry, RateLimitDescriptor } from '../../../http/route/rate_limit_policy.ts';

export interface LocalDescriptorConfig {
  entries?: readonly { key?: string; value?: string }[];
  tokenBucket?: TokenBucketConfig;
}

const MIN_FILL_INTERVAL_MS = 50;

export class LocalRateLimiter {
  private readonly fallback: TokenBucket | null;
  private readonly descriptors: readonly { readonly entries: readonly DescriptorEntry[]; readonly bucket: TokenBucket }[];
  private readonly alwaysDefault: boolean;
  /** Of the request at hand: the bucket that refused, or the strictest that did not; null: no bucket had a say. */
  used: TokenBucket | null = null;

  /** `cells`: one for the default bucket and one for each descriptor; null: this thread's own. Throws ConfigError. */
  constructor(
    bucket: TokenBucketConfig | undefined,
    descriptors: readonly LocalDescriptorConfig[],
    alwaysDefault: boolean,
    cells: BigInt64Array | null,
  ) {
    this.fallback = bucket === undefined ? null : compileBucket(bucket, cells, 0, 'token_bucket');
    const seen = new Set<string>();
    this.descriptors = descriptors
      .map((descriptor, i) => {
        const entries = (descriptor.entries ?? []).map(({ key = '', value = '' }) => ({ key, value }));
        const text = JSON.stringify(entries.map(({ key, value }) => [key, value]));
        const path = `descriptors[${i}]`;
        if (seen.has(text)) throw new ConfigError(`duplicate descriptor in the local rate descriptor: ${text}`, { path });
        seen.add(text);
        return { entries, bucket: compileBucket(descriptor.tokenBucket ?? {}, cells, i + 1, `${path}.token_bucket`) };
      })
      .sort((a, b) => a.bucket.tokensPerSecond - b.bucket.tokensPerSecond);
    this.alwaysDefault = alwaysDefault;
  }

  get hasDescriptors(): boolean {
    return this.descriptors.length > 0;
  }

  /** Takes the request's tokens. False: it is over a limit. */
  allows(request: readonly RateLimitDescriptor[], nowMs: number): boolean {
    this.used = null;
    if (request.length > 0) {
      for (const { entries, bucket } of this.descriptors) {
        if (!request.some((descriptor) => equals(descriptor.entries, entries))) continue;
        if (!bucket.consume(nowMs)) {
          this.used = bucket;
          return false;
        }
        this.used ??= bucket;
      }
    }
    if (this.fallback === null || (this.used !== null && !this.alwaysDefault)) return true;
    if (!this.fallback.consume(nowMs)) {
      this.used = this.fallback;
      return false;
    }
    this.used ??= this.fallback;
    return true;
  }
}

function compileBucket(config: TokenBucketConfig, cells: BigInt64Array | null, cell: number, path: string): TokenBucket {
  if ((config.fillInterval ?? 0) < MIN_FILL_INTERVAL_MS) {
    throw new ConfigError('local rate limit token bucket fill timer must be >= 50ms', { path: `${path}.fill_interval` });
  }
  return new TokenBucket(config, cells, cell);
}

function equals(a: readonly DescriptorEntry[], b: readonly DescriptorEntry[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i].key !== b[i].key || a[i].value !== b[i].value) return false;
  return true;
}
