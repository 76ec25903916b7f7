/** Bulk flows over one modelled path: goodput per flow, for tables and fairness. */
import { IpAddress } from '../../src/stack/ip/address.ts';
import type { CcName } from '../../src/stack/tcp/cc/congestion_control.ts';
import { World } from './simulator.ts';

export interface PathModel {
  rateMbps: number;
  rttMs: number;
  /** Queue in front of the bottleneck, in bandwidth-delay products. */
  queueBdp: number;
  loss: number;
  reorder?: number;
  cc: CcName;
  flows?: number;
  seconds: number;
  seed?: number;
}

export interface PathResult {
  /** Goodput of each flow in Mbit/s over the second half. */
  flows: number[];
  total: number;
  retransmitShare: number;
}

export function runPath(model: PathModel): PathResult {
  const bdp = (model.rateMbps * model.rttMs * 1000) / 8;
  const half = (model.rttMs * 1000) / 2;
  const world = new World({
    seed: model.seed ?? 1,
    faults: {
      rateMbps: model.rateMbps,
      queueBytes: Math.max(bdp * model.queueBdp, 10 * 1500),
      delayUs: half,
      loss: model.loss,
      reorder: model.reorder,
      reorderUs: half / 2,
    },
    faultsBack: { delayUs: half },
    tcp: { congestionControl: model.cc, maxReceiveBufferBytes: 16 * 1024 * 1024, maxSendBufferBytes: 16 * 1024 * 1024 },
    pool: { small: 16_384, large: 8 },
  });
  const count = model.flows ?? 1;
  const received = new Array<number>(count).fill(0);
  const block = new Uint8Array(65_536);
  const byPort = new Map<number, number>();
  world.b.tcp.listen({
    address: IpAddress.parse('0.0.0.0')!,
    port: 80,
    onAccept: (accepted) => {
      const flow = byPort.get(accepted.remotePort)!;
      return {
        onData: (c) => {
          for (let part = c.received.peek(); part.length > 0; part = c.received.peek()) {
            received[flow] += part.length;
            c.consume(part.length);
          }
        },
      };
    },
  });
  const fill = (c: { write(b: Uint8Array): number }): void => {
    while (c.write(block) === block.length) {}
  };
  for (let i = 0; i < count; i++) {
    const app = { onConnected: fill, onSpace: fill };
    const c = world.a.tcp.connect({ remote: IpAddress.parse('10.0.0.2')!, remotePort: 80, app }, world.nowUs);
    if (typeof c === 'string') throw new Error(c);
    byPort.set(c.localPort, i);
  }
  world.pass((model.seconds * 1e6) / 2);
  const before = [...received];
  world.pass((model.seconds * 1e6) / 2);
  const flows = received.map((bytes, i) => ((bytes - before[i]) * 8) / (model.seconds / 2) / 1e6);
  const { retransmittedBytes, outBytes } = world.a.tcp.stats;
  return { flows, total: flows.reduce((a, b) => a + b, 0), retransmitShare: outBytes === 0 ? 0 : retransmittedBytes / outBytes };
}
