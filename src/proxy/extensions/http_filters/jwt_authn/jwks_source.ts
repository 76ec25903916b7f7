/**
 * Where a provider's keys come from: the configuration, or a server that is asked when keys are needed and when they are old (Envoy:
 * JwksCache, JwksFetcher, JwksAsyncFetcher). Requests that come while keys are fetched wait for the same answer. Each worker has its own.
 *
 * With `async_fetch` keys are fetched ahead of time; a request that is there before the first keys waits for them.
 */
import type { Timer } from '../../../../core/event/dispatcher.ts';
import type { Counter } from '../../../../core/stats/stats.ts';
import { byteText } from '../../../common/byte_text.ts';
import { type DataSourceConfig, readDataSource } from '../../../common/data_source.ts';
import { ConfigError } from '../../../config/error.ts';
import { AsyncClient } from '../../../http/async_client.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import { Jwks } from './jwks.ts';
import { JWT_STATUS, type JwtStatus } from './status.ts';

export interface RemoteJwksConfig {
  httpUri?: { uri?: string; cluster?: string; timeout?: number };
  /** ms */
  cacheDuration?: number;
  asyncFetch?: { fastListener?: boolean; failedRefetchDuration?: number };
}

export type JwksCallback = (jwks: Jwks | JwtStatus) => void;

export interface JwksSource {
  /** Keys, what is wrong with them, or, when `callback` will be called with either, what prevents that. */
  get(callback: JwksCallback): Jwks | JwtStatus | (() => void);
}

export class LocalJwks implements JwksSource {
  private readonly jwks: Jwks;

  /** Throws ConfigError. */
  constructor(config: DataSourceConfig, path: string) {
    const text = Buffer.from(readDataSource(config, path) ?? []).toString('utf8');
    const jwks = Jwks.parse(text);
    if (typeof jwks === 'string') throw new ConfigError(JWT_STATUS[jwks], { path });
    this.jwks = jwks;
  }

  get(): Jwks {
    return this.jwks;
  }
}

const DEFAULT_CACHE_MS = 600_000;
const DEFAULT_REFETCH_MS = 1000;
/** Before keys get old. */
const AHEAD_MS = 5000;
const MAX_JWKS = 1 << 20;

export class RemoteJwks implements JwksSource {
  private readonly context: FactoryContext;
  private readonly succeeded: Counter;
  private readonly failed: Counter;
  private readonly cluster: string;
  private readonly host: string;
  private readonly path: string;
  private readonly timeoutMs: number;
  private readonly cacheMs: number;
  private readonly refetchMs: number;
  private readonly timer: Timer | null;
  private jwks: Jwks | null = null;
  private freshUntilMs = 0;
  private fetching = false;
  private closed = false;
  private readonly waiting = new Set<JwksCallback>();

  /** Throws ConfigError. */
  constructor(config: RemoteJwksConfig, path: string, succeeded: Counter, failed: Counter, context: FactoryContext) {
    const uri = config.httpUri?.uri ?? '';
    const match = /^(?:https?:\/\/)?([^/?#]+)([/?][^#]*)?/.exec(byteText(uri));
    if (match === null) throw new ConfigError(`malformed URI: ${uri}`, { path: `${path}.http_uri.uri` });
    this.context = context;
    this.succeeded = succeeded;
    this.failed = failed;
    this.cluster = config.httpUri?.cluster ?? '';
    this.host = match[1];
    this.path = match[2] === undefined ? '/' : match[2].startsWith('?') ? `/${match[2]}` : match[2];
    this.timeoutMs = config.httpUri?.timeout ?? 0;
    this.cacheMs = config.cacheDuration ?? DEFAULT_CACHE_MS;
    this.refetchMs = config.asyncFetch?.failedRefetchDuration ?? DEFAULT_REFETCH_MS;
    this.timer = config.asyncFetch === undefined ? null : context.dispatcher.createTimer(() => this.fetch());
    this.timer?.enableTimer(0);
    context.onDestroy(() => {
      this.timer?.disableTimer();
      this.closed = true;
    });
  }

  get(callback: JwksCallback): Jwks | JwtStatus | (() => void) {
    // Keys that are fetched ahead of time serve until there are newer ones.
    if (this.jwks !== null && (this.timer !== null || this.context.dispatcher.nowMs < this.freshUntilMs)) return this.jwks;
    // The answer may come at once.
    let answer: Jwks | JwtStatus | null = null;
    const collect: JwksCallback = (jwks) => {
      answer = jwks;
    };
    this.waiting.add(collect);
    this.fetch();
    if (answer !== null) return answer;
    this.waiting.delete(collect);
    this.waiting.add(callback);
    return () => this.waiting.delete(callback);
  }

  private fetch(): void {
    if (this.fetching || this.closed) return;
    this.fetching = true;
    const headers = HeaderMap.of(this.context.dispatcher.slab, [
      [':method', 'GET'],
      [':path', this.path],
      [':authority', this.host],
    ]);
    AsyncClient.of(this.context).send(
      this.cluster,
      headers,
      null,
      {
        onSuccess: ({ headers: response, body }) => {
          const ok = response.get(':status') === '200';
          this.finish(ok ? Jwks.parse(body.toText('utf8')) : 'JwksFetchFailed');
        },
        onFailure: () => this.finish('JwksFetchFailed'),
      },
      { timeoutMs: this.timeoutMs, maxResponseBytes: MAX_JWKS },
    );
  }

  private finish(jwks: Jwks | JwtStatus): void {
    this.fetching = false;
    const failed = typeof jwks === 'string';
    (failed ? this.failed : this.succeeded).inc();
    if (!failed) {
      this.jwks = jwks;
      this.freshUntilMs = this.context.dispatcher.nowMs + this.cacheMs;
    }
    if (!this.closed) this.timer?.enableTimer(failed ? this.refetchMs : Math.max(this.cacheMs - AHEAD_MS, this.cacheMs / 2));
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const callback of waiting) callback(jwks);
  }
}
