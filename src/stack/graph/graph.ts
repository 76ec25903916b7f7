/**
 * The packet graph (as VPP's): nodes work on frames of packets, one node after the other, so that the code and the tables of a node stay
 * warm for a whole frame. Every packet that ends without being sent or delivered is dropped with a reason that its node counts.
 */
import { describePacket } from './describe.ts';
import type { Packet } from './packet.ts';

export interface GraphNode {
  readonly name: string;
  readonly index: number;
  /** Why packets end here: a name per counter. */
  readonly errors: readonly string[];
  readonly errorCounts: number[];
  /** Handles the first `count` packets of `frame`. */
  readonly process: (frame: readonly Packet[], count: number, graph: Graph) => void;
  pending: Packet[];
  idle: Packet[];
  waiting: number;
  calls: number;
  packets: number;
  /** Microseconds spent in it, while `Graph.clockUs` is set. */
  busyUs: number;
  /** Packets start with a link-layer header here, if their device has one. */
  linkLayer: boolean;
  traceLeft: number;
}

/** Sees every packet that is dropped, with its node and the reason. */
export type DropObserver = (packet: Packet, node: GraphNode, reason: string) => void;

const MAX_TRACES = 256;

export class Graph {
  readonly nodes: GraphNode[] = [];
  /** The time of the current run. */
  nowUs = 0;
  /** Finished traces, the oldest first. */
  readonly traces: string[][] = [];
  /** Whether the packets of a device have a link-layer header, for traces. */
  ethernetDevice: (device: number) => boolean = () => false;
  onDrop: DropObserver | null = null;
  /** Set to have the time in each node measured. */
  clockUs: (() => number) | null = null;
  private waiting = 0;

  add(name: string, errors: readonly string[], process: GraphNode['process'], linkLayer = false): GraphNode {
    const node: GraphNode = {
      name,
      index: this.nodes.length,
      errors,
      errorCounts: errors.map(() => 0),
      process,
      pending: [],
      idle: [],
      waiting: 0,
      calls: 0,
      packets: 0,
      busyUs: 0,
      linkLayer,
      traceLeft: 0,
    };
    this.nodes.push(node);
    return node;
  }

  /** A node that no packet is queued for: who does its work tells what it was (`worked`). */
  addSource(name: string): GraphNode {
    return this.add(name, [], () => {});
  }

  /** Packets that wait in front of nodes. */
  get queued(): number {
    return this.waiting;
  }

  /** `node`, a source, has made `packets` since `sinceUs` (of `clockUs`; 0 while time is not measured). */
  worked(node: GraphNode, packets: number, sinceUs: number): void {
    node.calls++;
    node.packets += packets;
    if (this.clockUs !== null && sinceUs > 0) node.busyUs += this.clockUs() - sinceUs;
  }

  /** A source that is traced has made `packet`. */
  traceFrom(node: GraphNode, packet: Packet): void {
    node.traceLeft--;
    packet.trace = [this.traceLine(node, packet)];
  }

  enqueue(node: GraphNode, packet: Packet): void {
    node.pending[node.waiting++] = packet;
    this.waiting++;
  }

  /** Runs nodes, in the order in which they were added, until no packet waits. */
  run(nowUs: number): void {
    this.nowUs = nowUs;
    while (this.waiting > 0) {
      for (const node of this.nodes) {
        const count = node.waiting;
        if (count === 0) continue;
        // The two arrays of a node take turns and keep their size: a new one per frame was a fifth of all garbage.
        const frame = node.pending;
        node.pending = node.idle;
        node.idle = frame;
        node.waiting = 0;
        this.waiting -= count;
        node.calls++;
        node.packets += count;
        if (node.traceLeft > 0) this.startTraces(node, frame, count);
        for (let i = 0; i < count; i++) {
          const packet = frame[i];
          if (packet.trace !== null) packet.trace.push(this.traceLine(node, packet));
        }
        if (this.clockUs === null) node.process(frame, count, this);
        else {
          const started = this.clockUs();
          node.process(frame, count, this);
          node.busyUs += this.clockUs() - started;
        }
      }
    }
  }

  /** Ends `packet` here for `errors[reason]`. */
  drop(node: GraphNode, packet: Packet, reason: number): void {
    node.errorCounts[reason]++;
    this.onDrop?.(packet, node, node.errors[reason]);
    if (packet.trace !== null) packet.trace.push(`${node.name}: dropped: ${node.errors[reason]}`);
    this.finish(packet);
  }

  /** Ends `packet` where it was meant to end. */
  finish(packet: Packet): void {
    if (packet.trace !== null) this.endTrace(packet);
    packet.free();
  }

  /** Notes the trace of a packet that leaves the graph alive. */
  endTrace(packet: Packet): void {
    if (packet.trace === null) return;
    this.traces.push(packet.trace);
    if (this.traces.length > MAX_TRACES) this.traces.shift();
    packet.trace = null;
  }

  /** `trace add NODE N`: the next `count` packets of the node. False when there is no such node. */
  traceAdd(name: string, count: number): boolean {
    const node = this.nodes.find((n) => n.name === name);
    if (node === undefined) return false;
    node.traceLeft += count;
    return true;
  }

  traceClear(): void {
    this.traces.length = 0;
    for (const node of this.nodes) node.traceLeft = 0;
  }

  /** `show trace`. */
  formatTraces(): string {
    return this.traces.map((lines, i) => [`Packet ${i + 1}`, ...lines.map((line) => `  ${line}`)].join('\n')).join('\n\n');
  }

  clearRuntime(): void {
    for (const node of this.nodes) node.calls = node.packets = node.busyUs = 0;
  }

  clearErrors(): void {
    for (const node of this.nodes) node.errorCounts.fill(0);
  }

  /** `show errors`: what was counted. */
  errors(): { node: string; reason: string; count: number }[] {
    return this.nodes.flatMap((node) =>
      node.errors.map((reason, i) => ({ node: node.name, reason, count: node.errorCounts[i] })).filter(({ count }) => count > 0),
    );
  }

  private traceLine(node: GraphNode, packet: Packet): string {
    const time = (this.nowUs / 1e6).toFixed(6);
    return `${time} ${node.name}: ${describePacket(packet, node.linkLayer && this.ethernetDevice(packet.device))}`;
  }

  private startTraces(node: GraphNode, frame: readonly Packet[], count: number): void {
    for (let i = 0; i < count; i++) {
      const packet = frame[i];
      if (node.traceLeft === 0) return;
      if (packet.trace !== null) continue;
      packet.trace = [];
      node.traceLeft--;
    }
  }
}
