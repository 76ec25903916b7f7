/** A worker's upstream side without sockets, on connections that a test plays the far side of. */
import { Store } from '../../../src/core/stats/store.ts';
import { SysError } from '../../../src/core/sys/libc.ts';
import { ipAddress } from '../../../src/proxy/network/address.ts';
import type { ConnectOptions, IoHandle, ListenSocket, SocketInterface } from '../../../src/proxy/network/io_handle.ts';
import { parseCluster } from '../../../src/proxy/upstream/cluster_config.ts';
import { ClusterStats } from '../../../src/proxy/upstream/cluster_stats.ts';
import type { PlainCluster, PlainLbEndpoint } from '../../../src/proxy/upstream/cluster_types.ts';
import type { HostDescription } from '../../../src/proxy/upstream/host_update.ts';
import type { LoadBalancerEnvironment } from '../../../src/proxy/upstream/lb/load_balancer.ts';
import type { UpstreamContext } from '../../../src/proxy/upstream/upstream_context.ts';
import { type FakeDispatcher, ImmediateDispatcher } from '../../support/fake_dispatcher.ts';
import { FakeConnection as HttpFakeConnection } from '../http/support/fakes.ts';

/** A client connection: tells what it was made with and what was asked of it. */
export class FakeConnection extends HttpFakeConnection {
  readonly options: ConnectOptions;
  readonly bufferLimits: number[] = [];
  connectCalls = 0;
  filtersInitialized = false;
  /** Fails at once when told to connect. */
  refuses = false;

  constructor(dispatcher: FakeDispatcher, options: ConnectOptions) {
    super(dispatcher, options.address, ipAddress('10.0.0.1', 4000));
    this.connecting = true;
    this.options = options;
  }

  override initializeReadFilters(): boolean {
    this.filtersInitialized = true;
    return super.initializeReadFilters();
  }

  override connect(): void {
    this.connectCalls++;
    if (this.refuses) this.refuse();
  }

  override setBufferLimits(limitBytes: number): void {
    super.setBufferLimits(limitBytes);
    this.bufferLimits.push(limitBytes);
  }
}

class NoSockets implements SocketInterface {
  readonly name = 'none';

  listen(): ListenSocket {
    throw new Error('not used');
  }

  createSocket(): IoHandle {
    throw new Error('not used');
  }
}

/** A worker's upstream side without sockets. `random` gives the numbers of `randoms`, then a seeded sequence. */
export class FakeWorker {
  readonly dispatcher = new ImmediateDispatcher();
  readonly stats = new Store();
  readonly connections: FakeConnection[] = [];
  readonly randoms: number[] = [];
  /** What the next attempts to make a socket throw. */
  socketErrors: SysError[] = [];
  refuseNext = 0;
  private seed = 0x9e3779b9;
  readonly context: UpstreamContext;

  constructor() {
    this.context = {
      dispatcher: this.dispatcher,
      socketInterface: new NoSockets(),
      createClientConnection: (_dispatcher, _sockets, options) => {
        const error = this.socketErrors.shift();
        if (error !== undefined) throw error;
        const connection = new FakeConnection(this.dispatcher, options);
        if (this.refuseNext > 0) {
          this.refuseNext--;
          connection.refuses = true;
        }
        this.connections.push(connection);
        return connection;
      },
      scope: this.stats,
      runtime: null,
      random: () => this.randoms.shift() ?? this.nextRandom(),
      workerIndex: 0,
    };
  }

  get last(): FakeConnection {
    const connection = this.connections.at(-1);
    if (connection === undefined) throw new Error('no connection was made');
    return connection;
  }

  counter(name: string): number {
    return this.stats.counter(name).value;
  }

  gauge(name: string): number {
    return this.stats.gauge(name).value;
  }

  /** xorshift32 */
  private nextRandom(): number {
    this.seed ^= this.seed << 13;
    this.seed ^= this.seed >>> 17;
    this.seed ^= this.seed << 5;
    return this.seed >>> 0;
  }
}

/** What a balancer of such a cluster gets on a worker. */
export function lbEnvironment(
  worker: FakeWorker,
  cluster: Partial<PlainCluster> = {},
  more: Partial<LoadBalancerEnvironment> = {},
): LoadBalancerEnvironment {
  return {
    settings: parseCluster(staticCluster('a', [], cluster)).lb,
    stats: new ClusterStats(worker.stats),
    scope: worker.stats,
    random: worker.context.random,
    runtime: null,
    nowMs: () => worker.dispatcher.nowMs,
    defer: (callback) => {
      const scheduled = worker.dispatcher.createSchedulableCallback(callback);
      scheduled.scheduleCallbackNextIteration();
      return () => scheduled.cancel();
    },
    activeRequests: () => 0,
    setsGauges: true,
    localLocality: null,
    hasLocalCluster: false,
    localCluster: () => null,
    ...more,
  };
}

/** A STATIC cluster of these endpoints. */
export function staticCluster(name: string, endpoints: string[], more: Partial<PlainCluster> = {}): PlainCluster {
  return {
    name,
    type: 'STATIC',
    loadAssignment: { clusterName: name, endpoints: [{ lbEndpoints: endpoints.map((endpoint) => lbEndpoint(endpoint)) }] },
    ...more,
  };
}

/** `1.2.3.4:80` */
export function lbEndpoint(hostPort: string, more: Partial<PlainLbEndpoint> = {}): PlainLbEndpoint {
  const colon = hostPort.lastIndexOf(':');
  const socketAddress = { address: hostPort.slice(0, colon), portValue: Number(hostPort.slice(colon + 1)) };
  return { endpoint: { address: { socketAddress } }, ...more };
}

export function hostAt(hostPort: string, more: Partial<HostDescription> = {}): HostDescription {
  const colon = hostPort.lastIndexOf(':');
  return {
    address: ipAddress(hostPort.slice(0, colon), Number(hostPort.slice(colon + 1))),
    hostname: '',
    weight: 1,
    priority: 0,
    locality: { region: '', zone: '', subZone: '' },
    metadata: {},
    canary: false,
    healthStatus: 'UNKNOWN',
    ...more,
  };
}

export function sysError(syscall: string, code: number): SysError {
  return new SysError(syscall, code);
}
