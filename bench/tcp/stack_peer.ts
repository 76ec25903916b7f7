/** One stack on one core in a process of its own, with the kernel in a namespace at the other end of its device. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { inNamespace, ip, measure, OURS, PEER, type Rate, RECEIVER, SENDER, segmentationOff } from './peers.ts';

export interface StackSetup {
  kind: 'tun' | 'tap' | 'packet' | 'xdp';
  offload: boolean | 'checksum';
  /** Segments of the link's size on both ends of a veth: by default where we cut them. With `offload: true` the kernel cuts what we send. */
  smallSegments?: boolean;
}

type Sample = Record<string, number>;

/** What one direction came to, and the packets that a system call moved. */
export interface StackRate extends Rate {
  packetsPerCall: number | null;
}

export class StackPeer {
  private readonly namespace: string;
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  private constructor(namespace: string, child: ChildProcess) {
    this.namespace = namespace;
    this.child = child;
    this.lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  static async open(id: string, setup: StackSetup): Promise<StackPeer> {
    const namespace = `slb-${process.pid}${id}`;
    const overVeth = setup.kind === 'packet' || setup.kind === 'xdp';
    const name = `slb${process.pid % 1_000_000}${id}`;
    ip('netns', 'add', namespace);
    if (overVeth) {
      ip('link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      ip('link', 'set', name, 'up');
      // The same for us as for the kernel beside us.
      if (setup.smallSegments ?? setup.offload !== true)
        for (const end of [null, namespace]) await segmentationOff(end, end === null ? name : 'eth0');
    }
    const script = fileURLToPath(new URL('./stack_process.ts', import.meta.url));
    const config = JSON.stringify({ ...setup, name });
    const args = ['-c', OURS, process.execPath, '--disable-warning=ExperimentalWarning', '--single-threaded-gc', script, config];
    const peer = new StackPeer(namespace, spawn('taskset', args, { stdio: ['pipe', 'pipe', 'inherit'] }));
    try {
      await peer.next();
      if (!overVeth) ip('link', 'set', name, 'netns', namespace);
      const device = overVeth ? 'eth0' : name;
      ip('-n', namespace, 'addr', 'add', '10.78.0.1/24', 'dev', device);
      ip('-n', namespace, 'link', 'set', device, 'up');
      return peer;
    } catch (error) {
      peer.close();
      throw error;
    }
  }

  async run(send: boolean, seconds: number): Promise<StackRate> {
    const before = await this.sample();
    const program = send ? RECEIVER('10.78.0.2', 81, seconds) : SENDER('10.78.0.2', 80, seconds);
    const { gbits } = await measure(this.namespace, PEER, program);
    const after = await this.sample();
    const of = (key: string): number => after[key] - before[key];
    const calls = of('calls');
    const packets = send ? of('txPackets') : of('rxPackets');
    return { gbits, cpu: (of('userUs') + of('systemUs')) / 1e6 / seconds, packetsPerCall: calls > 0 ? packets / calls : null };
  }

  /** The kernel connects, we accept and close. */
  async connectionsPerSecond(program: string, seconds: number): Promise<number> {
    return Number(await inNamespace(this.namespace, PEER, [program, 'client', '10.78.0.2', '82', String(seconds), '16']));
  }

  close(): void {
    this.child.stdin?.end();
    ip('netns', 'del', this.namespace);
  }

  private sample(): Promise<Sample> {
    this.child.stdin!.write('\n');
    return this.next();
  }

  private async next(): Promise<Sample> {
    const { value, done } = await this.lines.next();
    if (done === true) throw new Error('the stack has ended');
    return JSON.parse(value) as Sample;
  }
}
