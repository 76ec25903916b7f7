/**
 * Resident memory: one worker idle, and with 10,000 idle keep-alive connections, each of which has made one request. The peers are
 * measured the same way.
 */
import { connect, type Socket } from 'node:net';
import { rssKb } from '../lib/processes.ts';
import { portAt, startHaproxy, startNginx, startSluice, startUpstream } from '../lib/proxies.ts';
import { type Row, row } from '../lib/report.ts';
import type { BenchOptions } from '../run.ts';

const CONNECTIONS = 10_000;
const BATCH = 200;

export async function run(options: BenchOptions): Promise<Row[]> {
  const wanted = options.quick ? 1000 : CONNECTIONS;
  await startUpstream();
  const kind = { mode: 'http', accessLog: false, basePort: portAt(21) } as const;
  const proxies = [await startSluice(kind), await startHaproxy(kind), await startNginx(kind)].filter((p) => p !== null);
  const idle: Record<string, number> = {};
  const perConnection: Record<string, number> = {};
  let count = wanted;
  for (const proxy of proxies) {
    // The first requests compile code and touch buffers: not what a connection costs.
    const warm = await open(proxy.port, 100);
    close(warm);
    await settle();
    idle[proxy.name] = rssKb(proxy.process.pid!);
    const sockets = await open(proxy.port, wanted);
    await settle();
    perConnection[proxy.name] = (rssKb(proxy.process.pid!) - idle[proxy.name]) / sockets.length;
    count = Math.min(count, sockets.length);
    close(sockets);
  }
  const of = (values: Record<string, number>) => ({
    ours: values['sluice'],
    peers: { haproxy: values['haproxy'] ?? null, nginx: values['nginx'] ?? null, target: 6 },
  });
  return [
    row({
      case: 'idle, one worker',
      unit: 'MB',
      better: 'lower',
      ours: idle['sluice'] / 1024,
      peers: { haproxy: idle['haproxy'] / 1024, nginx: idle['nginx'] / 1024 },
    }),
    row({
      case: `per idle keep-alive connection (of ${count})`,
      unit: 'KB',
      better: 'lower',
      ...of(perConnection),
      target: { peer: 'target', ratio: 1 },
    }),
  ];
}

/** Opens connections in batches and makes one request on each. Stops early when descriptors run out. */
async function open(port: number, wanted: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < wanted) {
    const batch = await Promise.all(Array.from({ length: Math.min(BATCH, wanted - sockets.length) }, () => request(port)));
    const good = batch.filter((s) => s !== null);
    sockets.push(...good);
    if (good.length < batch.length) break;
  }
  return sockets;
}

function request(port: number): Promise<Socket | null> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET /small HTTP/1.1\r\nhost: bench\r\n\r\n'));
    socket.once('data', () => resolve(socket));
    socket.on('error', () => resolve(null));
    setTimeout(() => resolve(null), 5000).unref();
  });
}

function close(sockets: Socket[]): void {
  for (const socket of sockets) socket.destroy();
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 2000));
}
