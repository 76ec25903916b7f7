/**
 * Code from a server (`code.remote`): fetched through a cluster, checked against its sha256, kept for other plugins of this worker for a
 * day. Until it is here the plugin's failure policy says what becomes of streams.
 *
 * What cannot be fetched is asked for again, with growing pauses. With `nack_on_code_cache_miss` it is as in Envoy's cache instead: a load
 * that finds nothing fails and leaves one fetch behind, and a fetch that failed is not repeated for ten seconds. There is no control plane that
 * would send a refused configuration again: the next stream is what loads again.
 */
import type { Dispatcher } from '../../../../core/event/dispatcher.ts';
import type { Counter, Gauge } from '../../../../core/stats/stats.ts';
import { sha256Hex } from '../../../../wasm/vm/compiled_code.ts';
import { ConfigError } from '../../../config/error.ts';
import { AsyncClient } from '../../../http/async_client.ts';
import { HeaderMap } from '../../../http/header_map.ts';
import type { FactoryContext } from '../../../server/factory_context.ts';
import type { RemoteCode } from './code_source.ts';

const KEEP_MS = 24 * 3600 * 1000;
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 10_000;
/** A code that could not be fetched is not asked for again this soon. */
const NEGATIVE_MS = 10_000;
const MAX_CODE_BYTES = 128 << 20;
const PATH = 'vm_config.code.remote';

interface CacheEntry {
  /** Null: it is being fetched, or could not be. */
  readonly bytes: Uint8Array | null;
  readonly inProgress: boolean;
  readonly untilMs: number;
}

interface RemoteStats {
  readonly cacheHits: Counter;
  readonly cacheNegativeHits: Counter;
  readonly cacheMisses: Counter;
  readonly fetchSuccesses: Counter;
  readonly fetchFailures: Counter;
  readonly cacheEntries: Gauge;
}

const caches = new WeakMap<Dispatcher, Map<string, CacheEntry>>();

/** Calls `loaded` when the code is here, at once when it is known. Returns how to stop. Throws ConfigError. */
export function fetchRemoteCode(remote: RemoteCode, context: FactoryContext, loaded: (bytes: Uint8Array) => void): () => void {
  return new Fetch(remote, context, loaded).start();
}

/** With `nack_on_code_cache_miss`: the code if it is in the cache. Null: not now; it may be later, when this is asked again. Throws ConfigError. */
export function cachedRemoteCode(remote: RemoteCode, context: FactoryContext): () => Uint8Array | null {
  const fetch = new Fetch(remote, context, null);
  return () => fetch.take();
}

class Fetch {
  private readonly context: FactoryContext;
  /** Null: who wants the code looks into the cache. */
  private readonly loaded: ((bytes: Uint8Array) => void) | null;
  private readonly sha256: string;
  private readonly cluster: string;
  private readonly url: URL;
  private readonly timeoutMs: number;
  private readonly stats: RemoteStats;
  private readonly cache: Map<string, CacheEntry>;
  private pauseMs = FIRST_PAUSE_MS;
  private stopped = false;

