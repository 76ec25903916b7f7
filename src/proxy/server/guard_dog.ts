/**
 * The watchdog (Envoy: GuardDogImpl): every dispatcher counts its passes in a shared cell; the main thread looks whether a thread
 * that has work moves. One that stands still may only be asleep, so it is pinged first: a busy worker never is, an idle one once a
 * second.
 *
 * A miss is a thread that did not pass within `missTimeoutMs` of its ping, a mega miss within `megaMissTimeoutMs` (once per hang each). The main
 * thread cannot watch itself: its own misses are noticed by how late its timer runs.
 */
import type { Counter, Scope } from '../../core/stats/stats.ts';
import { ConfigError } from '../config/error.ts';
import type { Bootstrap, Watchdog } from '../config/types.gen.ts';

export interface WatchdogTimeouts {
  missTimeoutMs: number;
  megaMissTimeoutMs: number;
}

export interface WatchdogSettings {
  mainThread: WatchdogTimeouts;
  worker: WatchdogTimeouts;
}

/** From `watchdogs`, or the older `watchdog` that is for all threads. Throws ConfigError. */
export function watchdogSettings(bootstrap: Bootstrap): WatchdogSettings {
  const { watchdog, watchdogs } = bootstrap;
  if (watchdog !== undefined && watchdogs !== undefined) {
    throw new ConfigError('Only one of watchdog or watchdogs should be set!', { path: 'watchdog' });
  }
  return {
    mainThread: timeouts(watchdogs?.mainThreadWatchdog ?? watchdog),
    worker: timeouts(watchdogs?.workerWatchdog ?? watchdog),
  };
}

function timeouts(config: Watchdog | undefined): WatchdogTimeouts {
  return { missTimeoutMs: config?.missTimeout ?? 200, megaMissTimeoutMs: config?.megamissTimeout ?? 1000 };
}

interface Watched {
  readonly name: string;
  readonly ping: () => void;
  lastCount: number;
  /** When the unanswered ping was sent, or -1. */
  pingedMs: number;
  lastPingMs: number;
  /** It moved only because of the last ping. */
  asleep: boolean;
  missed: boolean;
  megaMissed: boolean;
  readonly miss: Counter;
  readonly megaMiss: Counter;
}

/** Every worker is pinged this often at least: it refreshes its gauges then. */
const REFRESH_MS = 1000;

export class GuardDog {
  /** One cell per worker. */
  readonly cells: Int32Array<SharedArrayBuffer>;
  private readonly settings: WatchdogSettings;
  private readonly scope: Scope;
  private readonly watched: Watched[] = [];
  private readonly onMegaMiss: (name: string, timeoutMs: number) => void;
  private readonly mainMiss: Counter;
  private readonly mainMegaMiss: Counter;
  private timer: NodeJS.Timeout | null = null;
  private lastTick = 0;

  constructor(threads: number, scope: Scope, settings: WatchdogSettings, onMegaMiss: GuardDog['onMegaMiss']) {
    this.cells = new Int32Array(new SharedArrayBuffer(threads * 4));
    this.scope = scope;
    this.settings = settings;
    this.onMegaMiss = onMegaMiss;
    this.mainMiss = scope.counter('main_thread.watchdog_miss');
    this.mainMegaMiss = scope.counter('main_thread.watchdog_mega_miss');
  }

  /** Watches cell `index`; `ping` must make that thread pass. */
  watch(index: number, name: string, ping: () => void): void {
    this.watched[index] = {
      name,
      ping,
      lastCount: -1,
      pingedMs: -1,
      lastPingMs: Number.NEGATIVE_INFINITY,
      asleep: false,
      missed: false,
      megaMissed: false,
      miss: this.scope.counter('workers.watchdog_miss'),
      megaMiss: this.scope.counter('workers.watchdog_mega_miss'),
    };
  }

  /** Starts checking; the timer does not keep the process alive. */
  start(): void {
    const interval = Math.max(
      10,
      Math.floor(Math.min(this.settings.worker.missTimeoutMs, this.settings.mainThread.missTimeoutMs) / 2),
    );
    this.lastTick = performance.now();
    this.timer = setInterval(() => this.check(performance.now(), interval), interval);
    this.timer.unref();
  }

  stop(): void {
    if (this.timer !== null) clearInterval(this.timer);
  }

  /** One look at all threads; `now` in ms. */
  check(now: number, interval: number): void {
    const late = now - this.lastTick - interval;
    this.lastTick = now;
    const { mainThread, worker } = this.settings;
    if (late > mainThread.missTimeoutMs) this.mainMiss.inc();
    if (late > mainThread.megaMissTimeoutMs) this.mainMegaMiss.inc();
    for (let i = 0; i < this.watched.length; i++) {
      const watched = this.watched[i];
      if (watched === undefined) continue;
      const count = Atomics.load(this.cells, i);
      if (count !== watched.lastCount || late > worker.missTimeoutMs) {
        watched.asleep = watched.pingedMs >= 0;
        watched.lastCount = count;
        watched.pingedMs = -1;
        watched.missed = false;
        watched.megaMissed = false;
        if (now - watched.lastPingMs >= REFRESH_MS) this.ping(watched, now);
        continue;
      }
      if (watched.pingedMs < 0) {
        if (!watched.asleep || now - watched.lastPingMs >= REFRESH_MS) this.ping(watched, now);
        continue;
      }
      const stuck = now - watched.pingedMs;
      if (stuck > worker.missTimeoutMs && !watched.missed) {
        watched.missed = true;
        watched.miss.inc();
      }
      if (stuck > worker.megaMissTimeoutMs && !watched.megaMissed) {
        watched.megaMissed = true;
        watched.megaMiss.inc();
        this.onMegaMiss(watched.name, worker.megaMissTimeoutMs);
      }
    }
  }

  private ping(watched: Watched, now: number): void {
    watched.pingedMs = now;
    watched.lastPingMs = now;
    watched.ping();
  }
}
