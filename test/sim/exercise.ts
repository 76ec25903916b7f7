/** One seeded exercise over a World: connections that send both ways in random pieces, close in random order, and are checked byte by byte. */
import assert from 'node:assert/strict';
import { IpAddress } from '../../src/stack/ip/address.ts';
import type { Faults } from '../../src/stack/link/fault_injector.ts';
import type { TcpConfig } from '../../src/stack/tcp/config.ts';
import type { TcpApp, TcpConnection } from '../../src/stack/tcp/connection.ts';
import { TcpState } from '../../src/stack/tcp/state.ts';
import { patternByte, World } from './simulator.ts';

export interface ExercisePlan {
  seed: number;
  isV4: boolean;
  connections: number;
  bytes: number[];
  bytesBack: number[];
  faults: Faults;
  faultsBack: Faults;
  mtu: number;
  ethernet: boolean;
  gso: boolean;
  tcp: Partial<TcpConfig>;
}

/** Chooses everything from the seed. */
export function planFor(seed: number): ExercisePlan {
  const world = new World({ seed: seed ^ 0x5eed });
  const r = world.random;
  world.release();
  const pick = <T>(...list: T[]): T => list[Math.floor(r() * list.length)];
  const connections = pick(1, 1, 1, 2, 5);
  const size = (): number => Math.floor(pick(0, 1, 100, 5000, 60_000, 200_000) * (0.5 + r()));
  const path = (): Faults => ({
    loss: pick(0, 0, 0.001, 0.01, 0.05, 0.15),
    burstStart: pick(0, 0, 0, 0.01),
    burstEnd: pick(0.2, 0.5),
    duplicate: pick(0, 0, 0.02),
    reorder: pick(0, 0, 0.02, 0.2),
    reorderUs: pick(500, 5000, 50_000),
    corrupt: pick(0, 0, 0.01),
    delayUs: pick(10, 1000, 20_000, 100_000),
    jitterUs: pick(0, 0, 500, 5000),
    rateMbps: pick(0, 0, 10, 100),
    queueBytes: pick(20_000, 200_000),
  });
  const forward = path();
  const back = path();
  // A cookie that comes twice, or after its connection is over, makes another connection: that is their price.
  const orderly = [forward, back].every((f) => !f.duplicate && !f.reorder && !f.jitterUs);
  return {
    seed,
    isV4: r() < 0.6,
    connections,
    bytes: Array.from({ length: connections }, size),
    bytesBack: Array.from({ length: connections }, size),
    faults: forward,
    faultsBack: back,
    mtu: pick(1500, 1500, 1280, 576, 9000),
    ethernet: r() < 0.3,
    gso: r() < 0.25,
    tcp: {
      congestionControl: pick('cubic', 'newreno', 'bbr'),
      sack: r() < 0.85,
      timestamps: r() < 0.8,
      windowScaling: r() < 0.8,
      noDelay: r() < 0.5,
      pacing: r() < 0.2,
      ecn: pick('off', 'passive', 'active'),
      delayedAckMs: pick(0, 40),
      maxReceiveBufferBytes: pick(4096, 65_536, 1024 * 1024),
      initialReceiveBufferBytes: 65_536,
      maxSendBufferBytes: pick(8192, 1024 * 1024),
      timeWaitMs: 60_000,
      synCookies: orderly ? pick('overflow', 'always') : 'overflow',
      dataRetries: 40,
      // A burst of loss lasts for packets, not for time: so do its chances to swallow every SYN.
      synRetries: 40,
      synAckRetries: 40,
      acceptBacklog: pick(1, 16),
    },
  };
}

/** One end: writes a stream, checks the other, closes when both are over. */
class Peer implements TcpApp {
  sent = 0;
  received = 0;
  ended = false;
  closed = '';
  private readonly key: number;
  private readonly total: number;
  private readonly peerKey: number;
  private readonly random: () => number;
  private readonly scratch = new Uint8Array(16_384);
  connection: TcpConnection | null = null;
  readLater = 0;

  constructor(key: number, total: number, peerKey: number, random: () => number) {
    this.key = key;
    this.total = total;
    this.peerKey = peerKey;
    this.random = random;
  }

  onConnected(c: TcpConnection): void {
    this.connection = c;
    this.pump(c);
  }

  onSpace(c: TcpConnection): void {
    this.pump(c);
  }

