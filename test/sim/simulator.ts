/**
 * Two stacks joined by a faulty link under virtual time. One seed decides everything: a failing seed reproduces. `run` advances the clock
 * to the next thing that is due, and fails when nothing is due although the exercise is not over (a stuck timer).
 */
import { NetStack } from '../../src/stack/graph/net_stack.ts';
import { PacketPool } from '../../src/stack/graph/packet.ts';
import { FaultInjector, type Faults, seededRandom } from '../../src/stack/link/fault_injector.ts';
import { PipeDevice, type PipeOptions } from '../../src/stack/link/pipe.ts';
import type { TcpConfig } from '../../src/stack/tcp/config.ts';

export interface WorldOptions {
  seed: number;
  faults?: Faults;
  /** Of the way back; the same without. */
  faultsBack?: Faults;
  pipe?: PipeOptions;
  tcp?: Partial<TcpConfig>;
  isV4?: boolean;
  keepOffload?: boolean;
  pool?: { small?: number; large?: number };
}

/** Pools of worlds that are over: making one costs more than a short exercise. */
const spare: PacketPool[] = [];
const DEFAULT_POOL = { small: 2048, large: 32 };

export class World {
  nowUs = 1_000_000;
  readonly random: () => number;
  readonly a: NetStack;
  readonly b: NetStack;
  readonly linkA: FaultInjector;
  readonly linkB: FaultInjector;
  readonly pipes: [PipeDevice, PipeDevice];
  readonly isV4: boolean;
  steps = 0;
  private still = 0;

  constructor(options: WorldOptions) {
    this.random = seededRandom(options.seed);
    this.isV4 = options.isV4 ?? true;
    const random32 = (): number => (this.random() * 4294967296) | 0;
    this.pipes = PipeDevice.pair(options.pipe);
    const make = (): NetStack => {
      const pool = options.pool ?? spare.pop() ?? new PacketPool(DEFAULT_POOL);
      return new NetStack({ random32, tcp: options.tcp, pool, nowUs: this.nowUs });
    };
    this.a = make();
    this.b = make();
    const faults = options.faults ?? {};
    this.linkA = new FaultInjector(this.pipes[0], options.seed * 2 + 1, faults, {}, options.keepOffload);
    this.linkB = new FaultInjector(this.pipes[1], options.seed * 2 + 2, options.faultsBack ?? faults, {}, options.keepOffload);
    this.a.addInterface(this.linkA, this.isV4 ? ['10.0.0.1/24'] : ['fd00::1/64']);
    this.b.addInterface(this.linkB, this.isV4 ? ['10.0.0.2/24'] : ['fd00::2/64']);
  }

  /** Runs until `done` is true; throws after `limitUs` of virtual time or when nothing is left to happen. */
  run(done: () => boolean, limitUs: number): void {
    const end = this.nowUs + limitUs;
    while (!done()) {
      this.step();
      if (done()) return;
      const next = this.nextUs();
      if (next === Number.POSITIVE_INFINITY) throw new Error(`stuck: nothing is due at ${this.nowUs} us`);
      if (next > end) throw new Error(`not done after ${limitUs / 1e6} s of virtual time`);
      this.advance(next);
      if (++this.steps > 5_000_000) throw new Error('too many steps');
    }
  }

  /** Lets `us` of virtual time pass. */
  pass(us: number): void {
    const end = this.nowUs + us;
    for (;;) {
      this.step();
      const next = this.nextUs();
      if (next > end) break;
      this.advance(next);
      if (++this.steps > 5_000_000) throw new Error('too many steps');
    }
    this.nowUs = end;
    this.step();
  }

  /** A stack whose buffers are all on the way asks again at once until some are back: after a while time goes on without it. */
  private advance(next: number): void {
    if (next > this.nowUs) {
      this.nowUs = next;
      this.still = 0;
    } else if (++this.still > 1000) this.nowUs += 10;
  }

  /** The world is over and holds no packet any more. */
  release(): void {
    for (const { pool } of [this.a, this.b]) if (pool.inUse === 0) spare.push(pool);
  }

  step(): void {
    this.a.poll(this.nowUs);
    this.b.poll(this.nowUs);
  }

  private nextUs(): number {
    const next = Math.min(this.a.nextDeadlineUs(), this.b.nextDeadlineUs());
    // The link's clock has fractions; a due packet is due.
    return next;
  }
}

/** The byte at `position` of the test stream `key`: any shift, loss or repetition shows. */
export function patternByte(key: number, position: number): number {
  let x = Math.imul(position + 1, 0x9e3779b1) ^ Math.imul(key + 1, 0x85ebca6b);
  x ^= x >>> 15;
  x = Math.imul(x, 0x2c1b3c6d);
  return (x >>> 24) & 0xff;
}
