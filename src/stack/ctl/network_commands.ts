/** Commands about devices, addresses, routes and neighbours, and the counters of the transports. */
import { macText } from '../graph/describe.ts';
import type { NetStack } from '../graph/net_stack.ts';
import { TCP_COUNTERS } from '../tcp/stats.ts';
import { type Command, CommandError, onNetwork, parseWords, type Value } from './command.ts';

const INTERFACES = onNetwork((net) =>
  net.interfaces.map(({ index, device, addresses, table }) => ({
    index,
    name: device.name,
    addresses: addresses.map(({ address, length }) => `${address}/${length}`).join(','),
    fib: table.index,
    mtu: device.mtu,
    mac: device.mac === null ? '-' : macText(device.mac),
    gso: device.maxGsoBytes,
    checksum: device.checksumOffload ? 'device' : 'stack',
    ...device.counters,
  })),
);

export const NETWORK_COMMANDS: readonly Command[] = [
  { words: 'show interfaces', usage: 'show interfaces', run: INTERFACES },
  { words: 'show interface', usage: 'show interface', run: INTERFACES },
  {
    words: 'clear interfaces',
    usage: 'clear interfaces',
    run: onNetwork((net) => {
      for (const { device } of net.interfaces)
        for (const name of Object.keys(device.counters)) device.counters[name as keyof typeof device.counters] = 0;
      return {};
    }),
  },
  { words: 'show ip fib', usage: 'show ip fib [table N]', run: onNetwork((net, args) => showFib(net, args)) },
  {
    words: 'show ip neighbors',
    usage: 'show ip neighbors',
    run: onNetwork((net) =>
      net.ethernet.neighbors.all().map((neighbor) => ({
        address: String(neighbor.address),
        interface: net.interfaces[neighbor.device].device.name,
        mac: neighbor.known ? macText(neighbor.mac) : '-',
        state: !neighbor.known ? 'incomplete' : net.nowUs > neighbor.atUs ? 'stale' : 'reachable',
        waiting: neighbor.waiting.length,
      })),
    ),
  },
  {
    words: 'show tcp stats',
    usage: 'show tcp stats',
    run: onNetwork(({ tcp }) => ({
      connections: tcp.connections.size,
      ...Object.fromEntries(TCP_COUNTERS.map((name) => [name, tcp.stats[name]])),
    })),
  },
  {
    words: 'clear tcp stats',
    usage: 'clear tcp stats',
    run: onNetwork(({ tcp }) => {
      for (const name of TCP_COUNTERS) tcp.stats[name] = 0;
      return {};
    }),
  },
  { words: 'show tcp config', usage: 'show tcp config', run: onNetwork(({ tcp }) => ({ ...tcp.config })) },
  { words: 'show udp stats', usage: 'show udp stats', run: onNetwork(({ udp }) => ({ ...udp.stats })) },
  {
    words: 'show buffers',
    usage: 'show buffers',
    run: onNetwork(({ pool }) => ({ inUse: pool.inUse, size: pool.size, memoryKb: pool.u8.length / 1024 })),
  },
];

function showFib(net: NetStack, args: string[]): Value | CommandError {
  const words = parseWords(args, ['table']);
  if (words === null) return new CommandError('usage: show ip fib [table N]');
  const wanted = words.get('table');
  if (wanted !== undefined && !net.tables.has(Number(wanted))) return new CommandError(`no table ${wanted}`);
  return [...net.tables.values()]
    .filter(({ index }) => wanted === undefined || index === Number(wanted))
    .flatMap((tables) =>
      [true, false].flatMap((isV4) =>
        (isV4 ? tables.v4 : tables.v6).rows(isV4).map(({ prefix, length, entry }) => ({
          table: tables.index,
          prefix: `${prefix}/${length}`,
          kind: entry.kind,
          interface: net.interfaces[entry.device]?.device.name ?? '-',
          via: entry.gateway === null ? '-' : String(entry.gateway),
          source: entry.source === null ? '-' : String(entry.source),
        })),
      ),
    );
}