  constructor(remote: RemoteCode, context: FactoryContext, loaded: ((bytes: Uint8Array) => void) | null) {
    this.context = context;
    this.loaded = loaded;
    this.sha256 = (remote.sha256 ?? '').toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(this.sha256))
      throw new ConfigError('a sha256 of 64 hexadecimal digits is required', { path: `${PATH}.sha256` });
    this.cluster = remote.httpUri?.cluster ?? '';
    if (context.clusterManager.get(this.cluster) === null)
      throw new ConfigError(`unknown cluster '${this.cluster}'`, { path: `${PATH}.http_uri.cluster` });
    this.url = parseUrl(remote.httpUri?.uri ?? '');
    this.timeoutMs = remote.httpUri?.timeout ?? 10_000;
    const scope = context.scope.scope('wasm.');
    this.stats = {
      cacheHits: scope.counter('remote_load_cache_hits'),
      cacheNegativeHits: scope.counter('remote_load_cache_negative_hits'),
      cacheMisses: scope.counter('remote_load_cache_misses'),
      fetchSuccesses: scope.counter('remote_load_fetch_successes'),
      fetchFailures: scope.counter('remote_load_fetch_failures'),
      cacheEntries: scope.gauge('remote_load_cache_entries'),
    };
    this.cache = caches.get(context.dispatcher) ?? new Map();
    caches.set(context.dispatcher, this.cache);
  }

  start(): () => void {
    const known = this.lookUp()?.bytes;
    if (known !== undefined && known !== null) {
      this.stats.cacheHits.inc();
      this.loaded?.(known);
      return () => {};
    }
    this.stats.cacheMisses.inc();
    this.context.dispatcher.post(() => this.fetch());
    return () => {
      this.stopped = true;
    };
  }

  take(): Uint8Array | null {
    const known = this.lookUp();
    if (known !== undefined && known.bytes !== null) {
      this.stats.cacheHits.inc();
      return known.bytes;
    }
    if (known !== undefined && !known.inProgress) {
      this.stats.cacheNegativeHits.inc();
      return null;
    }
    this.stats.cacheMisses.inc();
    if (known === undefined) {
      this.context.logger('wasm').warn(`Failed to load Wasm code (fetching) from ${this.url.href}`);
      this.remember(null, true, Number.POSITIVE_INFINITY);
      this.context.dispatcher.post(() => this.fetch());
    }
    return null;
  }

  private lookUp(): CacheEntry | undefined {
    const now = Date.now();
    for (const [key, { untilMs }] of this.cache) if (untilMs < now) this.cache.delete(key);
    return this.cache.get(this.sha256);
  }

  private remember(bytes: Uint8Array | null, inProgress: boolean, untilMs: number): void {
    this.cache.set(this.sha256, { bytes, inProgress, untilMs });
    this.stats.cacheEntries.set(this.cache.size);
  }

  private fetch(): void {
    if (this.stopped) return;
    const { slab } = this.context.dispatcher;
    const headers = HeaderMap.of(slab, [
      [':method', 'GET'],
      [':path', `${this.url.pathname}${this.url.search}`],
      [':authority', this.url.host],
      [':scheme', this.url.protocol.slice(0, -1)],
    ]);
    AsyncClient.of(this.context).send(
      this.cluster,
      headers,
      null,
      {
        onSuccess: (response) => {
          const status = response.headers.get(':status');
          if (status === '200') this.check(response.body.toBytes());
          else this.failed(`status ${status}`);
        },
        onFailure: () => this.failed('reset, or too large'),
      },
      { timeoutMs: this.timeoutMs, sendXff: false, sendInternal: false, maxResponseBytes: MAX_CODE_BYTES },
    );
  }

  private check(bytes: Uint8Array): void {
    const found = sha256Hex(bytes);
    if (found !== this.sha256) {
      this.failed(`its sha256 is ${found}`);
      return;
    }
    this.stats.fetchSuccesses.inc();
    this.remember(bytes, false, Date.now() + KEEP_MS);
    if (!this.stopped) this.loaded?.(bytes);
  }

  private failed(reason: string): void {
    this.stats.fetchFailures.inc();
    if (this.loaded === null) {
      this.remember(null, false, Date.now() + NEGATIVE_MS);
      this.context.logger('wasm').error(`Wasm code from ${this.url.href}: ${reason}`);
      return;
    }
    this.context.logger('wasm').error(`Wasm code from ${this.url.href}: ${reason}; asking again in ${this.pauseMs} ms`);
    const timer = this.context.dispatcher.createTimer(() => this.fetch());
    timer.enableTimer(this.pauseMs);
    this.pauseMs = Math.min(LONGEST_PAUSE_MS, this.pauseMs * 2);
  }
}

function parseUrl(uri: string): URL {
  try {
    return new URL(uri);
  } catch {
    throw new ConfigError(`'${uri}' is no URL`, { path: `${PATH}.http_uri.uri` });
  }
}
