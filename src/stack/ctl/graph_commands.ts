/** Commands about the packet graph: what nodes do, what they drop and why, traces of single packets, captures of all. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { sessionErrorText } from '../session/errors.ts';
import { type Command, CommandError, onNetwork, parseWords, positive, TextValue, type Value } from './command.ts';
import { PcapTrace } from './pcap_trace.ts';

const PCAP_USAGE = 'pcap trace rx|tx|drop... file FILE [max N] [snaplen N] | pcap trace off | pcap trace status';

export const GRAPH_COMMANDS: readonly Command[] = [
  {
    words: 'show runtime',
    usage: 'show runtime',
    run: onNetwork(({ graph }) =>
      graph.nodes
        .filter(({ calls }) => calls > 0)
        .map(({ name, calls, packets, busyUs }) => ({
          node: name,
          calls,
          packets,
          packetsPerCall: Number((packets / calls).toFixed(2)),
          ...(graph.clockUs !== null && { usPerPacket: Number((busyUs / Math.max(packets, 1)).toFixed(3)) }),
        })),
    ),
  },
  {
    words: 'clear runtime',
    usage: 'clear runtime',
    run: onNetwork(({ graph }) => {
      graph.clearRuntime();
      return {};
    }),
  },
  {
    words: 'set runtime timing',
    usage: 'set runtime timing on|off',
    run: onNetwork(({ graph }, [word]) => {
      if (word !== 'on' && word !== 'off') return new CommandError('usage: set runtime timing on|off');
      graph.clockUs = word === 'on' ? () => performance.now() * 1000 : null;
      graph.clearRuntime();
      return {};
    }),
  },
  {
    words: 'show errors',
    usage: 'show errors',
    run: (stack) => {
      const sessions = [...stack.layer.errorCounts].map(([code, count]) => ({
        count,
        node: 'session',
        reason: sessionErrorText(code),
      }));
      const nodes = stack.network?.stack.graph.errors().map(({ node, reason, count }) => ({ count, node, reason })) ?? [];
      return [...nodes, ...sessions];
    },
  },
  {
    words: 'clear errors',
    usage: 'clear errors',
    run: (stack) => {
      stack.layer.errorCounts.clear();
      stack.network?.stack.graph.clearErrors();
      return {};
    },
  },
  {
    words: 'trace add',
    usage: 'trace add NODE N',
    run: onNetwork(({ graph }, [node = '', text = '']) => {
      const count = positive(text);
      if (count === null) return new CommandError('usage: trace add NODE N');
      if (graph.traceAdd(node, count)) return {};
      return new CommandError(`no node '${node}'; there are: ${graph.nodes.map(({ name }) => name).join(', ')}`);
    }),
  },
  {
    words: 'show trace',
    usage: 'show trace',
    run: onNetwork(({ graph }) => new TextValue(graph.traces, graph.formatTraces())),
  },
  {
    words: 'clear trace',
    usage: 'clear trace',
    run: onNetwork(({ graph }) => {
      graph.traceClear();
      return {};
    }),
  },
  { words: 'pcap trace', usage: PCAP_USAGE, run: onNetwork((_net, args, stack) => pcapTrace(stack.network!, args)) },
];

type Network = NonNullable<Parameters<Command['run']>[0]['network']>;

function pcapTrace(network: Network, args: string[]): Value | CommandError {
  const net = network.stack;
  const current = net.tap instanceof PcapTrace ? net.tap : null;
  if (args[0] === 'status' && args.length === 1) return current === null ? { state: 'off' } : current.status;
  if (args[0] === 'off' && args.length === 1) {
    if (current === null) return new CommandError('no pcap trace is on');
    current.stop();
    return current.status;
  }
  const words = parseWords(args, ['file', 'max', 'snaplen'], ['rx', 'tx', 'drop']);
  const file = words?.get('file');
  const max = positive(words?.get('max') ?? '100000');
  const snapLength = positive(words?.get('snaplen') ?? '65535');
  const what = ['rx', 'tx', 'drop'].filter((word) => words?.has(word));
  if (words === null || file === undefined || max === null || snapLength === null || what.length === 0)
    return new CommandError(`usage: ${PCAP_USAGE}`);
  if (current?.active) return new CommandError('a pcap trace is on already: pcap trace off');
  let fd: number;
  try {
    // Never over a file that is there: the stack may have more rights than who asks.
    fd = openSync(file, 'wx', 0o644);
  } catch (error) {
    return new CommandError((error as Error).message);
  }
  const trace = new PcapTrace(net, {
    rx: what.includes('rx'),
    tx: what.includes('tx'),
    drop: what.includes('drop'),
    max,
    snapLength,
    file,
    epochUs: performance.timeOrigin * 1000,
    write: (bytes) => void writeSync(fd, bytes),
    close: () => closeSync(fd),
  });
  return trace.status;
}
