/** Addresses, forwarding table, reassembly, neighbours, and the graph's counters and traces. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NetStack } from '../../../src/stack/graph/net_stack.ts';
import { IpAddress, parseIpPrefix } from '../../../src/stack/ip/address.ts';
import { Fib, type FibEntry } from '../../../src/stack/ip/fib.ts';
import { DEFAULT_REASSEMBLY, FragmentResult, FragmentTable, type Reassembled } from '../../../src/stack/ip/reassembly.ts';
import { PipeDevice } from '../../../src/stack/link/pipe.ts';

test('addresses: text and back', () => {
  fc.assert(fc.property(fc.ipV4(), (text) => assert.equal(String(IpAddress.parse(text)), text)));
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const address = IpAddress.parse(text)!;
      assert.ok(IpAddress.parse(String(address))!.equals(address));
    }),
  );
  assert.equal(String(IpAddress.parse('2001:db8:0:0:1:0:0:1')), '2001:db8::1:0:0:1');
  assert.equal(String(IpAddress.parse('::ffff:10.0.0.1')), '::ffff:a00:1');
  for (const text of ['', '10.0.0', '10.0.0.256', 'fd00::g', '1::2::3']) assert.equal(IpAddress.parse(text), null, text);
  for (const text of ['10.0.0.0/33', 'fd00::/129', '10.0.0.0/x', '10.0.0.0/']) assert.equal(parseIpPrefix(text), null, text);
});

test('the longest prefix wins, as a linear search says', () => {
  const prefix = fc.record({ word: fc.integer(), length: fc.integer({ min: 0, max: 32 }) });
  fc.assert(
    fc.property(
      fc.array(prefix, { maxLength: 40 }),
      fc.array(fc.integer(), { minLength: 1, maxLength: 20 }),
      (prefixes, probes) => {
        const fib = new Fib();
        const mask = (length: number): number => (length === 0 ? 0 : -1 << (32 - length));
        const entries = new Map<string, { word: number; length: number; entry: FibEntry }>();
        prefixes.forEach(({ word, length }, device) => {
          const entry: FibEntry = { kind: 'attached', device, gateway: null, source: null };
          fib.add(new IpAddress(true, word), length, entry);
          entries.set(`${word & mask(length)}/${length}`, { word, length, entry });
        });
        for (const probe of [...probes, ...prefixes.map((p) => p.word)]) {
          let best: { length: number; entry: FibEntry } | null = null;
          for (const e of entries.values())
            if ((probe & mask(e.length)) === (e.word & mask(e.length)) && (best === null || e.length > best.length)) best = e;
          assert.equal(fib.lookup(new IpAddress(true, probe)), best?.entry ?? null);
        }
      },
    ),
  );
});

test('fragments in any order make the packet; overlaps, floods and time end it', () => {
  const out: { packet: Reassembled | null } = { packet: null };
  const head = new Uint8Array(20);
  const body = Uint8Array.from({ length: 100 }, (_, i) => i);
  fc.assert(
    fc.property(fc.shuffledSubarray([0, 16, 32, 48, 64, 80, 96], { minLength: 7, maxLength: 7 }), (order) => {
      const table = new FragmentTable();
      const results = order.map((at) => table.add('k', at, at < 96, body.subarray(at, Math.min(at + 16, 100)), head, 0, out));
      assert.deepEqual(results, [0, 0, 0, 0, 0, 0, FragmentResult.complete]);
      assert.deepEqual(out.packet!.payload, body);
      assert.equal(table.count, 0);
    }),
  );
  const table = new FragmentTable({ ...DEFAULT_REASSEMBLY, maxBytes: 1000, maxFragments: 4 });
  assert.equal(table.add('a', 0, true, body.subarray(0, 16), head, 0, out), FragmentResult.stored);
  assert.equal(table.add('a', 8, true, body.subarray(0, 16), head, 0, out), FragmentResult.overlap);
  assert.equal(table.count, 0);
  for (let i = 0; i < 100; i++) table.add(`k${i}`, 0, true, body.subarray(0, 96), head, i, out);
  assert.ok(table.count <= 10, 'bytes are bounded');
  for (let i = 0; i < 4; i++)
    assert.equal(table.add('m', 16 * i, true, body.subarray(0, 16), head, 100, out), FragmentResult.stored);
  assert.equal(table.add('m', 64, true, body.subarray(0, 16), head, 100, out), FragmentResult.limit);
  assert.equal(table.add('z', 65_528, true, body.subarray(0, 16), head, 100, out), FragmentResult.tooBig);
  assert.equal(table.add('z', 0, true, body.subarray(0, 15), head, 100, out), FragmentResult.badLength);
  table.expire(60e6);
  assert.equal(table.count, 0);
  assert.ok(table.timedOut > 0);
});

function pair(): { a: NetStack; b: NetStack; run: (fromUs: number, us: number) => void } {
  const [da, db] = PipeDevice.pair({ ethernet: true });
  const make = (): NetStack => new NetStack({ random32: () => (Math.random() * 2 ** 32) | 0, pool: { small: 128, large: 4 } });
  const a = make();
  const b = make();
  a.addInterface(da, ['10.0.0.1/24', 'fd00::1/64']);
  b.addInterface(db, ['10.0.0.2/24', 'fd00::2/64']);
  const run = (from: number, us: number): void => {
    for (let t = from; t < from + us; t += 100_000) {
      a.poll(t);
      b.poll(t);
    }
  };
  return { a, b, run };
}

test('ARP and neighbour discovery resolve; what cannot be resolved is dropped with its reason', () => {
  const { a, b, run } = pair();
  const got: string[] = [];
  b.udp.bind(IpAddress.parse('0.0.0.0')!, 9, (_s, data, remote) => got.push(`${remote} ${data.length}`));
  b.udp.bind(IpAddress.parse('::')!, 9, (_s, data, remote) => got.push(`${remote} ${data.length}`));
  const v4 = a.udp.bind(IpAddress.parse('0.0.0.0')!, 0, null)!;
  const v6 = a.udp.bind(IpAddress.parse('::')!, 0, null)!;
  v4.send(new Uint8Array(5), IpAddress.parse('10.0.0.2')!, 9);
  v6.send(new Uint8Array(6), IpAddress.parse('fd00::2')!, 9);
  v4.send(new Uint8Array(7), IpAddress.parse('10.0.0.77')!, 9);
  run(1e6, 10e6);
  assert.deepEqual(got.sort(), ['10.0.0.1 5', 'fd00::1 6']);
  assert.deepEqual(
    a.graph.errors().map(({ node, reason, count }) => `${node} ${reason} ${count}`),
    ['ethernet-output neighbor unreachable 1'],
  );
  assert.equal(a.pool.inUse + b.pool.inUse, 0);
});

test('a trace shows a packet on its way through the nodes; runtime counts calls and packets', () => {
  const { a, b, run } = pair();
  assert.equal(b.graph.traceAdd('ethernet-input', 2), true);
  assert.equal(b.graph.traceAdd('no-such-node', 2), false);
  a.udp.bind(IpAddress.parse('0.0.0.0')!, 0, null)!.send(new Uint8Array(5), IpAddress.parse('10.0.0.2')!, 9);
  run(1e6, 2e6);
  const text = b.graph.formatTraces();
  assert.match(text, /ethernet-input: .*\n {2}\S+ arp-input: arp who has/);
  assert.match(text, /ip4-input: .*\n {2}\S+ udp-input: .*\n {2}udp-input: dropped: no port/);
  assert.ok(b.graph.nodes.find(({ name }) => name === 'udp-input')!.packets >= 1);
});

test('a connection to an own address goes through the stack and back', () => {
  const { a, run } = pair();
  let received = 0;
  a.tcp.listen({
    address: IpAddress.parse('0.0.0.0')!,
    port: 80,
    onAccept: () => ({ onData: (c) => void (received += c.read(new Uint8Array(100_000))), onEnd: (c) => c.close() }),
  });
  const c = a.tcp.connect({ remote: IpAddress.parse('10.0.0.1')!, remotePort: 80 }, 1e6);
  assert.ok(typeof c !== 'string');
  c.write(new Uint8Array(50_000));
  c.shutdown();
  run(1e6, 5e6);
  assert.equal(received, 50_000);
  assert.equal(a.pool.inUse, 0);
});

test('routes go through gateways that are attached, and only those', () => {
  const { a } = pair();
  a.addRoute('0.0.0.0/0', '10.0.0.2');
  assert.equal(a.fib4.lookup(IpAddress.parse('8.8.8.8')!)?.gateway?.toString(), '10.0.0.2');
  assert.throws(() => a.addRoute('0.0.0.0/0', '11.0.0.1'), /not attached/);
  assert.throws(() => a.addAddress(a.interfaces[0], '10.0.0.1/77'), /not an address/);
});

for (const isV4 of [true, false])
  test(`${isV4 ? 'IPv4' : 'IPv6'}: fragments that do not all come are answered with time exceeded, once their time is over`, () => {
    const { a, b, run } = pair();
    const remote = IpAddress.parse(isV4 ? '10.0.0.2' : 'fd00::2')!;
    const socket = a.udp.bind(IpAddress.parse(isV4 ? '0.0.0.0' : '::')!, 0, null)!;
    // Resolves the neighbour first, so that the fragments go at once.
    socket.send(new Uint8Array(1), remote, 9);
    run(1e6, 2e6);
    const { device } = a.interfaces[0];
    const transmit = device.transmit.bind(device);
    let fragments = 0;
    device.transmit = (packet, nowUs) => {
      if (++fragments === 2) packet.free();
      else transmit(packet, nowUs);
    };
    socket.send(new Uint8Array(4000), remote, 9);
    run(4e6, 1e6);
    assert.equal(fragments, 3);
    assert.equal(b.ipInput.fragments.count, 1);
    assert.equal(b.nextDeadlineUs(), b.ipInput.fragments.nextDeadlineUs());
    a.graph.traceAdd(isV4 ? 'icmp4-input' : 'icmp6-input', 1);
    run(5e6, 40e6);
    assert.equal(b.ipInput.fragments.count, 0);
    assert.match(a.graph.formatTraces(), isV4 ? /icmp type 11 code 1/ : /icmpv6 type 3 code 1/);
    assert.equal(a.pool.inUse + b.pool.inUse, 0);
  });
