/** Commands about devices, addresses, routes and neighbours, and the counters of the transports. */
import { macText } from '../graph/describe.ts';
import type { Interface, NetStack } from '../graph/net_stack.ts';
import type { HostStack } from '../host_stack.ts';
import { IpAddress } from '../ip/address.ts';
import { TCP_COUNTERS } from '../tcp/stats.ts';
import { type Command, CommandError, onNetwork, parseWords, type Value } from './command.ts';

const INTERFACES = onNetwork((net) =>
  net.interfaces.map(({ index, device, addresses, duplicates, table }) => ({
    index,
    name: device.name,
    addresses: addresses.map(({ address, length }) => `${address}/${length}`).join(','),
    duplicates: duplicates.join(',') || '-',
    fib: table.index,
    mtu: device.mtu,
    mac: device.mac === null ? '-' : macText(device.mac),
    gso: device.maxGsoBytes,
    checksum: device.checksumOffload ? 'device' : 'stack',
    ...device.counters,
  })),
);

const SOURCES_USAGE = 'tcp src-address FROM [- TO] [fib N] | tcp src-address clear';
const MAX_SOURCES = 4096;

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
  { words: 'tcp src-address', usage: SOURCES_USAGE, run: onNetwork((net, args, stack) => sourceAddresses(net, args, stack)) },
  {
    words: 'show tcp src-address',
    usage: 'show tcp src-address',
    run: onNetwork(({ tcp }) => [...tcp.sources.all()].map(({ address, fib }) => ({ address: String(address), fib }))),
  },
  { words: 'show udp stats', usage: 'show udp stats', run: onNetwork(({ udp }) => ({ ...udp.stats })) },
  {
    words: 'show buffers',
    usage: 'show buffers',
    run: onNetwork(({ pool }) => ({ inUse: pool.inUse, size: pool.size, memoryKb: pool.u8.length / 1024 })),
  },
];

/** As VPP: the addresses become ours on the interface whose network they are in, and active opens leave from them in turn. */
function sourceAddresses(net: NetStack, args: string[], stack: HostStack): Value | CommandError {
  if (args[0] === 'clear' && args.length === 1) {
    net.tcp.sources.clear();
    return {};
  }
  const words = args.filter((word) => word !== '-');
  const at = words.indexOf('fib');
  const fib = at < 0 ? 0 : Number(words[at + 1]);
  const texts = at < 0 ? words : words.filter((_, i) => i !== at && i !== at + 1);
  const [first, last = first] = texts.map((text) => IpAddress.parse(text));
  if (!first || !last || texts.length > 2 || !net.tables.has(fib)) return new CommandError(`usage: ${SOURCES_USAGE}`);
  const count = first.isV4 === last.isV4 && first.shared(last) ? last.low - first.low + 1 : 0;
  if (count < 1 || count > MAX_SOURCES) return new CommandError(`a range goes up, and has at most ${MAX_SOURCES} addresses`);
  const list = Array.from({ length: count }, (_, i) => first.plus(i));
  const slots = list.map((address) => slotOf(net, address, fib));
  const none = slots.indexOf(null);
  if (none >= 0) return new CommandError(`${list[none]} is in no interface's network${fib === 0 ? '' : ` of fib ${fib}`}`);
  list.forEach((address, i) => {
    const slot = slots[i]!;
    if (!slot.addresses.some((own) => own.address.equals(address))) {
      net.addAddress(slot, `${address}/${address.isV4 ? 32 : 128}`);
      stack.layer.addLocalAddress(fib, String(address));
    }
    net.tcp.sources.add(address, fib);
  });
  return { addresses: net.tcp.sources.size };
}

function slotOf(net: NetStack, address: IpAddress, fib: number): Interface | null {
  const entry = net.fibOf(address, fib)?.lookup(address);
  if (!entry || (entry.kind !== 'attached' && entry.kind !== 'receive')) return null;
  // Of a network, its own address and broadcast address are no host's.
  return net.isUnicast(address, fib) ? (net.interfaces[entry.device] ?? null) : null;
}

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
