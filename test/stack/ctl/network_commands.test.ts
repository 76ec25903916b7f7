/** The command line on a stack with a network: two forwarding tables joined by a pipe with Ethernet-less links, TCP between two namespaces. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { sendCommand } from '../../../src/stack/ctl/client.ts';
import { runProbe } from '../../../src/stack/ctl/probe_client.ts';
import { HostStack } from '../../../src/stack/host_stack.ts';
import { attach, type Socket, type VclNet } from '../../../src/stack/index.ts';
import { PROBE_COLUMNS } from '../../../src/stack/tcp/probe.ts';

const directory = mkdtempSync(join(tmpdir(), 'sluice-ctl-'));
let stack: HostStack;
let client: VclNet;
let server: VclNet;
const BYTES = 400_000;

before(async () => {
  stack = new HostStack({
    runtimeDir: directory,
    namespaces: [
      { id: 'one', fib: 1 },
      { id: 'two', fib: 2 },
    ],
    network: {
      devices: [
        { kind: 'pipe', name: 'p1', peer: 'p2', fib: 1, addresses: ['10.9.0.1/24'] },
        {
          kind: 'pipe',
          name: 'p2',
          peer: 'p1',
          fib: 2,
          addresses: ['10.9.0.2/24', 'fd09::2/64'],
          faults: { inbound: { delayUs: 2000 } },
        },
      ],
      routes: [{ prefix: '0.0.0.0/0', via: '10.9.0.2', fib: 1 }],
    },
  });
  client = await attach({ name: 'client', runtimeDir: directory, namespaceId: 'one' });
  server = await attach({ name: 'server', runtimeDir: directory, namespaceId: 'two' });
  const listener = server.createServer((socket) => socket.pipe(socket));
  listener.listen(80, '10.9.0.2');
  await once(listener, 'listening');
});

after(() => {
  client.close();
  server.close();
  stack.close();
  rmSync(directory, { recursive: true });
});

async function ask(command: string): Promise<string> {
  const { ok, text } = await sendCommand(directory, command);
  assert.ok(ok, `${command}: ${text}`);
  return text;
}

async function json<T = Record<string, unknown>[]>(command: string): Promise<T> {
  const { ok, text } = await sendCommand(directory, command, true);
  assert.ok(ok, `${command}: ${text}`);
  return JSON.parse(text) as T;
}

async function fails(command: string, message: RegExp): Promise<void> {
  const { ok, text } = await sendCommand(directory, command);
  assert.equal(ok, false, command);
  assert.match(text, message);
}

async function exchange(): Promise<Socket> {
  const socket = client.connect({ host: '10.9.0.2', port: 80 });
  await once(socket, 'connect');
  socket.write(Buffer.alloc(BYTES, 7));
  let got = 0;
  await new Promise<void>((resolve) => {
    socket.on('data', (part: Buffer) => {
      if ((got += part.length) === BYTES) resolve();
    });
  });
  return socket;
}

test('errors and runtime of nodes; clear; timing', async () => {
  await ask('set runtime timing on');
  (await exchange()).destroy();
  const runtime = await json('show runtime');
  const input = runtime.find(({ node }) => node === 'ip4-input')!;
  assert.ok((input.packets as number) > 10 && (input.packetsPerCall as number) >= 1 && (input.usPerPacket as number) >= 0);
  // Where packets come from: devices, and what sessions have to send.
  for (const source of ['device-input', 'session-queue']) {
    const row = runtime.find(({ node }) => node === source)!;
    assert.ok((row.packets as number) > 10 && (row.usPerPacket as number) > 0, source);
  }
  assert.match(await ask('show runtime'), /^node +calls +packets +packets per call +us per packet\n/);
  await ask('clear runtime');
  const cleared = (await json('show runtime')).find(({ node }) => node === 'ip4-input');
  assert.ok(cleared === undefined || (cleared.packets as number) < (input.packets as number));
  await ask('set runtime timing off');
  const away = client.connect({ host: '10.9.9.9', port: 1 });
  away.on('error', () => {});
  const seen = async (): Promise<boolean> => /not local/.test(await ask('show errors'));
  while (!(await seen())) await new Promise(setImmediate);
  away.destroy();
  await ask('clear errors');
  assert.doesNotMatch(await ask('show errors'), /not local/);
});

test('a trace shows the way of a packet through the nodes', async () => {
  await fails('trace add nothing 3', /no node 'nothing'; there are: .*ip4-input/);
  await fails('trace add ip4-input x', /usage: trace add NODE N/);
  await ask('trace add ip4-input 2');
  (await exchange()).destroy();
  const traces = await json<string[][]>('show trace');
  assert.equal(traces.length, 2);
  assert.match(
    traces[0][0],
    /ip4-input: 10\.9\.0\.1 -> 10\.9\.0\.2 ttl 64 length 60 fib 2 tcp \d+ -> 80 \[S\] seq \d+ ack 0 window \d+/,
  );
  assert.match(traces[0][1], /tcp-input: /);
  assert.match(traces[0][2], /tcp-listen: /);
  assert.match(await ask('show trace'), /^Packet 1\n {2}/);
  await ask('clear trace');
  await ask('trace add device-input 1');
  (await exchange()).destroy();
  assert.match((await json<string[][]>('show trace'))[0][0], /device-input: 10\.9\.0\.\d -> /);
  await ask('clear trace');
  assert.equal(await ask('show trace'), '');
});

test('pcap trace writes both devices and drops into one file, and not over another', async () => {
  const file = join(directory, 'trace.pcapng');
  await fails('pcap trace rx', /usage: pcap trace/);
  await fails('pcap trace off', /no pcap trace/);
  await fails('pcap trace rx file /nowhere/x', /ENOENT/);
  await ask(`pcap trace rx tx drop file ${file} max 100000`);
  await fails(`pcap trace rx file ${file}2`, /on already/);
  (await exchange()).destroy();
  const { captured } = await json<{ captured: number }>('pcap trace off');
  const bytes = readFileSync(file);
  let packets = 0;
  let names = 0;
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) === 6) packets++;
    if (bytes.readUInt32LE(at) === 1) names++;
  }
  assert.equal(packets, captured);
  assert.ok(captured > 20);
  assert.equal(names, 3);
  await fails(`pcap trace rx file ${file}`, /EEXIST/);
  await ask(`pcap trace rx file ${file}3 max 5`);
  (await exchange()).destroy();
  assert.deepEqual(await json('pcap trace status'), { state: 'finished', captured: 5, max: 5, file: `${file}3` });
});

test('a connection with its windows and times, as text and as values', async () => {
  const socket = await exchange();
  const seen = async (): Promise<string> => ask('show session verbose 2');
  let text = await seen();
  while (!/client +ESTABLISHED.* in flight 0 .*retransmits/.test(text)) text = await seen();
  assert.match(
    text,
    /ESTABLISHED cubic open \| cwnd \d+ ssthresh infinite mss 1448 .* srtt [\d.]+ ms .* in flight 0 sacked 0 lost 0 retransmits \d+/,
  );
  const rows = await json('show session verbose 2');
  const row = rows.find(({ app, tcpState }) => app === 'client' && tcpState === 'ESTABLISHED')!;
  assert.equal(row.ackedBytes, BYTES);
  assert.equal(row.receivedBytes, BYTES);
  assert.ok(
    (row.srttUs as number) >= 2000 && (row.rtoUs as number) > (row.srttUs as number) && (row.deliveryRateBps as number) > 0,
  );
  socket.destroy();
  const stats = await json<Record<string, number>>('show tcp stats');
  assert.ok(stats.activeOpens >= 4 && stats.outBytes >= 2 * BYTES);
  await ask('clear tcp stats');
  assert.equal((await json<Record<string, number>>('show tcp stats')).activeOpens, 0);
  assert.match(await ask('show tcp config'), /congestion control: cubic/);
});

test('interfaces, routes and neighbours', async () => {
  const interfaces = await json('show interfaces');
  assert.deepEqual(
    interfaces.map(({ name, addresses, fib }) => [name, addresses, fib]),
    [
      ['p1', '10.9.0.1/24', 1],
      ['p2', '10.9.0.2/24,fd09::2/64', 2],
    ],
  );
  assert.ok((interfaces[0].txPackets as number) > 0);
  const fib = await json('show ip fib table 1');
  assert.deepEqual(
    fib.map(({ prefix, kind, via }) => [prefix, kind, via]),
    [
      ['0.0.0.0/0', 'via', '10.9.0.2'],
      ['10.9.0.0/24', 'attached', '-'],
      ['10.9.0.1/32', 'receive', '-'],
      ['10.9.0.255/32', 'receive', '-'],
    ],
  );
  assert.ok((await json('show ip fib table 2')).some(({ prefix }) => prefix === 'fd09::/64'));
  await fails('show ip fib table 7', /no table 7/);
  assert.equal(await ask('show ip neighbors'), '');
  assert.ok((await json<{ size: number }>('show buffers')).size > 0);
});

test('active opens leave from the addresses that tcp src-address names, in turn', async () => {
  const seen: (string | undefined)[] = [];
  const listener = server.createServer((socket) => {
    seen.push(socket.remoteAddress);
    socket.end('x');
  });
  listener.listen(81, '10.9.0.2');
  await once(listener, 'listening');
  const four = async (): Promise<string[]> => {
    seen.length = 0;
    for (let i = 0; i < 4; i++) assert.equal(String(await buffer(client.connect(81, '10.9.0.2'))), 'x');
    return seen.map(String);
  };
  assert.deepEqual(await four(), ['10.9.0.1', '10.9.0.1', '10.9.0.1', '10.9.0.1']);
  await ask('tcp src-address 10.9.0.10 - 10.9.0.12 fib 1');
  assert.deepEqual(await four(), ['10.9.0.10', '10.9.0.11', '10.9.0.12', '10.9.0.10']);
  assert.deepEqual((await json('show tcp src-address'))[2], { address: '10.9.0.12', fib: 1 });
  // As many more connections to one peer: with one port, one from each address.
  const { config } = stack.network!.stack.tcp;
  const { minPort, maxPort } = config;
  Object.assign(config, { minPort: 50_000, maxPort: 50_000 });
  const sockets = [0, 1, 2].map(() => client.connect(80, '10.9.0.2'));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  const [error] = (await once(client.connect(80, '10.9.0.2'), 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'EADDRNOTAVAIL');
  for (const socket of sockets) socket.destroy();
  Object.assign(config, { minPort, maxPort });
  await fails('tcp src-address 10.8.0.1 fib 1', /10\.8\.0\.1 is in no interface's network of fib 1/);
  await fails('tcp src-address 10.9.0.255 fib 1', /is in no interface's network/);
  await fails('tcp src-address 10.9.0.12 - 10.9.0.10 fib 1', /a range goes up/);
  await fails('tcp src-address nonsense', /usage: tcp src-address/);
  await ask('tcp src-address clear');
  assert.deepEqual(await four(), ['10.9.0.1', '10.9.0.1', '10.9.0.1', '10.9.0.1']);
  listener.close();
});

test('the probe gives series, a CSV and a drawing', async () => {
  const csv = join(directory, 'probe.csv');
  const svg = join(directory, 'probe.svg');
  let stop = (): void => {};
  const probe = runProbe(directory, ['csv', csv, 'svg', svg, 'interval', '500', 'port', '80'], new Promise((r) => (stop = r)));
  while (stack.network!.stack.tcp.probe === null) await new Promise(setImmediate);
  const socket = await exchange();
  stop();
  const { ok, text } = await probe;
  assert.ok(ok, text);
  socket.destroy();
  const [head, ...lines] = readFileSync(csv, 'utf8').trim().split('\n');
  assert.equal(head, `connection,${PROBE_COLUMNS.join(',')}`);
  assert.ok(lines.length > 4);
  const values = lines.map((line) => line.split(',').map(Number));
  assert.ok(values.some((row) => row[PROBE_COLUMNS.indexOf('cwnd_bytes') + 1] > 0));
  assert.ok(values.some((row) => row[PROBE_COLUMNS.indexOf('delivery_rate_bps') + 1] > 0));
  const drawing = readFileSync(svg, 'utf8');
  assert.match(drawing, /^<svg [\s\S]*<polyline [\s\S]*10\.9\.0\.1:\d+-&gt;10\.9\.0\.2:80[\s\S]*<\/svg>\n$/);
  assert.equal(stack.network!.stack.tcp.probe, null);
  assert.equal((await runProbe(directory, ['nonsense'], Promise.resolve())).ok, false);
  assert.equal(existsSync(csv), true);
});

test('an answer longer than the socket takes at once arrives whole', async () => {
  const sockets = await Promise.all(
    Array.from({ length: 300 }, async () => {
      const socket = client.connect({ host: '10.9.0.2', port: 80 });
      await once(socket, 'connect');
      return socket;
    }),
  );
  const rows = await json('show session verbose 2');
  assert.ok(rows.length >= 600, `${rows.length}`);
  assert.ok((await buffer(sockets[0].end())).length === 0);
  for (const socket of sockets) socket.destroy();
});