  onData(c: TcpConnection): void {
    for (;;) {
      const n = c.read(this.scratch, 0, 1 + Math.floor(this.random() * this.scratch.length));
      if (n === 0) return;
      for (let i = 0; i < n; i++)
        if (this.scratch[i] !== patternByte(this.peerKey, this.received + i)) assert.fail(`wrong byte at ${this.received + i}`);
      this.received += n;
    }
  }

  onEnd(c: TcpConnection): void {
    this.onData(c);
    this.ended = true;
  }

  onClosed(_c: TcpConnection, error: string): void {
    this.closed = error;
  }

  private pump(c: TcpConnection): void {
    while (this.sent < this.total) {
      const want = Math.min(this.total - this.sent, 1 + Math.floor(this.random() * this.scratch.length));
      for (let i = 0; i < want; i++) this.scratch[i] = patternByte(this.key, this.sent + i);
      const n = c.write(this.scratch, 0, want);
      this.sent += n;
      if (n < want) return;
    }
    c.shutdown();
  }
}

function checkFlight(c: TcpConnection): void {
  if (c.state >= TcpState.established && c.inFlight > Math.max(c.maxSndWnd, 1) + c.mss + 2)
    assert.fail(`flight ${c.inFlight} above the window ${c.maxSndWnd}`);
}

/** Runs the plan; throws with the reason when anything is not as it has to be. Returns the virtual time it took. */
export function runExercise(plan: ExercisePlan): number {
  const world = new World({
    seed: plan.seed,
    faults: plan.faults,
    faultsBack: plan.faultsBack,
    isV4: plan.isV4,
    pipe: {
      mtu: Math.max(plan.mtu, plan.isV4 ? 576 : 1280),
      ethernet: plan.ethernet,
      // Offloaded segments pass the bad link whole, and there are few buffers of their size.
      ...(plan.gso && { maxGsoBytes: 64_000, checksumOffload: true }),
    },
    keepOffload: plan.gso,
    tcp: plan.tcp,
  });
  const started = world.nowUs;
  const any = plan.isV4 ? '0.0.0.0' : '::';
  const server = IpAddress.parse(plan.isV4 ? '10.0.0.2' : 'fd00::2')!;
  const servers: Peer[] = [];
  const clients: Peer[] = [];
  const listener = world.b.tcp.listen({ address: IpAddress.parse(any)!, port: 80 });
  assert.ok(typeof listener !== 'string');
  const byPort = new Map<number, number>();
  for (let i = 0; i < plan.connections; i++) {
    const client = new Peer(2 * i, plan.bytes[i], 2 * i + 1, world.random);
    clients.push(client);
    const c = world.a.tcp.connect({ remote: server, remotePort: 80, app: client }, world.nowUs);
    if (typeof c === 'string') assert.fail(c);
    byPort.set(c.localPort, i);
    client.connection = c;
  }
  const done = (): boolean => {
    for (let c = listener.accept(); c !== null; c = listener.accept()) {
      const i = byPort.get(c.remotePort)!;
      const peer = new Peer(2 * i + 1, plan.bytesBack[i], 2 * i, world.random);
      servers.push(peer);
      c.app = peer;
      peer.onConnected(c);
      peer.onData(c);
      if (c.finReceived) peer.onEnd(c);
    }
    for (const { connection: c } of clients) if (c !== null) checkFlight(c);
    for (const { connection: c } of servers) if (c !== null) checkFlight(c);
    return clients.every((p) => p.closed !== '') && servers.length === plan.connections && servers.every((p) => p.closed !== '');
  };
  world.run(done, 4000e6);
  clients.forEach((peer, i) => {
    assert.equal(peer.closed, 'none', `client ${i}`);
    assert.equal(peer.received, plan.bytesBack[i], `client ${i} received`);
    assert.equal(peer.ended, true);
  });
  const total = (list: Peer[]): number => list.reduce((sum, peer) => sum + peer.received, 0);
  assert.equal(
    total(servers),
    plan.bytes.reduce((a, b) => a + b, 0),
  );
  for (const peer of servers) assert.equal(peer.closed, 'none');
  const took = world.nowUs - started;
  // TIME-WAIT passes, and then nothing may be left anywhere.
  listener.close();
  world.pass(600e6);
  for (const stack of [world.a, world.b]) {
    assert.equal(stack.tcp.connections.size, 0, 'connections left');
    assert.equal(stack.tcp.wheel.size, 0, 'timers left');
  }
  assert.equal(world.a.pool.inUse, 0, 'buffers left in a');
  assert.equal(world.b.pool.inUse, 0, 'buffers left in b');
  world.release();
  return took;
}
